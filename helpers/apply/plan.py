"""Validate inputs; choose bands, value ranges and windows; say what is written."""

import os
import warnings
from copy import copy
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import MaskFlags, PhotometricInterp
from rasterio.transform import Affine

from helpers.apply.clouded import largest_changes
from helpers.apply.network import Predictor
from helpers.apply.windows import Grid
from helpers.apply.working import Layer
from helpers.scenes.bands import find_bands
from helpers.scenes.files import file_nodata, geotiff_profile, image_bands, read_raw, read_values
from helpers.scenes.values import find_collar, refuse_misfit

SAMPLE_PX = 1000  # values are looked at in an image thinned to this many pixels a side
REFLECTANCE = 2  # a model whose values end below it expects reflectance
OUTPUT_PX, MAX_WINDOW_PX = 768, 512  # side of a window without its overlap: memory stays under 2 GB
NO_CLASS = 255


@dataclass
class Plan:
    """Choices for one open image.

    Attributes:
        image: open dataset.
        bands: 1-based indices that the network sees, in the order of the file.
        names: of these.
        about: `model.json`, its bands in the order of the file.
        ranges: (low, high) of each band, in the unit of the file.
        nodata: further value that means "no data", or None.
        largest: of `largest_changes`.
        predictor, grid: what computes, and where.
        out: indices of the bands that come out again, or None where the model makes others.
    """

    image: rasterio.DatasetReader
    bands: list
    names: list
    about: dict
    ranges: np.ndarray
    nodata: float | None
    largest: np.ndarray | None
    predictor: Predictor
    grid: Grid
    out: list | None


def planned(
    image, network, about, *, value_range=None, scale_offset=None, nodata=None, bands=None, window=None,
    window_px=None, only_clouded=False, tta=False, spread=False,
):  # fmt: skip
    """Plan for an open image and what `load_model` returned; all else as `apply` takes it.

    Raises:
        ValueError: it cannot be done (says why).
    """
    wanted = _matching_bands(image, about["bands"], bands)
    take = np.argsort(wanted)  # the model's bands in the order of the file
    bands, names = [wanted[i] for i in take], [about["bands"][i] for i in take]
    region = _region(image, window)
    _refuse_truncated(image, bands)
    trained = np.array(about["value_range"], "float64")[take]
    ranges = _value_ranges(image, bands, names, trained, value_range, scale_offset, nodata)
    made, own_values = about["bands_out"], not about.get("value_range_out") and not about.get("classes")
    give, out = list(range(len(about.get("classes") or made))), None
    if set(made) <= set(names) and (own_values or only_clouded):
        give = sorted(give, key=lambda at: names.index(made[at]))
        out = [bands[names.index(made[at])] for at in give]
        made = [made[at] for at in give]
    about = about | {"bands": names, "bands_out": made}
    if about.get("value_range_out") and not about.get("classes"):
        about["value_range_out"] = [about["value_range_out"][at] for at in give]
    largest = largest_changes(only_clouded, image, bands, about, ranges)
    if largest is not None:
        about["value_range_out"] = None  # it is the input's: so are scales, offsets and units
    ranges_out = output_ranges(about, ranges)
    predictor = Predictor(
        network, about, ranges, ranges_out, take=np.argsort(take), give=give, augment=tta, spread=spread
    )
    cell = window_px or min(MAX_WINDOW_PX, OUTPUT_PX // about["scale"])
    grid = Grid.over(image.shape, region, cell, predictor.margin_px, predictor.multiple_px)
    return Plan(image, bands, names, about, ranges, nodata, largest, predictor, grid, out)


def _matching_bands(image, wanted, given):
    """Return 1-based indices of the wanted bands: as given, else by name, else by their number."""
    indices, names = image_bands(image)
    if given is not None:
        if len(given) != len(wanted) or set(given) - set(indices) or len(set(given)) < len(given):
            told = f"--bands should name {len(wanted)} bands, one each for {', '.join(wanted)}"
            raise ValueError(f"{told}; the file has the bands {', '.join(map(str, indices))}")
        return list(given)
    plain = [name.lower().replace(" ", "").replace("_", "") for name in names]
    if len(names) == len(wanted) and plain == [f"band{index}" for index in indices]:
        told = f"the file does not name its bands: they are taken as {', '.join(wanted)}"
        warnings.warn(f"{told}. --bands gives another order", stacklevel=4)
        return indices
    try:
        found = find_bands(names, wanted)
    except ValueError as error:
        raise ValueError(
            f"the model expects the bands {', '.join(wanted)}: {error}. Give their numbers in the file "
            f"in that order, such as --bands {','.join(map(str, range(1, len(wanted) + 1)))}"
        ) from error
    called = [names[at] for at in found]
    if [name.strip().lower() for name in called] != [band.lower() for band in wanted]:
        pairs = ", ".join(f"{name} as {band}" for name, band in zip(called, wanted, strict=True))
        warnings.warn(f"bands are taken by the usual names: {pairs}", stacklevel=4)
    return [indices[at] for at in found]


def _region(image, window):
    """Return (row, column, height, width) of the part that is wanted."""
    column, row, width, height = window or (0, 0, image.width, image.height)
    inside = min(column, row) >= 0 and column + width <= image.width and row + height <= image.height
    if not inside or min(width, height) < 1:
        raise ValueError(
            f"the window {column},{row},{width},{height} (column, row, width, height) is not inside the "
            f"image, which is {image.width} pixels wide and {image.height} high"
        )
    return row, column, height, width


def _refuse_truncated(image, bands):
    """Raise a ValueError where a TIFF names blocks beyond its own end, or its last one is no block."""
    size = os.path.getsize(image.name) if image.driver == "GTiff" else 0
    for band in bands if size else ():
        for (row, column), _ in image.block_windows(band):
            names = [f"BLOCK_{part}_{column}_{row}" for part in ("OFFSET", "SIZE")]
            block = [image.get_tag_item(name, "TIFF", bidx=band) for name in names]
            if all(block) and sum(map(int, block)) > size:
                told = f"{image.name} appears truncated: it has {size} bytes and names some beyond"
                raise ValueError(f"{told}; get the file again")
        if image.interleaving and image.interleaving.value == "PIXEL":
            break  # the other bands lie in the same blocks
    *_, (_, corner) = image.block_windows(bands[-1])
    read_raw(image, bands, window=corner)


def _value_ranges(image, bands, names, trained, asked, scale_offset, nodata):
    """Return (low, high) of each band in the unit of the file: the model's, or as asked for.

    The model's own are checked against a sample of the image.
    """
    if asked not in (None, "auto", "model"):
        low, high = asked
        if not high > low or not np.isfinite([low, high]).all():
            told = f"the value range {low:g},{high:g} should be two numbers, the second the larger"
            raise ValueError(told)
    if scale_offset and asked not in (None, "model"):
        raise ValueError("give --scale-offset or --value-range, not both: each says what the values mean")
    values = _sample(image, bands, nodata)
    declared = any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)
    if nodata is None and not declared:
        values = _without_collar(values)
    if asked == "auto":
        return _percentiles(values, names)
    if asked not in (None, "model"):
        return np.array([asked] * len(bands), "float64")
    ranges = _in_unit_of_file(image, bands, trained, scale_offset)
    if asked is None:
        refuse_misfit(values.reshape(-1, len(bands)), names, ranges)
    return ranges


def _sample(image, bands, nodata):
    """Read the whole image, thinned out: float32 (height, width, bands)."""
    shape = tuple(min(side, SAMPLE_PX) for side in image.shape)
    return np.moveaxis(read_values(image, bands, nodata, out_shape=shape), 0, -1)


def _without_collar(values):
    """Take pixels of a collar out of a sample, and say so."""
    found = find_collar(values)
    if found is None:
        return values
    value, share = found
    warnings.warn(
        f"{100 * share:.0f} % of the pixels along the edges are {value:g} in all bands, and the file "
        f"declares no such value as no data: they count as image. If they are none, give --nodata {value:g}",
        stacklevel=5,
    )
    return np.where((values == value).all(axis=-1, keepdims=True), np.nan, values)


def _percentiles(values, names):
    """Return the 0.5th and the 99.5th of each band, of pixels with data in all bands."""
    values = values[np.isfinite(values).all(axis=-1)]
    ranges = np.zeros((len(names), 2))
    if len(values):
        ranges = np.percentile(values, (0.5, 99.5), axis=0).T
    for name, (low, high) in zip(names, ranges, strict=True):
        if not high > low:
            told = f"band {name} is {low:g} everywhere, or has no data"
            raise ValueError(f"{told}: give its range as --value-range LO,HI")
    return ranges


def _in_unit_of_file(image, bands, trained, scale_offset):
    """Return the model's value ranges as the file counts: by the option, or its own tags."""
    scales, offsets = np.ones(len(bands)), np.zeros(len(bands))
    if scale_offset:
        scale, offset = scale_offset
        if not scale > 0 or not np.isfinite([scale, offset]).all():
            raise ValueError(f"--scale-offset {scale:g},{offset:g} should be a number above 0, and a number")
        scales, offsets = scales * scale, offsets + offset
    elif trained.max() <= REFLECTANCE:
        scales = np.array([image.scales[band - 1] for band in bands])
        offsets = np.array([image.offsets[band - 1] for band in bands])
    return (trained - offsets[:, None]) / scales[:, None]


def output_ranges(about, ranges):
    """Return the value range of each band that is made: the model's own, else that of the input."""
    if about.get("classes"):
        return [(0, 1)] * len(about["classes"])
    if about.get("value_range_out"):
        return about["value_range_out"]
    if set(about["bands_out"]) <= set(about["bands"]):
        return [ranges[about["bands"].index(band)] for band in about["bands_out"]]
    if len(about["bands_out"]) != len(ranges):
        raise ValueError(
            f"the model makes the bands {', '.join(about['bands_out'])} from {', '.join(about['bands'])}, "
            "and its description does not say their values: value_range_out is missing"
        )
    return ranges


def layers(plan, targets, digest):
    """Describe the files to write: the image, the spread of its values; `digest` tells the job."""
    image, about, (row, column, height, width) = plan.image, plan.about, plan.grid.region
    scale, own = about["scale"], np.result_type(*(image.dtypes[band - 1] for band in plan.bands)).name
    classes = about.get("classes")
    dtype = "uint8" if classes else about.get("dtype_out") or own
    nodata = NO_CLASS if classes else _nodata_out(plan, dtype, own)
    place, labels = _place(image, row, column, scale)
    names = ["class"] if classes else about["bands_out"]
    labels |= {"descriptions": names}
    if plan.out:
        at = [band - 1 for band in plan.out]
        for field in ("scales", "offsets", "units", "colorinterp"):
            labels[field] = [getattr(image, field)[i] for i in at]
        described = any(image.descriptions)
        named = described or plan.image.photometric == PhotometricInterp.rgb
        if named:
            labels["descriptions"] = [image.descriptions[i] for i in at]
    credits = dict.fromkeys(filter(None, [image.tags().get("credit"), about["credit"]]))
    tags = {"credit": "; ".join(credits), "apply_job": digest}
    made = []
    for path, kind, missing in zip(targets, (dtype, "float32"), (nodata, float("nan")), strict=False):
        profile = geotiff_profile(height * scale, width * scale, names, kind, nodata=missing, **place)
        made.append(Layer(path, profile, labels, tags, classes))
    return made


def _nodata_out(plan, dtype, own):
    """Return the no-data value of the output: the input's, or one that is needed."""
    kind = np.dtype(dtype).kind
    known = plan.image.nodata if plan.nodata is None else plan.nodata
    if known is None and kind == "i":
        known = np.iinfo(dtype).min
    flags = plan.image.mask_flag_enums
    may_miss = plan.nodata is not None or any(MaskFlags.all_valid not in each for each in flags)
    return file_nodata(known if dtype == own else None, dtype, needed=may_miss or kind == "f")


def _place(image, row, column, scale):
    """Return where the output lies, and the labels for control points and RPCs, in its own pixels."""
    labels = {}
    points, crs = image.gcps
    if points:
        moved = [
            GroundControlPoint(
                (point.row - row) * scale, (point.col - column) * scale, point.x, point.y, point.z, point.id
            )
            for point in points
        ]
        labels["gcps"] = (moved, crs)
    if image.rpcs:
        rpcs = copy(image.rpcs)  # they count from the centre of the first pixel
        rpcs.line_off = (rpcs.line_off + 0.5 - row) * scale - 0.5
        rpcs.samp_off = (rpcs.samp_off + 0.5 - column) * scale - 0.5
        rpcs.line_scale, rpcs.samp_scale = rpcs.line_scale * scale, rpcs.samp_scale * scale
        labels["rpcs"] = rpcs
    if image.crs is None and not labels:
        told = "has no coordinate reference system, and so has the output: nobody can tell where it lies"
        name = (image.files or [image.name])[0]
        warnings.warn(f"{name} {told}", stacklevel=4)
    placed = image.transform != Affine.identity()
    moved = image.transform @ Affine.translation(column, row) @ Affine.scale(1 / scale)
    return {"crs": image.crs, "transform": moved if placed and not points else None}, labels
