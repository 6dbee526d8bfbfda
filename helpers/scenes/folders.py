"""Folders of images: list and read them, refuse what is no single data set, split a manifest."""

from collections import Counter
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_bounds

from helpers.paths import write_text
from helpers.scenes.files import read, refuse_classes
from helpers.scenes.splits import SPLITS, boxes_in, split_boxes, split_scenes
from helpers.scenes.values import look_at_values

IMAGE_SUFFIXES = {".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"}
EDGES = ["west", "south", "east", "north"]
# in place of a split: too near to ground of another, shown by another row, without its partner
LEFT_OUT = ("guard", "copy", "unpaired")


def read_ground(folder, *, role="image", block_px, buffer_px, seed=0):
    """Read a folder of images, split by ground.

    With a `manifest.csv` (columns `path`, `role`, `pair`, `split`, `west` … `crs`, `credit`), the
    rows of `role` are read and their split is kept (`split_manifest` writes one). Without, all
    images are read. What has no split is split by `split_scenes`.

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files with equal bands.
        role: which rows of the manifest to read.
        block_px, buffer_px, seed: as of `split_ground`.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: no folder, no image in it, images of several kinds, too little ground, or a
            manifest that cannot be read, or whose split is incomplete or shows ground twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is neither the name of a pack nor a folder")
    listed = (folder / "manifest.csv").exists()
    rows = manifest_rows(folder, [role]) if listed else [{"path": p.name} for p in images(folder)]
    if not rows:
        raise ValueError(
            f"{folder} holds no image; expected {', '.join(sorted(IMAGE_SUFFIXES))}, or a "
            "manifest.csv"
        )
    names = Counter(Path(row["path"]).stem.lower() for row in rows)
    name, count = names.most_common(1)[0]
    if count > 1 and not listed:
        raise ValueError(f"{folder} holds {count} images called {name}: keep one")
    for row in rows:
        refuse_classes(folder / row["path"])
    scenes = [read_row(folder, row) for row in rows]
    _refuse_mixture(folder, scenes)
    look_at_values(folder, scenes)
    given = [row.get("split", "") for row in rows]
    return split_scenes(scenes, given, block_px=block_px, buffer_px=buffer_px, seed=seed)


def images(folder, suffixes=IMAGE_SUFFIXES):
    """Return the image files of a folder, sorted."""
    found = sorted(Path(folder).glob("[!.]*"))
    return [path for path in found if path.suffix.lower() in suffixes and not path.is_dir()]


def some(names):
    """Return the first five of many names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(str, names[:5])) + more


def _refuse_mixture(folder, scenes):
    """Raise a ValueError that lists the kinds, where a folder is no single data set."""
    sizes = np.array([scene.pixel_size for scene in scenes])
    usual = np.median(sizes, axis=0)
    sizes = np.where(np.isclose(sizes, usual, rtol=0.01), usual, sizes)
    kinds = {}
    for scene, (width, height) in zip(scenes, sizes, strict=True):
        place = "without CRS" if scene.transform else "without a place"
        unit = scene.crs.units_factor[0] if scene.crs else place
        kind = (
            f"bands {' '.join(scene.bands)}, {scene.dtype}, pixels {width:.6g} x {height:.6g} "
            f"({unit})"
        )
        kinds.setdefault(kind, []).append(scene.name)
    if len(kinds) > 1:
        found = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
        told = "; ".join(f"{len(names)} of {kind}: {some(names)}" for kind, names in found)
        raise ValueError(
            f"{folder} holds several kinds of images: {told}. Keep those of one kind, or put each "
            "kind in a folder of its own"
        )


def read_table(path, needed=()):
    """Read a CSV file of texts as people save it: with BOM, blanks after commas, CRLF.

    Raises:
        ValueError: it is no table, or lacks a needed column.
    """
    import pandas

    options = {"dtype": str, "keep_default_na": False, "skipinitialspace": True}
    try:
        rows = pandas.read_csv(path, encoding="utf-8-sig", **options)
    except ValueError as error:
        raise ValueError(f"{path} is no table with commas ({error})") from error
    if not isinstance(rows.index, pandas.RangeIndex):
        raise ValueError(
            f"{path} has rows with more cells than its header: quote texts with commas"
        )
    rows.columns = rows.columns.str.strip().str.lower()
    missing = ", ".join(name for name in needed if name not in rows)
    if missing:
        raise ValueError(f"{path} has no column {missing}; it has {', '.join(rows.columns)}")
    return rows.apply(lambda column: column.str.strip())


def manifest_rows(folder, roles, needed=("path", "role")):
    """Return the rows of some roles in a folder's manifest, sorted by pair and path.

    Rows that a split leaves out are not among them.

    Raises:
        ValueError: no row of these roles, or a column is missing.
    """
    path = Path(folder) / "manifest.csv"
    table = read_table(path, needed)
    rows = table[table.role.isin(roles)]
    if rows.empty:
        there = ", ".join(map(repr, sorted(set(table.role)))) or "no row"
        raise ValueError(f"{path} has no row of role {', '.join(map(repr, roles))}; it has {there}")
    rows = rows.reindex(columns=table.columns.union(["pair", "split"]), fill_value="")
    return rows[~rows.split.isin(LEFT_OUT)].sort_values(["pair", "path"]).to_dict("records")


def pair_rows(folder, roles):
    """List a folder of pairs: by the column `pair` of its manifest, else by equal names.

    Args:
        folder: Path, with a `manifest.csv`, or with a folder for each role.
        roles: those that make up a pair.

    Returns:
        dict from the name of a pair, sorted, to a dict from role to the row of the manifest, or
        what stands for it; a role may be missing.

    Raises:
        ValueError: a manifest without what is needed, or two images of one role in a pair.
    """
    if (folder / "manifest.csv").exists():
        rows = manifest_rows(folder, roles, ("path", "role", "pair"))
    else:
        rows = [
            {"path": f"{role}/{path.name}", "role": role, "pair": path.stem}
            for role in roles
            for path in images(folder / role)
        ]
    found = {}
    for row in sorted(rows, key=itemgetter("pair")):
        first = found.setdefault(row["pair"], {}).setdefault(row["role"], row)
        if first is not row:
            raise ValueError(
                f"pair {row['pair']!r} has two {row['role']} images: {first['path']} and "
                f"{row['path']}"
            )
    return found


def read_row(folder, row):
    """Read the image of a row, with the place and the credit that the row gives."""
    return placed(read(Path(folder) / row["path"]), row)


def placed(scene, row):
    """Return a scene with the credit of a row; and with its place, if it has none itself."""
    scene = replace(scene, credit=row.get("credit") or scene.credit)
    crs, *edges = place = [row.get(name) for name in ("crs", *EDGES)]
    if scene.transform is not None or not all(place) or row["west"] == row["east"]:  # a photo
        return scene
    try:
        transform = from_bounds(*map(float, edges), scene.width, scene.height)
        return replace(scene, transform=transform, crs=CRS.from_user_input(crs))
    except ValueError as error:
        raise ValueError(
            f"the manifest gives {row['path']} no place that can be read ({error}); expected "
            "numbers and a crs such as EPSG:4326"
        ) from error


def split_manifest(folder, *, buffer=1 / 16, seed=0):
    """Split a data set folder by ground, and write the split into its manifest.

    Rows that share a `pair` stay together; `split_boxes` says what goes where. What lies nearer to
    the ground of a later split than `buffer` gets the split "guard"; what has role and bounds of an
    earlier row, as where scenes overlap, gets "copy", as ground that counts twice feigns certainty;
    where rows are paired, one without its partner gets "unpaired". `read_ground` leaves out all
    three.

    Args:
        folder: with a `manifest.csv` whose rows say where they lie (`west` … `crs`).
        buffer: least distance between images of different splits, in image widths.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test", "guard" to the number of pairs or images, and from
        "copy" and "unpaired" to that of images.

    Raises:
        ValueError: a row without a place, or too little ground for three splits.
    """
    import pandas

    path = Path(folder) / "manifest.csv"
    table = read_table(path, ("path", "role", "pair", *EDGES, "crs"))
    paired = table.pair != ""
    groups = table.pair.where(paired, table.path)
    roles = table.role.groupby(groups).transform("nunique")
    rows = table[roles >= table.role[paired].nunique()]
    lacking = rows.path[(rows[[*EDGES, "crs"]] == "").any(axis=1)]
    if len(lacking):
        raise ValueError(f"{path} does not say where {lacking.iloc[0]} lies: it cannot be split")
    target = min(rows.crs.unique(), key=lambda crs: CRS.from_user_input(crs).is_geographic)
    places = rows[["crs", *EDGES]].to_numpy()
    boxes = pandas.DataFrame(boxes_in(target, places), rows.index, EDGES)
    widest = (boxes.east - boxes.west).max() or 1
    is_copy = (boxes / widest).round(6).assign(role=rows.role).duplicated()
    own = groups[rows.index][~is_copy]
    ends = {"west": "min", "south": "min", "east": "max", "north": "max"}
    boxes = boxes[~is_copy].groupby(own, sort=False).agg(ends)
    buffers = buffer * (boxes.east - boxes.west)
    split = pandas.Series("guard", boxes.index)
    parts = split_boxes(boxes.to_numpy(), buffers.to_numpy(), seed)
    for name, members in zip(SPLITS, parts, strict=True):
        split.iloc[members] = name
    table["split"] = groups.map(split).fillna("unpaired")
    table.loc[rows.index[is_copy], "split"] = "copy"
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    counted = dict.fromkeys([*SPLITS, "guard"], split) | dict.fromkeys(LEFT_OUT[1:], table.split)
    return {name: int((found == name).sum()) for name, found in counted.items()}
