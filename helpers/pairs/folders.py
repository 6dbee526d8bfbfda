"""Read folders of pairs - cloudy and clear, or satellite and map - split by ground."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from rasterio.transform import Affine

from helpers.acquire import pictures
from helpers.scenes import Scene, folders, look_at_values, split_scenes, stack
from helpers.scenes.folders import some

CLOUDY, MAPS = ("cloudy", "clear"), ("satellite", "map")  # roles of a pair
COLOURS = ("red", "green", "blue")
SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
MAX_DAYS = 60
DAY = r"(?<!\d)((?:19|20)\d\d[-_]?(?:0[1-9]|1[0-2])[-_]?(?:0[1-9]|[12]\d|3[01]))(?!\d)"


def read_pairs(folder, roles, *, block_px, buffer_px=16, left=None, seed=0):
    """Read a folder of pairs, split by ground.

    The folder holds one of these:
    - a `manifest.csv` with rows of both roles, joined by `pair`, as `01` writes it
    - a folder for each role, with images of equal names
    - of satellite and map: pictures twice as wide as high, both side by side, as the public sets
      of pix2pix have them
    - folders `train`, `val` and `test`, or two of them, with one of the latter two in each

    The split comes from the manifest or the folders, else from `scenes.split_scenes`. Warns of what
    is left out: an image without partner, a pair without data, a map with transparent pixels, and
    an image that shows a single value, as where a sensor saturates. Warns of days more than 60
    apart, where names or the manifest tell them.

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files; satellite images and maps are pictures of
            8 bits.
        roles: CLOUDY or MAPS.
        block_px, buffer_px, seed: as of `scenes.read_ground`.
        left: role of what lies left in pictures side by side; default: the first.

    Returns:
        dict from "train", "validation", "test" to a list of Scene with the bands of both images;
        those of the second begin with its role. A pixel without data in one of them is NaN in both.

    Raises:
        ValueError: no pair; images of a pair that differ in size, data type, bands, CRS, place or
            split (says which pair, and how); numbers such as -9999 that are not declared as no
            data; a picture that cannot be read; an incomplete split, or one for which nothing is
            left.
    """
    folder, (first, second) = Path(folder), roles
    listed = _listed(folder, roles, left)
    whole = {name: rows for name, rows in listed.items() if len(rows) == 2}
    left_out = [
        f"{name} ({min(rows)} only)" for name, rows in listed.items() if len(rows) < 2
    ]
    if not whole:
        raise ValueError(
            f"{folder} holds no pairs: expected a manifest.csv with rows of the roles {first} and "
            f"{second} that share a `pair`, folders {first} and {second} with files of equal "
            f"names, or pictures side by side. Left out: {some(left_out) or 'none'}"
        )
    joined = [_joined(folder, name, rows, roles) for name, rows in whole.items()]
    # two splits of one pair make a word that `split_scenes` refuses
    splits = [
        sorted({row.get("split", "") for row in rows.values()})
        for rows in whole.values()
    ]
    given = _completed(list(map("".join, splits)))
    ground = split_scenes(
        joined, given, block_px=block_px, buffer_px=buffer_px, seed=seed
    )
    for split, found in ground.items():
        reasons = [_useless(pair, roles) for pair in found]
        left_out += [
            f"{p.name} ({why})" for p, why in zip(found, reasons, strict=True) if why
        ]
        ground[split] = [p for p, why in zip(found, reasons, strict=True) if not why]
        if not ground[split]:
            raise ValueError(
                f"{folder} has no pair for {split}. Left out: {some(left_out)}"
            )
    if left_out:
        warnings.warn(f"{folder}: left out {some(left_out)}", stacklevel=2)
    if apart := [name for name, rows in whole.items() if _days_apart(rows) > MAX_DAYS]:
        told = (
            f"{folder}: more than {MAX_DAYS} days between the images of {some(apart)}"
        )
        warnings.warn(f"{told}; the ground may have changed meanwhile", stacklevel=2)
    return ground


def _listed(folder, roles, left):
    """List the pairs of a folder: dict from name to a dict from role to row."""
    parts = [part for part in SPLIT_FOLDERS if (folder / part).is_dir()]
    if (folder / "manifest.csv").exists() or not parts:
        return _pairs_in(folder, roles, left)
    found = {}
    for part in parts:
        for name, rows in _pairs_in(folder / part, roles, left).items():
            for row in rows.values():
                row |= {"path": f"{part}/{row['path']}", "split": SPLIT_FOLDERS[part]}
            found[f"{part}/{name}"] = rows
    return found


def _pairs_in(folder, roles, left):
    """List the pairs of a manifest, of two folders, or of pictures side by side."""
    has_roles = (folder / "manifest.csv").exists() or any(
        (folder / r).is_dir() for r in roles
    )
    if has_roles or roles == CLOUDY:
        return folders.pair_rows(folder, roles)
    order = sorted(roles, key=lambda role: role != left)
    found = folders.pair_rows(folder, ["image"])
    for name, rows in found.items():
        found[name] = {
            role: rows["image"] | {"half": order.index(role)} for role in roles
        }
    return found


def _completed(given):
    """Return the splits, of two parts made three: the last training pairs validate."""
    if set(given) not in ({"train", "validation"}, {"train", "test"}):
        return given
    given = [split.replace("validation", "test") for split in given]
    trained = np.flatnonzero(np.array(given) == "train")
    held = trained[-max(1, len(trained) // 10) :]
    for number in held:
        given[number] = "validation"
    told = f"a split is missing: the last {len(held)} training pairs by name validate"
    warnings.warn(told, stacklevel=3)
    return given


def _joined(folder, name, rows, roles):
    """Read both images of a pair, and return one Scene; a ValueError says how they differ.

    Those of clouds are looked at for undeclared gaps, unless they are of one value, which leaves
    them out; a map may be white along its edges.
    """
    read = _picture if roles == MAPS else folders.read_row
    first, second = both = [read(folder, rows[role]) for role in roles]
    if roles == CLOUDY:
        look_at_values(folder, [s for s in both if np.ptp(np.nan_to_num(s.pixels))])
    facts = [
        f"{s.width} x {s.height} pixels of {', '.join(s.bands)} as {s.dtype} in {s.crs}"
        for s in both
    ]
    grids = [scene.transform or Affine.identity() for scene in both]
    corners = np.array([[0, first.width, 0], [0, 0, first.height]])
    moved = np.abs(~grids[1] @ grids[0] @ corners - corners).max()
    if facts[0] != facts[1] or moved > 0.01:
        raise ValueError(
            f"the images of pair {name!r} differ: {facts[0]} at {first.bounds}, and {facts[1]} at "
            f"{second.bounds}. Resample one to the grid of the other first"
        )
    bands = tuple(f"{roles[1]}_{band}" for band in second.bands)
    pair = stack([first, replace(second, bands=bands, transform=first.transform)])
    if not pair.valid.all():
        pair.pixels[~pair.valid] = np.nan
    credits = dict.fromkeys(scene.credit for scene in both if scene.credit)
    return replace(pair, name=name, credit="; ".join(credits))


def _picture(folder, row):
    """Read a picture, or a half of it, as a Scene of uint8 colours; NaN where it is transparent."""
    path = folder / row["path"]
    try:
        with pictures.opened(path) as picture:
            colours = np.asarray(picture.convert("RGBA"))
    except OSError as error:
        raise ValueError(f"{path} {error}") from error
    if "half" in row:
        height, width, _ = colours.shape
        if width != 2 * height:
            told = "expected two images side by side, together twice as wide as high"
            raise ValueError(f"{path} has {width} x {height} pixels; {told}")
        colours = np.split(colours, 2, axis=1)[row["half"]]
    pixels, alpha = colours[..., :3], colours[..., 3:]
    if alpha.min() < 255:
        pixels = np.where(alpha == 255, pixels, np.nan)
    return folders.placed(Scene(pixels, COLOURS, name=path.stem, dtype="uint8"), row)


def _useless(pair, roles):
    """Return why a pair cannot be used, else None."""
    if roles == MAPS:
        return None if pair.valid.all() else "transparent pixels"
    pixels = pair.pixels[pair.valid]
    if not len(pixels):
        return "no pixel with data in both images"
    low, high = np.percentile(pixels, [0.5, 99.5], axis=0)
    is_flat = (low == high).reshape(2, -1).all(axis=1)
    return (
        f"its {roles[is_flat.argmax()]} image shows one value only"
        if is_flat.any()
        else None
    )


def _days_apart(rows):
    """Return the days between two images, as the manifest or their names tell; else NaN."""
    told = [
        f"{row.get('time')} {row.get('scene')} {row['path']}" for row in rows.values()
    ]
    days = pandas.Series(told).str.extract(DAY)[0].str.replace("[-_]", "", regex=True)
    return abs(
        pandas.to_datetime(days, format="%Y%m%d", errors="coerce").diff()[1].days
    )
