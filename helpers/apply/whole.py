"""`apply`: a network over a whole GeoTIFF, read, computed and written at the same time."""

import hashlib
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from helpers import paths
from helpers.apply.clouded import leave_clear
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import layers, planned
from helpers.apply.windows import Blend
from helpers.apply.working import Working
from helpers.scenes import filled
from helpers.scenes.files import (
    files_behind,
    opened,
    read_raw,
    read_values,
    refuse_classes,
    remove_sidecars,
    unplaced_is_fine,
)

CACHE_BYTES = 128 * 2**20  # of GDAL, which takes a twentieth of all memory otherwise


def apply(
    model, source, target, *, value_range=None, scale_offset=None, nodata=None, bands=None, window=None,
    resume=False, tta=False, uncertainty=None, only_clouded=False, window_px=None, progress=True,
):  # fmt: skip
    """Apply a network to a whole image and write the result as a cloud-optimised GeoTIFF on the same ground.

    Windows overlap by the receptive field of the network and lose that margin again, so that no seam is
    left; where its context is global they are blended (see `windows.Grid`). Beyond the edge of the image
    its mirror image is shown. The network is shown the nearest pixel with data where there is none, and
    the output has no data there either (see `scenes.read`). The CRS is kept, pixel size and origin follow
    the scale; ground control points and RPCs do, too. Bands come out in the order of the file, with its
    descriptions and colours. A model of classes gives one band with their palette and names.

    Args:
        model: path or name, as `load_model` takes it.
        source: image with the bands that the model expects.
        target: GeoTIFF to write; what stood there stays until the new file is whole. Finished windows are
            kept in a folder beside it until then.
        value_range: None for the model's own, checked against the image; "model" for these unchecked;
            (low, high) for all bands; "auto" for percentiles of the whole image.
        scale_offset: (scale, offset) that turn the file's values into those that the model expects.
        nodata: further value that means "no data".
        bands: numbers in the file of the model's bands, in the order of the model; default: by name.
        window: (column, row, width, height), pixels of `source`, to get a part of what the whole would give.
        resume: go on with an interrupted run of the same job; without one, begin.
        tta: average the answers to all eight flips and turns of the image.
        uncertainty: GeoTIFF to write, too: the standard deviation of these eight answers, float32, in the
            unit of the output; everywhere, whatever `only_clouded` leaves.
        only_clouded: write the answer only where it differs from the input in any band by this fraction of
            the value range or more (True: `clouded.TOLERANCE`), and leave all else exactly as the file has
            it; the share that was left is printed. Only a clear value that the output would take for
            no-data (0 beside a mask, say) moves to the neighbouring number.
        window_px: side of a window without its overlap, pixels of `source`; default: what memory allows.
        progress: show a progress bar.

    Returns:
        True; False where `resume` finds that the same job is already finished.

    Raises:
        ValueError: wrong bands or values, a file that cannot be read or ends too early, a map of classes,
            a target that cannot be replaced, a window outside of the image, `only_clouded` for a model
            whose output cannot hold the file's own values, an interrupted run of another job, or another
            process at work on the same target; all before anything is computed.
        OSError: not enough room on the disk.
    """
    source = Path(source)
    targets = [_target(source, Path(path)) for path in (target, uncertainty) if path is not None]
    if len(set(targets)) < len(targets):
        told = f"{targets[0]} cannot be output and uncertainty at once"
        raise ValueError(f"{told}: choose another name for one")
    lock = targets[0].with_name(f".{targets[0].name}.lock")
    with ExitStack() as stack:
        image = stack.enter_context(opened(source))
        stack.enter_context(rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES))
        refuse_classes(source)
        network, about = load_model(model)
        if about.get("classes") and uncertainty:
            raise ValueError("--uncertainty is for models of values, and this one makes classes")
        plan = planned(
            image, network, about, value_range=value_range, scale_offset=scale_offset, nodata=nodata,
            bands=bands, window=window, window_px=window_px, only_clouded=only_clouded, tta=tta,
            spread=len(targets) == 2,
        )  # fmt: skip
        stack.enter_context(paths.claimed(lock, f"{targets[0]} is being written already, in process"))
        job = _job(plan, model_path(model), source, targets)
        digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()
        working = Working(layers(plan, targets, digest), job, resume=resume)
        if resume and not working.folder.exists() and all(_made_by(path, digest) for path in targets):
            print(f"{targets[0]}: already finished")
            return False
        with working.begin(), ExitStack() as finals:
            temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
            _run(plan, working, progress)
            for number, temporary in enumerate(temporaries):
                working.deliver(number, temporary)
        for path in targets:
            remove_sidecars(path)
    if plan.largest is not None:
        left, count = working.left
        told = f"{100 * left / max(count, 1):.1f} % of the pixels with data ({left:,} of {count:,})"
        print(f"left as it was: {told if count else 'nothing, as no pixel has data'}")
    return True


def _target(source, path):
    """Return the file to write, at the end of a link; a ValueError where it cannot be replaced."""
    if path.is_symlink():
        print(f"note: {path} is a link: {path.resolve()} is written")
    path = path.resolve()
    if source.exists() and path.exists() and source.samefile(path):
        raise ValueError(f"{path} is the input: choose another name for the output")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the output a file name, such as {path / source.name}")
    if path.exists() and not path.stat().st_mode & 0o222:
        raise ValueError(f"{path} is read-only: choose another name, or allow to write it")
    return path


def _made_by(path, digest):
    """Return whether a file is the output of this very job."""
    if not path.exists():
        return False
    with suppress(RasterioError), unplaced_is_fine(), rasterio.open(path) as made:
        return made.tags().get("apply_job") == digest
    return False


def _job(plan, keras_file, source, targets):
    """Describe what must be the same for an interrupted run to go on, in words for people."""
    files = keras_file, keras_file.with_suffix(".json")
    return {
        "model": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
        "input": files_behind(source), "bands": plan.bands, "order of bands": plan.names,
        "value range": plan.ranges.tolist(), "no data": plan.nodata, "window": plan.grid.region,
        "size of windows": plan.grid.cell, "test-time augmentation": plan.predictor.augment,
        "uncertainty": [str(path) for path in targets[1:]],
        "only clouded": None if plan.largest is None else plan.largest.tolist(),
    }  # fmt: skip


def _fetch(plan, cell):
    """Read a window: its cell, where it has no data, its own numbers, and what the network is shown."""
    window = plan.grid.read(read_values, plan.image, plan.bands, cell, plan.nodata)
    own = None
    if plan.largest is not None:  # float32 is not exact for every data type
        own = plan.grid.read(read_raw, plan.image, plan.bands, cell)
    return cell, np.isnan(window).any(axis=-1), own, filled(window)


def _answer(plan, fetched):
    """Compute the answer to a window; its margin is gone."""
    cell, gap, own, pixels = fetched
    scale, margin = plan.about["scale"], plan.grid.margin
    if gap.all():
        side = (plan.grid.side - 2 * margin) * scale
        return cell, gap, own, np.zeros((side, side, plan.predictor.bands), "float32")
    return cell, gap, own, plan.predictor(pixels[None], margin * scale)[0]


def _store(plan, working, blend, answered):
    """Write what is complete now that one more window is answered."""
    cell, gap, own, answer = answered
    grid, scale = plan.grid, plan.about["scale"]
    complete = blend(cell, answer)
    (top, bottom), (left, right) = grid.finished_by(cell)
    number = grid.cells.index(cell)
    if number < working.finished:
        return
    if bottom <= top or right <= left:
        working.finished = number + 1
        return
    inside, same = grid.finished_part(cell, grid.reach), None
    part = complete[grid.finished_part(cell, grid.ramp, scale)]
    if plan.about.get("classes"):
        part = part.argmax(axis=-1).astype("float32")[..., None]
    gap = gap[inside]
    if gap.any():
        part[gap.repeat(scale, axis=0).repeat(scale, axis=1)] = np.nan
    if own is not None:
        own = own[inside]
        same = leave_clear(part[..., : len(plan.bands)], own, plan.largest), own
    row, column, *_ = grid.region
    working.write((top - row) * scale, (left - column) * scale, part, same, number + 1)


def _run(plan, working, progress):
    """Read ahead in one thread, compute in this one, write behind in another."""
    from tqdm.auto import tqdm

    grid, cells = plan.grid, plan.grid.cells
    blend, begin = Blend(grid, plan.about["scale"]), working.finished
    if grid.ramp and begin < len(cells):  # the row before is answered again, for its share in the ramps
        row = max(cells[begin][0] - 1, cells[0][0])
        begin = min(begin, next(index for index, cell in enumerate(cells) if cell[0] == row))
    name = working.layers[0].target.name
    with (
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
        tqdm(total=len(cells), initial=begin, desc=name, unit="window", disable=not progress) as bar,
    ):
        fetched = _ahead(reader, partial(_fetch, plan), cells[begin:], 2)
        answered = map(partial(_answer, plan), fetched)
        for _ in _ahead(writer, partial(_store, plan, working, blend), answered, 1):
            bar.update()
        working.note()
        bar.set_postfix_str("putting the file together")


def _ahead(pool, function, items, most):
    """Results of a function, in order, each computed by a thread while this one goes on; `most` may wait at a time."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
