"""Compute an image window by window: one is read, another computed, a third written."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from threading import Lock

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
    margin = plan.predictor.margin_px
    scale = plan.about["scale"]
    lines = map(range, plan.start // cell * cell, plan.stop, (cell, cell))
    corners = np.array(list(product(*lines)))
    begun = journal["finished"]
    reading, computing = Lock(), Lock()

    def answer(corner):
        """Read a window, mirrored beyond the image; give its ends, pixels and answer."""
        own = np.array([corner, corner + cell])
        ends = own + [[-margin], [margin]]
        inside = ends.clip(0, plan.image.shape)
        with reading:
            pixels = plan.read(tuple(inside.T.tolist()))
        if np.isnan(pixels).all():
            return None
        around = abs(ends - inside).T
        pixels = np.pad(pixels, [(0, 0), *around], mode="symmetric")
        pixels = np.moveaxis(pixels, 0, -1)
        shown = fill_nodata(pixels)
        with computing:
            made = plan.predictor(shown)
        own = own.clip(plan.start, plan.stop)
        cut = own - ends[0]
        pixels = pixels[tuple(map(slice, *cut))]
        made = made[tuple(map(slice, *(cut * scale)))]
        return (own - plan.start) * scale, pixels, made

    bar = tqdm(total=len(corners), initial=begun, unit="window", disable=not progress)
    with ThreadPoolExecutor(2) as pool, bar:
        submitted = (pool.submit(answer, corner) for corner in corners[begun:])
        waiting = deque(islice(submitted, 2))
        while waiting:
            answered = waiting.popleft().result()
            waiting.extend(islice(submitted, 1))  # two are ahead of the one written
            if answered:  # what is not written has no data
                _finish(plan, folder, journal, *answered)
            journal["finished"] += 1
            paths.write_json(folder / JOURNAL, journal)
            bar.update()


def _finish(plan, folder, journal, ends, own, made):
    """Write an answer with classes, gaps as in the file `own`, and cloud as asked for."""
    about = plan.about
    gaps = np.isnan(own).any(-1)
    if about["classes"]:
        made = made.argmax(-1, keepdims=True).astype("float32")
    if about["masks"]:
        image, masks = np.split(made, [len(about["bands_out"])], -1)  # views
        clear = (masks < about["changed_above"]).all(-1) & ~gaps
        journal["clear"] += np.count_nonzero(clear)
        journal["seen"] += np.count_nonzero(~gaps)
        if plan.only_clouded:
            image[clear] = own[clear]
        if plan.opaque:
            image[masks[..., 0] >= OPAQUE] = np.nan
    scale = about["scale"]
    made[gaps.repeat(scale, 0).repeat(scale, 1)] = np.nan
    write(folder, plan.outputs, ends, made)
