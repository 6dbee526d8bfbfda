"""Render a perspective view of the terrain."""

import math

import numpy as np

from helpers.relief.surroundings import Surroundings
from helpers.relief.textures import bilinear, mixed, noise, numbers

ZENITH, HORIZON = numbers(0.21, 0.42, 0.76), numbers(0.76, 0.84, 0.94)
GLOW, CLOUD, CLOUDY = numbers(1, 0.9, 0.7), 0.96, 0.6
PARTS = 2  # rays across a pixel, and down: edges become smooth
CURVATURE = (1 - 0.13) / (
    2 * 6_371_000
)  # ground sinks by this times distance squared (refracted)


def view(
    land, *, column, row, heading_deg, size_px, field_of_view_deg=60, eye_m=2, pitch_deg=0,
    sun_azimuth_deg=140, sun_elevation_deg=40, haze_km=25, seed=0, cloud_seed=0,
):  # fmt: skip
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
        ValueError: the eye is not over the grid, or the sun is not up.
    """
    _, rows, columns = land.image.shape
    if not (0 < column < columns and 0 < row < rows):
        raise ValueError(
            f"column {column}, row {row} is outside the grid of {columns} x {rows}"
        )
    if not 0 < sun_elevation_deg <= 90:
        raise ValueError(
            f"sun_elevation_deg is {sun_elevation_deg}; expected above 0, at most 90"
        )
    around = Surroundings(land, column, row, _drawn(seed))
    sun = _direction(sun_azimuth_deg, sun_elevation_deg)
    high, wide = (PARTS * side for side in size_px)
    focal = wide / 2 / math.tan(math.radians(field_of_view_deg / 2))
    up = math.tan(math.radians(pitch_deg)) - _centred(high) / focal
    aside = _centred(wide)[:, None] / focal
    way = _direction(heading_deg)[:2] + aside * _direction(heading_deg + 90)[:2]
    ahead, blur, rise = _first_seen(around, way, up, focal, eye_m)
    place = ahead * way
    clear = np.exp(-np.hypot(*place) / (1000 * haze_km))
    clear *= 1 - np.clip(2 * ahead / around.end(way) - 1, 0, 1) ** 2
    film = 1 - np.exp(-1.6 * around.light(place, blur, sun))
    color = mixed(_sky(way, up, sun, _drawn(cloud_seed)), film, clear * (up < rise))
    rays = np.clip(color, 0, 1).T.reshape(high // PARTS, PARTS, wide // PARTS, PARTS, 3)
    return rays.mean((1, 3), dtype="f")


def _first_seen(around, way, up, focal, eye_m):
    """March ahead in growing steps; each ray ends where the ground first rises above it.

    Args:
        around: Surroundings.
        way: (2, columns of rays, 1), to the east and south for each metre ahead.
        up: (rows of rays,), upwards for each metre ahead.
        focal: rays across the ground that is seen at one metre, one metre wide.
        eye_m: height above the ground.

    Returns:
        Metres ahead and metres of ground in a pixel, (columns, rows), and how steeply the ground
        rises from the eye to the horizon, (columns, 1). Rays that go up more steeply see the sky.
    """
    end, growth = around.end(way).max(), min(max(4 / focal, 0.004), 0.02)
    count = math.ceil(math.log(end / eye_m) / growth)
    steps = np.geomspace(eye_m, end, count).astype("f")
    place = way * steps
    blur = np.broadcast_to(np.diff(steps, prepend=0), place[0].shape)
    eye = around.heights(np.zeros((2, 1, 1), "f"), np.zeros((1, 1), "f")) + eye_m
    height = around.heights(place, blur) - (eye + CURVATURE * (place**2).sum(axis=0))
    rise = np.maximum.accumulate(height / steps, axis=1)
    ahead = np.float32([np.interp(up, line, steps) for line in rise])
    wide = ahead / focal
    blur = np.sqrt(wide * np.maximum(abs(np.gradient(ahead, axis=1)), wide))
    return ahead, blur, rise[:, -1:]


def _drawn(seed):
    """Draw the offset of a view's place in the seamless squares, pixels."""
    return numbers(*np.random.default_rng(seed).integers(0, 512, 2))


def _centred(count):
    """Return the middles of `count` pixels, from their common middle."""
    return np.arange((1 - count) / 2, count / 2, dtype="f")


def _direction(azimuth_deg, elevation_deg=0):
    """Return the way to a point of the sky: to the east, south and upwards."""
    azimuth, elevation = map(math.radians, (azimuth_deg, elevation_deg))
    flat = math.cos(elevation)
    return numbers(
        math.sin(azimuth) * flat, -math.cos(azimuth) * flat, math.sin(elevation)
    )


def _sky(way, up, sun, clouds):
    """Return the color of the sky behind each ray, (3, columns, rows)."""
    rays = np.stack(np.broadcast_arrays(*way, up))
    rays /= np.linalg.norm(rays, axis=0)
    rise = rays[2]
    color = mixed(ZENITH, HORIZON, np.exp(-5 * np.clip(rise, 0, 1)))
    beside = 1 - (sun * rays).sum(axis=0)
    color += GLOW * (0.35 * np.exp(-40 * beside) + 0.8 * np.exp(-1500 * beside))
    place = rays[:2] * (30 / np.maximum(rise, 0.02))  # on a plane above
    cloud, wisps = (
        bilinear(noise()[:1], at, "wrap")[0] for at in (place / 5 + clouds, place)
    )
    cover = clouds[0] * (1.4 / 512) - 1.3
    share = np.clip(CLOUDY * (cloud + 0.35 * wisps + cover), 0, 0.85)
    return mixed(color, CLOUD, share * np.clip(6 * rise, 0, 1))
