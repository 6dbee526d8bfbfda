"""What the practice server shows: the real imagery of the sample packs as map tiles, and as files.

Nothing is opened or drawn before it is asked for, and nothing is drawn twice. Files are made once, in the folder
"practice" of the data folder.
"""

import functools
import io
import itertools
import threading
from collections import namedtuple

import numpy as np

from helpers import paths, scenes
from helpers.acquire import packs, tiles

TILE_PX = 256
LANDSAT_ZOOMS, ROCKY_ZOOMS, WORLD_ZOOMS = (8, 12), (8, 10), (0, 4)  # lowest, native
# digital numbers that become 1 and 255: about the 0.5th and 99.5th percentile of both scenes; 0 is left for no data
STRETCH = {"red": (5950, 9050), "green": (6640, 8700), "blue": (7380, 8900)}
SUBSCENE_PX, ROWS, COLUMNS = 1000, 3, 6  # of each Landsat scene: 30 km wide, 6 km or more from one to the next
WORLD = {"seamlessphoto": "bmng.jpg", "std": "etopo1.jpg", "pale": "shadedrelief.jpg"}

Subscene = namedtuple("Subscene", "scene row column bounds geometry")


def once(size=None):
    """Decorator: keeps `size` results, None = all; who asks for what is being made waits, and does not make it, too."""

    def decorate(function):
        kept, locks = functools.lru_cache(size)(function), {}

        @functools.wraps(function)
        def call(*key):
            with locks.setdefault(key, threading.Lock()):
                return kept(*key)

        return call

    return decorate


@once(12)
def source(name):
    """(MemoryFile, lowest zoom, native zoom) of a Landsat scene, a sub-scene, "rocky_mountain", or a world layer.

    The file is a GeoTIFF of red, green, blue, uint8, 0 = no data; every thread opens it for itself.
    """
    from rasterio import MemoryFile
    from rasterio.transform import from_bounds

    if name in WORLD:
        from PIL import Image

        with Image.open(packs.member_path("blue_marble", WORLD[name])) as picture:
            picture.draft("RGB", (5400, 2700))  # reads a larger JPEG at half its size, which is four times faster
            pixels = np.maximum(np.asarray(picture.convert("RGB")), 1)
        crs, transform, zooms = "EPSG:4326", from_bounds(-180, -90, 180, 90, *pixels.shape[1::-1]), WORLD_ZOOMS
    elif name == "rocky_mountain":
        scene, zooms = packs.open_scene("rocky_mountain", "image"), ROCKY_ZOOMS
        pixels = np.clip(np.nan_to_num(scene.pixels, nan=255), 1, 255)  # what is taken for no data is white snow
        crs, transform = scene.crs, scene.transform
    else:
        one, zooms = subscenes().get(name), LANDSAT_ZOOMS
        scene = packs.open_scene("landsat8_itaipu", one.scene if one else name, list(STRETCH))
        scene = scene.cut(one.row, one.column, SUBSCENE_PX, SUBSCENE_PX) if one else scene
        low, high = np.array(list(STRETCH.values()), "float32").T
        pixels = np.clip(np.rint((scene.pixels - low) / (high - low) * 254 + 1), 1, 255)
        pixels = np.where(scene.valid[..., None], pixels, 0)
        crs, transform = scene.crs, scene.transform
    memory, (height, width, count) = MemoryFile(), pixels.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": "uint8", "nodata": 0}
    with memory.open(**profile, crs=crs, transform=transform, tiled=True) as file:
        file.write(np.moveaxis(pixels.astype("uint8"), -1, 0))
    return memory, *zooms


def part(name, zoom, left, top, width, height):
    """Part of a source in Web Mercator: uint8 (height, width, 3), 0 where it has nothing.

    `left`, `top` count pixels of that zoom (floats) from the north-west corner of the whole map.
    """
    from rasterio.transform import from_origin
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import Resampling

    memory, lowest, native = source(name)
    if not lowest <= zoom <= native:
        return np.zeros((height, width, 3), "uint8")
    pixel, half = tiles.CIRCUMFERENCE_M / TILE_PX / 2**zoom, tiles.CIRCUMFERENCE_M / 2
    grid = {"transform": from_origin(left * pixel - half, half - top * pixel, pixel, pixel), "crs": "EPSG:3857"}
    how = Resampling.bilinear if zoom == native else Resampling.average
    with memory.open() as file, WarpedVRT(file, **grid, width=width, height=height, resampling=how) as on_grid:
        return np.moveaxis(on_grid.read(), 0, -1)


def tile(name, zoom, x, y):
    """The part of a source that a tile shows."""
    return part(name, zoom, x * TILE_PX, y * TILE_PX, TILE_PX, TILE_PX)


def mosaic(draw, *place):
    """All imagery finer than the world's, by `part` or `tile`; the northern Landsat scene lies over the southern."""
    result = draw("rocky_mountain", *place)
    for name in ("224078", "224077"):
        above = draw(name, *place)
        result = np.where(above.any(-1, keepdims=True), above, result)
    return result


@functools.cache
def subscenes():
    """Dict from id to Subscene: overlapping parts of the Landsat scenes, 30 km wide, spread evenly over each.

    Parts with data on less than half of their ground are left out.
    """
    found = {}
    for name in packs.catalogue()["landsat8_itaipu"].scenes:
        scene = packs.open_scene("landsat8_itaipu", name, ["blue"])
        rows = np.linspace(0, scene.height - SUBSCENE_PX, ROWS).astype(int).tolist()
        columns = np.linspace(0, scene.width - SUBSCENE_PX, COLUMNS).astype(int).tolist()
        for number, (row, column) in enumerate(itertools.product(rows, columns), start=1):
            cut = scene.cut(row, column, SUBSCENE_PX, SUBSCENE_PX)
            if cut.valid.mean() >= 0.5:
                found[f"PRACTICE-{name}-{number:02}"] = Subscene(name, row, column, *outlined(cut.bounds, cut.crs))
    return found


def outlined(bounds, crs):
    """(west, south, east, north) in degrees, and the corners as a GeoJSON polygon."""
    from rasterio.warp import transform_bounds, transform_geom

    west, south, east, north = bounds
    ring = [(west, north), (west, south), (east, south), (east, north), (west, north)]
    geometry = transform_geom(crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]})
    return transform_bounds(crs, "EPSG:4326", *bounds), geometry


@once(256)
def subscene_tile(name, zoom, x, y):
    """PNG of a tile of a sub-scene, transparent where that has no data; None where there is no such tile."""
    one, (lowest, native) = subscenes().get(name), LANDSAT_ZOOMS
    if not one or not lowest <= zoom <= native or (x, y, zoom) not in tiles.within(one.bounds, zoom):
        return None
    colours = tile(name, zoom, x, y)
    return encoded(np.concatenate([colours, colours.any(-1, keepdims=True) * np.uint8(255)], axis=-1), "PNG")


@once(256)
def mosaic_tile(zoom, x, y):
    """JPEG of a tile of `mosaic`; None where that has nothing."""
    colours = mosaic(tile, zoom, x, y)
    return encoded(colours, "JPEG") if colours.any() else None


@once(256)
def world_tile(layer, zoom, x, y):
    """JPEG (photo) or PNG (maps) of a tile of the world; None where there is no such tile."""
    if zoom > WORLD_ZOOMS[1] or not (x < 2**zoom and y < 2**zoom):
        return None
    return encoded(tile(layer, zoom, x, y), "JPEG" if layer == "seamlessphoto" else "PNG")


def encoded(pixels, kind, **options):
    """Bytes of an image; `pixels` is an array or a Pillow image."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    picture.save(buffer, kind, **({"compress_level": 1} if kind == "PNG" else {"quality": 90}), **options)
    return buffer.getvalue()


@once(0)  # the file is kept
def subscene_file(name):
    """Path of a GeoTIFF of a sub-scene: blue, green, red at 30 m, digital numbers as they are."""
    path, one = paths.DATA / "practice" / f"{name}.tif", subscenes()[name]
    if not path.exists():
        scene = packs.open_scene("landsat8_itaipu", one.scene)
        scenes.write(scene.cut(one.row, one.column, SUBSCENE_PX, SUBSCENE_PX), path)
    return path
