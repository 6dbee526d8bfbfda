"""Folders of images: what is in them, whether they are one data set, and the split in a manifest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds

from helpers.paths import write_text
from helpers.scenes.files import read, refuse_classes
from helpers.scenes.splits import SPLITS, split_boxes, split_scenes
from helpers.scenes.values import look_at_values

IMAGE_SUFFIXES = {".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"}
EDGES = ["west", "south", "east", "north"]
# in place of a split: too near to ground of another, shown by another row, without its partner
LEFT_OUT = ("guard", "copy", "unpaired")


def read_ground(folder, *, role="image", block_px, guard_px, seed=0):
    """Read a folder of images, split by ground.

    With a `manifest.csv` (columns `path`, `role`, `pair`, `split`, `west` … `crs`, `credit`), the
    rows of `role` are read and their split is kept (`split_manifest` writes one). Without, all
    images are read. What has no split is split by `split_scenes`.

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files with equal bands.
        role: which rows of the manifest to read.
        block_px, guard_px, seed: as of `split_ground`.

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
        there = some(sorted(path.name for path in folder.iterdir())) or "nothing"
        wanted = ", ".join(sorted(IMAGE_SUFFIXES))
        told = f"expected {wanted}, or a manifest.csv. It holds: {there}"
        raise ValueError(f"{folder} holds no image; {told}")
    for row in rows:
        refuse_classes(folder / row["path"])
    scenes = [read_row(folder, row) for row in rows]
    if not listed:
        _refuse_copies(folder, rows, scenes)
    _refuse_mixture(folder, scenes)
    look_at_values(folder, scenes)
    given = [row.get("split", "") for row in rows]
    return split_scenes(scenes, given, block_px=block_px, guard_px=guard_px, seed=seed)


def images(folder):
    """Return the image files of a folder, sorted."""
    return sorted(
        path for path in Path(folder).glob("[!.]*") if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
    )


def some(names):
    """Return the first five of many names, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(str, names[:5])) + more


def _refuse_copies(folder, rows, scenes):
    """Raise a ValueError where a folder holds one image twice: by name, or by its pixels."""
    seen = {}
    for row, scene in zip(rows, scenes, strict=True):
        for key in (scene.name.lower(), (str(scene.transform), hash(scene.pixels.tobytes()))):
            twin = seen.setdefault(key, row)
            if twin is not row:
                raise ValueError(
                    f"{folder} holds one image twice, {twin['path']} and {row['path']}: they could "
                    "train and test on the same ground. Keep one of each"
                )


def _refuse_mixture(folder, scenes):
    """Raise a ValueError that lists the kinds, where a folder is no single data set."""
    table = pandas.DataFrame(map(_kind, scenes), columns=["image", "kind", "pixel"])
    usual = table.groupby("kind").pixel.transform("median")
    step = (np.log(table.pixel / usual) / 0.02).round()  # 0 within 1 %
    kinds = [found for _, found in table.groupby(["kind", step])]
    if len(kinds) > 1:
        told = [
            f"{len(found)} of {found.kind.iloc[0]}, pixels {found.pixel.iloc[0]:.6g} ({', '.join(found.image[:3])})"
            for found in sorted(kinds, key=len, reverse=True)
        ]
        raise ValueError(
            f"{folder} holds several kinds of images: {'; '.join(told)}. Keep those of one kind, "
            "or put each kind in a folder of its own"
        )


def _kind(scene):
    """Return name, what the images of a data set share, and the pixel size."""
    place, pixel = "without a place", 1.0
    if scene.transform is not None:
        place = "placed" if scene.crs else "placed without CRS"
        pixel = np.hypot(scene.transform.a, scene.transform.d)
    bands = f"{len(scene.bands)} bands {' '.join(scene.bands)}"
    return scene.name, f"{bands}, {scene.dtype}, {place}", pixel


def read_table(path, needed=()):
    """Read a CSV file of texts as people save it: with BOM, blanks after commas, CRLF.

    Raises:
        ValueError: it is no table, or lacks a needed column.
    """
    options = {"dtype": str, "keep_default_na": False, "skipinitialspace": True}
    try:
        rows = pandas.read_csv(path, encoding="utf-8-sig", **options)
    except ValueError as error:
        raise ValueError(f"{path} is no table with commas ({error})") from error
    rows.columns = rows.columns.str.strip()
    missing = [name for name in needed if name not in rows]
    if missing:
        has = ", ".join(rows.columns)
        raise ValueError(f"{path} has no column {', '.join(missing)}; it has {has}")
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
        raise ValueError(f"{path} has no row of role {' or '.join(map(repr, roles))}; it has {there}")
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
        files = [(role, path) for role in roles for path in images(folder / role)]
        rows = [
            {"path": f"{role}/{path.name}", "role": role, "pair": path.stem}
            for role, path in sorted(files, key=lambda file: file[1].stem)
        ]
    found = {}
    for row in rows:
        first = found.setdefault(row["pair"], {}).setdefault(row["role"], row)
        if first is not row:
            told = f"pair {row['pair']!r} has two {row['role']} images"
            raise ValueError(f"{told}: {first['path']} and {row['path']}")
    return found


def read_row(folder, row):
    """Read the image of a row, with the place and the credit that the row gives."""
    return placed(read(Path(folder) / row["path"]), row)


def placed(scene, row):
    """Return a scene with the credit of a row; and with its place, if it has none itself."""
    scene = replace(scene, credit=row.get("credit") or scene.credit)
    edges = [row.get(edge) for edge in EDGES]
    is_point = edges[0] == edges[2]  # a photo
    if scene.transform is not None or not all(edges) or not row.get("crs") or is_point:
        return scene
    try:
        transform = from_bounds(*map(float, edges), scene.width, scene.height)
        return replace(scene, transform=transform, crs=CRS.from_user_input(row["crs"]))
    except ValueError as error:
        told = f"gives {row['path']} no place that can be read ({error})"
        raise ValueError(f"the manifest {told}") from error


def split_manifest(folder, *, guard=1 / 16, seed=0):
    """Split a data set folder by ground, and write the split into its manifest.

    Rows that share a `pair` stay together. Cells of several images go whole to train, validation or
    test. What lies nearer to the ground of a later split than `guard` gets the split "guard"; what
    has role and bounds of an earlier row, as where scenes overlap, gets "copy", as ground that
    counts twice feigns certainty; where rows are paired, one without its partner gets "unpaired".
    `read_ground` leaves out all three.

    Args:
        folder: with a `manifest.csv` whose rows say where they lie (`west` … `crs`).
        guard: least distance between images of different splits, in image widths.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test", "guard" to the number of pairs or images, and from
        "copy" and "unpaired" to that of images.

    Raises:
        ValueError: a row without a place, or too little ground for three splits.
    """
    path = Path(folder) / "manifest.csv"
    table = read_table(path, ("path", "role", "pair", *EDGES, "crs"))
    rows = _with_partner(table)
    boxes = _boxes(path, rows)
    widest = (boxes.east - boxes.west).max() or 1
    rows = rows[~(boxes / widest).round(6).assign(role=rows.role).duplicated()]
    groups = rows.pair.where(rows.pair != "", rows.path)
    least, most = (boxes.loc[rows.index].groupby(groups).agg(end) for end in ("min", "max"))
    together = pandas.concat([least[EDGES[:2]], most[EDGES[2:]]], axis=1)
    guards = guard * (together.east - together.west)
    split = pandas.Series("guard", together.index)
    parts = split_boxes(together.to_numpy(), guards.to_numpy(), seed)
    for name, members in zip(SPLITS, parts, strict=True):
        split.iloc[members] = name
    table["split"] = "unpaired"
    table.loc[boxes.index, "split"] = "copy"
    table.loc[rows.index, "split"] = groups.map(split)
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    counts = {name: int((split == name).sum()) for name in (*SPLITS, "guard")}
    return counts | {name: int((table.split == name).sum()) for name in ("copy", "unpaired")}


def _with_partner(table):
    """Return the rows whose pair has all roles that pairs have; all rows where none is paired."""
    paired = table[table.pair != ""]
    roles = paired.role.nunique()
    whole = paired.groupby("pair").role.transform("nunique") == roles
    return paired[whole] if roles > 1 else table


def _boxes(path, rows):
    """Return a table of EDGES in one coordinate system, in metres where a row has such a one."""
    lacking = rows.path[(rows[[*EDGES, "crs"]] == "").any(axis=1)]
    if len(lacking):
        told = f"{path} does not say where {lacking.iloc[0]} lies"
        raise ValueError(f"{told}: it cannot be split by ground")
    metric = [crs for crs in rows.crs.unique() if not CRS.from_user_input(crs).is_geographic]
    target = (metric or list(rows.crs))[0]
    places = rows[["crs", *EDGES]].itertuples(index=False)
    boxes = [transform_bounds(crs, target, *map(float, box)) for crs, *box in places]
    return pandas.DataFrame(boxes, rows.index, EDGES)
