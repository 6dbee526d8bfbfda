"""Earth Search on the practice server: a STAC API over the multispectral packs, and their bands as files.

Source: https://github.com/radiantearth/stac-api-spec
"""

import functools
import json
from collections import namedtuple

from helpers import paths
from helpers.acquire import packs
from helpers.acquire.practice.answers import fits, overlap, require, route
from helpers.acquire.practice.imagery import once, outlined
from helpers.acquire.practice.server import Response, as_json

STAC = "/earth_search/v1"
TIFF, GEOJSON = "image/tiff; application=geotiff; profile=cloud-optimized", "application/geo+json"
SERIES = ("2010-07-14", "2010-07-30", "2011-08-02", "2011-08-18")  # clear, cloudy; cloudy, clear: 16 days apart
CLOUD, FILL = 4, 255  # of Fmask, which has 0 land, 1 water, 2 shadow, 3 snow besides

Item = namedtuple("Item", "feature files")  # GeoJSON without addresses, and a dict from asset to path


@functools.cache
def items():
    """Dict from id to Item: what the catalogue holds, latest first."""
    sentinel, series = packs.catalogue()["sentinel2_brandenburg"], packs.catalogue()["landsat_timeseries"]
    facts = {
        "platform": "sentinel-2a", "s2:processing_baseline": "02.04", "earthsearch:boa_offset_applied": False,
        "description": "Level 1C, reflectance at the top of the atmosphere, though the collection is one of level 2A",
    }  # fmt: skip
    name, scenes = "S2A_33UUU_20170216_0_L1C", sentinel.scenes.values()
    found = {name: _item(name, "sentinel-2-l2a", sentinel, scenes, "2017-02-16T10:21:01Z", facts)}
    for day in reversed(SERIES):
        name = series.scenes[day]["files"][0].split("/")[0]
        known = "Reflectance x 10000; cloud cover by Fmask; the time of day is not known"
        facts = {"platform": f"landsat-{name[2]}", "description": known}
        found[name] = _item(name, "landsat-c2-l2", series, [series.scenes[day]], f"{day}T00:00:00Z", facts)
    return found


def _item(name, collection, pack, scenes, time, facts):
    import rasterio

    files, assets = {}, {}
    for scene in scenes:
        for band, listed in zip(scene["bands"], scene["files"], strict=True):
            key = "nir08" if (collection, band) == ("landsat-c2-l2", "nir") else band
            files[key], dtype, nodata = packs.member_path(pack.name, listed), *_stored(key)
            with rasterio.open(files[key]) as file:
                assets[key] = {
                    "type": TIFF, "title": f"{band} of {pack.name}",
                    "proj:shape": file.shape, "proj:transform": list(file.transform),
                    "raster:bands": [{"data_type": dtype, "nodata": nodata}],
                }  # fmt: skip
                if key in ("coastal", "fmask"):
                    pixels = file.read(1)
                    # what Fmask calls cloud; else what is bright in the band for haze, as what looks like cloud is
                    clouded = pixels[pixels != FILL] == CLOUD if key == "fmask" else pixels > 2000
                    cover, crs = round(100 * float(clouded.mean()), 1), file.crs
                    box, geometry = outlined(file.bounds, crs)
    facts |= {"datetime": time, "eo:cloud_cover": cover, "proj:epsg": crs.to_epsg(), "credit": pack.credit}
    extensions = [f"https://stac-extensions.github.io/{part}/v1.1.0/schema.json" for part in ("eo", "projection")]
    feature = {
        "type": "Feature", "stac_version": "1.0.0", "stac_extensions": extensions, "id": name, "properties": facts,
        "collection": collection, "bbox": list(box), "geometry": geometry, "assets": assets,
    }  # fmt: skip
    return Item(feature, files)


def _stored(key):
    """Data type and no-data value of a file; Sentinel-2 takes 0 for no data, though its files do not say so."""
    return ("uint8", FILL) if key == "fmask" else ("uint16", 0)


@once(0)  # the file is kept
def cog(name, key):
    """Path of a cloud-optimised GeoTIFF of one band of an Item, with the pixels of the pack."""
    import rasterio
    from rasterio.shutil import copy
    from rasterio.vrt import WarpedVRT

    path, (dtype, nodata) = paths.DATA / "practice" / name / f"{key}.tif", _stored(key)
    if not path.exists():
        with rasterio.open(items()[name].files[key]) as file, paths.atomic(path) as temporary:
            known = nodata if file.nodata is None else file.nodata
            grid = {"transform": file.transform, "width": file.width, "height": file.height}
            with WarpedVRT(file, src_nodata=known, nodata=nodata, dtype=dtype, **grid) as named:
                copy(
                    named, temporary, driver="COG", blocksize=256, compress="deflate", predictor="yes",
                    overview_resampling="nearest" if key == "fmask" else "average",
                )  # fmt: skip
    return path


def _link(request, rel, path="", kind="application/json", **others):
    return {"rel": rel, "type": kind, "href": f"{request.base}{STAC}{path}", **others}


def _feature(request, name):
    """The Item as GeoJSON, with addresses."""
    feature = items()[name].feature
    files, here = f"{request.base}/files/stac/{name}", f"/collections/{feature['collection']}/items/{name}"
    links = [_link(request, "self", here), _link(request, "root")]
    assets = {key: asset | {"href": f"{files}/{key}.tif"} for key, asset in feature["assets"].items()}
    return feature | {"links": links, "assets": assets}


@route("GET", rf"{STAC}/?")
def landing(request):
    """The catalogue."""
    classes = ("core", "item-search", "item-search#query")
    search = _link(request, "search", "/search", GEOJSON, method="POST")
    return as_json({
        "stac_version": "1.0.0", "type": "Catalog", "id": "practice", "title": "Practice",
        "links": [_link(request, "self"), _link(request, "root"), search],
        "description": "Scenes of the sample packs",
        "conformsTo": [f"https://api.stacspec.org/v1.0.0/{part}" for part in classes],
    })  # fmt: skip


@route("GET", rf"{STAC}/collections/[\w-]+/items/(?P<item>\w+)")
def item(request):
    """One item."""
    name = request.groups["item"]
    return as_json(_feature(request, name)) if name in items() else None


@route("POST", rf"{STAC}/search")
def search(request):
    """Items, latest first; a link leads to the next page."""
    asked = json.loads(request.body or b"{}")
    limit, start, box = asked.get("limit", 10), asked.get("start", 0), asked.get("bbox")
    require(1 <= limit <= 10_000, f"limit {limit}: expected 1 to 10000")
    require(not box or len(box) == 4 and box[1] <= box[3], f"bbox {box}: expected west, south, east, north")
    first, _, last = (asked.get("datetime") or "../..").partition("/")
    times = {how: time for how, time in (("gte", first), ("lte", last or first)) if time != ".."}
    query = {**(asked.get("query") or {}), "datetime": times}
    found = [
        _feature(request, name) for name, item in items().items()
        if item.feature["collection"] in (asked.get("collections") or [item.feature["collection"]])
        and overlap(item.feature["bbox"], box or asked.get("intersects")) and fits(item.feature["properties"], query)
    ]  # fmt: skip
    page, links = found[start : start + limit], []
    if start + limit < len(found):
        links = [_link(request, "next", "/search", GEOJSON, method="POST", body=asked | {"start": start + limit})]
    return as_json({"type": "FeatureCollection", "features": page, "links": links, "numberMatched": len(found),
                    "numberReturned": len(page)})  # fmt: skip


@route("GET", r"/files/stac/(?P<item>\w+)/(?P<asset>\w+)\.tif")
def file(request):
    """File of an item."""
    name, key = request.groups["item"], request.groups["asset"]
    return Response(cog(name, key), TIFF) if name in items() and key in items()[name].files else None
