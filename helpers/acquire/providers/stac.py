"""Search STAC catalogues, and decide for each item which files hold the bands that are wanted."""

import difflib
import functools
import json
import re
import time
from urllib.parse import urlencode, urlsplit

from helpers.acquire import tiles
from helpers.acquire.download import Item
from helpers.acquire.http import Policy, Refused, read_json
from helpers.acquire.keys import hide
from helpers.acquire.providers import cog
from helpers.acquire.providers.provider import (
    Found,
    Provider,
    expect,
    geometry_bounds,
    once,
    safe_name,
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
ALIASES = {  # common name: names of Sentinel-2's files
    "coastal": ("B01", "B01_60m"),
    "blue": ("B02", "B02_10m"),
    "green": ("B03", "B03_10m"),
    "red": ("B04", "B04_10m"),
    "rededge1": ("B05", "B05_20m"),
    "rededge2": ("B06", "B06_20m"),
    "rededge3": ("B07", "B07_20m"),
    "nir": ("B08", "B08_10m"),
    "nir08": ("B8A", "B8A_20m"),
    "nir09": ("B09", "B09_60m"),
    "swir16": ("B11", "B11_20m"),
    "swir22": ("B12", "B12_20m"),
    "scl": ("SCL", "SCL_20m"),
    "visual": ("TCI", "TCI_10m"),
}
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

    def __init__(
        self, name, server=None, *, url=None, collection="sentinel-2-l2a", policy=None, contact=None
    ):
        self.address, title = (
            CATALOGUES[name] if not url else (url.rstrip("/"), urlsplit(url).hostname)
        )
        super().__init__(name, server, policy, contact)
        self.url, self.collection = (f"{self.base}/v1" if server else self.base), collection
        known = [both for start, both in CREDITS.items() if collection.startswith(start)]
        credit, self.licence = (
            known[0] if known else (f"collection {collection}", "see the collection")
        )
        self.credit = f"{credit}, through {title}"
        self._token = ("", 0)

    def _find(self, bounds, limit, *, date=None, cloud_cover_below=None):
        import pystac_client

        catalogue = pystac_client.Client.open(self.url, stac_io=_polite(self.client, self.name))
        query = cloud_cover_below is not None and {"eo:cloud_cover": {"lt": cloud_cover_below}}
        wanted, empty = {"collections": [self.collection], "query": query or None}, True
        for box in tiles.halves(bounds):
            asked = catalogue.search(bbox=box, datetime=date, limit=100, **wanted)
            try:
                listed = asked.pages_as_dicts()
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
            near = (
                ", ".join(difflib.get_close_matches(self.collection, names, cutoff=0.4)) or "none"
            )
            raise ValueError(f"{self.name} has no collection {self.collection!r}; near are: {near}")

    def _found(self, item):
        name = expect(item, "id", self.name, str)
        facts = expect(item, "properties", self.name, dict)
        url = f"{self.url}/collections/{self.collection}/items/{name}"
        about = {"url": url, "assets": item.get("assets") or {}, "properties": facts}
        about["cloud_cover"] = facts.get("eo:cloud_cover")
        bounds = geometry_bounds(item.get("geometry"))
        if not bounds:
            about["unusable"] = "its footprint is empty"
        moment = facts.get("datetime") or facts.get("start_datetime") or ""
        credit = facts.get("credit") or self.credit
        return Found(name, bounds or (float("nan"),) * 4, moment, credit, self.licence, about)

    def fetch(
        self, found, folder, *, role="image", pair="", bands=("red", "green", "blue"), bounds=None,
        resolution_m=None, offset=None,
    ):  # fmt: skip
        """Read the chosen bands of each scene onto one grid, and write them as one GeoTIFF.

        The grid is that of the finest band. Bands of that pixel size are copied, coarser ones
        interpolated (bilinear), finer ones averaged; classes (scl, …) keep the nearest value.
        Offsets that items declare are applied, so that Sentinel-2 is reflectance x 10000 whatever
        the processing baseline. The file's tags say what was done.

        Args:
            found: list of Found.
            folder: data set folder; a scene becomes `<role>/<scene>.tif`.
            role, pair: manifest columns.
            bands: asset keys, common names or file names of bands, in the order wanted.
            bounds: window wanted, degrees; default: the whole scene.
            resolution_m: pixel size; default: that of the finest band.
            offset: digital numbers to add to reflectances, whatever the item says.

        Returns:
            download.Summary; `skipped` names, by reason, scenes without a band, with files that
            cannot be had, or that do not reach into the bounds.

        Raises:
            ValueError: nothing was found.
        """
        bounds = bounds and tiles.check_bounds(bounds)
        how = {"bounds": bounds, "resolution_m": resolution_m, "offset": offset}
        recipe = {"bands": ",".join(bands), **{name: value or "" for name, value in how.items()}}

        def items(one):
            make = functools.partial(self._write, one=one, bands=tuple(bands), how=how)
            edges = _shared(one.bounds, bounds) if bounds else one.bounds
            place = dict(zip(("west", "south", "east", "north"), edges, strict=True))
            row = self.row(one, role=role, pair=pair, **place)
            url = f"{one.about['url']}#{urlencode(recipe, safe=',')}"
            return [Item(f"{role}/{safe_name(one.id)}.tif", url, row, kind="file", make=make)]

        return self.download(found, folder, items)

    def _write(self, client, path, *, one, bands, how):
        """Choose the files of an item, and have the window written; a Refused skips it."""
        layers = []
        for band in bands:
            asset = choose(one.about["assets"], band)
            if asset is None:
                raise Refused(f"it has no band {band!r}")
            address = self._address(client, asset)
            scale, offset = calibration(asset, band, one.about["properties"], how["offset"])
            layers.append(cog.Layer(band, address, scale, offset, is_classes(asset, band)))
        grid = {name: how[name] for name in ("bounds", "resolution_m")}
        cog.write(
            path, layers, credit=one.credit, name=one.id, fixed=how["offset"] is not None, **grid
        )

    def _address(self, client, asset):
        """Address of an asset that can be read, signed where the catalogue asks for that."""
        alternates = (asset.get("alternate") or {}).values()
        hrefs = [asset.get("href") or "", *(one.get("href") or "" for one in alternates)]
        href = next((one for one in hrefs if urlsplit(one).scheme in ("http", "https")), None)
        if self.name == "cdse":
            raise Refused(ELSEWHERE["cdse"])
        if not href:
            raise Refused(ELSEWHERE["s3"])
        if self.name == "planetary_computer" and ".blob.core.windows.net/" in href:
            token, until = self._token
            if time.time() > until:
                answer = client.get_json(SIGNING.format(self.collection))
                token = expect(answer, "token", self.name, str)
                hide(token)
                self._token = token, time.time() + 1800
            href = f"{href}?{token}"
        return href


def choose(assets, band):
    """Return the asset of a band, by key without case, alias or common name; None: none."""
    assets = {key: one for key, one in assets.items() if isinstance(one, dict)}
    keys = {key.lower(): key for key in reversed(assets)}
    names = [band, *ALIASES.get(band.lower(), ())]
    names += [name for name, files in ALIASES.items() if band in files]
    for name in names:
        if name.lower() in keys:
            return assets[keys[name.lower()]]
    for asset in assets.values():
        listed = asset.get("eo:bands") or asset.get("bands") or []
        called = [one.get("common_name") or one.get("eo:common_name") for one in listed]
        if called == [band.lower()]:
            return asset
    return None


def calibration(asset, band, facts, override=None):
    """Return (scale, offset) that turn digital numbers into reflectance x 10000, or leave them.

    Classes and heights are left. Of reflectances `override` is the offset, if it is given; else
    `earthsearch:boa_offset_applied` decides where it stands; else the asset's own scale and offset;
    else the processing baseline: from 04.00 on, 1000 is in the numbers.
    """
    optical = band.lower() in ALIASES or any(band in files for files in ALIASES.values())
    if not optical or is_classes(asset, band) or band.lower() in ("visual", "tci"):
        return 1, 0
    if override is not None:
        return 1, override
    applied, late = facts.get("earthsearch:boa_offset_applied"), baseline(facts) >= 4
    listed = (asset.get("raster:bands") or asset.get("bands") or [{}])[0]
    scale = listed.get("scale") or listed.get("raster:scale") or asset.get("raster:scale")
    offset = listed.get("offset") or listed.get("raster:offset") or asset.get("raster:offset")
    if applied is not None or not (scale and offset):
        return 1, -1000 if late and not applied else 0
    return scale * 10_000, offset * 10_000


def baseline(facts):
    """Return the processing baseline as a number from "05.10", "N0510" and the like; 0: unknown."""
    text = str(facts.get("s2:processing_baseline") or facts.get("processing:version") or "")
    found = re.search(r"(\d+)\.(\d+)|N?(\d\d)(\d\d)\b", text)
    whole, part = (found[1] or found[3], found[2] or found[4]) if found else (0, 0)
    return float(f"{whole}.{part}")


def is_classes(asset, band):
    """Return whether values are classes, of which no average can be taken."""
    names = ("scl", "scl_20m", "fmask", "qa", "qa_pixel", "qa_radsat", "qa_aerosol")
    listed = (asset.get("raster:bands") or asset.get("bands") or [{}])[0]
    kind = listed.get("data_type") or asset.get("data_type")
    roles = " ".join(asset.get("roles") or [])
    masked = kind in ("uint8", "int8") and re.search("mask|class|cloud|quality|snow", roles)
    return band.lower() in names or bool(masked) or "classification:classes" in {*asset, *listed}


def _shared(one, other):
    """Overlap of two boxes; the first where one crosses the antimeridian, or there is none."""
    west, south = max(one[0], other[0]), max(one[1], other[1])
    east, north = min(one[2], other[2]), min(one[3], other[3])
    crosses = one[0] > one[2] or other[0] > other[2]
    return one if crosses or west >= east or south >= north else (west, south, east, north)


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
