"""`only_clouded`: where a network changes next to nothing, the file's own numbers stay, bit for bit."""

import numpy as np

TOLERANCE = 0.02  # fraction of the value range; five grey levels of 8 bits, hardly to be seen


def largest_changes(asked, image, bands, about, ranges):
    """How far an answer may lie from the input where that counts as "this was clear".

    Args:
        asked: False for "write every answer", True for TOLERANCE, or a fraction of the value range.
        image: open rasterio dataset.
        bands, about, ranges: as `plan.Plan` has them.

    Returns:
        float64 (bands,) in the file's unit: a pixel whose every band changes by less was clear. None for False.

    Raises:
        ValueError: no such fraction, or the output cannot hold the file's own numbers (says why).
    """
    if asked is False:
        return None
    fraction = TOLERANCE if asked is True else asked
    if not 0 < fraction < 1:
        told = "a fraction of the value range, above 0 and below 1"
        raise ValueError(f"--only-clouded {fraction:g} should be {told}, such as {TOLERANCE}")
    own = list(dict.fromkeys(image.dtypes[band - 1] for band in bands))
    made = about.get("dtype_out") or own[0]
    reasons = []
    if about["scale"] != 1:
        reasons.append(f"the model enlarges the image {about['scale']} times")
    if about["bands_out"] != about["bands"]:
        reasons.append(f"the model makes the bands {', '.join(about['bands_out'])} from {', '.join(about['bands'])}")
    if not np.array_equal(about.get("value_range_out") or ranges, ranges):
        reasons.append("the model makes values of another range than it takes (value_range_out in its description)")
    if own != [made]:
        reasons.append(f"the file has values of {' and '.join(own)}, and the output {made}")
    if reasons:
        raise ValueError(
            f"--only-clouded leaves clear pixels exactly as they are, which cannot be done here: {'; '.join(reasons)}. "
            "Leave the option out"
        )
    low, high = np.asarray(ranges, "float64").T
    return fraction * (high - low)


def leave_clear(estimate, own, largest):
    """Put back, in place, what was clear.

    Args:
        estimate: float32 (height, width, bands), blended and averaged; NaN without data, which is never clear.
        own: the same pixels as the file has them.
        largest: of `largest_changes`.

    Returns:
        bool (height, width): what was clear.
    """
    clear = np.ones(estimate.shape[:2], bool)
    for band, most in enumerate(largest):  # one by one: five times faster than `all` over the last axis
        clear &= np.abs(estimate[..., band] - own[..., band]) < most
    for band in range(len(largest)):
        np.copyto(estimate[..., band], own[..., band], where=clear, casting="same_kind")
    return clear
