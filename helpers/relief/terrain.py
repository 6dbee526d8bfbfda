"""Prepare the ground that views are rendered of."""

from collections import namedtuple

import numpy as np
from scipy.ndimage import zoom

from helpers.relief.textures import bilinear

DEGREE_M = 111_195

Ground = namedtuple("Ground", "pixel_size_m shapes image")


def aligned(elevation, imagery, refine=4):
    """Put an elevation Scene and a color image, both north up and in degrees, on one grid.

    Args:
        elevation: Scene in metres, without gaps, inside `imagery`.
        imagery: uint8 Scene of red, green and blue; pixels without data become white, as
            over-exposed snow is marked as one, too.
        refine: pixels of the grid along one of `elevation`, smooth in between (cubic splines).

    Returns:
        Ground, as of `ground`, and the grid's transform.
    """
    heights = zoom(elevation.pixels[..., 0], refine, mode="nearest", grid_mode=True)
    transform = elevation.transform @ elevation.transform.scale(1 / refine)
    row, column = np.indices(heights.shape) + 0.5
    place = np.stack(~imagery.transform @ (transform @ (column, row))) - 0.5
    colors = np.moveaxis(np.nan_to_num(imagery.pixels, nan=255) / 255, -1, 0)
    image = bilinear(colors, place)
    latitude = transform.f + transform.e * len(heights) / 2
    wide = transform.a * DEGREE_M * np.cos(np.radians(latitude))
    return ground(heights, image, (wide, -transform.e * DEGREE_M)), transform


def ground(heights, image, pixel_size_m):
    """Prepare the ground that views are rendered of.

    Args:
        heights: float32 (rows, columns), metres; the first row is the northernmost.
        image: float32 (3, rows, columns), red, green and blue, 0 to 1, on the same grid.
        pixel_size_m: (x, y) of the grid.

    Returns:
        Ground: pixel_size_m, shapes (height, roughness, likeness to forest, slopes to the east
        and south) and image, each (planes, rows, columns).

    Raises:
        ValueError: image and heights do not fit, or a height is not finite.
    """
    gaps, expected = np.count_nonzero(~np.isfinite(heights)), (3, *heights.shape)
    if gaps or image.shape != expected:
        told = f"{gaps} heights are not finite, the image has shape {image.shape}"
        raise ValueError(f"{told}; expected none, and {expected}")
    wide, high = pixel_size_m
    red, green, blue = image = np.float32(image)
    to_south, to_east = np.gradient(heights, high, wide)
    rough = np.clip(2.5 * np.hypot(to_east, to_south), 0.2, 1.6)
    forest = np.clip(8 * green - 7.5 * (red + blue) + 2.2, 0, 1)
    shapes = np.float32([heights, rough, forest, to_east, to_south])
    return Ground(np.float32(pixel_size_m), shapes, image)
