"""Find map tiles of Web Mercator (XYZ) that cover a box.

Places and boxes (west, south, east, north) are in degrees. `mercantile` has the arithmetic.
"""

import contextlib
import math
import random

import mercantile
from mercantile import Tile

MAX_LATITUDE = 85.051129  # there the square map ends, rounded as mercantile does


def position(lon, lat):
    """Return a position as two floats; NaN if it is unknown: no number, out of range, or 0, 0."""
    with contextlib.suppress(TypeError, ValueError):
        lon = float(lon)
        lat = float(lat)
        if abs(lon) <= 180 and abs(lat) <= 90 and (lon or lat):
            return lon, lat
    return math.nan, math.nan


def check_bounds(bounds):
    """Return the box as four floats; west > east crosses the antimeridian, if by less than 180°.

    Raises:
        ValueError: a box that cannot be meant (says what is expected).
    """
    expected = (
        f"bounds {bounds}: expected four numbers, west, south, east, north in degrees, within ±180 "
        "and ±90, that span an area"
    )
    try:
        west, south, east, north = map(float, bounds)
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    lon = max(abs(west), abs(east))
    lat = max(abs(south), abs(north))
    if lon <= 90 < lat <= 180:
        expected += ". It looks as if latitude and longitude were swapped"
    has_area = south < north and (west < east or 180 < west - east < 360)
    if lon > 180 or lat > 90 or not has_area:
        raise ValueError(expected)
    if west == 180:  # the antimeridian has two names
        west = -180.0
    if east == -180:
        east = 180.0
    return west, south, east, north


def halves(bounds):
    """Return the box itself, or its two parts where it crosses the antimeridian."""
    west, south, east, north = bounds
    if west < east:
        return [bounds]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def count(bounds, zoom):
    """Return how many tiles cover a box, without listing them."""
    _, columns, rows = _cover(bounds, zoom)
    return columns * rows


def within(bounds, zoom, limit=None, seed=""):
    """Yield the Tiles that cover a box, row by row from the north, each from west to east.

    Of more than `limit`, a random choice.
    """
    first, columns, rows = _cover(bounds, zoom)
    chosen = range(columns * rows)
    if limit is not None and limit < len(chosen):
        chosen = sorted(random.Random(seed).sample(chosen, limit))
    for number in chosen:
        row, column = divmod(number, columns)
        yield Tile((first.x + column) % 2**zoom, first.y + row, zoom)


def _cover(bounds, zoom):
    """Return the first Tile of a box, and the numbers of columns and rows."""
    west, south, east, north = check_bounds(bounds)
    south = max(south, -MAX_LATITUDE)
    north = min(north, MAX_LATITUDE)
    if south >= north:
        raise ValueError(f"bounds {bounds}: tiles end at ±85.0511 degrees of latitude")
    epsilon = mercantile.LL_EPSILON
    first = mercantile.tile(west, north, zoom)
    last = mercantile.tile(east - epsilon, south + epsilon, zoom)
    return first, (last.x - first.x) % 2**zoom + 1, last.y - first.y + 1
