"""What `apply` decides before anything is computed: which bands, which values, which windows; or that it cannot be."""

import os
import warnings
from dataclasses import dataclass

import numpy as np
import rasterio

from helpers.apply.clouded import largest_changes
from helpers.apply.network import Predictor
from helpers.apply.windows import Grid, read
from helpers.scenes.files import image_bands

SAMPLE_PX = 1500  # "auto" value ranges are read from a scene thinned to this many pixels a side
ENLARGED_PX = 512  # largest side of a window for networks that are given the enlarged image


@dataclass
class Plan:
    """What is to be computed from an open image."""

    image: rasterio.DatasetReader
    bands: list  # 1-based indices of those that the network sees
    about: dict  # `model.json`
    ranges: list  # (low, high) of each band
    largest: np.ndarray | None  # of `largest_changes`
    predictor: Predictor
    grid: Grid


def planned(image, network, about, value_range, window, window_px, only_clouded, augment, spread):
    """The Plan for an open image and what `load_model` returned; all else as `apply` takes it.

    Raises:
        ValueError: it cannot be done (says why).
    """
    bands, region = _matching_bands(image, about["bands"]), _region(image, window)
    _refuse_truncated(image, bands)
    ranges = _value_ranges(image, bands, about, value_range)
    largest = largest_changes(only_clouded, image, bands, about, ranges)
    if largest is not None:
        about = about | {"value_range_out": None}  # it is the input's: so are scales, offsets and units
    predictor = Predictor(network, about, ranges, _output_ranges(about, ranges), augment=augment, spread=spread)
    if predictor.enlarge_first:  # the network sees `scale` times the pixels, and needs memory for all its channels
        window_px = min(window_px, max(1, ENLARGED_PX // about["scale"]))
    grid = Grid.over(image.shape, region, window_px, predictor.margin_px, predictor.multiple_px)
    return Plan(image, bands, about, ranges, largest, predictor, grid)


def _matching_bands(image, wanted):
    """1-based indices of the wanted bands: by name where the file names its bands, else by count."""
    indices, names = image_bands(image)
    if set(wanted) <= set(names):
        return [indices[names.index(band)] for band in wanted]
    unnamed = [f"band{index}" for index in indices]
    if len(indices) != len(wanted) or names != unnamed:
        told = f"the file has {len(names)}: {', '.join(names)}"
        raise ValueError(f"the model expects the bands {', '.join(wanted)}; {told}")
    warnings.warn(f"the file does not name its bands: they are taken as {', '.join(wanted)}", stacklevel=4)
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
                told = f"it has {size} bytes, and names some beyond"
                raise ValueError(f"{image.name} cannot be read to its end ({told}): is it whole?")
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
            told = f"band {name} is {low:g} everywhere, or has no data"
            raise ValueError(f"{told}: give its range as --value-range LO,HI")
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
