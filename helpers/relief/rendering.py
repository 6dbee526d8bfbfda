"""Render a perspective view of the terrain."""

import math

import numpy as np

from helpers.relief.surroundings import Surroundings
from helpers.relief.textures import bilinear, mixed, noise, numbers

ZENITH, HORIZON = numbers(0.21, 0.42, 0.76), numbers(0.76, 0.84, 0.94)
GLOW, CLOUD = numbers(1, 0.9, 0.7), 0.96
SUNLIGHT, DAYLIGHT = numbers(0.55, 0.53, 0.51), numbers(0.42, 0.45, 0.5)
PARTS = 2  # rays across a pixel, and down: edges become smooth


def view(
    land, *, column, row, heading_deg, size_px=(426, 640), field_of_view_deg=60, eye_m=2,
    pitch_deg=0, sun_azimuth_deg=140, sun_elevation_deg=40, haze_km=25, detail=True, seed=0,
    cloud_seed=None,
):  # fmt: skip
    """Render a perspective view of the terrain by day.

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
        detail: invent what a coarse grid lacks: small relief and texture, clouds, and trees where
            the image looks like forest (none within 60 m).
        seed: of the invented ground; views with the same seed see the same.
        cloud_seed: of the clouds; default: `seed`.

    Returns:
        float32 (height, width, 3), 0 to 1.

    Raises:
        ValueError: the eye is not over the grid, or the sun is not up.
    """
    _, rows, columns = land.image.shape
    if not (0 < column < columns and 0 < row < rows):
        raise ValueError(f"column {column}, row {row} is outside the grid of {columns} x {rows}")
    if not 0 < sun_elevation_deg <= 90:
        raise ValueError(f"sun_elevation_deg is {sun_elevation_deg}; expected above 0, at most 90")
    around = Surroundings(land, column, row, detail=detail, start=_drawn(seed))
    sun = _direction(sun_azimuth_deg, sun_elevation_deg)
    clouds = _drawn(seed if cloud_seed is None else cloud_seed)

    high, wide = (PARTS * side for side in size_px)
    focal = wide / 2 / math.tan(math.radians(field_of_view_deg / 2))
    aside = _centred(wide) / focal
    up = math.tan(math.radians(pitch_deg)) - _centred(high) / focal
    way = _direction(heading_deg)[:2] + aside * _direction(heading_deg + 90)[:2]

    color = _sky(way, up, sun, clouds if detail else None)
    across, level, ahead, blur = around.first_seen(way, up, focal, eye_m)
    place = ahead * way[:, across]
    end = ahead / around.end(way)[across]
    clear = np.exp(-np.hypot(*place) / (1000 * haze_km))
    clear *= 1 - np.clip(2 * end - 1, 0, 1) ** 2
    lit = _lit(*around.surface(place, blur), sun)
    film = 1 - np.exp(-1.6 * lit)
    color[:, across, level] = mixed(color[:, across, level], film, clear)
    rays = np.clip(color, 0, 1).T.reshape(high // PARTS, PARTS, wide // PARTS, PARTS, 3)
    return rays.mean((1, 3), dtype="f")


def _drawn(seed):
    """Draw the offset of a view's place in the seamless squares, pixels."""
    return numbers(*np.random.default_rng(seed).integers(0, 512, 2))


def _centred(count):
    """Return the middles of `count` pixels, from their common middle."""
    return (np.arange(count) + 0.5 - count / 2).astype("f")


def _direction(azimuth_deg, elevation_deg=0):
    """Return the way to a point of the sky: to the east, south and upwards."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = math.cos(elevation)
    return numbers(math.sin(azimuth) * flat, -math.cos(azimuth) * flat, math.sin(elevation))


def _lit(color, slopes, sun):
    """Return the light that comes from ground of a color."""
    up = sun[2]
    facing = up - (sun[:2] * slopes).sum(axis=0)
    facing /= np.sqrt(1 + (slopes**2).sum(axis=0)) * max(up, 0.25)
    return color * (DAYLIGHT + SUNLIGHT * np.clip(facing, 0, 1.8))


def _sky(way, up, sun, clouds):
    """Return the color of the sky behind each ray, (3, columns, rows)."""
    rays = np.stack(np.broadcast_arrays(*way[:, :, None], up)).reshape(3, -1)
    rays = rays / np.sqrt((rays**2).sum(axis=0))
    rise = rays[2]
    color = mixed(ZENITH, HORIZON, np.exp(-5 * np.clip(rise, 0, 1)))
    beside = 1 - (sun * rays).sum(axis=0)
    color += GLOW * (0.35 * np.exp(-40 * beside) + 0.8 * np.exp(-1500 * beside))
    if clouds is not None:
        place = rays[:2] * (30 / np.maximum(rise, 0.02))  # on a plane above
        [cloud] = bilinear(noise()[:1], place / 5 + clouds, "wrap")
        [wisps] = bilinear(noise()[:1], place, "wrap")
        cover = clouds[0] * (1.4 / 512) - 1.3
        share = np.clip(0.6 * (cloud + 0.35 * wisps + cover), 0, 0.85)
        color = mixed(color, CLOUD, share * np.clip(6 * rise, 0, 1))
    return color.reshape(3, way.shape[1], len(up))
