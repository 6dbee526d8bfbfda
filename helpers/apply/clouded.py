"""Cloud removal: keep clear pixels exactly, write the opacity, leave out opaque cloud."""

import numpy as np

TOLERANCE = 0.02  # fraction of the value range; five grey levels of 8 bits, hardly to be seen
OPAQUE = 0.7  # opacity from which the ground is invented
CHANGED = 0.06  # opacity or shadow from which a pixel is changed, as `models.cloud_remover` has it
EXACT = {"uint8", "int8", "uint16", "int16", "float32"}  # types of which float32 holds every number


def largest_changes(fraction, dtypes, about, ranges):
    """Compute how far an answer may lie from the input where that counts as "this was clear".

    Args:
        fraction: of the value range; True for TOLERANCE.
        dtypes: set of the data types of the file's bands.
        about: `model.json`.
        ranges: (low, high) of each band.

    Returns:
        float64 (bands,) in the file's unit.

    Raises:
        ValueError: no such fraction, or the output cannot hold the file's own numbers.
    """
    fraction = TOLERANCE if fraction is True else fraction
    if not 0 < fraction < 1:
        told = "should be a fraction of the value range, above 0 and below 1, such as 0.02"
        raise ValueError(f"--only-clouded {fraction:g} {told}")
    changes = about["scale"] != 1 or about["bands_out"] != about["bands"] or not same_unit(about)
    kinds = {about.get("dtype_out"), *dtypes} - {None}
    if changes or len(kinds) > 1 or not kinds <= EXACT:
        raise ValueError(
            "--only-clouded leaves clear pixels exactly as they are, which cannot be done here: "
            "size, bands, value range and data type of the output must be those of the file, and "
            "the type "
            f"one of {', '.join(sorted(EXACT))}. Leave the option out"
        )
    low, high = np.asarray(ranges, "float64").T
    return fraction * (high - low)


def same_unit(about):
    """Return whether a model gives values on the range on which it takes them."""
    return about.get("value_range_out") in (None, about["value_range"])


def leave_clear(estimate, own, largest):
    """Put back, in place, what was clear.

    Args:
        estimate: float32 (height, width, bands); NaN without data, which is never clear.
        own: the same pixels as the file has them.
        largest: of `largest_changes`.

    Returns:
        number of clear pixels, and of pixels with data.
    """
    clear = np.ones(estimate.shape[:2], bool)
    for band, most in enumerate(largest):  # one by one: five times faster than over the last axis
        clear &= np.abs(estimate[..., band] - own[..., band]) < most
    np.copyto(estimate, own, where=clear[..., None])
    return int(clear.sum()), int(np.isfinite(estimate[..., 0]).sum())


def take_masks(complete, plan, own):
    """Take apart what a model of cloud removal answers.

    Args:
        complete: float32 (height, width, bands and masks, then their spread where asked for).
        plan: Plan; its `cloud_mask` and `opaque` say what is wanted, and its `largest` that clear
            pixels stay exactly as they are.
        own: the same pixels as the file has them.

    Returns:
        float32 (height, width, bands, then opacity or spread where asked for), and two numbers: of
        pixels without cloud or shadow, and of pixels with data.
    """
    count, masks = len(plan.about["bands_out"]), len(plan.about["masks"])
    image, found = complete[..., :count], complete[..., count : count + masks]
    spread = complete[..., count + masks :][..., :count]
    largest, opacity = found.max(axis=-1), np.clip(found[..., :1], 0, 1)
    counts = int((largest < CHANGED).sum()), int(np.isfinite(largest).sum())
    if plan.largest is not None:
        np.copyto(image, own, where=(largest < CHANGED)[..., None])
    if plan.opaque:
        complete[found[..., 0] >= OPAQUE] = np.nan
    aside = opacity if plan.cloud_mask else spread
    return np.concatenate([image, aside], axis=-1), counts
