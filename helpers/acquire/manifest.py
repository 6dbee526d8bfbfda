"""The manifest of a data set folder: `manifest.csv`, one row for each file, that says where it is from."""

import csv
import heapq
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from helpers import paths

NAME = "manifest.csv"
BOUNDS = ["west", "south", "east", "north"]
COLUMNS = [
    "path", "pair", "role", "source", "scene", "tile", "time", *BOUNDS, "crs", "split", "credit", "licence", "url",
    "sha256",
]  # fmt: skip


def read_manifest(folder):
    """The folder's manifest as a DataFrame: numbers for the bounds, else str."""
    import pandas as pd

    path = Path(folder) / NAME
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: nothing was acquired into this folder yet")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table[BOUNDS] = table[BOUNDS].apply(pd.to_numeric, errors="coerce")
    return table


def write_manifest(folder, rows):
    """Put rows into the folder's manifest, in place of those with the same path; a split that stands there stays.

    Args:
        folder: of the data set.
        rows: dicts of columns of the manifest; those not given are left empty.

    Raises:
        ValueError: a row has columns that a manifest has not.
    """
    merge(folder, sorted(map(whole_row, rows), key=itemgetter("path")))


def whole_row(row):
    """A row with all columns, as text."""
    if unknown := set(row) - set(COLUMNS):
        raise ValueError(f"the manifest has no columns {sorted(unknown)}; it has {', '.join(COLUMNS)}")
    values = [row.get(column) for column in COLUMNS]
    texts = ["" if value is None or value != value else str(value) for value in values]  # NaN differs from itself
    return dict(zip(COLUMNS, texts, strict=True))


def merge(folder, new):
    """Like `write_manifest`, with whole rows that come sorted by path: they pass through one by one."""
    path, by_path = Path(folder) / NAME, itemgetter("path")
    old = _rows(path)
    if any(one["path"] > other["path"] for one, other in pairwise(_rows(path))):
        old = sorted(old, key=by_path)
    with paths.atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for _, rows in groupby(heapq.merge(old, new, key=by_path), key=by_path):
            first, *others = rows
            last = others[-1] if others else first
            writer.writerow(last | {"split": last["split"] or first["split"]})


def _rows(path):
    if path.exists():
        with open(path, newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            if set(reader.fieldnames or ()) != set(COLUMNS):
                raise ValueError(f"{path} has the columns {reader.fieldnames}, expected {COLUMNS}: move it elsewhere")
            yield from reader
