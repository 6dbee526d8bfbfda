"""Validate a job of `apply`: choose bands, value ranges, windows and the kind of output."""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.enums import MaskFlags

from helpers.apply.network import Predictor, rounded_up
from helpers.scenes.bands import find_bands
from helpers.scenes.files import file_nodata, image_bands, read_values
from helpers.scenes.values import NO_MEASUREMENT, find_gaps, refuse_misfit

SAMPLE_PX = 1000  # values are looked at in an image thinned to this many pixels a side
UNIT = "reflectance x 10,000"  # of models that work on any scene
REFLECTANCE = 2  # a model whose values end below it expects reflectance
DIGITAL_NUMBERS = {(1, 0), (1e-4, 0)}  # scale and offset of numbers that stand for themselves
OUTPUT_PX, MAX_WINDOW_PX = 768, 512  # side of a window without margin: memory stays under 2 GB
NO_CLASS = 255
CLOUD_OPTIONS = "--cloud-mask, --opaque and --only-clouded"


@dataclass
class Plan:
    """Choices for one open image.

    Attributes:
        image: open dataset.
        about: `model.json`.
        scale: output pixels to a pixel of the file.
        read: function of `window` that reads the model's bands, as `read_values` does.
        region: (row, column, height, width) that is wanted, pixels of the file.
        predictor: what computes.
        cell_px: from one window to the next.
        output: what comes out.
        only_clouded, opaque: as `apply` takes them.
    """

    image: rasterio.DatasetReader
    about: dict
    scale: int
    read: partial
    region: tuple
    predictor: Predictor
    cell_px: int
    output: "Output"
    only_clouded: bool
    opaque: str | None


class Output(NamedTuple):
    """Describe the output: bands, by place in the answer, number in the file and name; type.

    There are no numbers where the bands that come out are not those of the file.
    """

    order: list
    numbers: list
    names: list
    dtype: str
    nodata: float | None


def planned(
    image, network, about, *, value_range=None, scale_offset=None, nodata=None, bands=None,
    window=None, window_px=None, tta=False, only_clouded=False, cloud_mask=False, opaque=None,
):  # fmt: skip
    """Plan the job for an open image.

    Args:
        image: open dataset.
        network, about: of `load_model`.
        value_range: None for the model's own, checked against the image; "model" for these
            unchecked; (low, high) for all bands; "auto" for percentiles of the whole image.
        scale_offset: (scale, offset) that turn the file's values into those of the model.
        nodata: further value that means "no data".
        bands: numbers in the file of the model's bands, in the model's order; default: by name.
        window: (column, row, width, height), pixels of `image`, to get a part of the whole.
        window_px: side of a window, pixels of `image`; default: what memory allows.
        tta: average the answers to all eight flips and turns of the image.
        only_clouded: leave pixels without cloud and shadow exactly as the file has them. Only what
            the output would take for no data (0 beside a mask, say) moves to the next number.
        cloud_mask: whether the opacity of cloud is wanted.
        opaque: "nodata" for no data where a cloud is opaque (0.7 or more): the ground is invented.

    Raises:
        ValueError: it cannot be done (says why).
    """
    if (cloud_mask or opaque or only_clouded) and not about.get("masks"):
        raise ValueError(f"{CLOUD_OPTIONS} are for models such as cloud_remover_sentinel2")
    if image.crs is None and not image.gcps[0] and not image.rpcs:
        warnings.warn(
            f"{(image.files or [image.name])[0]} has no coordinate reference system, and so has "
            "the output: nobody can tell where it lies",
            stacklevel=3,
        )
    bands = _matching_bands(image, about["bands"], bands)
    region = _region(image, window)
    *_, (_, corner) = image.block_windows(bands[-1])
    read = partial(read_values, image, bands, nodata)
    read(corner)  # fails where the file is truncated
    values = _sample(read, image.shape, checked=value_range is None)
    ranges = _value_ranges(image, bands, about, values, value_range, scale_offset)
    predictor = Predictor(network, about, ranges, output_ranges(about, ranges), tta=tta)
    scale = about["scale"]
    cell_px = min(window_px or min(MAX_WINDOW_PX, OUTPUT_PX // scale), max(image.shape))
    cell_px = rounded_up(cell_px, predictor.multiple_px)
    output = _output(image, about, bands, nodata, opaque)
    return Plan(image, about, scale, read, region, predictor, cell_px, output, only_clouded, opaque)


def _matching_bands(image, wanted, given):
    """Return the numbers of the wanted bands: as given, else by name, else by their place."""
    numbers, names = image_bands(image)
    listed = ", ".join(wanted)
    if given is not None:
        if len(given) != len(wanted) or len(set(given) & set(numbers)) < len(wanted):
            raise ValueError(
                f"--bands should name {len(wanted)} bands, one each for {listed}; the file has the "
                f"bands {', '.join(map(str, numbers))}"
            )
        return list(given)
    plain = [name.lower().replace(" ", "").replace("_", "") for name in names]
    if len(names) == len(wanted) and plain == [f"band{number}" for number in numbers]:
        told = f"the file does not name its bands: they are taken as {listed}"
        warnings.warn(f"{told}. --bands gives another order", stacklevel=4)
        return numbers
    try:
        return [numbers[at] for at in find_bands(names, wanted)]
    except ValueError as error:
        raise ValueError(
            f"the model expects the bands {listed}: {error}. Give their numbers in the file in "
            "that order, such as --bands 3,2,1"
        ) from error


def _region(image, window):
    """Return (row, column, height, width) of the part that is wanted."""
    column, row, width, height = window or (0, 0, image.width, image.height)
    end, bottom = column + width, row + height
    if not (0 <= column < end <= image.width and 0 <= row < bottom <= image.height):
        raise ValueError(
            f"the window {window} (column, row, width, height) is not inside the image, which is "
            f"{image.width} pixels wide and {image.height} high"
        )
    return row, column, height, width


def _value_ranges(image, bands, about, values, asked, scale_offset):
    """Return (low, high) of each band in the unit of the file.

    The model's own are checked against `values`, a sample of the image.
    """
    trained = np.array(about["value_range"], "float64")
    is_physical = about.get("unit") == UNIT
    if asked in (None, "model"):
        scale, offset = scale_offset or _tags(image, bands, trained, asked)
        with np.errstate(divide="ignore"):
            ranges = ((trained.T - offset) / scale).T
    elif scale_offset or is_physical:
        raise ValueError(
            f"--value-range does not go with --scale-offset, nor with a model of {UNIT}: "
            "--scale-offset SCALE,OFFSET alone says what the file's values are"
        )
    elif asked == "auto":
        values = values if len(values) else np.zeros((1, len(bands)))
        ranges = np.percentile(values, (0.5, 99.5), axis=0).T
    else:
        ranges = np.array([asked] * len(bands), "float64")
    for name, (low, high) in zip(about["bands"], ranges, strict=True):
        if not -np.inf < low < high < np.inf:
            raise ValueError(
                f"the value range of band {name} would be {low:g} to {high:g}: give --value-range "
                "LO,HI with the larger number last, and --scale-offset with a scale above 0"
            )
    if asked is None:
        refuse_misfit(values * scale + offset, about["bands"], trained, is_physical)
    return ranges


def _sample(read, shape, checked):
    """Read the whole image, thinned out, float32 (pixels, bands); say what looks like gaps."""
    values = np.moveaxis(read(out_shape=tuple(np.minimum(shape, SAMPLE_PX))), 0, -1)
    found = find_gaps(values)
    values = values.reshape(-1, values.shape[-1])
    if found:
        value, where = found
        told = (
            f"pixels {where} are {value:g} in all bands, which looks like no data, and the file "
            f"declares no such value: give --nodata {value:g}"
        )
        if checked and value <= NO_MEASUREMENT:
            raise ValueError(told)
        warnings.warn(f"{told} if it is. Until then they count as image", stacklevel=5)
        values = values[(values != value).any(axis=1)]
    return values[np.isfinite(values).all(axis=1)]


def _tags(image, bands, trained, asked):
    """Return scale and offset that make the file's numbers those of the model, by its tags."""
    tags = [(image.scales[band - 1], image.offsets[band - 1]) for band in bands]
    if trained.max() <= REFLECTANCE:
        return np.array(tags).T
    odd = set(tags) - DIGITAL_NUMBERS
    if odd and asked is None:
        scale, offset = odd.pop()
        raise ValueError(
            f"the file declares scale {scale:g} and offset {offset:g}, so its numbers may not be "
            "those that the model was trained on. "
            f"--scale-offset {1e4 * scale:g},{1e4 * offset:g} makes them reflectance times 10,000, "
            "as Sentinel-2's are; --value-range model takes them as they stand"
        )
    return 1, 0


def output_ranges(about, ranges):
    """Return the value range of each band that is made: the model's own, else that of the input."""
    if about.get("classes"):
        return [(0, 1)] * len(about["classes"])
    taken = dict(zip(about["bands"], ranges, strict=True))
    try:
        return about.get("value_range_out") or [taken[band] for band in about["bands_out"]]
    except KeyError as band:
        raise ValueError(
            f"the model's description does not say the values of {band}: value_range_out is missing"
        ) from None


def _output(image, about, bands, nodata, opaque):
    made, number = about["bands_out"], dict(zip(about["bands"], bands, strict=True))
    kept = [number.get(name, 0) for name in made]
    if about.get("value_range_out") or 0 in kept:
        kept, order = [], list(range(len(made)))
    else:
        kept, order = sorted(kept), np.argsort(kept).tolist()
    names = [made[at] for at in order]
    own = [image.descriptions[at - 1] for at in kept] or names
    names = [given or name for given, name in zip(own, names, strict=True)]
    if about.get("classes"):
        return Output(order, kept, names, "uint8", NO_CLASS)
    widest = np.result_type(*(image.dtypes[band - 1] for band in bands)).name
    dtype = about.get("dtype_out") or widest
    known = image.nodata if nodata is None else nodata
    if known is None and np.dtype(dtype).kind == "i":
        known = max(np.iinfo(dtype).min, np.iinfo("int32").min)  # what GDAL reads back
    has_gaps = any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)
    needed = np.dtype(dtype).kind == "f" or nodata is not None or opaque or has_gaps
    nodata = file_nodata(known if dtype == widest else None, dtype, needed=needed)
    return Output(order, kept, names, dtype, nodata)
