"""Real pairs of a cloudy and a clear day: folders of them, and the pack `landsat_timeseries`."""

import re
import warnings
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas
from rasterio.transform import Affine

from helpers import scenes
from helpers.acquire import packs
from helpers.backend import tf
from helpers.pairs.clouds import Examples, skewed
from helpers.pairs.patches import patches, whole_patches
from helpers.scenes import Scene, folders, to_unit
from helpers.scenes.folders import some

ROLES = ("cloudy", "clear")
MAX_DAYS = 60
LAND, WATER, SHADOW, SNOW, CLOUD, GAP = 0, 1, 2, 3, 4, 255  # in the band fmask
# in red, reflectance x 10000: snow is brighter; what thin cloud adds to the ground is less
BRIGHT = 1500
COMPOSITE_DATES = 5
CLOUD_LIGHT = 0.6  # of the range that networks see
DAY = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])[-_]?(0[1-9]|[12]\d|3[01])(?!\d)")
DAY_OF_YEAR = re.compile(r"^L[A-Z]\d{7}(\d{4})(\d{3})")  # Landsat names before 2017


@dataclass(frozen=True)
class RealPair:
    """A cloudy date of `landsat_timeseries`, and the clear one that is nearest.

    Attributes:
        cloudy, clear: Scene, reflectance x 10000; 16000 where the sensor saturates.
        days: from the cloudy date to the clear one.
        cloud, clear_sky: bool (height, width), on the cloudy date, as Fmask says; shadow is
            neither.
        thin: bool (height, width), part of `cloud` that adds less than 0.15 to the clear date's
            red reflectance.
        composite: float32 (height, width, bands): what no network has to guess, the median of
            other clear dates.
    """

    cloudy: Scene
    clear: Scene
    days: int
    cloud: np.ndarray
    clear_sky: np.ndarray
    thin: np.ndarray
    composite: np.ndarray


def read_pairs(folder, *, block_px, buffer_px=16, seed=0):
    """Read a folder of cloudy and clear images of the same ground, split by ground.

    With a `manifest.csv`, its rows of role `cloudy` and `clear` are joined by `pair`, and its
    split is kept where it has one. Without, the folders `cloudy` and `clear` hold files of equal
    names. `scenes.split_scenes` splits the rest. Warns of what is left out - an image without
    partner, a pair without data, or one that shows a single value, as where a sensor saturates -
    and of days more than 60 apart, where names or manifest tell them.

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files.
        block_px, buffer_px, seed: as of `scenes.read_ground`.

    Returns:
        dict from "train", "validation", "test" to a list of (cloudy, clear), both Scene. A pixel
        without data in one of them is NaN in both; see `fill_nodata`.

    Raises:
        ValueError: no pair; images of a pair that differ in size, bands, CRS or place (says which
            pair, and how); an incomplete split, or one for which nothing is left.
    """
    folder, both, given, left_out, apart = Path(folder), [], [], [], []
    for name, rows in folders.pair_rows(folder, ROLES).items():
        missing = [role for role in ROLES if role not in rows]
        if missing:
            left_out.append(f"{name} (no {missing[0]} image)")
            continue
        cloudy, clear = (folders.read_row(folder, rows[role]) for role in ROLES)
        _refuse_unlike(name, cloudy, clear)
        both.append(replace(_stacked(cloudy, clear), name=name))
        given.append(rows["cloudy"].get("split", ""))
        days = abs((_day(rows["cloudy"]) - _day(rows["clear"])).days)
        if days > MAX_DAYS:
            apart.append(f"{name} ({days} days)")
    if not both:
        raise ValueError(
            f"{folder} holds no pair: expected a manifest.csv with rows of the roles cloudy and "
            "clear that share a `pair`, or folders `cloudy` and `clear` with files of equal names. "
            f"Left out: {some(left_out) or 'none'}"
        )
    found = scenes.split_scenes(both, given, block_px=block_px, buffer_px=buffer_px, seed=seed)
    for split, members in found.items():
        reasons = [_useless(member) for member in members]
        paired = list(zip(members, reasons, strict=True))
        left_out += [f"{member.name} ({reason})" for member, reason in paired if reason]
        found[split] = [_parted(member) for member, reason in paired if not reason]
        if not found[split]:
            raise ValueError(f"{folder} has no pair for {split}. Left out: {some(left_out)}")
    if left_out:
        warnings.warn(f"{folder}: left out {some(left_out)}", stacklevel=2)
    if apart:
        told = "what changes on the ground meanwhile is taken for an effect of clouds"
        days = f"more than {MAX_DAYS} days between cloudy and clear in {some(apart)}"
        warnings.warn(f"{folder}: {days}; {told}", stacklevel=2)
    return found


def pair_dataset(pairs, *, value_range, copies=0, skew=0.15, first_step=0, **stream):
    """Stream training pairs from real ones; place, turn and skew are drawn once for both images.

    Args:
        pairs: list of (cloudy, clear) Scene; pixels without data are filled with the nearest ones.
        value_range: (low, high) per band that networks see as 0 to 1.
        copies, skew, first_step, **stream: as of `clouds.dataset`.

    Returns:
        tf.data.Dataset of (cloudy, truth), as of `clouds.dataset`. Opacity and shadow follow from
        the two days' brightness, as if clouds had a light of 0.6.
    """

    def pair(patch, key):
        shear = skew * (2 * tf.random.stateless_uniform([], tf.random.fold_in(key, 3)) - 1)
        images = tf.split(skewed(patch, shear), 2, axis=-1)
        cloudy, clear = (to_unit(image, value_range) for image in images)
        seen, ground = (tf.reduce_mean(image, axis=-1, keepdims=True) for image in (cloudy, clear))
        opacity = (seen - ground) / tf.maximum(CLOUD_LIGHT - ground, 0.1)
        shadow = 1 - seen / tf.maximum(ground, 0.01)
        taken = tf.clip_by_value(tf.concat([opacity, shadow], axis=-1), 0, 0.98)
        return cloudy, tf.concat([clear, taken], axis=-1)

    both = [fill_nodata(_stacked(cloudy, clear)) for cloudy, clear in pairs]
    return patches(both, first_step=first_step, copies=copies, augment=pair, **stream).prefetch(2)


def has_pairs(folder):
    """Return whether a folder holds cloudy and clear images, by its manifest or its folders."""
    table = Path(folder, "manifest.csv")
    if table.exists():
        return set(ROLES) <= set(folders.read_table(table).get("role", ()))
    return all(Path(folder, role).is_dir() for role in ROLES)


def examples(pairs, *, value_range, patch_px):
    """Cut real pairs into patches that do not overlap, for validation and test.

    Args:
        pairs: list of (cloudy, clear), both Scene.
        value_range: (low, high) per band.
        patch_px: side of a patch.

    Returns:
        clouds.Examples of kind "real"; the density of these clouds is unknown, so depth,
        transmittance, shadow and cover are NaN and the subsets empty.

    Raises:
        ValueError: there is not one whole patch without no-data pixels.
    """
    cuts = whole_patches([_stacked(cloudy, clear) for cloudy, clear in pairs], patch_px)
    pixels = np.stack([cut.pixels for cut in cuts])
    halves = np.split(pixels, 2, axis=-1)
    cloudy, clear = (to_unit(half, value_range).astype("float32") for half in halves)
    unknown = np.full(clear.shape[:3], np.nan, "float32")
    kinds = np.array(["real"] * len(cuts))
    return Examples(cloudy, clear, unknown, unknown, unknown, kinds, unknown[:, 0, 0])


def fill_nodata(scene):
    """Replace pixels without data by the nearest ones with data, so that networks can be fed."""
    return replace(scene, pixels=scenes.fill_nodata(scene.pixels))


def landsat_pairs(bands=("red", "nir", "swir16")):
    """Return the real pairs of the pack `landsat_timeseries`, for evaluation: 61 x 61 pixels each.

    Each date with 5 to 70 % cloud and without gaps, and the nearest date without gaps, cloud or
    shadow (under 1 %), at most 60 days apart. The ground changes, too: clear dates 16 days apart
    differ by 0.027 in near infrared (root mean square, in reflectance), those 64 days apart by
    0.056. Dates with snow are left out, as is one where Fmask misses it: bright in
    red, and darker in short-wave infrared. Prints how many pairs there are, and how many are lost.

    Args:
        bands: names, in the order wanted.

    Returns:
        list of RealPair, by date.
    """
    series = packs.open_scenes("landsat_timeseries")
    dated = {date.fromisoformat(scene.name.split()[-1]): scene for scene in series}
    whole = {day for day, scene in dated.items() if scene.valid.all() and not _share(scene, GAP)}
    snowy = {day for day, scene in dated.items() if _has_snow(scene)}
    clear = {day for day, scene in dated.items() if _share(scene, CLOUD, SHADOW) < 0.01} - snowy
    cloudy = {day for day in whole if 0.05 <= _share(dated[day], CLOUD) <= 0.7}
    found = []
    for day in sorted(cloudy - snowy):
        nearest = sorted(clear, key=lambda other, day=day: (abs(other - day), other))
        partners = [
            other for other in nearest if other in whole and abs(other - day).days <= MAX_DAYS
        ]
        if partners:
            others = [dated[other] for other in nearest if other != partners[0]][:COMPOSITE_DATES]
            apart = abs(partners[0] - day).days
            found.append(_real_pair(dated[day], dated[partners[0]], others, apart, bands))
    print(
        f"{len(found)} real pairs; of {len(cloudy)} cloudy dates without gaps, "
        f"{len(cloudy & snowy)} are left out for snow, {len(cloudy - snowy) - len(found)} as no "
        f"clear date lies within {MAX_DAYS} days"
    )
    return found


def _real_pair(cloudy, clear, others, days, bands):
    """Make a RealPair; the composite is the median of `others`, without their clouds and gaps."""
    added = cloudy.select(["red"]).pixels[..., 0] - clear.select(["red"]).pixels[..., 0]
    cloud = _is(cloudy, CLOUD)
    seen = [
        np.where(_is(scene, LAND, WATER)[..., None], scene.select(bands).pixels, np.nan)
        for scene in others
    ]
    return RealPair(
        cloudy=cloudy.select(bands),
        clear=clear.select(bands),
        days=days,
        cloud=cloud,
        clear_sky=_is(cloudy, LAND, WATER),
        thin=cloud & (added < BRIGHT),
        composite=np.nanmedian(seen, axis=0).astype("float32"),
    )


def _is(scene, *classes):
    """Return where Fmask sees one of these classes: bool (height, width)."""
    return np.isin(scene.select(["fmask"]).pixels[..., 0], classes)


def _share(scene, *classes):
    """Return the share of the pixels that Fmask puts into these classes."""
    return _is(scene, *classes).mean()


def _has_snow(scene):
    red, swir16 = np.moveaxis(scene.select(["red", "swir16"]).pixels, -1, 0)
    # ice clouds look alike
    missed = (red > BRIGHT) & (swir16 < red) & _is(scene, LAND, WATER)
    return _share(scene, SNOW) > 0 or missed.mean() > 0.01


def _refuse_unlike(name, cloudy, clear):
    """Raise a ValueError that says how the images of a pair differ."""
    facts = [
        {"pixels": scene.pixels.shape, "bands": scene.bands, "CRS": str(scene.crs)}
        for scene in (cloudy, clear)
    ]
    grids = [scene.transform or Affine.identity() for scene in (cloudy, clear)]
    corners = np.array([[0, clear.width, 0], [0, 0, clear.height]])
    moved = np.abs(~grids[1] @ grids[0] @ corners - corners).max()
    if facts[0] != facts[1] or moved > 0.01:
        told = f"cloudy has {facts[0]} at {cloudy.bounds}, clear has {facts[1]} at {clear.bounds}"
        told = f"the images of pair {name!r} differ: {told}"
        raise ValueError(f"{told}. Resample one to the grid of the other first")


def _day(row):
    """Return the day that the manifest or a name tells, else NaT."""
    if row.get("time"):
        return pandas.to_datetime(row["time"][:10], errors="coerce")
    for name in (row.get("scene", ""), Path(row["path"]).name):
        for pattern, form in ((DAY, "%Y%m%d"), (DAY_OF_YEAR, "%Y%j")):
            if match := pattern.search(name):
                return pandas.to_datetime("".join(match.groups()), format=form, errors="coerce")
    return pandas.NaT


def _stacked(cloudy, clear):
    """Return one scene with the bands of both, without data wherever one of them has none."""
    both = scenes.stack([cloudy, replace(clear, transform=cloudy.transform)])
    credits = dict.fromkeys(filter(None, (cloudy.credit, clear.credit)))
    pixels = np.where(both.valid[..., None], both.pixels, np.nan)
    return replace(both, pixels=pixels, credit="; ".join(credits))


def _parted(both):
    """Return the cloudy and the clear scene of what `_stacked` made."""
    halves, bands = np.split(both.pixels, 2, axis=-1), both.bands[: len(both.bands) // 2]
    return tuple(
        replace(both, pixels=pixels, bands=bands, name=f"{both.name} {role}")
        for role, pixels in zip(ROLES, halves, strict=True)
    )


def _useless(both):
    """Return why a pair cannot be used, else None."""
    pixels = both.pixels[both.valid]
    if not len(pixels):
        return "no pixel with data in both images"
    low, high = np.percentile(pixels, [0.5, 99.5], axis=0)
    flat = (low == high).reshape(2, -1).all(axis=1)
    return f"its {ROLES[flat.argmax()]} image shows one value only" if flat.any() else None
