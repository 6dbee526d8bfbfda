"""Apply a network to a whole GeoTIFF; windows are read, computed and written at the same time."""

import hashlib
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from helpers import paths
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import planned
from helpers.apply.working import Working, work_folder, write_class_names
from helpers.scenes import fill_nodata
from helpers.scenes.files import (
    files_behind,
    opened,
    refuse_classes,
    remove_sidecars,
    unplaced_is_fine,
)

OPAQUE = 0.7  # opacity from which the ground is invented
CHANGED = (0.06, 0.06)  # opacity and shadow from which a pixel is changed, unless the model says
MOST_CHANGED = 0.5  # share of pixels above which the answer is doubtful
CACHE_BYTES = 128 * 2**20  # of GDAL, which takes a twentieth of all memory otherwise


def apply(model, source, target, *, resume=False, cloud_mask=None, progress=True, **options):
    """Apply a network to a whole image and write a cloud-optimised GeoTIFF on the same ground.

    Each window is read with a margin as wide as the receptive field reaches, which is cropped from
    the answer: no seam is left. Beyond the edge of the image its mirror image is shown. Where there
    is no data the network is shown the nearest pixel with data, and the output has no data there
    either. The CRS is kept; pixel size, origin, ground control points and RPCs follow the scale.
    Bands come out in the order of the file, with its descriptions and colours. A model of classes
    gives one band with their palette and names.

    Args:
        model: path or name, as `load_model` takes it.
        source: image with the bands that the model expects.
        target: GeoTIFF to write; what stood there stays until the new file is whole. Finished
            windows are kept in a folder beside it until then.
        resume: go on with an interrupted run of the same job; without one, begin.
        cloud_mask: GeoTIFF to write, too: the opacity of cloud that the model finds, float32, 0 to
            1.
        progress: show a progress bar.
        **options: of `plan.planned`: value_range, scale_offset, nodata, bands, window, tta, …

    Returns:
        True; False where `resume` finds that the same job is already finished.

    Raises:
        ValueError: wrong bands or values, a file that cannot be read or ends too early, a map of
            classes, a target that cannot be replaced, a window outside of the image, an interrupted
            run of another job, or another process at work on the same target; all before anything
            is computed.
        OSError: not enough room on the disk.
    """
    source = Path(source)
    targets = [_target(source, Path(path)) for path in (target, cloud_mask) if path is not None]
    if targets[0] in targets[1:]:
        raise ValueError(f"{targets[0]} cannot be the output and its mask at once: rename one")
    with opened(source) as image, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        refuse_classes(source)
        job = _job(model_path(model), source, options | {"cloud_mask": cloud_mask})
        digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()
        begun = (work_folder(targets[0]) / "journal.json").exists()
        if resume and not begun and all(_made_by(path, digest) for path in targets):
            print(f"{targets[0]}: already finished")
            return False
        plan = planned(image, *load_model(model), cloud_mask=bool(cloud_mask), **options)
        lock = targets[0].with_name(f".{targets[0].name}.lock")
        with paths.claimed(lock, f"{targets[0]} is being written already, in process"):
            working = Working(plan, targets, job, digest, resume=resume)
            with ExitStack() as finals:
                temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
                _compute(plan, working, desc=targets[0].name, disable=not progress)
                for number, temporary in enumerate(temporaries):
                    working.deliver(number, temporary)
            working.remove()
            for path in targets:
                remove_sidecars(path)
            if classes := plan.about.get("classes"):
                write_class_names(targets[0], classes)
    if plan.about.get("masks"):
        _tell(*working.clear.tolist())
    return True


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
        raise ValueError(f"{path} is the input, or read by it: choose another name for the output")
    if path.exists() and not path.stat().st_mode & 0o222:
        raise ValueError(f"{path} is read-only: choose another name, or allow to write it")
    return path


def _job(keras_file, source, options):
    """Describe what must be the same for an interrupted run to go on."""
    model = [paths.sha256(file) for file in (keras_file, keras_file.with_suffix(".json"))]
    job = {"model": model, "input": files_behind(source), **options}
    return {
        name.replace("_", " "): str(value)
        for name, value in sorted(job.items())
        if value is not None and value is not False  # 0 may mean no data
    }


def _made_by(path, digest):
    """Return whether a file is the output of this very job."""
    with suppress(RasterioError), unplaced_is_fine(), rasterio.open(path) as made:
        return made.tags().get("apply_job") == digest
    return False


def _tell(clear, count):
    """Say how much of the pixels with data is clear."""
    share = clear / max(count, 1)
    print(f"without cloud and shadow: {share:.1%} of the pixels with data ({clear:,} of {count:,})")
    if clear < (1 - MOST_CHANGED) * count:
        print(
            f"note: the model takes {1 - share:.0%} of the pixels for cloud or shadow. Snow, salt "
            "and values of another unit look like cloud: compare result and image"
        )


def _compute(plan, working, **progress):
    """Read ahead in one thread, compute in this one, write behind in another."""
    from tqdm.auto import tqdm

    row, column, height, width = plan.region
    rows = range(row // plan.cell_px * plan.cell_px, row + height, plan.cell_px)
    columns = range(column // plan.cell_px * plan.cell_px, column + width, plan.cell_px)
    corners = list(product(rows, columns))
    begin = working.finished
    with (
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
        tqdm(total=len(corners), initial=begin, unit="window", **progress) as bar,
    ):
        read = _ahead(reader, partial(_read, plan), corners[begin:], 2)
        answered = map(partial(_answer, plan), read)
        for _ in _ahead(writer, partial(_write, plan, working), answered, 1):
            bar.update()


def _read(plan, corner):
    """Read a window with its margin, mirrored beyond the image.

    Returns:
        its corner, its pixels, float32 (side, side, bands), and these without gaps.
    """
    margin = plan.predictor.margin_px
    begin = np.subtract(corner, margin)
    end = begin + plan.cell_px + 2 * margin
    first, last = np.maximum(begin, 0), np.minimum(end, plan.image.shape)
    pixels = plan.read(Window(*first[::-1], *(last - first)[::-1]))
    around = zip(first - begin, end - last, strict=True)
    pixels = np.moveaxis(np.pad(pixels, [(0, 0), *around], mode="symmetric"), 0, -1)
    return corner, pixels, fill_nodata(pixels)


def _answer(plan, read):
    """Compute the answer to a window; None where it holds no data."""
    corner, pixels, shown = read
    if np.isnan(pixels).all():
        return corner, pixels, None
    return corner, pixels, plan.predictor(shown)


def _write(plan, working, answered):
    """Write the part of an answer that is wanted, and note it; what is not written has no data."""
    corner, pixels, answer = answered
    start, length = np.reshape(plan.region, (2, 2))
    first = np.maximum(corner, start)
    last = np.minimum(np.add(corner, plan.cell_px), start + length)
    ends = np.array([first, last]) - corner
    if answer is not None:
        own = pixels[tuple(map(slice, *(ends + plan.predictor.margin_px)))]
        made = _finished(plan, working, answer[tuple(map(slice, *(ends * plan.scale)))], own)
        working.write(*((first - start) * plan.scale), made)
    working.note(working.finished + 1)


def _finished(plan, working, made, own):
    """Return the pixels to write: classes, gaps as in the file, cloud as asked for."""
    gaps = np.isnan(own).any(axis=-1)
    if plan.about.get("classes"):
        made = made.argmax(axis=-1).astype("float32")[..., None]
    elif plan.about.get("masks"):
        image, found = np.split(made, [len(plan.about["bands_out"])], axis=-1)
        opacity = found[..., :1]
        clear = (found < plan.about.get("changed_above", CHANGED)).all(axis=-1) & ~gaps
        working.clear += clear.sum(), (~gaps).sum()
        if plan.only_clouded:
            image = np.where(clear[..., None], own, image)
        if plan.opaque:
            image = np.where(opacity < OPAQUE, image, np.nan)
        made = np.concatenate([image, opacity.clip(0, 1)], axis=-1)
    made[gaps.repeat(plan.scale, axis=0).repeat(plan.scale, axis=1)] = np.nan
    return made


def _ahead(pool, function, items, most):
    """Yield results in order, computed in a thread while this one goes on; `most` may wait."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
