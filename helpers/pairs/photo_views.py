"""Photos of a folder, each with the satellite patch around the place where it was taken."""

import math
import warnings
from collections import Counter, namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from PIL import Image, ImageOps
from rasterio.warp import transform
from scipy.ndimage import map_coordinates

from helpers import scenes
from helpers.acquire import manifest, photos, pictures
from helpers.scenes import folders, splits

PATCH_M = 6000  # width of the ground that a patch shows
DEGREE_M, MAX_PIXELS = 111_195, 100_000_000  # of a photo

Views = namedtuple("Views", "patches views table")


def read_views(folder, *, image_size=64, imagery=None, least=16, seed=0):
    """Pairs from a folder of photos, each with the satellite patch around the place where it was taken.

    The patches are those of the folder's `manifest.csv`, as notebook 01 writes it (roles `satellite` and `photo`,
    joined by `pair`), or are cut from `imagery`. The heading that EXIF tells is up in them, else north. They show 6 km;
    or, which a warning says, only what the folder's narrowest patch holds however it is turned. Of a photo the middle
    is taken, a square. The manifest's split is kept. Else patches of different splits are 6 km apart, what lies between
    is left out, and a warning says where the photos lie too close for that.

    Args:
        folder: of JPEG, PNG, TIFF or WebP files.
        image_size: side of patches and photos, pixels.
        imagery: GeoTIFF around the photos, whose first bands are red, green, blue; if not of 8 bits it is stretched
            from the 0.5th to the 99.5th percentile of the training patches.
        least: photos that are needed, such as fill a batch.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test" to Views; and the table of all photos: `photos.read_folder`'s, with the
        columns split, and reason why a photo is left out, or "".

    Raises:
        ValueError: no photo in the folder, imagery without place or three bands, a manifest whose split lacks a part,
            or fewer than `least` usable photos (says how many fail for which reason).
    """
    folder, whole = Path(folder), None if imagery is None else scenes.read(imagery)
    if whole and (whole.transform is None or whole.crs is None or len(whole.bands) < 3):
        raise ValueError(f"{imagery} has no place or fewer than 3 bands; expected a georeferenced image in colour")
    satellite, found, usable = {} if whole else _satellite_rows(folder), [], []
    rows = photos.read_folder(folder).to_dict("records")
    rows = [row for row in rows if not whole or (folder / row["path"]).resolve() != Path(imagery).resolve()]
    for row in rows:
        listed = satellite.get(row["path"])
        row["split"] = listed["split"] if listed else ""
        try:
            _refuse(row, image_size, whole or listed, needs_position=bool(whole))
            found.append((row, whole or _patch_scene(folder, listed, row), _photo(folder / row["path"], image_size)))
        except ValueError as error:
            row["reason"] = str(error)
    width_m = PATCH_M if whole else _width_m(found)
    for row, scene, photo in found:
        try:
            patch = cut(scene, row["lon"], row["lat"], row["heading_deg"], size_px=image_size, width_m=width_m)
            usable.append((row, patch[..., :3], photo))
        except ValueError as error:
            row["reason"] = str(error)
    least = max(least, len(scenes.SPLITS))
    if len(usable) < least:
        reasons = Counter(row["reason"].split(":")[0] for row in rows if row["reason"])
        left_out = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common()) or "none"
        raise ValueError(
            f"{folder} holds {len(usable)} usable photos of {len(rows)}; {least} are needed. Left out: {left_out}. Add "
            "photos that say where they were taken, with imagery of there, or ask for fewer: `least`"
        )
    _set_splits([row for row, *_ in usable], width_m, seed)
    ground, low, high = {split: [one for one in usable if one[0]["split"] == split] for split in scenes.SPLITS}, 0, 255
    if whole and whole.dtype != "uint8":
        low, high = np.percentile([patch for _, patch, _ in ground["train"]], (0.5, 99.5), axis=(0, 1, 2))
    for split, own in ground.items():
        patches = [as_bytes(255 * (patch - low) / np.maximum(high - low, 1e-9)) for _, patch, _ in own]
        ground[split] = Views(
            np.stack(patches), np.stack([photo for *_, photo in own]), pandas.DataFrame([row for row, *_ in own])
        )
    return ground, pandas.DataFrame(rows)


def cut(scene, lon, lat, heading_deg=0, *, size_px, width_m=PATCH_M):
    """The square patch of a scene around a position, turned.

    Args:
        scene: Scene with its place on the ground; without one it is taken for a square of 6 km around the position.
        lon, lat: of the middle, degrees.
        heading_deg: compass direction that is up in the patch; NaN: north.
        size_px: side of the patch, pixels; where the scene has more, their mean is taken.
        width_m: ground that the patch shows.

    Returns:
        float32 (size_px, size_px, bands), in the unit of the scene.

    Raises:
        ValueError: the patch reaches beyond the scene, or holds pixels without data.
    """
    middle, east, north = _axes(scene, lon, lat)
    fine = max(1, round(width_m / size_px * np.hypot(*east)))
    aside = ((np.arange(size_px * fine) + 0.5) / (size_px * fine) - 0.5) * width_m
    angle = math.radians(0 if math.isnan(heading_deg) else heading_deg)
    to_east = aside * math.cos(angle) - aside[:, None] * math.sin(angle)  # rows go down, away from the heading
    to_north = -aside * math.sin(angle) - aside[:, None] * math.cos(angle)
    column, row = (middle[axis] + to_east * east[axis] + to_north * north[axis] for axis in (0, 1))
    if min(column.min(), row.min()) < 0 or column.max() > scene.width or row.max() > scene.height:
        raise ValueError("outside the imagery")
    place = row - 0.5, column - 0.5
    planes = [map_coordinates(plane, place, order=1, mode="nearest") for plane in np.moveaxis(scene.pixels, -1, 0)]
    patch = np.stack(planes, axis=-1).reshape(size_px, fine, size_px, fine, -1).mean((1, 3), dtype="f")
    if np.isnan(patch).any():
        raise ValueError("imagery without data")
    return patch


def as_bytes(image):
    """An image as the files have it, 0 to 255."""
    return np.rint(np.clip(image, 0, 255)).astype("uint8")


def _axes(scene, lon, lat):
    """Column and row of a place, and how many of both a metre to the east and one to the north are: the same all over
    a patch, so small as it is.
    """
    if scene.transform is None:
        return np.array([scene.width, scene.height]) / 2, *(np.diag([1, -1]) * scene.width / PATCH_M)
    lons = [lon, lon + 1000 / DEGREE_M / math.cos(math.radians(lat)), lon]
    x, y = transform("EPSG:4326", scene.crs, lons, [lat, lat, lat + 1000 / DEGREE_M])
    middle, east, north = np.transpose(~scene.transform @ (np.array(x), np.array(y)))
    return middle, (east - middle) / 1000, (north - middle) / 1000


def _satellite_rows(folder):
    """The manifest's row of each photo's patch, by the photo's path."""
    if not (folder / manifest.NAME).exists():
        return {}
    rows = folders.read_table(folder / manifest.NAME).to_dict("records")
    patches = {row["pair"]: row for row in rows if row["role"] == "satellite" and row["pair"]}
    return {row["path"]: patches[row["pair"]] for row in rows if row["role"] == "photo" and row["pair"] in patches}


def _refuse(row, image_size, imagery, needs_position):
    """Raise a ValueError that says why a photo is not even decoded."""
    width, height = row["width"], row["height"]
    rules = {
        row["reason"]: bool(row["reason"]),
        "no position": needs_position and math.isnan(row["lon"]),
        "no satellite patch": not imagery,
        f"huge: {width:.0f} x {height:.0f} pixels, more than {MAX_PIXELS:,}": width * height > MAX_PIXELS,
        f"too small: {width:.0f} x {height:.0f} pixels, {image_size} needed": min(width, height) < image_size,
        f"left out by the manifest: {row['split']}": row["split"] in folders.LEFT_OUT,
    }
    for reason, broken in rules.items():
        if broken:
            raise ValueError(reason)


def _patch_scene(folder, listed, row):
    """The Scene of a photo's patch, with its place on the ground if that is known."""
    scene = scenes.read(folder / listed["path"])
    if len(scene.bands) < 3:
        raise ValueError(f"patch without colours: {listed['path']} has {len(scene.bands)} bands")
    scene = folders.placed(scene, listed)
    # without both places, the photo is taken to be from the middle
    return scene if scene.crs and not math.isnan(row["lon"]) else replace(scene, transform=None)


def _photo(path, image_size):
    """The middle of a photo, uint8 (image_size, image_size, 3)."""
    try:
        with pictures.opened(path) as picture:
            picture.draft("RGB", (2 * image_size, 2 * image_size))  # of a JPEG, only as much is decoded as is needed
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (image_size, image_size), Image.Resampling.LANCZOS))
    except OSError as error:
        raise ValueError(pictures.unreadable(error)) from error


def _width_m(found):
    """The ground that all patches of a folder can show, turned as their photos want them."""
    turned = any(not math.isnan(row["heading_deg"]) for row, *_ in found)
    widths = [scene.width / np.hypot(*_axes(scene, row["lon"], row["lat"])[1]) for row, scene, _ in found]
    width_m = min([PATCH_M, *(width / (math.sqrt(2) if turned else 1) for width in widths)])
    if width_m < 0.99 * PATCH_M:
        warnings.warn(
            f"the patches show {width_m / 1000:.1f} km of ground instead of {PATCH_M / 1000:g}: the narrowest holds no "
            "more" + (", if it is turned. Acquire patches 1.5 times as wide" if turned else ""),
            stacklevel=3,
        )
    return width_m


def _set_splits(rows, width_m, seed):
    """Give each row its split, or the reason why it has none."""
    given = {row["split"] for row in rows}
    if given == set(scenes.SPLITS):
        return
    if given != {""}:
        raise ValueError(f"the photos have the splits {sorted(given)}; expected {', '.join(scenes.SPLITS)}, or none")
    places = np.array([(row["lon"], row["lat"]) for row in rows]) * DEGREE_M
    places[:, 0] *= math.cos(math.radians(places[:, 1].mean() / DEGREE_M))
    reach = width_m / math.sqrt(2)  # however a patch is turned
    boxes, parts = np.concatenate([places - reach, places + reach], axis=1), None
    for guard_m in (PATCH_M, 0) if np.isfinite(places).all() else ():
        try:
            found = splits.split_boxes(boxes, np.full(len(rows), guard_m), seed)
        except ValueError:  # no ground is left for a split
            continue
        if sum(map(len, found)) >= len(rows) / 2:
            parts, how = found, "lie less than 6 km apart, though none shows what another does" * (not guard_m)
            break
    if parts is None and np.isfinite(places).all():
        along = places[:, np.ptp(places, axis=0).argmax()]
        parts, how = splits.deal(along.argsort(kind="stable")), "show the same ground in part: the photos lie too close"
    elif parts is None:
        parts, how = splits.deal(np.arange(len(rows))), "may show the same ground: not all photos have a position"
    if how:
        warnings.warn(f"patches of different splits {how}; the scores may flatter", stacklevel=3)
    for row in rows:
        row["split"] = "guard"
    for split, part in zip(scenes.SPLITS, parts, strict=True):
        for number in part:
            rows[number]["split"] = split
    for row in rows:
        row["reason"] = "too near to another split" if row["split"] == "guard" else ""
