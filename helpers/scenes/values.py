"""Values: the range that a network is shown, and how to tell values in another unit."""

import warnings

import numpy as np

SAMPLE_PX = 5_000_000  # more are thinned out
ENDS = (2, 255)  # of the first two units
UNITS = ("reflectance", "8-bit pixels or percent", "digital numbers")
SIZES = (1, 0.01, 1e-4)  # of the units, as reflectance
SCALE = (
    "another scale: give --scale-offset SCALE,OFFSET, for Landsat's collection 2 --scale-offset "
    "0.275,-2000 (at level 1 0.2,-1000)"
)


def value_range(scenes):
    """Return the range of each band that a network sees as 0 to 1: percentiles 0.5 and 99.5.

    Args:
        scenes: list of Scene with equal bands; pass *training* ground only, or the test leaks into
            the model.

    Returns:
        tuple of (low, high) per band, in the unit of the pixels.

    Raises:
        ValueError: a band holds one value only, or nothing.
    """
    values = np.concatenate(
        [scene.pixels.reshape(-1, len(scene.bands)) for scene in scenes]
    )
    ranges = np.nanpercentile(
        values[:: len(values) // SAMPLE_PX + 1],
        (0.5, 99.5),
        axis=0,
    ).T.tolist()
    for band, (low, high) in zip(scenes[0].bands, ranges, strict=True):
        if not low < high:
            raise ValueError(
                f"band {band} has one value everywhere to train on: leave it out of `bands`"
            )
    return tuple(map(tuple, ranges))


def to_unit(pixels, value_range):
    """Map each band linearly so that its `value_range` becomes 0 to 1; nothing is clipped."""
    low, high = np.asarray(value_range, "float32").T
    return (pixels - low) / (high - low)


def from_unit(values, value_range):
    """Undo `to_unit`."""
    low, high = np.asarray(value_range, "float32").T
    return values * (high - low) + low


def refuse_misfit(values, bands, ranges, is_physical):
    """Compare values with those that a model was trained on, band by band.

    Args:
        values: float (pixels, bands) from all over an image, without NaN.
        bands: their names.
        ranges: (low, high) of each band: percentiles 0.5 and 99.5 of the training ground.
        is_physical: whether the model takes reflectance x 10,000 of any ground instead.

    Raises:
        ValueError: they are in another unit or have another offset (says both, a guess at the
            cause, and the option that mends it).
    """
    values = values[values.any(axis=1)]  # 0 in all bands may be an undeclared gap
    if not len(values):
        return
    dark, middle, bright = np.percentile(values, (0.5, 50, 99.5), axis=0)
    low, high = ranges.T
    if guess := _guess(dark, middle, bright, low, high, is_physical):
        told = "; ".join(
            "{} {:.4g} to {:.4g}, model {:.4g} to {:.4g}".format(*band)
            for band in zip(bands, dark, bright, low, high, strict=True)
        )
        raise ValueError(
            f"the values are not those that the model was trained on ({told}; 0.5th to 99.5th "
            f"percentile). It looks like {guess}. If the values are right as they are, such as "
            "winter ground, snow or closed cloud, give --value-range model. For a model of no "
            "fixed unit, --value-range LO,HI or --value-range auto sets another range"
        )
    if (dark > high).all():
        warnings.warn(
            "all of the image is brighter than what the model was trained on: cloud or snow, or "
            f"{SCALE}",
            stacklevel=6,
        )


def _guess(dark, middle, bright, low, high, is_physical):
    """Say what values look like that do not fit, and what mends it; None where they fit.

    All are float (bands,): percentiles 0.5, 50 and 99.5 of the image, and the model's ranges.
    """
    unit, expected = np.searchsorted(ENDS, (bright.max(), high.max()))
    is_darker = ((bright > 0) & (bright < high / 4)).all()
    if unit > expected or (unit < expected and is_darker):
        told = f"{UNITS[unit]} where the model expects {UNITS[expected]}"
        if expected == 1:  # whoever made pictures chose a scale
            return told
        scale = SIZES[unit] / SIZES[expected]
        return (
            f"{told}: --scale-offset {scale:g},0 mends it, but for pictures of 8 bits"
        )
    step = np.copysign(1000, dark[0] - low[0])
    # the darkest pixels tell: a patch of dark ground stays far below the brightest
    steps = (dark - low) / step
    if is_physical:
        is_offset = 900 <= dark.min() < 1800
        is_other = dark.min() >= 5000
    else:
        is_offset = (
            steps.min() > 0.7
            and np.median(steps) < 1.5
            and max(*low * 4, *high) < 13_000
        )
        # six times the brightest is more than cloud makes of the ground; pictures may be dark
        is_bright = ((high > 0) & (middle > high * 6)).all()
        is_other = is_bright or (bright < low).all() or (is_darker and expected != 1)
    if is_offset:
        return (
            f"an offset of {step:g}, as Sentinel-2 has it from processing baseline 04.00 on: "
            f"--scale-offset 1,{-step:g} takes it away"
        )
    return SCALE if is_other else None
