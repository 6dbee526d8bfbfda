"""The arithmetic of map tiles, against an independent formula and, for boxes, against mercantile's own list."""

import itertools
import math

import mercantile
import numpy as np
import pytest

from helpers.acquire import tiles

EDGE = 85.0511287798066


def formula(lon, lat, zoom):
    """Column and row by the formula of the OpenStreetMap wiki, "Slippy map tilenames"; floats."""
    phi = math.radians(lat)
    return (lon + 180) / 360 * 2**zoom, (1 - math.log(math.tan(phi) + 1 / math.cos(phi)) / math.pi) / 2 * 2**zoom


def edges(x, y, zoom):
    """(west, south, east, north) in degrees, by the same source."""
    south, north = (math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / 2**zoom)))) for row in (y + 1, y))
    return x / 2**zoom * 360 - 180, south, (x + 1) / 2**zoom * 360 - 180, north


def test_tiles_and_their_bounds_follow_the_formula():
    random = np.random.default_rng(0)
    lons, lats, zooms = random.uniform(-180, 180, 10_000), random.uniform(-85.05, 85.05, 10_000), range(23)
    for lon, lat, zoom in zip(lons, lats, itertools.cycle(zooms), strict=False):
        x, y = formula(lon, lat, zoom)
        [tile] = tiles.within((lon, lat - 1e-10, lon + 1e-10, lat), zoom)
        assert tile == (math.floor(x), math.floor(y), zoom), (lon, lat, zoom)


def test_corners_of_a_tile_belong_to_it_and_its_neighbours():
    random = np.random.default_rng(2)
    for zoom in [*range(23)] * 20:
        x, y = random.integers(0, 2**zoom, 2).tolist()
        west, south, east, north = edges(x, y, zoom)
        assert list(tiles.within((west, south, east, north), zoom)) == [(x, y, zoom)]


@pytest.mark.parametrize("crossing", [False, True])
def test_tiles_of_a_box_are_those_of_mercantile_and_counted_right(crossing):
    random = np.random.default_rng(1)
    for _ in range(300):
        width, height, zoom = *(10 ** random.uniform(-3, 1.9, 2)), int(random.integers(0, 23))
        zoom = min(zoom, int(6 - math.log2(max(width, height) / 90)))  # some hundreds of tiles at most
        west, south = 180 - width * random.uniform(0.1, 0.9) if crossing else random.uniform(-180, 95), -height / 3
        east = west + width - (360 if crossing else 0)
        found = list(tiles.within((west, south, east, south + height), zoom))
        expected = {tuple(tile) for tile in mercantile.tiles(west, south, east, south + height, [zoom])}
        assert set(found) == expected
        assert len(found) == len(expected) == tiles.count((west, south, east, south + height), zoom)
        assert [tile.y for tile in found] == sorted(tile.y for tile in found)


def test_a_row_across_the_antimeridian_runs_from_west_to_east():
    found = list(tiles.within((170, -10, -170, -5), 5))
    assert [tile.x for tile in found] == [31, 0]
    assert tiles.count((170, -10, -170, -5), 0) == 1


def test_the_antimeridian_may_be_called_plus_or_minus_180():
    assert tiles.check_bounds((180, -10, -170, 0)) == (-180, -10, -170, 0)
    assert tiles.check_bounds((170, -10, -180, 0)) == (170, -10, 180, 0)
    assert [tile.x for tile in tiles.within((180, -10, -170, -5), 5)] == [0]


def test_the_whole_map_is_counted_without_listing_it():
    assert tiles.count((-180, -EDGE, 180, EDGE), 22) == 4**22
    assert tiles.count((-180, -85.051129, 180, 85.051129), 3) == 64  # as people round it
    assert next(tiles.within((-180, -EDGE, 180, EDGE), 22)) == (0, 0, 22)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((1, 2, 3), "expected four numbers, west, south, east, north"),
        ((1, 2, 3, math.nan), "four numbers"),
        ((1, 2, math.inf, 4), "within ±180"),
        ("10,20,30,40", "four numbers"),
        (None, "four numbers"),
        ((35, 139, 36, 140), "latitude and longitude were swapped"),
        ((10, -95, 20, 0), "within ±180 and ±90.*swapped"),
        ((170, -95, 175, 0), "that span an area$"),
        ((190, 0, 200, 10), "within ±180"),
        ((0, 20, 10, 10), "west, south, east, north"),
        ((20, 0, 10, 10), "west, south, east, north"),
        ((90, 0, -90, 10), "west, south, east, north"),
        ((10, 0, 10, 10), "span an area"),
        ((10, 5, 20, 5), "span an area"),
        ((180, 0, -180, 5), "span an area"),
    ],
)
def test_a_box_that_cannot_be_meant_is_refused(box, words):
    for use in (tiles.check_bounds, lambda box: tiles.count(box, 5), lambda box: list(tiles.within(box, 5))):
        with pytest.raises(ValueError, match=words):
            use(box)


def test_beyond_the_map_there_are_no_tiles_and_a_box_that_reaches_there_ends_at_its_edge():
    with pytest.raises(ValueError, match="tiles end at ±85.0511"):
        tiles.count((0, 86, 10, 88), 5)
    with pytest.raises(ValueError, match="tiles end at ±85.0511"):
        tiles.count((0, -88, 10, -86), 5)
    assert list(tiles.within((0, 84, 1, 89), 5)) == list(tiles.within((0, 84, 1, 85.05), 5))


def test_of_many_tiles_a_random_choice_is_taken_in_order():
    box, count = (0, 0, 90, 60), tiles.count((0, 0, 90, 60), 6)
    few, others = ([*tiles.within(box, 6, 9, seed)] for seed in ("a", "b"))
    everything = list(tiles.within(box, 6, count))
    assert len(everything) == count and [tile for tile in everything if tile in few] == few != others
    assert len(few) == 9 and few == list(tiles.within(box, 6, 9, "a"))
