"""Apply a network to a whole GeoTIFF; windows are read, computed and written at the same time."""

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
from helpers.apply.clouded import leave_clear, take_masks
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import planned
from helpers.apply.windows import blending
from helpers.apply.working import Working, work_folder
from helpers.scenes import filled
from helpers.scenes.files import (
    files_behind,
    opened,
    read_values,
    refuse_classes,
    remove_sidecars,
    unplaced_is_fine,
)

MOST_CHANGED = 0.5  # share of pixels above which the answer is doubtful
CACHE_BYTES = 128 * 2**20  # of GDAL, which takes a twentieth of all memory otherwise


def apply(
    model, source, target, *, resume=False, uncertainty=None, cloud_mask=None, progress=True,
    **options,
):  # fmt: skip
    """Apply a network to a whole image and write a cloud-optimised GeoTIFF on the same ground.

    Windows overlap, so that no seam is left (see `windows.Grid`). Beyond the edge of the image its
    mirror image is shown. Where there is no data the network is shown the nearest pixel with data,
    and the output has no data there either. The CRS is kept; pixel size, origin, ground control
    points and RPCs follow the scale. Bands come out in the order of the file, with its descriptions
    and colours. A model of classes gives one band with their palette and names.

    Args:
        model: path or name, as `load_model` takes it.
        source: image with the bands that the model expects.
        target: GeoTIFF to write; what stood there stays until the new file is whole. Finished
            windows are kept in a folder beside it until then.
        resume: go on with an interrupted run of the same job; without one, begin.
        uncertainty: GeoTIFF to write, too: the standard deviation of the answers to all eight flips
            and turns, float32, in the unit of the output; whatever `only_clouded` leaves.
        cloud_mask: GeoTIFF to write, too: the opacity of cloud that the model finds, float32, 0 to
            1; not together with `uncertainty`.
        progress: show a progress bar.
        **options: of `plan.planned`: value_range, scale_offset, nodata, bands, window, tta, …

    Returns:
        True; False where `resume` finds that the same job is already finished.

    Raises:
        ValueError: wrong bands or values, a file that cannot be read or ends too early, a map of
            classes, a target that cannot be replaced, a window outside of the image, `only_clouded`
            for a model whose output cannot hold the file's own values, an interrupted run of
            another job, or another process at work on the same target; all before anything is
            computed.
        OSError: not enough room on the disk.
    """
    source = Path(source)
    if uncertainty and cloud_mask:
        raise ValueError("--uncertainty and --cloud-mask do not go together: run apply twice")
    aside = uncertainty or cloud_mask
    targets = [_target(source, Path(path)) for path in (target, aside) if path is not None]
    if targets[0] in targets[1:]:
        told = "cannot be the output and another file at once: rename one"
        raise ValueError(f"{targets[0]} {told}")
    with opened(source) as image, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        refuse_classes(source)
        described = options | {"uncertainty": uncertainty, "cloud_mask": cloud_mask}
        job = _job(model_path(model), source, described)
        digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()
        begun = (work_folder(targets[0]) / "journal.json").exists()
        if resume and not begun and all(_made_by(path, digest) for path in targets):
            print(f"{targets[0]}: already finished")
            return False
        network, about = load_model(model)
        if about.get("classes") and uncertainty:
            raise ValueError("--uncertainty is for models of values, and this one makes classes")
        masks = {"spread": bool(uncertainty), "cloud_mask": bool(cloud_mask)}
        plan = planned(image, network, about, **masks, **options)
        lock = targets[0].with_name(f".{targets[0].name}.lock")
        with paths.claimed(lock, f"{targets[0]} is being written already, in process"):
            working = Working(plan, targets, job, resume=resume)
            with working.begin(digest), ExitStack() as finals:
                temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
                _compute(plan, working, desc=targets[0].name, disable=not progress)
                for number, temporary in enumerate(temporaries):
                    working.deliver(number, temporary)
            for path in targets:
                remove_sidecars(path)
    left, count = working.left
    if plan.largest is not None:
        print(f"left as it was: {_share(left, count)}")
    elif plan.about.get("masks"):
        print(f"without cloud and shadow: {_share(left, count)}")
    if plan.about.get("masks") and left < (1 - MOST_CHANGED) * count:
        print(
            f"note: the model takes {1 - left / count:.0%} of the pixels for cloud or shadow. "
            "Snow, salt and values of another unit look like cloud: compare result and image"
        )
    return True


def _share(left, count):
    if not count:
        return "nothing, as no pixel has data"
    return f"{100 * left / count:.1f} % of the pixels with data ({left:,} of {count:,})"


def _target(source, path):
    """Return the file to write, at the end of a link; a ValueError where it cannot be replaced."""
    if path.is_symlink():
        print(f"note: {path} is a link: {path.resolve()} is written")
    path = path.resolve()
    if source.is_dir():
        raise ValueError(f"{source} is a folder: --out DIR takes all its images")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file, such as {path / source.name}")
    if path.exists() and any(path.samefile(file) for file, *_ in files_behind(source)):
        what = "is the input" if path.samefile(source) else f"is read by {source}"
        raise ValueError(f"{path} {what}: choose another name for the output")
    if path.exists() and not path.stat().st_mode & 0o222:
        raise ValueError(f"{path} is read-only: choose another name, or allow to write it")
    return path


def _job(keras_file, source, options):
    """Describe what must be the same for an interrupted run to go on."""
    model = [paths.sha256(file) for file in (keras_file, keras_file.with_suffix(".json"))]
    job = {"model": model, "input": files_behind(source), **options}
    given = {
        name.replace("_", " "): str(value) if isinstance(value, float) else value  # also NaN
        for name, value in sorted(job.items())
        if value is not None and value is not False  # 0 may mean no data
    }
    return json.loads(json.dumps(given, default=str))  # as the journal gives it back


def _made_by(path, digest):
    """Return whether a file is the output of this very job."""
    with suppress(RasterioError), unplaced_is_fine(), rasterio.open(path) as made:
        return made.tags().get("apply_job") == digest
    return False


def _compute(plan, working, **progress):
    """Read ahead in one thread, compute in this one, write behind in another."""
    from tqdm.auto import tqdm

    grid, scale = plan.grid, plan.about["scale"]
    cells = list(enumerate(grid.cells))
    columns = len({column for _, (_, column) in cells})
    begin = working.finished
    if grid.overlap and begin < len(cells):  # the row before has a share in the overlap
        begin = max(0, begin - columns)
    blend = blending(grid.cell * scale, grid.overlap * scale)
    with (
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
        tqdm(total=len(cells), initial=begin, unit="window", **progress) as bar,
    ):
        fetched = _ahead(reader, partial(_fetch, plan), cells[begin:], 2)
        answered = map(partial(_answer, plan), fetched)
        for _ in _ahead(writer, partial(_store, plan, working, blend, columns), answered, 1):
            bar.update()


def _fetch(plan, numbered):
    """Read a window; returns its number, its cell, its pixels, and these without gaps."""
    number, cell = numbered
    pixels = plan.grid.read(partial(read_values, plan.image, plan.bands, plan.nodata), cell)
    return number, cell, pixels, filled(pixels)


def _answer(plan, fetched):
    """Compute the answer to a window; zeros where it holds no data."""
    *place, pixels, shown = fetched
    grid, scale = plan.grid, plan.about["scale"]
    if np.isfinite(pixels).any():
        return *place, pixels, plan.predictor(shown, grid.margin * scale)
    side = (grid.cell + grid.overlap) * scale
    return *place, pixels, np.zeros((side, side, plan.predictor.bands), "float32")


def _store(plan, working, blend, columns, answered):
    """Write what is complete with the answer to a window, and note it at the end of a row."""
    number, cell, pixels, estimate = answered
    complete = blend(cell[1], estimate)
    if number < working.finished:
        return
    scale, (ends, place) = plan.about["scale"], plan.grid.finished(cell)
    own = pixels[tuple(map(slice, *(ends + plan.grid.margin)))]
    if own.size:
        made = complete[tuple(map(slice, *(ends * scale)))]
        working.write(*(place * scale), _finished(plan, working, made, own))
    if (number + 1) % columns == 0:
        working.note(number + 1)


def _finished(plan, working, complete, pixels):
    """Return the pixels to write: classes, gaps as in the file, clear pixels as they were."""
    scale = plan.about["scale"]
    if plan.about.get("classes"):
        complete = complete.argmax(axis=-1).astype("float32")[..., None]
    gaps = np.isnan(pixels).any(axis=-1)
    complete[gaps.repeat(scale, axis=0).repeat(scale, axis=1)] = np.nan
    counts = 0, 0
    if plan.about.get("masks"):
        complete, counts = take_masks(complete, plan, pixels)
    elif plan.largest is not None:
        counts = leave_clear(complete[..., : len(plan.bands)], pixels, plan.largest)
    working.left = np.add(working.left, counts).tolist()
    return complete


def _ahead(pool, function, items, most):
    """Yield results in order, computed in a thread while this one goes on; `most` may wait."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
