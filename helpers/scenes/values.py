"""Values: the range that a network is shown, and a look at them before they are trusted."""

import warnings

import numpy as np

COLLAR_SHARE, GAP_SHARE = 0.1, 0.01  # of the pixels along the edges, and of all pixels
GROSS, CLOUD = 4, 6  # darker, or brighter (as cloud is), by this factor in every band
OTHER_UNIT, OTHER_KIND = 200, 50  # dark water and snow of one folder differ by less
KINDS = ("reflectance", "8-bit pixels or percent", "digital numbers")  # up to 2, 255, more
MIN_PIXELS = 64  # fewer say nothing


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
    step = max(1, int(np.sqrt(sum(scene.height * scene.width for scene in scenes) / 5e6)))
    values = [scene.pixels[::step, ::step].reshape(-1, len(scene.bands)) for scene in scenes]
    ranges = np.nanpercentile(np.concatenate(values), (0.5, 99.5), axis=0).T
    for band, (low, high) in zip(scenes[0].bands, ranges, strict=True):
        if not high > low:
            raise ValueError(
                f"band {band} is {low:g} everywhere to train on: leave it out of `bands`"
            )
    return tuple(map(tuple, ranges.tolist()))


def to_unit(pixels, value_range):
    """Map each band linearly so that its `value_range` becomes 0 to 1; nothing is clipped."""
    low, high = np.asarray(value_range, "float32").T
    return (pixels - low) / (high - low)


def from_unit(values, value_range):
    """Undo `to_unit`."""
    low, high = np.asarray(value_range, "float32").T
    return values * (high - low) + low


def look_at_values(folder, scenes):
    """Look at the values of images before they train.

    Args:
        folder: where they come from, for the message.
        scenes: list of Scene.

    Raises:
        ValueError: an image is on another scale than the rest. Pixels that look like undeclared
            gaps are named in a warning.
    """
    blank, bright = {}, []
    for scene in scenes:
        step = max(1, min(scene.height, scene.width) // 200)
        sample = scene.pixels[::step, ::step]
        found = find_gaps(sample) if scene.nodata is None else None
        if found:
            blank.setdefault(found[::2], []).append(scene.name)
        bright.append(np.percentile(np.nan_to_num(sample), 99.5))
    for (value, where), names in blank.items():
        warnings.warn(
            f"{len(names)} images of {folder} are {value:g} in all bands {where}, and declare no "
            f"such value as no data ({', '.join(names[:3])}): it counts as image. Declare it if it "
            f"is none: rio edit-info --nodata {value:g} FILE",
            stacklevel=4,
        )
    usual = np.median(bright)
    for scene, own in zip(scenes, bright, strict=True):
        kind, most = _kind(own), _kind(usual)
        limit = OTHER_UNIT if kind == most else OTHER_KIND  # percent, 100 times less, is another
        if own > 0 < usual and (kind > most or max(own / usual, usual / own) > limit):
            raise ValueError(
                f"{scene.name} has values up to {own:.4g}, most images of {folder} up to "
                f"{usual:.4g}: reflectance and digital numbers mixed? Rescale it, or take it out"
            )


def _kind(largest):
    return int(np.searchsorted((2, 255), largest))


def find_gaps(sample):
    """Find the value of pixels that hold no data, although the file declares none.

    Args:
        sample: float32 (height, width, bands), an image thinned out; NaN = no data.

    Returns:
        (value, its share, where) of a collar: the value that the most edge pixels have in all
        bands, and a tenth of them at least. Else of zeros in all bands, as missing blocks are
        read. None where there are few, where all of the image is so, or where gaps are declared.
    """
    if not np.isfinite(sample).all():
        return None
    least = 3 if sample.shape[2] == 1 else 1  # equal by chance
    edges = np.concatenate([sample[0], sample[-1], sample[:, 0], sample[:, -1]])
    found, counts = np.unique(edges[(edges == edges[:, :1]).all(axis=1), 0], return_counts=True)
    value, share, where = 0, counts.max(initial=0) / len(edges), "along the edges"
    if share >= COLLAR_SHARE * least:
        value = float(found[counts.argmax()])
    else:
        share, where = np.mean(~sample.any(axis=-1)), "in the image"
        if share < GAP_SHARE * least:
            return None
    return None if (sample == value).all() else (value, share, where)


def refuse_misfit(values, bands, ranges):
    """Compare values with those that a model was trained on, band by band.

    Args:
        values: float (pixels, bands) from all over an image; NaN = no data.
        bands: their names.
        ranges: (low, high) of each band: percentiles 0.5 and 99.5 of the training ground.

    Raises:
        ValueError: they are of another scale, have another offset, or hold an undeclared no-data
            value (says both, a guess at the cause, and the option that mends it).
    """
    values = values[np.isfinite(values).all(axis=1)]
    if not len(values):
        return
    low, high = np.asarray(ranges, "float64").T
    lowest = values.min()
    far = lowest <= -999 and (lowest < low - 0.4 * (high - low)).all()
    if far and (values == lowest).all(axis=1).any():
        raise ValueError(
            f"some pixels are {lowest:g} in all bands, which looks like no data, and the file "
            f"declares no such value: give --nodata {lowest:g}"
        )
    dark, middle, bright = np.percentile(values, (0.5, 50, 99.5), axis=0)
    guess = _guess(dark, middle, bright, low, high, is_few=len(values) < MIN_PIXELS)
    if guess:
        told = "; ".join(
            "{} {:.4g} to {:.4g}, model {:.4g} to {:.4g}".format(*band)
            for band in zip(bands, dark, bright, low, high, strict=True)
        )
        raise ValueError(
            f"the values are not those that the model was trained on ({told}; 0.5th to 99.5th "
            f"percentile). {guess} --value-range LO,HI or --value-range auto sets another range, "
            "--value-range model trusts the values as they are"
        )
    if (dark > high).all():
        warnings.warn(
            "all of the image is brighter than what the model was trained on: cloud or snow, or "
            "another scale? --scale-offset 0.275,-2000 makes reflectance times 10,000 of Landsat's "
            "numbers of collection 2",
            stacklevel=6,
        )


def refuse_no_reflectance(values, bands):
    """Check that values can be reflectance x 10,000, whatever the ground.

    Args:
        values, bands: as of `refuse_misfit`.

    Raises:
        ValueError: they look like something else (says what, and the option that mends it).
    """
    values = values[values.any(axis=1)]  # 0 in all bands may be undeclared gaps
    if len(values) < MIN_PIXELS:
        return
    dark, bright = np.percentile(values, (1, 99.5), axis=0)
    guess = None
    if bright.max() <= 2:
        guess = "reflectance from 0 to 1: --scale-offset 10000,0 multiplies it by 10,000"
    elif values.max() <= 255:
        guess = (
            "percent (--scale-offset 100,0 makes it reflectance x 10,000), or an 8-bit picture, "
            "which is no measurement: get the measured bands"
        )
    elif dark.min() >= 5000:
        guess = (
            "Landsat's own numbers: --scale-offset 0.2,-1000 for level 1, 0.275,-2000 for level 2 "
            "of collection 2"
        )
    elif 900 <= dark.min() < 1800:
        guess = (
            "an offset of 1000, as Sentinel-2 has it from processing baseline 04.00 on: "
            "--scale-offset 1,-1000 takes it away"
        )
    if guess:
        rows = zip(bands, dark, bright, strict=True)
        told = "; ".join(f"{band} {low:.4g} to {high:.4g}" for band, low, high in rows)
        raise ValueError(
            f"the model expects reflectance x 10,000. These values ({told}; 1st to 99.5th "
            f"percentile) look like {guess}. If they are right - closed cloud, haze over all "
            "of the image, snow, salt or sand - --value-range model trusts them"
        )


def _guess(dark, middle, bright, low, high, is_few):
    """Guess why values lie far beside the ranges of a model; None where they fit.

    All are float (bands,): percentiles 0.5, 50 and 99.5 of the image, and the model's ranges.
    """
    kind, expected = _kind(bright.max()), _kind(high.max())
    if is_few and kind == expected:
        return None
    ratio = bright / high
    factor = np.median(ratio)
    brighter = kind > expected or (middle / high).min() > CLOUD
    darker = ratio.min() > 0 and ratio.max() < 1 / GROSS and not kind == expected == 1
    if high.min() > 0 and (brighter or darker):
        times = 10.0 ** -np.round(np.log10(factor))
        mend = f": --scale-offset {times:g},0 multiplies by {times:g}."
        if kind == expected:
            return f"They differ by a factor of about {factor:.3g}{mend}"
        told = f"It looks like {KINDS[kind]} where the model expects {KINDS[expected]}"
        return told + ("." if 1 in (kind, expected) else mend)
    sign = np.sign(dark[0] - low[0])
    shift = sign * np.array([dark - low, bright - high])
    shifted = (shift > [[700], [500]]) & (shift < [[1600], [2500]])  # cloud is brighter
    if shifted.all() and low.max() < 3000 and (high - low).max() < 10_000:
        told = (
            f"It looks like an offset of {1000 * sign:g}, as Sentinel-2 has it from processing "
            f"baseline 04.00 on: --scale-offset 1,{-1000 * sign:g} takes it away."
        )
        stretch = np.median((bright - dark) / (high - low))  # an offset leaves the contrast
        if not 2 / 3 < stretch < 1.5:
            told += f" Or it is a factor of about {factor:.2g}: --scale-offset {1 / factor:.2g},0."
        return told
    if (bright < low).all():  # above it lies cloud
        return "No value lies within the model's range."
    return None
