"""The map that notebook 05 learns to draw: the whole Earth, from surveyed lines and the tints of a relief map.

It lies on the grid of the satellite image: 5400 x 2700 pixels of longitude and latitude, 7.4 km at the equator. There
is nothing on it that people made, and no border of states, as that cannot be seen from space.
"""

import hashlib
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import from_origin
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, gaussian_filter

from helpers import paths
from helpers.acquire import packs
from helpers.scenes import SPLITS

# RGB; for the three kinds of colour blindness no two look alike (CIEDE2000 above 14)
LEGEND = {
    "ocean": (16, 32, 96),
    "lake": (144, 232, 255),
    "river": (32, 112, 255),
    "lowland": (64, 160, 96),  # below about 300 m
    "upland": (255, 232, 144),
    "mountain": (128, 48, 0),  # above about 1500 m
}
OCEAN, LAKE, RIVER, LOWLAND, UPLAND, MOUNTAIN = range(6)
NO_CLASS = 255  # the ice sheets, whose relief the tints do not show
HEIGHT, WIDTH, PIXEL_DEG = 2700, 5400, 1 / 15
CONTINENTS = ("eurasia", "africa", "north_america", "south_america", "australia", "greenland", "antarctica")
# names that GSHHG's outlines have in the column of numbers: the parts of a continent that the meridians 0 and 180 cut
OUTLINES = {
    "0-E": "eurasia", "0-W": "eurasia", "1": "africa", "2": "north_america", "3": "south_america", "6": "australia",
    "7": "greenland", "4-E": "antarctica", "4-W": "antarctica",
}  # fmt: skip
MAJOR_RIVERS = 2426  # the lines come in four ranks, each from north to south; those of the first are the first so many
DOUBLE_RIVERS = 55  # of these, the first so many are the outlines of water that is wide enough to have two banks
INHABITED = ("africa", "australia", "eurasia", "north_america", "south_america")  # whose ground is not mostly ice
LATITUDES_DEG = (-60, 75)  # beyond, plate carrée stretches the ground more than four times, and most of it is ice
LAND_SHARE = 0.3  # of a tile, at least
GUARD_PX = 16  # at least, between tiles of different splits

World = namedtuple("World", "classes continents")


def world():
    """The map of the whole Earth, drawn once and kept in the data folder.

    Returns:
        World: `classes` uint8 (2700, 5400), places in LEGEND or NO_CLASS; `continents` uint8, place in CONTINENTS of
        the continent that is nearest in degrees.
    """
    recipe = repr(sorted(packs.catalogue()["blue_marble"].members.items())).encode() + Path(__file__).read_bytes()
    path = paths.DATA / "maps" / f"world_{hashlib.sha256(recipe).hexdigest()[:12]}.npz"
    if not path.exists():
        drawn = draw()
        with paths.atomic(path) as temporary:
            np.savez_compressed(temporary, **drawn._asdict())
    with np.load(path) as stored:
        return World(*(stored[name] for name in World._fields))


def draw():
    """Draw the World: sea, land by height, over it the major rivers, over these lakes and their islands.

    Source: GSHHG (Wessel and Smith 1996) with its rivers from the World Data Bank II; heights from the tints of NOAA's
    ETOPO1 picture.
    """
    lines = sorted(_lines("gshhs"), key=lambda line: "1523".index(line[0]))  # land, ice shelf, lake, island in a lake
    surface = _burnt([("Polygon", [points], 2 if kind == "2" else 1) for kind, _, points in lines])
    continent = _burnt([
        ("Polygon", [points], CONTINENTS.index(OUTLINES[number]) + 1)
        for _, number, points in lines if number in OUTLINES
    ])  # fmt: skip
    nearest = distance_transform_edt(continent == 0, return_distances=False, return_indices=True)
    continents = continent[tuple(nearest)] - 1
    rivers = [points for _, _, points in _lines("rivers")][:MAJOR_RIVERS]
    classes = _by_height(surface == 1)
    classes[continent > CONTINENTS.index("greenland")] = NO_CLASS
    # rasterio draws nothing, and does not say so, where the points of a line are an array
    lines = [("LineString", points.tolist(), 1) for points in rivers]
    classes[binary_dilation(_burnt(lines))] = RIVER
    classes[surface == 2] = LAKE
    banks = [("Polygon", [points], 1) for points in rivers[:DOUBLE_RIVERS]]
    classes[binary_dilation(_burnt(banks + lines[:DOUBLE_RIVERS]))] = RIVER  # GSHHG has them among the lakes, too
    classes[surface == 0] = OCEAN
    return World(classes, continents)


def picture(classes):
    """The map's colours, uint8 (height, width, 3), of a part of its classes, (height, width); NO_CLASS is white."""
    colours = np.full((256, 3), 255, np.uint8)
    colours[: len(LEGEND)] = list(LEGEND.values())
    return colours[classes]


@dataclass(frozen=True, eq=False)
class MapTile:
    """A satellite image and its map.

    Attributes:
        satellite, map: uint8 (height, width, 3).
        classes: uint8 (height, width), places in the legend; None where the maps have no legend.
        continent: name, "" where unknown.
        west, south, east, north: edges in `crs`; None where the place is unknown.
        name: for captions.
        crs: coordinate reference system of the edges, or None.
    """

    satellite: np.ndarray
    map: np.ndarray
    classes: np.ndarray | None
    continent: str
    west: float | None
    south: float | None
    east: float | None
    north: float | None
    name: str
    crs: object = None


def open_maps(*, tile_px=256, stride_px=None, test="africa", validation="south_america"):
    """Tiles of NASA's Blue Marble and of the map that is drawn at its position, split by continent.

    One continent tests, one validates; the others train, with the islands nearest to each. All land of a tile is of
    its own split, and tiles of different splits have at least 16 px of sea or unused land between them. Tiles with ice
    sheets are left out, as their relief is not known.

    Args:
        tile_px: side of a tile, a multiple of 8; a pixel is 1/15 degree, 7.4 km at the equator.
        stride_px: from one training tile to the next; default: half a tile, so that they overlap. Those for validation
            and test do not, so that no ground counts twice.
        test, validation: continents, of INHABITED. Those of the default have all six classes; Australia has hardly any
            mountain.

    Returns:
        dict from "train", "validation", "test" to a list of MapTile, from north to south; the legend is `LEGEND`.

    Raises:
        ValueError: another size, an unknown continent or one that is asked for twice, or no tile of this size fits
            into a split.
        FileNotFoundError: the pack `blue_marble` is not fetched (says the command).
    """
    if tile_px % 8:
        raise ValueError(f"tile_px is {tile_px}; expected a multiple of 8")
    held_out = {test: "test", validation: "validation"}
    if len(held_out) < 2 or not set(held_out) <= set(INHABITED):
        raise ValueError(f"test is {test!r}, validation {validation!r}; expected two of {', '.join(INHABITED)}")
    drawn, satellite = world(), raster("bmng.jpg")
    land, ground, taken = drawn.classes != OCEAN, {}, np.empty((0, 2), int)
    top, bottom = (round((90 - lat) / PIXEL_DEG) for lat in reversed(LATITUDES_DEG))
    step = tile_px // 8  # tiles may lie anywhere on a grid so fine

    def share(mask):
        rows, columns = (bottom - top) // step, WIDTH // step
        cells = mask[top : top + rows * step, : columns * step].reshape(rows, step, columns, step).mean(axis=(1, 3))
        return np.lib.stride_tricks.sliding_window_view(cells, (8, 8)).mean(axis=(2, 3))

    def tile(row, column):
        window = np.s_[row : row + tile_px, column : column + tile_px]
        continent = CONTINENTS[np.bincount(drawn.continents[window][land[window]]).argmax()]
        west, north = column * PIXEL_DEG - 180, 90 - row * PIXEL_DEG
        east, south = west + tile_px * PIXEL_DEG, north - tile_px * PIXEL_DEG
        lat, lon = (south + north) / 2, (west + east) / 2
        place = f"{abs(lat):.1f} {'NS'[lat < 0]} {abs(lon):.1f} {'EW'[lon < 0]}"
        name = f"{continent.replace('_', ' ')}, {place}"
        return MapTile(
            satellite[window], picture(drawn.classes[window]), drawn.classes[window], continent, west, south, east,
            north, name, CRS.from_epsg(4326),
        )  # fmt: skip

    for split in reversed(SPLITS):  # training tiles keep away from those that test, not the other way round
        own = np.array([held_out.get(name, "train") == split for name in CONTINENTS])
        wrong = (land & ~own[drawn.continents]) | (drawn.classes == NO_CLASS)
        apart_px = (stride_px or tile_px // 2) if split == "train" else tile_px
        chosen = np.empty((0, 2), int)
        for place in np.argwhere((share(land) > LAND_SHARE) & (share(wrong) == 0)) * step + [top, 0]:
            free = [
                (np.abs(others - place).max(axis=1) >= distance).all()
                for others, distance in ((chosen, apart_px), (taken, tile_px + GUARD_PX))
            ]
            chosen = np.concatenate([chosen, [place]]) if all(free) else chosen
        if not len(chosen):
            raise ValueError(f"no tile of {tile_px} px lies on the ground for {split}: use smaller tiles, 256 or less")
        ground[split] = [tile(*place) for place in chosen.tolist()]
        taken = np.concatenate([taken, chosen])
    return {split: ground[split] for split in SPLITS}


def _by_height(land):
    """Class by height of every pixel; where no land is near, lowland.

    The thresholds are those that suit 4,500 airports of known height. ETOPO1's tints turn from green to yellow at
    300 m, to brown above 1000 m, to grey above 4000 m; its picture stores hues in blocks of 16 pixels, so that they
    have to be smoothed more than a valley is wide. The shaded relief's lowland is green or brown by climate, but it
    turns reddish above 1500 m, sharply. Of 6,600 airports 92 % come out right as below 300 m or not, 97 % as above
    1500 m or not.
    """
    inland = binary_erosion(land, iterations=2)  # nearer to water the tints are mixed with those of the water

    def smoothed(name, width_px):
        tints = raster(name).astype(np.float32)
        trusted = (inland & (tints[..., 2] < tints[..., 0] + 10)).astype(np.float32)
        return [gaussian_filter(band * trusted, width_px) for band in (*np.moveaxis(tints, -1, 0), np.float32(1))]

    red, green, blue, _ = smoothed("etopo1.jpg", 4)
    grey, brown = blue > 0.86 * green, blue < 0.42 * red
    high = grey | (green < 0.77 * red) | (blue < 0.25 * red)
    lowland = (green > 0.93 * red) & ~grey | (red == 0)
    red, green, blue, weight = smoothed("shadedrelief.jpg", 1)
    reddish = red + blue - 2 * green
    mountain = high & (reddish > -8 * weight) | brown & (reddish > weight)
    return np.select([lowland, mountain], [LOWLAND, MOUNTAIN], UPLAND).astype(np.uint8)


def _lines(name):
    """Each line of a file of GSHHG: kind, number, points float32 (points, 2) as longitude and latitude."""
    points = np.fromfile(packs.member_path("blue_marble", f"{name}_i.dat"), "<f4").reshape(-1, 2)
    for row in packs.member_path("blue_marble", f"{name}meta_i.dat").read_text().splitlines():
        kind, _, count, _, _, begin, _, number = row.split()
        yield kind, number, points[int(begin) // 8 :][: int(count)]


def _burnt(shapes):
    """Shapes (type, coordinates, value) drawn one over the other: uint8 (HEIGHT, WIDTH), 0 beside them."""
    geometries = [({"type": kind, "coordinates": points}, value) for kind, points, value in shapes]
    return rasterize(geometries, (HEIGHT, WIDTH), transform=from_origin(-180, 90, PIXEL_DEG, PIXEL_DEG), dtype="uint8")


def raster(name):
    """A picture of the pack, such as "bmng.jpg", on the map's grid: uint8 (2700, 5400, 3)."""
    with Image.open(packs.member_path("blue_marble", name)) as image:
        image.draft("RGB", (WIDTH, HEIGHT))  # reads the larger of them at half its size
        return np.asarray(image.convert("RGB"))
