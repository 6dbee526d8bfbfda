"""Compute an image window by window: while one is computed, others are read and written."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product

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
    start = plan.start // cell * cell
    lines = map(range, start, plan.stop, (cell, cell))
    corners = np.array(list(product(*lines)))
    begun = journal["finished"]
    bar = tqdm(total=len(corners), initial=begun, unit="window", disable=not progress)
    with ThreadPoolExecutor(1) as pool, bar:
        submitted = (_submit(plan, pool, corner) for corner in corners[begun:])
        waiting = deque(islice(submitted, 2))
        while waiting:
            ends, own, answer = waiting.popleft()
            # the next is read while this is computed
            waiting.extend(islice(submitted, 1))
            if answer:  # what is not written has no data
                made = _finished(plan, journal, own, answer.result())
                write(folder, plan.outputs, ends, made)
            journal["finished"] += 1
            paths.write_json(folder / JOURNAL, journal)
            bar.update()


def _submit(plan, pool, corner):
    """Read a window, mirrored beyond the image, and have it computed.

    Returns:
        ends of what is wanted of it, array ((first row, column), (last row, column)) in the output;
        its pixels; and the future of the answer to it, None where there is no data.
    """
    scale = plan.about["scale"]
    margin = plan.predictor.margin_px
    core = np.array([corner, corner + plan.cell_px])
    ends = core + [[-margin], [margin]]
    inside = ends.clip(0, plan.image.shape)
    pixels = plan.read(tuple(inside.T.tolist()))
    around = abs(ends - inside).T
    pixels = np.pad(pixels, [*around, (0, 0)], mode="symmetric")
    core = core.clip(plan.start, plan.stop)
    cut = core - ends[0]
    own = pixels[tuple(map(slice, *cut))]
    part = tuple(map(slice, *(cut * scale)))
    answer = None
    if not np.isnan(pixels).all():
        answer = pool.submit(lambda: plan.predictor(fill_nodata(pixels))[part])
    return (core - plan.start) * scale, own, answer


def _finished(plan, journal, own, made):
    """Return what to write: classes, gaps as in the file `own`, and cloud as asked for."""
    about = plan.about
    gaps = np.isnan(own).any(-1)
    if about["classes"]:
        made = made.argmax(-1, keepdims=True).astype("float32")
    if about["masks"]:
        bands = len(about["bands_out"])
        image = made[..., :bands]  # views
        masks = made[..., bands:]
        clear = (masks < about["changed_above"]).all(-1) & ~gaps
        journal["clear"] += int(clear.sum())
        journal["seen"] += int((~gaps).sum())
        if plan.only_clouded:
            image[clear] = own[clear]
        if plan.opaque:
            image[masks[..., 0] >= OPAQUE] = np.nan
    for axis in (0, 1):
        gaps = gaps.repeat(about["scale"], axis)
    made[gaps] = np.nan
    return made
