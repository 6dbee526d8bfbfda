"""Read a folder of photos, each with the satellite patch around the place where it was taken."""

import math
import warnings
from collections import namedtuple
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from PIL import Image, ImageOps
from rasterio.warp import transform

from helpers import scenes
from helpers.acquire import photos, pictures
from helpers.relief.textures import bilinear
from helpers.scenes import folders, splits

PATCH_M = 6000  # width of the ground that a patch shows
DEGREE_M, MAX_PIXELS = 111_195, 100_000_000  # of a photo

Views = namedtuple("Views", "patches views table")


def read_views(folder, *, image_size=64, imagery=None, least=16, seed=0):
    """Read pairs from a folder of photos, each with the satellite patch around its place.

    The patches are those of the folder's `manifest.csv`, as notebook 01 writes it (roles
    `satellite` and `photo`, joined by `pair`), or are cut from `imagery`. The heading that EXIF
    tells is up in them, else north. They show 6 km; or, which a warning says, only what a
    narrower patch holds however it is turned. Of a photo the central square is taken. A
    split of the manifest is kept. Else patches of different splits are 6 km apart, what lies
    between is left out, and a warning says where the photos lie too close for that.

    Args:
        folder: of JPEG, PNG, TIFF or WebP files.
        image_size: side of patches and photos, pixels.
        imagery: GeoTIFF around the photos, whose first bands are red, green, blue; if not of 8
            bits it is stretched from the 0.5th to the 99.5th percentile of the training patches.
        least: photos that are needed, such as fill a batch.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test" to Views; and the table of all photos, that of
        `photos.read_folder` with the columns split, and reason why a photo is left out, or "".

    Raises:
        ValueError: no photo in the folder, imagery without place or three bands, a manifest whose
            split lacks a part, or too few usable photos (says how many fail for which reason).
    """
    folder, whole = Path(folder), imagery and scenes.read(imagery)
    if whole and (whole.crs is None or len(whole.bands) < 3):
        told = f"{imagery} has no place or fewer than 3 bands"
        raise ValueError(f"{told}; expected a georeferenced image in colour")
    rows, kept = photos.read_folder(folder).to_dict("records"), []
    satellite = {} if whole else _satellite_rows(folder)
    room = math.sqrt(2) if any(row["heading_deg"] >= 0 for row in rows) else 1
    for row in rows:
        listed = satellite.get(row["path"])
        row["split"] = listed["split"] if listed else ""
        try:
            _check(row, image_size, whole or listed, needs_position=whole)
            scene = whole or _patch_scene(folder, listed, row)
            place = row["lon"], row["lat"], row["heading_deg"]
            patch = cut(scene, *place, size_px=image_size, room=room)[..., :3]
            kept.append((row, patch, _photo(folder / row["path"], image_size)))
        except (OSError, ValueError) as error:
            row["reason"] = str(error)
    if len(kept) < max(least, len(scenes.SPLITS)):
        _refuse(folder, rows, least)
    _set_splits([row for row, *_ in kept], seed)
    parts, low, high = {}, 0, 255
    for split in scenes.SPLITS:
        own = [one for one in kept if one[0]["split"] == split]
        own_rows, patches, views = zip(*own, strict=True)
        if split == "train" and whole and whole.dtype != "uint8":
            low, high = np.percentile(patches, (0.5, 99.5), axis=(0, 1, 2))
        unit = (np.stack(patches) - low) / np.maximum(high - low, 1e-9)
        parts[split] = Views(
            as_bytes(255 * unit), np.stack(views), pandas.DataFrame(own_rows)
        )
    return parts, pandas.DataFrame(rows)


def _refuse(folder, rows, least):
    """Raise a ValueError that says why there are too few photos."""
    reasons = [row["reason"].split(":")[0] for row in rows if row["reason"]]
    often = [
        f"{name} ({count})"
        for name, count in pandas.Series(reasons).value_counts().items()
    ]
    raise ValueError(
        f"{folder} holds {len(rows) - len(reasons)} usable photos of {len(rows)}; {least} are "
        f"needed. Left out: {', '.join(often) or 'none'}. Add photos that say where they were "
        "taken, with imagery of there, or ask for fewer: `least`"
    )


def _satellite_rows(folder):
    """Return the manifest's row of each photo's patch, by the photo's path."""
    if not (folder / "manifest.csv").exists():
        return {}
    table = folders.read_table(folder / "manifest.csv")
    listed = [row for row in table.to_dict("records") if row["pair"]]
    patches = {row["pair"]: row for row in listed if row["role"] == "satellite"}
    return {
        row["path"]: patches.get(row["pair"])
        for row in listed
        if row["role"] == "photo"
    }


def _check(row, image_size, imagery, needs_position):
    """Raise a ValueError that says why a photo is not even decoded."""
    width, height, split = row["width"], row["height"], row["split"]
    size = f"{width:.0f} x {height:.0f} pixels"
    rules = {
        row["reason"]: row["reason"],
        "no position": needs_position and math.isnan(row["lon"]),
        "no satellite patch": not imagery,
        f"huge: {size}, more than {MAX_PIXELS:,}": width * height > MAX_PIXELS,
        f"too small: {size}, {image_size} needed": min(width, height) < image_size,
        f"left out by the manifest: {split}": split in folders.LEFT_OUT,
    }
    for reason, broken in rules.items():
        if broken:
            raise ValueError(reason)


def _patch_scene(folder, listed, row):
    """Return the Scene of a photo's patch, with its place on the ground if that is known."""
    scene = folders.read_row(folder, listed)
    if len(scene.bands) < 3:
        raise ValueError(f"patch without colours: {listed['path']}")
    # without both places, the photo is taken to be from the middle
    known = scene.crs and not math.isnan(row["lon"])
    return scene if known else replace(scene, transform=None)


def _photo(path, image_size):
    """Return the central square of a photo, uint8 (image_size, image_size, 3)."""
    with pictures.opened(path) as picture:
        picture.draft(
            "RGB", (2 * image_size, 2 * image_size)
        )  # a JPEG is decoded in part only
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        square = ImageOps.fit(
            upright, (image_size, image_size), Image.Resampling.LANCZOS
        )
        return np.asarray(square)


def cut(scene, lon, lat, heading_deg=0, *, size_px, room=1):
    """Cut a square patch of a scene around a position, turned; it shows 6 km.

    Where the scene is narrower, it shows what that holds, with a warning.

    Args:
        scene: Scene with its place on the ground; without one it counts as a square of 6 km around
            the position.
        lon, lat: of the middle, degrees.
        heading_deg: compass direction that is up in the patch; NaN: north.
        size_px: side of the patch, pixels; where the scene has more, their mean is taken.
        room: times the patch's width that a narrower scene must have; the square root of 2 where
            patches of many headings shall show the same width.

    Returns:
        float32 (size_px, size_px, bands), in the unit of the scene.

    Raises:
        ValueError: the patch reaches beyond the scene, or holds pixels without data.
    """
    middle, east, north = _axes(scene, lon, lat)
    pixels_a_metre = np.hypot(*east)
    width_m = min(PATCH_M, scene.width / pixels_a_metre / room)
    if width_m < 0.99 * PATCH_M:
        told = f"patches show {width_m / 1000:.1f} km of ground instead of {PATCH_M / 1000:g}"
        warnings.warn(f"{told}: the imagery, turned, holds no more", stacklevel=3)
    fine = max(1, round(width_m / size_px * pixels_a_metre))
    aside = ((np.arange(size_px * fine) + 0.5) / (size_px * fine) - 0.5) * width_m
    angle = math.radians(np.nan_to_num(heading_deg))
    cos, sin = math.cos(angle), math.sin(angle)
    right, down = cos * east - sin * north, -sin * east - cos * north
    place = middle + aside[:, None, None] * right + aside[:, None] * down
    if place.min() < 0 or (place > [scene.width, scene.height]).any():
        raise ValueError("outside the imagery")
    planes = bilinear(np.moveaxis(scene.pixels, -1, 0), np.moveaxis(place, -1, 0) - 0.5)
    patch = planes.T.reshape(size_px, fine, size_px, fine, -1).mean((1, 3), dtype="f")
    if np.isnan(patch).any():
        raise ValueError("imagery without data")
    return patch


def as_bytes(image):
    """Return an image as files have it, uint8, 0 to 255."""
    return np.rint(np.clip(image, 0, 255)).astype("uint8")


def _axes(scene, lon, lat):
    """Return (column, row) of a place, and of a metre to the east and one to the north there.

    A patch is so small that both are the same all over it.
    """
    if scene.transform is None:
        middle = np.array([scene.width, scene.height]) / 2
        return middle, *(np.diag([1, -1]) * (scene.width / PATCH_M))
    step = 1000 / DEGREE_M
    lons, lats = (
        [lon, lon + step / math.cos(math.radians(lat)), lon],
        [lat, lat, lat + step],
    )
    places = ~scene.transform @ np.array(transform("EPSG:4326", scene.crs, lons, lats))
    middle, east, north = np.transpose(places)
    return middle, (east - middle) / 1000, (north - middle) / 1000


def positions_m(table):
    """Return where spots lie, float (spots, 2), metres; those without a position are far apart."""
    lon, lat = np.radians(table[["lon", "lat"]].to_numpy()).T
    places = 6_371_000 * np.stack([lon * np.cos(lat), lat], axis=1)
    return np.where(
        np.isnan(places), 1e9 * (1 + np.arange(len(places)))[:, None], places
    )


def _set_splits(rows, seed):
    """Give each row its split, or the reason why it has none."""
    given = {row["split"] for row in rows}
    if given == set(scenes.SPLITS):
        return
    if given != {""}:
        wanted = f"{', '.join(scenes.SPLITS)}, or none"
        raise ValueError(
            f"the photos have the splits {sorted(given)}; expected {wanted}"
        )
    table = pandas.DataFrame(rows)
    places, reach = (
        positions_m(table),
        PATCH_M / math.sqrt(2),
    )  # however a patch is turned
    names = splits.deal(places[:, np.ptp(places, axis=0).argmax()].argsort())
    told = "show the same ground in part: the photos lie too close"
    with suppress(ValueError):  # no ground is left for a split
        boxes = np.concatenate([places - reach, places + reach], axis=1)
        apart = splits.split_boxes(boxes, PATCH_M, seed)
        if (apart == "guard").mean() <= 0.5:
            names, told = apart, ""
    if table.lon.isna().any():
        told = "may show the same ground: not all photos have a position"
    if told:
        warnings.warn(
            f"patches of different splits {told}; the scores may flatter", stacklevel=3
        )
    for row, split in zip(rows, names, strict=True):
        row["split"] = split
        row["reason"] = "too near to another split" if split == "guard" else ""
