"""Values: the range that a network is shown, and a look at them before they are trusted."""

import warnings

import numpy as np

COLLAR_SHARE = 0.1  # of the pixels along the edges
GROSS, CLOUD = 4, 6  # darker, or brighter (as cloud is), by this factor in every band
OTHER_UNIT = 200  # dark water and snow differ by less; reflectance and any other unit by more
KINDS = ("reflectance", "8-bit pixels", "digital numbers")  # by their largest value
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
    values = [_flat(scene.pixels[::step, ::step]) for scene in scenes]
    ranges = np.nanpercentile(np.concatenate(values), (0.5, 99.5), axis=0).T
    for band, (low, high) in zip(scenes[0].bands, ranges, strict=True):
        if not high > low:
            told = f"band {band} is {low:g} everywhere on the training ground"
            raise ValueError(f"{told}: leave it out of `bands`")
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
        ValueError: an image is on another scale than the rest. Collars without data are named in a
            warning.
    """
    steps = [max(1, min(scene.height, scene.width) // 200) for scene in scenes]
    samples = [scene.pixels[::step, ::step] for scene, step in zip(scenes, steps, strict=True)]
    framed = {}
    for scene, sample in zip(scenes, samples, strict=True):
        if scene.nodata is None and np.isfinite(sample).all() and (found := find_collar(sample)):
            framed.setdefault(found[0], []).append(scene.name)
    for value, names in framed.items():
        warnings.warn(
            f"{len(names)} images of {folder} are {value:g} in all bands along their edges, and "
            f"declare no such value as no data ({', '.join(names[:3])}): it counts as image. "
            f"Declare it if it is none: rio edit-info --nodata {value:g} FILE",
            stacklevel=4,
        )
    bright = [np.percentile(np.nan_to_num(sample), 99.5) for sample in samples]
    usual = np.median(bright)
    for scene, own in zip(scenes, bright, strict=True):
        kinds = np.searchsorted((2, 255), (own, usual))
        if own > 0 < usual and (kinds[0] > kinds[1] or max(own / usual, usual / own) > OTHER_UNIT):
            raise ValueError(
                f"{scene.name} has values up to {own:.4g}, most images of {folder} up to "
                f"{usual:.4g}: reflectance and digital numbers mixed? Rescale it, or take it out"
            )


def find_collar(sample):
    """Find the value of a frame that holds no data, although the file declares none.

    Args:
        sample: float32 (height, width, bands), an image thinned out; NaN = no data.

    Returns:
        (value, share of the edges) of the value that the most edge pixels have in all bands; None
        where that is under a tenth, or all of the image.
    """
    edges = np.concatenate([sample[0], sample[-1], sample[:, 0], sample[:, -1]])
    found, counts = np.unique(edges[(edges == edges[:, :1]).all(axis=1), 0], return_counts=True)
    share = counts.max(initial=0) / len(edges)
    if share < (COLLAR_SHARE if edges.shape[1] > 1 else 3 * COLLAR_SHARE):  # equal by chance
        return None
    value = float(found[counts.argmax()])
    return None if (sample == value).all() else (value, share)


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
    low, high = np.asarray(ranges, "float64").T
    lowest = values.min(initial=0)
    far = lowest <= -999 and (lowest < low - 0.4 * (high - low)).all()
    if far and (values == lowest).all(axis=1).any():
        raise ValueError(
            f"some pixels are {lowest:g} in all bands, which looks like no data, and the file "
            f"declares no such value: give --nodata {lowest:g}"
        )
    guess = _guess(values, ranges)
    if guess:
        dark, bright = np.percentile(values, (0.5, 99.5), axis=0)
        told = "; ".join(
            f"{band} {dark[at]:.4g} to {bright[at]:.4g}, model {low[at]:.4g} to {high[at]:.4g}"
            for at, band in enumerate(bands)
        )
        raise ValueError(
            f"the values are not those that the model was trained on ({told}; 0.5th to 99.5th "
            f"percentile). {guess} --value-range LO,HI or --value-range auto sets another range, "
            "--value-range model trusts the values as they are"
        )


def refuse_no_reflectance(values, bands):
    """Compare values with what reflectance x 10,000 can be, whatever the ground.

    Args:
        values, bands: as of `refuse_misfit`.

    Raises:
        ValueError: they look like something else (says what, and the option that mends it).
    """
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < MIN_PIXELS:
        return
    dark, bright = np.percentile(values, (0.1, 99.5), axis=0)
    guess = None
    if bright.max() <= 2:
        guess = "reflectance from 0 to 1: --scale-offset 10000,0 multiplies by 10,000"
    elif values.max() <= 255:
        guess = "an 8-bit picture, of which nobody knows what it reflects: get the measured bands"
    elif dark.min() >= 5000:
        guess = "Landsat's own numbers: --scale-offset 0.2,-1000 for level 1, 0.275,-2000 for level 2 of collection 2"
    elif dark.min() >= 1000 and dark.max() < 2500:
        guess = (
            "an offset of 1000, as Sentinel-2 has it from processing baseline 04.00 on: --scale-offset 1,-1000 "
            "takes it away"
        )
    if guess:
        rows = zip(bands, dark, bright, strict=True)
        told = "; ".join(f"{band} {low:.4g} to {high:.4g}" for band, low, high in rows)
        raise ValueError(
            f"the model expects reflectance x 10,000. These values ({told}; 0.1st to 99.5th percentile) "
            f"look like {guess}. If they are right and the ground is bright, as snow, salt or sand, "
            "--value-range model trusts them"
        )


def _guess(values, ranges):
    """Guess why finite values lie far beside the ranges of a model; None where they fit."""
    if not len(values):
        return None
    low, high = np.asarray(ranges, "float64").T
    dark, middle, bright = np.percentile(values, (0.5, 50, 99.5), axis=0)
    kind, expected = (int(np.searchsorted((2, 255), end.max())) for end in (bright, high))
    if len(values) < MIN_PIXELS and kind == expected:
        return None  # too few to tell but another kind of numbers
    ratio = bright / high
    brighter = kind > expected or (middle / high).min() > CLOUD
    darker = ratio.min() > 0 and ratio.max() < 1 / GROSS and not kind == expected == 1
    if high.min() > 0 and (brighter or darker):
        times = 10.0 ** -np.round(np.log10(np.median(ratio)))
        mend = f": --scale-offset {times:g},0 multiplies by {times:g}."
        if kind == expected:
            return f"They differ by a factor of about {np.median(ratio):.3g}{mend}"
        told = f"It looks like {KINDS[kind]} where the model expects {KINDS[expected]}"
        return told + ("." if 1 in (kind, expected) else mend)
    sign = np.sign(dark[0] - low[0])
    shift = sign * np.array([dark - low, bright - high])
    shifted = (shift > [[700], [500]]) & (shift < [[1600], [2500]])  # cloud is brighter
    if shifted.all() and low.max() < 3000 and (high - low).max() < 10_000:
        return (
            f"It looks like an offset of {1000 * sign:g}, as Sentinel-2 has it from processing "
            f"baseline 04.00 on: --scale-offset 1,{-1000 * sign:g} takes it away."
        )
    if (bright < low).all():  # above it lies cloud
        return "No value lies within the model's range."
    return None


def _flat(pixels):
    return pixels.reshape(-1, pixels.shape[-1])
