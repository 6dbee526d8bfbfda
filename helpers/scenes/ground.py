"""Splits by ground, and the range of values that a network is shown."""

import numpy as np
from rasterio.warp import transform

SPLITS = ("train", "validation", "test")


def split_ground(scenes, *, block_px, guard_px, seed=0):
    """Split ground, not pictures: blocks of a grid fixed to the map, 70 % train, 10 % validation, 20 % test.

    Where scenes overlap, a block is taken from the first scene that covers it, so that no ground counts twice. A
    band of `guard_px` is left out between neighbouring blocks. Scenes without a place are split each on a grid of its
    own, so two of them must not show the same ground.

    Args:
        scenes: list of Scene of one ground sample distance.
        block_px: side of a usable block, pixels.
        guard_px: width of the band left out between blocks, pixels.
        seed: of the assignment; the same seed gives the same split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene, sorted by place, without no-data pixels.

    Raises:
        ValueError: fewer than three whole blocks (says what would help), or scenes that show the same ground on
            different grids.
    """
    pitch, found = block_px + guard_px, {}
    for number, scene in enumerate(scenes):
        # the grid is anchored at the CRS origin; an unplaced or rotated scene has a grid of its own
        placed = scene.transform is not None and scene.transform.b == scene.transform.d == 0
        first_column = round(scene.transform.c / scene.transform.a) if placed else 0
        first_row = round(scene.transform.f / scene.transform.e) if placed else 0
        grid = f"{scene.crs} {scene.transform.a:.6g} {scene.transform.e:.6g}" if placed else f"{number:06d}"
        for row in range(-first_row % pitch, scene.height - block_px + 1, pitch):
            for column in range(-first_column % pitch, scene.width - block_px + 1, pitch):
                place = ((row + first_row) // pitch, (column + first_column) // pitch)
                block = scene.cut(row, column, block_px, block_px)
                if block.valid.all():
                    found.setdefault((grid, *place), block)
    if len(found) < 3:
        largest = max((min(scene.height, scene.width) for scene in scenes), default=0)
        raise ValueError(
            f"only {len(found)} whole blocks of {block_px} pixels without no-data pixels were found; at least 3 are "
            f"needed, one each to train, validate and test. The shorter side of the largest image is {largest} pixels: "
            "use larger images or smaller blocks"
        )
    keys = sorted(found)
    order = np.random.default_rng(seed).permutation(len(keys))
    validation, test = held_out(len(keys))
    parts = np.split(order, [len(keys) - validation - test, len(keys) - test])
    ground = {split: [found[keys[i]] for i in sorted(part)] for split, part in zip(SPLITS, parts, strict=True)}
    refuse_overlap(ground)
    return ground


def held_out(count):
    """How many of so many blocks or cells validate, and how many test: 10 % and 20 %, at least one."""
    return max(1, round(0.1 * count)), max(1, round(0.2 * count))


def refuse_overlap(ground):
    """Raise a ValueError that names two scenes of different splits which show the same ground.

    Args:
        ground: dict from split to list of Scene; scenes without a place cannot be compared, and pass.
    """
    placed = [(split, scene) for split in SPLITS for scene in ground.get(split, []) if scene.bounds and scene.crs]
    if not placed:
        return
    edges = outlines([scene for _, scene in placed])
    names = np.array([split for split, _ in placed])
    least, most = edges.min(axis=1), edges.max(axis=1)
    slack = 1e-6 * (most - least).min()
    for index, (split, scene) in enumerate(placed):
        near = (least < most[index] - slack).all(axis=1) & (most > least[index] + slack).all(axis=1)
        for other in np.flatnonzero(near & (names != split)):
            if _share_ground(edges[index], edges[other], slack):
                raise ValueError(
                    f"{scene.name} ({split}) and {placed[other][1].name} ({names[other]}) show the same ground: "
                    "scores on it would not be honest. Split by ground, for example with scenes.split_ground"
                )


def outlines(scenes):
    """Points along the edges of scenes, x and y in the coordinates of the first: float64 (scenes, 16, 2).

    All have a transform, and all or none a CRS. Not only the corners: what is straight in one CRS is bent in another.
    """
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    ring = np.concatenate([np.linspace(a, b, 4, endpoint=False) for a, b in zip(corners, corners[1:], strict=False)])
    crs, found = scenes[0].crs, []
    for scene in scenes:
        columns, rows = ring.T * [[scene.width], [scene.height]]
        a, b, c, d, e, f = scene.transform[:6]
        x, y = a * columns + b * rows + c, d * columns + e * rows + f
        found.append((x, y) if scene.crs == crs else transform(scene.crs, crs, x, y))
    return np.moveaxis(np.array(found), 1, 2)


def _share_ground(outline, other, slack):
    """Whether two convex outlines overlap, which they do where no line along an edge has them on different sides."""
    edges = np.concatenate([np.roll(points, -1, axis=0) - points for points in (outline, other)])
    across = np.stack([-edges[:, 1], edges[:, 0]]) / np.hypot(*edges.T)
    a, b = outline @ across, other @ across
    return bool(((a.min(axis=0) < b.max(axis=0) - slack) & (b.min(axis=0) < a.max(axis=0) - slack)).all())


def value_range(scenes):
    """The range of each band that a network sees as 0 to 1: the percentiles 0.5 and 99.5, robust to extreme pixels.

    Args:
        scenes: list of Scene with equal bands; pass *training* ground only, or the test leaks into the model.

    Returns:
        tuple of (low, high) per band, in the unit of the pixels.

    Raises:
        ValueError: a band holds one value only, or nothing.
    """
    step = max(1, int(np.sqrt(sum(scene.height * scene.width for scene in scenes) / 5e6)))
    values = np.concatenate([scene.pixels[::step, ::step].reshape(-1, len(scene.bands)) for scene in scenes])
    ranges = np.nanpercentile(values, (0.5, 99.5), axis=0).T
    for band, (low, high) in zip(scenes[0].bands, ranges, strict=True):
        if not high > low:
            raise ValueError(f"band {band} is {low:g} everywhere on the training ground: leave it out of `bands`")
    return tuple((float(low), float(high)) for low, high in ranges)


def to_unit(pixels, value_range):
    """Map each band linearly so that its `value_range` becomes 0 to 1; nothing is clipped."""
    low, high = np.asarray(value_range, "float32").T
    return (pixels - low) / (high - low)


def from_unit(values, value_range):
    """Undo `to_unit`."""
    low, high = np.asarray(value_range, "float32").T
    return values * (high - low) + low
