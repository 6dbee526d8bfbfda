"""Ground photos: read where and when they were taken, from EXIF and from a manifest.

Notebook `deeper/01b` judges them, and pairs each with the satellite patch around it.
"""

import math
from pathlib import Path

from helpers.acquire import download, pictures

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic", ".heif"}
TEXTS = ("time", "source", "scene", "credit", "licence", "url", "reason")
UNKNOWN = dict.fromkeys(("lon", "lat", "heading_deg", "width", "height"), math.nan)
UNKNOWN |= dict.fromkeys(TEXTS, "")


def read_folder(folder):
    """List the photos in a folder and below it, with what EXIF and `manifest.csv` say.

    Args:
        folder: of JPEG, PNG, TIFF or WebP files; what the manifest lists under another role than
            photo is left out.

    Returns:
        DataFrame sorted by path: path; lon, lat in degrees, NaN where unknown (also at 0, 0, which
        cameras without a fix write); heading_deg, clockwise from north; time, ISO 8601, by the
        camera's clock; width, height in pixels, upright; source, scene, credit, licence, url;
        reason why a file cannot be read, or "".

    Raises:
        ValueError: no such folder, or no photo in it.
    """
    import pandas

    folder = Path(folder)
    rows = []
    listed = {}
    if (folder / "manifest.csv").exists():
        for row in download.read_manifest(folder).to_dict("records"):
            listed[row["path"]] = row
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() not in SUFFIXES or "/." in f"/{name}":
            continue
        row = listed.get(name, {"path": name, "role": "photo"})
        if row["role"] == "photo":
            rows.append(_row(path, UNKNOWN | row))
    if not rows:
        raise ValueError(f"{folder} holds no photo: no JPEG, PNG, TIFF or WebP file")
    return pandas.DataFrame(rows)[["path", *UNKNOWN]]


def _row(path, row):
    """Complete a row of the manifest by what the file itself says."""
    try:
        with pictures.opened(path) as picture:
            row |= pictures.tags(picture)
    except OSError as error:
        row["reason"] = str(error)
    if math.isnan(row["lon"]) and row.get("west") == row.get("east", ""):
        row |= {"lon": row["west"], "lat": row["south"]}
    return row
