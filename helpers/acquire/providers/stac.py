"""Search STAC catalogues, and decide for each item which files hold the bands that are wanted."""

import difflib
import functools
import json
import math
import re
import time
from urllib.parse import urlencode, urlsplit

from helpers.acquire import checks, tiles
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Policy, Refused, read_json
from helpers.acquire.keys import hide
from helpers.acquire.manifest import BOUNDS
from helpers.acquire.providers import cog
from helpers.acquire.providers.provider import Found, Provider, footprint
from helpers.scenes.bands import NUMBERED, common_name

CATALOGUES = {  # name: address, title
    "earth_search": ("https://earth-search.aws.element84.com/v1", "Earth Search by Element 84"),
    "planetary_computer": (
        "https://planetarycomputer.microsoft.com/api/stac/v1",
        "Microsoft Planetary Computer",
    ),
    "cdse": ("https://stac.dataspace.copernicus.eu/v1", "Copernicus Data Space Ecosystem"),
}
SIGNING = "https://planetarycomputer.microsoft.com/api/sas/v1/token/{}"  # keyless, for an hour
CREDITS = {  # beginning of a collection's name: credit, licence
    "sentinel": (
        "contains modified Copernicus Sentinel data",
        "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice",
    ),
    "landsat": ("Landsat, U.S. Geological Survey", "public domain"),
    "cop-dem": ("Copernicus DEM, © DLR e.V., © Airbus Defence and Space GmbH", "Copernicus DEM"),
}
CLASSES = ("scl", "fmask", "qa", "qa_pixel", "qa_radsat", "qa_aerosol")
ELSEWHERE = {
    "s3": "its files lie on S3: requester pays, or an account is needed",
    "cdse": "its files need an account of Copernicus Data Space: download them there",
}


class Stac(Provider):
    """A STAC catalogue of rasters.

    Each scene becomes one GeoTIFF with the grid of its finest band. Bands of that pixel size are
    copied, coarser ones interpolated (bilinear); classes (scl, …) keep the nearest value. Offsets
    that items declare are applied, so that Sentinel-2 is reflectance x 10000 whatever the
    processing baseline. The file's tags say what was done.

    Args:
        url: of the catalogue, where it is none of the named ones.
        collection: as the catalogue spells it.
    """

    policy = Policy(connections=2)

    def __init__(self, name, server=None, *, url="", collection="sentinel-2-l2a", **options):
        self.address, title = (url, urlsplit(url).hostname) if url else CATALOGUES[name]
        super().__init__(name, server, **options)
        self.url, self.collection = f"{self.base}/v1" if server else self.base, collection
        credits = [both for start, both in CREDITS.items() if collection.startswith(start)]
        credit, self.licence = (*credits, (f"collection {collection}", "see the collection"))[0]
        self.credit = f"{credit}, through {title}"

    def _pages(self, box, limit, *, date=None, cloud_cover_below=None):
        import pystac_client  # takes seconds

        catalogue = pystac_client.Client.open(self.url, stac_io=_polite(self.client))
        wanted = {"collections": [self.collection], "datetime": date, "limit": 100}
        if cloud_cover_below is not None:
            wanted["query"] = {"eo:cloud_cover": {"lt": cloud_cover_below}}
        empty = True
        try:
            for page in catalogue.search(bbox=box, **wanted).pages_as_dicts():
                empty = False
                yield [self._found(item) for item in page["features"]]
        except Refused:  # some refuse an unknown collection
            self._check_collection()
            raise
        if empty:
            self._check_collection()

    def _check_collection(self):
        """Refuse a collection that the catalogue does not have, and name the nearest."""
        listed = self.client.get_json(f"{self.url}/collections")["collections"]
        names = [one["id"] for one in listed]
        if self.collection not in names:
            near = ", ".join(difflib.get_close_matches(self.collection, names, cutoff=0.4))
            raise ValueError(
                f"{self.name} has no collection {self.collection!r}; near are: {near or 'none'}"
            )

    def _found(self, item):
        facts, bounds = item["properties"], footprint(item.get("geometry"))
        about = {"assets": item.get("assets") or {}, "properties": facts}
        about["cloud_cover"] = facts.get("eo:cloud_cover")
        if math.isnan(bounds[0]):
            about["unusable"] = "its footprint is empty"
        when = facts.get("datetime") or facts.get("start_datetime") or ""
        return Found(
            item["id"], bounds, when, facts.get("credit") or self.credit, self.licence, about
        )

    def _items(self, one, row, folder, *, bands=("red", "green", "blue"), bounds=None, offset=None):
        """Yield the Item of a scene, `<role>/<scene>.tif`.

        Args:
            one, row, folder: as `Provider.fetch` gives them.
            bands: asset keys, common names or file names of bands, in the order wanted.
            bounds: window wanted, degrees; default: the whole scene.
            offset: digital numbers to add to reflectances, whatever the item says.
        """
        how = {"bounds": bounds and tiles.check_bounds(bounds), "offset": offset}
        recipe = {"bands": ",".join(bands), **{name: value or "" for name, value in how.items()}}
        url = f"{self.url}/collections/{self.collection}/items/{one.id}#"
        make = functools.partial(self._write, one=one, bands=bands, **how)
        row = {column: row[column] for column in row if column not in BOUNDS}  # `make` adds it
        name = f"{row['role']}/{safe_name(one.id)}.tif"
        yield Item(name, url + urlencode(recipe, safe=","), row, checks.file, make)

    def _write(self, client, path, *, one, bands, bounds, offset):
        """Choose the files of an item, and have the window written; a Refused skips it."""
        layers = []
        for band in bands:
            asset = choose(one.about["assets"], band)
            if asset is None:
                raise Refused(f"it has no band {band!r}")
            numbers = calibration(asset, band, one.about["properties"], offset)
            fixed, classes = offset is not None, is_classes(asset, band)
            layers.append(cog.Layer(band, self._address(asset), *numbers, fixed, classes))
        how = {"credit": one.credit, "name": one.id, "contact": self.policy.contact}
        place = cog.write(path, layers, bounds=bounds, **how)
        return dict(zip(BOUNDS, place, strict=True))

    def _address(self, asset):
        """Address of an asset that can be read, signed where the catalogue asks for that."""
        if self.name == "cdse":
            raise Refused(ELSEWHERE["cdse"])
        links = [asset, *(asset.get("alternate") or {}).values()]
        hrefs = [link["href"] for link in links if link.get("href", "").startswith("http")]
        if not hrefs:
            raise Refused(ELSEWHERE["s3"])
        if self.name == "planetary_computer" and ".blob.core.windows.net/" in hrefs[0]:
            return f"{hrefs[0]}?{self._token(time.time() // 1800)}"
        return hrefs[0]

    @functools.lru_cache(1)  # noqa: B019
    def _token(self, half_hour):
        token = self.client.get_json(SIGNING.format(self.collection))["token"]
        hide(token)
        return token


def choose(assets, band):
    """Return the asset of a band, by key without case, alias or common name; None: none."""
    found, common = [], plain(band)
    for key, asset in assets.items():
        if isinstance(asset, dict):
            listed = asset.get("eo:bands") or asset.get("bands") or []
            declared = [one.get("common_name") or one.get("eo:common_name") for one in listed]
            fits = key.lower() == band.lower(), plain(key) == common, declared == [common]
            size = re.search(r"_(\d\d)m$", key)
            if any(fits):
                found.append((fits.index(True), int(size[1]) if size else 0, key))
    return assets[min(found)[2]] if found else None


def plain(key):
    """Return "red" for "red", "B04", "B04_10m"; an unknown key in small letters, without size."""
    name = re.sub(r"_\d\dm$", "", key.lower())
    return "visual" if name == "tci" else common_name(name)


def calibration(asset, band, facts, override=None):
    """Return (scale, offset) that turn digital numbers into reflectance x 10000, or leave them.

    Classes and heights are left. Of reflectances `override` is the offset, if it is given; else
    `earthsearch:boa_offset_applied` decides where it stands; else the asset's own scale and offset;
    else the processing baseline: from 04.00 on, 1000 is in the numbers.
    """
    if plain(band) not in NUMBERED.values() or is_classes(asset, band):
        return 1, 0
    if override is not None:
        return 1, override
    applied, listed = facts.get("earthsearch:boa_offset_applied"), asset | _first_band(asset)
    scale = listed.get("scale") or listed.get("raster:scale")
    offset = listed.get("offset") or listed.get("raster:offset")
    if applied is None and scale and offset:
        return scale * 10_000, offset * 10_000
    return 1, -1000 if baseline(facts) >= 4 and not applied else 0


def baseline(facts):
    """Return the processing baseline as a number from "05.10", "N0510" and the like; 0: unknown."""
    text = str(facts.get("s2:processing_baseline") or facts.get("processing:version") or "")
    found = re.search(r"(\d+)\.(\d+)|N?(\d\d)(\d\d)\b", text)
    return float(".".join(filter(None, found.groups()))) if found else 0


def is_classes(asset, band):
    """Return whether values are classes, of which no average can be taken."""
    listed, roles = asset | _first_band(asset), " ".join(asset.get("roles") or [])
    masked = re.search("mask|class|cloud|quality|snow", roles)
    masked = masked and listed.get("data_type") in ("uint8", "int8")
    return bool(plain(band) in CLASSES or masked or "classification:classes" in listed)


def _first_band(asset):
    return (asset.get("raster:bands") or asset.get("bands") or [{}])[0]


def _polite(client):
    """pystac-client's way to the network, through our own Client: limits, retries, messages."""
    from pystac_client.stac_api_io import StacApiIO

    class Polite(StacApiIO):
        def request(self, href, method=None, headers=None, parameters=None):
            if method == "POST":
                answer = client.post_json(href, parameters)
            else:
                answer = client.get_bytes(href, parameters, check=read_json)
            if urlsplit(href).path.endswith("/search"):
                answer["features"]  # pystac-client takes an answer without for the last page
            return json.dumps(answer)

    return Polite()
