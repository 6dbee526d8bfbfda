"""Keep the manifest of a data set folder: one line for each file says where it is from."""

import csv
import sys
from pathlib import Path

from helpers import paths

NAME = "manifest.csv"
MISSING = "missing.csv"  # files that a provider does not have, or that were not wanted
BOUNDS = ["west", "south", "east", "north"]
COLUMNS = [
    "path", "pair", "role", "source", "scene", "tile", "time", *BOUNDS, "crs", "split", "credit",
    "licence", "url", "sha256",
]  # fmt: skip
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
            self._write(
                part,
                "w",
                [self.columns, *(self.rows[key] for key in sorted(self.rows))],
            )

    def _write(self, path, mode, rows):
        with open(path, mode, newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def _text(value):
    """Return one line of text, kept once for all rows; "" for None and NaN."""
    return sys.intern(
        "" if value is None or value != value else " ".join(str(value).split())
    )


def read_manifest(folder):
    """Return the folder's manifest as a DataFrame: numbers for the bounds, else str."""
    from helpers.scenes import folders

    path = Path(folder) / NAME
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: nothing was acquired into this folder yet"
        )
    table = folders.read_table(path)
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
