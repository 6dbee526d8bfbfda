"""Open a notebook's `source`: the name of a pack, a folder of images, or one image."""

import warnings
from collections import defaultdict
from pathlib import Path
from statistics import mode
from textwrap import shorten

import numpy as np

from helpers import paths, scenes
from helpers.acquire import packs
from helpers.acquire.manifest import pair_rows, read_row

REFLECTANCE = 2  # reaches no higher
GAP_SHARE = 0.01  # of all pixels; ten times as much of those along the edges
NO_MEASUREMENT = -999  # values from here on down stand for no data


def open_ground(source, *, role="image", bands=None, **split):
    """Open imagery, split by ground.

    In a folder with a `manifest.csv` (columns `path`, `role`, `pair`, `split`, `west` … `crs`,
    `credit`), the rows of `role` are read and their split is kept (`manifest.split_manifest` writes
    one). Without, all images are read. What has no split is split by `scenes.split_scenes`.

    Args:
        source: name of a pack; or path, as `locate` finds it, of an image, or of a folder of
            GeoTIFF, JPEG 2000, PNG or JPEG files with equal bands.
        role: which rows of the manifest to read.
        bands: which bands, in which order; default: all.
        split: `block_px`, `seed`, and `buffer_px` (16), as `scenes.split_ground` takes them.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: neither a pack nor a path, no image in a folder, images of several kinds, too
            little ground, or a manifest that cannot be read, or whose split is incomplete or shows
            ground twice.
    """
    split = {"buffer_px": 16} | split
    if source in packs.catalogue():
        return scenes.split_ground(packs.open_scenes(source, bands), **split)
    folder = locate(source)
    rows = [by_role[role] for by_role in pair_rows(folder, [role]).values()]
    if not rows:
        raise ValueError(
            f"{folder} holds no image; expected GeoTIFF, JPEG 2000, PNG or JPEG, or a manifest.csv "
            f"with the role {role}"
        )
    images = [read_row(folder, row) for row in rows]
    _refuse_mixture(folder, images)
    if role != "map":  # is drawn: one colour along its edges is no gap
        look_at_values(folder, images)
    given = [row.get("split", "") for row in rows]
    ground = scenes.split_scenes(images, given, **split)
    if bands is None:
        return ground
    return {
        name: [scene.select(bands) for scene in found] for name, found in ground.items()
    }


def locate(source):
    """Return the Path of an image or a folder; looks in the working, data and project folder."""
    for place in (Path(source).expanduser(), paths.DATA / source, paths.ROOT / source):
        if place.exists():
            return place
    known = ", ".join(packs.catalogue())
    raise ValueError(
        f"source {str(source)!r} is neither a pack ({known}) nor a path that exists"
    )


def look_at_values(folder, images):
    """Look for pixels in images that hold no data, before they train.

    Args:
        folder: where the images come from, for the message.
        images: list of Scene.

    Raises:
        ValueError: an image holds numbers such as -9999. Other pixels that look like undeclared
            gaps are named in a warning.
    """
    for scene in images:
        step = min(scene.pixels.shape[:2]) // 200 + 1
        find_gaps(
            scene.pixels[::step, ::step],
            f"images of {folder} have",
            f"{scene.name}: ",
        )


def find_gaps(sample, told, name=""):
    """Look for pixels that hold no data, although the file declares none such.

    These are the lowest value if under -999; a collar, the value that most edge pixels have in all
    bands, and a tenth of them at least; or zeros in all bands, as missing blocks are read.

    Args:
        sample: float32 (height, width, bands), an image thinned out; NaN = no data.
        told: beginning of the message.
        name: of the image, for the error; a warning is told once for all images.

    Returns:
        their value, after a warning; NaN where there are few.

    Raises:
        ValueError: numbers such as -9999.
    """
    greys = np.where(np.ptp(sample, axis=-1) == 0, sample[..., 0], np.nan)
    edges = np.concatenate([greys[[0, -1]], greys[:, [0, -1]].T], axis=None)
    lowest = np.nanmin(sample, initial=NO_MEASUREMENT)
    collar = mode(edges.tolist())
    # pixels of a single band are equal by chance
    least = GAP_SHARE if sample.shape[2] > 1 else 3 * GAP_SHARE
    for value, pixels, share in (
        (lowest, greys, least - GAP_SHARE),
        (collar, edges, 10 * least),
        (0.0, greys, least),
    ):
        if (pixels == value).mean() > share:
            break
    else:
        return np.nan
    told = (
        f"{told} pixels along the edges or inside that are {value:g} in all bands, which looks "
        f"like no data and is not declared so. If it is, give --nodata {value:g} to `apply`, or to "
        "`rio edit-info` for the file itself"
    )
    if value <= NO_MEASUREMENT:
        raise ValueError(name + told)
    warnings.warn(f"{told}. Until then they count as image", stacklevel=5)
    return value


def _refuse_mixture(folder, images):
    """Raise a ValueError that lists the kinds, where a folder is no single data set."""
    kinds = defaultdict(list)
    for image in images:
        kinds[_kind(image, images[0].pixel_size)].append(image.name)
    if len(kinds) > 1:
        told = [
            f"{len(names)} of {kind}: {some(names)}" for kind, names in kinds.items()
        ]
        raise ValueError(
            f"{folder} holds several kinds of images: {'; '.join(told)}. Keep those of one kind, "
            "or put each kind in a folder of its own"
        )


def _kind(image, usual):
    """Describe an image; its pixels count as `usual` where they differ by less than a hundredth."""
    size = image.pixel_size
    width, height = np.where(np.isclose(size, usual, rtol=0.01), usual, size)
    unit = image.crs.units_factor[0] if image.crs else "no CRS"
    dtype = image.dtype
    if (
        dtype.startswith("float")
        and 0 < np.nanmax(image.pixels, initial=0) <= REFLECTANCE
    ):
        dtype += " reflectance"
    return (
        f"bands {' '.join(image.bands)}, {dtype}, pixels {width:.4g} x {height:.4g} "
        f"({unit}), scales and offsets {image.scaling}"
    )


def some(names):
    """Return the first of many names."""
    return shorten(", ".join(names), 100, placeholder=" …")
