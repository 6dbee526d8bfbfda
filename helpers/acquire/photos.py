"""Ground photos: where they were taken, and the satellite patch of each.

`read_folder` → say in the column reason what speaks against a photo, as notebook `deeper/01b` does
→ `pair_with_patches`. No photo is uploaded. Only positions leave the computer, where a provider is
asked for the patches around them.
"""

import math
from dataclasses import replace
from pathlib import Path

from helpers import paths
from helpers.acquire import download, manifest, pictures

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic", ".heif"}
FROM_MANIFEST = ("source", "scene", "credit", "licence", "url")
PHOTO = {"role": "photo"}
UNKNOWN = dict.fromkeys(("lon", "lat", "heading_deg", "width", "height"), math.nan)
UNKNOWN |= {"time": "", "reason": ""}


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
    listed = _manifest(folder)
    rows = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        known = listed.get(name, PHOTO)
        if path.suffix.lower() in SUFFIXES and "/." not in f"/{name}" and known["role"] == "photo":
            rows.append(_row(folder, name, known))
    if not rows:
        raise ValueError(f"{folder} holds no photo; expected {', '.join(sorted(SUFFIXES))}")
    return pandas.DataFrame(rows)


def pair_with_patches(table, provider, folder, *, width_m=6000, size_px=128):
    """Give each photo that is kept the satellite patch around its position.

    The manifest gets two rows for each, with the roles photo and satellite and an equal `pair`;
    where there is no patch, the photo stays alone. Run again, it fetches what is missing, and takes
    apart what is rejected by now.

    Args:
        table: from `read_folder`; photos with a reason are left out.
        provider: from `providers.connect`, one that has imagery at any place.
        folder: data set folder, in which the photos lie.
        width_m: ground that a patch shows, metres.
        size_px: side of a patch, pixels.

    Returns:
        Summary, whose `skipped` also names, by reason, the photos that were not paired.

    Raises:
        ValueError: no photo is kept, or the provider has no imagery.
        PermissionError: the provider's key was refused or has expired; what is done stays.
    """
    folder, patches, failed = Path(folder), [], {}
    kept = table[table.reason == ""].to_dict("records")
    if not kept:
        raise ValueError(f"none of the {len(table)} photos is kept: see the column reason")
    if not hasattr(provider, "patch"):
        raise ValueError("this provider has no imagery to cut patches from; connect eox or gsi")
    for row in kept:
        path = row["path"]
        try:
            patch = provider.patch(row["lon"], row["lat"], width_m=width_m, size_px=size_px)
        except ValueError as error:
            failed[path] = str(error)
            continue
        own = {"name": f"satellite/{download.safe_name(path)}.png"}
        patches.append(replace(patch, **own, row=patch.row | {"pair": path, "role": "satellite"}))
    paired = [row for row in _manifest(folder).values() if row["pair"] in {*table.path}]
    apart = [{"path": row["path"], "pair": ""} for row in paired]
    download.write_manifest(folder, apart + [_photo_row(folder, row) for row in kept])
    summary = download.fetch(patches, folder, provider.client, total=len(patches))
    for path, reason in failed.items():
        summary.skip(path, reason)
    return summary


def _photo_row(folder, row):
    """Return the columns of the manifest of a photo that is kept."""
    known = {column: row[column] for column in (*FROM_MANIFEST, "path", "time")}
    place = dict(zip(manifest.BOUNDS, (row["lon"], row["lat"]) * 2, strict=True))
    digest = paths.sha256(folder / row["path"])
    own = {"pair": row["path"], "role": "photo", "crs": "EPSG:4326", "sha256": digest}
    return known | place | own


def _manifest(folder):
    """Return the manifest as dict from path to row; empty where there is none."""
    if not (folder / "manifest.csv").exists():
        return {}
    return {row["path"]: row for row in download.read_manifest(folder).to_dict("records")}


def _row(folder, path, listed):
    """Return a row of the table: what the file says, completed by its row in the manifest."""
    row = {"path": path, **UNKNOWN} | {name: listed.get(name, "") for name in FROM_MANIFEST}
    try:
        with pictures.opened(folder / path) as picture:
            row |= pictures.tags(picture)
    except OSError as error:
        row["reason"] = pictures.unreadable(error)
    if math.isnan(row["lon"]) and listed.get("west") == listed.get("east", ""):
        row |= {"lon": listed["west"], "lat": listed["south"]}
    return row | {"time": row["time"] or listed.get("time", "")}
