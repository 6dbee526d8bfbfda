"""Reading and writing images with everything that makes them measurements: place, bands, no-data, data type."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from helpers.paths import atomic, require_space
from helpers.scenes.scene import Scene

MAX_READ_BYTES = 4e9  # a Scene is held in memory; whole products go through `apply`, window by window


def read(files, *, bands=None, nodata=None, credit="", name=None):
    """Read one image from one file, or from several files of one grid whose bands are stacked.

    Args:
        files: path, or list of paths, in any format that rasterio reads (GeoTIFF, JPEG 2000, PNG, JPEG, …).
        bands: names for the bands; default: the file's own, else red/green/blue where the file says so, else band1, …
        nodata: value that means "no data", where the file does not say it itself.
        credit: whom to credit.
        name: short name; default: the first file's.

    Returns:
        Scene, float32, NaN where the file's mask or `nodata` says that there is no data.

    Raises:
        ValueError: not an image, too large for memory, grids that differ, or a wrong number of band names.
    """
    paths = [Path(path) for path in (files if isinstance(files, (list, tuple)) else [files])]
    parts, found = [], []
    for path in paths:
        try:
            with warnings.catch_warnings(), rasterio.open(path) as dataset:
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                size = dataset.width * dataset.height * dataset.count * 4 * len(paths)
                if size > MAX_READ_BYTES:
                    raise ValueError(
                        f"{path.name} is {dataset.width} x {dataset.height} x {dataset.count}: {size / 1e9:.1f} GB in "
                        "memory. Cut it first, or use `python -m helpers apply`, which works window by window"
                    )
                pixels = dataset.read(out_dtype="float32", masked=True)
                grid = (dataset.height, dataset.width, dataset.transform, dataset.crs)
                parts.append((grid, dataset.dtypes[0], dataset.nodata))
                found += _band_names(dataset, path if len(paths) > 1 else None)
        except rasterio.errors.RasterioError as error:
            raise ValueError(f"{path} is no readable image ({error}); expected GeoTIFF, JP2, PNG or JPEG") from error
        values = np.moveaxis(pixels.filled(np.nan), 0, -1)
        if nodata is not None:
            values[values == nodata] = np.nan
        parts[-1] += (values,)
    if any(part[0] != parts[0][0] for part in parts):
        raise ValueError(f"{', '.join(path.name for path in paths)} lie on different grids: resample them to one first")
    if bands is not None and len(bands) != len(found):
        raise ValueError(f"{paths[0].name}: {len(bands)} band names given for {len(found)} bands")
    (_, _, transform, crs), dtype, own_nodata, _ = parts[0]
    return Scene(
        pixels=np.concatenate([part[-1] for part in parts], axis=-1) if len(parts) > 1 else parts[0][-1],
        bands=tuple(bands or found),
        transform=None if transform == Affine.identity() else transform,
        crs=crs,
        credit=credit,
        name=name or paths[0].stem,
        dtype=dtype,
        nodata=own_nodata if nodata is None else nodata,
    )


def _band_names(dataset, prefix):
    colours = [colour.name for colour in dataset.colorinterp]
    named = colours if set(colours) == {"red", "green", "blue"} else [f"band{i + 1}" for i in range(dataset.count)]
    names = [description or name for description, name in zip(dataset.descriptions, named, strict=True)]
    return names if prefix is None else [f"{prefix.stem}_{name}" for name in names]


def to_file_values(pixels, dtype, nodata):
    """Float pixels as a file stores them: rounded and clipped to `dtype`, NaN as `nodata`.

    A valid value that would be read back as "no data" moves to the neighbouring number.

    Args:
        pixels: float32, NaN = no data.
        dtype: NumPy name of the file's data type.
        nodata: the file's no-data value; None only where there is no NaN, or for floats.

    Returns:
        Array of `dtype`.
    """
    missing = np.isnan(pixels)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return pixels.astype(dtype) if nodata is None else np.where(missing, nodata, pixels).astype(dtype)
    limits = np.iinfo(dtype)
    if missing.any() and nodata is None:
        raise ValueError(f"{missing.sum()} values have no data, and the file of {dtype} names no value for that")
    values = np.clip(np.rint(np.where(missing, 0, pixels)), limits.min, limits.max).astype(dtype)
    if nodata is not None:
        values[~missing & (values == nodata)] = nodata + 1 if nodata < limits.max else nodata - 1
        values[missing] = nodata
    return values


def write(scene, path, *, dtype=None):
    """Write a scene as a tiled, compressed GeoTIFF with its CRS, transform, band names and no-data value.

    Args:
        scene: Scene.
        path: final name; replaced only once the new file is whole.
        dtype: data type to store; default: that of the file the scene came from.

    Raises:
        OSError: not enough room, before anything is written.
    """
    dtype = dtype or scene.dtype
    require_space(Path(path).parent, scene.pixels.size * np.dtype(dtype).itemsize)
    nodata = scene.nodata
    if nodata is None and np.isnan(scene.pixels).any():
        nodata = float("nan") if np.issubdtype(np.dtype(dtype), np.floating) else 0
    profile = {
        "driver": "GTiff", "height": scene.height, "width": scene.width, "count": len(scene.bands), "dtype": dtype,
        "crs": scene.crs, "nodata": nodata, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "predictor": 3 if np.issubdtype(np.dtype(dtype), np.floating) else 2,
    }  # fmt: skip
    if scene.transform is not None:
        profile["transform"] = scene.transform
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(temporary, "w", **profile) as dataset:
            dataset.write(np.moveaxis(to_file_values(scene.pixels, dtype, nodata), -1, 0))
            dataset.descriptions = scene.bands
            if scene.credit:
                dataset.update_tags(credit=scene.credit)
