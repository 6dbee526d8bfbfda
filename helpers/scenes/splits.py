"""The one split policy: split ground, not pictures, to train, validate and test."""

import warnings

import numpy as np
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

SPLITS = ("train", "validation", "test")
OUTWARDS = np.array([-1, -1, 1, 1])


def split_scenes(scenes, given, *, block_px, buffer_px, seed=0):
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
    longest = max(min(scene.height, scene.width) for scene in scenes)
    if any(given):
        if set(given) != set(SPLITS):
            raise ValueError(
                f"manifest.csv has the splits {sorted(set(given))}; expected {', '.join(SPLITS)} "
                "in all rows, or in none"
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
    ground = _by_split(scenes, given)
    check_disjoint(ground)
    return ground


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
    pitch, found = block_px + buffer_px, []
    for scene in scenes:
        column, row = ~(scene.transform or Affine.identity()) @ (
            0,
            0,
        )  # of the map's origin
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
    ground = _by_split(found, deal(np.random.default_rng(seed).permutation(len(found))))
    if not scenes[0].transform:  # an image may be there twice
        check_disjoint(ground)
    return ground


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
    """Return the blocks, all of one CRS, that lie further than a buffer from other scenes."""
    boxes = boxes_in(crs, others) + buffer * OUTWARDS
    return [block for block in blocks if not _overlapping(boxes, block.bounds).any()]


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
    names = np.array(SPLITS, object)
    return np.repeat(names, [len(order) - validation - test, validation, test])[
        order.argsort()
    ]


def split_tiles(scenes, buffer_px, seed=0):
    """Split scenes by their place, as `split_boxes` does; the buffer is in pixels of the first."""
    boxes = boxes_in(scenes[0].crs, scenes)
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
    grown = boxes + buffer / 2 * OUTWARDS
    held = grown[split != "train"]
    near = [_overlapping(held, box).any() for box in grown]
    split[(split == "train") & near] = "guard"
    if not set(SPLITS) <= set(split):
        raise ValueError(
            f"the {len(boxes)} tiles lie so close together that a split has none beside the buffer "
            "around the others; acquire a larger area"
        )
    return split


def check_disjoint(ground):
    """Raise a ValueError that names two scenes of different splits which show the same ground.

    Args:
        ground: dict from split to list of Scene; scenes without a place are compared by their
            pixels. Rotated ones, and ones in other coordinates, count as the box around them.
    """
    members = [(split, scene) for split, found in ground.items() for scene in found]
    placed, twins, pictures = [], [], {}
    for split, scene in members:
        if scene.transform and scene.crs:
            placed.append((split, scene))
        elif np.ptp(scene.pixels) > 0:
            first = pictures.setdefault(scene.pixels.tobytes(), (split, scene))
            twins.append((first, (split, scene)))
    for crs in {scene.crs for _, scene in placed}:
        boxes = boxes_in(crs, [scene for _, scene in placed])
        for (split, scene), box in zip(placed, boxes, strict=True):
            if scene.crs == crs:
                near = np.flatnonzero(_overlapping(boxes, box))
                twins += [(placed[at], (split, scene)) for at in near]
    for (split, scene), (other_split, other) in twins:
        if split != other_split:
            raise ValueError(
                f"{scene.name} ({split}) and {other.name} ({other_split}) show the same ground: "
                "scores on it would not be honest. Split by ground, as scenes.split_ground does"
            )


def _overlapping(boxes, box):
    """Return bool (boxes,): which of them overlap one box; what touches does not."""
    common = np.minimum(boxes, box)[:, 2:] - np.maximum(boxes, box)[:, :2]
    return (common > 1e-6).all(axis=1)


def boxes_in(crs, scenes):
    """Return the bounds of scenes in one CRS, float64 (scenes, 4): west, south, east, north."""
    boxes = [
        scene.bounds
        if scene.crs == crs
        else transform_bounds(scene.crs, crs, *scene.bounds)
        for scene in scenes
    ]
    return np.array(boxes, "float64").reshape(-1, 4)
