"""Reading and writing images with everything that makes them measurements: place, bands, no-data, data type."""

import warnings
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from rasterio.dtypes import in_dtype_range
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from helpers.paths import atomic, require_space
from helpers.scenes.scene import Scene

MAX_READ_BYTES = 4e9  # a Scene is held in memory; `apply` takes images of any size
SIDECARS = (".aux.xml", ".ovr", ".msk", ".msk.ovr")


def read(files, *, bands=None, nodata=None, credit="", name=None):
    """Read one image from one file, or from several files of one grid whose bands are stacked.

    Args:
        files: path, or list of paths, in any format that rasterio reads (GeoTIFF, JPEG 2000, PNG, …).
        bands: names for the bands; default: the file's own, else red/green/blue, else band1, …
        nodata: value that means "no data", where the file does not say it itself.
        credit: whom to credit; default: what `write` noted in the file.
        name: short name; default: the first file's.

    Returns:
        Scene, float32, NaN where there is no data: by mask, alpha channel or `nodata`, where a value is
        infinite, and at the lowest number of the data type where no other is declared. A picture with a
        palette is expanded to its colours.

    Raises:
        ValueError: not an image, complex numbers, too large for memory, grids that differ, or a wrong
            number of band names.
    """
    paths = [Path(path) for path in (files if isinstance(files, (list, tuple)) else [files])]
    parts = [_read_one(path, nodata, MAX_READ_BYTES / len(paths)) for path in paths]
    first = parts[0]
    grids = [(part.height, part.width, part.transform, part.crs) for part in parts]
    if any(grid != grids[0] for grid in grids):
        told = ", ".join(path.name for path in paths)
        raise ValueError(f"{told} lie on different grids: resample them to one first")
    found = first.bands
    if len(parts) > 1:
        found = [f"{part.name}_{band}" for part in parts for band in part.bands]
    if bands is not None and len(bands) != len(found):
        raise ValueError(f"{paths[0].name}: {len(bands)} band names given for {len(found)} bands")
    pixels = first.pixels
    if len(parts) > 1:
        pixels = np.concatenate([part.pixels for part in parts], axis=-1)
    credits = [credit, *(part.credit for part in parts)]
    return replace(
        first, pixels=pixels, bands=tuple(bands or found), name=name or first.name,
        credit=next(filter(None, credits), ""), nodata=first.nodata if nodata is None else nodata,
    )  # fmt: skip


def _read_one(path, nodata, max_bytes):
    with opened(path) as dataset:
        size = dataset.width * dataset.height * dataset.count * 4
        if size > max_bytes:
            raise ValueError(
                f"{path.name} is {dataset.width} x {dataset.height} x {dataset.count}: "
                f"{size / 1e9:.1f} GB in memory. Cut it first; `read_on_disk` and "
                "`python -m helpers apply` work on images of any size"
            )
        return _scene(path, dataset, _pixels(dataset, nodata))


def read_on_disk(path, folder, *, rows=512):
    """Open an image of any size: its pixels are copied to a file, and read from it where needed.

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
    with opened(path) as dataset:
        shape = (dataset.height, dataset.width, len(image_bands(dataset)[0]))
        require_space(folder, 4 * np.prod(shape, dtype=float))
        with atomic(file) as temporary:
            pixels = np.lib.format.open_memmap(temporary, "w+", "float32", shape)
            for row in range(0, shape[0], rows):
                window = Window(0, row, shape[1], min(rows, shape[0] - row))
                pixels[row : row + rows] = _pixels(dataset, window=window)
            pixels.flush()
            del pixels
        return _scene(path, dataset, np.load(file, mmap_mode="r"))


def read_values(dataset, indexes, nodata=None, **options):
    """Read float32 (bands, height, width) of an open image, NaN where there is no data (see `read`)."""
    pixels = read_raw(dataset, indexes, out_dtype="float32", masked=True, **options).filled(np.nan)
    dtype = np.dtype(dataset.dtypes[indexes[0] - 1])
    missing = np.abs(pixels) > 3e38  # infinite, or the lowest float32
    if dataset.nodata is None and dtype.kind == "i":
        missing |= pixels == np.float32(np.iinfo(dtype).min)
    if nodata is not None:
        missing |= pixels == np.float32(nodata)
    pixels[missing] = np.nan
    return pixels


def _pixels(dataset, nodata=None, **options):
    """Read (height, width, bands)."""
    return np.moveaxis(read_values(dataset, image_bands(dataset)[0], nodata, **options), 0, -1)


def _scene(path, dataset, pixels):
    """Build the Scene of an open file."""
    transform = None if dataset.transform == Affine.identity() else dataset.transform
    if dataset.gcps[0] or dataset.rpcs:
        told = "is placed by ground control points or RPCs, which are not read: its place is unknown"
        warnings.warn(f"{path} {told}. Warp it to a map grid first", stacklevel=4)
    indexes, names = image_bands(dataset)
    return Scene(
        pixels, tuple(names), transform, dataset.crs, dataset.tags().get("credit", ""), path.stem,
        dataset.dtypes[indexes[0] - 1], dataset.nodata,
    )  # fmt: skip


@contextmanager
def opened(path):
    """Open an image as a rasterio dataset; one with a palette is expanded to its colours.

    Raises:
        ValueError: it is no image, or its numbers are complex.
    """
    with unplaced_is_fine(), ExitStack() as stack:
        try:
            dataset = stack.enter_context(rasterio.open(path))
            if has_palette(dataset) and dataset.driver != "GTiff":
                dataset = stack.enter_context(rasterio.open(_expanded(path, dataset)))
        except RasterioError as error:
            told = f"{path} is no readable image ({error.__cause__ or error})"
            raise ValueError(f"{told}; expected GeoTIFF, JP2, PNG or JPEG") from error
        if not dataset.count:
            raise ValueError(f"{path} holds no bands of its own: give one of the images inside it")
        if any("complex" in dtype for dtype in dataset.dtypes):
            raise ValueError(f"{path} holds complex numbers: save their magnitude first")
        yield dataset


def read_raw(dataset, indexes, **options):
    """Read pixels as the file has them; a ValueError says where it ends too early."""
    types = {dataset.dtypes[index - 1] for index in indexes}
    try:
        if len(types) == 1:
            return dataset.read(indexes, **options)
        shape = options.pop("out_shape", None)  # rasterio reads bands of several types one by one
        if shape:
            options["out_shape"] = shape[1:]
        return np.ma.stack([dataset.read(index, **options) for index in indexes])
    except RasterioError as error:
        name = (dataset.files or [dataset.name])[0]
        told = f"{name} is no readable image: it appears truncated ({error.__cause__ or error})"
        raise ValueError(f"{told}; get the file again") from error


def has_palette(dataset):
    """Return whether the numbers of an open image are places in a table of colours."""
    return dataset.colorinterp[:1] == (ColorInterp.palette,)


def refuse_classes(path):
    """Raise a ValueError for a map of classes, which is no imagery."""
    with opened(path) as dataset:
        is_map = has_palette(dataset)
    if is_map:
        raise ValueError(
            f"{path} has a palette: its numbers are classes, not brightness. If it is a picture, expand "
            "its colours first: gdal_translate -expand rgb IN.tif OUT.tif"
        )


def _expanded(path, dataset):
    """Write a virtual dataset (VRT) of the colours that a palette stands for."""
    colours = dataset.colormap(1).values()
    kinds = ["Red", "Green", "Blue", "Alpha"][: 3 + (min(colour[3] for colour in colours) < 255)]
    place, source = dataset.transform.to_gdal(), escape(str(Path(path).absolute()))
    placed = dataset.transform != Affine.identity()
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{kind}</ColorInterp>'
        f"<ComplexSource><SourceFilename>{source}</SourceFilename><SourceBand>1</SourceBand>"
        f"<ColorTableComponent>{number}</ColorTableComponent></ComplexSource></VRTRasterBand>"
        for number, kind in enumerate(kinds, 1)
    )
    return (
        f'<VRTDataset rasterXSize="{dataset.width}" rasterYSize="{dataset.height}">'
        f"<SRS>{escape(dataset.crs.to_wkt()) if dataset.crs else ''}</SRS>"
        f"{f'<GeoTransform>{str(place)[1:-1]}</GeoTransform>' if placed else ''}{bands}</VRTDataset>"
    )


def unplaced_is_fine():
    """Context in which rasterio does not warn of images without a place on the ground."""
    return warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning)


def image_bands(dataset):
    """Return numbers, from 1, and names of an open file's bands; alpha only says where there is data."""
    every = zip(dataset.indexes, dataset.descriptions, dataset.colorinterp, strict=True)
    kept = [(index, own, colour.name) for index, own, colour in every if own or colour != ColorInterp.alpha]
    has_colours = {colour for _, _, colour in kept} == {"red", "green", "blue"}
    names = [own or (colour if has_colours else f"band{index}") for index, own, colour in kept]
    return [index for index, _, _ in kept], names


def files_behind(path):
    """List the files that an image is read from, of a VRT those behind it, with size and time.

    Returns:
        list of [path, bytes, nanoseconds], sorted. A folder stands for the files in it.
    """
    path, found = Path(path), set()
    todo = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    while todo:
        file = todo.pop()
        if file in found or not file.is_file():
            continue
        found.add(file)
        if file == path or file.suffix.lower() == ".vrt":
            with suppress(RasterioError), unplaced_is_fine(), rasterio.open(file) as dataset:
                todo += map(Path, dataset.files)
    states = [(file.resolve(), file.stat()) for file in sorted(found)]
    return [[str(file), state.st_size, state.st_mtime_ns] for file, state in states]


def remove_sidecars(path):
    """Remove what belonged to the file that stood at `path` before: statistics, overviews, mask."""
    for suffix in SIDECARS:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


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
    remove_sidecars(path)
