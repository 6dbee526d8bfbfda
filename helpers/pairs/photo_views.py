"""Read a folder of photos, each with the satellite patch around the place where it was taken."""

import warnings
from collections import Counter, namedtuple
from contextlib import suppress
from dataclasses import replace
from math import cos, isnan, radians, sin, sqrt

import numpy as np
from PIL import Image, ImageOps
from rasterio.warp import transform

from helpers import scenes
from helpers.acquire import manifest, photos, pictures
from helpers.relief.terrain import DEGREE_M
from helpers.relief.textures import bilinear
from helpers.scenes import splits

PATCH_M = 6000  # width of the ground that a patch shows
PLACE = ["lon", "lat", "heading_deg"]

Views = namedtuple("Views", "patches views table")


def read_views(folder, *, image_size=64, imagery=None, least=16, seed=0):
    """Read pairs from a folder of photos, each with the satellite patch around its place.

    The patches are those of the folder's `manifest.csv`, as notebook 01 writes it (roles
    `satellite` and `photo`, joined by `pair`), or are cut from `imagery`. Up is the heading
    that EXIF tells, else north. Patches show 6 km; a warning tells of narrower ones, which show
    less when turned. The central square of a photo is taken. A split of the manifest is kept. Else
    patches of different splits are 6 km apart, and what lies between is left out; a warning
    tells of photos that lie too close for that.

    Args:
        folder: Path, of JPEG, PNG, TIFF or WebP files.
        image_size: side of patches and photos, pixels.
        imagery: Scene around the photos, whose first bands are red, green, blue; if not of 8
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
    if imagery and not (imagery.crs and len(imagery.bands) >= 3):
        raise ValueError(
            f"{imagery.name} has no place or fewer than 3 bands; expected a georeferenced image "
            "in colour"
        )
    table = photos.read_folder(folder)
    table["split"] = ""
    satellites = {} if imagery else _satellite_rows(folder)
    room = sqrt(2) if table.heading_deg.notna().any() else 1
    patches, views = [], []
    for index, photo in table[table.reason == ""].iterrows():
        satellite = satellites.get(photo.path, {})
        try:
            if min(photo.width, photo.height) < image_size:
                raise ValueError(
                    f"too small: {photo.width:.0f} x {photo.height:.0f} pixels, {image_size} needed"
                )
            scene = imagery or _patch_scene(folder, satellite, photo)
            patch = cut(scene, *photo[PLACE], size_px=image_size, room=room)
            views.append(_central_square(folder / photo.path, image_size))
            patches.append(patch[..., :3])
            table.loc[index, "split"] = satellite.get("split", "")
        except (OSError, ValueError) as error:
            table.loc[index, "reason"] = str(error)
    kept = table.reason == ""
    if kept.sum() < max(least, len(scenes.SPLITS)):
        _refuse(folder, table.reason, least)
    names = _splits(table[kept], seed)
    table.loc[kept, "split"] = names
    table.loc[table.split == "guard", "reason"] = "too near to another split"
    patches = np.array(patches)
    views = np.array(views)
    low, high = 0, 255
    if imagery and imagery.dtype != "uint8":
        train = patches[names == "train"]
        low, high = np.percentile(train, (0.5, 99.5), axis=(0, 1, 2))
    unit = (patches - low) / np.maximum(high - low, 1e-9)
    patches = as_bytes(255 * unit)
    parts = {}
    for split in scenes.SPLITS:
        own = names == split
        rows = table[table.split == split].reset_index(drop=True)
        parts[split] = Views(patches[own], views[own], rows)
    return parts, table


def _refuse(folder, reasons, least):
    """Raise a ValueError that says why there are too few photos."""
    left_out = Counter(reason.split(":")[0] for reason in reasons if reason)
    often = [f"{reason} ({count})" for reason, count in left_out.most_common()]
    raise ValueError(
        f"{folder} holds {len(reasons) - left_out.total()} usable photos of {len(reasons)}; "
        f"{least} are needed. Left out: {', '.join(often) or 'none'}. Add photos that say where "
        "they were taken, with imagery of that place, or ask for fewer: `least`"
    )


def _satellite_rows(folder):
    """Return the row of each photo's patch, by the photo's path."""
    pairs = manifest.pair_rows(folder, ("satellite", "photo")).values()
    return {
        pair["photo"]["path"]: pair["satellite"] for pair in pairs if len(pair) == 2
    }


def _patch_scene(folder, row, photo):
    """Return the Scene of a photo's patch, with its place on the ground if that is known."""
    if not row:
        raise ValueError("no satellite patch, or left out by the manifest")
    scene = manifest.read_row(folder, row)
    if len(scene.bands) < 3:
        raise ValueError(f"patch without colours: {row['path']}")
    # without both places, the photo is taken to be from the middle
    known = scene.crs and not isnan(photo.lon)
    return scene if known else replace(scene, transform=None)


def _central_square(path, image_size):
    """Return the middle of a photo, upright, uint8 (image_size, image_size, 3)."""
    size = image_size, image_size
    with pictures.opened(path) as picture:
        picture.draft("RGB", (2 * image_size, 2 * image_size))  # decodes a JPEG in part
        upright = ImageOps.exif_transpose(picture).convert("RGB")
        return np.asarray(ImageOps.fit(upright, size, Image.Resampling.LANCZOS))


def cut(
    scene,
    lon,
    lat,
    heading_deg=0,
    *,
    size_px,
    room=1,
):
    """Cut a square patch of a scene around a position, turned; it shows 6 km.

    Where the scene is narrower, it shows what that holds, with a warning.

    Args:
        scene: Scene with its place on the ground; without one it counts as a square of 6 km around
            the position.
        lon, lat: of the middle, degrees.
        heading_deg: compass direction that is up in the patch; NaN: north.
        size_px: side of the patch, pixels; where the scene has more, their mean is taken.
        room: width that a narrower scene must have, in widths of the patch; the square root of 2
            where patches of many headings shall show the same width.

    Returns:
        float32 (size_px, size_px, bands), in the unit of the scene.

    Raises:
        ValueError: no position, the patch reaches beyond the scene, or it holds pixels without
            data.
    """
    middle, east, north = _axes(scene, lon, lat)
    pixels_a_metre = np.hypot(*east)
    width_m = min(PATCH_M, scene.width / pixels_a_metre / room)
    if width_m < 0.99 * PATCH_M:
        warnings.warn(
            f"patches show {width_m / 1000:.1f} km of ground instead of 6: turned patches of 6 "
            "reach beyond the imagery",
            stacklevel=3,
        )
    fine = max(1, round(width_m / size_px * pixels_a_metre))
    count = size_px * fine
    aside = (np.arange(count) + 0.5) / count
    aside = (aside - 0.5) * width_m
    angle = radians(np.nan_to_num(heading_deg))
    right = cos(angle) * east - sin(angle) * north
    down = -sin(angle) * east - cos(angle) * north
    place = middle + aside[:, None, None] * right + aside[:, None] * down
    if place.min() < 0 or (place > [scene.width, scene.height]).any():
        raise ValueError("outside the imagery")
    planes = scene.pixels.transpose(2, 0, 1)
    found = bilinear(planes, place.transpose(2, 0, 1) - 0.5)
    parts = found.T.reshape(size_px, fine, size_px, fine, -1)
    patch = parts.mean((1, 3), dtype="f")
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
    if isnan(lon):
        raise ValueError("no position")
    step = 1000 / DEGREE_M
    lons = [lon, lon + step / cos(radians(lat)), lon]
    lats = [lat, lat, lat + step]
    places = np.array(transform("EPSG:4326", scene.crs, lons, lats))
    middle, east, north = np.transpose(~scene.transform @ places)
    return middle, (east - middle) / 1000, (north - middle) / 1000


def positions_m(table):
    """Return where spots lie, float (spots, 2), metres; those without a position are far apart."""
    lon, lat = np.radians(table[["lon", "lat"]].to_numpy()).T
    places = 6_371_000 * np.stack([lon * np.cos(lat), lat], axis=1)
    far = 1e9 * (1 + np.arange(len(places)))
    return np.where(np.isnan(places), far[:, None], places)


def _splits(table, seed):
    """Return the split of each photo: as given, else by their places."""
    given = set(table.split)
    if given == set(scenes.SPLITS):
        return table.split
    if given != {""}:
        raise ValueError(
            f"the photos have the splits {sorted(given)}; expected train, validation and test, or "
            "none"
        )
    places = positions_m(table)
    order = places[:, np.ptp(places, axis=0).argmax()].argsort()
    names = splits.deal(len(places))[order.argsort()]
    told = "show the same ground in part: the photos lie too close"
    reach = PATCH_M / sqrt(2)  # however a patch is turned
    boxes = np.concatenate([places - reach, places + reach], axis=1)
    with suppress(ValueError):  # no ground is left for a split
        apart = splits.split_boxes(boxes, PATCH_M, seed)
        if (apart == "guard").mean() <= 0.5:
            names, told = apart, ""
    if table.lon.isna().any():
        told = "may show the same ground: not all photos have a position"
    if told:
        warnings.warn(
            f"patches of different splits {told}; the scores may flatter", stacklevel=3
        )
    return names
