"""Views from the ground: what somebody who stands in a height field with an image draped on it would see."""

from functools import lru_cache

import numpy as np

CURVATURE = (1 - 0.13) / (2 * 6_371_000)  # a metre away to the power of 2, the ground sinks so far; with refraction
LAYERS_M = 0.004, 0.05, 0.6, 8.0  # pixel sizes of the invented ground's layers, fine to coarse
TREE_M, CLEARING_M = 10, 60  # height of the tallest tree; how near the nearest one stands


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
    image = _bilinear(np.nan_to_num(imagery.pixels, nan=255) / 255, x - 0.5, y - 0.5).astype("f")
    latitude, degree_m = transform.f + transform.e * len(heights) / 2, 111_195
    pixel_size_m = transform.a * degree_m * np.cos(np.radians(latitude)), -transform.e * degree_m
    return heights, image, pixel_size_m, transform


def view(
    heights, image, *, pixel_size_m, column, row, heading_deg, size_px=(426, 640), field_of_view_deg=60, eye_m=2,
    pitch_deg=0, sun_azimuth_deg=140, sun_elevation_deg=40, haze_km=25, detail=1, seed=0,
):  # fmt: skip
    """What an eye sees that looks over a height field.

    Args:
        heights: float32 (rows, columns), metres; the first row is the northernmost.
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
        seed: of what is invented.

    Returns:
        float32 (height, width, 3), 0 to 1.

    Raises:
        ValueError: image and heights do not fit, a height is not finite, or the eye is not over the grid.
    """
    heights, image = np.asarray(heights, "f"), np.asarray(image, "f")
    if image.shape != (*heights.shape, 3):
        raise ValueError(f"the image has shape {image.shape}, expected {(*heights.shape, 3)} to fit the heights")
    if not np.isfinite(heights).all():
        raise ValueError(f"{(~np.isfinite(heights)).sum()} heights are not finite: fill them, or cut them away")
    size_m = heights.shape[1] * pixel_size_m[0], heights.shape[0] * pixel_size_m[1]
    spot = column * pixel_size_m[0], row * pixel_size_m[1]
    if not (0 < spot[0] < size_m[0] and 0 < spot[1] < size_m[1]):
        raise ValueError(f"column {column}, row {row} is outside the grid of {heights.shape[1]} x {heights.shape[0]}")
    slopes = [None, *(np.gradient(heights, pixel, axis=axis) for axis, pixel in zip((1, 0), pixel_size_m, strict=True))]
    rough = np.clip(2.5 * np.hypot(*slopes[1:]), 0.2, 1.6) * detail
    forest = np.clip(8 * image[..., 1] - 7.5 * (image[..., 0] + image[..., 2]) + 2.2, 0, 1)
    noise, ridges, (cones, needed) = _noise(1.1), _with_slopes(0.8 - abs(_noise(1.6))), _trees()
    chance = np.random.default_rng(seed).integers(0, 512, 2)

    # from here, x and y are metres to the east and south of the eye: near it, float32 resolves a millimetre
    def on_grid(values, x, y):
        return _bilinear(values, x / pixel_size_m[0] + (column - 0.5), y / pixel_size_m[1] + (row - 0.5))

    def texture(square, size, x, y, shift=0):
        east, south = ((place / size + start + shift) % len(square) for place, start in zip(spot, chance, strict=True))
        return _bilinear(square, x / size + east, y / size + south, wrap=True)

    def invented(x, y, distance, blur, kind=0):
        """Height (kind 0) or slope to the east (1) or south (2) to add, and how much is tree; nothing below `blur`."""
        ground, tree = np.zeros_like(x), np.zeros_like(x)
        for size in LAYERS_M if detail else ():
            near = blur < 4 * size
            part = np.clip(2 - blur[near] / (2 * size), 0, 1) * (0.5 * size**1.2) * on_grid(rough, x[near], y[near])
            ground[near] += part * texture(ridges[kind], size, x[near], y[near]) / (size if kind else 1)
        near = (blur < 8) & (distance > CLEARING_M) & (detail > 0)
        room = on_grid(forest, x[near], y[near]) * np.clip(distance[near] / CLEARING_M - 1, 0, 1)
        stands = np.clip((room - texture(needed, 0.5, x[near], y[near])) * 15, 0, 1)
        tree[near] = texture(cones[kind], 0.5, x[near], y[near]) * stands * np.clip(2 - blur[near] / 4, 0, 1)
        return ground + tree * (TREE_M / (0.5 if kind else 1)), tree

    # rays: for every metre ahead, how far each column goes aside and each row goes up; two rows a pixel, smooth edges
    wide = 2 if size_px[1] <= 256 else 1
    focal = size_px[1] / 2 / np.tan(np.radians(field_of_view_deg / 2))
    aside = ((np.arange(wide * size_px[1], dtype="f")[:, None] + 0.5) / wide - size_px[1] / 2) / np.float32(focal)
    up = (size_px[0] / 2 - (np.arange(2 * size_px[0]) + 0.5) / 2) / focal + np.tan(np.radians(pitch_deg))
    up, longer = up.astype("f"), np.sqrt(1 + aside**2)
    sine, cosine = np.sin(np.radians(heading_deg)), np.cos(np.radians(heading_deg))
    way = (sine + aside * cosine).astype("f"), (aside * sine - cosine).astype("f")  # to east and south
    with np.errstate(divide="ignore"):
        end = np.minimum(*(np.where(w > 0, e - s, s) / abs(w) for w, e, s in zip(way, size_m, spot, strict=True)))

    # the first place where the ground reaches each ray: march ahead in growing steps, remember the steepest so far
    ahead, growth = [0.5], 1 + np.clip(2.5 / focal, 0.004, 0.012)
    while ahead[-1] < end.max():
        ahead.append(min(ahead[-1] * growth, ahead[-1] + max(pixel_size_m)))
    ahead = np.array(ahead, "f")
    step = np.diff(ahead, append=ahead[-1])
    x, y, distance = ahead * way[0], ahead * way[1], ahead * longer
    here = np.zeros((4, 1), "f")
    eye = on_grid(heights, *here[:2]) + invented(*here)[0] + eye_m
    height = on_grid(heights, x, y) + invented(x, y, distance, np.broadcast_to(step, x.shape))[0]
    rise = (height - eye - CURVATURE * distance**2) / ahead
    hit = np.stack([np.searchsorted(line, up) for line in np.maximum.accumulate(rise, axis=1)])
    across, level = np.nonzero(hit < len(ahead))
    after = np.maximum(hit[across, level], 1)
    low, high = rise[across, after - 1], rise[across, after]
    depth = ahead[after - 1] + step[after - 1] * np.clip((up[level] - low) / np.maximum(high - low, 1e-9), 0, 1)

    # its colour: image, invented texture and trees, light, air
    x, y, distance = depth * way[0][across, 0], depth * way[1][across, 0], depth * longer[across, 0]
    spread = np.zeros(hit.shape, "f")
    spread[across, level] = depth
    spread = abs(np.gradient(spread, axis=1))[across, level]
    blur = np.sqrt(depth / focal * np.maximum(spread, depth / focal))  # between the width and the depth of a pixel
    tree = invented(x, y, distance, blur)[1]
    to_east, to_south = (on_grid(slopes[kind], x, y) + invented(x, y, distance, blur, kind)[0] for kind in (1, 2))
    moved = [25 * detail * texture(noise, 9, x, y, shift) for shift in (100, 300)]  # hides the pixels of the image
    colour = 0.85 * np.maximum(on_grid(image, x + moved[0], y + moved[1]), np.array([0.1, 0.1, 0.08], "f"))
    green = np.array([0.1, 0.15, 0.07], "f") * (0.4 + 1.5 * tree[:, None])
    colour += (green - colour) * np.clip(8 * tree, 0, 0.9)[:, None]
    for size in LAYERS_M if detail else ():
        tint = detail * np.clip(2 - blur / (2 * size), 0, 1) * texture(noise, size, x, y, 200)
        colour *= 1 + tint[:, None] * np.array([0.13, 0.11, 0.09], "f")
    azimuth, elevation = np.radians(sun_azimuth_deg), np.radians(max(sun_elevation_deg, 3))
    facing = np.sin(elevation) - np.cos(elevation) * (to_east * np.sin(azimuth) - to_south * np.cos(azimuth))
    facing /= np.sqrt(1 + to_east**2 + to_south**2) * max(np.sin(elevation), 0.25)
    day, warm = _daylight(sun_elevation_deg)
    direct = np.array([1, 0.97 - 0.35 * warm, 0.92 - 0.6 * warm], "f") * np.clip((sun_elevation_deg + 3) / 12, 0, 1)
    colour *= np.array([0.42, 0.45, 0.5]) * (0.06 + 0.94 * day) + 0.55 * direct * np.clip(facing, 0, 1.8)[:, None]
    seen = _sky(way, up, sun_azimuth_deg, sun_elevation_deg, noise, chance, detail)
    clear = np.exp(-distance / (1000 * haze_km)) * (1 - np.clip(2 * depth / end[across, 0] - 1, 0, 1) ** 2)
    air = seen[across, level]
    seen[across, level] = air + (1 - np.exp(-1.6 * colour) - air) * clear[:, None]
    seen = np.clip(seen, 0, 1).transpose(1, 0, 2)
    return seen.reshape(size_px[0], 2, size_px[1], wide, 3).mean((1, 3), dtype="f")


def _refined(grid, refine):
    """`refine` times as many columns, by Catmull-Rom."""
    place = (np.arange(grid.shape[1] * refine) + 0.5) / refine - 0.5
    first, t = np.floor(place).astype(int), place % 1
    weights = t * (t * (2 - t) - 1), t * t * (3 * t - 5) + 2, t * (t * (4 - 3 * t) + 1), t * t * (t - 1)
    parts = (grid[:, np.clip(first + i - 1, 0, grid.shape[1] - 1)] * (weights[i] / 2) for i in range(4))
    return sum(parts).astype("f")


def _bilinear(grid, x, y, wrap=False):
    """Values between pixels; beyond the grid those of its edge, or of its repetition (if a power of 2 wide)."""
    height, width = grid.shape[:2]
    if not wrap:
        x, y = np.clip(x, 0, width - 1.001), np.clip(y, 0, height - 1.001)
    left, top = np.floor(x).astype("i4"), np.floor(y).astype("i4")
    right, down = x - left, y - top
    if grid.ndim == 3:
        right, down = right[..., None], down[..., None]
    columns = (left & (width - 1), (left + 1) & (width - 1)) if wrap else (left, left + 1)
    rows = (top & (height - 1), (top + 1) & (height - 1)) if wrap else (top, top + 1)
    flat = grid.reshape(-1, *grid.shape[2:])
    upper, lower = (
        (a := flat[row * width + columns[0]]) + (flat[row * width + columns[1]] - a) * right for row in rows
    )
    return upper + (lower - upper) * down


@lru_cache
def _noise(steepness, size=512):
    """A seamless square of waves 3 to 42 pixels long, mean 0, deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    kept = (frequency > 1 / 42) & (frequency < 1 / 3)
    waves = np.fft.rfft2(np.random.default_rng(0).standard_normal((size, size)))
    field = np.fft.irfft2(waves * kept / np.maximum(frequency, 1 / 42) ** steepness)
    return (field / field.std()).astype("f")


@lru_cache
def _trees(size=1024, cells=113):
    """A seamless square of cones with slopes, 0 to 1, and one of how much forest it takes for each to stand there."""
    east, south, tall, needed = np.random.default_rng(0).uniform(0.05, 0.95, (4, cells, cells))
    y, x = np.indices((size, size), "f") * (cells / size)
    best, need = np.zeros((2, size, size), "f")
    for down, right in np.ndindex(3, 3):
        row, column = np.floor(y).astype(int) + down - 1, np.floor(x).astype(int) + right - 1
        at = row % cells, column % cells
        cone = (0.5 + 0.5 * tall[at]) * (1 - np.hypot(column + east[at] - x, row + south[at] - y) / 0.42)
        best, need = np.maximum(best, cone), np.where(cone > best, needed[at], need)
    return _with_slopes(best.astype("f")), need.astype("f")


def _with_slopes(square):
    """The square, and how much a pixel rises to the east and to the south."""
    return square, *((np.roll(square, -1, axis) - np.roll(square, 1, axis)) / 2 for axis in (1, 0))


def _daylight(sun_elevation_deg):
    """How light, and how warm the light, 0 to 1."""
    return np.clip((sun_elevation_deg + 12) / 16, 0, 1) ** 2, np.exp(-(((sun_elevation_deg - 2) / 8) ** 2))


def _sky(way, up, sun_azimuth_deg, sun_elevation_deg, noise, chance, detail):
    """Colour of the sky behind each ray."""
    (day, warm), (azimuth, elevation) = _daylight(sun_elevation_deg), np.radians((sun_azimuth_deg, sun_elevation_deg))
    flat = np.hypot(*way)
    long = np.hypot(flat, up)
    to_sun = (way[0] * np.sin(azimuth) - way[1] * np.cos(azimuth)) * np.cos(elevation) + up * np.sin(elevation)
    near, low = np.clip(to_sun / long, 0, 1)[..., None], np.exp(-5 * np.clip(up / long, 0, 1))[..., None]
    colour = [0.01, 0.02, 0.04] + day * np.array([0.2, 0.4, 0.72]) * (1 - low) + day * np.array([0.75, 0.82, 0.9]) * low
    colour = (colour * (1 - 0.18 * warm * (1 - near))).astype("f")
    colour += np.array([0.5, 0.25, 0.07], "f") * (warm * day) * near**3 * low
    colour += np.array([1, 0.9, 0.7], "f") * day * (0.35 * near**40 + 0.8 * near**1500)
    if detail:
        east, south = (30 / np.maximum(up, 0.02 * flat) * part for part in way)  # on a plane above
        cloud = _bilinear(noise, east / 5 + chance[0], south / 5 + chance[1], wrap=True)
        cloud += 0.35 * _bilinear(noise, east, south, wrap=True)
        cover = chance[0] * 1.4 / 512 - 1.3
        share = np.clip((cloud + cover) * 0.6, 0, 0.85) * np.clip(6 * up / long, 0, 1)
        colour += (np.array([1, 1 - 0.2 * warm, 1 - 0.35 * warm], "f") * (0.04 + 0.92 * day) - colour) * share[
            ..., None
        ]
    return colour
