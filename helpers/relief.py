"""Views from the ground: what somebody who stands in a height field with an image draped on it would see."""

import math
from collections import namedtuple
from functools import lru_cache

import numpy as np
from scipy.ndimage import map_coordinates

CURVATURE = (1 - 0.13) / (2 * 6_371_000)  # a metre away to the power of 2, the ground sinks so far; with refraction
LAYERS_M = 0.004, 0.05, 0.6, 8.0  # pixel sizes of the invented ground's layers, fine to coarse
TREE_M, CLEARING_M = 10, 60  # height of the tallest tree; how near the nearest one stands

Ground = namedtuple("Ground", "pixel_size_m shapes slopes image")


def aligned(elevation, imagery, refine=4):
    """Put an elevation Scene and a three-band uint8 Scene, both north up and in degrees, on one grid.

    Args:
        elevation: metres, without gaps, inside `imagery`.
        imagery: red, green, blue; pixels without data become white, as over-exposed snow is marked so, too.
        refine: pixels of the grid along one of `elevation`; between them heights are smooth (Catmull-Rom).

    Returns:
        heights, image and pixel_size_m as `view` takes them, and the grid's transform.
    """
    heights = _refined(_refined(elevation.pixels[..., 0], refine).T, refine).T
    transform = elevation.transform @ elevation.transform.scale(1 / refine)
    row, column = np.indices(heights.shape) + 0.5
    x, y = ~imagery.transform @ (transform @ (column, row))
    planes = np.nan_to_num(np.moveaxis(imagery.pixels, -1, 0), nan=255) / 255
    image = np.moveaxis(_bilinear(planes, x - 0.5, y - 0.5), 0, -1).astype("f")
    latitude, degree_m = transform.f + transform.e * len(heights) / 2, 111_195
    pixel_size_m = transform.a * degree_m * np.cos(np.radians(latitude)), -transform.e * degree_m
    return heights, image, pixel_size_m, transform


def ground(heights, image, pixel_size_m):
    """What all views of one ground share, so that those who make many compute it once.

    Args:
        heights, image, pixel_size_m: as of `view`.

    Returns:
        Ground, which `view` takes in place of the heights: pixel_size_m, and as planes of one grid shapes (heights, how
        rough it is, how much it looks like forest), slopes (to the east and south) and image.

    Raises:
        ValueError: image and heights do not fit, or a height is not finite.
    """
    heights, image = np.asarray(heights, "f"), np.asarray(image, "f")
    if image.shape != (*heights.shape, 3):
        raise ValueError(f"the image has shape {image.shape}, expected {(*heights.shape, 3)} to fit the heights")
    if not np.isfinite(heights).all():
        raise ValueError(f"{(~np.isfinite(heights)).sum()} heights are not finite: fill them, or cut them away")
    pixel_size_m = tuple(map(float, pixel_size_m))
    slopes = [np.gradient(heights, pixel, axis=axis) for axis, pixel in zip((1, 0), pixel_size_m, strict=True)]
    rough = np.clip(2.5 * np.hypot(*slopes), 0.2, 1.6)
    forest = np.clip(8 * image[..., 1] - 7.5 * (image[..., 0] + image[..., 2]) + 2.2, 0, 1)
    planes = np.stack([heights, rough, forest]), np.stack(slopes), np.ascontiguousarray(np.moveaxis(image, -1, 0))
    return Ground(pixel_size_m, *planes)


def view(
    heights, image=None, *, pixel_size_m=None, column, row, heading_deg, size_px=(426, 640), field_of_view_deg=60,
    eye_m=2, pitch_deg=0, sun_azimuth_deg=140, sun_elevation_deg=40, haze_km=25, detail=1, seed=0, cloud_seed=None,
):  # fmt: skip
    """What an eye sees that looks over a height field.

    Args:
        heights: float32 (rows, columns), metres; the first row is the northernmost. Or what `ground` made of it and the
            next two, which then are not given.
        image: float32 (rows, columns, 3), 0 to 1, on the same grid: what is draped on it.
        pixel_size_m: (x, y) of the grid.
        column, row: where the eye is, as `~transform @ (x, y)` gives it (0.5 is the middle of the first pixel).
        heading_deg: compass direction of the view's middle.
        size_px: (height, width) of the view.
        field_of_view_deg: from the left to the right edge of the view.
        eye_m: height above the ground.
        pitch_deg: elevation of the view's middle. The view is shifted, not tilted, so upright things stay upright.
        sun_azimuth_deg, sun_elevation_deg: where the sun is; it is night from -12 degrees down.
        haze_km: where the air leaves 37 % of the contrast. More haze, from half-way to it, hides the grid's end.
        detail: 0 shows the grid as it is; 1 adds what a coarse grid lacks: small relief and texture, trees where the
            image looks like forest (none within 60 m) and clouds.
        seed: of what is invented; of the ground, views with the same seed see the same.
        cloud_seed: of the clouds, if it is another.

    Returns:
        float32 (height, width, 3), 0 to 1.

    Raises:
        ValueError: image and heights do not fit, a height is not finite, or the eye is not over the grid.
    """
    land = heights if isinstance(heights, Ground) else ground(heights, image, pixel_size_m)
    _, rows, columns = land.shapes.shape
    if not (0 < column < columns and 0 < row < rows):
        raise ValueError(f"column {column}, row {row} is outside the grid of {columns} x {rows}")
    # numbers of NumPy would make all arrays float64
    column, row, sun_azimuth_deg, sun_elevation_deg = map(float, (column, row, sun_azimuth_deg, sun_elevation_deg))
    around = _Surroundings(land, column, row, detail, seed)

    # rays: for every metre ahead, how far each column goes aside and each row goes up; two rows a pixel, smooth edges
    wide = 2 if size_px[1] <= 256 else 1
    focal = size_px[1] / 2 / math.tan(math.radians(field_of_view_deg / 2))
    aside = ((np.arange(wide * size_px[1], dtype="f")[:, None] + 0.5) / wide - size_px[1] / 2) / focal
    up = (size_px[0] / 2 - (np.arange(2 * size_px[0]) + 0.5) / 2) / focal + np.tan(np.radians(pitch_deg))
    up, longer = up.astype("f"), np.sqrt(1 + aside**2)
    sine, cosine = math.sin(math.radians(heading_deg)), math.cos(math.radians(heading_deg))
    way = sine + aside * cosine, aside * sine - cosine  # to east and south
    size_m = columns * land.pixel_size_m[0], rows * land.pixel_size_m[1]
    sides = zip(way, size_m, around.spot, strict=True)
    with np.errstate(divide="ignore"):
        end = np.minimum(*(np.where(part > 0, size - spot, spot) / abs(part) for part, size, spot in sides))

    across, level, ahead, blur = around.first_seen(way, up, longer, focal, eye_m, float(end.max()))
    x, y, distance = ahead * way[0][across, 0], ahead * way[1][across, 0], ahead * longer[across, 0]
    colour, to_east, to_south = around.surface(x, y, distance, blur)
    azimuth, elevation = math.radians(sun_azimuth_deg), math.radians(max(sun_elevation_deg, 3))
    facing = math.sin(elevation) - math.cos(elevation) * (to_east * math.sin(azimuth) - to_south * math.cos(azimuth))
    facing /= np.sqrt(1 + to_east**2 + to_south**2) * max(math.sin(elevation), 0.25)
    day, warm = _daylight(sun_elevation_deg)
    direct = _rgb(1, 0.97 - 0.35 * warm, 0.92 - 0.6 * warm) * min(max((sun_elevation_deg + 3) / 12, 0), 1)
    colour *= _rgb(0.42, 0.45, 0.5) * (0.06 + 0.94 * day) + 0.55 * direct * np.clip(facing, 0, 1.8)
    of_clouds = _drawn(seed if cloud_seed is None else cloud_seed)
    seen = _sky(way, up, sun_azimuth_deg, sun_elevation_deg, of_clouds, detail)
    clear = np.exp(-distance / (1000 * haze_km)) * (1 - np.clip(2 * ahead / end[across, 0] - 1, 0, 1) ** 2)
    air = seen[:, across, level]
    seen[:, across, level] = air + (1 - np.exp(-1.6 * colour) - air) * clear
    seen = np.clip(seen, 0, 1).T
    return seen.reshape(size_px[0], 2, size_px[1], wide, 3).mean((1, 3), dtype="f")


class _Surroundings:
    """The ground around an eye, and what is invented there.

    x and y are metres to the east and south of the eye: near it, float32 resolves a millimetre.
    """

    def __init__(self, land, column, row, detail, seed):
        self.land, self.detail, self.place = land, detail, (column - 0.5, row - 0.5)
        self.spot = column * land.pixel_size_m[0], row * land.pixel_size_m[1]
        self.start = _drawn(seed)

    def on_grid(self, planes, x, y):
        """What the grid holds at a place."""
        parts = zip((x, y), self.land.pixel_size_m, self.place, strict=True)
        return _bilinear(planes, *(part / pixel + start for part, pixel, start in parts))

    def texture(self, squares, size, x, y, shift=0):
        """What a seamless square with pixels of `size` metres holds at a place."""
        width = squares.shape[-1]
        east, south = ((part / size + start + shift) % width for part, start in zip(self.spot, self.start, strict=True))
        return _bilinear(squares, x / size + east, y / size + south, wrap=True)

    def invented(self, x, y, distance, blur, rough, forest, kinds=1):
        """Planes to add - height, with 3 `kinds` also slopes to the east and south - and how much is tree.

        Nothing is smaller than `blur`, which is that of the last axis.
        """
        ridges, (cones, needed) = _ridges(), _trees()
        added, tree = np.zeros((2, kinds, *x.shape), "f")
        for size, near, strength in self.layers(blur):
            strength = strength * (0.5 * self.detail * size**1.2) * rough[near]
            rises = self.texture(ridges[:kinds], size, x[near], y[near])
            added[near] += strength * rises * _per_metre(size, x)[:kinds]
        near = ..., (blur < 8) & (np.atleast_2d(distance).max(axis=0) > CLEARING_M) & (self.detail > 0)
        room = forest[near] * np.clip(distance[near] / CLEARING_M - 1, 0, 1)
        stands = np.clip((room - self.texture(needed, 0.5, x[near], y[near])) * 15, 0, 1)
        stands *= np.clip(2 - blur[near[1]] / 4, 0, 1)
        tree[near] = self.texture(cones[:kinds], 0.5, x[near], y[near]) * stands
        return added + TREE_M * tree * _per_metre(0.5, x)[:kinds], tree[0]

    def layers(self, blur):
        """Pixel size of each layer, where it is not too small to be seen, and how much of it is seen there."""
        for size in LAYERS_M if self.detail else ():
            near = ..., blur < 4 * size
            yield size, near, np.clip(2 - blur[near[1]] / (2 * size), 0, 1)

    def first_seen(self, way, up, longer, focal, eye_m, farthest):
        """Where each ray first meets the ground: march ahead in growing steps, remember the steepest so far.

        Returns:
            Of the rays that do: column, row, metres ahead, metres of ground in a pixel.
        """
        ahead, growth = [0.5], 1 + min(max(2.5 / focal, 0.004), 0.03)
        while ahead[-1] < farthest:  # by a pixel of the grid, or where that is wider half a pixel of the view
            ahead.append(min(ahead[-1] * growth, ahead[-1] + max(*self.land.pixel_size_m, ahead[-1] * 0.5 / focal)))
        ahead = np.array(ahead, "f")
        step = np.diff(ahead, append=ahead[-1])
        x, y, distance = ahead * way[0], ahead * way[1], ahead * longer
        here = np.zeros((4, 1), "f")
        (level, *rest), (height, *others) = (self.on_grid(self.land.shapes, *at) for at in (here[:2], (x, y)))
        eye = level + self.invented(*here, *rest)[0][0] + eye_m
        height += self.invented(x, y, distance, step, *others)[0][0]
        rise = (height - eye - CURVATURE * distance**2) / ahead
        hit = np.stack([np.searchsorted(line, up) for line in np.maximum.accumulate(rise, axis=1)])
        across, level = np.nonzero(hit < len(ahead))
        after = np.maximum(hit[across, level], 1)
        low, high = rise[across, after - 1], rise[across, after]
        depth = ahead[after - 1] + step[after - 1] * np.clip((up[level] - low) / np.maximum(high - low, 1e-9), 0, 1)
        spread = np.zeros(hit.shape, "f")
        spread[across, level] = depth
        spread = abs(np.gradient(spread, axis=1))[across, level]
        blur = np.sqrt(depth / focal * np.maximum(spread, depth / focal))  # between a pixel's width and its depth
        return across, level, depth, blur

    def surface(self, x, y, distance, blur):
        """Colour before light falls on it, and slopes to the east and south: image, invented texture and trees."""
        _, rough, forest = self.on_grid(self.land.shapes, x, y)
        added, tree = self.invented(x, y, distance, blur, rough, forest, kinds=3)
        noise, slopes = _noise(1.1), self.on_grid(self.land.slopes, x, y) + added[1:]
        moved = [25 * self.detail * self.texture(noise, 9, x, y, shift) for shift in (100, 300)]  # hides the pixels
        colour = 0.85 * np.maximum(self.on_grid(self.land.image, x + moved[0], y + moved[1]), _rgb(0.1, 0.1, 0.08))
        colour += (_rgb(0.1, 0.15, 0.07) * (0.4 + 1.5 * tree) - colour) * np.clip(8 * tree, 0, 0.9)
        for size, near, strength in self.layers(blur):
            tint = self.detail * strength * self.texture(noise, size, x[near], y[near], 200)
            colour[near] *= 1 + tint * _rgb(0.13, 0.11, 0.09)
        return colour, *slopes


def _drawn(seed):
    """Where in the seamless squares, in pixels, a view's place lies."""
    return np.random.default_rng(seed).integers(0, 512, 2).tolist()


def _per_metre(size, like):
    """What turns the rise of a pixel of `size` metres into a slope; the height before it stays."""
    return np.array([1, 1 / size, 1 / size], "f").reshape(3, *[1] * like.ndim)


def _refined(grid, refine):
    """`refine` times as many columns, by Catmull-Rom."""
    place = (np.arange(grid.shape[1] * refine) + 0.5) / refine - 0.5
    first, t = np.floor(place).astype(int), place % 1
    weights = t * (t * (2 - t) - 1), t * t * (3 * t - 5) + 2, t * (t * (4 - 3 * t) + 1), t * t * (t - 1)
    parts = (grid[:, np.clip(first + i - 1, 0, grid.shape[1] - 1)] * (weights[i] / 2) for i in range(4))
    return sum(parts).astype("f")


def _bilinear(grid, x, y, wrap=False):
    """Interpolate a grid, or each plane of its first axis; beyond it take its edge, or its repetition."""
    planes = grid if grid.ndim == 3 else grid[None]
    place, mode = np.stack(np.broadcast_arrays(y, x)), "grid-wrap" if wrap else "nearest"
    found = [map_coordinates(plane, place, order=1, mode=mode) for plane in planes]
    return np.stack(found) if grid.ndim == 3 else found[0]


def _rgb(red, green, blue):
    """A colour beside planes of two axes."""
    return np.array([[red], [green], [blue]], "f")


@lru_cache
def _noise(steepness, size=512):
    """A seamless square of waves 3 to 42 pixels long, mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    kept = (frequency > 1 / 42) & (frequency < 1 / 3)
    waves = np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size)))
    field = np.fft.irfft2(waves * kept / np.maximum(frequency, 1 / 42) ** steepness)
    return (field / field.std()).astype("f")


@lru_cache
def _ridges():
    """A seamless square of ridges, and how much a pixel rises to the east and to the south."""
    return np.stack(_with_slopes(0.8 - abs(_noise(1.6))))


@lru_cache
def _trees(size=1024, cells=113):
    """Such squares of cones, 0 to 1, and one of how much forest it takes for each to stand there."""
    east, south, tall, needed = np.random.default_rng(0).uniform(0.05, 0.95, (4, cells, cells))
    y, x = np.indices((size, size), "f") * (cells / size)
    best, need = np.zeros((2, size, size), "f")
    for down, right in np.ndindex(3, 3):
        row, column = np.floor(y).astype(int) + down - 1, np.floor(x).astype(int) + right - 1
        at = row % cells, column % cells
        cone = (0.5 + 0.5 * tall[at]) * (1 - np.hypot(column + east[at] - x, row + south[at] - y) / 0.42)
        best, need = np.maximum(best, cone), np.where(cone > best, needed[at], need)
    return np.stack(_with_slopes(best.astype("f"))), need.astype("f")


def _with_slopes(square):
    """The square, and how much a pixel rises to the east and to the south."""
    return square, *((np.roll(square, -1, axis) - np.roll(square, 1, axis)) / 2 for axis in (1, 0))


def _daylight(sun_elevation_deg):
    """How light, and how warm the light, 0 to 1."""
    return min(max((sun_elevation_deg + 12) / 16, 0), 1) ** 2, math.exp(-(((sun_elevation_deg - 2) / 8) ** 2))


def _sky(way, up, sun_azimuth_deg, sun_elevation_deg, chance, detail):
    """Colour of the sky behind each ray, (3, columns, rows)."""
    day, warm = _daylight(sun_elevation_deg)
    azimuth, elevation = math.radians(sun_azimuth_deg), math.radians(sun_elevation_deg)
    flat = np.hypot(*way)
    long = np.hypot(flat, up)
    to_sun = way[0] * math.sin(azimuth) - way[1] * math.cos(azimuth)
    to_sun = to_sun * math.cos(elevation) + up * math.sin(elevation)
    near, low = np.clip(to_sun / long, 0, 1).ravel(), np.exp(-5 * np.clip(up / long, 0, 1)).ravel()
    colour = _rgb(0.01, 0.02, 0.04) + day * (_rgb(0.2, 0.4, 0.72) * (1 - low) + _rgb(0.75, 0.82, 0.9) * low)
    colour *= 1 - 0.18 * warm * (1 - near)
    colour += _rgb(0.5, 0.25, 0.07) * (warm * day * near**3 * low)
    colour += _rgb(1, 0.9, 0.7) * (day * (0.35 * near**40 + 0.8 * near**1500))
    if detail:
        noise = _noise(1.1)
        east, south = (30 / np.maximum(up, 0.02 * flat) * part for part in way)  # on a plane above
        cloud = _bilinear(noise, east / 5 + chance[0], south / 5 + chance[1], wrap=True)
        cloud += 0.35 * _bilinear(noise, east, south, wrap=True)
        cover = chance[0] * 1.4 / 512 - 1.3
        share = np.clip((cloud + cover) * 0.6, 0, 0.85) * np.clip(6 * up / long, 0, 1)
        white = _rgb(1, 1 - 0.2 * warm, 1 - 0.35 * warm) * (0.04 + 0.92 * day)
        colour += (white - colour) * share.ravel()
    return colour.reshape(3, *long.shape)
