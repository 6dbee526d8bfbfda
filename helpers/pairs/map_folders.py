"""Folders of paired pictures: satellite images and maps of the same ground, as a list of Scene.

The bands of a pair are red, green, blue and then either `class`, the place of each pixel's class in
a legend, or `map_red`, `map_green`, `map_blue` where the map has no legend.
"""

import warnings
from collections import Counter, namedtuple
from pathlib import Path

import numpy as np
import pandas

from helpers import metrics, scenes
from helpers.acquire import pictures
from helpers.scenes import Scene, folders
from helpers.scenes.folders import images, pair_rows, some

MAX_PIXELS = 50_000_000  # of one picture in a folder: it is decoded as a whole
MAX_COLOURS = 16  # in maps that can be their own legend
MAX_UNDECIDED = 0.05  # share of map pixels that no colour of the legend is near
SPLIT_FOLDERS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
ROLES = ("satellite", "map")
SATELLITE = ("red", "green", "blue")
PICTURE = ("map_red", "map_green", "map_blue")

# no map where both are in one picture; `row` of the manifest, or {}
Pair = namedtuple("Pair", "name satellite map split row")


def read_map_pairs(
    folder, *, tile_px=256, buffer_px=16, left="satellite", legend=None, tolerance=0, seed=0
):  # fmt: skip
    """Read a folder of paired pictures: satellite images and maps of the same ground.

    The folder holds one of these:
    - a `manifest.csv` with the roles `satellite` and `map`, joined by `pair`, as `01` writes it
    - two folders `satellite` and `map` with pictures of equal names
    - pictures twice as wide as high, both side by side, as the public sets of pix2pix have them
    - folders `train`, `val` and `test` (the last may be missing) with one of the latter two in each

    A pair that is transparent somewhere has no data there and is left out, which a warning says.
    Splits come from the manifest or the folders, else from `scenes.split_scenes`: large pictures
    are cut into tiles.

    Args:
        folder: of the pairs.
        tile_px: side of the tiles that large pictures are cut into, where no split is given.
        buffer_px: left out between tiles of different splits.
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
            be read or is too large, more than 5 % undecided pixels (says which colours), or too
            few pairs.
    """
    folder = Path(folder)
    pairs = _listed(folder)
    images = {pair.name: _read_pair(pair, left) for pair in pairs}
    if blank := [name for name, both in images.items() if both is None]:
        told = f"{len(blank)} pairs with transparent pixels are left out: {some(blank)}"
        warnings.warn(told, stacklevel=2)
        pairs = [pair for pair in pairs if pair.name not in blank]
    maps = {pair.name: images[pair.name][1] for pair in pairs}
    if legend is None:
        table = folder / "legend.csv"
        legend = _read_legend(table) if table.exists() else _own_legend(maps.values())
    if legend:
        maps = _classes(maps, legend, tolerance)
    bands = (*SATELLITE, "class") if legend else (*SATELLITE, *PICTURE)
    whole = []
    for pair in pairs:
        pixels = np.dstack([images[pair.name][0], maps[pair.name]])
        whole.append(folders.placed(Scene(pixels, bands, name=pair.name, dtype="uint8"), pair.row))
    given = _complete([pair.split for pair in pairs])
    ground = scenes.split_scenes(whole, given, block_px=tile_px, buffer_px=buffer_px, seed=seed)
    if legend:
        _look_for_classes(ground["train"], legend)
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
                f"{len(alone)} pairs in {folder} lack the satellite image or the map: "
                f"{some(alone)}. Add what is missing, or remove them"
            )
        found = []
        for name, by_role in rows.items():
            files, row = (folder / by_role[role]["path"] for role in ROLES), by_role["satellite"]
            found.append(Pair(name, *files, row.get("split", ""), row))
    else:
        found = [] if roles else [Pair(path.stem, path, None, "", {}) for path in images(folder)]
    if not found:
        there = some(sorted(path.name for path in folder.iterdir())) or "nothing"
        raise ValueError(
            f"{folder} holds no pairs; expected a manifest.csv, folders `satellite` and `map` with "
            f"equal names, or pictures side by side. It holds: {there}"
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
            told = "expected satellite image and map side by side, twice as wide as high"
            raise ValueError(f"{pair.satellite} has {sizes[0]} pixels; {told}")
        halves = both[0][:, :height], both[0][:, height:]
        return [halves[role != left] for role in ROLES]
    if sizes[0] != sizes[1]:
        told = f"{pair.satellite} and {pair.map} have {' and '.join(sizes)} pixels"
        raise ValueError(f"{told}: a pair has one size")
    return both


def _rgb(path):
    """Return a picture as uint8 (height, width, 3); None where it is transparent somewhere."""
    try:
        with pictures.opened(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                told = f"it declares {picture.width} x {picture.height} pixels"
                raise OSError(f"{told}, more than {MAX_PIXELS / 1e6:.0f} million; cut it first")
            if picture.has_transparency_data and picture.convert("RGBA").getextrema()[3][0] < 255:
                return None
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path} {pictures.unreadable(error)}") from error


def _read_legend(path):
    try:
        table = pandas.read_csv(path, dtype={"class": str}, index_col="class")
        table = table[list(SATELLITE)].astype(int)
    except (KeyError, ValueError) as error:
        columns = "expected the columns class, red, green, blue"
        raise ValueError(f"{path} cannot be read ({error!r}); {columns}") from error
    doubled = table.duplicated().any() or table.index.duplicated().any()
    if table.empty or doubled or not table.isin(range(256)).all(axis=None):
        told = "expected classes and colours that occur once, and numbers from 0 to 255"
        raise ValueError(f"{path}: {told}")
    return {name: tuple(colour) for name, *colour in table.itertuples()}


def _own_legend(maps):
    """Return one class for each colour of the maps; None where there are too many colours."""
    found = set()
    for drawn in maps:
        found.update(np.unique(_packed(drawn)).tolist())
    if len(found) <= MAX_COLOURS:
        return {f"#{colour:06x}": _unpacked(colour) for colour in sorted(found)}
    told = f"there is no legend.csv, and the maps have more than {MAX_COLOURS} colours"
    warnings.warn(f"{told}: no classes, so that only pictures can be compared", stacklevel=3)
    return None


def _classes(maps, legend, tolerance):
    """Return class images by name of the map; warn of undecided pixels, refuse where many are."""
    colours, unknown, found = np.array(list(legend.values()), np.int32), Counter(), {}
    for name, drawn in maps.items():
        found[name] = metrics.decode(drawn, legend)
        far = ((drawn.astype(np.int32) - colours[found[name]]) ** 2).sum(axis=-1) > tolerance**2
        unknown.update(_packed(drawn[far]).tolist())
    if not unknown:
        return found
    undecided = unknown.total() / sum(classes.size for classes in found.values())
    most = ", ".join(f"{_unpacked(rgb)} {count} px" for rgb, count in unknown.most_common(5))
    told = f"further than {tolerance} from every colour of the legend. Most frequent: {most}"
    told = f"{undecided:.1%} of the map pixels are undecided: {told}"
    if undecided > MAX_UNDECIDED:
        advice = "as JPEG does, give a larger tolerance"
        raise ValueError(
            f"{told}. Correct the legend; or, if the maps were stored with loss, {advice}"
        )
    warnings.warn(f"{told}. They get the nearest class", stacklevel=3)
    return found


def _packed(pixels):
    return pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)


def _unpacked(colour):
    return tuple(colour.to_bytes(3, "big"))


def _look_for_classes(training_pairs, legend):
    """Warn of a class of the legend that no training pair holds."""
    held = {number for pair in training_pairs for number in np.unique(pair.pixels[..., -1])}
    absent = [name for number, name in enumerate(legend) if number not in held]
    if absent:
        told = f"no training pair holds {', '.join(absent)}: it cannot be learned"
        warnings.warn(f"{told}. Correct its colour, or remove the class", stacklevel=3)


def _complete(given):
    """Return the split of each pair, with validation taken from training pairs where it lacks.

    Public sets have two parts; the one that is not trained on then tests.
    """
    if "test" not in given:
        given = [split.replace("validation", "test") for split in given]
    if "validation" in given or "train" not in given:
        return given
    trained = [number for number, split in enumerate(given) if split == "train"]
    held = trained[-max(1, len(trained) // 10) :]
    told = f"a split is missing: the last {len(held)} training pairs by name validate"
    warnings.warn(told, stacklevel=3)
    return ["validation" if number in held else split for number, split in enumerate(given)]
