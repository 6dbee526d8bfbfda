"""Read a folder of photos, each with the satellite patch around the place where it was taken."""

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
    """Read pairs from a folder of photos, each with the satellite patch around its place.

    The patches are those of the folder's `manifest.csv`, as notebook 01 writes it (roles
    `satellite` and `photo`, joined by `pair`), or are cut from `imagery`. The heading that EXIF
    tells is up in them, else north. They show 6 km; or, which a warning says, only what the
    folder's narrowest patch holds however it is turned. Of a photo the central square is taken. A
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
    folder, whole = Path(folder), None if imagery is None else scenes.read(imagery)
    if whole and (whole.transform is None or whole.crs is None or len(whole.bands) < 3):
        told = f"{imagery} has no place or fewer than 3 bands"
        raise ValueError(f"{told}; expected a georeferenced image in colour")
    satellite = {} if whole else _satellite_rows(folder)
    rows = photos.read_folder(folder).to_dict("records")
    if whole:
        rows = [row for row in rows if not (folder / row["path"]).samefile(imagery)]

    def opened(row):
        listed = satellite.get(row["path"])
        row["split"] = listed["split"] if listed else ""
        _check(row, image_size, whole or listed, needs_position=bool(whole))
        scene = whole or _patch_scene(folder, listed, row)
        return scene, _photo(folder / row["path"], image_size)

    found = _possible(rows, opened)
    width_m = PATCH_M if whole else _width_m(found)

    def patch_of(one):
        row, (scene, _) = one
        place = row["lon"], row["lat"], row["heading_deg"]
        return cut(scene, *place, size_px=image_size, width_m=width_m)[..., :3]

    usable = [(*one, patch) for one, patch in _possible(found, patch_of)]
    _check_count(folder, rows, len(usable), max(least, len(scenes.SPLITS)))
    _set_splits([row for row, *_ in usable], width_m, seed)
    parts = {split: [one for one in usable if one[0]["split"] == split] for split in scenes.SPLITS}
    low, high = 0, 255
    if whole and whole.dtype != "uint8":
        trained = [patch for *_, patch in parts["train"]]
        low, high = np.percentile(trained, (0.5, 99.5), axis=(0, 1, 2))
    for split, own in parts.items():
        own_rows, sources, patches = zip(*own, strict=True)
        unit = (np.stack(patches) - low) / np.maximum(high - low, 1e-9)
        views = np.stack([photo for _, photo in sources])
        parts[split] = Views(as_bytes(255 * unit), views, pandas.DataFrame(own_rows))
    return parts, pandas.DataFrame(rows)


def _possible(members, make):
    """Return (member, what `make` returns); its ValueError is why a row is left out."""
    found = []
    for member in members:
        try:
            found.append((member, make(member)))
        except ValueError as error:
            row = member if isinstance(member, dict) else member[0]
            row["reason"] = str(error)
    return found


def _check_count(folder, rows, count, least):
    if count < least:
        reasons = Counter(row["reason"].split(":")[0] for row in rows if row["reason"])
        often = [f"{reason} ({count})" for reason, count in reasons.most_common()]
        raise ValueError(
            f"{folder} holds {count} usable photos of {len(rows)}; {least} are needed. Left out: "
            f"{', '.join(often) or 'none'}. Add photos that say where they were taken, with "
            "imagery of there, or ask for fewer: `least`"
        )


def cut(scene, lon, lat, heading_deg=0, *, size_px, width_m=PATCH_M):
    """Cut a square patch of a scene around a position, turned.

    Args:
        scene: Scene with its place on the ground; without one it counts as a square of 6 km around
            the position.
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
    angle, down = math.radians(np.nan_to_num(heading_deg)), aside[:, None]  # away from the heading
    to_east = aside * math.cos(angle) - down * math.sin(angle)
    to_north = -aside * math.sin(angle) - down * math.cos(angle)
    column, row = (middle[axis] + to_east * east[axis] + to_north * north[axis] for axis in (0, 1))
    place = np.stack([row, column])
    if place.min() < 0 or row.max() > scene.height or column.max() > scene.width:
        raise ValueError("outside the imagery")
    bands = np.moveaxis(scene.pixels, -1, 0)
    planes = [map_coordinates(band, place - 0.5, order=1, mode="nearest") for band in bands]
    patch = np.stack(planes, axis=-1).reshape(size_px, fine, size_px, fine, -1)
    patch = patch.mean((1, 3), dtype="f")
    if np.isnan(patch).any():
        raise ValueError("imagery without data")
    return patch


def as_bytes(image):
    """Return an image as files have it, uint8, 0 to 255."""
    return np.rint(np.clip(image, 0, 255)).astype("uint8")


def _axes(scene, lon, lat):
    """Return column and row of a place, and of a metre to the east and one to the north there.

    A patch is so small that both are the same all over it.
    """
    if scene.transform is None:
        pixels_a_metre = scene.width / PATCH_M
        middle = np.array([scene.width, scene.height]) / 2
        return middle, *(np.diag([1, -1]) * pixels_a_metre)
    step = 1000 / DEGREE_M
    lons, lats = [lon, lon + step / math.cos(math.radians(lat)), lon], [lat, lat, lat + step]
    x, y = np.array(transform("EPSG:4326", scene.crs, lons, lats))
    middle, east, north = np.transpose(~scene.transform @ (x, y))
    return middle, (east - middle) / 1000, (north - middle) / 1000


def _satellite_rows(folder):
    """Return the manifest's row of each photo's patch, by the photo's path."""
    if not (folder / manifest.NAME).exists():
        return {}
    rows = folders.read_table(folder / manifest.NAME).to_dict("records")
    of = {role: [row for row in rows if row["role"] == role] for role in ("satellite", "photo")}
    patches = {row["pair"]: row for row in of["satellite"] if row["pair"]}
    return {row["path"]: patches[row["pair"]] for row in of["photo"] if row["pair"] in patches}


def _check(row, image_size, imagery, needs_position):
    """Raise a ValueError that says why a photo is not even decoded."""
    width, height, split = row["width"], row["height"], row["split"]
    size = f"{width:.0f} x {height:.0f} pixels"
    rules = {
        row["reason"]: bool(row["reason"]),
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
    scene = folders.placed(scenes.read(folder / listed["path"]), listed)
    if len(scene.bands) < 3:
        told = f"{listed['path']} has {len(scene.bands)} bands"
        raise ValueError(f"patch without colours: {told}")
    # without both places, the photo is taken to be from the middle
    known = scene.crs and not math.isnan(row["lon"])
    return scene if known else replace(scene, transform=None)


def _photo(path, image_size):
    """Return the central square of a photo, uint8 (image_size, image_size, 3)."""
    size = image_size, image_size
    try:
        with pictures.opened(path) as picture:
            picture.draft("RGB", (2 * image_size, 2 * image_size))  # a JPEG is decoded in part only
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            return np.asarray(ImageOps.fit(upright, size, Image.Resampling.LANCZOS))
    except OSError as error:
        raise ValueError(pictures.unreadable(error)) from error


def _width_m(found):
    """Return the ground that all patches of a folder can show, turned to their headings."""
    turned = any(not math.isnan(row["heading_deg"]) for row, _ in found)
    room = math.sqrt(2) if turned else 1
    axes = [(scene, _axes(scene, row["lon"], row["lat"])) for row, (scene, _) in found]
    widths = [scene.width / np.hypot(*east) / room for scene, (_, east, _) in axes]
    width_m = min([PATCH_M, *widths])
    if width_m < 0.99 * PATCH_M:
        told = f"the patches show {width_m / 1000:.1f} km of ground instead of {PATCH_M / 1000:g}"
        mend = ", if it is turned. Acquire patches 1.5 times as wide" if turned else ""
        warnings.warn(f"{told}: the narrowest holds no more{mend}", stacklevel=3)
    return width_m


def _set_splits(rows, width_m, seed):
    """Give each row its split, or the reason why it has none."""
    given = {row["split"] for row in rows}
    if given == set(scenes.SPLITS):
        return
    if given != {""}:
        wanted = f"{', '.join(scenes.SPLITS)}, or none"
        raise ValueError(f"the photos have the splits {sorted(given)}; expected {wanted}")
    places = np.array([(row["lon"], row["lat"]) for row in rows]) * DEGREE_M
    places[:, 0] *= math.cos(math.radians(places[:, 1].mean() / DEGREE_M))
    names, told = _dealt(places, width_m / math.sqrt(2), seed)  # however a patch is turned
    if told:
        told = f"patches of different splits {told}; the scores may flatter"
        warnings.warn(told, stacklevel=3)
    for row, split in zip(rows, names, strict=True):
        row["split"] = split
        row["reason"] = "too near to another split" if split == "guard" else ""


def _dealt(places, reach, seed):
    """Return the split of each row, 6 km apart where possible; else what is wrong with it."""
    if not np.isfinite(places).all():
        told = "may show the same ground: not all photos have a position"
        return splits.deal(np.arange(len(places))), told
    boxes = np.concatenate([places - reach, places + reach], axis=1)
    try:
        names = splits.split_boxes(boxes, PATCH_M, seed)
        if (names == "guard").mean() <= 0.5:
            return names, ""
    except ValueError:  # no ground is left for a split
        pass
    along = places[:, np.ptp(places, axis=0).argmax()].argsort()
    return splits.deal(along), "show the same ground in part: the photos lie too close"
