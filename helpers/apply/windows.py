"""Compute an image window by window: while one is computed, others are read and written."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise, product

import numpy as np

from helpers import paths
from helpers.apply.working import JOURNAL, write
from helpers.scenes import fill_nodata

OPAQUE = 0.7  # opacity from which the ground is invented


def compute(plan, folder, journal, progress):
    """Compute the windows that the journal does not count yet.

    Args:
        plan: of `planned`.
        folder, journal: of `working`.
        progress: show a progress bar.
    """
    from tqdm.auto import tqdm

    cell = plan.cell_px
    lines = map(range, plan.start // cell * cell, plan.stop, (cell, cell))
    corners = np.array(list(product(*lines)))
    begun = journal["finished"]
    with ThreadPoolExecutor(1) as pool:
        submitted = (_submit(plan, pool, corner) for corner in corners[begun:])
        # in pairs: the next is read before the answer to this is waited for
        ahead = pairwise(chain(submitted, [None]))
        shown = {"initial": begun, "unit": "window", "disable": not progress}
        for (window, own, answer), _ in tqdm(ahead, total=len(corners), **shown):
            if answer:  # what is not written has no data
                made = _finished(plan, journal, own, answer.result())
                write(folder, plan.outputs, window, made)
            journal["finished"] += 1
            paths.write_json(folder / JOURNAL, journal)


def _submit(plan, pool, corner):
    """Read a window, mirrored beyond the image, and have it computed.

    Returns:
        place of what is wanted of it in the output, ((first row, last), (first column, last)); its
        pixels; and the future of the answer to it, None where there is no data.
    """
    margin = plan.predictor.margin_px
    core = np.array([corner, corner + plan.cell_px])
    ends = core + [[-margin], [margin]]
    inside = ends.clip(0, plan.image.shape)
    pixels = plan.read(tuple(inside.T.tolist()))
    around = abs(ends - inside).T
    pixels = np.pad(pixels, [*around, (0, 0)], mode="symmetric")
    core = core.clip(plan.start, plan.stop)
    cut = core - ends[0]
    part = tuple(map(slice, *(cut * plan.scale)))
    answer = None
    if not np.isnan(pixels).all():
        answer = pool.submit(lambda: plan.predictor(fill_nodata(pixels))[part])
    window = (core - plan.start) * plan.scale
    return tuple(window.T.tolist()), pixels[tuple(map(slice, *cut))], answer


def _finished(plan, journal, own, made):
    """Return what to write: classes, gaps as in the file `own`, and cloud as asked for."""
    gaps = np.isnan(own).any(-1)
    if plan.classes:
        made = made.argmax(-1, keepdims=True).astype("float32")
    if plan.masks:
        image, masks = np.split(made, [len(plan.bands_out)], -1)  # views
        clear = (masks < plan.changed_above).all(-1) & ~gaps
        journal["clear"] += int(clear.sum())
        journal["seen"] += int((~gaps).sum())
        if plan.only_clouded:
            image[clear] = own[clear]
        if plan.opaque:
            image[masks[..., 0] >= OPAQUE] = np.nan
    for axis in (0, 1):
        gaps = gaps.repeat(plan.scale, axis)
    made[gaps] = np.nan
    return made
