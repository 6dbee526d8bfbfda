"""Search STAC catalogues, and decide for each item which files hold the bands that are wanted."""

import difflib
import functools
import json
import math
import re
import time
from urllib.parse import urlencode, urlsplit

from helpers.acquire import tiles
from helpers.acquire.download import Item, safe_name
from helpers.acquire.http import Policy, Refused, read_json
from helpers.acquire.keys import hide
from helpers.acquire.manifest import BOUNDS
from helpers.acquire.providers import cog
from helpers.acquire.providers.provider import (
    Found,
    Provider,
    expect,
    geometry_bounds,
    once,
)

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
ALIASES = {  # common name: file of Sentinel-2, in some catalogues with its pixel size behind it
    "coastal": "b01",
    "blue": "b02",
    "green": "b03",
    "red": "b04",
    "rededge1": "b05",
    "rededge2": "b06",
    "rededge3": "b07",
    "nir": "b08",
    "nir08": "b8a",
    "nir09": "b09",
    "swir16": "b11",
    "swir22": "b12",
    "scl": "scl",
    "visual": "tci",
}
COMMON = {file: name for name, file in ALIASES.items()}
CLASSES = ("scl", "fmask", "qa", "qa_pixel", "qa_radsat", "qa_aerosol")
ELSEWHERE = {
    "s3": "its files lie on S3: requester pays, or an account is needed",
    "cdse": "its files need an account of Copernicus Data Space: download them there",
}


class Stac(Provider):
    """A STAC catalogue of rasters.

    Args:
        url: of the catalogue, where it is none of the named ones.
        collection: as the catalogue spells it.
    """

    policy = Policy(connections=2)

    def __init__(self, name, server=None, *, url="", collection="sentinel-2-l2a", **options):
        self.address, title = CATALOGUES.get(name) if not url else (url, urlsplit(url).hostname)
        super().__init__(name, server, **options)
        self.url, self.collection = f"{self.base}/v1" if server else self.base, collection
        credit, self.licence = f"collection {collection}", "see the collection"
        for start, both in CREDITS.items():
            if collection.startswith(start):
                credit, self.licence = both
        self.credit = f"{credit}, through {title}"
        self._token, self._token_until = "", 0

    def _find(self, bounds, limit, *, date=None, cloud_cover_below=None):
        import pystac_client

        catalogue = pystac_client.Client.open(self.url, stac_io=_polite(self.client, self.name))
        wanted = {"collections": [self.collection], "datetime": date, "limit": 100}
        if cloud_cover_below is not None:
            wanted["query"] = {"eo:cloud_cover": {"lt": cloud_cover_below}}
        empty = True
        try:
            for box in tiles.halves(bounds):
                listed = catalogue.search(bbox=box, **wanted).pages_as_dicts()
                pages = (
                    (map(self._found, page["features"]), page.get("numberMatched"))
                    for page in listed
                )
                for one in once(pages, self.name, limit):
                    empty = False
                    yield one
        except Refused:  # some refuse an unknown collection
            self._check_collection()
            raise
        if empty:
            self._check_collection()

    def _check_collection(self):
        """Refuse a collection that the catalogue does not have, and name the nearest."""
        listed = expect(self.client.get_json(f"{self.url}/collections"), "collections", self.name)
        names = [one.get("id", "") for one in listed]
        if self.collection not in names:
            near = difflib.get_close_matches(self.collection, names, cutoff=0.4)
            told = f"near are: {', '.join(near) or 'none'}"
            raise ValueError(f"{self.name} has no collection {self.collection!r}; {told}")

    def _found(self, item):
        name = expect(item, "id", self.name, str)
        facts = expect(item, "properties", self.name, dict)
        url = f"{self.url}/collections/{self.collection}/items/{name}"
        about = {"url": url, "assets": item.get("assets") or {}, "properties": facts}
        about["cloud_cover"] = facts.get("eo:cloud_cover")
        bounds = geometry_bounds(item.get("geometry"))
        if math.isnan(bounds[0]):
            about["unusable"] = "its footprint is empty"
        moment = facts.get("datetime") or facts.get("start_datetime") or ""
        credit = facts.get("credit") or self.credit
        return Found(name, bounds, moment, credit, self.licence, about)

    def fetch(
        self, found, folder, *, role="image", pair="", bands=("red", "green", "blue"), bounds=None,
        offset=None,
    ):  # fmt: skip
        """Read the chosen bands of each scene onto one grid, and write them as one GeoTIFF.

        The grid is that of the finest band. Bands of that pixel size are copied, coarser ones
        interpolated (bilinear); classes (scl, …) keep the nearest value. Offsets that items declare
        are applied, so that Sentinel-2 is reflectance x 10000 whatever the processing baseline.
        The file's tags say what was done.

        Args:
            found: list of Found.
            folder: data set folder; a scene becomes `<role>/<scene>.tif`.
            role, pair: manifest columns.
            bands: asset keys, common names or file names of bands, in the order wanted.
            bounds: window wanted, degrees; default: the whole scene.
            offset: digital numbers to add to reflectances, whatever the item says.

        Returns:
            download.Summary; `skipped` names, by reason, scenes without a band, with files that
            cannot be had, or that do not reach into the bounds.

        Raises:
            ValueError: nothing was found.
        """
        how = {"bounds": bounds and tiles.check_bounds(bounds), "offset": offset}
        recipe = {"bands": ",".join(bands), **{name: value or "" for name, value in how.items()}}

        def items(one):
            make = functools.partial(self._write, one=one, bands=bands, **how)
            row = self.row(one, role=role, pair=pair)
            row = {column: row[column] for column in row if column not in BOUNDS}  # `make` adds it
            url = f"{one.about['url']}#{urlencode(recipe, safe=',')}"
            return [Item(f"{role}/{safe_name(one.id)}.tif", url, row, kind="file", make=make)]

        return self.download(found, folder, items)

    def _write(self, client, path, *, one, bands, bounds, offset):
        """Choose the files of an item, and have the window written; a Refused skips it."""
        layers = []
        for band in bands:
            asset = choose(one.about["assets"], band)
            if asset is None:
                raise Refused(f"it has no band {band!r}")
            numbers = calibration(asset, band, one.about["properties"], offset)
            address = self._address(client, asset)
            layers.append(cog.Layer(band, address, *numbers, is_classes(asset, band)))
        how = {"fixed": offset is not None, "contact": self.policy.contact}
        place = cog.write(path, layers, bounds=bounds, credit=one.credit, name=one.id, **how)
        return dict(zip(BOUNDS, place, strict=True))

    def _address(self, client, asset):
        """Address of an asset that can be read, signed where the catalogue asks for that."""
        if self.name == "cdse":
            raise Refused(ELSEWHERE["cdse"])
        links = [asset, *(asset.get("alternate") or {}).values()]
        hrefs = [link.get("href") or "" for link in links]
        href = next((one for one in hrefs if one.startswith(("http://", "https://"))), "")
        if not href:
            raise Refused(ELSEWHERE["s3"])
        if self.name == "planetary_computer" and ".blob.core.windows.net/" in href:
            if time.time() > self._token_until:
                answer = client.get_json(SIGNING.format(self.collection))
                self._token = expect(answer, "token", self.name, str)
                self._token_until = time.time() + 1800
                hide(self._token)
            href = f"{href}?{self._token}"
        return href


def choose(assets, band):
    """Return the asset of a band, by key without case, alias or common name; None: none."""
    assets = {key: asset for key, asset in assets.items() if isinstance(asset, dict)}
    common = common_name(band)
    for names in ({band.lower()}, {common, ALIASES.get(common)}):
        for key, asset in assets.items():
            if key.lower() in names or plain(key) in names:
                return asset
    for asset in assets.values():
        listed = asset.get("eo:bands") or asset.get("bands") or []
        if [one.get("common_name") or one.get("eo:common_name") for one in listed] == [common]:
            return asset
    return None


def plain(band):
    """Return a band's name in small letters, without a pixel size as in "B04_10m"."""
    return re.sub(r"_\d\dm$", "", band.lower())


def common_name(band):
    """Return "red" for "red", "B04" and "B04_10m"; an unknown name without capitals."""
    return COMMON.get(plain(band), band.lower())


def calibration(asset, band, facts, override=None):
    """Return (scale, offset) that turn digital numbers into reflectance x 10000, or leave them.

    Classes and heights are left. Of reflectances `override` is the offset, if it is given; else
    `earthsearch:boa_offset_applied` decides where it stands; else the asset's own scale and offset;
    else the processing baseline: from 04.00 on, 1000 is in the numbers.
    """
    common = common_name(band)
    if common not in ALIASES or common == "visual" or is_classes(asset, band):
        return 1, 0
    if override is not None:
        return 1, override
    applied, late = facts.get("earthsearch:boa_offset_applied"), baseline(facts) >= 4
    listed = asset | _first_band(asset)
    scale = listed.get("scale") or listed.get("raster:scale")
    offset = listed.get("offset") or listed.get("raster:offset")
    if applied is not None or not (scale and offset):
        return 1, -1000 if late and not applied else 0
    return scale * 10_000, offset * 10_000


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


def _polite(client, who):
    """pystac-client's way to the network, through our own Client: limits, retries, messages."""
    from pystac_client.stac_api_io import StacApiIO

    class Polite(StacApiIO):
        def request(self, href, method=None, headers=None, parameters=None):
            if (method or "GET").upper() == "POST":
                answer = client.post_json(href, parameters)
            else:
                answer = client.get_bytes(href, parameters, check=read_json)
            if urlsplit(href).path.endswith("/search"):
                expect(answer, "features", who)
            return json.dumps(answer)

    return Polite()
