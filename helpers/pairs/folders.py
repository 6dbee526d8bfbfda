"""Read folders of pairs - cloudy and clear, or satellite and map - split by ground."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from rasterio.transform import Affine

from helpers.acquire import pictures
from helpers.acquire.manifest import NAME, pair_rows, placed, read_row
from helpers.acquire.sources import look_at_values, some
from helpers.scenes import Scene, split_scenes

# roles of a pair
CLOUDY = ("cloudy", "clear")
MAPS = ("satellite", "map")
COLOURS = ("red", "green", "blue")
SPLIT_FOLDERS = {
    "train/": "train",
    "val/": "validation",
    "validation/": "validation",
    "test/": "test",
}
MAX_DAYS = 60
DAY = (
    r"(?<!\d)(?P<year>(?:19|20)\d\d)[-_]?(?P<month>0[1-9]|1[0-2])[-_]?"
    r"(?P<day>0[1-9]|[12]\d|3[01])(?!\d)"
)


def read_pairs(folder, roles, *, left="satellite", **cuts):
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
        left: role of what lies left in pictures side by side.
        **cuts: `block_px`, `buffer_px`, `seed` as of `sources.open_ground`.

    Returns:
        dict from "train", "validation", "test" to a list of Scene with the bands of both images;
        those of the second begin with its role. A pixel without data in one of them is NaN in both.

    Raises:
        ValueError: no pair; images of a pair that differ in size, data type, bands, CRS, place or
            split (says which pair, and how); numbers such as -9999 that are not declared as no
            data; a picture that cannot be read; an incomplete split, or one for which nothing is
            left.
    """
    folder = Path(folder)
    joined = []
    splits = []
    left_out = []
    apart = []
    for name, rows in _listed(folder, roles, left).items():
        if len(rows) < 2:
            left_out.append(f"{name} ({min(rows)} only)")
            continue
        joined.append(_joined(folder, name, rows, roles))
        # two splits of one pair make a word that `split_scenes` refuses
        splits.append("".join(sorted({row["split"] for row in rows.values()})))
        if _days_apart(rows) > MAX_DAYS:
            apart.append(name)
    if not joined:
        raise ValueError(
            f"{folder} holds no pairs: expected a manifest.csv with rows of the roles "
            f"{' and '.join(roles)} that share a `pair`, a folder for each role with files of "
            f"equal names, or pictures side by side. Left out: {some(left_out) or 'none'}"
        )
    ground = split_scenes(joined, _completed(splits), **cuts)
    _leave_out_useless(folder, ground, roles, left_out)
    if left_out:
        warnings.warn(f"{folder}: left out {some(left_out)}", stacklevel=2)
    if apart:
        warnings.warn(
            f"{folder}: more than {MAX_DAYS} days between the images of {some(apart)}; the ground "
            "may have changed meanwhile",
            stacklevel=2,
        )
    return ground


def _leave_out_useless(folder, ground, roles, left_out):
    """Take pairs that show nothing out of each split, and list them in `left_out`."""
    for split, found in ground.items():
        ground[split] = []
        for pair in found:
            if reason := _useless(pair, roles):
                left_out.append(f"{pair.name} ({reason})")
            else:
                ground[split].append(pair)
        if not ground[split]:
            raise ValueError(
                f"{folder} has no pair for {split}. Left out: {some(left_out)}"
            )


def _listed(folder, roles, left):
    """List the pairs of a folder: dict from name to a dict from role to row."""
    has_manifest = (folder / NAME).exists()
    listed = {}
    parts = [part for part in SPLIT_FOLDERS if (folder / part).is_dir()]
    for part in ([] if has_manifest else parts) or [""]:
        found = pair_rows(folder / part, roles)
        if not found and roles == MAPS and not has_manifest:
            side_by_side = pair_rows(folder / part, ["image"])
            for name, rows in side_by_side.items():
                found[name] = {
                    role: rows["image"] | {"is_right": role != left} for role in MAPS
                }
        for name, rows in found.items():
            for row in rows.values():
                row["path"] = part + row["path"]
                row["split"] = SPLIT_FOLDERS.get(part, row.get("split", ""))
            listed[part + name] = rows
    return listed


def _completed(splits):
    """Return the splits, of two parts made three: the last training pairs validate, if enough."""
    if set(splits) not in ({"train", "validation"}, {"train", "test"}):
        return splits
    splits = np.array(splits, object)
    trained = np.flatnonzero(splits == "train")
    if len(trained) < 2:
        return splits
    held = trained[-max(1, len(trained) // 10) :]
    splits[splits != "train"] = "test"
    splits[held] = "validation"
    warnings.warn(
        f"a split is missing: the last {len(held)} training pairs by name are for validation",
        stacklevel=3,
    )
    return splits


def _joined(folder, name, rows, roles):
    """Read both images of a pair, and return one Scene; a ValueError says how they differ.

    Cloudy pairs are checked for undeclared gaps, but not images of a single value, which are left
    out later. Maps are not checked, as they may be white along their edges.
    """
    read = _picture if roles == MAPS else read_row
    first, second = both = [read(folder, rows[role]) for role in roles]
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
    pixels = np.concatenate([first.pixels, second.pixels], axis=-1)
    if roles == CLOUDY:
        look_at_values(folder, [s for s in both if np.ptp(np.nan_to_num(s.pixels))])
        pixels[~np.isfinite(pixels).all(axis=-1)] = np.nan
    credits = dict.fromkeys([first.credit, second.credit])
    return replace(
        first,
        pixels=pixels,
        bands=first.bands + tuple(f"{roles[1]}_{band}" for band in second.bands),
        name=name,
        credit="; ".join(filter(None, credits)),
    )


def _picture(folder, row):
    """Read a picture, or a half of it, as a Scene of uint8 colours; NaN where it is transparent."""
    path = folder / row["path"]
    try:
        with pictures.opened(path) as picture:
            colours = np.asarray(picture.convert("RGBA"))
    except OSError as error:
        raise ValueError(f"{path} {error}") from error
    if "is_right" in row:
        height, width, _ = colours.shape
        if width != 2 * height:
            raise ValueError(
                f"{path} has {width} x {height} pixels; expected two images side by side, "
                "together twice as wide as high"
            )
        colours = np.split(colours, 2, axis=1)[row["is_right"]]
    pixels = colours[..., :3]
    alpha = colours[..., 3:]
    if alpha.min() < 255:
        pixels = np.where(alpha == 255, pixels, np.nan)
    return placed(Scene(pixels, COLOURS, name=path.stem, dtype="uint8"), row)


def _useless(pair, roles):
    """Return why a pair cannot be used, else None."""
    if roles == MAPS:
        return None if pair.valid.all() else "transparent pixels"
    pixels = pair.pixels[pair.valid]
    if not len(pixels):
        return "no pixel with data in both images"
    low, high = np.percentile(pixels, [0.5, 99.5], axis=0)
    for role, is_flat in zip(roles, np.split(low == high, 2), strict=True):
        if is_flat.all():
            return f"its {role} image shows one value only"
    return None


def _days_apart(rows):
    """Return the days between two images, as the manifest or their names tell; else NaN."""
    told = [
        f"{row.get('time')} {row.get('scene')} {row['path']}" for row in rows.values()
    ]
    parts = pandas.Series(told).str.extract(DAY)
    days = pandas.to_datetime(parts, errors="coerce")
    return abs(days.diff()[1].days)
