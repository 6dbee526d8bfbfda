"""Answer in the providers' shapes over the sample packs: tiles, scenes, STAC, rendered photos."""

import io
import json
import threading
from functools import lru_cache, wraps
from itertools import product
from math import cos, hypot, radians

import numpy as np
import rasterio
from rasterio.shutil import copy
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from rasterio.warp import Resampling, transform_bounds

from helpers import relief
from helpers.acquire import packs, tiles
from helpers.acquire.practice.server import Response, as_json

# pack, scene, lowest and native zoom
SOURCES = {name: ("landsat8_itaipu", name, 8, 12) for name in ("224077", "224078")}
SOURCES["seamlessphoto"] = ("blue_marble", "image", 0, 4)
SOURCES["std"] = SOURCES["pale"] = ("blue_marble", "relief", 0, 4)
SOURCES["eox"] = ("rocky_mountain", "image", 7, 10)
# digital numbers of Landsat that become 1 and 255: about the 0.5th and 99.5th percentile
STRETCH = np.array([(5950, 9050), (6640, 8700), (7380, 8900)], "float32").T
# STAC items by date: pack, collection, assets, cloud cover in % (by Fmask; bright in coastal)
LANDSAT = ("landsat_timeseries", "landsat-c2-l2", ("red", "nir08", "swir16", "fmask"))
ITEMS = {"2017-02-16": ("sentinel2_brandenburg", "sentinel-2-l2a", (), 6.9)}
ITEMS |= {"2011-08-18": (*LANDSAT, 0.0), "2011-08-02": (*LANDSAT, 19.2)}
ITEMS |= {"2010-07-30": (*LANDSAT, 43.1), "2010-07-14": (*LANDSAT, 0.0)}
DEFECTS = {3: "copy", 14: "night", 21: "blurred", 28: "face"}  # of photos, for filters to find
TILE = r"(?P<z>\d{1,2})/(?P<x>\d{1,9})/(?P<y>\d{1,9})"
ROUTES = []  # as `server.serve` takes them


def route(pattern, method="GET"):
    """Make a function of a request answer at a path."""
    return lambda function: ROUTES.append((method, pattern, function)) or function


def once(function):
    """Keep results, and let one thread at a time make them."""
    kept, making = lru_cache(400)(function), threading.Lock()

    @wraps(function)
    def call(*key):
        with making:
            return kept(*key)

    return call


@once
def raster(name):
    """Return a MemoryFile of a source: red, green, blue, uint8, 0 = no data."""
    scene = packs.open_scene(*SOURCES[name][:2], ["red", "green", "blue"])
    low, high = STRETCH if name[0] == "2" else (1, 255)
    pixels = np.nan_to_num(np.clip((scene.pixels - low) / (high - low) * 254 + 1, 1, 255))
    memory, size = rasterio.MemoryFile(), {"height": scene.height, "width": scene.width, "count": 3}
    place = {"crs": scene.crs, "transform": scene.transform, "tiled": True}
    with memory.open(driver="GTiff", **size, **place, dtype="uint8", nodata=0) as file:
        file.write(np.moveaxis(pixels.astype("uint8"), -1, 0))
    return memory


@once
def tile(name, kind, zoom, x, y, box=(-180, -90, 180, 90)):
    """Return an image of a tile, transparent outside the source and the box; None where empty."""
    _, _, lowest, native = SOURCES[name]
    if not lowest <= zoom <= native or max(x, y) >= 2**zoom:
        return None
    place = from_bounds(*tiles.mercator_bounds((x, y, zoom)), 256, 256)
    how = Resampling.bilinear if zoom == native else Resampling.average
    grid = {"crs": "EPSG:3857", "transform": place, "width": 256, "height": 256, "add_alpha": True}
    with raster(name).open() as file, WarpedVRT(file, **grid, resampling=how) as on_grid:
        pixels = np.moveaxis(on_grid.read(), 0, -1)
    west, south, east, north = tiles.bounds((x, y, zoom))
    lon, lat = np.linspace(west, east, 256)[None], np.linspace(north, south, 256)[:, None]
    inside = (box[0] <= lon) & (lon <= box[2]) & (box[1] <= lat) & (lat <= box[3])
    pixels = pixels * inside[..., None].astype("uint8")
    return image(pixels if kind == "PNG" else pixels[..., :3], kind) if pixels.any() else None


def image(pixels, kind):
    """Return the Response of an image."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, compress_level=1, quality=90)
    return Response(buffer.getvalue(), f"image/{kind.lower()}")


@route(rf"/gsi/xyz/(?P<name>seamlessphoto|std|pale)/{TILE}\.(jpg|png)")
@route(r"/eox/wmts/.*/g/(?P<z>\d\d?)/(?P<y>\d+)/(?P<x>\d+)\.jpg")
def map_tile(request):
    """Answer with a tile of gsi or eox."""
    kind = "JPEG" if request.path.endswith(".jpg") else "PNG"
    place = (int(request.groups[axis]) for axis in "zxy")
    return tile(request.groups.get("name", "eox"), kind, *place)


@once
def parts():
    """Return dict from id to (source, bounds): overlapping parts of the scenes, 30 km wide."""
    found = {}
    for name in ("224077", "224078"):
        with raster(name).open() as file:
            west, south, east, north = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        corners = product(np.linspace(south, north - 0.27, 3), np.linspace(west, east - 0.3, 6))
        for number, (bottom, left) in enumerate(corners, start=1):
            box = np.round((left, bottom, left + 0.3, bottom + 0.27), 4).tolist()
            found[f"PRACTICE-{name}-{number:02}"] = name, tuple(box)
    return found


def overlap(one, other):
    """Return whether two boxes touch."""
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


@route("/tellus_legacy/api/v1/asnaro1/scene")
def legacy_scenes(request):
    """List scenes that touch a box; wants a token, and takes any."""
    if not request.headers.get("Authorization", "").startswith("Bearer "):
        return as_json({"detail": "Authentication credentials were not provided."}, 401)
    names, found = ("min_lon", "min_lat", "max_lon", "max_lat"), []
    for name, (_, box) in parts().items():
        if overlap(box, [float(request.query[edge]) for edge in names]):
            facts = {"entityId": name, "acquisitionDate": "2020-05-18T00:00:00Z"}
            found.append(facts | dict(zip(names, box, strict=True)))
    return as_json(found)


@route(rf"/tellus_legacy/ASNARO-1/(?P<name>[\w-]+)/{TILE}\.png")
def legacy_tile(request):
    """Answer with a tile of a scene."""
    name, box = parts().get(request.groups["name"], ("", ()))
    place = (int(request.groups[axis]) for axis in "zxy")
    return tile(name, "PNG", *place, box) if name else None


@once
def item_files(day):
    """Return dict from asset to the Path of an item's file."""
    pack, _, names, _ = ITEMS[day]
    listed, found = packs.catalogue()[pack].scenes, {}
    for scene in [listed[day]] if names else listed.values():
        files = [packs.member_path(pack, file) for file in scene["files"]]
        found |= dict(zip(names or scene["bands"], files, strict=True))
    return found


def item(day, base):
    """Return the GeoJSON of an item."""
    pack, collection, _, cover = ITEMS[day]
    with rasterio.open(item_files(day)["red"]) as file:
        west, south, east, north = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
    ring = [(west, north), (west, south), (east, south), (east, north), (west, north)]
    facts = {"datetime": f"{day}T10:00:00Z", "eo:cloud_cover": cover}
    facts |= {"credit": packs.credits([pack])[0], "earthsearch:boa_offset_applied": True}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"{collection}-{day}",
        "collection": collection,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": facts,
        "assets": {key: {"href": f"{base}/files/{day}/{key}.tif"} for key in item_files(day)},
        "links": [],
    }


@route("/earth_search/v1/?")
def landing(request):
    """Describe the catalogue."""
    link = {"rel": "search", "href": f"{request.base}/earth_search/v1/search", "method": "POST"}
    parts = ("core", "item-search", "item-search#query")
    classes = [f"https://api.stacspec.org/v1.0.0/{part}" for part in parts]
    head = {"type": "Catalog", "stac_version": "1.0.0", "id": "practice", "description": "Packs"}
    link["type"] = "application/geo+json"
    return as_json(head | {"conformsTo": classes, "links": [link]})


@route("/earth_search/v1/collections")
def collections(request):
    """List the collections by id."""
    names = sorted({collection for _, collection, _, _ in ITEMS.values()})
    return as_json({"collections": [{"id": name} for name in names]})


@route("/earth_search/v1/search", "POST")
def search(request):
    """List items, latest first, all on one page."""
    asked, found = json.loads(request.body), []
    first, last = asked.get("datetime", "0/9").replace("..", "").split("/")
    most = asked.get("query", {}).get("eo:cloud_cover", {}).get("lt", 101)
    for one in (item(day, request.base) for day in ITEMS):
        facts = one["properties"]
        wanted = first <= facts["datetime"] <= (last or "9") and facts["eo:cloud_cover"] < most
        wanted = wanted and one["collection"] in asked["collections"]
        found += [one] * (wanted and overlap(one["bbox"], asked["bbox"]))
    count = {"numberMatched": len(found)}
    return as_json({"type": "FeatureCollection", "features": found, "links": []} | count)


@route(r"/files/(?P<day>[\d-]{10})/(?P<key>\w+)\.tif")
def asset(request):
    """Answer with a band of an item."""
    day, key = request.groups["day"], request.groups["key"]
    return cog(day, key) if day in ITEMS and key in item_files(day) else None


@once
def cog(day, key):
    """Return a band of an item as cloud-optimised GeoTIFF."""
    with rasterio.MemoryFile() as memory:
        copy(item_files(day)[key], memory.name, driver="COG", blocksize=256, compress="deflate")
        return Response(bytes(memory.getbuffer()), "image/tiff")


@once
def land():
    """Return the ground of the Rocky Mountains for `relief.view`, its shape and transform."""
    dem, colours = (packs.open_scene("rocky_mountain", name) for name in ("dem", "image"))
    heights, colours, pixel_size_m, transform = relief.aligned(dem, colours)
    return relief.ground(heights, colours, pixel_size_m), heights.shape, transform


@once
def photos():
    """Return list of (lon, lat, row, column): 36 photos spread over the mountains."""
    random, (_, shape, transform), found = np.random.default_rng(2014), land(), []
    for corner in product(range(6), range(6)):
        row, column = (corner + random.uniform(0.25, 0.75, 2)) / 6 * shape
        found.append((*map(float, transform @ (column, row)), row, column))
    return found


@route(r"/files/photos/(?P<number>\d\d)\.jpg")
def photo(request):
    """Answer with a photo."""
    return rendered(int(request.groups["number"]))


@once
def rendered(number):
    """Return a rendered photo; a few have a defect."""
    from PIL import Image, ImageFilter
    from skimage import data

    defect, (ground, _, _) = DEFECTS.get(number), land()
    number = 2 if defect == "copy" else number
    _, _, row, column = photos()[number]
    sun = -9 if defect == "night" else 25 + number % 5 * 5
    eye = {"row": row, "column": column, "heading_deg": number * 77 % 360, "size_px": (288, 432)}
    view = relief.view(ground, **eye, sun_elevation_deg=sun)
    pixels = data.astronaut() if defect == "face" else np.rint(view * 255).astype("uint8")
    if defect == "blurred":
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(8)))
    return image(pixels, "JPEG")


@route(r"/commons/w/api\.php")
def commons_query(request):
    """List files within a circle, nearest first; coordinates come 20 an answer."""
    asked, near, pages = request.query, [], {}
    if "(" not in request.headers.get("User-Agent", ""):
        return Response(b"Please set a user-agent with contact details", "text/plain", 403)
    lat, lon = map(float, asked["ggscoord"].split("|"))
    for number, place in enumerate(photos()):
        metres = 111_195 * hypot(place[1] - lat, (place[0] - lon) * cos(radians(lat)))
        near += [(metres, number)] * (metres <= int(asked["ggsradius"]))
    near, start = sorted(near)[: int(asked["ggslimit"])], int(asked.get("cocontinue", 0))
    for rank, (_, number) in enumerate(near):
        info = image_info(request.base, number)
        page = {
            "pageid": 90_000 + number,
            "title": f"File:View {number:02}.jpg",
            "imageinfo": [info],
        }
        if start <= rank < start + 20:
            page["coordinates"] = [{"lat": photos()[number][1], "lon": photos()[number][0]}]
        pages[str(page["pageid"])] = page
    more = {"continue": {"cocontinue": str(start + 20)}} if start + 20 < len(near) else {}
    return as_json(({"query": {"pages": pages}} if pages else {}) | (more or {"batchcomplete": ""}))


def image_info(base, number):
    """Return the facts about a photo, with its licence."""
    rendered = f"rendered, no photograph, from {packs.credits(['rocky_mountain'])[0]}"
    facts = {"Artist": "NASA" if DEFECTS.get(number) == "face" else rendered}
    facts |= {"LicenseShortName": "Public domain", "DateTimeOriginal": "2014-09-20 18:00:00"}
    facts = {name: {"value": value} for name, value in facts.items()}
    address = f"{base}/files/photos/{number:02}.jpg"
    return {"url": address, "mime": "image/jpeg", "extmetadata": facts}
