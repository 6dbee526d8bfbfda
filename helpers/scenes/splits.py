"""The one split policy: split ground, not pictures, to train, validate and test."""

import warnings
from itertools import combinations, compress

import numpy as np
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

SPLITS = ("train", "validation", "test")
OUTWARDS = np.array([-1, -1, 1, 1])


def split_scenes(scenes, given, *, block_px, buffer_px, seed=0):
    """Split scenes: as given, else large ones into blocks and small ones whole.

    Args:
        scenes: list of Scene.
        given: the split of each scene, as a manifest has it; all empty to split again.
        block_px, buffer_px, seed: as of `split_ground`. Scenes count as large where one holds a
            block of the grid wherever that lies, or where there are fewer than three.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: a given split that lacks a part or shows ground twice, or too little ground.
    """
    longest = max(min(scene.pixels.shape[:2]) for scene in scenes)
    if any(given):
        if set(given) != set(SPLITS):
            raise ValueError(
                f"manifest.csv has the splits {sorted(set(given))}; expected train, validation, "
                "test in all rows, or in none"
            )
    elif len(scenes) < len(SPLITS) or longest >= 2 * block_px + buffer_px:
        return split_ground(scenes, block_px=block_px, buffer_px=buffer_px, seed=seed)
    elif all(scene.transform for scene in scenes):
        given = split_tiles(scenes, buffer_px, seed)
    else:
        warnings.warn(
            "the tiles do not say where they lie: they are split by name, so that neighbours may "
            "stand on both sides of the split and the scores may flatter. A manifest.csv with "
            "bounds mends that",
            stacklevel=3,
        )
        given = deal(np.arange(len(scenes)))
    splits = _by_split(scenes, given)
    check_disjoint(splits)
    return splits


def split_ground(scenes, *, block_px, buffer_px, seed=0):
    """Split scenes into blocks of ground: 70 % train, 10 % validation, 20 % test.

    The blocks lie on a grid fixed to the map. Where scenes overlap, the ground is taken from the
    first that shows it, so that none counts twice. Scenes without a place are split each on a grid
    of its own, so two of them must not show the same ground.

    Args:
        scenes: list of Scene of one ground sample distance.
        block_px: side of a block, pixels.
        buffer_px: width of the band left out between blocks, pixels.
        seed: of the split; the same seed gives the same split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene, sorted by place, without no-data
        pixels.

    Raises:
        ValueError: fewer than three whole blocks, or equal scenes without a place.
    """
    pitch = block_px + buffer_px
    found = []
    for scene in scenes:
        to_pixels = ~(scene.transform or Affine.identity())
        column, row = to_pixels @ (0, 0)  # of the map's origin
        start = round(row) % pitch, round(column) % pitch
        blocks = scene.patches(block_px, pitch, start)
        found += _apart(blocks, found, scene.crs) if scene.transform else blocks
    if len(found) < len(SPLITS):
        raise ValueError(
            f"only {len(found)} whole blocks of {block_px} pixels without no-data pixels were "
            "found; at least 3 are needed, one each to train, validate and test. Use larger images "
            "or smaller blocks"
        )
    found.sort(key=_southwards)
    order = np.random.default_rng(seed).permutation(len(found))
    splits = _by_split(found, deal(order))
    if not scenes[0].transform:  # an image may be there twice
        check_disjoint(splits)
    return splits


def _southwards(scene):
    west, _, _, north = np.round(scene.bounds or (0, 0, 0, 0), 6)
    return -north, west


def blocks_away_from(held_out, scene, *, block_px, buffer_px, stride_px):
    """Return overlapping blocks of a scene, none nearer than a buffer to ground that is held out.

    Args:
        held_out: list of Scene on the scene's grid, such as those that validate and test.
        scene: Scene that the blocks are cut from, with square pixels.
        block_px, buffer_px: side of a block, and its least distance to `held_out`.
        stride_px: from one block to the next.
    """
    blocks = scene.patches(block_px, stride_px)
    return _apart(blocks, held_out, scene.crs, buffer_px * scene.pixel_size[0])


def _apart(blocks, others, crs, buffer=0):
    """Return the blocks that lie further than a buffer from other scenes."""
    held_out = boxes_in(crs, others) + buffer * OUTWARDS
    near = _overlaps(boxes_in(crs, blocks), held_out).any(axis=1)
    return list(compress(blocks, ~near))


def _by_split(scenes, names):
    return {
        split: [scene for scene, own in zip(scenes, names, strict=True) if own == split]
        for split in SPLITS
    }


def deal(order):
    """Deal members out: the first 70 % train, the next 10 % validate, the last 20 % test.

    Args:
        order: int (members,), their numbers in some order.

    Returns:
        array of the split of each member; validation and test have at least one.
    """
    test, validation = (max(1, round(share * len(order))) for share in (0.2, 0.1))
    counts = [len(order) - validation - test, validation, test]
    return np.repeat(np.array(SPLITS, object), counts)[order.argsort()]


def split_tiles(scenes, buffer_px, seed=0):
    """Split scenes by their place, as `split_boxes` does; the buffer is in pixels of the first."""
    boxes = boxes_in(scenes[0].crs, scenes)
    if np.isnan(boxes).any():
        raise ValueError("some images have a CRS and others have none: give it to all")
    return split_boxes(boxes, buffer_px * scenes[0].pixel_size[0], seed)


def split_boxes(boxes, buffer, seed=0):
    """Split boxes by ground, along the longer side of the area.

    Validation and test lie at opposite ends, training between them.

    Args:
        boxes: float (boxes, 4), west, south, east, north in one coordinate system.
        buffer: least distance between boxes of different splits, in the unit of that system.
        seed: of the split; an odd one exchanges the ends.

    Returns:
        array of the split of each box; "guard" for what would train and lies nearer than the buffer
        to a box of another split, and is left out.

    Raises:
        ValueError: too little ground.
    """
    middles = boxes[:, :2] + boxes[:, 2:]
    along = middles[:, np.ptp(middles, axis=0).argmax()] * (-1) ** seed
    order = along.argsort(kind="stable")
    split = deal(np.roll(order, -(deal(order) == "test").sum()))  # one end tests
    held_out = boxes[split != "train"] + buffer * OUTWARDS
    near = _overlaps(boxes, held_out).any(axis=1)
    split[(split == "train") & near] = "guard"
    if not set(SPLITS) <= set(split):
        raise ValueError(
            f"the {len(boxes)} tiles lie so close together that a split has none beside the buffer "
            "around the others; acquire a larger area"
        )
    return split


def check_disjoint(splits):
    """Raise a ValueError that names two scenes of different splits which show the same ground.

    Args:
        splits: dict from split to list of Scene. Rotated ones, and ones in other coordinates, count
            as the box around them.
    """
    for (one, first), (other, second) in combinations(splits.items(), 2):
        for crs in {scene.crs for scene in first}:
            shared = _overlaps(boxes_in(crs, first), boxes_in(crs, second))
            for at, to in np.argwhere(shared):
                if first[at].crs == crs:
                    raise ValueError(
                        f"{first[at].name} ({one}) and {second[to].name} ({other}) show the same "
                        "ground: scores on it would not be honest. Split by ground, as "
                        "scenes.split_ground does"
                    )


def _overlaps(boxes, others):
    """Return bool (boxes, others): which overlap; what touches does not."""
    boxes = boxes[:, None]
    common = np.minimum(boxes, others)[..., 2:] - np.maximum(boxes, others)[..., :2]
    return (common > 1e-6).all(axis=-1)


def boxes_in(crs, scenes):
    """Return the bounds of scenes in one CRS, float64 (scenes, 4): west, south, east, north.

    They are NaN where one of them has coordinates without a CRS, and the other has a CRS.
    """
    return np.reshape([_box(scene, crs) for scene in scenes], (-1, 4))


def _box(scene, crs):
    """Return the box around a scene; a picture without a place shares its box with its copies."""
    if not scene.transform:
        is_flat = np.ptp(scene.pixels) == 0  # and may be any ground
        place = np.nan if is_flat else hash(scene.pixels.tobytes()) % 2**50
        return place, place, place + 1, place + 1
    if scene.crs == crs:
        return scene.bounds
    if not (scene.crs and crs):
        return (np.nan,) * 4
    return transform_bounds(scene.crs, crs, *scene.bounds)
