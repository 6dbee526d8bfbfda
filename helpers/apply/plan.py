"""Validate a job of `apply`: choose bands, value ranges, windows and the kind of output."""

from functools import partial
from math import ceil
from types import SimpleNamespace

import numpy as np
from rasterio.enums import MaskFlags

from helpers.acquire.sources import find_gaps
from helpers.apply.network import Predictor
from helpers.scenes.bands import find_bands
from helpers.scenes.files import LOWEST, file_nodata, image_bands, read_values
from helpers.scenes.values import refuse_misfit

SAMPLE_PX = 1000  # values are looked at in an image thinned to this many pixels a side
# scale and offset of numbers that stand for themselves
DIGITAL_NUMBERS = {(1, 0), (1e-4, 0)}
# side of a window without margin: memory stays under 2 GB
OUTPUT_PX = 768
MAX_WINDOW_PX = 512
LABELS = ("dtypes", "descriptions", "scales", "offsets", "units", "colorinterp")


def planned(
    image, network, about, *, value_range=None, scale_offset=None, nodata=None, bands=None,
    window=None, window_px=None, tta=False, only_clouded=False, cloud_mask=None, opaque=None,
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
        cloud_mask: GeoTIFF to write, too: the opacity of cloud that the model finds, float32, 0 to
            1.
        opaque: "nodata" for no data where a cloud is opaque (0.7 or more): the ground is invented.

    Returns:
        namespace of all that `about` says; image, only_clouded and opaque as given; window; its
        first row and column `start`, and `stop`; `read`, which reads the model's bands;
        `predictor`, which computes; `cell_px` from one window to the next; and `outputs`, dict from
        working files, of the image, and of the opacity of cloud where that is wanted, to places of
        the bands in the answer, data type, and dict of labels with the no-data value.

    Raises:
        ValueError: it cannot be done (says why).
    """
    if (cloud_mask or opaque or only_clouded) and not about["masks"]:
        raise ValueError(
            "--cloud-mask, --opaque and --only-clouded are for models such as "
            "cloud_remover_sentinel2"
        )
    window = window or (0, 0, image.width, image.height)
    size, start = np.reshape(window[::-1], (2, 2))  # rows, columns
    stop = start + size
    if not ((start >= 0) & (start < stop) & (stop <= image.shape)).all():
        raise ValueError(
            f"the window {window} (column, row, width, height) is not inside the image of "
            f"{image.width} x {image.height} pixels"
        )
    bands = _matching_bands(image, about["bands"], bands)
    read = partial(read_values, image, bands, nodata)
    read(tuple((side - 1, side) for side in image.shape))  # fails where it is truncated
    ranges = _value_ranges(image, bands, about, read, value_range, scale_offset)
    multiple_px = about["size_multiple"]
    most_px = min(MAX_WINDOW_PX, OUTPUT_PX // about["scale"], max(image.shape))
    outputs = {"journal0.tif": _output(image, about, bands, nodata, opaque)}
    if cloud_mask:
        labels = {"descriptions": ["opacity"], "nodata": np.nan}
        outputs["journal1.tif"] = [len(about["bands_out"])], "float32", labels
    return SimpleNamespace(**about | dict(
        image=image, read=read, window=window, start=start, stop=stop, outputs=outputs,
        predictor=Predictor(network, about, ranges, tta), only_clouded=only_clouded, opaque=opaque,
        cell_px=ceil((window_px or most_px) / multiple_px) * multiple_px,
    ))  # fmt: skip


def _matching_bands(image, wanted, given):
    """Return the numbers of the wanted bands in the file: as given, or by their names."""
    numbers, names = image_bands(image)
    if given:
        if {len(given), len(set(given) & set(numbers))} != {len(wanted)}:
            raise ValueError(
                f"--bands should name {len(wanted)} bands, one each for {wanted}; the file has the "
                f"bands {numbers}"
            )
        return given
    try:
        return [numbers[at] for at in find_bands(names, wanted)]
    except ValueError as error:
        raise ValueError(
            f"the model expects the bands {', '.join(wanted)}: {error}. Give their numbers in the "
            "file in that order, such as --bands 3,2,1"
        ) from error


@np.errstate(all="ignore")  # a scale of 0
def _value_ranges(image, bands, about, read, asked, scale_offset):
    """Return (low, high) of each band in the unit of the file.

    The model's own are checked against a sample of the image.
    """
    sample = read(out_shape=tuple(np.minimum(image.shape, SAMPLE_PX)))
    gap = find_gaps(sample, "the file has")
    sample[(sample == gap).all(-1)] = np.nan  # NaN equals no value
    values = sample[np.isfinite(sample).all(-1)]
    trained = np.array(about["value_range"])
    if asked in (None, "model"):
        scale, offset = scale_offset or _tags(image, bands, trained, asked)
        ranges = ((trained.T - offset) / scale).T
    elif scale_offset or about["unit"]:
        raise ValueError(
            "--value-range does not go with --scale-offset, nor with a model of a fixed unit: "
            "--scale-offset SCALE,OFFSET alone says what the file's values are"
        )
    elif asked == "auto":
        some = values if len(values) else [[np.nan] * len(bands)]
        ranges = np.percentile(some, (0.5, 99.5), axis=0).T
    else:
        ranges = np.array([asked] * len(bands))
    widths = np.diff(ranges)
    if not ((widths > 0) & (widths < np.inf)).all():
        raise ValueError(
            f"the value ranges would be {ranges.tolist()}: give --value-range LO,HI with the "
            "larger number last, and --scale-offset with a scale above 0"
        )
    if not asked:
        refuse_misfit(values * scale + offset, about["bands"], trained, about["unit"])
    return ranges.tolist()


def _tags(image, bands, trained, asked):
    """Return the scale and offset in the file's tags, which turn its numbers into the model's."""
    tags = np.take([image.scales, image.offsets], np.subtract(bands, 1), axis=1)
    if trained.max() <= 2:  # the model expects reflectance
        return tags
    odd = set(zip(*tags, strict=True)) - DIGITAL_NUMBERS
    if odd and not asked:
        scale, offset = odd.pop()
        raise ValueError(
            f"the file declares scale {scale:g} and offset {offset:g}, so its numbers may not be "
            "those that the model was trained on. --scale-offset "
            f"{1e4 * scale:g},{1e4 * offset:g} makes them reflectance times 10,000, as "
            "Sentinel-2's are; --value-range model takes them as they stand"
        )
    return 1, 0


def _output(image, about, bands, nodata, opaque):
    """Describe the image to write; bands that the file has come out in its order."""
    made = about["bands_out"]
    order = range(len(made))
    labels = {"descriptions": made, "nodata": 255}
    if about["classes"]:
        return order, "uint8", labels
    own = {
        label: [getattr(image, label)[band - 1] for band in sorted(bands)]
        for label in LABELS
    }
    dtype = np.result_type(*own.pop("dtypes")).name
    if not about["value_range_out"]:
        order = np.argsort(bands)
        labels |= own
    if nodata is None:
        nodata = LOWEST.get(dtype) if image.nodata is None else image.nodata
    whole = ([MaskFlags.all_valid],) * len(image_bands(image)[0])  # no alpha channel
    needed = opaque or image.mask_flag_enums != whole or not dtype.startswith("u")
    labels["nodata"] = file_nodata(nodata, dtype, needed=needed)
    return order, dtype, labels
