"""Reading and writing images with everything that makes them measurements: place, bands, no-data, data type."""

import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.dtypes import in_dtype_range
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from helpers.paths import atomic, require_space
from helpers.scenes.scene import Scene

MAX_READ_BYTES = 4e9  # a Scene is held in memory; whole products go through `apply`, window by window


def read(files, *, bands=None, nodata=None, credit="", name=None):
    """Read one image from one file, or from several files of one grid whose bands are stacked.

    Args:
        files: path, or list of paths, in any format that rasterio reads (GeoTIFF, JPEG 2000, PNG, JPEG, …).
        bands: names for the bands; default: the file's own, else red/green/blue where the file says so, else band1, …
        nodata: value that means "no data", where the file does not say it itself.
        credit: whom to credit; default: what `write` noted in the file.
        name: short name; default: the first file's.

    Returns:
        Scene, float32, NaN where the file's mask, alpha channel or `nodata` says that there is no data.

    Raises:
        ValueError: not an image, too large for memory, grids that differ, or a wrong number of band names.
    """
    paths, parts = [Path(path) for path in (files if isinstance(files, (list, tuple)) else [files])], []
    for path in paths:
        with _opened(path) as dataset:
            size = dataset.width * dataset.height * dataset.count * 4 * len(paths)
            if size > MAX_READ_BYTES:
                raise ValueError(
                    f"{path.name} is {dataset.width} x {dataset.height} x {dataset.count}: {size / 1e9:.1f} GB in "
                    "memory. Cut it first; `read_on_disk` and `python -m helpers apply` work on images of any size"
                )
            parts.append(_scene(path, dataset, _values(dataset)))
    first = parts[0]
    grids = [(part.height, part.width, part.transform, part.crs) for part in parts]
    if any(grid != grids[0] for grid in grids):
        raise ValueError(f"{', '.join(path.name for path in paths)} lie on different grids: resample them to one first")
    found = [f"{part.name}_{band}" if len(paths) > 1 else band for part in parts for band in part.bands]
    if bands is not None and len(bands) != len(found):
        raise ValueError(f"{paths[0].name}: {len(bands)} band names given for {len(found)} bands")
    pixels = np.concatenate([part.pixels for part in parts], axis=-1) if len(parts) > 1 else first.pixels
    if nodata is not None:
        pixels[pixels == nodata] = np.nan
    return replace(
        first, pixels=pixels, bands=tuple(bands or found), name=name or first.name,
        credit=next(filter(None, [credit, *(part.credit for part in parts)]), ""),
        nodata=first.nodata if nodata is None else nodata,
    )  # fmt: skip


def read_on_disk(path, folder, *, rows=512):
    """Open an image of any size: its pixels go, some rows at a time, into a file that is read where it is needed.

    Args:
        path: of one image, as `read` takes it.
        folder: where the file of pixels goes, 4 bytes each; an existing one of the same name is replaced.
        rows: to copy at a time.

    Returns:
        Scene whose `pixels` are a read-only numpy.memmap.

    Raises:
        ValueError: no image. OSError: not enough room.
    """
    path, file = Path(path), Path(folder) / f"{Path(path).stem}.npy"
    with _opened(path) as dataset:
        shape = (dataset.height, dataset.width, len(image_bands(dataset)[0]))
        require_space(folder, 4 * np.prod(shape, dtype=float))
        with atomic(file) as temporary:
            pixels = np.lib.format.open_memmap(temporary, "w+", "float32", shape)
            for row in range(0, shape[0], rows):
                window = Window(0, row, shape[1], min(rows, shape[0] - row))
                pixels[row : row + rows] = _values(dataset, window=window)
            pixels.flush()
            del pixels
        return _scene(path, dataset, np.load(file, mmap_mode="r"))


def _values(dataset, **options):
    """float32 (height, width, bands) of an open file, NaN where it has no data."""
    pixels = dataset.read(image_bands(dataset)[0], out_dtype="float32", masked=True, **options)
    return np.moveaxis(pixels.filled(np.nan), 0, -1)


def _scene(path, dataset, pixels):
    """Scene of the pixels of an open file."""
    transform = None if dataset.transform == Affine.identity() else dataset.transform
    return Scene(
        pixels, tuple(image_bands(dataset)[1]), transform, dataset.crs, dataset.tags().get("credit", ""), path.stem,
        dataset.dtypes[0], dataset.nodata,
    )  # fmt: skip


@contextmanager
def _opened(path):
    """The open rasterio dataset; a ValueError where it is no image, or ends too early."""
    try:
        with unplaced_is_fine(), rasterio.open(path) as dataset:
            yield dataset
    except RasterioError as error:
        reason = error.__cause__ or error
        raise ValueError(f"{path} is no readable image ({reason}); expected GeoTIFF, JP2, PNG or JPEG") from error


def unplaced_is_fine():
    """Context in which rasterio does not warn of images without a place on the ground."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)


def image_bands(dataset):
    """Numbers, from 1, and names of an open file's bands that are measurements; alpha only says where there is data."""
    every = zip(dataset.indexes, dataset.descriptions, dataset.colorinterp, strict=True)
    kept = [(index, own, colour.name) for index, own, colour in every if own or colour != ColorInterp.alpha]
    has_colours = {colour for _, _, colour in kept} == {"red", "green", "blue"}
    names = [own or (colour if has_colours else f"band{index}") for index, own, colour in kept]
    return [index for index, _, _ in kept], names


def file_nodata(nodata, dtype, *, needed):
    """The no-data value of a file: the one given if the data type can hold it, else NaN or 0 if one is needed."""
    is_float = np.issubdtype(np.dtype(dtype), np.floating)
    if nodata is not None and in_dtype_range(nodata, dtype) and (is_float or float(nodata).is_integer()):
        return nodata
    return (float("nan") if is_float else 0) if needed else None


def geotiff_profile(height, width, bands, dtype, *, nodata, crs, transform):
    """What rasterio needs to create a tiled, compressed GeoTIFF; `transform` is None where the place is unknown."""
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": len(bands), "dtype": dtype, "nodata": nodata,
        "crs": crs, "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
        "predictor": 3 if np.issubdtype(np.dtype(dtype), np.floating) else 2, "bigtiff": "if_safer",
        # else GDAL takes three bands of 8 bits for red, green, blue, and a fourth for alpha
        "photometric": "rgb" if tuple(bands) == ("red", "green", "blue") else "minisblack",
    }  # fmt: skip
    return profile if transform is None else profile | {"transform": transform}


def to_file_values(pixels, dtype, nodata):
    """Float pixels as a file stores them; a valid value that would be read back as no data moves to its neighbour.

    Args:
        pixels: float32, NaN = no data.
        dtype: NumPy name of the file's data type.
        nodata: the file's no-data value; None only where there is no NaN, or for floats.

    Returns:
        Array of `dtype`, rounded and clipped, with `nodata` for NaN.
    """
    missing = np.isnan(pixels)
    if np.issubdtype(np.dtype(dtype), np.floating):
        values = pixels.astype(dtype)
        if nodata is not None:
            nodata = values.dtype.type(nodata)
            # GDAL takes what differs by a few last bits for equal
            values[~missing & (values == nodata)] = nodata * (1 - 1e-6) if nodata else np.finfo(dtype).tiny
            values[missing] = nodata
        return values
    limits = np.iinfo(dtype)
    if missing.any() and nodata is None:
        raise ValueError(f"{missing.sum()} values have no data, and the file of {dtype} names no value for that")
    values = np.rint(np.where(missing, 0, pixels))
    values = np.clip(values, limits.min, limits.max, dtype="float64").astype(dtype)  # float32 cannot hold 2**32 - 1
    if nodata is not None:
        values[~missing & (values == nodata)] = nodata + 1 if nodata < limits.max else nodata - 1
        values[missing] = nodata
    return values


def write(scene, path):
    """Write a scene as a tiled, compressed GeoTIFF with its CRS, transform, band names, data type and no-data value.

    Args:
        scene: Scene.
        path: final name; replaced only once the new file is whole.

    Raises:
        OSError: not enough room, before anything is written.
    """
    require_space(Path(path).parent, scene.pixels.size * np.dtype(scene.dtype).itemsize)
    nodata = file_nodata(scene.nodata, scene.dtype, needed=bool(np.isnan(scene.pixels).any()))
    profile = geotiff_profile(
        scene.height, scene.width, scene.bands, scene.dtype, nodata=nodata, crs=scene.crs, transform=scene.transform
    )
    with atomic(path) as temporary, unplaced_is_fine(), rasterio.open(temporary, "w", **profile) as dataset:
        dataset.write(np.moveaxis(to_file_values(scene.pixels, scene.dtype, nodata), -1, 0))
        dataset.descriptions = scene.bands
        if scene.credit:
            dataset.update_tags(credit=scene.credit)
