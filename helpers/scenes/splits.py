"""The one split policy: split ground, not pictures, to train, validate and test."""

import warnings

import numpy as np
from rasterio.transform import Affine
from rasterio.warp import transform

SPLITS = ("train", "validation", "test")
IDENTITY = Affine.identity()
TOUCHING_PX = 0.01  # scenes that overlap by less only touch


def split_scenes(scenes, given=(), *, block_px, guard_px, seed=0):
    """Split scenes: as given, else large ones into blocks and small ones whole.

    Args:
        scenes: list of Scene.
        given: the split of each scene, as a manifest has it; none, or all empty, to split anew.
        block_px, guard_px, seed: as of `split_ground`. Scenes count as large where one holds a
            block of the grid wherever that lies, or where there are fewer than three.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: a given split that lacks a part or shows ground twice, or too little ground.
    """
    if any(given):
        if set(given) != set(SPLITS):
            there = ", ".join(map(repr, sorted(set(given))))
            wanted = f"{', '.join(SPLITS)} in all rows, or in none"
            raise ValueError(f"manifest.csv has the splits {there}; expected {wanted}")
        ground = {split: [] for split in SPLITS}
        for split, scene in zip(given, scenes, strict=True):
            ground[split].append(scene)
        refuse_overlap(ground)
        return ground
    longest = max(min(scene.height, scene.width) for scene in scenes)
    if len(scenes) < len(SPLITS) or longest >= 2 * block_px + guard_px:
        return split_ground(scenes, block_px=block_px, guard_px=guard_px, seed=seed)
    return _split_tiles(scenes, guard_px, seed)


def split_ground(scenes, *, block_px, guard_px, seed=0):
    """Split scenes into blocks of ground: 70 % train, 10 % validation, 20 % test.

    The blocks lie on a grid fixed to the map. Where scenes overlap, a block is taken from the first
    scene that covers it, so that no ground counts twice. Scenes without a place are split each on a
    grid of its own, so two of them must not show the same ground.

    Args:
        scenes: list of Scene of one ground sample distance.
        block_px: side of a block, pixels.
        guard_px: width of the band left out between blocks, pixels.
        seed: of the split; the same seed gives the same split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene, sorted by place, without no-data
        pixels.

    Raises:
        ValueError: fewer than three whole blocks (says what would help), or scenes that show the
            same ground on different grids.
    """
    blocks = _blocks(scenes, block_px, block_px + guard_px)
    if len(blocks) < len(SPLITS):
        largest = max((min(scene.height, scene.width) for scene in scenes), default=0)
        raise ValueError(
            f"only {len(blocks)} whole blocks of {block_px} pixels without no-data pixels were "
            "found; at least 3 are needed, one each to train, validate and test. The shorter side "
            f"of the largest image is {largest} pixels: use larger images or smaller blocks"
        )
    order = np.random.default_rng(seed).permutation(len(blocks))
    ground = _by_split(blocks, deal(order.argsort()))
    refuse_overlap(ground)
    return ground


def blocks_away_from(held_out, scene, *, block_px, buffer_px, stride_px):
    """Return overlapping blocks of a scene, none nearer than a buffer to ground that is held out.

    Args:
        held_out: list of Scene on the scene's grid, such as those that validate and test.
        scene: Scene that the blocks are cut from.
        block_px, buffer_px: side of a block, and its least distance to `held_out`.
        stride_px: from one block to the next.
    """
    blocks, frame = scene.patches(block_px, stride_px), (scene.crs, ~scene.transform)
    boxes = np.rint(_boxes(blocks, *frame))
    held = np.rint(_boxes(held_out, *frame)).reshape(-1, 4) + buffer_px * np.array([-1, -1, 1, 1])
    pairs = zip(blocks, boxes, strict=True)
    return [block for block, box in pairs if not _overlapping(held, box).any()]


def _blocks(scenes, block_px, pitch):
    """Return the blocks with data everywhere, sorted by place."""
    found = {}
    for number, scene in enumerate(scenes):
        _, row, column = _on_grid(scene) or ("", 0, 0)
        top, left = -row % pitch, -column % pitch
        inside = scene.cut(top, left, scene.height - top, scene.width - left)
        for index, block in enumerate(inside.patches(block_px, pitch)):
            place = _on_grid(block)
            if place:  # half a pixel is rounded up here, and down there
                place = place[0], *(round(at / pitch) for at in place[1:])
            found.setdefault(place or (f"{number:06d}", index), block)
    return [found[place] for place in sorted(found)]


def _on_grid(scene):
    """Return the grid of the map, row and column; None without a place, or where it is rotated."""
    place = scene.transform
    if place is None or place.b or place.d:
        return None
    grid = f"{scene.crs} {place.a:.6g} {place.e:.6g}"
    return grid, round(place.f / place.e), round(place.c / place.a)


def _split_tiles(tiles, guard_px, seed):
    """Split whole tiles: by place where it is known, by name where not, with a warning."""
    has_crs = {tile.crs is not None for tile in tiles}
    if all(tile.transform is not None for tile in tiles) and len(has_crs) == 1:
        boxes = _boxes(tiles, tiles[0].crs, IDENTITY)
        pixel = (boxes[:, 2] - boxes[:, 0]) / [tile.width for tile in tiles]
        return _by_split(tiles, split_boxes(boxes, guard_px * pixel, seed))
    warnings.warn(
        "the tiles do not say where they lie: they are split by name, so that neighbours may stand "
        "on both sides of the split and the scores may flatter. A manifest.csv with bounds mends "
        "that",
        stacklevel=4,
    )
    return _by_split(tiles, deal(np.arange(len(tiles))))


def _by_split(members, parts):
    """Return a dict from split to members, given the numbers of those in each part."""
    chosen = [[members[at] for at in sorted(part)] for part in parts]
    return dict(zip(SPLITS, chosen, strict=True))


def deal(cells):
    """Deal cells of ground out: the first 70 % train, the next 10 % validate, the last 20 % test.

    Args:
        cells: int (members,), the number of each member's cell.

    Returns:
        three arrays with the numbers of the members; validation and test have at least one cell.
    """
    count = cells.max() + 1
    validation, test = _held_out(count)
    order = np.argsort(cells, kind="stable")
    ends = np.searchsorted(cells[order], [count - validation - test, count - test])
    return np.split(order, ends)


def _held_out(count):
    return max(1, round(0.1 * count)), max(1, round(0.2 * count))


def split_boxes(boxes, guards, seed=0):
    """Split boxes by ground: cells of several boxes go whole to one split.

    Args:
        boxes: float (boxes, 4), west, south, east, north in one coordinate system.
        guards: float (boxes,), least distance of each to boxes of another split; what lies nearer
            to a box of a later split is left out.
        seed: of the split.

    Returns:
        three arrays with the numbers of the boxes that train, validate and test.

    Raises:
        ValueError: too little ground.
    """
    grown = boxes + guards[:, None] / 2 * [-1, -1, 1, 1]
    kept, later = [], np.empty((0, 4))
    parts = deal(_cells(boxes, seed))
    for split, part in zip(reversed(SPLITS), reversed(parts), strict=True):
        part = part[[not _overlapping(later, box).any() for box in grown[part]]]
        if not len(part):
            told = f"no image is left for {split} beside the guard"
            raise ValueError(f"{told}; acquire a larger area")
        kept.insert(0, part)
        later = np.concatenate([later, grown[part]])
    return kept


def _cells(boxes, seed):
    """Return the number of each box's cell, in the order in which cells are dealt.

    Cells of 4 x 4 boxes, in random order. Where these are few, strips from edge to edge, which have
    less of a border: first those in the middle, so that validation and test lie at opposite ends.
    """
    centres, width = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max()
    squares, cells = np.unique(np.floor(centres / (4 * width)), axis=0, return_inverse=True)
    if len(squares) >= 16:
        return np.random.default_rng(seed).permutation(len(squares))[cells.ravel()]
    along = centres[:, np.ptp(centres, axis=0).argmax()]
    strips, cells = np.unique(np.floor(along / width), return_inverse=True)
    if len(strips) < 5:  # with one beside each end left out
        told = f"the {len(boxes)} tiles lie so close together that they cannot be split"
        raise ValueError(f"{told}; acquire a larger area")
    if seed % 2:
        cells = len(strips) - 1 - cells
    validation, test = _held_out(len(strips))
    others = len(strips) - test
    return np.where(cells < others, (cells - validation) % others, cells)


def refuse_overlap(ground):
    """Raise a ValueError that names two scenes of different splits which show the same ground.

    Args:
        ground: dict from split to list of Scene; scenes without a place are compared by their
            pixels.
    """
    seen = {}
    for split, found in ground.items():
        for scene in found:
            if scene.transform is None and np.ptp(scene.pixels) > 0:
                first = seen.setdefault(scene.pixels.tobytes(), (split, scene.name))
                if first[0] != split:
                    told = f"{first[1]} ({first[0]}) and {scene.name} ({split})"
                    raise ValueError(f"{told} hold the same pixels: keep one of them")
    splits, scenes = [], []
    for split, found in ground.items():
        placed = [scene for scene in found if scene.transform is not None and scene.crs]
        splits += [split] * len(placed)
        scenes += placed
    if not scenes:
        return
    boxes = _boxes(scenes, scenes[0].crs, IDENTITY)
    for at, scene in enumerate(scenes):
        for other in np.flatnonzero(_overlapping(boxes[:at], boxes[at])):
            near = scenes[other]
            # two parallelograms overlap exactly where each reaches into the other
            if splits[other] != splits[at] and _reaches(scene, near) and _reaches(near, scene):
                told = f"{near.name} ({splits[other]}) and {scene.name} ({splits[at]})"
                raise ValueError(
                    f"{told} show the same ground: scores on it would not be honest. Split by "
                    "ground, for example with scenes.split_ground"
                )


def _overlapping(boxes, box):
    """Return bool (boxes,): which of them overlap one box."""
    return ((boxes[:, :2] < box[2:]) & (box[:2] < boxes[:, 2:])).all(axis=1)


def _reaches(scene, base):
    """Return whether the box of a scene, in pixels of another, overlaps that."""
    inside = np.array([0, 0, base.width, base.height]) + TOUCHING_PX * np.array([1, 1, -1, -1])
    return _overlapping(_boxes([scene], base.crs, ~base.transform), inside)[0]


def _boxes(scenes, crs, frame):
    """Return float64 (scenes, 4): least x and y, then the largest, in a frame of a CRS.

    5 x 5 points stand for each scene, as what is straight in one CRS is bent in another.
    """
    found = []
    rows, columns = np.mgrid[0:1:5j, 0:1:5j].reshape(2, -1)
    for scene in scenes:
        points = scene.transform @ (columns * scene.width, rows * scene.height)
        if scene.crs != crs:
            points = np.array(transform(scene.crs, crs, *points))
        x, y = frame @ points
        found.append([x.min(), y.min(), x.max(), y.max()])
    return np.array(found)
