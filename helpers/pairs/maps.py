"""Pairs of satellite image and map: drawn for the whole Earth, or read from a folder."""

import csv
import itertools
import warnings
from collections import Counter, namedtuple
from pathlib import Path

import numpy as np

from helpers import metrics, scenes
from helpers.acquire import pictures
from helpers.backend import tf
from helpers.pairs.listing import images, joined, some
from helpers.pairs.map_drawing import LEGEND, MapTile, open_maps
from helpers.pairs.patches import patches
from helpers.scenes import SPLITS, Scene, folders
from helpers.scenes.files import MAX_READ_BYTES

MAX_PIXELS = 50_000_000  # of one picture in a folder: it is decoded as a whole
MOST_COLOURS = 16  # in maps that can be their own legend
SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
DIRECTIONS = ("satellite_map", "map_satellite")
ROLES = ("satellite", "map")

# no map where both are in one picture; `row` of the manifest, or {}
Pair = namedtuple("Pair", "name satellite map split row")


def dataset(tiles, *, target="map", **stream):
    """Training pairs: patches at random places, turned and flipped, the image and its map alike.

    Args:
        tiles: list of MapTile of training ground.
        target: "map" for the picture, "classes" for the places in the legend.
        **stream: as of `pairs.patches.patches`.

    Returns:
        tf.data.Dataset of (satellite, map), float32 (batch, patch, patch, 3), 0 to 1; or (satellite, classes), int32
        (batch, patch, patch).

    Raises:
        ValueError: another target, tiles without classes, or one smaller than a patch.
    """
    if target not in ("map", "classes") or any(getattr(tile, target) is None for tile in tiles):
        raise ValueError(f'target is {target!r}; expected "map", or "classes" where the maps have a legend')
    both = [_scene(tile.name, tile.satellite, getattr(tile, target)) for tile in tiles]

    def pair(pixels):
        satellite, drawn = pixels[..., :3] / 255, pixels[..., 3:]
        return satellite, (drawn / 255 if target == "map" else tf.cast(drawn[..., 0], tf.int32))

    return patches(both, **stream).map(pair, num_parallel_calls=1).prefetch(2)


def read_map_pairs(
    folder, *, tile_px=256, guard_px=16, direction="satellite_map", legend=None, tolerance=0, limit=None, seed=0
):
    """Read a folder of paired tiles: satellite images and maps of the same ground.

    The folder holds one of these:
    - a `manifest.csv` with the roles `satellite` and `map`, joined by `pair`, as notebook 01 writes it
    - two folders `satellite` and `map` with pictures of equal names
    - pictures twice as wide as high, both side by side, as the public sets of pix2pix have them
    - folders `train`, `val` and `test` (the last may be missing) with one of the latter two in each

    Pictures with a palette, grey ones and opaque ones with an alpha channel become red, green, blue. A pair that is
    transparent somewhere has no data there and is left out, which a warning says. Pictures twice as large as a tile or
    more are cut into tiles.

    Splits are taken from the manifest or from the folders; where there is neither, large pictures are split by ground
    (`scenes.split_ground`), small ones by name, which a warning says.

    Args:
        folder: of the pairs.
        tile_px: side of the tiles that large pictures are cut into.
        guard_px: left out between tiles of different splits that are cut from one picture.
        direction: what lies left and right in pictures side by side, "satellite_map" or "map_satellite".
        legend: dict from class to (red, green, blue). Default: the folder's `legend.csv`, with the columns class, red,
            green, blue; else, where all maps together have 16 colours at most, one class for each.
        tolerance: largest distance in RGB from a colour of the legend, for maps that were stored with loss.
        limit: read so many pairs of each split, the first by name.
        seed: of the split by ground.

    Returns:
        dict from "train", "validation", "test" to a list of MapTile, and the legend; None, and no classes, where there
        is none and the maps have too many colours to be their own.

    Raises:
        ValueError: none of these, a missing partner, sizes that differ, a picture that cannot be read or is too large,
            a colour that the legend lacks (says which, and how many pixels), or too few pairs.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is {direction!r}; expected {' or '.join(DIRECTIONS)}")
    folder, count, read, blank, size = Path(folder), Counter(), [], [], 0
    for pair in _listed(folder):
        count[pair.split] += 1
        if limit is None or count[pair.split] <= limit:
            both = _read_pair(pair, direction)
            if both is None:
                blank.append(pair.name)
                continue
            read.append((pair, *both))
            size += 3 * both[0].nbytes  # with the classes, and room to stack
            if size > MAX_READ_BYTES:
                raise ValueError(f"{folder} holds more than {MAX_READ_BYTES / 1e9:.0f} GB of pixels: give `limit`")
    if blank:
        warnings.warn(f"{len(blank)} pairs with transparent pixels are left out: {some(blank)}", stacklevel=2)
    legend = legend or _legend_of(folder, [drawn for _, _, drawn in read])
    classes = _classes([(pair.name, drawn) for pair, _, drawn in read], legend, tolerance)
    layers = [(pair, (*both, cls)) for (pair, *both), cls in zip(read, classes, strict=True)]
    whole = [folders._placed(_scene(pair.name, *own), pair.row) for pair, own in layers]
    ground = _split(whole, [pair.split for pair, *_ in read], tile_px, guard_px, seed)
    return {split: [_tile(scene) for scene in ground[split]] for split in SPLITS}, legend


def _scene(name, *layers):
    """One Scene of bytes, satellite, map and classes as its bands, so that they are cut and turned alike."""
    layers = [layer if layer.ndim == 3 else layer[..., None] for layer in layers if layer is not None]
    pixels = np.concatenate(layers, axis=-1)
    return Scene(pixels, tuple(f"band{number}" for number in range(pixels.shape[-1])), name=name, dtype="uint8")


def _tile(scene):
    classes = scene.pixels[..., 6] if len(scene.bands) == 7 else None
    place = scene.bounds or (None,) * 4
    return MapTile(scene.pixels[..., :3], scene.pixels[..., 3:6], classes, "", *place, scene.name, scene.crs)


def _listed(folder):
    """The pairs of a folder, sorted by split and name."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    parts = [name for name in SPLIT_FOLDERS if (folder / name).is_dir()]
    if (folder / "manifest.csv").exists() or not parts:
        return _pairs_of(folder)
    return [pair._replace(split=SPLIT_FOLDERS[name]) for name in parts for pair in _pairs_of(folder / name)]


def _pairs_of(folder):
    table, roles = folder / "manifest.csv", [role for role in ROLES if (folder / role).is_dir()]
    if table.exists() or len(roles) == 2:
        rows = joined(folder, ROLES)
        if alone := [name for name, by_role in rows.items() if len(by_role) < 2]:
            raise ValueError(
                f"{len(alone)} pairs of {table} lack the satellite image or the map: {some(alone)}. Acquire what is "
                "missing, or let scenes.split_manifest mark them: unpaired rows are left out"
                if table.exists() else
                f"{len(alone)} pictures in {folder} have no partner of the same name in the other folder: "
                f"{some(alone)}. Remove them, or add their partners"
            )  # fmt: skip
        found = []
        for name, by_role in rows.items():
            files = (folder / by_role[role]["path"] for role in ROLES)
            found.append(Pair(name, *files, by_role["satellite"].get("split", ""), by_role["satellite"]))
    else:
        found = [] if roles else [Pair(path.stem, path, None, "", {}) for path in images(folder)]
    if not found:
        raise ValueError(
            f"{folder} holds no pairs; expected a manifest.csv, folders `satellite` and `map` with equal names, or "
            f"pictures side by side. It holds: {some(sorted(path.name for path in folder.iterdir())) or 'nothing'}"
        )
    return found


def _read_pair(pair, direction):
    """Satellite image and map, uint8 (height, width, 3); None where one is transparent."""
    both = [_rgb(path) for path in (pair.satellite, pair.map) if path]
    if any(pixels is None for pixels in both):
        return None
    if pair.map is None:
        height, width, _ = both[0].shape
        if width != 2 * height:
            raise ValueError(
                f"{pair.satellite} has {width} x {height} pixels; expected satellite image and map side by side, twice "
                "as wide as high"
            )
        both = [both[0][:, :height], both[0][:, height:]]
        return both if direction == DIRECTIONS[0] else both[::-1]
    if both[0].shape != both[1].shape:
        sizes = " and ".join(f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in both)
        raise ValueError(f"{pair.satellite} and {pair.map} have {sizes} pixels: a pair has one size")
    return both


def _rgb(path):
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
    """The legend of `legend.csv`, else of the maps' own colours; None where these are too many."""
    path, found = folder / "legend.csv", set()
    if path.exists():
        try:
            with open(path, newline="", encoding="utf-8") as handle:
                rows = list(csv.DictReader(handle))
            legend = {row["class"]: tuple(int(row[band]) for band in ("red", "green", "blue")) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} cannot be read ({error!r}); expected the columns class, red, green, blue"
            ) from error
        if not legend or len(set(legend.values())) < len(rows) or not set(sum(legend.values(), ())) <= set(range(256)):
            raise ValueError(f"{path}: expected classes and colours that occur once, and numbers from 0 to 255")
        return legend
    for drawn in maps:
        found |= set(np.unique(_packed(drawn)).tolist())
        if len(found) > MOST_COLOURS:
            warnings.warn(
                f"there is no legend.csv, and the maps have more than {MOST_COLOURS} colours: no classes, so that only "
                "pictures can be compared",
                stacklevel=3,
            )
            return None
    return {f"#{colour:06x}": tuple(colour.to_bytes(3, "big")) for colour in sorted(found)}


def _classes(maps, legend, tolerance):
    """Class images of (name, map) pairs; a ValueError tells the colours that the legend lacks."""
    if legend is None:
        return [None] * len(maps)
    colours, unknown, where, found = np.array(list(legend.values()), np.int32), Counter(), [], []
    for name, drawn in maps:
        found.append(metrics.decode(drawn, legend))
        far = ((drawn.astype(np.int32) - colours[found[-1]]) ** 2).sum(axis=-1) > tolerance**2
        unknown.update(_packed(drawn[far]).tolist())
        where += [name] if far.any() else []
    if unknown:
        most = ", ".join(f"{tuple(colour.to_bytes(3, 'big'))} {count} px" for colour, count in unknown.most_common(5))
        raise ValueError(
            f"{len(unknown)} colours in {len(where)} maps ({some(where)}) are not in the legend; most frequent: "
            f"{most}. Add them to it; or, if the maps were stored with loss, as JPEG does, give a tolerance"
        )
    return found


def _packed(pixels):
    return pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def _split(whole, splits, tile_px, guard_px, seed):
    """Scenes to splits, large ones cut into tiles."""
    large = 2 * tile_px + guard_px
    if any(splits):
        ground = {split: [] for split in SPLITS}
        for scene, split in zip(whole, splits, strict=True):
            if split not in ground:
                raise ValueError(f"{scene.name} has the split {split!r}; expected {', '.join(SPLITS)}, in every row")
            is_large = min(scene.height, scene.width) >= large
            ground[split] += scene.patches(tile_px) if is_large else [scene]
        scenes.refuse_overlap(ground)
    elif max((min(scene.height, scene.width) for scene in whole), default=0) >= large:
        return scenes.split_ground(whole, block_px=tile_px, guard_px=guard_px, seed=seed)
    elif all(scene.transform for scene in whole):
        raise ValueError("the manifest gives no split: scenes.split_manifest(folder) splits by ground and writes it")
    else:
        ends = [0, round(0.7 * len(whole)), round(0.8 * len(whole)), len(whole)]
        ground = {split: whole[a:b] for split, (a, b) in zip(SPLITS, itertools.pairwise(ends), strict=True)}
        warnings.warn(
            "the pairs do not say where they lie: they are split by name, so that neighbours may stand on both sides "
            "of the split and the scores may flatter",
            stacklevel=3,
        )
    if not ground["test"]:
        ground |= {"test": ground["validation"], "validation": []}
    if not ground["validation"] and ground["test"]:
        count = max(1, len(ground["train"]) // 10)
        ground |= {"train": ground["train"][:-count], "validation": ground["train"][-count:]}
        warnings.warn(f"a split is missing: the last {count} training pairs by name validate", stacklevel=3)
    if not all(ground.values()):
        counts = ", ".join(f"{split} {len(ground[split])}" for split in SPLITS)
        raise ValueError(f"{counts} pairs: expected some in each split")
    return ground


__all__ = ["LEGEND", "MapTile", "dataset", "open_maps", "read_map_pairs"]
