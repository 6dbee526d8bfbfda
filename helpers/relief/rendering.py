"""Render a perspective view of the terrain."""

import math

import numpy as np

from helpers.relief.surroundings import Surroundings
from helpers.relief.textures import centres, noise, numbers, seamless

ZENITH, HORIZON, NIGHT = (
    numbers(0.2, 0.4, 0.72),
    numbers(0.75, 0.82, 0.9),
    numbers(0.01, 0.02, 0.04),
)
DUSK, GLOW, DAYLIGHT = numbers(0.5, 0.25, 0.07), numbers(1, 0.9, 0.7), numbers(0.42, 0.45, 0.5)


def view(
    land, *, column, row, heading_deg, size_px=(426, 640), field_of_view_deg=60, eye_m=2,
    pitch_deg=0, sun_azimuth_deg=140, sun_elevation_deg=40, haze_km=25, detail=True, seed=0,
    cloud_seed=None,
):  # fmt: skip
    """Render a perspective view of the terrain.

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
        sun_azimuth_deg, sun_elevation_deg: of the sun; it is night from -12 degrees down.
        haze_km: distance at which the air leaves 37 % of the contrast. More haze, from half-way
            to it, hides the grid's end.
        detail: invent what a coarse grid lacks: small relief and texture, clouds, and trees where
            the image looks like forest (none within 60 m).
        seed: of the invented ground; views with the same seed see the same.
        cloud_seed: of the clouds; default: `seed`.

    Returns:
        float32 (height, width, 3), 0 to 1.

    Raises:
        ValueError: the eye is not over the grid.
    """
    _, rows, columns = land.shapes.shape
    if not (0 < column < columns and 0 < row < rows):
        raise ValueError(f"column {column}, row {row} is outside the grid of {columns} x {rows}")
    around = Surroundings(land, (column, row), detail, _drawn(seed))
    light = _Light(float(sun_azimuth_deg), float(sun_elevation_deg))
    clouds = _drawn(seed if cloud_seed is None else cloud_seed) if detail else None

    # for every metre ahead, how far a column goes aside and a row goes up; two rows a pixel and,
    # of small views, two columns make edges smooth
    wide, (height, width) = 2 if size_px[1] <= 256 else 1, size_px
    focal = width / 2 / math.tan(math.radians(field_of_view_deg / 2))
    aside = ((centres(width, wide) - width / 2) / focal).astype("f")
    up = (height / 2 - centres(height, 2)) / focal + math.tan(math.radians(pitch_deg))
    heading, up = math.radians(heading_deg), up.astype("f")
    east, south = math.sin(heading), -math.cos(heading)
    way = numbers(east, south) + aside * numbers(-south, east)

    seen = _sky(way, up, light, clouds)
    across, level, ahead, blur = around.first_seen(way, up, focal, eye_m)
    place = ahead * way[:, across]
    distance, end = np.hypot(*place), ahead / around.end(way)[across]
    lit = 1 - np.exp(-1.6 * light.on(*around.surface(place, distance, blur)))
    clear = np.exp(-distance / (1000 * haze_km)) * (1 - np.clip(2 * end - 1, 0, 1) ** 2)
    air = seen[:, across, level]
    seen[:, across, level] = air + (lit - air) * clear
    pixels = np.clip(seen, 0, 1).T.reshape(height, 2, width, wide, 3)
    return pixels.mean((1, 3), dtype="f")


def _drawn(seed):
    """Draw the offset of a view's place in the seamless squares, pixels."""
    return numbers(*np.random.default_rng(seed).integers(0, 512, 2))


class _Light:
    """Sun and daylight."""

    def __init__(self, azimuth_deg, elevation_deg):
        azimuth, self.elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
        self.toward = np.float32([math.sin(azimuth), -math.cos(azimuth)])
        self.day = min(max((elevation_deg + 12) / 16, 0), 1) ** 2
        self.warm = math.exp(-(((elevation_deg - 2) / 8) ** 2))
        self.direct = min(max((elevation_deg + 3) / 12, 0), 1)

    def on(self, color, slopes):
        """Return the color of lit ground."""
        elevation = max(self.elevation, math.radians(3))
        facing = math.sin(elevation) - math.cos(elevation) * (self.toward @ slopes)
        facing /= np.sqrt(1 + (slopes**2).sum(axis=0)) * max(math.sin(elevation), 0.25)
        direct = numbers(1, 0.97 - 0.35 * self.warm, 0.92 - 0.6 * self.warm) * self.direct
        ambient = DAYLIGHT * (0.06 + 0.94 * self.day)
        return color * (ambient + 0.55 * direct * np.clip(facing, 0, 1.8))


def _sky(way, up, light, clouds):
    """Return the color of the sky behind each ray, (3, columns, rows)."""
    day, warm, flat = light.day, light.warm, np.hypot(*way)[:, None]
    long = np.hypot(flat, up)
    to_sun = (light.toward @ way)[:, None] * math.cos(light.elevation)
    to_sun = (to_sun + up * math.sin(light.elevation)) / long
    near, low = np.clip(to_sun, 0, 1).ravel(), np.exp(-5 * np.clip(up / long, 0, 1)).ravel()
    color = ZENITH * (1 - low) + HORIZON * low
    color = (NIGHT + day * color) * (1 - 0.18 * warm * (1 - near))
    color += DUSK * (warm * day * near**3 * low)
    color += GLOW * (day * (0.35 * near**40 + 0.8 * near**1500))
    if clouds is not None:
        place = 30 / np.maximum(up, 0.02 * flat) * way[:, :, None]  # on a plane above
        place = place.reshape(2, -1)
        cloud = seamless(noise(), place / 5 + clouds) + 0.35 * seamless(noise(), place)
        cover = clouds[0] * 1.4 / 512 - 1.3
        share = np.clip((cloud + cover) * 0.6, 0, 0.85) * np.clip(6 * up / long, 0, 1).ravel()
        white = numbers(1, 1 - 0.2 * warm, 1 - 0.35 * warm) * (0.04 + 0.92 * day)
        color += (white - color) * share
    return color.reshape(3, *long.shape)
