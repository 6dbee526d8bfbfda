"""A trained network over a whole GeoTIFF, window by window."""

from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from helpers import paths
from helpers.scenes import from_unit, to_file_values, to_unit
from helpers.scenes.files import file_nodata, geotiff_profile, image_bands, unplaced_is_fine

DESCRIPTION = ("bands", "bands_out", "scale", "value_range", "receptive_field_px", "credit")  # what model.json must say
SAMPLE_PX = 1500  # "auto" value ranges are read from a scene thinned to this many pixels a side


def load_model(model):
    """A network with what is needed to apply it.

    Args:
        model: path of a `.keras` file with its `model.json` (same name, suffix .json) beside it, or a name in
            `data/weights`.

    Returns:
        keras.Model, and the dict of its `model.json`.

    Raises:
        ValueError: there is no such model, no description beside it, or one that does not say enough.
    """
    named = paths.ROOT / "data" / "weights" / f"{model}.keras"
    path = named if named.exists() else Path(model)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in named.parent.glob("*.keras"))) or "none yet"
        raise ValueError(
            f"there is no model {model}: give the path of a .keras file, or a name in data/weights ({known})"
        )
    if not path.with_suffix(".json").exists():
        raise ValueError(f"{path.with_suffix('.json')} is missing: it says which bands and values {path.name} expects")
    about = paths.read_json(path.with_suffix(".json"))
    unsaid = [field for field in DESCRIPTION if about.get(field) is None]
    if unsaid:
        raise ValueError(
            f"{path.with_suffix('.json')} does not say {', '.join(unsaid)}, which windows cannot do without"
        )
    from helpers import models  # noqa: F401 - the layers of our own that a network may contain
    from helpers.backend import keras

    try:
        return keras.models.load_model(path, compile=False), about
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise ValueError(f"{path} cannot be loaded ({reason})") from error


def apply(model, source, target, *, value_range=None, window_px=256, progress=True):
    """Apply a network to a whole image and write the result as a GeoTIFF on the same ground.

    Windows overlap by the receptive field of the network and lose that margin again, so that no seam is left; beyond
    the edge of the image its mirror image is shown. Pixels without data stay without data, and what the network sees
    in their place is the nearest pixel with data, so that nothing is smeared. The CRS is kept, and pixel size and
    origin follow the scale.

    Args:
        model: path or name, as `load_model` takes it.
        source: image with the bands that the model expects.
        target: GeoTIFF to write; what stood there stays until the new file is whole.
        value_range: None for the model's own; (low, high) for all bands; "auto" for percentiles of the whole image.
        window_px: side of a window, pixels of `source`.
        progress: show a progress bar.

    Raises:
        ValueError: wrong bands, a file that cannot be read, target on top of source, or 8-bit pixels for a model
            that was trained on a wider range; all before anything is computed. A file that ends too early is found
            when its last windows are read.
        OSError: not enough room on the disk.
    """
    source, target = Path(source), Path(target)
    if source.exists() and target.exists() and source.samefile(target):
        raise ValueError(f"{target} is the input: choose another name for the output")
    if target.is_dir():
        raise ValueError(f"{target} is a folder: give the output a file name, such as {target / source.name}")
    with unplaced_is_fine(), _open(source) as image:
        network, about = load_model(model)
        bands = _matching_bands(image, about["bands"])
        ranges = _value_ranges(image, bands, about, value_range)
        enlarge = _Window(network, about, ranges)
        _run(image, bands, enlarge, target, about, window_px, progress)


def _open(source):
    try:
        return rasterio.open(source)
    except RasterioError as error:
        raise ValueError(f"{source} cannot be read as an image ({error})") from error


def _read(image, bands, **options):
    """float32 (bands, height, width), NaN without data."""
    try:
        return image.read(bands, out_dtype="float32", masked=True, **options).filled(np.nan)
    except RasterioError as error:
        raise ValueError(
            f"{image.name} cannot be read to its end ({error.__cause__ or error}): is it whole?"
        ) from error


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
    return indices


def _value_ranges(image, bands, about, asked):
    if asked == "auto":
        shape = [min(side, SAMPLE_PX) for side in image.shape]
        values = _read(image, bands, out_shape=(len(bands), *shape)).reshape(len(bands), -1)
        values = values[:, np.isfinite(values).all(axis=0)]
        ranges = np.percentile(values, (0.5, 99.5), axis=1).T if values.size else np.zeros((len(bands), 2))
        for band, (low, high) in zip(about["bands"], ranges, strict=True):
            if not high > low:
                raise ValueError(
                    f"band {band} is {low:g} everywhere, or has no data: give its range as --value-range LO,HI"
                )
        return ranges
    if asked is not None:
        low, high = asked
        if not high > low or not np.isfinite([low, high]).all():
            raise ValueError(f"the value range {low:g},{high:g} should be two numbers, the second the larger")
        return [(low, high)] * len(bands)
    highest = max(high for _, high in about["value_range"])
    if image.dtypes[0] == "uint8" and highest > 255:
        raise ValueError(
            f"the file has 8-bit pixels, and the model was trained on values up to {highest:g}: say which values are "
            "dark and bright with --value-range LO,HI or --value-range auto"
        )
    return about["value_range"]


class _Window:
    """What happens to the pixels of one window."""

    def __init__(self, network, about, ranges):
        self.network, self.ranges, self.scale = network, ranges, about["scale"]
        side = 8 * self.scale
        probe = network.compute_output_shape((1, side, side, len(ranges)))
        self.enlarge_first = self.scale > 1 and probe[1] == side
        field = about["receptive_field_px"] // 2 + 1
        # bicubic interpolation looks two pixels further
        self.margin = -(-field // self.scale) + 2 if self.enlarge_first else field

    def __call__(self, pixels):
        """(height, width, bands) of the file, NaN without data, to the network's answer in the same unit."""
        from helpers.pairs.resolution import upsample

        values = to_unit(_filled(pixels), self.ranges)[None]
        if self.enlarge_first:
            values = upsample(values, self.scale)
        return from_unit(self.network.predict_on_batch(values)[0], self.ranges)


def _filled(pixels):
    """Pixels without data replaced by the nearest one with data."""
    missing = np.isnan(pixels).any(axis=-1)
    if not missing.any():
        return pixels
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return pixels[tuple(nearest)]


def _run(image, bands, enlarge, target, about, window_px, progress):
    from tqdm.auto import tqdm

    scale, (height, width) = about["scale"], image.shape
    dtype = image.dtypes[0]
    may_miss = any(MaskFlags.all_valid not in flags for flags in image.mask_flag_enums)
    nodata = file_nodata(image.nodata, dtype, needed=may_miss or np.issubdtype(np.dtype(dtype), np.floating))
    placed = image.transform != Affine.identity()
    profile = geotiff_profile(
        height * scale, width * scale, about["bands_out"], dtype, nodata=nodata, crs=image.crs,
        transform=image.transform @ Affine.scale(1 / scale) if placed else None,
    )  # fmt: skip
    paths.require_space(target.parent, height * width * scale**2 * profile["count"] * np.dtype(dtype).itemsize)
    starts = [(row, column) for row in range(0, height, window_px) for column in range(0, width, window_px)]
    with paths.atomic(target) as temporary, rasterio.open(temporary, "w", **profile) as output:
        output.descriptions = about["bands_out"]
        output.update_tags(credit=about["credit"])
        for row, column in tqdm(starts, desc=target.name, unit="window", disable=not progress):
            rows, columns = min(window_px, height - row), min(window_px, width - column)
            padded = _read_padded(image, bands, row, column, rows, columns, enlarge.margin, window_px)
            inside = slice(enlarge.margin, enlarge.margin + rows), slice(enlarge.margin, enlarge.margin + columns)
            missing = np.isnan(padded[inside]).any(axis=-1)
            answer = np.full((rows * scale, columns * scale, profile["count"]), np.nan, "float32")
            if not missing.all():
                begin = enlarge.margin * scale
                answer[:] = enlarge(padded)[begin : begin + rows * scale, begin : begin + columns * scale]
                answer[np.kron(missing, np.ones((scale, scale), bool))] = np.nan
            place = Window(column * scale, row * scale, columns * scale, rows * scale)
            output.write(np.moveaxis(to_file_values(answer, dtype, nodata), -1, 0), window=place)


def _read_padded(image, bands, row, column, rows, columns, margin, window_px):
    """A window with its margin, mirrored beyond the edge of the image, always of the same size (one graph serves all).

    Returns:
        float32 (window_px + 2 margin, window_px + 2 margin, bands), NaN without data.
    """
    top, left = max(0, row - margin), max(0, column - margin)
    bottom, right = min(image.height, row + rows + margin), min(image.width, column + columns + margin)
    pixels = _read(image, bands, window=Window(left, top, right - left, bottom - top))
    side = window_px + 2 * margin
    before = top - (row - margin), left - (column - margin)
    after = side - before[0] - pixels.shape[1], side - before[1] - pixels.shape[2]
    pad = [(0, 0), (before[0], after[0]), (before[1], after[1])]
    return np.moveaxis(np.pad(pixels, pad, mode="symmetric"), 0, -1)
