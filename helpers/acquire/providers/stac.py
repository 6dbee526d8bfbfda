"""STAC catalogues of cloud-optimised GeoTIFFs, Earth Search first: of each file only the window wanted is read."""

import contextlib
import functools
import json
from urllib.parse import urlencode, urlsplit

import numpy as np

from helpers import scenes
from helpers.acquire import tiles
from helpers.acquire.client import AGENT, Policy
from helpers.acquire.download import Item, fetch
from helpers.acquire.providers.provider import Found, Provider, chosen, expect, geometry_bounds, halves, once, safe_name

MOST_BYTES = 5e8  # of one window in memory; a few are made at a time
CREDITS = {
    "sentinel": ("contains modified Copernicus Sentinel data, through Earth Search by Element 84",
                 "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"),
    "landsat": ("Landsat, U.S. Geological Survey, through Earth Search by Element 84", "public domain"),
}  # fmt: skip
# the bands of Sentinel-2 that carry the offset, and those of which no average can be taken
REFLECTANCES = {"coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09",
                "cirrus", "swir16", "swir22"}  # fmt: skip
CLASSES = {"scl", "fmask", "qa", "qa_pixel", "qa_radsat", "qa_aerosol"}
GDAL = {  # no listing of folders, no search for side files, no memory of what was broken
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_HTTP_MAX_RETRY": "4", "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_RETRY_CODES": "429,500,502,503,504", "GDAL_HTTP_CONNECTTIMEOUT": "20", "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1", "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_USERAGENT": AGENT, "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/http",
}  # fmt: skip


class EarthSearch(Provider):
    """A STAC catalogue whose assets are cloud-optimised GeoTIFFs."""

    address = "https://earth-search.aws.element84.com"
    policy = Policy(connections=2)

    def __init__(self, name, server=None, *, url=None, collection="sentinel-2-l2a", policy=None):
        super().__init__(name, server, policy)
        self.url, self.collection = url or f"{self.base}/v1", collection
        own = [both for start, both in CREDITS.items() if collection.startswith(start)]
        self.credit, self.licence = own[0] if own else (f"collection {collection} of {self.url}", "see the collection")

    def _find(self, bounds, limit, *, date=None, cloud_cover_below=None):
        import pystac_client

        catalogue = pystac_client.Client.open(self.url, stac_io=_polite(self.client, self.name))
        query = None if cloud_cover_below is None else {"eo:cloud_cover": {"lt": cloud_cover_below}}
        for box in halves(bounds):
            asked = catalogue.search(collections=[self.collection], bbox=box, datetime=date, query=query, limit=100)
            listed = asked.pages_as_dicts()
            pages = ((map(self._found, page["features"]), page.get("numberMatched")) for page in listed)
            yield from once(pages, self.name, limit)

    def _found(self, item):
        name, facts = expect(item, "id", self.name, str), expect(item, "properties", self.name, dict)
        assets = {key: asset.get("href", "") for key, asset in expect(item, "assets", self.name, dict).items()}
        # Element 84 (earth-search issue 9): this property is the truth, not the offset in `raster:bands`
        late = facts.get("earthsearch:boa_offset_applied") is False
        offset = -1000 if late and float(facts.get("s2:processing_baseline") or 0) >= 4 else 0
        url = f"{self.url}/collections/{self.collection}/items/{name}"
        about = {"url": url, "assets": assets, "offset": offset, "cloud_cover": facts.get("eo:cloud_cover")}
        time = facts.get("datetime") or facts.get("start_datetime") or ""
        bounds = geometry_bounds(item.get("geometry"), self.name)
        return Found(name, bounds, time, facts.get("credit") or self.credit, self.licence, about)

    def fetch(
        self, found, folder, *, role="image", pair="", bands=("red", "green", "blue"), bounds=None, resolution_m=None
    ):
        """Read the chosen bands of each scene onto one grid, and write them as one GeoTIFF.

        The grid is that of the finest chosen band. Bands of that pixel size are copied, coarser ones interpolated
        (bilinear), finer ones averaged; classes (`scl`, `qa_pixel`, …) keep the nearest value. Digital numbers stay as
        they are, but where the scene says that the offset of processing baseline 04.00 is still in them, 1000 is
        subtracted. The file's tags say what was done.

        Args:
            found: list of Found.
            folder: data set folder; a scene becomes `<role>/<scene>.tif`.
            role, pair: manifest columns.
            bands: asset keys, in the order wanted.
            bounds: window wanted, degrees; default: the whole scene.
            resolution_m: pixel size; default: that of the finest chosen band.

        Returns:
            download.Summary; a scene that does not reach into the bounds is skipped with that reason.

        Raises:
            ValueError: nothing was found, or a scene has no such band (names those it has).
        """
        bounds, bands = bounds and tiles.check_bounds(bounds), tuple(bands)
        recipe = {"bands": ",".join(bands), "bounds": ",".join(map(str, bounds or ())), "m": resolution_m or ""}
        items = []
        for one in chosen(found):
            if unknown := [band for band in bands if band not in one.about["assets"]]:
                raise ValueError(f"{one.id} has no band {', '.join(unknown)}; it has {', '.join(one.about['assets'])}")
            make = functools.partial(_write, one=one, bands=bands, bounds=bounds, resolution_m=resolution_m)
            edges = _shared(one.bounds, bounds) if bounds else one.bounds
            place = dict(zip(("west", "south", "east", "north"), edges, strict=True))
            row, url = self.row(one, role=role, pair=pair, **place), f"{one.about['url']}#{urlencode(recipe, safe=',')}"
            items.append(Item(f"{role}/{safe_name(one.id)}.tif", url, row, kind="file", make=make))
        return fetch(items, folder, self.client, total=len(items))


def _shared(one, other):
    """What two boxes share; the first where one of them crosses the antimeridian, or nothing is shared."""
    west, south = max(one[0], other[0]), max(one[1], other[1])
    east, north = min(one[2], other[2]), min(one[3], other[3])
    crosses = one[0] > one[2] or other[0] > other[2]
    return one if crosses or west >= east or south >= north else (west, south, east, north)


def _polite(client, who):
    """pystac-client's way to the network, through our own Client: its limits, retries and messages."""
    from pystac_client.stac_api_io import StacApiIO

    class Polite(StacApiIO):
        def request(self, href, method=None, headers=None, parameters=None):
            is_post = (method or "GET").upper() == "POST"
            answer = client.post_json(href, parameters) if is_post else client.get_json(href, parameters)
            if urlsplit(href).path.endswith("/search"):
                expect(answer, "features", who)
            return json.dumps(answer)

    return Polite()


def _write(client, path, *, one, bands, bounds, resolution_m):
    import rasterio

    addresses = [one.about["assets"][band] for band in bands]
    if strange := [address for address in addresses if urlsplit(address).scheme not in ("http", "https")]:
        raise ValueError(f"{strange[0]} cannot be read; only http and https can")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(rasterio.Env(**GDAL))
            files = [stack.enter_context(rasterio.open(f"/vsicurl/{address}")) for address in addresses]
            scene, said = _read(files, one, bands, bounds, resolution_m)
    except rasterio.errors.RasterioError as error:
        raise ConnectionError(f"a file could not be read ({error.__cause__ or error})") from error
    scenes.write(scene, path)
    with rasterio.open(path, "r+") as written:
        written.update_tags(**said)


def _read(files, one, bands, bounds, resolution_m):
    """Scene of the window, and a tag for each band that says how it was made."""
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    finest = min(files, key=lambda file: file.res[0])
    resolution = float(resolution_m or finest.res[0])
    grid = _grid(finest, bounds, resolution)
    shape = (grid["height"], grid["width"], len(files))
    if (size := np.prod(shape) * 4) > MOST_BYTES:
        raise ValueError(f"the window takes {size / 1e9:.1f} GB: give narrower `bounds`, or a larger `resolution_m`")
    pixels, said = np.empty(shape, dtype="float32"), {}
    for number, (band, file) in enumerate(zip(bands, files, strict=True)):
        ratio = 1 if band in CLASSES else file.res[0] / resolution
        how = "bilinear" if ratio > 1 + 1e-9 else "average" if ratio < 1 - 1e-9 else "nearest"
        with WarpedVRT(file, **grid, resampling=Resampling[how]) as on_grid:
            pixels[..., number] = on_grid.read(1, masked=True).astype("float32").filled(np.nan)
        offset = one.about["offset"] if band in REFLECTANCES else 0
        pixels[..., number] += offset  # what gets negative is stored as the lowest valid number
        said[f"{band}_made"] = f"{how}, from {file.res[0]:g} m, offset {offset}"
    dtype = np.result_type(*(file.dtypes[0] for file in files)).name
    known = [file.nodata for file in files if file.nodata is not None]
    if len(set(known)) > 1 or 0 < len(known) < len(files):  # then what means "no data" may be a value of another band
        limits = np.iinfo(dtype) if np.issubdtype(np.dtype(dtype), np.integer) else np.finfo(dtype)
        known = [value for value in (*known, limits.max, limits.min) if not (pixels == value).any()]
    nodata = known[0] if known else None
    return scenes.Scene(pixels, bands, grid["transform"], grid["crs"], one.credit, one.id, dtype, nodata), said


def _grid(file, bounds, resolution):
    """dict of crs, transform, width, height of a window, on pixel edges that are counted from the file's corner."""
    from rasterio.transform import from_origin
    from rasterio.warp import transform_bounds

    if not file.crs or not file.crs.is_projected:
        raise ValueError(f"its coordinates are {file.crs}, expected metres")
    left, bottom, right, top = file.bounds
    first, last = np.zeros(2), np.ceil(np.array([right - left, top - bottom]) / resolution - 1e-6)
    if bounds:
        west, south, east, north = transform_bounds("EPSG:4326", file.crs, *bounds, densify_pts=51)
        first = np.maximum(first, np.floor(np.array([west - left, top - north]) / resolution + 1e-6))
        last = np.minimum(last, np.ceil(np.array([east - left, top - south]) / resolution - 1e-6))
    if (last <= first).any():
        raise ValueError("the scene does not reach into the bounds")
    transform = from_origin(left + first[0] * resolution, top - first[1] * resolution, resolution, resolution)
    width, height = (last - first).astype(int).tolist()
    return {"crs": file.crs, "transform": transform, "width": width, "height": height}
