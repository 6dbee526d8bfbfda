"""Compute an image window by window: one is read, another computed, a third written."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Lock

import numpy as np

from helpers.apply import working
from helpers.scenes import fill_nodata

OPAQUE = 0.7  # opacity from which the ground is invented
CHANGED = (
    0.06,
    0.06,
)  # opacity and shadow from which a pixel is changed, unless the model says


def compute(plan, folder, journal, **progress):
    """Compute the windows that the journal does not count yet.

    Args:
        plan: of `planned`.
        folder, journal: of `working`.
        **progress: of tqdm.
    """
    from tqdm.auto import tqdm

    cell, margin, scale = plan.cell_px, plan.predictor.margin_px, plan.about["scale"]
    size, start = np.reshape(plan.window[::-1], (2, 2))
    stop, begun = start + size, journal["finished"]
    corners = product(
        *(range(a // cell * cell, b, cell) for a, b in zip(start, stop, strict=True))
    )
    corners, waiting = np.array(list(corners)), deque()
    reading, computing = Lock(), Lock()

    def answer(corner):
        """Read a window, mirrored beyond the image; give its pixels and the answer."""
        ends = np.array([corner - margin, corner + cell + margin])
        inside = ends.clip(0, plan.image.shape)
        with reading:
            pixels = plan.read(tuple(inside.T.tolist()))
        around = [(0, 0), *abs(ends - inside).T]
        pixels = np.moveaxis(np.pad(pixels, around, mode="symmetric"), 0, -1)
        shown = fill_nodata(pixels)
        with computing:
            return pixels, None if np.isnan(pixels).all() else plan.predictor(shown)

    def write(corner, pixels, made):
        """Write the part of an answer that is wanted; what is not written has no data."""
        if made is not None:
            wanted = np.array([corner, corner + cell]).clip(start, stop)
            ends = wanted - corner + margin
            own = pixels[tuple(map(slice, *ends))]
            made = made[tuple(map(slice, *(ends * scale)))]
            made = _finished(plan, journal, made, own)
            working.write(folder, plan.outputs, (wanted - start) * scale, made)
        journal["finished"] += 1
        working.note(folder, journal)

    with (
        ThreadPoolExecutor(2) as pool,
        tqdm(total=len(corners), initial=begun, **progress) as bar,
    ):
        for corner in [
            *corners[begun:],
            None,
            None,
        ]:  # two ahead of the one that is written
            waiting.append((corner, corner is not None and pool.submit(answer, corner)))
            if len(waiting) > 2:
                corner, answered = waiting.popleft()
                write(corner, *answered.result())
                bar.update()


def _finished(plan, journal, made, own):
    """Return the pixels to write: classes, gaps as in the file, cloud as asked for."""
    about, gaps = plan.about, np.isnan(own).any(axis=-1)
    if about["classes"]:
        made = made.argmax(axis=-1, keepdims=True).astype("float32")
    if about["masks"]:
        image, masks = np.split(made, [len(about["bands_out"])], axis=-1)  # views
        clear = (masks < about.get("changed_above", CHANGED)).all(axis=-1) & ~gaps
        journal["clear"] += int(clear.sum())
        journal["seen"] += int((~gaps).sum())
        if plan.only_clouded:
            image[clear] = own[clear]
        if plan.opaque:
            image[masks[..., 0] >= OPAQUE] = np.nan
        masks.clip(0, 1, out=masks)
    made[np.kron(gaps, np.ones([about["scale"]] * 2)) > 0] = np.nan
    return made
