"""Prepare the ground that views are rendered of."""

from collections import namedtuple

import numpy as np
from scipy.ndimage import zoom

from helpers.relief.textures import bilinear

DEGREE_M = 111_195
REFINE = 4  # pixels of the grid along one of the elevation

Ground = namedtuple("Ground", "pixel_size_m shapes image")


def aligned(elevation, imagery):
    """Put an elevation Scene and a color image, both north up and in degrees, on one grid.

    It has `REFINE` pixels along one of the elevation, smooth in between (cubic splines).

    Args:
        elevation: Scene in metres, without gaps, inside `imagery`.
        imagery: uint8 Scene of red, green and blue; pixels without data become white, as
            over-exposed snow is marked as one, too.

    Returns:
        Ground, as of `ground`, and the grid's transform.
    """
    heights = zoom(
        elevation.pixels[..., 0],
        REFINE,
        mode="nearest",
        grid_mode=True,
    )
    transform = elevation.transform @ elevation.transform.scale(1 / REFINE)
    place = transform @ (np.indices(heights.shape)[::-1] + 0.5)
    pixels = np.array(~imagery.transform @ place) - 0.5
    colors = np.nan_to_num(imagery.pixels, nan=255) / 255
    image = bilinear(colors.transpose(2, 0, 1), pixels)
    narrower = np.cos(np.radians(place[1].mean()))
    pixel_m = transform.a * DEGREE_M * narrower, -transform.e * DEGREE_M
    return ground(heights, image, pixel_m), transform


def ground(heights, image, pixel_size_m):
    """Prepare the ground that views are rendered of.

    Args:
        heights: float32 (rows, columns), metres, without gaps; the first row is the
            northernmost.
        image: float32 (3, rows, columns), red, green and blue, 0 to 1, on the same grid.
        pixel_size_m: (x, y) of the grid.

    Returns:
        Ground: pixel_size_m, shapes (height, roughness, likeness to forest, slopes to the east
        and south) and image, each (planes, rows, columns).
    """
    image = np.float32(image)
    red, green, blue = image
    to_south, to_east = np.gradient(heights, *pixel_size_m[::-1])
    rough = (1.25 * np.hypot(to_east, to_south)).clip(0.1, 0.8)
    forest = (8 * green - 7.5 * (red + blue) + 2.2).clip(0, 1)
    shapes = [heights, rough, forest, to_east, to_south]
    return Ground(
        np.float32(pixel_size_m),
        np.float32(shapes),
        image,
    )
