"""Answer in the providers' shapes: lists from `answers.json`, pixels from the sample packs."""

import io
import json
import threading
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import jmespath
import mercantile
import numpy as np
import rasterio
from PIL import Image, ImageFilter
from rasterio.shutil import copy
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject
from skimage import data

from helpers import relief
from helpers.acquire import packs
from helpers.acquire.practice.server import Response, as_json

ANSWERS = Path(__file__).with_name("answers.json").read_text(encoding="utf-8")
LAYERS = {name: ("landsat8_itaipu", name, 12) for name in ("224077", "224078")}
LAYERS |= {name: ("blue_marble", "relief", 4) for name in ("std", "pale")}  # native zoom
LAYERS |= {"seamlessphoto": ("blue_marble", "image", 4), "eox": ("rocky_mountain", "image", 11)}
# digital numbers of Landsat that become 1 and 255: about the 0.5th and 99.5th percentile
STRETCH = np.array([(5950, 9050), (6640, 8700), (7380, 8900)], "float32").T
TOUCHING = """scenes[?max_lon >= `{min_lon}` && min_lon <= `{max_lon}`
                     && max_lat >= `{min_lat}` && min_lat <= `{max_lat}`]"""
FITTING = """items[?contains(`{named}`, collection) && properties."eo:cloud_cover" < `{most}`
                   && bbox[2] >= `{box[0]}` && bbox[0] <= `{box[2]}`
                   && bbox[3] >= `{box[1]}` && bbox[1] <= `{box[3]}`]"""


def once(function):
    """Keep results, and let one thread at a time make them."""
    kept, making = lru_cache(400)(function), threading.Lock()

    def call(**key):
        with making:
            return kept(**key)

    return call


def listed(base):
    """Return the answers of a server."""
    return json.loads(ANSWERS.replace("BASE", base))


def image(picture, kind="jpeg"):
    """Return the Response of a Pillow image."""
    buffer = io.BytesIO()
    picture = picture.convert("RGB") if kind == "jpeg" else picture
    picture.save(buffer, kind, compress_level=1, quality=90)
    return Response(buffer.getvalue(), f"image/{kind}")


@once
def layer(name):
    """Return a Scene of uint8 pixels, red, green, blue; 0 = no data."""
    scene = packs.open_scene(*LAYERS[name][:2], ["red", "green", "blue"])
    low, high = STRETCH if scene.dtype == "uint16" else (1, 255)
    pixels = np.nan_to_num(np.clip((scene.pixels - low) / (high - low) * 254 + 1, 1, 255))
    return replace(scene, pixels=pixels.astype("uint8"))


@once
def tile(z, x, y, kind="jpg", name="eox"):
    """Return the image of a tile of a layer or a part, a PNG transparent outside; or None."""
    (name, *corner), tile = name.split("-"), (int(x), int(y), int(z))
    scene = layer(name=name)
    if corner:
        scene = scene.cut(*map(int, corner), 1000, 1000)  # 30 km
    drawn, place = np.zeros((3, 256, 256)), mercantile.xy_bounds(*tile)
    if tile[2] <= LAYERS[name][2] and max(tile[:2]) < 2 ** tile[2]:
        reproject(
            np.ascontiguousarray(np.moveaxis(scene.pixels, -1, 0)), drawn,
            src_crs=scene.crs, src_transform=scene.transform, src_nodata=0, dst_crs="EPSG:3857",
            dst_transform=from_bounds(*place, 256, 256), resampling=Resampling.bilinear,
        )  # fmt: skip
    opaque = 255 * drawn.any(axis=0, keepdims=True)
    picture = Image.fromarray(np.moveaxis(np.concatenate([drawn, opaque]), 0, -1).astype("uint8"))
    return image(picture, kind.replace("jpg", "jpeg")) if opaque.any() else None


def legacy_scenes(request):
    """List scenes that touch a box."""
    found = TOUCHING.format(**request.query)
    return as_json(jmespath.search(found, listed(request.base)))


def search(request):
    """List items, latest first, all on one page."""
    asked = json.loads(request.body)
    first, last = asked.get("datetime", "0/9").replace("..", "").split("/")
    most = asked.get("query", {}).get("eo:cloud_cover", {}).get("lt", 101)
    fitting = FITTING.format(most=most, box=asked["bbox"], named=json.dumps(asked["collections"]))
    found = [
        item
        for item in jmespath.search(fitting, listed(request.base))
        if first <= item["properties"]["datetime"] <= (last or "9")
    ]
    return as_json({"type": "FeatureCollection", "features": found, "links": []})


@once
def cog(pack, file):
    """Return a file of a pack as cloud-optimised GeoTIFF."""
    with rasterio.MemoryFile() as memory:
        copy(packs.member_path(pack, file), memory.name, driver="COG", blocksize=256)
        return Response(bytes(memory.getbuffer()), "image/tiff")


@once
def land():
    """Return the ground of the Rocky Mountains for `relief.view`."""
    dem, colours = (packs.open_scene("rocky_mountain", name) for name in ("dem", "image"))
    return relief.aligned(dem, colours)[0]


@once
def photo(number):
    """Return a rendered photo; a few have a defect: 3 copies 2, 14 was taken at night."""
    if int(number) == 28:
        return image(Image.fromarray(data.astronaut()))
    view = relief.view(land(), size_px=(288, 432), **listed("")["views"][int(number)])
    light = 25 if int(number) == 14 else 255
    picture = Image.fromarray(np.rint(light * view).astype("uint8"))
    return image(picture.filter(ImageFilter.GaussianBlur(8)) if int(number) == 21 else picture)


def commons_query(request):
    """List files within a circle, with author, licence and place."""
    lat, lon = map(float, request.query["ggscoord"].split("|"))
    pages = {}
    for page in listed(request.base)["photos"]:
        [place] = page["coordinates"]
        aside = (place["lon"] - lon) * np.cos(np.radians(lat))
        if 111_195 * np.hypot(place["lat"] - lat, aside) <= int(request.query["ggsradius"]):
            pages[page["pageid"]] = page
    few = dict(list(pages.items())[: int(request.query["ggslimit"])])
    return as_json({"batchcomplete": "", "query": {"pages": few}})


TILE = r"(?P<z>\d\d?)/(?P<x>\d+)/(?P<y>\d+)\.(?P<kind>jpg|png)"  # of an address
MADE = {
    rf"/gsi/xyz/(?P<name>seamlessphoto|std|pale)/{TILE}": tile,
    r"/eox/.*/g/(?P<z>\d+)/(?P<y>\d+)/(?P<x>\d+)\.jpg": tile,
    rf"/tellus_legacy/ASNARO-1/PRACTICE-(?P<name>22407[78]-\d+-\d+)/{TILE}": tile,
    r"/files/photos/(?P<number>\d\d?)\.jpg": photo,
    r"/files/(?P<pack>\w+)/(?P<file>.+)\.tif": cog,
}
ROUTES = [("GET", path, lambda ask, make=make: make(**ask.groups)) for path, make in MADE.items()]
ROUTES += [
    ("GET", "/tellus_legacy/api/v1/asnaro1/scene", legacy_scenes),
    ("GET", "/earth_search/v1/?", lambda ask: as_json(listed(ask.base)["landing"])),
    ("GET", "/earth_search/v1/collections", lambda ask: as_json(listed(ask.base)["collections"])),
    ("POST", "/earth_search/v1/search", search),
    ("GET", r"/commons/w/api\.php", commons_query),
]
