"""Read and write images with what makes them measurements: place, bands, no-data, data type."""

import warnings
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
import rasterio
from rasterio.dtypes import dtype_ranges, in_dtype_range
from rasterio.enums import ColorInterp
from rasterio.errors import (
    NodataShadowWarning,
    NotGeoreferencedWarning,
    RasterioError,
)
from rasterio.profiles import DefaultGTiffProfile

from helpers.paths import atomic
from helpers.scenes.scene import Scene

MAX_VALUES = 1e9  # a Scene is held in memory; `apply` takes images of any size
COLOURS = ("red", "green", "blue")
LOWEST = {name: dtype_ranges[name][0] for name in ("int8", "int16", "int32")}
IMAGE_SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg")
SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")


def images(folder):
    """Return the image files of a folder, sorted; a file stands for itself."""
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    return [
        path
        for path in sorted(folder.glob("[!.]*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir()
    ]


def read(path, *, nodata=None, classes=True):
    """Read an image in any format that rasterio reads (GeoTIFF, JPEG 2000, PNG, …).

    Args:
        path: of the file.
        nodata: value that means "no data", if the file does not declare one.
        classes: whether a map of classes is fine, too, as well as imagery.

    Returns:
        Scene, float32, NaN where there is no data: by mask, alpha channel or `nodata`, where a
        value is infinite, and at the lowest number of the data type where no other is declared. A
        picture with a palette is expanded to its colours.

    Raises:
        ValueError: not an image, complex numbers, classes, or too large for memory.
    """
    with opened(path, classes=classes) as image:
        indexes, names = image_bands(image)
        if np.prod(image.shape) * len(names) > MAX_VALUES:
            raise ValueError(
                f"{path} is too large to be held in memory: {len(names)} bands of {image.shape} "
                "pixels. Cut it first; `python -m helpers apply` works on images of any size"
            )
        if image.gcps[0] or image.rpcs:
            warnings.warn(
                f"{path} is placed by ground control points or RPCs, which are not read: its place "
                "is unknown. Warp it to a map grid first",
                stacklevel=2,
            )
        return Scene(
            read_values(image, indexes, nodata),
            tuple(names),
            None if image.transform.is_identity else image.transform,
            image.crs,
            image.tags().get("credit", ""),
            Path(path).stem,
            image.dtypes[0],
            image.nodata if nodata is None else nodata,
            image.scales + image.offsets,
        )


def read_values(dataset, indexes, nodata=None, window=None, **options):
    """Read float32 (height, width, bands) of an open image, NaN where there is no data.

    Args:
        dataset: open rasterio dataset.
        indexes: 1-based numbers of bands.
        nodata: further value that means "no data".
        window: rasterio Window; default: all.
        **options: of rasterio, such as out_shape to thin the image out.

    Raises:
        ValueError: the file is truncated.
    """
    options |= {"window": window, "out_dtype": "float32"}
    pixels = None
    try:
        # one by one, as their data types may differ
        for at, index in enumerate(indexes):
            band = dataset.read(index, masked=True, **options).filled(np.nan)
            band[np.abs(band) > 3e38] = np.nan  # infinite, or the lowest float32
            gaps = {nodata}
            if dataset.nodata is None:
                gaps.add(LOWEST.get(dataset.dtypes[index - 1]))
            for gap in gaps - {None}:
                band[band == gap] = np.nan
            if pixels is None:
                pixels = np.empty((*band.shape, len(indexes)), "float32")
            pixels[..., at] = band
        # GDAL obeys an alpha channel beside one or three bands only, and beside no other mask
        for index in set(dataset.indexes) - set(image_bands(dataset)[0]):
            pixels[dataset.read(index, **options) == 0] = np.nan
    except RasterioError as error:
        raise ValueError(
            f"{dataset.name} is no readable image: it appears truncated or damaged "
            f"({error.__cause__ or error})"
        ) from error
    return pixels


@contextmanager
def opened(path, *, classes=True):
    """Open an image as a rasterio dataset; one with a palette is expanded to its colours.

    Raises:
        ValueError: it is no image, its numbers are complex, or they are those of `classes`, where
            such maps are not wanted.
    """
    with unplaced_is_fine():
        # here both count: the no-data value and the alpha channel
        warnings.simplefilter("ignore", NodataShadowWarning)
        try:
            dataset = rasterio.open(path)
            has_palette = ColorInterp.palette in dataset.colorinterp
            if has_palette and dataset.driver not in ("GTiff", "VRT"):
                dataset = rasterio.open(f"vrt://{path}?expand=rgba")
                has_palette = False
        except RasterioError as error:
            raise ValueError(
                f"{path} is no readable image ({error.__cause__ or error}); expected GeoTIFF, JP2, "
                "PNG or JPEG; `apply` takes a folder of them with --out. The name of a "
                "picture with a palette must hold no ?"
            ) from error
        with dataset:
            if not dataset.count or "complex" in " ".join(dataset.dtypes):
                raise ValueError(
                    f"{path} holds complex numbers or several images: save the magnitude of the "
                    "numbers, or give one of the images"
                )
            if has_palette and not classes:
                raise ValueError(
                    f"{path} has a palette: its numbers are classes, not brightness. If it is a "
                    "picture, expand its colours first: gdal_translate -expand rgb IN.tif OUT.tif"
                )
            yield dataset


def unplaced_is_fine():
    """Return a context in which rasterio does not warn of images without a place."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)


def image_bands(dataset):
    """Return numbers, from 1, and names of an open file's bands.

    An alpha channel beside others is left out: it only says where there is data. One with a name of
    its own is a band, as GDAL takes any fourth band of 8 bits for alpha.
    """
    found = {
        number: own or (colour.name if colour.name in COLOURS else f"band{number}")
        for number, own, colour in zip(
            dataset.indexes, dataset.descriptions, dataset.colorinterp, strict=True
        )
        if (own or colour.name).lower() != "alpha" or dataset.count == 1
    }
    return list(found), list(found.values())


def files_behind(path):
    """List the files that an image is read from, of a VRT those behind it, with size and time.

    Returns:
        list of [path, bytes, nanoseconds], sorted. A folder stands for the files in it.
    """
    path = Path(path).resolve()
    found = behind = []
    if path.is_dir():
        behind = path.iterdir()
    elif path.exists():
        found = [[str(path), path.stat().st_size, path.stat().st_mtime_ns]]
        behind = [f"{path}.msk"]
        if path.suffix.lower() == ".vrt":
            with opened(path) as dataset:
                behind += dataset.files[1:]
    return sorted(chain(found, *map(files_behind, behind)))


def remove_sidecars(path):
    """Remove what belonged to the file that stood at `path` before: statistics, overviews, mask."""
    for suffix in SIDECARS:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def file_nodata(nodata, dtype, *, needed):
    """Return the no-data value of a file: the one given, if the data type can hold it.

    Else NaN or 0 where one is needed, and None where not.
    """
    is_float = np.dtype(dtype).kind == "f"
    if (
        nodata is not None
        and in_dtype_range(nodata, dtype)
        and (is_float or nodata % 1 == 0)
    ):
        return nodata
    return (np.nan if is_float else 0) if needed else None


def to_file_values(pixels, dtype, nodata):
    """Turn float pixels into a file's values; no measured value becomes the no-data value.

    Args:
        pixels: float32, NaN = no data.
        dtype: NumPy name of the file's data type.
        nodata: the file's no-data value; None only where there is no NaN, or for floats.

    Returns:
        Array of `dtype`, rounded and clipped, with `nodata` for NaN. A measured value that would be
        read back as no data moves to its neighbour.
    """
    dtype = np.dtype(dtype)
    missing = np.isnan(pixels)
    if dtype.kind == "f":  # GDAL takes what differs by a few last bits for equal
        values = pixels.astype(dtype)
        step = abs(nodata or 0) * 1e-6 or 1e-30
    elif nodata is None and missing.any():
        raise ValueError(
            f"pixels have no data; the file of {dtype} names no value for it"
        )
    else:
        step = 1
        # in float32 where that is exact, up to 16 bits: four times as fast as float64
        values = np.rint(pixels, dtype=np.result_type(pixels, dtype)).clip(
            *dtype_ranges[dtype.name]
        )
    if nodata is not None:
        values[values == nodata] = nodata - step if nodata > 0 else nodata + step
        values[missing] = nodata
    return values.astype(dtype)


def write(scene, path):
    """Write a scene as a GeoTIFF with its place, band names, data type, no-data value and credit.

    Args:
        scene: Scene.
        path: final name; replaced only once the new file is whole.

    Raises:
        OSError: the disk is full.
    """
    has_gaps = np.isnan(scene.pixels).any()
    nodata = file_nodata(scene.nodata, scene.dtype, needed=has_gaps)
    values = to_file_values(scene.pixels, scene.dtype, nodata)
    profile = DefaultGTiffProfile(
        height=scene.height,
        width=scene.width,
        count=len(scene.bands),
        dtype=scene.dtype,
        nodata=nodata,
        crs=scene.crs,
        transform=scene.transform,
        predictor=3 if scene.dtype.startswith("float") else 2,
        # else GDAL takes three bands of 8 bits for red, green, blue, and a fourth for alpha
        photometric="rgb" if tuple(scene.bands) == COLOURS else "minisblack",
    )
    with (
        atomic(path) as temporary,
        unplaced_is_fine(),
        rasterio.open(temporary, "w", **profile) as dataset,
    ):
        dataset.write(np.moveaxis(values, -1, 0))
        dataset.descriptions = scene.bands
        dataset.update_tags(credit=scene.credit)
    remove_sidecars(path)
