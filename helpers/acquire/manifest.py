"""Keep the manifest of a data set folder: one line for each file says where it is from."""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_bounds

from helpers import paths
from helpers.scenes import Scene
from helpers.scenes.files import images, read
from helpers.scenes.splits import split_tiles

NAME = "manifest.csv"
MISSING = "missing.csv"  # files that a provider does not have, or that were not wanted
BOUNDS = ["west", "south", "east", "north"]
COLUMNS = [
    "path", "pair", "role", "source", "scene", "tile", "time", *BOUNDS, "crs", "split", "credit",
    "licence", "url", "sha256",
]  # fmt: skip
PLACE = ["crs", *BOUNDS]
BUFFER = 1 / 16  # of an image's width, between tiles of different splits
# in place of a split: too near to ground of another, shown by another row, without its partner
LEFT_OUT = ("guard", "copy", "unpaired")
MISSING_COLUMNS = ["path", "url", "reason"]


class Table:
    """A CSV file that grows line by line, so that a kill loses nothing.

    The last line of a path counts.

    Args:
        path: Path of the file; it is made by the first row.
        columns: the first is `path`.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path, columns):
        self.path = path
        self.columns = columns
        self.rows = {}
        if path.exists() and path.stat().st_size:
            head, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
            if head != columns:
                raise ValueError(
                    f"{path} has the columns {head}, expected {columns}: move it away"
                )
            # a kill may have cut the last line off
            self.rows = {row[0]: row for row in rows if len(row) == len(columns)}
            self.tidy()

    def row(self, key):
        """Return the row of a path as dict of texts; {} where there is none."""
        return dict(zip(self.columns, self.rows.get(key, ()), strict=False))

    def add(self, row):
        """Append a row, a dict of values; columns that it does not give stay as they were."""
        if unknown := row.keys() - {*self.columns}:
            raise TypeError(f"{self.path} has no columns {unknown}")
        key = row["path"]
        row = self.row(key) | row
        texts = [_text(row.get(column)) for column in self.columns]
        if not self.rows:
            self.tidy()  # begins the file
        if texts != self.rows.get(key):
            self.rows[key] = texts
            self._write(self.path, "a", [texts])

    def tidy(self):
        """Rewrite the file, sorted, each path once."""
        with paths.atomic(self.path) as part:
            self._write(part, "w", [self.columns, *sorted(self.rows.values())])

    def _write(self, path, mode, rows):
        with open(path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _text(value):
    """Return one line of text, kept once for all rows; "" for None and NaN."""
    return sys.intern(
        "" if value is None or value != value else " ".join(str(value).split())
    )


def read_table(path, needed=()):
    """Read a CSV file of texts as people save it: with BOM, blanks after commas, CRLF.

    Raises:
        FileNotFoundError: there is none.
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
        )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no {path}: give a folder that `download.fetch` has filled, or list the "
            "files yourself with `download.write_manifest`"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is no table with commas ({error})") from error
    header, *rows = cells.fillna("").map(str.strip).values.tolist()
    table = pandas.DataFrame(rows, columns=map(str.lower, header))
    if missing := set(needed) - set(table):
        raise ValueError(f"{path} has no columns {missing}; it has {[*table]}")
    return table


def read_manifest(folder):
    """Return the folder's manifest as a DataFrame: numbers for the bounds, else str."""
    table = read_table(Path(folder) / NAME)
    table[BOUNDS] = table[BOUNDS].replace("", "nan").astype(float)
    return table


def write_manifest(folder, rows):
    """Put rows into the folder's manifest.

    Args:
        folder: of the data set.
        rows: dicts of columns of the manifest; those not given stay as they were, or empty.

    Raises:
        TypeError: a row has columns that a manifest has not.
    """
    table = Table(Path(folder) / NAME, COLUMNS)
    for row in rows:
        table.add(row)
    table.tidy()


def pair_rows(folder, roles):
    """List the images of a folder: by the column `pair` of its manifest, else by equal names.

    Args:
        folder: Path, with a manifest; or with a folder for each role; or, for a single role, with
            images, or of an image itself.
        roles: those that make up a pair.

    Returns:
        dict from the name of a pair (the path of an image that has none), sorted, to a dict from
        role to the row of the manifest, or what stands for it; a role may be missing. What the
        manifest's split leaves out is missing, too.

    Raises:
        ValueError: a manifest that cannot be read, or two images of one role in a pair.
    """
    if (folder / NAME).exists():
        rows = read_table(folder / NAME, ("path", "role")).to_dict("records")
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
    found = {}
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
    # the place of a photo is a point
    if scene.transform or not all(place) or edges[0] == edges[2]:
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
    `pair_rows` leaves out all three.

    Args:
        folder: with a `manifest.csv` whose rows say where they lie (`west` … `crs`).
        seed: of the split.

    Returns:
        dict from "train", "validation", "test", "guard", "copy", "unpaired" to the number of rows.

    Raises:
        FileNotFoundError: there is no manifest.
        ValueError: an image without a place, or too little ground for three splits.
    """
    path = Path(folder) / NAME
    table = read_table(path, ("path", "role", "pair", *PLACE))
    pair = table.pair.where(table.pair != "", table.path)
    roles = table.role.groupby(pair).transform("nunique")
    table["split"] = np.where(roles == roles.max(), "copy", "unpaired")
    kept = (
        table[table.split == "copy"].assign(pair=pair).drop_duplicates(["role", *PLACE])
    )
    tiles = {}
    for row in kept.to_dict("records"):
        tile = placed(Scene(np.zeros((1, 1, 1)), ("",)), row)  # of a single pixel
        if tile.transform:  # a photo, which has none, lies where its partner does
            tiles[row["pair"]] = tile
    if lacking := set(kept.pair) - set(tiles):
        raise ValueError(
            f"{path} does not say where {min(lacking)} lies: it cannot be split"
        )
    splits = split_tiles(list(tiles.values()), BUFFER, seed)
    table.loc[kept.index, "split"] = kept.pair.map(
        dict(zip(tiles, splits, strict=True))
    )
    paths.write_text(path, table.to_csv(index=False, lineterminator="\n"))
    return table.split.value_counts().to_dict()
