"""Interpolate grids, and make the seamless squares that detail is invented from."""

from functools import lru_cache

import numpy as np

CHUNK = 16_384  # points interpolated together: they stay in the processor's cache


def bilinear(grid, place):
    """Interpolate the planes of a grid; beyond it take its edge. A third of SciPy's time.

    Args:
        grid: (planes, rows, columns).
        place: (2, ...), column and row; 0 is the middle of the first pixel.

    Returns:
        array (planes, ...).
    """
    points = place.reshape(2, -1)
    chunks = np.array_split(points, points.shape[1] // CHUNK + 1, axis=1)
    found = np.concatenate([_bilinear(grid, chunk) for chunk in chunks], axis=1)
    return found.reshape(len(grid), *place.shape[1:])


def _bilinear(grid, points):
    planes, rows, columns = grid.shape
    sides = np.array([[columns], [rows]], points.dtype)
    points = np.clip(points, 0, sides - 1)
    corners = np.floor(np.minimum(points, sides - 2))
    x, y = points - corners
    left, top = corners.astype("int32")
    flat, first = grid.reshape(planes, -1), top * columns + left
    rows = [
        flat.take(at, axis=1) for at in (first, first + 1, first + columns, first + columns + 1)
    ]
    above, below = _mixed(*rows[:2], x), _mixed(*rows[2:], x)
    return _mixed(above, below, y)


def _mixed(one, other, share):
    return one + (other - one) * share


def seamless(square, place):
    """Interpolate a square that repeats; its last row and column are its first."""
    side, exact = square.shape[1] - 1, place.astype(float)
    # equal to `place % side` to the bit, and twice as fast
    wrapped = exact - np.floor(exact / side) * side
    return bilinear(square, wrapped.astype(place.dtype))


def closed(planes):
    """Return planes as one seamless square: the first row and column once more at the end."""
    return np.pad(np.float32(planes), [(0, 0), (0, 1), (0, 1)], "wrap")


def with_slopes(square):
    """Return a seamless square of heights, and of their rise a pixel to the east and south."""
    rises = [(np.roll(square, -1, axis) - np.roll(square, 1, axis)) / 2 for axis in (1, 0)]
    return closed([square, *rises])


def centres(count, parts):
    """Return the middles of the equal parts of `count` pixels."""
    return (np.arange(count * parts) + 0.5) / parts


def numbers(*parts):
    """Return numbers to go with arrays of (numbers, points)."""
    return np.array(parts, "f")[:, None]


@lru_cache
def noise(exponent=1.1, size=512):
    """Make a seamless square of waves 3 to 42 pixels long, mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    kept = (frequency > 1 / 42) & (frequency < 1 / 3)
    waves = np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size)))
    field = np.fft.irfft2(waves * kept / np.maximum(frequency, 1 / 42) ** exponent)
    return closed([field / field.std()])


@lru_cache
def ridges():
    """Make a seamless square of ridges: heights and slopes."""
    return with_slopes(0.8 - abs(noise(1.6)[0, :-1, :-1]))


@lru_cache
def trees(size=1024, cells=113):
    """Make seamless squares: heights and slopes of cones, and the forest that each needs."""
    east, south, tall, needed = np.random.default_rng(0).uniform(0.05, 0.95, (4, cells, cells))
    y, x = np.indices((size, size), "f") * (cells / size)
    best, need = np.zeros((2, size, size), "f")
    for down, right in np.ndindex(3, 3):
        row, column = np.floor(y).astype(int) + down - 1, np.floor(x).astype(int) + right - 1
        at = row % cells, column % cells
        away = np.hypot(column + east[at] - x, row + south[at] - y)
        cone = (0.5 + 0.5 * tall[at]) * (1 - away / 0.42)
        best, need = np.maximum(best, cone), np.where(cone > best, needed[at], need)
    return with_slopes(best), closed([need])
