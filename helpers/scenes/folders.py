"""Folders of images: list and read them, refuse what is no single data set, split a manifest."""

from dataclasses import replace
from pathlib import Path
from textwrap import shorten

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_bounds

from helpers.paths import write_text
from helpers.scenes.files import read
from helpers.scenes.scene import Scene
from helpers.scenes.splits import split_scenes, split_tiles
from helpers.scenes.values import look_at_values

REFLECTANCE = 2  # reaches no higher
IMAGE_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
PLACE = ["crs", "west", "south", "east", "north"]
BUFFER = 1 / 16  # of an image's width, between tiles of different splits
# in place of a split: too near to ground of another, shown by another row, without its partner
LEFT_OUT = ("guard", "copy", "unpaired")


def read_ground(folder, *, role="image", **cuts):
    """Read a folder of images, or a single one, split by ground.

    With a `manifest.csv` (columns `path`, `role`, `pair`, `split`, `west` … `crs`, `credit`), the
    rows of `role` are read and their split is kept (`split_manifest` writes one). Without, all
    images are read. What has no split is split by `split_scenes`.

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files with equal bands; or one file.
        role: which rows of the manifest to read.
        **cuts: `block_px`, `buffer_px` and `seed`, as of `split_ground`.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: no folder, no image in it, images of several kinds, too little ground, or a
            manifest that cannot be read, or whose split is incomplete or shows ground twice.
    """
    folder = Path(folder)
    rows = [by_role[role] for by_role in pair_rows(folder, [role]).values()]
    if not rows:
        raise ValueError(
            f"{folder} holds no image; expected GeoTIFF, JPEG 2000, PNG or JPEG, or a manifest.csv "
            f"with the role {role}"
        )
    scenes = [read_row(folder, row) for row in rows]
    _refuse_mixture(folder, scenes)
    if role != "map":  # is drawn: one colour along its edges is no gap
        look_at_values(folder, scenes)
    given = [row.get("split", "") for row in rows]
    return split_scenes(scenes, given, **cuts)


def images(folder):
    """Return the image files of a folder, sorted; a file stands for itself."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    return [
        path
        for path in sorted(folder.glob("[!.]*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
    ]


def some(names):
    """Return the first of many names."""
    return shorten(", ".join(names), 100, placeholder=" …")


def _refuse_mixture(folder, scenes):
    """Raise a ValueError that lists the kinds, where a folder is no single data set."""
    usual = scenes[0].pixel_size
    kinds = {}
    for scene in scenes:
        size = scene.pixel_size
        width, height = np.where(np.isclose(size, usual, rtol=0.01), usual, size)
        place = scene.crs.units_factor[0] if scene.crs else "no CRS"
        dtype = scene.dtype
        brightest = np.nanmax(scene.pixels, initial=0)
        if dtype.startswith("float") and 0 < brightest <= REFLECTANCE:
            dtype += " reflectance"
        bands = " ".join(scene.bands)
        kind = f"bands {bands}, {dtype}, pixels {width:.4g} x {height:.4g} ({place})"
        kinds.setdefault(kind, []).append(scene.name)
    if len(kinds) > 1:
        told = [f"{len(kinds[kind])} of {kind}: {some(kinds[kind])}" for kind in kinds]
        raise ValueError(
            f"{folder} holds several kinds of images: {'; '.join(told)}. Keep those of one kind, "
            "or put each kind in a folder of its own"
        )


def read_table(path, needed=()):
    """Read a CSV file of texts as people save it: with BOM, blanks after commas, CRLF.

    Raises:
        ValueError: it is no table, or lacks a needed column.
    """
    import pandas

    try:
        # without a header, so that a row with more cells than the first is refused
        cells = pandas.read_csv(
            path,
            header=None,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
        )
    except ValueError as error:
        raise ValueError(f"{path} is no table with commas ({error})") from error
    header, *rows = cells.fillna("").map(str.strip).values.tolist()
    table = pandas.DataFrame(rows, columns=map(str.lower, header))
    if missing := set(needed) - set(table):
        raise ValueError(f"{path} has no columns {missing}; it has {[*table]}")
    return table


def pair_rows(folder, roles):
    """List the images of a folder: by the column `pair` of its manifest, else by equal names.

    Args:
        folder: Path, with a `manifest.csv`; or with a folder for each role; or, for a single role,
            with images.
        roles: those that make up a pair.

    Returns:
        dict from the name of a pair (the path of an image that has none), sorted, to a dict from
        role to the row of the manifest, or what stands for it; a role may be missing. What the
        manifest's split leaves out is missing, too.

    Raises:
        ValueError: a manifest that cannot be read, or two images of one role in a pair.
    """
    table = folder / "manifest.csv"
    found = {}
    if table.exists():
        rows = read_table(table, ("path", "role")).to_dict("records")
    else:
        rows = [
            {
                "path": path.relative_to(folder).as_posix(),
                "role": role,
                "pair": path.stem,
            }
            for role in roles
            for path in images(folder / role if len(roles) > 1 else folder)
        ]
    for row in rows:
        if row["role"] in roles and row.get("split") not in LEFT_OUT:
            pair = row.get("pair") or row["path"]
            first = found.setdefault(pair, {}).setdefault(row["role"], row)
            if first is not row:
                raise ValueError(
                    f"{folder} holds {first['path']} and {row['path']} for pair {pair}: keep one"
                )
    return dict(sorted(found.items()))


def read_row(folder, row):
    """Read the image of a row, with the place and the credit that the row gives.

    Raises:
        ValueError: it cannot be read, or is a map of classes.
    """
    return placed(read(Path(folder) / row["path"], classes=False), row)


def placed(scene, row):
    """Return a scene with the credit of a row; and with its place, if it has none itself."""
    scene = replace(scene, credit=row.get("credit") or scene.credit)
    crs, *edges = place = [row.get(name) for name in PLACE]
    is_point = row.get("west") == row.get("east")  # as a photo is
    if scene.transform or is_point or not all(place):
        return scene
    try:
        transform = from_bounds(*map(float, edges), scene.width, scene.height)
        if not np.isfinite(transform).all():
            raise ValueError(edges)
        return replace(scene, transform=transform, crs=CRS.from_user_input(crs))
    except ValueError as error:
        raise ValueError(
            f"the manifest gives {row['path']} no place that can be read ({error}); expected "
            "numbers and a crs such as EPSG:4326"
        ) from error


def split_manifest(folder, *, seed=0):
    """Split a data set folder by ground, and write the split into its manifest.

    Rows that share a `pair` stay together; `split_boxes` says what goes where, and what gets the
    split "guard". An image with role and place of an earlier row, as where scenes overlap, gets
    "copy": ground that counts twice feigns certainty. One without its partner gets "unpaired".
    `read_ground` leaves out all three.

    Args:
        folder: with a `manifest.csv` whose rows say where they lie (`west` … `crs`).
        seed: of the split.

    Returns:
        dict from "train", "validation", "test", "guard", "copy", "unpaired" to the number of rows.

    Raises:
        ValueError: an image without a place, or too little ground for three splits.
    """
    path = Path(folder) / "manifest.csv"
    table = read_table(path, ("path", "role", "pair", *PLACE))
    pair = table.pair.where(table.pair != "", table.path)
    roles = table.role.groupby(pair).transform("nunique")
    whole = table[roles == roles.max()]
    kept = whole.drop_duplicates(["role", *PLACE])
    tiles = {}
    for at, row in kept.to_dict("index").items():
        tile = placed(Scene(np.zeros((1, 1, 1)), ("",)), row)  # of a single pixel
        if tile.transform:  # a photo, which has none, lies where its partner does
            tiles[pair[at]] = tile
    if lacking := set(pair[kept.index]) - set(tiles):
        raise ValueError(
            f"{path} does not say where {min(lacking)} lies: it cannot be split"
        )
    splits = split_tiles(list(tiles.values()), BUFFER, seed)
    table["split"] = "unpaired"
    table.loc[whole.index, "split"] = "copy"
    table.loc[kept.index, "split"] = pair.map(dict(zip(tiles, splits, strict=True)))
    write_text(path, table.to_csv(index=False, lineterminator="\n"))
    return table.split.value_counts().to_dict()
