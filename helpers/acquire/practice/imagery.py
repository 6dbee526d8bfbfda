"""What the practice server shows: the real imagery of the sample packs as map tiles, and as files.

Nothing is opened or drawn before it is asked for, and nothing is drawn twice. Files are made once, in the folder
"practice" of the data folder.
"""

import functools
import io
import itertools
import math
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
SERIES = ("2010-07-14", "2010-07-30", "2011-08-02", "2011-08-18")  # clear, cloudy; cloudy, clear: 16 days apart
CLOUD, FILL = 4, 255  # of Fmask, which has 0 land, 1 water, 2 shadow, 3 snow besides

Subscene = namedtuple("Subscene", "scene row column bounds geometry outline")
Item = namedtuple("Item", "collection pack day facts cloud_cover bounds geometry assets")
Asset = namedtuple("Asset", "scene band pixel_size_m shape transform crs dtype nodata")


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


class Pyramid:
    """An image in Web Mercator, at its own zoom and lower ones; 0 = no data.

    Args:
        image: uint8 (height, width, bands).
        left, top: its first pixel, counted from the north-west corner of the whole map.
        zooms: lowest, own; `left`, `top`, width and height are multiples of 2 ** (own - lowest).
    """

    def __init__(self, image, left, top, zooms):
        self.levels = {zooms[1]: (left, top, image)}
        for lower in range(zooms[1] - 1, zooms[0] - 1, -1):
            left, top, finer = self.levels[lower + 1]
            self.levels[lower] = (left // 2, top // 2, _halved(finer))

    def cut(self, zoom, left, top, width, height):
        """uint8 (height, width, bands) from a pixel of the whole map on; 0 where there is nothing, or no such zoom."""
        first_left, first_top, image = self.levels.get(zoom, (0, 0, np.zeros((1, 1, 3), "uint8")))
        rows, columns = np.arange(top, top + height) - first_top, np.arange(left, left + width) - first_left
        inside = [(index >= 0) & (index < size) for index, size in zip((rows, columns), image.shape, strict=False)]
        part = image[np.clip(rows, 0, image.shape[0] - 1)[:, None], np.clip(columns, 0, image.shape[1] - 1)]
        return part * (inside[0][:, None] & inside[1])[..., None]

    def tile(self, zoom, x, y):
        """The same for a tile."""
        return self.cut(zoom, x * TILE_PX, y * TILE_PX, TILE_PX, TILE_PX)


def _halved(image):
    """Means of 2 x 2 pixels, of those with data where at least two have."""
    height, width, bands = image.shape
    blocks = image.reshape(height // 2, 2, width // 2, 2, bands)
    count = (blocks > 0).sum((1, 3), dtype="uint16")
    mean = (blocks.sum((1, 3), dtype="uint16") + count // 2) // np.maximum(count, 1)
    return np.where(count > 1, mean, 0).astype("uint8")


@once()
def landsat(name):
    """Pyramid of a Landsat scene: red, green, blue by one fixed linear stretch."""
    scene = packs.open_scene("landsat8_itaipu", name, list(STRETCH))
    low, high = np.array(list(STRETCH.values()), "float32").T
    image = np.clip(np.rint((scene.pixels - low) / (high - low) * 254 + 1), 1, 255)
    return _pyramid(scene, np.where(scene.valid[..., None], image, 0), LANDSAT_ZOOMS)


@once()
def rocky_mountains():
    """Pyramid of the Rocky Mountains; over-exposed snow, which the pack takes for no data, is white."""
    scene = packs.open_scene("rocky_mountain", "image")
    return _pyramid(scene, np.clip(np.nan_to_num(scene.pixels, nan=255), 1, 255), ROCKY_ZOOMS)


def _pyramid(scene, image, zooms):
    from rasterio.transform import from_origin
    from rasterio.warp import Resampling, reproject, transform_bounds

    lowest, zoom = zooms
    pixel, step, half = tiles.CIRCUMFERENCE_M / TILE_PX / 2**zoom, 2 ** (zoom - lowest), tiles.CIRCUMFERENCE_M / 2
    west, south, east, north = transform_bounds(scene.crs, "EPSG:3857", *scene.bounds, densify_pts=51)
    left, top = (math.floor(edge / pixel / step) * step for edge in (west + half, half - north))
    right, bottom = (math.ceil(edge / pixel / step) * step for edge in (east + half, half - south))
    target = np.zeros((3, bottom - top, right - left), "uint8")
    reproject(
        np.moveaxis(image.astype("uint8"), -1, 0), target, src_crs=scene.crs, src_transform=scene.transform,
        dst_crs="EPSG:3857", dst_transform=from_origin(left * pixel - half, half - top * pixel, pixel, pixel),
        src_nodata=0, resampling=Resampling.bilinear,
    )  # fmt: skip
    return Pyramid(np.ascontiguousarray(np.moveaxis(target, 0, -1)), left, top, zooms)


@once(2)
def world(layer):
    """Pyramid of the whole Earth, from a picture in plate carrée, whose columns are those of the map."""
    from PIL import Image

    size = TILE_PX * 2 ** WORLD_ZOOMS[1]
    with Image.open(packs.member_path("blue_marble", WORLD[layer])) as picture:
        picture.draft("RGB", (5400, 2700))  # reads a larger JPEG at half its size, which is four times faster
        image = np.asarray(picture.convert("RGB").resize((size, picture.height), Image.Resampling.BILINEAR))
    lats = np.degrees(np.arctan(np.sinh(np.pi * (1 - (2 * np.arange(size) + 1) / size))))
    rows, parts = np.divmod((90 - lats) / 180 * len(image) - 0.5, 1)
    mixed = (image[row] * (1 - part) + image[row + 1] * part for row, part in zip(rows.astype(int), parts, strict=True))
    return Pyramid(np.array([np.rint(np.maximum(row, 1)).astype("uint8") for row in mixed]), 0, 0, WORLD_ZOOMS)


def mosaic(zoom, left, top, width, height):
    """All imagery finer than the world's, as `Pyramid.cut`; the northern Landsat scene lies over the southern one."""
    result = rocky_mountains().cut(zoom, left, top, width, height)
    for name in ("224078", "224077"):
        part = landsat(name).cut(zoom, left, top, width, height)
        result = np.where(part.any(-1, keepdims=True), part, result)
    return result


@functools.cache
def subscenes():
    """Dict from id to Subscene: overlapping parts of the Landsat scenes, 30 km wide, spread evenly over each.

    Parts with data on less than half of their ground are left out.
    """
    import rasterio
    from rasterio.windows import Window

    found = {}
    for name, listed in packs.catalogue()["landsat8_itaipu"].scenes.items():
        with rasterio.open(packs.member_path("landsat8_itaipu", listed["files"][0])) as file:
            filled = file.read(1, out_shape=(file.height // 10, file.width // 10)) > 0
            rows = np.linspace(0, file.height - SUBSCENE_PX, ROWS).astype(int).tolist()
            columns = np.linspace(0, file.width - SUBSCENE_PX, COLUMNS).astype(int).tolist()
            for number, (row, column) in enumerate(itertools.product(rows, columns), start=1):
                if filled[row // 10 :, column // 10 :][: SUBSCENE_PX // 10, : SUBSCENE_PX // 10].mean() >= 0.5:
                    bounds = file.window_bounds(Window(column, row, SUBSCENE_PX, SUBSCENE_PX))
                    found[f"PRACTICE-{name}-{number:02}"] = Subscene(name, row, column, *_outlined(bounds, file.crs))
    return found


def _outlined(bounds, crs):
    """(west, south, east, north) in degrees, and the outline as GeoJSON in degrees and in metres of EPSG:3857."""
    from rasterio.warp import transform_geom

    west, south, east, north = bounds
    corners = np.array([(west, north), (west, south), (east, south), (east, north), (west, north)])
    # straight edges are slightly bent in another projection
    ring = np.concatenate([np.linspace(*ends, 8, endpoint=False) for ends in itertools.pairwise(corners)])
    polygon = {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]}
    geometry, outline = (transform_geom(crs, other, polygon) for other in ("EPSG:4326", "EPSG:3857"))
    lons, lats = zip(*geometry["coordinates"][0], strict=True)
    return (min(lons), min(lats), max(lons), max(lats)), geometry, outline


@once(256)
def subscene_tile(name, zoom, x, y):
    """PNG of a tile of a sub-scene, transparent where that has no data; None where there is no such tile."""
    from rasterio.features import geometry_mask
    from rasterio.transform import from_bounds

    one = subscenes().get(name)
    if (
        not one
        or not LANDSAT_ZOOMS[0] <= zoom <= LANDSAT_ZOOMS[1]
        or (x, y, zoom) not in tiles.within(one.bounds, zoom)
    ):
        return None
    colours, size = landsat(one.scene).tile(zoom, x, y), (TILE_PX, TILE_PX)
    grid = from_bounds(*tiles.mercator_bounds((x, y, zoom)), *size)
    inside = colours.any(-1, keepdims=True) & geometry_mask([one.outline], size, grid, invert=True)[..., None]
    return encoded(np.concatenate([colours * inside, inside * np.uint8(255)], axis=-1), "PNG")


@once(256)
def mosaic_tile(zoom, x, y):
    """JPEG of a tile of `mosaic`; None where that has nothing."""
    part = mosaic(zoom, x * TILE_PX, y * TILE_PX, TILE_PX, TILE_PX)
    return encoded(part, "JPEG") if part.any() else None


@once(256)
def world_tile(layer, zoom, x, y):
    """JPEG (photo) or PNG (maps) of a tile of `world`; None where there is no such tile."""
    if zoom > WORLD_ZOOMS[1] or not (x < 2**zoom and y < 2**zoom):
        return None
    return encoded(world(layer).tile(zoom, x, y), "JPEG" if layer == "seamlessphoto" else "PNG")


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


@functools.cache
def items():
    """Dict from id to Item: what the STAC catalogue holds."""
    sentinel, series = packs.catalogue()["sentinel2_brandenburg"], packs.catalogue()["landsat_timeseries"]
    facts = {
        "platform": "sentinel-2a", "constellation": "sentinel-2", "instruments": ["msi"], "grid:code": "MGRS-33UUU",
        "processing:level": "L1C", "s2:processing_baseline": "02.04", "earthsearch:boa_offset_applied": False,
        "description": "Level 1C, reflectance at the top of the atmosphere, though the collection is one of level 2A",
    }  # fmt: skip
    bands = {band: (name, band) for name, listed in sentinel.scenes.items() for band in listed["bands"]}
    found = {"S2A_33UUU_20170216_0_L1C": _item("sentinel-2-l2a", sentinel, "2017-02-16T10:21:01Z", facts, bands)}
    for day in SERIES:
        bands = {"nir08" if band == "nir" else band: (day, band) for band in series.scenes[day]["bands"]}
        name = series.scenes[day]["files"][0].split("/")[0]
        facts = {
            "platform": f"landsat-{name[2]}", "instruments": ["tm" if name[1] == "T" else "etm+"],
            "description": "Reflectance x 10000; cloud cover by Fmask; the time of day is not known",
        }  # fmt: skip
        found[name] = _item("landsat-c2-l2", series, f"{day}T00:00:00Z", facts, bands)
    return found


def _item(collection, pack, time, facts, bands):
    import rasterio

    assets = {}
    for key, (name, band) in bands.items():
        listed = pack.scenes[name]
        with rasterio.open(packs.member_path(pack.name, listed["files"][listed["bands"].index(band)])) as file:
            stored = ("uint8", FILL) if key == "fmask" else ("uint16", 0)
            assets[key] = Asset(name, band, file.res[0], file.shape, file.transform, file.crs, *stored)
            if key in ("coastal", "fmask"):
                pixels = file.read(1)
                # what Fmask calls cloud; else what is bright in the band for haze, as what looks like cloud there is
                clouded = pixels[pixels != FILL] == CLOUD if key == "fmask" else pixels > 2000
                cover, place = round(100 * float(clouded.mean()), 1), _outlined(file.bounds, file.crs)[:2]
    return Item(collection, pack.name, time, facts, cover, *place, assets)


@once(0)  # the file is kept
def cog(item, key):
    """Path of a cloud-optimised GeoTIFF of one band of an Item, with the pixels of the pack."""
    import rasterio

    path, asset = paths.DATA / "practice" / item / f"{key}.tif", items()[item].assets[key]
    if not path.exists():
        scene = packs.open_scene(items()[item].pack, asset.scene, [asset.band])
        if scene.nodata is None:  # Sentinel-2 takes 0 for no data, though the files do not say so
            scene.pixels[scene.pixels == asset.nodata] = np.nan
        profile = {
            "driver": "COG", "height": scene.height, "width": scene.width, "count": 1, "dtype": asset.dtype,
            "nodata": asset.nodata, "crs": scene.crs, "transform": scene.transform, "blocksize": 256,
            "compress": "deflate", "predictor": "yes",
            "overview_resampling": "nearest" if key == "fmask" else "average",
        }  # fmt: skip
        with paths.atomic(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
            file.write(scenes.to_file_values(scene.pixels[..., 0], asset.dtype, asset.nodata), 1)
    return path
