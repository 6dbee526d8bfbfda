"""`apply`: a network over a whole GeoTIFF, read, computed and written at the same time."""

import hashlib
import os
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
from helpers.apply.clouded import largest_changes, leave_clear, summary
from helpers.apply.network import Predictor, load_model, model_path
from helpers.apply.windows import Blend, Grid, read, read_numbers
from helpers.apply.working import Layer, Working
from helpers.scenes import filled
from helpers.scenes.files import file_nodata, geotiff_profile, image_bands, unplaced_is_fine

SAMPLE_PX = 1500  # "auto" value ranges are read from a scene thinned to this many pixels a side
BATCH_SIZE = 4  # windows; 2 to 4 of 144 to 272 px gave the best rate on 2 cores, 8 and 16 a little less
ENLARGED_PX = 512  # largest side of a window for networks that are given the enlarged image
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
        bands, region = _matching_bands(image, about["bands"]), _region(image, window)
        _refuse_truncated(image, bands)
        ranges = _value_ranges(image, bands, about, value_range)
        largest = largest_changes(only_clouded, image, bands, about, ranges)
        if largest is not None:
            about = about | {"value_range_out": None}  # it is the input's: so are scales, offsets and units
        ranges_out = _output_ranges(about, ranges)
        predictor = Predictor(network, about, ranges, ranges_out, augment=tta, spread=uncertainty is not None)
        if predictor.enlarge_first:  # the network sees `scale` times the pixels, and needs memory for all its channels
            window_px = min(window_px, max(1, ENLARGED_PX // about["scale"]))
        grid = Grid.over(image.shape, region, window_px, predictor.margin_px, predictor.multiple_px)
        keras_file, state = model_path(model), source.stat()
        job = {
            "model": [hashlib.sha256(keras_file.with_suffix(s).read_bytes()).hexdigest() for s in (".keras", ".json")],
            "input": [str(source.resolve()), state.st_size, state.st_mtime_ns], "bands": bands,
            "value range": [[float(low), float(high)] for low, high in ranges], "window": region,
            "size of windows": grid.cell, "test-time augmentation": tta,
            "uncertainty": [str(path.resolve()) for path in targets[1:]],
            "only clouded": None if largest is None else largest.tolist(),
        }  # fmt: skip
        working = Working(_layers(image, bands, about, region, targets), job, resume=resume)
        if image.crs is None:
            warnings.warn(
                f"{source} has no coordinate reference system, and so has the output: nobody can tell where it lies",
                stacklevel=2,
            )
        with working.begin(), ExitStack() as finals:
            temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
            _run(image, bands, predictor, grid, about["scale"], working, largest, progress)
            for number, temporary in enumerate(temporaries):
                working.deliver(number, temporary)
    if largest is not None:
        print(summary(*working.left))


def _refuse_names(source, targets):
    for path in targets:
        if source.exists() and path.exists() and source.samefile(path):
            raise ValueError(f"{path} is the input: choose another name for the output")
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the output a file name, such as {path / source.name}")
    if len({path.resolve() for path in targets}) < len(targets):
        raise ValueError(f"{targets[0]} cannot be output and uncertainty at once: choose another name for one")


def _open(source):
    try:
        return rasterio.open(source)
    except RasterioError as error:
        raise ValueError(f"{source} cannot be read as an image ({error})") from error


def _matching_bands(image, wanted):
    """1-based indices of the wanted bands: by name where the file names its bands, else by count."""
    indices, names = image_bands(image)
    if set(wanted) <= set(names):
        return [indices[names.index(band)] for band in wanted]
    unnamed = [f"band{index}" for index in indices]
    if len(indices) != len(wanted) or names != unnamed:
        raise ValueError(
            f"the model expects the bands {', '.join(wanted)}; the file has {len(names)}: {', '.join(names)}"
        )
    warnings.warn(f"the file does not name its bands: they are taken as {', '.join(wanted)}", stacklevel=3)
    return indices


def _region(image, window):
    """(row, column, height, width) of the part that is wanted."""
    column, row, width, height = window or (0, 0, image.width, image.height)
    inside = min(column, row) >= 0 and column + width <= image.width and row + height <= image.height
    if not inside or min(width, height) < 1:
        raise ValueError(
            f"the window {column},{row},{width},{height} (column, row, width, height) is not inside the image, which "
            f"is {image.width} pixels wide and {image.height} high"
        )
    return row, column, height, width


def _refuse_truncated(image, bands):
    """A ValueError where a TIFF names blocks beyond its own end, or where the last blocks cannot be read."""
    size = os.path.getsize(image.name)
    for band in bands if image.driver == "GTiff" else ():
        for (row, column), _ in image.block_windows(band):
            names = [f"BLOCK_{part}_{column}_{row}" for part in ("OFFSET", "SIZE")]
            block = [image.get_tag_item(name, "TIFF", bidx=band) for name in names]
            if all(block) and sum(map(int, block)) > size:
                raise ValueError(
                    f"{image.name} cannot be read to its end (it has {size} bytes, and names some beyond): is it whole?"
                )
        if image.interleaving and image.interleaving.value == "PIXEL":
            break  # the other bands lie in the same blocks
    *_, (_, corner) = image.block_windows(bands[-1])
    read(image, bands, window=corner)


def _value_ranges(image, bands, about, asked):
    """(low, high) of each band: as asked for, or the model's own."""
    if asked == "auto":
        return _percentiles(image, bands, about["bands"])
    if asked is not None:
        low, high = asked
        if not high > low or not np.isfinite([low, high]).all():
            raise ValueError(f"the value range {low:g},{high:g} should be two numbers, the second the larger")
        return [(low, high)] * len(bands)
    highest = max(high for _, high in about["value_range"])
    if image.dtypes[0] == "uint8" and (highest > 255 or highest <= 2):  # trained on 16 bits, or on reflectance
        raise ValueError(
            f"the file has 8-bit pixels, and the model was trained on values up to {highest:g}: say which values are "
            "dark and bright with --value-range LO,HI or --value-range auto"
        )
    return about["value_range"]


def _percentiles(image, bands, names):
    """The 0.5th and the 99.5th of each band, of pixels with data in all bands."""
    shape = [min(side, SAMPLE_PX) for side in image.shape]
    values = read(image, bands, out_shape=(len(bands), *shape)).reshape(len(bands), -1)
    values = values[:, np.isfinite(values).all(axis=0)]
    ranges = np.percentile(values, (0.5, 99.5), axis=1).T if values.size else np.zeros((len(bands), 2))
    for name, (low, high) in zip(names, ranges, strict=True):
        if not high > low:
            raise ValueError(
                f"band {name} is {low:g} everywhere, or has no data: give its range as --value-range LO,HI"
            )
    return ranges


def _output_ranges(about, ranges):
    """Value range of each band of the output: what the model says, else that of the input's band."""
    if about.get("value_range_out"):
        return about["value_range_out"]
    named = dict(zip(about["bands"], ranges, strict=True))
    if set(about["bands_out"]) <= set(named):
        return [named[band] for band in about["bands_out"]]
    if len(about["bands_out"]) != len(ranges):
        raise ValueError(
            f"the model makes the bands {', '.join(about['bands_out'])} from {', '.join(about['bands'])}, and its "
            "description does not say their values: value_range_out is missing"
        )
    return ranges


def _layers(image, bands, about, region, targets):
    """What is written: the image, and the spread of its values where that is asked for."""
    scale, names, (row, column, height, width) = about["scale"], about["bands_out"], region
    dtype = about.get("dtype_out") or image.dtypes[bands[0] - 1]
    may_miss = any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)
    own = image.nodata if dtype == image.dtypes[bands[0] - 1] else None
    nodata = file_nodata(own, dtype, needed=may_miss or np.issubdtype(np.dtype(dtype), np.floating))
    placed = image.transform != Affine.identity()
    place = {
        "crs": image.crs,
        "transform": image.transform @ Affine.translation(column, row) @ Affine.scale(1 / scale) if placed else None,
    }
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


def _run(image, bands, predictor, grid, scale, working, largest, progress):
    """Read ahead in one thread, compute in this one, write behind in another."""
    from tqdm.auto import tqdm

    cells, blend = grid.cells, Blend(grid, scale)
    size = min(BATCH_SIZE, len(cells))
    batches = [range(start, min(start + size, len(cells))) for start in range(0, len(cells), size)]
    begin = working.finished
    if grid.ramp and begin < len(cells):  # the row before is answered again, for its share in the ramps
        row = max(cells[begin][0] - 1, cells[0][0])
        begin = min(begin, next(index for index, cell in enumerate(cells) if cell[0] == row))

    def fetch(batch):
        pixels, shown = np.zeros((size, grid.side, grid.side, len(bands)), "float32"), []
        for slot, index in enumerate(batch):
            window = grid.read(image, bands, cells[index])
            # float32 is not exact for every data type
            own = None if largest is None else grid.read(image, bands, cells[index], read_numbers)
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
                same = leave_clear(part[..., : len(bands)], own[inside], largest), own[inside]
            parts.append(((top - grid.region[0]) * scale, (left - grid.region[1]) * scale, part, same))
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
