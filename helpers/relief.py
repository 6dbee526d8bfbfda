"""Render views from the ground: a height field with an image draped on it, seen by an observer.

Places are (column, row) or metres to the east and south, along the first axis of an array; so are
the planes of a grid and the three colors.
"""

import math
from collections import namedtuple
from functools import lru_cache

import numpy as np

CURVATURE = (1 - 0.13) / (2 * 6_371_000)  # ground sinks by this times distance squared (refracted)
LAYERS_M = 0.004, 0.05, 0.6, 8.0  # pixel sizes of the invented relief's layers, fine to coarse
TREE_M, CLEARING_M = 10, 60  # height of the tallest tree; distance of the nearest one
TREE_PX_M = 0.5
CHUNK = 16_384  # points interpolated together: they stay in the processor's cache

Ground = namedtuple("Ground", "pixel_size_m shapes slopes image")


def aligned(elevation, imagery, refine=4):
    """Put an elevation Scene and a color image, both north up and in degrees, on one grid.

    Args:
        elevation: Scene in metres, without gaps, inside `imagery`.
        imagery: uint8 Scene of red, green and blue; pixels without data become white, as
            over-exposed snow is marked as one, too.
        refine: pixels of the grid along one of `elevation`, smooth in between (Catmull-Rom).

    Returns:
        heights, image and pixel_size_m as `ground` takes them, and the grid's transform.
    """
    heights = _refined(_refined(elevation.pixels[..., 0], refine).T, refine).T
    transform = elevation.transform @ elevation.transform.scale(1 / refine)
    row, column = np.indices(heights.shape) + 0.5
    place = np.stack(~imagery.transform @ (transform @ (column, row))) - 0.5
    planes = np.moveaxis(np.nan_to_num(imagery.pixels, nan=255) / 255, -1, 0)
    image = np.moveaxis(_bilinear(planes, place), 0, -1)
    latitude, degree_m = transform.f + transform.e * len(heights) / 2, 111_195
    wide = transform.a * degree_m * np.cos(np.radians(latitude))
    return heights, image.astype("f"), (wide, -transform.e * degree_m), transform


def ground(heights, image, pixel_size_m):
    """Prepare the ground that views are rendered of.

    Args:
        heights: float32 (rows, columns), metres; the first row is the northernmost.
        image: float32 (rows, columns, 3), 0 to 1, on the same grid.
        pixel_size_m: (x, y) of the grid.

    Returns:
        Ground: pixel_size_m, shapes (height, roughness, likeness to forest), slopes (to the east
        and south) and image, each (planes, rows, columns).

    Raises:
        ValueError: image and heights do not fit, or a height is not finite.
    """
    heights, image = np.asarray(heights, "f"), np.asarray(image, "f")
    if image.shape != (*heights.shape, 3):
        expected = (*heights.shape, 3)
        raise ValueError(f"the image has shape {image.shape}, expected {expected} to fit the heights")
    if gaps := np.count_nonzero(~np.isfinite(heights)):
        raise ValueError(f"{gaps} heights are not finite: fill them, or cut them away")
    pixel_size_m = np.array(pixel_size_m, "f")
    to_south, to_east = np.gradient(heights, *pixel_size_m[::-1])
    red, green, blue = colors = np.moveaxis(image, -1, 0)
    rough = np.clip(2.5 * np.hypot(to_east, to_south), 0.2, 1.6)
    forest = np.clip(8 * green - 7.5 * (red + blue) + 2.2, 0, 1)
    shapes, slopes = np.stack([heights, rough, forest]), np.stack([to_east, to_south])
    return Ground(pixel_size_m, shapes, slopes, np.ascontiguousarray(colors))


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
    around = _Surroundings(land, (column, row), detail, seed)
    light = _Light(float(sun_azimuth_deg), float(sun_elevation_deg))
    clouds = _drawn(seed if cloud_seed is None else cloud_seed) if detail else None

    # rays: for every metre ahead, how far a column goes aside and a row goes up; two rows a pixel
    # and, of small views, two columns make edges smooth
    wide, (height, width) = 2 if size_px[1] <= 256 else 1, size_px
    focal = width / 2 / math.tan(math.radians(field_of_view_deg / 2))
    aside = ((np.arange(wide * width) + 0.5) / wide - width / 2) / focal
    up = (height / 2 - (np.arange(2 * height) + 0.5) / 2) / focal + math.tan(math.radians(pitch_deg))
    sine, cosine = math.sin(math.radians(heading_deg)), math.cos(math.radians(heading_deg))
    way = _column(sine, -cosine) + aside.astype("f") * _column(cosine, sine)  # east and south
    up = up.astype("f")

    seen = _sky(way, up, light, clouds)
    across, level, ahead, blur = around.first_seen(way, up, focal, eye_m)
    place = ahead * way[:, across]
    distance, end = np.hypot(*place), ahead / around.end(way)[across]
    lit = light.on(*around.surface(place, distance, blur))
    clear = np.exp(-distance / (1000 * haze_km)) * (1 - np.clip(2 * end - 1, 0, 1) ** 2)
    air = seen[:, across, level]
    seen[:, across, level] = air + (1 - np.exp(-1.6 * lit) - air) * clear
    pixels = np.clip(seen, 0, 1).T.reshape(height, 2, width, wide, 3)
    return pixels.mean((1, 3), dtype="f")


class _Surroundings:
    """The ground around an observer, real and invented; near them float32 resolves a millimetre."""

    def __init__(self, land, place, detail, seed):
        self.land, self.detail, self.start = land, detail, _drawn(seed)
        self.pixel_m, self.place = _column(*land.pixel_size_m), _column(*place)
        self.spot = self.place.astype(float) * self.pixel_m

    def end(self, way):
        """Return how many metres ahead the grid ends in each direction."""
        size = np.array(self.land.shapes.shape[:0:-1])[:, None] * self.pixel_m
        with np.errstate(divide="ignore"):
            room = np.where(way > 0, size - self.spot, self.spot) / abs(way)
        return room.min(axis=0).astype("f")

    def on_grid(self, planes, place):
        """Interpolate planes of the grid."""
        return _bilinear(planes, place / self.pixel_m + (self.place - np.float32(0.5)))

    def texture(self, square, size, place, shift=0):
        """Interpolate a seamless square with pixels of `size` metres."""
        start = (self.spot / size + self.start + shift) % (square.shape[1] - 1)
        return _seamless(square, place / np.float32(size) + start.astype("f"))

    def layers(self, blur):
        """Yield the pixel size of each layer, where it is large enough to be seen, how clearly."""
        for size in LAYERS_M if self.detail else ():
            near = blur < 4 * size
            yield size, near, np.clip(2 - blur[near] / (2 * size), 0, 1)

    def invented(self, place, distance, blur, rough, forest, slopes=False):
        """Return invented heights, or slopes to the east and south; and how much is tree.

        Nothing is smaller than `blur`, metres.
        """
        added, tree = np.zeros((1 + slopes, len(blur)), "f"), np.zeros(len(blur), "f")
        for size, near, strength in self.layers(blur):
            rises = self.texture(_ridges()[slopes], size, place[:, near])
            added[:, near] += rises * (0.5 * size ** (0.2 if slopes else 1.2) * strength * rough[near])
        near = (blur < 8) & (distance > CLEARING_M) & self.detail
        cones, needed = _trees()
        room = forest[near] * np.clip(distance[near] / CLEARING_M - 1, 0, 1)
        stands = np.clip((room - self.texture(needed, TREE_PX_M, place[:, near])[0]) * 15, 0, 1)
        stands *= TREE_M * np.clip(2 - blur[near] / 4, 0, 1)
        parts = [self.texture(part, TREE_PX_M, place[:, near]) * stands for part in cones[: 1 + slopes]]
        tree[near] = parts[0][0] / TREE_M
        added[:, near] += parts[1] / TREE_PX_M if slopes else parts[0]
        return added, tree

    def heights(self, place, distance, blur):
        """Return the height of the ground, invented relief and trees included."""
        height, *others = self.on_grid(self.land.shapes, place)
        return height + self.invented(place, distance, blur, *others)[0][0]

    def first_seen(self, way, up, focal, eye_m):
        """March ahead in growing steps; each ray ends where the ground first rises above it.

        Returns:
            Of the rays that do: column, row, metres ahead, metres of ground in a pixel.
        """
        ahead, growth = [0.5], 1 + min(max(2.5 / focal, 0.004), 0.03)
        coarse, farthest = float(self.pixel_m.max()), self.end(way).max()
        while ahead[-1] < farthest:  # by a pixel of the grid, or of the view where that is wider
            step = max(coarse, ahead[-1] * 0.5 / focal)
            ahead.append(min(ahead[-1] * growth, ahead[-1] + step))
        ahead = np.array(ahead, "f")
        step = np.diff(ahead, append=ahead[-1])
        distance = np.hypot(*way)[:, None] * ahead
        here = np.zeros((4, 1), "f")
        eye = self.heights(here[:2], here[2], here[3]) + eye_m
        place = (way[:, :, None] * ahead).reshape(2, -1)
        height = self.heights(place, distance.ravel(), np.tile(step, len(distance)))
        rise = (height.reshape(distance.shape) - eye - CURVATURE * distance**2) / ahead
        steepest = np.maximum.accumulate(rise, axis=1)
        hit = np.stack([np.searchsorted(line, up) for line in steepest])
        across, level = np.nonzero(hit < len(ahead))
        after = np.maximum(hit[across, level], 1)
        low, high = rise[across, after - 1], rise[across, after]
        share = np.clip((up[level] - low) / np.maximum(high - low, 1e-9), 0, 1)
        depth = ahead[after - 1] + step[after - 1] * share
        spread = np.zeros(hit.shape, "f")
        spread[across, level] = depth
        spread = abs(np.gradient(spread, axis=1))[across, level]
        blur = np.sqrt(depth / focal * np.maximum(spread, depth / focal))  # pixel's width and depth
        return across, level, depth, blur

    def surface(self, place, distance, blur):
        """Return color before light falls on it, and slopes to the east and south."""
        noise, (_, rough, forest) = _noise(1.1), self.on_grid(self.land.shapes, place)
        added, tree = self.invented(place, distance, blur, rough, forest, slopes=True)
        moved = [self.texture(noise, 9, place, shift) for shift in (100, 300)]  # hides the pixels
        where = place + 25 * self.detail * np.concatenate(moved)
        color = 0.85 * np.maximum(self.on_grid(self.land.image, where), _column(0.1, 0.1, 0.08))
        green = _column(0.1, 0.15, 0.07) * (0.4 + 1.5 * tree)
        color += (green - color) * np.clip(8 * tree, 0, 0.9)
        for size, near, strength in self.layers(blur):
            tint = strength * self.texture(noise, size, place[:, near], 200)
            color[:, near] *= 1 + tint * _column(0.13, 0.11, 0.09)
        return color, self.on_grid(self.land.slopes, place) + added


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
        direct = _column(1, 0.97 - 0.35 * self.warm, 0.92 - 0.6 * self.warm) * self.direct
        ambient = _column(0.42, 0.45, 0.5) * (0.06 + 0.94 * self.day)
        return color * (ambient + 0.55 * direct * np.clip(facing, 0, 1.8))


def _sky(way, up, light, clouds):
    """Return the color of the sky behind each ray, (3, columns, rows)."""
    day, warm, flat = light.day, light.warm, np.hypot(*way)[:, None]
    long = np.hypot(flat, up)
    to_sun = (light.toward @ way)[:, None] * math.cos(light.elevation)
    to_sun = (to_sun + up * math.sin(light.elevation)) / long
    near, low = np.clip(to_sun, 0, 1).ravel(), np.exp(-5 * np.clip(up / long, 0, 1)).ravel()
    color = _column(0.2, 0.4, 0.72) * (1 - low) + _column(0.75, 0.82, 0.9) * low
    color = (_column(0.01, 0.02, 0.04) + day * color) * (1 - 0.18 * warm * (1 - near))
    color += _column(0.5, 0.25, 0.07) * (warm * day * near**3 * low)
    color += _column(1, 0.9, 0.7) * (day * (0.35 * near**40 + 0.8 * near**1500))
    if clouds is not None:
        place = 30 / np.maximum(up, 0.02 * flat) * way[:, :, None]  # on a plane above
        place, noise = place.reshape(2, -1), _noise(1.1)
        cloud = _seamless(noise, place / 5 + clouds) + 0.35 * _seamless(noise, place)
        cover = clouds[0] * 1.4 / 512 - 1.3
        share = np.clip((cloud + cover) * 0.6, 0, 0.85) * np.clip(6 * up / long, 0, 1).ravel()
        white = _column(1, 1 - 0.2 * warm, 1 - 0.35 * warm) * (0.04 + 0.92 * day)
        color += (white - color) * share
    return color.reshape(3, *long.shape)


def _drawn(seed):
    """Draw the offset of a view's place in the seamless squares, pixels."""
    return _column(*np.random.default_rng(seed).integers(0, 512, 2))


def _refined(grid, refine):
    """Interpolate `refine` times as many columns, by Catmull-Rom."""
    place = (np.arange(grid.shape[1] * refine) + 0.5) / refine - 0.5
    cubics = [[0, -1, 2, -1], [2, 0, -5, 3], [0, 1, 4, -3], [0, 0, -1, 1]]  # of 1, t, t^2, t^3
    weights = np.array(cubics) / 2 @ (place % 1) ** np.arange(4)[:, None]
    taps = np.floor(place).astype(int) + np.arange(-1, 3)[:, None]
    near = grid.take(taps, axis=1, mode="clip")
    return (near * weights).sum(axis=1).astype("f")


def _bilinear(grid, place):
    """Interpolate the planes of a grid; beyond it take its edge. A third of SciPy's time."""
    planes, rows, columns = grid.shape
    flat, places = grid.reshape(planes, -1), place.reshape(2, -1)
    found = np.empty((planes, places.shape[1]), place.dtype)
    for start in range(0, places.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        x, y = np.clip(places[0, part], 0, columns - 1), np.clip(places[1, part], 0, rows - 1)
        left = np.minimum(x, columns - 2).astype("int32")
        top = np.minimum(y, rows - 2).astype("int32")
        x, y, first = x - left.astype(x.dtype), y - top.astype(y.dtype), top * columns + left
        for plane, into in zip(flat, found, strict=True):
            above, below = (_mixed(plane.take(at), plane.take(at + 1), x) for at in (first, first + columns))
            into[part] = _mixed(above, below, y)
    return found.reshape(planes, *place.shape[1:])


def _mixed(one, other, share):
    return one + (other - one) * share


def _seamless(square, place):
    """Interpolate a square that repeats; its last row and column are its first."""
    return _bilinear(square, place % np.float32(square.shape[1] - 1))


def _closed(planes):
    """Return planes as one seamless square: the first row and column once more at the end."""
    return np.pad(np.float32(planes), [(0, 0), (0, 1), (0, 1)], "wrap")


def _column(*parts):
    """Return numbers to go with arrays of (numbers, points)."""
    return np.array(parts, "f")[:, None]


@lru_cache
def _noise(steepness, size=512):
    """Make a seamless square of waves 3 to 42 pixels long, mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    kept = (frequency > 1 / 42) & (frequency < 1 / 3)
    waves = np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size)))
    field = np.fft.irfft2(waves * kept / np.maximum(frequency, 1 / 42) ** steepness)
    return _closed([field / field.std()])


@lru_cache
def _ridges():
    """Make seamless squares of ridges: their heights, and their slopes."""
    return _with_slopes(0.8 - abs(_noise(1.6)[0, :-1, :-1]))


@lru_cache
def _trees(size=1024, cells=113):
    """Make seamless squares of cones and their slopes, and of the forest that each needs."""
    east, south, tall, needed = np.random.default_rng(0).uniform(0.05, 0.95, (4, cells, cells))
    y, x = np.indices((size, size), "f") * (cells / size)
    best, need = np.zeros((2, size, size), "f")
    for down, right in np.ndindex(3, 3):
        row, column = np.floor(y).astype(int) + down - 1, np.floor(x).astype(int) + right - 1
        at = row % cells, column % cells
        away = np.hypot(column + east[at] - x, row + south[at] - y)
        cone = (0.5 + 0.5 * tall[at]) * (1 - away / 0.42)
        best, need = np.maximum(best, cone), np.where(cone > best, needed[at], need)
    return _with_slopes(best), _closed([need])


def _with_slopes(square):
    """Return heights, and how much a pixel rises to the east and south, as seamless squares."""
    rises = [(np.roll(square, -1, axis) - np.roll(square, 1, axis)) / 2 for axis in (1, 0)]
    return _closed([square]), _closed(rises)
