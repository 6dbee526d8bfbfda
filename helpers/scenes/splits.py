"""The one split policy: split ground, not pictures, to train, validate and test."""

import warnings
from itertools import combinations, compress

import numpy as np
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

SPLITS = ("train", "validation", "test")


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
    longest = max((min(scene.pixels.shape[:2]) for scene in scenes), default=0)
    if any(given):
        if set(given) != set(SPLITS):
            raise ValueError(
                f"the manifest or the folders give the splits {sorted(set(given))}; expected "
                "train, validation and test, or none in all rows"
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
        given = deal(len(scenes))
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
        # of the map's origin
        column, row = ~(scene.transform or Affine.identity()) @ (0, 0)
        found += blocks_away_from(
            found if scene.transform else [],
            scene,
            block_px=block_px,
            buffer_px=0,
            stride_px=pitch,
            start=(round(row) % pitch, round(column) % pitch),
        )
    found.sort(key=_southwards)
    names = deal(
        len(found), f"whole blocks of {block_px} pixels without no-data pixels"
    )
    order = np.random.default_rng(seed).permutation(len(found))
    splits = _by_split(found, names[order.argsort()])
    if not scenes[0].transform:  # an image may be there twice
        check_disjoint(splits)
    return splits


def _southwards(scene):
    west, _, _, north = np.round(scene.bounds or (0, 0, 0, 0), 6)
    return -north, west


def blocks_away_from(held_out, scene, *, block_px, buffer_px, stride_px, start=(0, 0)):
    """Return blocks of a scene, none nearer than a buffer to ground that is held out.

    Args:
        held_out: list of Scene on the scene's grid, such as those that validate and test.
        scene: Scene that the blocks are cut from, with square pixels.
        block_px, buffer_px: side of a block, and its least distance to `held_out`.
        stride_px: from one block to the next.
        start: row and column of the first block.
    """
    blocks = scene.patches(block_px, stride_px, start)
    near = _overlaps(
        boxes_in(scene.crs, blocks),
        boxes_in(scene.crs, held_out),
        buffer_px * scene.pixel_size[0],
    )
    return list(compress(blocks, ~near.any(axis=1)))


def _by_split(scenes, names):
    names = np.array(names)
    return {split: list(compress(scenes, names == split)) for split in SPLITS}


def deal(count, members="tiles"):
    """Deal members out: the first 70 % train, the next 10 % validate, the last 20 % test.

    Args:
        count: of the members.
        members: what they are, for the error.

    Returns:
        array of the split of each of `count` members; validation and test have at least one.

    Raises:
        ValueError: there are fewer than three.
    """
    if count < len(SPLITS):
        raise ValueError(
            f"only {count} {members} were found; at least 3 are needed, one each to train, "
            "validate and test. Acquire more or larger images, or use smaller blocks"
        )
    test = round(0.2 * count)
    validation = max(1, round(0.1 * count))
    return np.repeat(
        np.array(SPLITS, object),  # so that they stay plain texts
        [count - validation - test, validation, test],
    )


def split_tiles(scenes, buffer_px, seed=0):
    """Split scenes by their place, as `split_boxes` does; the buffer is in pixels of the first."""
    deal(len(scenes))  # refuses fewer than three
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
    split = deal(len(boxes))
    middles = boxes[:, :2] + boxes[:, 2:]
    along = middles[:, np.ptp(middles, axis=0).argmax()] * (-1) ** seed
    # one end tests
    split[along.argsort(kind="stable")] = np.roll(split, (split == "test").sum())
    near = _overlaps(boxes, boxes[split != "train"], buffer).any(axis=1)
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
            own = [scene for scene in first if scene.crs == crs]
            shared = _overlaps(boxes_in(crs, own), boxes_in(crs, second))
            for at, to in np.argwhere(shared):
                raise ValueError(
                    f"{own[at].name} ({one}) and {second[to].name} ({other}) show the same "
                    "ground: scores on it would not be honest. Split by ground, as "
                    "scenes.split_ground does"
                )


def _overlaps(boxes, others, buffer=0):
    """Return bool (boxes, others): which come nearer than a buffer, or overlap where it is 0."""
    boxes = boxes[:, None]
    common = np.minimum(boxes, others)[..., 2:] - np.maximum(boxes, others)[..., :2]
    return (common > 1e-6 - buffer).all(axis=-1)


def boxes_in(crs, scenes):
    """Return the bounds of scenes in one CRS, float64 (scenes, 4): west, south, east, north.

    A picture without a place shares its box with its copies. Bounds are NaN where nobody can say:
    of a picture of one color, and where only one of both has a CRS.
    """
    boxes = np.full((len(scenes), 4), np.nan)
    for box, scene in zip(boxes, scenes, strict=True):
        if not scene.transform:
            if np.ptp(scene.pixels):
                box[:] = hash(scene.pixels.tobytes()) % 2**50 + np.array([0, 0, 1, 1])
        elif scene.crs == crs:
            box[:] = scene.bounds
        elif scene.crs and crs:
            box[:] = transform_bounds(scene.crs, crs, *scene.bounds)
    return boxes
