"""Answer in the providers' shapes: lists from `answers.json`, pixels from the sample packs."""

import io
import json
import threading
from functools import lru_cache
from pathlib import Path

import jmespath
import mercantile
import numpy as np
from PIL import Image, ImageFilter
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject
from skimage import data

from helpers import relief, scenes
from helpers.acquire import packs
from helpers.acquire.practice.server import Response, as_json

ANSWERS = Path(__file__).with_name("answers.json").read_text(encoding="utf-8")
TOUCHING = """scenes[?max_lon >= `{min_lon}` && min_lon <= `{max_lon}`
                     && max_lat >= `{min_lat}` && min_lat <= `{max_lat}`]"""
FITTING = """items[?contains(`{named}`, collection) && properties."eo:cloud_cover" < `{most}`
                   && properties.datetime >= '{first}' && properties.datetime <= '{last}'
                   && bbox[2] >= `{box[0]}` && bbox[0] <= `{box[2]}`
                   && bbox[3] >= `{box[1]}` && bbox[1] <= `{box[3]}`]"""


def listed(base=""):
    """Return the answers of a server."""
    return json.loads(ANSWERS.replace("BASE", base))


LAYERS = listed()["layers"]


def image(picture, kind="jpeg"):
    """Return the Response of a Pillow image."""
    buffer = io.BytesIO()
    picture = picture.convert("RGB" if kind == "jpeg" else "RGBA")
    picture.save(buffer, kind, compress_level=1, quality=90)
    return Response(buffer.getvalue(), f"image/{kind}")


@lru_cache
def layer(name):
    """Return a Scene of values from 1 to 255: red, green, blue; NaN = no data.

    `range` in answers.json is about the 0.5th and 99.5th percentile.
    """
    about = LAYERS[name]
    scene = packs.open_scene(about["pack"], about["scene"], ["red", "green", "blue"])
    unit = scenes.to_unit(scene.pixels, about["range"])
    np.clip(unit * 254 + 1, 1, 255, out=scene.pixels)
    return scene


@lru_cache(400)
def tile(z, x, y, kind="jpg", name="eox"):
    """Return the image of a tile of a layer or a part of it, transparent outside; or None."""
    name, *corner = name.split("-")
    x, y, z = map(int, (x, y, z))
    scene = layer(name)
    if z > LAYERS[name]["zoom"] or max(x, y) >= 2**z:
        return None
    if corner:
        scene = scene.cut(*map(int, corner), 1000, 1000)  # 30 km
    drawn, _ = reproject(
        np.moveaxis(scene.pixels, -1, 0), np.zeros((3, 256, 256), "uint8"),
        src_crs=scene.crs, src_transform=scene.transform, src_nodata=np.nan, dst_crs="EPSG:3857",
        dst_transform=from_bounds(*mercantile.xy_bounds(x, y, z), 256, 256), dst_nodata=0,
        resampling=Resampling.bilinear,
    )  # fmt: skip
    opaque = 255 * drawn.any(axis=0).astype("uint8")
    picture = Image.fromarray(np.dstack([*drawn, opaque]))
    return image(picture, kind.replace("jpg", "jpeg")) if opaque.any() else None


def raster(pack, file):
    """Return a file of a pack; GDAL reads it by ranges."""
    return Response(packs.member_path(pack, file).read_bytes(), "image/tiff")


@lru_cache
def land():
    """Return the ground of the Rocky Mountains for `relief.view`."""
    dem, colours = (
        packs.open_scene("rocky_mountain", name) for name in ("dem", "image")
    )
    return relief.aligned(dem, colours)[0]


@lru_cache
def photo(number):
    """Return a rendered photo; in answers.json a few have a defect."""
    view = listed()["views"][int(number)]
    light = view.pop("light", 255)
    blur_px = view.pop("blur", 0)
    view = light * relief.view(land(), size_px=(288, 432), **view)
    view = Image.fromarray(np.rint(view).astype("uint8"))
    return image(view.filter(ImageFilter.GaussianBlur(blur_px)))


def find(request, expression, **values):
    """List the answers that an expression in JMESPath selects."""
    return jmespath.search(expression.format(**values), listed(request.base))


def search(request):
    """List items, latest first, all on one page."""
    asked = json.loads(request.data)
    first, last = asked.get("datetime", "/").replace("..", "").split("/")
    most = jmespath.search('query."eo:cloud_cover".lt', asked) or 101
    found = find(
        request,
        FITTING,
        first=first,
        last=last or "9",
        most=most,
        box=asked["bbox"],
        named=json.dumps(asked["collections"]),
    )
    return as_json({"type": "FeatureCollection", "features": found, "links": []})


def commons_query(request):
    """List files around a place, with author, licence and place."""
    lat, lon = map(float, request.args["ggscoord"].split("|"))
    reach = int(request.args["ggsradius"]) / 80_000  # degrees; a little wide
    pages = {}
    for page in listed(request.base)["photos"]:
        place = page["coordinates"][0]
        is_near = max(abs(place["lon"] - lon), abs(place["lat"] - lat)) <= reach
        if is_near and len(pages) < int(request.args["ggslimit"]):
            pages[page["pageid"]] = page
    return as_json({"batchcomplete": "", "query": {"pages": pages}})


def made(make):
    """Turn a function of the parts of an address into one of a request; one draws at a time."""

    def answer(request):
        with MAKING:
            return make(**request.groups)

    return answer


MAKING = threading.Lock()
TILE = (
    r"/(?:gsi/xyz/|tellus_legacy/ASNARO-1/PRACTICE-)"
    r"(?P<name>seamlessphoto|std|pale|22407[78]-\d+-\d+)"
    r"/(?P<z>\d\d?)/(?P<x>\d+)/(?P<y>\d+)\.(?P<kind>jpg|png)"
)
ROUTES = [
    ("GET", TILE, made(tile)),
    ("GET", r"/eox/.*/g/(?P<z>\d+)/(?P<y>\d+)/(?P<x>\d+)\.jpg", made(tile)),
    (
        "GET",
        "/tellus_legacy/api/v1/asnaro1/scene",
        lambda ask: as_json(find(ask, TOUCHING, **ask.args.to_dict())),
    ),
    (
        "GET",
        "/files/photos/28.jpg",
        lambda ask: image(Image.fromarray(data.astronaut())),
    ),
    ("GET", r"/files/photos/(?P<number>\d\d?)\.jpg", made(photo)),
    ("GET", r"/files/(?P<pack>\w+)/(?P<file>.+)\.tif", made(raster)),
    ("GET", "/earth_search/?", lambda ask: as_json(find(ask, "landing"))),
    (
        "GET",
        "/earth_search/collections",
        lambda ask: as_json(find(ask, "collections")),
    ),
    ("POST", "/earth_search/search", search),
    ("GET", r"/commons/w/api\.php", commons_query),
]
