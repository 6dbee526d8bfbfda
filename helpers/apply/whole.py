"""Apply a network to a whole GeoTIFF; windows are read, computed and written at the same time."""

import hashlib
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from threading import Lock

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from helpers import paths
from helpers.apply import working
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import planned
from helpers.scenes import fill_nodata, refuse_classes
from helpers.scenes.files import files_behind, opened, remove_sidecars, unplaced_is_fine

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
    targets = [_target(source, Path(path)) for path in (target, cloud_mask) if path]
    if targets[0] in targets[1:]:
        raise ValueError(f"{targets[0]} cannot be the output and its mask at once: rename one")
    target = targets[0]
    folder = target.with_name(f".{target.name}.work")
    lock = target.with_name(f".{target.name}.lock")
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        opened(source) as image,
        paths.claimed(lock, f"{target} is being written already, in process"),
    ):
        refuse_classes(source)
        job = _job(model_path(model), source, options | {"cloud_mask": cloud_mask})
        digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()
        journal = working.interrupted(folder, job) if resume else None
        if resume and not journal and all(_made_by(path, digest) for path in targets):
            print(f"{target}: already finished")
            return False
        plan = planned(image, *load_model(model), cloud_mask=cloud_mask, **options)
        classes = plan.about["classes"]
        journal = journal or working.begin(folder, plan, job, digest)
        with ExitStack() as finals:
            temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
            _compute(plan, folder, journal, desc=target.name, disable=not progress)
            for number, temporary in enumerate(temporaries):
                working.deliver(folder, number, temporary, classes)
        working.remove(folder)
        for path in targets:
            remove_sidecars(path)
        if classes:
            working.write_class_names(target, classes)
    if plan.about["masks"]:
        _tell(journal["clear"], journal["seen"])
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


def _tell(clear, seen):
    """Say how much of the pixels with data is clear."""
    share = clear / max(seen, 1)
    print(f"without cloud and shadow: {share:.1%} of the pixels with data ({clear:,} of {seen:,})")
    if share < 1 - MOST_CHANGED:
        print(
            f"note: the model takes {1 - share:.0%} of the pixels for cloud or shadow. Snow, salt "
            "and values of another unit look like cloud: compare result and image"
        )


def _compute(plan, folder, journal, **progress):
    """Read a window, compute another and write a third at the same time."""
    from tqdm.auto import tqdm

    column, row, width, height = plan.window
    rows = range(row // plan.cell_px * plan.cell_px, row + height, plan.cell_px)
    columns = range(column // plan.cell_px * plan.cell_px, column + width, plan.cell_px)
    corners, begin = list(product(rows, columns)), journal["finished"]
    reading, computing = Lock(), Lock()

    def answer(corner):
        with reading:
            pixels = _read(plan, corner)
            shown = fill_nodata(pixels)
        with computing:
            made = None if np.isnan(pixels).all() else plan.predictor(shown)
        return corner, pixels, made

    with ThreadPoolExecutor(2) as pool:
        answers = _ahead(pool, answer, corners[begin:])
        for answered in tqdm(answers, total=len(corners), initial=begin, unit="window", **progress):
            _write(plan, folder, journal, *answered)


def _ahead(pool, function, items):
    """Yield results in order, while threads are at work on the next two."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > 2:
            yield waiting.popleft().result()
    for last in waiting:
        yield last.result()


def _read(plan, corner):
    """Read a window with its margin, float32 (side, side, bands), mirrored beyond the image."""
    begin = np.subtract(corner, plan.predictor.margin_px)
    end = np.add(corner, plan.cell_px + plan.predictor.margin_px)
    first, last = begin.clip(0), np.minimum(end, plan.image.shape)
    pixels = np.moveaxis(plan.read(tuple(zip(first, last, strict=True))), 0, -1)
    around = [*zip(first - begin, end - last, strict=True), (0, 0)]
    return np.pad(pixels, around, mode="symmetric")


def _write(plan, folder, journal, corner, pixels, made):
    """Write the part of an answer that is wanted, and note it; what is not written has no data."""
    start, size = np.reshape(plan.window, (2, 2))[:, ::-1]
    first, last = np.maximum(corner, start), np.minimum(np.add(corner, plan.cell_px), start + size)
    if made is not None:
        scale, ends = plan.about["scale"], np.array([first, last]) - corner
        ends += plan.predictor.margin_px
        own = pixels[tuple(map(slice, *ends))]
        made = made[tuple(map(slice, *(ends * scale)))]
        made = _finished(plan, journal, made, own)
        working.write(folder, plan.outputs, *((first - start) * scale), made)
    journal["finished"] += 1
    paths.write_json(folder / working.JOURNAL, journal)


def _finished(plan, journal, made, own):
    """Return the pixels to write: classes, gaps as in the file, cloud as asked for."""
    about, gaps = plan.about, np.isnan(own).any(axis=-1)
    if about["classes"]:
        made = made.argmax(axis=-1, keepdims=True).astype("float32")
    if about["masks"]:
        count = len(about["bands_out"])
        image, masks = made[..., :count], made[..., count:]
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
