"""`apply`: a network over a whole GeoTIFF, read, computed and written at the same time."""

import hashlib
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.transform import Affine

from helpers import paths
from helpers.apply.clouded import leave_clear
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import planned
from helpers.apply.windows import Blend, read_numbers
from helpers.apply.working import Layer, Working
from helpers.scenes import filled
from helpers.scenes.files import file_nodata, geotiff_profile, unplaced_is_fine

BATCH_SIZE = 4  # windows; 2 to 4 of 144 to 272 px gave the best rate on 2 cores, 8 and 16 a little less
CACHE_BYTES = 128 * 2**20  # of GDAL, which takes a twentieth of all memory otherwise


def apply(
    model, source, target, *, value_range=None, window=None, resume=False, tta=False, uncertainty=None,
    only_clouded=False, window_px=256, progress=True,
):  # fmt: skip
    """Apply a network to a whole image and write the result as a cloud-optimised GeoTIFF on the same ground.

    Windows overlap by the receptive field of the network and lose that margin again, so that no seam is left; where
    its context is global they are blended (see `windows.Grid`). Beyond the edge of the image its mirror image is
    shown. Pixels without data, by whatever mask the file says so, become the no-data value of the output (NaN for
    floats, 0 for integers, if the file names none); the network is shown the nearest pixel with data instead. The CRS
    is kept, and pixel size and origin follow the scale.

    Args:
        model: path or name, as `load_model` takes it.
        source: image with the bands that the model expects.
        target: GeoTIFF to write; what stood there stays until the new file is whole. Finished windows are kept in a
            folder beside it until then.
        value_range: None for the model's own; (low, high) for all bands; "auto" for percentiles of the whole image.
        window: (column, row, width, height), pixels of `source`, to get only a part of what the whole would give.
        resume: go on with an interrupted run of the same job; without one, begin.
        tta: average the answers to all eight flips and turns of the image.
        uncertainty: GeoTIFF to write, too: the standard deviation of these eight answers, float32, in the unit of
            the output; everywhere, whatever `only_clouded` leaves.
        only_clouded: write the (blended, averaged) answer only where it differs from the input in any band by this
            fraction of the value range or more (True: `clouded.TOLERANCE`), and leave all else exactly as the file has
            it; the share that was left is printed. Only a clear value that the output would take for no-data (0
            beside a mask, say) moves to the neighbouring number.
        window_px: side of a window without its overlap, pixels of `source`; less for networks that are given the
            enlarged image.
        progress: show a progress bar.

    Raises:
        ValueError: wrong bands, a file that cannot be read or ends too early, target on top of source, a window
            outside of the image, 8-bit pixels for a model that was trained on a wider range, `only_clouded` for a
            model whose output cannot hold the file's own values, or an interrupted run of another job; all before
            anything is computed.
        OSError: not enough room on the disk.
    """
    source, targets = Path(source), [Path(path) for path in (target, uncertainty) if path is not None]
    _refuse_names(source, targets)
    with unplaced_is_fine(), rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), _open(source) as image:
        network, about = load_model(model)
        plan = planned(image, network, about, value_range, window, window_px, only_clouded, tta, len(targets) == 2)
        job = _job(plan, model_path(model), source, targets)
        working = Working(_layers(plan, targets), job, resume=resume)
        if image.crs is None:
            told = "has no coordinate reference system, and so has the output: nobody can tell where it lies"
            warnings.warn(f"{source} {told}", stacklevel=2)
        with working.begin(), ExitStack() as finals:
            temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
            _run(plan, working, progress)
            for number, temporary in enumerate(temporaries):
                working.deliver(number, temporary)
    if plan.largest is not None:
        left, count = working.left
        told = f"{100 * left / max(count, 1):.1f} % of the pixels with data ({left:,} of {count:,})"
        print(f"left as it was: {told if count else 'nothing, as no pixel has data'}")


def _open(source):
    """The open rasterio dataset; a ValueError where it is no image."""
    try:
        return rasterio.open(source)
    except RasterioError as error:
        raise ValueError(f"{source} cannot be read as an image ({error})") from error


def _job(plan, keras_file, source, targets):
    """What must be the same for an interrupted run to go on, in words for people."""
    files, state = (keras_file, keras_file.with_suffix(".json")), source.stat()
    return {
        "model": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files],
        "input": [str(source.resolve()), state.st_size, state.st_mtime_ns], "bands": plan.bands,
        "value range": [[float(low), float(high)] for low, high in plan.ranges], "window": plan.grid.region,
        "size of windows": plan.grid.cell, "test-time augmentation": plan.predictor.augment,
        "uncertainty": [str(path.resolve()) for path in targets[1:]],
        "only clouded": None if plan.largest is None else plan.largest.tolist(),
    }  # fmt: skip


def _refuse_names(source, targets):
    """A ValueError where an output would be the input, a folder, or the other output."""
    for path in targets:
        if source.exists() and path.exists() and source.samefile(path):
            raise ValueError(f"{path} is the input: choose another name for the output")
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the output a file name, such as {path / source.name}")
    if len({path.resolve() for path in targets}) < len(targets):
        raise ValueError(f"{targets[0]} cannot be output and uncertainty at once: choose another name for one")


def _layers(plan, targets):
    """What is written: the image, and the spread of its values where that is asked for."""
    image, bands, about, (row, column, height, width) = plan.image, plan.bands, plan.about, plan.grid.region
    scale, names, own_dtype = about["scale"], about["bands_out"], image.dtypes[bands[0] - 1]
    dtype = about.get("dtype_out") or own_dtype
    may_miss = any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)
    needed = may_miss or np.issubdtype(np.dtype(dtype), np.floating)
    nodata = file_nodata(image.nodata if dtype == own_dtype else None, dtype, needed=needed)
    placed = image.transform != Affine.identity()
    transform = image.transform @ Affine.translation(column, row) @ Affine.scale(1 / scale) if placed else None
    place = {"crs": image.crs, "transform": transform}
    labels = {"descriptions": names}
    if not about.get("value_range_out") and set(names) <= set(about["bands"]):  # the output has the unit of the input
        order = [bands[about["bands"].index(name)] - 1 for name in names]
        labels |= {field: [getattr(image, field)[i] for i in order] for field in ("scales", "offsets", "units")}
    credits = dict.fromkeys(filter(None, [image.tags().get("credit"), about["credit"]]))
    layers = []
    for path, kind, missing in zip(targets, (dtype, "float32"), (nodata, float("nan")), strict=False):
        profile = geotiff_profile(height * scale, width * scale, names, kind, nodata=missing, **place)
        layers.append(Layer(path, profile, labels, {"credit": "; ".join(credits)}))
    return layers


def _run(plan, working, progress):
    """Read ahead in one thread, compute in this one, write behind in another."""
    from tqdm.auto import tqdm

    grid, predictor, bands, scale = plan.grid, plan.predictor, plan.bands, plan.about["scale"]
    cells, blend, (first_row, first_column, *_) = grid.cells, Blend(grid, scale), plan.grid.region
    size = min(BATCH_SIZE, len(cells))
    batches = [range(start, min(start + size, len(cells))) for start in range(0, len(cells), size)]
    begin = working.finished
    if grid.ramp and begin < len(cells):  # the row before is answered again, for its share in the ramps
        row = max(cells[begin][0] - 1, cells[0][0])
        begin = min(begin, next(index for index, cell in enumerate(cells) if cell[0] == row))

    def fetch(batch):
        pixels, shown = np.zeros((size, grid.side, grid.side, len(bands)), "float32"), []
        for slot, index in enumerate(batch):
            window = grid.read(plan.image, bands, cells[index])
            # float32 is not exact for every data type
            own = None if plan.largest is None else grid.read(plan.image, bands, cells[index], read_numbers)
            shown.append((index, np.isnan(window).any(axis=-1), own))
            pixels[slot] = filled(window)
        return shown, pixels

    def answered(fetched):
        shown, pixels = fetched
        if all(gap.all() for _, gap, _ in shown):
            side = (grid.side - 2 * grid.margin) * scale
            return shown, np.zeros((size, side, side, predictor.bands), "float32")
        return shown, predictor(pixels, grid.margin * scale)

    def store(answers):
        parts = []
        for (index, gap, own), answer in zip(*answers, strict=False):
            complete = blend(cells[index], answer)
            (top, bottom), (left, right) = grid.finished_by(cells[index])
            if index < working.finished or bottom <= top or right <= left:
                continue
            inside, same = grid.finished_part(cells[index], grid.reach), None
            part, gap = complete[grid.finished_part(cells[index], grid.ramp, scale)], gap[inside]
            if gap.any():
                part[gap.repeat(scale, axis=0).repeat(scale, axis=1)] = np.nan
            if own is not None:
                same = leave_clear(part[..., : len(bands)], own[inside], plan.largest), own[inside]
            parts.append(((top - first_row) * scale, (left - first_column) * scale, part, same))
        stop = answers[0][-1][0] + 1
        if stop > working.finished:
            working.write(parts, stop)
        return len(answers[0])

    name = working.layers[0].target.name
    with (
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as writer,
        tqdm(total=len(cells), initial=begin, desc=name, unit="window", disable=not progress) as bar,
    ):
        fetched = _ahead(reader, fetch, (batch for batch in batches if batch.stop > begin), 2)
        for windows in _ahead(writer, store, map(answered, fetched), 1):
            bar.update(windows)
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
