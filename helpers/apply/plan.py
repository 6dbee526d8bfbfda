"""Validate inputs; choose bands, value ranges and windows."""

import warnings
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import MaskFlags

from helpers.apply.clouded import largest_changes
from helpers.apply.network import Predictor
from helpers.apply.windows import Grid
from helpers.scenes.bands import find_bands
from helpers.scenes.files import image_bands, read_values
from helpers.scenes.values import find_gaps, refuse_misfit, refuse_no_reflectance

SAMPLE_PX = 1000  # values are looked at in an image thinned to this many pixels a side
UNIT = "reflectance x 10,000"  # of models that work on any scene
REFLECTANCE = 2  # a model whose values end below it expects reflectance
DIGITAL_NUMBERS = {(1, 0), (1e-4, 0)}  # scale and offset of numbers that stand for themselves
OUTPUT_PX, MAX_WINDOW_PX = 768, 512  # side of a window without its overlap: memory stays under 2 GB


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
        cloud_mask, opaque: as `apply` takes them.
    """

    image: rasterio.DatasetReader
    about: dict
    bands: list
    nodata: float | None
    largest: np.ndarray | None
    predictor: Predictor
    grid: Grid
    cloud_mask: bool = False
    opaque: str | None = None


def planned(
    image, network, about, *, value_range=None, scale_offset=None, nodata=None, bands=None,
    window=None, window_px=None, only_clouded=False, tta=False, spread=False, cloud_mask=False,
    opaque=None,
):  # fmt: skip
    """Plan for an open image.

    Args:
        image: open dataset.
        network, about: of `load_model`.
        value_range: None for the model's own, checked against the image; "model" for these
            unchecked; (low, high) for all bands; "auto" for percentiles of the whole image.
        scale_offset: (scale, offset) that turn the file's values into those that the model expects.
        nodata: further value that means "no data".
        bands: numbers in the file of the model's bands, in the model's order; default: by name.
        window: (column, row, width, height), pixels of `source`, to get a part of the whole.
        tta: average the answers to all eight flips and turns of the image.
        only_clouded: write the answer only where it differs from the input in any band by this
            fraction of the value range or more (True: `clouded.TOLERANCE`), and leave all else
            exactly as the file has it; the share that was left is printed. Only a clear value that
            the output would take for no data (0 beside a mask, say) moves to the next number. With
            a model that finds clouds, what counts is where it finds neither cloud nor shadow.
        window_px: side of a window without its overlap, pixels of `source`; default: what memory
            allows.
        spread: compute the standard deviation of the answers to all flips and turns, too.
        cloud_mask: return the opacity of cloud, too.
        opaque: "nodata" for no data where a cloud is opaque (0.7 or more): the ground is invented.

    Raises:
        ValueError: it cannot be done (says why).
    """
    if (cloud_mask or opaque) and not about.get("masks"):
        told = "are for models that find clouds, such as cloud_remover_sentinel2"
        raise ValueError(f"--cloud-mask and --opaque {told}")
    if opaque not in (None, "nodata"):
        raise ValueError(f"--opaque {opaque} is unknown: give --opaque nodata")
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
    return Plan(image, about, bands, nodata, largest, predictor, grid, cloud_mask, opaque)


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
            f"that order, such as --bands {','.join(map(str, range(1, len(wanted) + 1)))}"
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


def _value_ranges(image, bands, about, asked, scale_offset, nodata):
    """Return (low, high) of each band in the unit of the file: the model's, or as asked for.

    The model's own are checked against a sample of the image.
    """
    if scale_offset and asked not in (None, "model"):
        raise ValueError("give --scale-offset or --value-range: each says what values mean")
    values = _sample(image, bands, nodata, checked=asked is None)
    if asked in (None, "model"):
        ranges = _in_unit_of_file(image, bands, about["value_range"], scale_offset, asked)
        if asked is None and about.get("unit") == UNIT:
            low, high = ranges.T
            reflectance = (values - low) / (high - low) * np.ptp(about["value_range"], axis=1)
            refuse_no_reflectance(reflectance, about["bands"])
        elif asked is None:
            refuse_misfit(values, about["bands"], ranges)
    elif about.get("unit") == UNIT:
        told = (
            "--value-range cannot tell what the file's values are, --scale-offset SCALE,OFFSET can"
        )
        raise ValueError(f"the model takes {UNIT}: {told}")
    elif asked == "auto":
        values = values if len(values) else np.zeros((1, len(bands)))
        ranges = np.percentile(values, (0.5, 99.5), axis=0).T
        for name, (low, high) in zip(about["bands"], ranges, strict=True):
            if not high > low:
                raise ValueError(
                    f"band {name} is {low:g} everywhere, or has no data: give --value-range LO,HI"
                )
    else:
        low, high = asked
        if not -np.inf < low < high < np.inf:
            raise ValueError(
                f"value range {low:g},{high:g} should be two numbers, the second the larger"
            )
        ranges = [asked] * len(bands)
    return np.array(ranges, "float64")


def _sample(image, bands, nodata, checked):
    """Read the whole image, thinned out, float32 (pixels, bands); warn of what looks like gaps."""
    shape = tuple(min(side, SAMPLE_PX) for side in image.shape)
    values = np.moveaxis(read_values(image, bands, nodata, out_shape=shape), 0, -1)
    found = None if nodata is not None or has_gaps(image) else find_gaps(values)
    values = values.reshape(-1, len(bands))
    if found:
        value, share, where = found
        warnings.warn(
            f"{100 * share:.0f} % of the pixels {where} are {value:g} in all bands, and the file "
            "declares no such value as no data: they count as image. If they are none, give "
            f"--nodata {value:g}",
            stacklevel=5,
        )
        if not checked or value >= 0:  # what is less, as -9999 is, `refuse_misfit` shall see
            values = values[(values != value).any(axis=1)]
    return values[np.isfinite(values).all(axis=1)]


def has_gaps(image):
    """Return whether a file declares pixels as no data, by value, mask or alpha channel."""
    return any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)


def _in_unit_of_file(image, bands, trained, given, asked):
    """Return the model's value ranges as the file counts: by the option, or its own tags."""
    trained = np.array(trained, "float64")
    tags = [(image.scales[band - 1], image.offsets[band - 1]) for band in bands]
    if given:
        scale, offset = given
        if not 0 < scale < np.inf or not np.isfinite(offset):
            raise ValueError(
                f"--scale-offset {scale:g},{offset:g} should be a number above 0, and one"
            )
        tags = [given]
    elif trained.max() > REFLECTANCE:
        for scale, offset in set(tags) - DIGITAL_NUMBERS if asked is None else ():
            raise ValueError(
                f"the file declares scale {scale:g} and offset {offset:g}, so its numbers may not "
                "be those that the model was trained on. "
                f"--scale-offset {1e4 * scale:g},{1e4 * offset:g} makes them reflectance times "
                "10,000, as Sentinel-2's are; --value-range model takes them as they stand"
            )
        return trained
    scale, offset = np.array(tags).T[..., None]
    return (trained - offset) / scale


def output_ranges(about, ranges):
    """Return the value range of each band that is made: the model's own, else that of the input."""
    if about.get("classes"):
        return [(0, 1)] * len(about["classes"])
    if about.get("value_range_out"):
        return about["value_range_out"]
    made, taken = about["bands_out"], dict(zip(about["bands"], ranges, strict=True))
    if not set(made) <= set(taken):
        raise ValueError(
            f"the model makes the bands {', '.join(made)} from {', '.join(taken)}, and its "
            "description does not say their values: value_range_out is missing"
        )
    return [taken[band] for band in made]
