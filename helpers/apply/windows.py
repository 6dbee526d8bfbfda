"""Compute an image window by window: while one is computed, others are read and written."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise, product

import numpy as np
import rasterio

from helpers import paths
from helpers.apply.working import JOURNAL
from helpers.scenes import fill_nodata, to_file_values

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
    corners = list(product(*lines))
    begun = journal["finished"]
    with ThreadPoolExecutor(1) as pool:
        submitted = (_submit(plan, pool, corner) for corner in corners[begun:])
        # in pairs: the next is read before the answer to this is waited for
        ahead = pairwise(chain(submitted, [None]))
        for (window, own, answer), _ in tqdm(
            ahead,
            initial=begun,
            total=len(corners),
            unit="window",
            disable=not progress,
        ):
            if answer:  # what is not written has no data
                _write(plan, folder, journal, window, own, answer.result())
            journal["finished"] += 1
            paths.write_json(folder / JOURNAL, journal)


def _submit(plan, pool, corner):
    """Read a window, mirrored beyond the image, and have it computed.

    Returns:
        place of what is wanted of it in the output, slices of rows and columns; its pixels; and the
        future of the answer to it, None where there is no data.
    """
    margin = plan.predictor.margin_px
    core = np.add(corner, [[0], [plan.cell_px]])
    ends = core + [[-margin], [margin]]
    inside = ends.clip(0, plan.image.shape)
    pixels = plan.read(_slices(inside))
    pixels = np.pad(pixels, [*abs(ends - inside).T, (0, 0)], mode="symmetric")
    core = core.clip(plan.start, plan.stop)
    cut = core - ends[0]
    answer = None
    if not np.isnan(pixels).all():
        part = _slices(cut * plan.scale)
        answer = pool.submit(lambda: plan.predictor(fill_nodata(pixels))[part])
    return _slices((core - plan.start) * plan.scale), pixels[_slices(cut)], answer


def _slices(ends):
    """Return the slices of rows and columns between two corners."""
    return tuple(map(slice, *ends.tolist()))


def _write(plan, folder, journal, window, own, made):
    """Write an answer through to the disk: classes, gaps as in the file `own`, cloud as asked."""
    valid = ~np.isnan(own).any(-1)
    if plan.classes:
        made = made.argmax(-1, keepdims=True) * 1.0
    if plan.masks:
        image, masks = np.split(made, [len(plan.bands_out)], -1)  # views
        clear = (masks < plan.changed_above).all(-1) & valid
        journal["clear"] += int(clear.sum())
        journal["seen"] += int(valid.sum())
        if plan.only_clouded:
            image[clear] = own[clear]
        if plan.opaque:
            image[masks[..., 0] >= OPAQUE] = np.nan
    made[~valid.repeat(plan.scale, 0).repeat(plan.scale, 1)] = np.nan
    for name, (order, dtype, labels) in plan.outputs.items():
        values = to_file_values(made[..., order], dtype, labels["nodata"])
        with rasterio.open(folder / name, "r+") as file:
            file.write(np.moveaxis(values, -1, 0), window=window)
        paths.to_disk(folder / name)
