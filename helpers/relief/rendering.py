"""Render a perspective view of the terrain."""

from math import ceil, cos, log, radians, sin, tan

import numpy as np

from helpers.relief.surroundings import Surroundings
from helpers.relief.textures import SIDE, bilinear, mixed, noise, numbers

CLOUDY = 0.6
# The ground sinks by this times the distance squared; the air bends rays.
CURVATURE = (1 - 0.13) / (2 * 6_371_000)


def view(
    land,
    *,
    column,
    row,
    heading_deg,
    size_px,
    field_of_view_deg=60,
    eye_m=2,
    pitch_deg=0,
    sun_azimuth_deg=140,
    sun_elevation_deg=40,
    haze_km=25,
    seed=0,
    cloud_seed=0,
):
    """Render a perspective view of the terrain by day.

    What a coarse grid lacks is invented: small relief and texture, clouds, and trees where the
    image looks like forest (none within 60 m).

    Args:
        land: Ground, as `ground` returns it.
        column, row: of the observer, as `~transform @ (x, y)` gives it (0.5 is the middle of the
            first pixel).
        heading_deg: compass direction of the view's middle.
        size_px: (height, width) of the view.
        field_of_view_deg: from the left to the right edge of the view.
        eye_m: height above the ground.
        pitch_deg: elevation of the view's middle. The view is shifted, not tilted, so upright
            things stay upright.
        sun_azimuth_deg, sun_elevation_deg: of the sun, which is up.
        haze_km: distance at which the air leaves 37 % of the contrast. More haze, from half-way
            to it, hides the grid's end.
        seed: of the invented ground; views with the same seed see the same.
        cloud_seed: of the clouds.

    Returns:
        float32 (height, width, 3), 0 to 1.

    Raises:
        ValueError: the eye is not over the grid.
    """
    around = Surroundings(
        land,
        column,
        row,
        _drawn(seed),
    )
    sun = _direction(sun_azimuth_deg, sun_elevation_deg)
    high, wide = size_px
    # two rays across a pixel, and two down it: edges become smooth
    focal = wide / tan(radians(field_of_view_deg / 2))
    right = _direction(heading_deg + 90)[:2]
    way = _direction(heading_deg)[:2] + _centred(wide)[:, None] / focal * right
    up = tan(radians(pitch_deg)) - _centred(high) / focal
    ahead, blur = _first_seen(around, way, up, focal, eye_m)
    place = ahead * way
    clear = np.exp(-np.hypot(*place) / (1000 * haze_km))
    behind = 2 * ahead / around.end(way) - 1
    # 0 in the sky, which is beyond the end of the grid
    clear *= 1 - behind.clip(0, 1) ** 2
    rays = np.stack(np.broadcast_arrays(*way, up))
    sky = _sky(rays, sun, _drawn(cloud_seed))
    color = mixed(sky, around.color(place, blur, sun), clear)
    parts = color.clip(0, 1).reshape(3, wide, 2, high, 2)
    return parts.mean((2, 4)).T


def _first_seen(
    around,
    way,
    up,
    focal,
    eye_m,
):
    """March ahead in growing steps; each ray ends where the ground first rises above it.

    Args:
        around: Surroundings.
        way: (2, columns of rays, 1), to the east and south for each metre ahead.
        up: (rows of rays,), upwards for each metre ahead.
        focal: rays across the ground that is seen at one metre, one metre wide.
        eye_m: height above the ground.

    Returns:
        Metres ahead and metres of ground in a pixel, each (columns, rows) of rays. Rays to the sky
        end as far away as the grid does.
    """
    end = around.end(way).max()
    growth = np.clip(4 / focal, 0.004, 0.02)
    count = ceil(log(end / eye_m) / growth)
    steps = np.geomspace(eye_m, end, count, dtype="f")
    place = way * steps
    blur = np.diff(steps, prepend=0)[None]
    eye = around.heights(numbers(0, 0), numbers(0)[0]) + eye_m
    sunken = CURVATURE * (place**2).sum(axis=0)
    height = around.heights(place, blur) - (eye + sunken)
    rise = np.maximum.accumulate(height / steps, axis=1)
    ahead = np.float32([np.interp(up, line, steps) for line in rise])
    wide = ahead / focal
    deep = abs(np.gradient(ahead, axis=1))
    return ahead, np.sqrt(wide * np.maximum(deep, wide))


def _drawn(seed):
    """Draw the offset of a view's place in the seamless squares, pixels."""
    return numbers(*np.random.default_rng(seed).integers(0, SIDE, 2))


def _centred(pixels):
    """Return how far the rays across some pixels lie from their middle, in rays."""
    return np.arange(0.5 - pixels, pixels, dtype="f")


def _direction(azimuth_deg, elevation_deg=0):
    """Return the way to a point of the sky: to the east, south and upwards."""
    azimuth = radians(azimuth_deg)
    elevation = radians(elevation_deg)
    flat = cos(elevation)
    return numbers(sin(azimuth) * flat, -cos(azimuth) * flat, sin(elevation))


def _sky(rays, sun, clouds):
    """Return the color of the sky behind each ray, (3, columns, rows)."""
    rays = rays / np.linalg.norm(rays, axis=0)
    rise = rays[2]
    low = np.exp(-5 * rise.clip(0, 1))
    # from the zenith to the horizon
    color = mixed(
        numbers(0.21, 0.42, 0.76),
        numbers(0.76, 0.84, 0.94),
        low,
    )
    beside = 1 - (sun * rays).sum(axis=0)
    glare = 0.35 * np.exp(-40 * beside)
    glare += 0.8 * np.exp(-1500 * beside)
    color += numbers(1, 0.9, 0.7) * glare
    place = rays[:2] * (30 / rise.clip(0.02))  # on a plane above
    square = noise()[:1]
    cloud = bilinear(square, place / 5 + clouds, "wrap")
    cloud += 0.35 * bilinear(square, place, "wrap")
    cloud += clouds[0] * (1.4 / SIDE) - 1.3
    share = (CLOUDY * cloud).clip(0, 0.85)
    share *= (6 * rise).clip(0, 1)
    return mixed(color, 0.96, share)
