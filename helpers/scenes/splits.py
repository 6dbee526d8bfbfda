"""The one split policy: split ground, not pictures, to train, validate and test."""

import warnings
from itertools import product

import numpy as np
from rasterio.warp import transform_bounds

SPLITS = ("train", "validation", "test")
DECIMALS = 6  # of metres or degrees


def split_scenes(scenes, given=(), *, block_px, buffer_px, seed=0):
    """Split scenes: as given, else large ones into blocks and small ones whole.

    Args:
        scenes: list of Scene.
        given: the split of each scene, as a manifest has it; none, or all empty, to split again.
        block_px, buffer_px, seed: as of `split_ground`. Scenes count as large where one holds a
            block of the grid wherever that lies, or where there are fewer than three.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: a given split that lacks a part or shows ground twice, or too little ground.
    """
    if any(given):
        if set(given) != set(SPLITS):
            raise ValueError(
                f"manifest.csv has the splits {sorted(set(given))}; expected {', '.join(SPLITS)} "
                "in all rows, or in none"
            )
        return _by_split(scenes, [np.flatnonzero(np.array(given) == split) for split in SPLITS])
    longest = max(min(scene.height, scene.width) for scene in scenes)
    if len(scenes) < len(SPLITS) or longest >= 2 * block_px + buffer_px:
        return split_ground(scenes, block_px=block_px, buffer_px=buffer_px, seed=seed)
    if all(scene.transform for scene in scenes) and len({not scene.crs for scene in scenes}) == 1:
        boxes = _boxes(scenes)
        buffers = buffer_px * (boxes[:, 2] - boxes[:, 0]) / [scene.width for scene in scenes]
        return _by_split(scenes, split_boxes(boxes, buffers, seed))
    warnings.warn(
        "the tiles do not say where they lie: they are split by name, so that neighbours may stand "
        "on both sides of the split and the scores may flatter. A manifest.csv with bounds mends "
        "that",
        stacklevel=3,
    )
    return _by_split(scenes, deal(np.arange(len(scenes))))


def split_ground(scenes, *, block_px, buffer_px, seed=0):
    """Split scenes into blocks of ground: 70 % train, 10 % validation, 20 % test.

    The blocks lie on a grid fixed to the map. Where scenes overlap, a block is taken from the first
    scene that covers it, so that no ground counts twice. Scenes without a place are split each on a
    grid of its own, so two of them must not show the same ground.

    Args:
        scenes: list of Scene of one ground sample distance.
        block_px: side of a block, pixels.
        buffer_px: width of the band left out between blocks, pixels.
        seed: of the split; the same seed gives the same split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene, sorted by place, without no-data
        pixels.

    Raises:
        ValueError: fewer than three whole blocks (says what would help), or scenes that show the
            same ground on different grids.
    """
    pitch, found = block_px + buffer_px, {}
    for number, scene in enumerate(scenes):
        grid, row, column = _grid(scene) or (f"{number:06}", 0, 0)
        downwards = range(-row % pitch, scene.height - block_px + 1, pitch)
        across = range(-column % pitch, scene.width - block_px + 1, pitch)
        for down, right in product(downwards, across):
            block = scene.cut(down, right, block_px, block_px)
            if block.valid.all():
                found.setdefault((grid, row + down, column + right), block)
    if len(found) < len(SPLITS):
        largest = max((min(scene.height, scene.width) for scene in scenes), default=0)
        raise ValueError(
            f"only {len(found)} whole blocks of {block_px} pixels without no-data pixels were "
            "found; at least 3 are needed, one each to train, validate and test. The shorter side "
            f"of the largest image is {largest} pixels: use larger images or smaller blocks"
        )
    order = np.random.default_rng(seed).permutation(len(found))
    blocks = [found[place] for place in sorted(found)]
    return _by_split(blocks, deal(order), check=len({grid for grid, *_ in found}) > 1)


def blocks_away_from(held_out, scene, *, block_px, buffer_px, stride_px):
    """Return overlapping blocks of a scene, none nearer than a buffer to ground that is held out.

    Args:
        held_out: list of Scene on the scene's grid, such as those that validate and test.
        scene: Scene that the blocks are cut from.
        block_px, buffer_px: side of a block, and its least distance to `held_out`.
        stride_px: from one block to the next.
    """
    width, height = scene.transform.a, scene.transform.e
    held = _boxes(held_out) + buffer_px * np.array([-width, height, width, -height])
    blocks = scene.patches(block_px, stride_px)
    return [block for block in blocks if not _overlapping(held, block.bounds).any()]


def _grid(scene):
    """Return the grid of the map, row and column on it; None without a place, or where rotated."""
    width, turn, left, skew, height, top = (scene.transform or (0, 1) * 3)[:6]
    if turn or skew:
        return None
    return f"{scene.crs} {width:.6g} {height:.6g}", round(top / height), round(left / width)


def _by_split(members, parts, check=True):
    """Return a dict from split to scenes, given the numbers of those in each part."""
    chosen = [[members[at] for at in sorted(part)] for part in parts]
    ground = dict(zip(SPLITS, chosen, strict=True))
    if check:
        check_disjoint(ground)
    return ground


def deal(order):
    """Deal members out: the first 70 % train, the next 10 % validate, the last 20 % test.

    Args:
        order: int (members,), their numbers in some order.

    Returns:
        three arrays with the numbers of the members; validation and test have at least one.
    """
    test, validation = (max(1, round(share * len(order))) for share in (0.2, 0.1))
    return np.split(order, [len(order) - test - validation, len(order) - test])


def split_boxes(boxes, buffers, seed=0):
    """Split boxes by ground, along the longer side of the area.

    Validation and test lie at opposite ends, training between them.

    Args:
        boxes: float (boxes, 4), west, south, east, north in one coordinate system.
        buffers: float (boxes,), least distance of each to boxes of another split; what lies nearer
            to a box of a later split is left out.
        seed: of the split; an odd one exchanges the ends.

    Returns:
        three arrays with the numbers of the boxes that train, validate and test.

    Raises:
        ValueError: too little ground.
    """
    west, south, east, north = boxes.T
    x, y = west + east, south + north
    along = x if np.ptp(x) > np.ptp(y) else y
    order = (along * (-1) ** seed).argsort(kind="stable")
    order = np.roll(order, -len(deal(order)[-1]))  # one end goes last, to the test
    grown = boxes + buffers[:, None] / 2 * [-1, -1, 1, 1]
    kept, taken = [], np.zeros(len(boxes), bool)
    for part in reversed(deal(order)):
        is_apart = [not _overlapping(grown[taken], box).any() for box in grown[part]]
        if not any(is_apart):
            raise ValueError(
                f"the {len(boxes)} tiles lie so close together that a split has none beside the "
                "buffer around the others; acquire a larger area"
            )
        kept.insert(0, part[is_apart])
        taken[kept[0]] = True
    return kept


def check_disjoint(ground):
    """Raise a ValueError that names two scenes of different splits which show the same ground.

    Args:
        ground: dict from split to list of Scene; scenes without a place are compared by their
            pixels. Rotated ones, and ones in other coordinates, count as the box around them.
    """
    seen, placed = {}, []
    for split, found in ground.items():
        for scene in found:
            if scene.transform and scene.crs:
                placed.append((split, scene))
            elif np.ptp(scene.pixels) > 0:
                twin = seen.setdefault(hash(scene.pixels.tobytes()), (split, scene))
                if twin[0] != split:
                    told = f"{twin[1].name} ({twin[0]}) and {scene.name} ({split})"
                    raise ValueError(f"{told} hold the same pixels: keep one of them")
    boxes = _boxes([scene for _, scene in placed])
    for at, (split, scene) in enumerate(placed):
        for number in np.flatnonzero(_overlapping(boxes[:at], boxes[at])):
            other, near = placed[number]
            first, second = _boxes([near, scene])  # exact where both are upright
            if other != split and _overlapping(first[None], second).any():
                raise ValueError(
                    f"{near.name} ({other}) and {scene.name} ({split}) show the same ground: "
                    "scores on it would not be honest. Split by ground, as scenes.split_ground does"
                )


def _overlapping(boxes, box):
    """Return bool (boxes,): which of them overlap one box; what touches does not."""
    west, south, east, north = np.round(boxes, DECIMALS).T
    left, bottom, right, top = np.round(box, DECIMALS)
    return (west < right) & (left < east) & (south < top) & (bottom < north)


def _boxes(scenes):
    """Return the bounds of scenes in the CRS of the first."""
    places = [(scene.crs, *scene.bounds) for scene in scenes]
    return boxes_in(places[0][0] if places else None, places)


def boxes_in(target, places):
    """Return float64 (places, 4), west, south, east, north in one CRS.

    Args:
        target: that CRS.
        places: list of (crs, west, south, east, north).
    """
    boxes = np.array([box for _, *box in places], "float64").reshape(-1, 4)
    for at, (crs, *_) in enumerate(places):
        if crs != target:
            boxes[at] = transform_bounds(crs, target, *boxes[at])
    return boxes
