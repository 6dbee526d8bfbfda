"""Look at values before they are trusted: collars without data, and values on another scale."""

import numpy as np

COLLAR_SHARE = 0.1  # of the pixels along the edges
GROSS, CLOUD = 4, 6  # darker, or brighter, by this factor in every band
BRIGHTER = {("digital numbers", "8-bit pixels"), ("digital numbers", "reflectance"), ("8-bit pixels", "reflectance")}
PLENTY = 64  # pixels; fewer say nothing


def collar(edges, inside):
    """Find the value of a frame that holds no data, although the file declares none.

    Args:
        edges: float32 (pixels, bands) along the four edges; NaN = no data.
        inside: the same of pixels all over the image.

    Returns:
        (value, share of the edges) of the value that the most edge pixels have in all bands; None where
        that is under a tenth, or all of the image.
    """
    flat = edges[(edges == edges[:, :1]).all(axis=1), 0]
    if len(edges) < PLENTY or not len(flat):
        return None
    found, counts = np.unique(flat, return_counts=True)
    value, share = found[counts.argmax()], counts.max() / len(edges)
    alone = edges.shape[1] == 1 and share < 3 * COLLAR_SHARE  # one band has equal neighbours often
    if share < COLLAR_SHARE or alone or (inside == value).all():
        return None
    return float(value), float(share)


def refuse_misfit(values, bands, ranges):
    """Compare values with those that a model was trained on, band by band.

    Args:
        values: float (pixels, bands) from all over an image; NaN = no data.
        bands: their names.
        ranges: (low, high) of each band: the 0.5th and 99.5th percentile of the training ground.

    Raises:
        ValueError: they are of another scale, have another offset, or hold an undeclared no-data value
            (says both, a guess at the cause, and the option that mends it).
    """
    values = values[np.isfinite(values).all(axis=1)]
    low, high = np.asarray(ranges, "float64").T
    lowest = values.min(initial=0)
    if lowest <= -999 and (lowest < low - 0.4 * (high - low)).all() and (values == lowest).all(axis=1).any():
        raise ValueError(
            f"some pixels are {lowest:g} in all bands, which looks like no data, and the file declares no "
            f"such value: give --nodata {lowest:g}"
        )
    guess = misfit(values, ranges)
    if guess:
        dark, bright = np.percentile(values, (0.5, 99.5), axis=0)
        rows = zip(bands, dark, bright, low, high, strict=True)
        told = "; ".join(f"{b} {d:.4g} to {e:.4g}, model {f:.4g} to {g:.4g}" for b, d, e, f, g in rows)
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
    if len(values) < PLENTY:
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


def misfit(values, ranges, factor=GROSS):
    """Guess why values (pixels, bands) lie far beside (low, high) of each band; None where they fit.

    Values may be 6 times as bright as the ground of the training, as cloud is. With a larger `factor` only
    differences by so much count, and no offset.
    """
    values = values[np.isfinite(values).all(axis=1)]
    if len(values) < PLENTY:
        return None
    low, high = np.asarray(ranges, "float64").T
    dark, middle, bright = np.percentile(values, (0.5, 50, 99.5), axis=0)
    kinds = _kind(bright.max()), _kind(high.max())
    brighter = kinds in BRIGHTER or (middle > max(factor, CLOUD) * high).all()
    darker = (bright < high / factor).all() and bright.min() > 0 and kinds != ("8-bit pixels",) * 2
    if high.min() > 0 and (brighter or darker):
        times = 10.0 ** np.round(np.log10(np.median(high / bright)))
        told = f"--scale-offset {times:g},0 multiplies by {times:g}."
        if kinds[0] == kinds[1]:
            return f"They differ by a factor of about {np.median(bright / high):.3g}: {told}"
        told = "" if "8-bit pixels" in kinds else f": {told}"
        return f"It looks like {kinds[0]} where the model expects {kinds[1]}{told or '.'}"
    if factor > GROSS:
        return None
    shift = dark - low
    sign = np.sign(shift[0])
    is_offset = ((sign * shift > 700) & (sign * shift < 1600)).all() and low.max() < 3000
    is_offset &= (high - low).max() < 10_000  # else it is next to nothing
    if is_offset and _distance(dark, bright, low, high, 1000 * sign) < _distance(dark, bright, low, high) / 2:
        return (
            f"It looks like an offset of {1000 * sign:g}, as Sentinel-2 has it from processing baseline "
            f"04.00 on: --scale-offset 1,{-1000 * sign:g} takes it away."
        )
    if (bright < low).all():  # above it lies cloud
        return "No value lies within the model's range."
    return None


def _kind(largest):
    """Name what values are by their largest."""
    if largest > 2:
        return "8-bit pixels" if largest <= 255 else "digital numbers"
    return "reflectance"


def _distance(dark, bright, low, high, offset=0):
    """Return how far both ends lie beside the range, in units of its width, as a mean over the bands."""
    ends = np.abs(dark - offset - low) + np.abs(bright - offset - high)
    return (ends / (high - low)).mean()
