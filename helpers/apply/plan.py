"""Validate inputs; choose bands, value ranges and windows; describe the outputs."""

import warnings
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.transform import Affine

from helpers.apply.clouded import largest_changes
from helpers.apply.network import Predictor
from helpers.apply.windows import Grid
from helpers.apply.working import Layer
from helpers.scenes.bands import find_bands
from helpers.scenes.files import file_nodata, geotiff_profile, image_bands, read_values
from helpers.scenes.values import find_gaps, refuse_misfit

SAMPLE_PX = 1000  # values are looked at in an image thinned to this many pixels a side
REFLECTANCE = 2  # a model whose values end below it expects reflectance
OUTPUT_PX, MAX_WINDOW_PX = 768, 512  # side of a window without its overlap: memory stays under 2 GB
NO_CLASS = 255


@dataclass
class Plan:
    """Choices for one open image.

    Attributes:
        image: open dataset.
        about: `model.json`.
        bands: numbers in the file of the model's bands, in the order of the model.
        nodata: further value that means "no data", or None.
        largest: of `largest_changes`; None where every answer is written.
        predictor, grid: what computes, and where.
    """

    image: rasterio.DatasetReader
    about: dict
    bands: list
    nodata: float | None
    largest: np.ndarray | None
    predictor: Predictor
    grid: Grid


def planned(
    image, network, about, *, value_range=None, scale_offset=None, nodata=None, bands=None, window=None,
    window_px=None, only_clouded=False, tta=False, spread=False,
):  # fmt: skip
    """Plan for an open image and what `load_model` returned; all else as `apply` takes it.

    Raises:
        ValueError: it cannot be done (says why).
    """
    bands = _matching_bands(image, about["bands"], bands)
    region = _region(image, window)
    *_, (_, corner) = image.block_windows(bands[-1])
    read_values(image, bands, window=corner)  # fails where the file is truncated
    ranges = _value_ranges(image, bands, about, value_range, scale_offset, nodata)
    largest = None
    if only_clouded is not False:
        dtypes = {image.dtypes[band - 1] for band in bands}
        largest = largest_changes(only_clouded, dtypes, about, ranges)
        about = about | {"value_range_out": None}  # the input's: so are scales, offsets and units
    ranges_out = output_ranges(about, ranges)
    predictor = Predictor(network, about, ranges, ranges_out, augment=tta, spread=spread)
    cell = window_px or min(MAX_WINDOW_PX, OUTPUT_PX // about["scale"])
    grid = Grid.over(image.shape, region, cell, predictor.margin_px, predictor.multiple_px)
    return Plan(image, about, bands, nodata, largest, predictor, grid)


def _matching_bands(image, wanted, given):
    """Return the numbers of the wanted bands: as given, else by name, else by their place."""
    numbers, names = image_bands(image)
    listed = ", ".join(wanted)
    if given is not None:
        if len(given) != len(wanted) or len(set(given) & set(numbers)) < len(wanted):
            told = f"--bands should name {len(wanted)} bands, one each for {listed}"
            raise ValueError(f"{told}; the file has the bands {', '.join(map(str, numbers))}")
        return list(given)
    plain = [name.lower().replace(" ", "").replace("_", "") for name in names]
    if len(names) == len(wanted) and plain == [f"band{number}" for number in numbers]:
        told = f"the file does not name its bands: they are taken as {listed}"
        warnings.warn(f"{told}. --bands gives another order", stacklevel=4)
        return numbers
    try:
        found = find_bands(names, wanted)
    except ValueError as error:
        example = ",".join(map(str, range(1, len(wanted) + 1)))
        way_out = f"Give their numbers in the file in that order, such as --bands {example}"
        raise ValueError(f"the model expects the bands {listed}: {error}. {way_out}") from error
    called = [names[at] for at in found]
    if [name.strip().lower() for name in called] != [band.strip().lower() for band in wanted]:
        told = ", ".join(map("{} as {}".format, called, wanted))
        warnings.warn(f"bands are taken by the usual names: {told}", stacklevel=4)
    return [numbers[at] for at in found]


def _region(image, window):
    """Return (row, column, height, width) of the part that is wanted."""
    column, row, width, height = window or (0, 0, image.width, image.height)
    inside = 0 <= column < column + width <= image.width
    if not (inside and 0 <= row < row + height <= image.height):
        size = f"{image.width} pixels wide and {image.height} high"
        told = f"the window {window} (column, row, width, height) is not inside the image"
        raise ValueError(f"{told}, which is {size}")
    return row, column, height, width


def _value_ranges(image, bands, about, asked, scale_offset, nodata):
    """Return (low, high) of each band in the unit of the file: the model's, or as asked for.

    The model's own are checked against a sample of the image.
    """
    if scale_offset and asked not in (None, "model"):
        told = "each says what the values mean"
        raise ValueError(f"give --scale-offset or --value-range, not both: {told}")
    values = _sample(image, bands, nodata, checked=asked is None)
    if asked == "auto":
        return _percentiles(values, about["bands"])
    if asked not in (None, "model"):
        low, high = asked
        if not -np.inf < low < high < np.inf:
            told = "should be two numbers, the second the larger"
            raise ValueError(f"the value range {low:g},{high:g} {told}")
        return np.array([asked] * len(bands), "float64")
    ranges = _in_unit_of_file(image, bands, about["value_range"], scale_offset)
    if asked is None:
        refuse_misfit(values, about["bands"], ranges)
    return ranges


def _sample(image, bands, nodata, checked):
    """Read the whole image, thinned out, float32 (pixels, bands); warn of a collar."""
    shape = tuple(min(side, SAMPLE_PX) for side in image.shape)
    values = np.moveaxis(read_values(image, bands, nodata, out_shape=shape), 0, -1)
    found = None if nodata is not None or _has_gaps(image) else find_gaps(values)
    values = values.reshape(-1, len(bands))
    if found:
        value, share, where = found
        warnings.warn(
            f"{100 * share:.0f} % of the pixels {where} are {value:g} in all bands, and the file declares no "
            f"such value as no data: they count as image. If they are none, give --nodata {value:g}",
            stacklevel=5,
        )
        if not checked or value >= 0:  # what is less, as -9999 is, `refuse_misfit` shall see
            values = values[(values != value).any(axis=1)]
    return values[np.isfinite(values).all(axis=1)]


def _has_gaps(image):
    """Return whether a file declares pixels as no data, by value, mask or alpha channel."""
    return any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)


def _percentiles(values, names):
    """Return the 0.5th and the 99.5th of each band."""
    ranges = np.zeros((len(names), 2))
    if len(values):
        ranges = np.percentile(values, (0.5, 99.5), axis=0).T
    for name, (low, high) in zip(names, ranges, strict=True):
        if not high > low:
            told = "everywhere, or has no data: give its range as --value-range LO,HI"
            raise ValueError(f"band {name} is {low:g} {told}")
    return ranges


def _in_unit_of_file(image, bands, trained, scale_offset):
    """Return the model's value ranges as the file counts: by the option, or its own tags."""
    trained, at = np.array(trained, "float64"), np.array(bands) - 1
    if scale_offset:
        scale, offset = scale_offset
        if not 0 < scale < np.inf or not np.isfinite(offset):
            told = "should be a number above 0, and a number"
            raise ValueError(f"--scale-offset {scale:g},{offset:g} {told}")
    elif trained.max() > REFLECTANCE:
        tags = {(image.scales[place], image.offsets[place]) for place in at} - {(1, 0)}
        for scale, offset in sorted(tags):
            warnings.warn(
                f"the file declares scale {scale:g} and offset {offset:g}; the model takes its "
                "numbers as they stand. --scale-offset gives another unit",
                stacklevel=5,
            )
        return trained
    else:
        scale, offset = np.array([image.scales, image.offsets])[:, at, None]
    return (trained - offset) / scale


def output_ranges(about, ranges):
    """Return the value range of each band that is made: the model's own, else that of the input."""
    if about.get("classes"):
        return [(0, 1)] * len(about["classes"])
    if about.get("value_range_out"):
        return about["value_range_out"]
    made, taken = about["bands_out"], dict(zip(about["bands"], ranges, strict=True))
    if not set(made) <= set(taken):
        told = f"the model makes the bands {', '.join(made)} from {', '.join(taken)}"
        way_out = "its description does not say their values: value_range_out is missing"
        raise ValueError(f"{told}, and {way_out}")
    return [taken[band] for band in made]


def layers(plan, targets, digest):
    """Describe the files to write: the image, and the spread of its values.

    Args:
        plan: Plan.
        targets: one or two paths.
        digest: tells the job.
    """
    image, about, (row, column, height, width) = plan.image, plan.about, plan.grid.region
    scale, classes = about["scale"], about.get("classes")
    dtype, nodata = _kind(plan)
    names = ["class"] if classes else about["bands_out"]
    order = list(range(1, len(names) + 1))
    place, labels = _place(image, row, column, scale)
    taken = dict(zip(about["bands"], plan.bands, strict=True))
    if not about.get("value_range_out") and set(names) <= set(taken):
        kept = sorted(names, key=taken.get)  # as the file has them
        order = [kept.index(name) + 1 for name in names]
        at = [taken[name] - 1 for name in kept]
        for field in ("scales", "offsets", "units", "colorinterp"):
            labels[field] = [getattr(image, field)[i] for i in at]
        names = [image.descriptions[i] or name for i, name in zip(at, kept, strict=True)]
    labels["descriptions"] = names
    credits = filter(None, [image.tags().get("credit"), about["credit"]])
    tags = {"credit": "; ".join(dict.fromkeys(credits)), "apply_job": digest}
    made = []
    for path, kind, missing in zip(targets, (dtype, "float32"), (nodata, np.nan), strict=False):
        profile = geotiff_profile(height * scale, width * scale, names, kind, nodata=missing, **place)
        made.append(Layer(path, profile, labels, tags, order, classes))
    return made


def _kind(plan):
    """Return data type and no-data value of the output: the input's, or one that is needed."""
    image, about = plan.image, plan.about
    if about.get("classes"):
        return "uint8", NO_CLASS
    own = np.result_type(*(image.dtypes[band - 1] for band in plan.bands)).name
    dtype = about.get("dtype_out") or own
    known = image.nodata if plan.nodata is None else plan.nodata
    if known is None and np.dtype(dtype).kind == "i":
        known = max(np.iinfo(dtype).min, np.iinfo("int32").min)  # what GDAL reads back
    needed = np.dtype(dtype).kind == "f" or plan.nodata is not None or _has_gaps(image)
    return dtype, file_nodata(known if dtype == own else None, dtype, needed=needed)


def _place(image, row, column, scale):
    """Return where the output lies, and its control points and RPCs, in its own pixels."""
    labels, (points, crs), rpcs = {}, image.gcps, image.rpcs
    if points:
        for point in points:
            point.row, point.col = (point.row - row) * scale, (point.col - column) * scale
        labels["gcps"] = (points, crs)
    if rpcs:  # they count from the centre of the first pixel
        rpcs.line_off = (rpcs.line_off + 0.5 - row) * scale - 0.5
        rpcs.samp_off = (rpcs.samp_off + 0.5 - column) * scale - 0.5
        rpcs.line_scale *= scale
        rpcs.samp_scale *= scale
        labels["rpcs"] = rpcs
    if image.crs is None and not labels:
        told = "has no coordinate reference system, and so has the output: nobody can tell where it lies"
        warnings.warn(f"{(image.files or [image.name])[0]} {told}", stacklevel=4)
    transform = None
    if image.transform != Affine.identity() and not points:
        transform = image.transform @ Affine.translation(column, row) @ Affine.scale(1 / scale)
    return {"crs": image.crs, "transform": transform}, labels
