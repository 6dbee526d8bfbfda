"""Keep the manifest of a data set folder: one line for each file says where it is from."""

import csv
import io
from pathlib import Path

from helpers import paths

NAME = "manifest.csv"
BOUNDS = ["west", "south", "east", "north"]
COLUMNS = ["path", "pair", "role", "source", "scene", "tile", "time", *BOUNDS]
COLUMNS += ["crs", "split", "credit", "licence", "url", "sha256"]
MISSING = "missing.csv"  # files that a provider does not have, or that were not wanted
MISSING_COLUMNS = ["path", "url", "rule", "reason"]


class Table:
    """A CSV file that grows line by line, so that a kill loses nothing.

    The last line of a path counts.

    Args:
        path: Path of the file; it is made by the first row.
        columns: the first is the key.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path, columns):
        self.path, self.columns, self.lines = path, columns, {}
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8")
        head, *rows = csv.reader(io.StringIO(text, newline=""))
        if head != columns:
            told = f"has the columns {head}, expected {columns}: move it elsewhere"
            raise ValueError(f"{path} {told}")
        self.lines = {row[0]: _line(row) for row in rows if len(row) == len(columns)}
        if not text.endswith("\n"):  # a kill cut the last line off
            self.tidy()

    def row(self, key):
        """Return the row of a path as dict of texts; {} where there is none."""
        values = next(csv.reader([self.lines.get(key, "")]), ())
        return dict(zip(self.columns, values, strict=False))

    def add(self, row):
        """Append a row, a dict of values; columns that it does not give stay as they were."""
        row = self.row(row[self.columns[0]]) | row
        line = _line(_text(row.get(column)) for column in self.columns)
        key = row[self.columns[0]]
        if line == self.lines.get(key):
            return
        new = not self.path.exists()
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(_line(self.columns) * new + line)
        self.lines[key] = line

    def tidy(self):
        """Write the file anew, sorted, each path once."""
        lines = [self.lines[key] for key in sorted(self.lines)]
        paths.write_text(self.path, "".join([_line(self.columns), *lines]))


def _line(values):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _text(value):
    """One line of text; "" for None and NaN, which differs from itself."""
    return "" if value is None or value != value else " ".join(str(value).split())


def read_manifest(folder):
    """Return the folder's manifest as a DataFrame: numbers for the bounds, else str."""
    import pandas as pd

    path = Path(folder) / NAME
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: nothing was acquired into this folder yet")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table[BOUNDS] = table[BOUNDS].apply(pd.to_numeric, errors="coerce")
    return table


def write_manifest(folder, rows):
    """Put rows into the folder's manifest.

    Args:
        folder: of the data set.
        rows: dicts of columns of the manifest; those not given stay as they were, or empty.

    Raises:
        ValueError: a row has columns that a manifest has not.
    """
    table = Table(Path(folder) / NAME, COLUMNS)
    for row in [check_row(row) for row in rows]:
        table.add(row)
    table.tidy()


def check_row(row):
    """Return the row; a ValueError names columns that no manifest has."""
    if unknown := set(row) - set(COLUMNS):
        known = ", ".join(COLUMNS)
        raise ValueError(f"the manifest has no columns {sorted(unknown)}; it has {known}")
    return row
