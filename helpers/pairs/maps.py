"""Pairs of satellite image and map: the Blue Marble with its land cover, or a folder of pictures.

A pair is one Scene whose bands are red, green, blue and then either `class`, the place of each
pixel's class in a legend, or `map_red`, `map_green`, `map_blue` where the map has no legend.
"""

import itertools
import warnings
from collections import Counter, namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas

from helpers import metrics, scenes
from helpers.acquire import packs, pictures
from helpers.backend import tf
from helpers.pairs.patches import patches
from helpers.scenes import SPLITS, Scene, folders
from helpers.scenes.folders import images, pair_rows, some

# The classes of IGBP that each class of the map holds. Open and closed shrubs, the two savannas and
# the two kinds of fields cannot be told apart by colour; towns are too small and count as fields.
IGBP = {
    "water": (0,), "forest": (1, 3, 4, 5), "rainforest": (2,), "ice": (15,), "savanna": (8, 9),
    "shrub": (6, 7), "grass and wetland": (10, 11), "crops": (12, 13, 14), "barren": (16,),
}  # fmt: skip
LEGEND = {  # for colour-blind eyes, too: the least difference of two is 12 by CIEDE2000
    "water": (44, 82, 165), "forest": (48, 124, 43), "rainforest": (8, 62, 44),
    "ice": (244, 250, 255), "savanna": (144, 151, 98), "shrub": (166, 98, 110),
    "grass and wetland": (182, 238, 132), "crops": (228, 158, 28), "barren": (227, 202, 184),
}  # fmt: skip
NORTH, SOUTH = 84, -60  # degrees; beyond them lies nothing but ice
MAX_PIXELS = 50_000_000  # of one picture in a folder: it is decoded as a whole
MAX_COLOURS = 16  # in maps that can be their own legend
MAX_UNDECIDED = 0.05  # share of map pixels that no colour of the legend is near
SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
ROLES = ("satellite", "map")
SATELLITE = ("red", "green", "blue")
PICTURE = ("map_red", "map_green", "map_blue")

# no map where both are in one picture; `row` of the manifest, or {}
Pair = namedtuple("Pair", "name satellite map split row")


def earth():
    """Return the Earth from 60 S to 84 N: the Blue Marble with its land cover as the band `class`.

    The land cover has four pixels where the image has three; the nearest one counts.

    Returns:
        Scene, bands red, green, blue, class; 7.4 km a pixel at the equator.
    """
    image, cover = packs.open_scene("blue_marble", "image"), packs.open_scene("land_cover")
    step = cover.height / image.height
    rows, columns = (((np.arange(side) + 0.5) * step).astype(int) for side in (image.height, image.width))
    igbp = cover.pixels[rows][:, columns, 0].astype(int)
    class_of = {member: number for number, members in enumerate(IGBP.values()) for member in members}
    classes = np.array([class_of[member] for member in range(17)], "float32")[igbp]
    pixels = np.concatenate([image.pixels, classes[..., None]], axis=-1)
    both = replace(
        image, pixels=pixels, bands=(*SATELLITE, "class"), credit=f"{image.credit} · {cover.credit}", name="earth"
    )
    top, bottom = (round((90 - edge) / 180 * image.height) for edge in (NORTH, SOUTH))
    return both.cut(top, 0, bottom - top, image.width)


def land_cover(whole, *, block_px=128, buffer_px=16, least_land=0.3, seed=0):
    """Split the Earth by ground: blocks validate and test, all that is far enough from them trains.

    Args:
        whole: Scene of `earth`.
        block_px: side of a block, pixels.
        buffer_px: between ground of different splits.
        least_land: share of a block that is no water.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene of one size. Those of training
        ground overlap.
    """
    ground = scenes.split_ground([whole], block_px=block_px, guard_px=buffer_px, seed=seed)
    held_out = ground["validation"] + ground["test"]
    ground["train"] = away_from(held_out, whole, block_px=block_px, buffer_px=buffer_px)
    return {split: [block for block in blocks if _land(block) >= least_land] for split, blocks in ground.items()}


def away_from(held_out, whole, *, block_px=128, buffer_px=16, stride_px=48):
    """Return overlapping blocks of the Earth, none nearer than the buffer to a block that is held out."""
    free = np.ones((whole.height, whole.width), bool)
    for block in held_out:
        column, row = ~whole.transform @ (block.transform.c, block.transform.f)
        top, left = max(0, round(row) - buffer_px), max(0, round(column) - buffer_px)
        free[top : round(row) + block.height + buffer_px, left : round(column) + block.width + buffer_px] = False
    places = itertools.product(*(range(0, side - block_px + 1, stride_px) for side in free.shape))
    kept = [(row, column) for row, column in places if free[row : row + block_px, column : column + block_px].all()]
    return [whole.cut(row, column, block_px, block_px) for row, column in kept]


def _land(block):
    return (block.pixels[..., -1] > 0).mean()


def dataset(pairs, *, legend=None, target="class", **stream):
    """Stream training pairs: patches at random places, image and map turned and flipped alike.

    Args:
        pairs: list of Scene of training ground.
        legend: dict from class to colour, or None where the pairs have pictures.
        target: "class" for places in the legend, "map" for the picture.
        **stream: as of `pairs.patches.patches`.

    Returns:
        tf.data.Dataset of (satellite, map), float32 (batch, patch, patch, 3), 0 to 1; or of
        (satellite, classes), int32 (batch, patch, patch).

    Raises:
        ValueError: another target, classes without a legend, or a scene smaller than a patch.
    """
    if target not in ("map", "class") or (target == "class" and legend is None):
        raise ValueError(f'target is {target!r}; expected "map", or "class" where the maps have a legend')

    def pair(pixels):
        satellite, drawn = pixels[..., :3] / 255, pixels[..., 3:]
        if legend is None:
            return satellite, drawn / 255
        classes = tf.cast(drawn[..., 0], tf.int32)
        return satellite, classes if target == "class" else tf.gather(_colours(legend), classes)

    return patches(pairs, **stream).map(pair, num_parallel_calls=1).prefetch(2)


def arrays(pairs, legend=None):
    """Stack pairs of one size.

    Args:
        pairs: list of Scene.
        legend: dict from class to colour, or None where the pairs have pictures.

    Returns:
        Satellite images and maps, float32 (batch, height, width, 3), 0 to 1; and the classes, uint8
        (batch, height, width), or None.
    """
    pixels = np.stack([pair.pixels for pair in pairs]).astype(np.uint8)
    satellite = pixels[..., :3] / np.float32(255)
    if legend is None:
        return satellite, pixels[..., 3:] / np.float32(255), None
    return satellite, paint(pixels[..., 3], legend), pixels[..., 3]


def paint(classes, legend):
    """Return the map, float32 (..., height, width, 3), 0 to 1, of an image of classes."""
    return _colours(legend)[classes]


def _colours(legend):
    return np.array(list(legend.values()), "float32") / 255


def read_map_pairs(
    folder, *, tile_px=256, buffer_px=16, left="satellite", legend=None, tolerance=0, seed=0
):  # fmt: skip
    """Read a folder of paired pictures: satellite images and maps of the same ground.

    The folder holds one of these:
    - a `manifest.csv` with the roles `satellite` and `map`, joined by `pair`, as notebook 01 writes it
    - two folders `satellite` and `map` with pictures of equal names
    - pictures twice as wide as high, both side by side, as the public sets of pix2pix have them
    - folders `train`, `val` and `test` (the last may be missing) with one of the latter two in each

    Pictures twice as large as a tile are cut into tiles. A pair that is transparent somewhere has no
    data there and is left out, which a warning says. Splits come from the manifest or the folders.
    Where there are none, large pictures are split by ground (`scenes.split_ground`), small ones by
    name, which a warning says.

    Args:
        folder: of the pairs.
        tile_px: side of the tiles that large pictures are cut into.
        buffer_px: left out between tiles of different splits that are cut from one picture.
        left: what lies left in pictures side by side, "satellite" or "map".
        legend: dict from class to (red, green, blue). Default: the folder's `legend.csv`, with the
            columns class, red, green, blue; else, where all maps together have 16 colours at most,
            one class for each.
        tolerance: largest distance in RGB from a colour of the legend, for maps stored with loss.
            A pixel further away is undecided: it gets the nearest class, and a warning says how
            many there are.
        seed: of the split by ground.

    Returns:
        dict from "train", "validation", "test" to a list of Scene, and the legend; None where there
        is none and the maps have too many colours to be their own.

    Raises:
        ValueError: none of these forms, a missing partner, sizes that differ, a picture that cannot
            be read or is too large, a colour of the legend that no map has, more than 5 % undecided
            pixels (says which colours), or too few pairs.
    """
    folder = Path(folder)
    read = [(pair, _read_pair(pair, left)) for pair in _listed(folder)]
    if blank := [pair.name for pair, both in read if both is None]:
        warnings.warn(f"{len(blank)} pairs with transparent pixels are left out: {some(blank)}", stacklevel=2)
    read = [(pair, *both) for pair, both in read if both is not None]
    maps = {pair.name: drawn for pair, _, drawn in read}
    legend = legend or _legend_of(folder, maps.values())
    classes = _classes(maps, legend, tolerance) if legend else {}
    whole = []
    for pair, satellite, drawn in read:
        layers = [satellite, classes[pair.name][..., None] if legend else drawn]
        pixels, bands = np.concatenate(layers, axis=-1), (*SATELLITE, *(("class",) if legend else PICTURE))
        whole.append(folders.placed(Scene(pixels, bands, name=pair.name, dtype="uint8"), pair.row))
    ground = _split(whole, [pair.split for pair, *_ in read], tile_px, buffer_px, seed)
    if legend:
        _check_classes(ground, legend)
    return ground, legend


def _listed(folder):
    """Return the pairs of a folder, sorted by split and name."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    parts = [name for name in SPLIT_FOLDERS if (folder / name).is_dir()]
    if (folder / "manifest.csv").exists() or not parts:
        return _pairs_of(folder)
    found = ((SPLIT_FOLDERS[name], pair) for name in parts for pair in _pairs_of(folder / name))
    return [pair._replace(name=f"{split}/{pair.name}", split=split) for split, pair in found]


def _pairs_of(folder):
    roles = [role for role in ROLES if (folder / role).is_dir()]
    if (folder / "manifest.csv").exists() or len(roles) == 2:
        rows = pair_rows(folder, ROLES)
        if alone := [name for name, by_role in rows.items() if len(by_role) < 2]:
            raise ValueError(
                f"{len(alone)} pairs in {folder} lack the satellite image or the map: {some(alone)}. "
                "Add what is missing, or remove them"
            )
        found = []
        for name, by_role in rows.items():
            files = (folder / by_role[role]["path"] for role in ROLES)
            found.append(Pair(name, *files, by_role["satellite"].get("split", ""), by_role["satellite"]))
    else:
        found = [] if roles else [Pair(path.stem, path, None, "", {}) for path in images(folder)]
    if not found:
        there = some(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise ValueError(
            f"{folder} holds no pairs; expected a manifest.csv, folders `satellite` and `map` with equal "
            f"names, or pictures side by side. It holds: {there}"
        )
    return found


def _read_pair(pair, left):
    """Return satellite image and map, uint8 (height, width, 3); None where one is transparent."""
    both = [_rgb(path) for path in (pair.satellite, pair.map) if path]
    if any(pixels is None for pixels in both):
        return None
    sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in both]
    if pair.map is None:
        height, width, _ = both[0].shape
        if width != 2 * height:
            raise ValueError(
                f"{pair.satellite} has {sizes[0]} pixels; expected satellite image and map side by side, "
                "twice as wide as high"
            )
        halves = both[0][:, :height], both[0][:, height:]
        return [halves[role != left] for role in ROLES]
    if sizes[0] != sizes[1]:
        raise ValueError(f"{pair.satellite} and {pair.map} have {' and '.join(sizes)} pixels: a pair has one size")
    return both


def _rgb(path):
    """Return a picture as uint8 (height, width, 3); None where it is transparent somewhere."""
    try:
        with pictures.opened(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                most = f"{MAX_PIXELS / 1e6:.0f} million"
                raise OSError(f"it declares {picture.width} x {picture.height} pixels, more than {most}; cut it first")
            if picture.has_transparency_data and picture.convert("RGBA").getextrema()[3][0] < 255:
                return None
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path} {pictures.unreadable(error)}") from error


def _legend_of(folder, maps):
    """Return the legend of `legend.csv`, else of the maps' own colours; None where these are too many."""
    path, found = folder / "legend.csv", set()
    if path.exists():
        try:
            rows = pandas.read_csv(path, dtype={"class": str})
            legend = dict(
                zip(rows["class"], rows[list(SATELLITE)].astype(int).itertuples(index=False, name=None), strict=True)
            )
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read ({error!r}); expected the columns class, red, green, blue"
            ) from error
        if not legend or len(set(legend.values())) < len(rows) or not set(sum(legend.values(), ())) <= set(range(256)):
            raise ValueError(f"{path}: expected classes and colours that occur once, and numbers from 0 to 255")
        return legend
    for drawn in maps:
        found |= set(np.unique(_packed(drawn)).tolist())
        if len(found) > MAX_COLOURS:
            warnings.warn(
                f"there is no legend.csv, and the maps have more than {MAX_COLOURS} colours: no classes, so "
                "that only pictures can be compared",
                stacklevel=3,
            )
            return None
    return {f"#{colour:06x}": tuple(colour.to_bytes(3, "big")) for colour in sorted(found)}


def _classes(maps, legend, tolerance):
    """Return class images by name of the map; warn of undecided pixels, or refuse where they are many."""
    colours, unknown, found = np.array(list(legend.values()), np.int32), Counter(), {}
    for name, drawn in maps.items():
        found[name] = metrics.decode(drawn, legend)
        far = ((drawn.astype(np.int32) - colours[found[name]]) ** 2).sum(axis=-1) > tolerance**2
        unknown.update(_packed(drawn[far]).tolist())
    undecided = unknown.total() / max(1, sum(classes.size for classes in found.values()))
    if unknown:
        most = ", ".join(f"{tuple(colour.to_bytes(3, 'big'))} {count} px" for colour, count in unknown.most_common(5))
        told = (
            f"{undecided:.1%} of the map pixels are undecided: further than {tolerance} from every colour of the "
            f"legend. Most frequent: {most}"
        )
        if undecided > MAX_UNDECIDED:
            raise ValueError(
                f"{told}. Add these colours to the legend; or, if the maps were stored with loss, as JPEG does, "
                "give a larger tolerance"
            )
        warnings.warn(f"{told}. They get the nearest class", stacklevel=3)
    return found


def _packed(pixels):
    return pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def _check_classes(ground, legend):
    """Refuse a legend with a class that no pair holds; warn of one that no training pair holds."""
    train, held_out = (
        np.bincount(np.concatenate([pair.pixels[..., -1].ravel() for pair in pairs]).astype(int), minlength=len(legend))
        for pairs in (ground["train"], ground["validation"] + ground["test"])
    )
    absent = [name for name, count in zip(legend, train + held_out, strict=True) if not count]
    if absent:
        raise ValueError(f"no map holds the legend's {', '.join(absent)}: correct the colours, or remove the class")
    if unlearned := [name for name, count in zip(legend, train, strict=True) if not count]:
        warnings.warn(f"no training pair holds {', '.join(unlearned)}: it cannot be learned", stacklevel=3)


def _split(whole, splits, tile_px, buffer_px, seed):
    """Return the pairs of each split, large ones cut into tiles."""
    sides, large, count = [min(pair.height, pair.width) for pair in whole], 2 * tile_px + buffer_px, len(whole)
    if not any(splits):
        if max(sides, default=0) >= large:
            return scenes.split_ground(whole, block_px=tile_px, guard_px=buffer_px, seed=seed)
        if all(pair.transform for pair in whole):
            raise ValueError(
                "the manifest gives no split: scenes.split_manifest(folder) splits by ground and writes it"
            )
        warnings.warn(
            "the pairs do not say where they lie: they are split by name, so that neighbours may stand on "
            "both sides of the split and the scores may flatter",
            stacklevel=3,
        )
        splits = [SPLITS[(n >= round(0.7 * count)) + (n >= round(0.8 * count))] for n in range(count)]
    ground = {split: [] for split in SPLITS}
    for pair, split, side in zip(whole, splits, sides, strict=True):
        if split not in ground:
            raise ValueError(f"{pair.name} has the split {split!r}; expected {', '.join(SPLITS)}, in every row")
        ground[split] += pair.patches(tile_px) if side >= large else [pair]
    scenes.refuse_overlap(ground)
    if not ground["test"]:
        ground["test"], ground["validation"] = ground["validation"], []
    if not ground["validation"]:
        held = max(1, len(ground["train"]) // 10)
        ground["train"], ground["validation"] = ground["train"][:-held], ground["train"][-held:]
        warnings.warn(f"a split is missing: the last {held} training pairs by name validate", stacklevel=3)
    if not all(ground.values()):
        counts = ", ".join(f"{split} {len(ground[split])}" for split in SPLITS)
        raise ValueError(f"{counts} pairs: expected some in each split")
    return ground
