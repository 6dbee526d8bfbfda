"""Interpolate grids, and make the seamless squares that detail is invented from."""

from functools import lru_cache

import numpy as np
from scipy.ndimage import correlate1d
from scipy.spatial import cKDTree


def bilinear(planes, place, mode="clip"):
    """Interpolate the planes of a grid, in a third of SciPy's time.

    Args:
        planes: (planes, rows, columns).
        place: (2, ...), column and row; 0 is the middle of the first pixel.
        mode: beyond the grid, "clip" takes its edge and "wrap" repeats it.

    Returns:
        array (planes, ...).
    """
    flat, corner = planes.reshape(len(planes), -1), np.floor(place)
    column, row = corner.astype("int32")

    def at(down, right):
        pixels = row + down, column + right
        return flat.take(np.ravel_multi_index(pixels, planes.shape[1:], mode), 1)

    right, down = place - corner
    above, below = (mixed(at(row, 0), at(row, 1), right) for row in (0, 1))
    return mixed(above, below, down)


def mixed(one, other, share):
    """Return a mixture of two arrays; a share of 0 is the first one."""
    return one + (other - one) * share


def numbers(*parts):
    """Return numbers to go with arrays of (numbers, columns, rows)."""
    return np.array(parts, "f")[:, None, None]


@lru_cache
def noise(exponent=1.1, size=512):
    """Make two seamless squares of waves 3 to 42 pixels long, mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    kept = (frequency > 1 / 42) & (frequency < 1 / 3)
    waves = np.fft.rfft2(np.random.default_rng(0).standard_normal((2, size, size)))
    fields = np.fft.irfft2(waves * kept / np.maximum(frequency, 1 / 42) ** exponent)
    return np.float32(fields / fields.std())


@lru_cache
def ridges():
    """Make a seamless square of ridges: heights and slopes."""
    return with_slopes(0.8 - abs(noise(1.6)[0]))


@lru_cache
def trees(size=1024, cells=113):
    """Make a seamless square of cones: the forest that each needs, heights and slopes."""
    *moved, tall, needed = np.random.default_rng(0).uniform(0.05, 0.95, (4, cells**2))
    spots = np.indices((cells, cells)).reshape(2, -1) + moved
    pixels = np.indices((size, size)).T * (cells / size)
    away, nearest = cKDTree(spots.T, boxsize=cells).query(pixels)
    cones = (0.5 + 0.5 * tall[nearest]) * np.maximum(1 - away / 0.42, 0)
    return np.float32([needed[nearest].T, *with_slopes(cones.T)])


def with_slopes(square):
    """Return a seamless square of heights, and their rise a pixel to the east and south."""
    rises = [correlate1d(square, [-0.5, 0, 0.5], axis, mode="wrap") for axis in (1, 0)]
    return np.float32([square, *rises])
