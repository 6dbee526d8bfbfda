"""Map tiles of Web Mercator (XYZ): which tile holds a place, where a tile lies, which tiles cover a box.

Places and boxes (west, south, east, north) are in degrees. Source: OpenStreetMap wiki, "Slippy map tilenames".
"""

import math
import operator
from collections import namedtuple

CIRCUMFERENCE_M = 2 * math.pi * 6378137  # of the sphere that EPSG:3857 takes the Earth for
MAX_LATITUDE = math.degrees(math.atan(math.sinh(math.pi)))  # 85.0511...: there the square map ends
ROUNDED = 1e-6  # degrees: such a step over the edge of the map is the rounding of whoever wrote the number
EDGE = 1e-11  # degrees: a box that ends on the edge of a tile does not need the next one

Tile = namedtuple("Tile", "x y zoom")  # column from the west, row from the north; the map is 2**zoom tiles wide


def fractional(lon, lat, zoom):
    """Column and row of a place as floats, counted in tiles from the north-west corner; a ValueError off the map."""
    if not (abs(lon) <= 180 + ROUNDED and abs(lat) <= MAX_LATITUDE + ROUNDED):  # refuses NaN, too
        raise ValueError(f"longitude {lon}, latitude {lat}: expected -180 to 180 and -85.0511 to 85.0511 degrees")
    sine = math.sin(math.radians(max(-MAX_LATITUDE, min(MAX_LATITUDE, lat))))
    return (lon / 360 + 0.5) * _across(zoom), (0.5 - math.atanh(sine) / (2 * math.pi)) * _across(zoom)


def tile_at(lon, lat, zoom):
    """The Tile that holds a place; see `fractional`. The east and south edges of the map belong to its last tiles."""
    last = _across(zoom) - 1
    x, y = (math.floor(value + 1e-14 * (last + 1)) for value in fractional(lon, lat, zoom))  # corners round down else
    return Tile(min(max(x, 0), last), min(max(y, 0), last), operator.index(zoom))


def bounds(tile):
    """(west, south, east, north) of a Tile in degrees."""
    x, y, size = tile[0], tile[1], _across(tile[2])
    if not (0 <= x < size and 0 <= y < size):
        raise ValueError(f"there is no tile x {x}, y {y} at zoom {tile[2]}: both are 0 to {size - 1} there")
    north, south = (math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / size)))) for row in (y, y + 1))
    return x / size * 360 - 180, south, (x + 1) / size * 360 - 180, north


def mercator_bounds(tile):
    """(west, south, east, north) of a Tile in metres of EPSG:3857."""
    bounds(tile)  # refuses a tile that is not there
    width, half = CIRCUMFERENCE_M / _across(tile[2]), CIRCUMFERENCE_M / 2
    return tile[0] * width - half, half - (tile[1] + 1) * width, (tile[0] + 1) * width - half, half - tile[1] * width


def ground_resolution_m(lat, zoom):
    """Metres on the ground that one pixel of a tile of 256 pixels covers at a latitude."""
    return math.cos(math.radians(lat)) * CIRCUMFERENCE_M / (256 * _across(zoom))


def check_bounds(bounds):
    """The box as four floats; a ValueError says what is wrong. West > east: it crosses the antimeridian, if < 180°."""
    try:
        west, south, east, north = box = tuple(map(float, bounds))
    except (TypeError, ValueError):
        box = (math.nan,)
    if not all(map(math.isfinite, box)):
        raise ValueError(f"bounds {bounds!r}: expected four finite numbers: west, south, east, north in degrees")
    lon, lat = max(abs(west), abs(east)), max(abs(south), abs(north))
    swapped = ". It looks as if latitude and longitude were swapped" if lon <= 90 < lat <= 180 else ""
    for wrong, words in (
        (lon > 180 or lat > 90, f"expected longitudes within ±180, latitudes within ±90 degrees{swapped}"),
        (lat > MAX_LATITUDE + ROUNDED, "tiles of Web Mercator end at ±85.0511 degrees of latitude"),
        (south > north or 0 < west - east <= 180, "inverted; expected west, south, east, north"),
        (south == north or west - east in (0, 360), "no area: give a box, not a point or a line"),
    ):
        if wrong:
            raise ValueError(f"bounds {box}: {words}")
    if west > east:  # the antimeridian has two names
        west, east = (-180.0 if west == 180 else west), (180.0 if east == -180 else east)
    return west, south, east, north


def count(bounds, zoom):
    """How many tiles cover a box, without listing them."""
    _, columns, rows = _cover(bounds, zoom)
    return columns * len(rows)


def within(bounds, zoom):
    """Iterator over the Tiles that cover a box, row by row from the north, each row from west to east."""
    first, columns, rows = _cover(bounds, zoom)
    return (Tile((first + step) % _across(zoom), y, operator.index(zoom)) for y in rows for step in range(columns))


def _cover(bounds, zoom):
    """First column, number of columns, range of rows."""
    west, south, east, north = check_bounds(bounds)
    first, last = tile_at(west, north, zoom), tile_at(east - EDGE, south + EDGE, zoom)
    columns = last.x - first.x + 1 + (_across(zoom) if west > east else 0)
    return first.x, min(columns, _across(zoom)), range(first.y, last.y + 1)


def _across(zoom):
    if not 0 <= operator.index(zoom) <= 30:
        raise ValueError(f"zoom {zoom}: expected 0 to 30")
    return 2 ** operator.index(zoom)
