"""Read windows of rasters over HTTP onto one grid, and write them as one GeoTIFF."""

import contextlib
import warnings
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.features import geometry_window
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window, WindowError

from helpers import scenes
from helpers.acquire.http import Refused, agent

MOST_BYTES = 5e8  # of one window in memory; a few are made at a time
IMPLAUSIBLE = 0.1  # share of pixels that an offset may push below 1
GDAL = {  # no listing of folders, no memory of what was broken
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_RETRY_CODES": "429,500,502,503,504",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/http",
}


@dataclass(frozen=True)
class Layer:
    """A band that is wanted: where its file lies, and what its digital numbers mean.

    `fixed`: the offset was given, and is applied even where it looks wrong.
    """

    band: str
    address: str
    scale: float = 1
    offset: float = 0
    fixed: bool = False
    classes: bool = False


def write(path, layers, *, bounds, credit):
    """Write the window of all layers to a GeoTIFF, on the grid of the finest.

    Args:
        path: of the GeoTIFF.
        layers: list of Layer; a file of three bands gives red, green, blue.
        bounds: window in degrees, or None for all.
        credit: of the Scene.

    Returns:
        (west, south, east, north) of the window, degrees.

    Raises:
        Refused: the window is empty or too large.
        ConnectionError: a file cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(rasterio.Env(**GDAL, GDAL_HTTP_USERAGENT=agent()))
            files = [
                stack.enter_context(rasterio.open(f"/vsicurl/{one.address}")) for one in layers
            ]
            grid = _grid(min(files, key=lambda file: file.res[0]), bounds)
            if (size := 4 * grid["height"] * grid["width"] * len(files)) > MOST_BYTES:
                raise Refused(f"the window takes {size / 1e9:.1f} GB: give narrower `bounds`")
            read = [_read(file, one, grid) for file, one in zip(files, layers, strict=True)]
            dtype = np.result_type(*(file.dtypes[0] for file in files)).name
            named = {file.nodata for file in files}
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).split("?")[0]  # behind it stands a token
        raise ConnectionError(f"a file could not be read ({reason})") from None
    pixels, bands = np.concatenate(read, axis=-1), []
    for layer, part in zip(layers, read, strict=True):
        bands += ["red", "green", "blue"] if part.shape[-1] == 3 else [layer.band]
    nodata = _nodata(named, dtype, pixels)
    place = {"transform": grid["transform"], "crs": grid["crs"], "credit": credit}
    scene = scenes.Scene(pixels, tuple(bands), **place, dtype=dtype, nodata=nodata)
    scenes.write(scene, path)
    return transform_bounds(scene.crs, "EPSG:4326", *scene.bounds)


def _read(file, layer, grid):
    """Return float32 (height, width, 1 or 3) on a grid; NaN where there is no data.

    An offset that looks wrong is left out.
    """
    coarser = file.res[0] > grid["transform"].a * (1 + 1e-9) and not layer.classes
    how = Resampling.bilinear if coarser else Resampling.nearest
    with WarpedVRT(file, **grid, resampling=how) as on_grid:
        numbers = on_grid.read(masked=True).astype("float32").filled(np.nan)[:3]
    numbers = np.moveaxis(numbers, 0, -1)
    values = numbers * np.float32(layer.scale) + np.float32(layer.offset)
    seen = numbers > 0
    low = np.count_nonzero(values[seen] < 1) / max(1, np.count_nonzero(seen))
    if layer.offset >= 0 or layer.fixed or low <= IMPLAUSIBLE:
        return values
    warnings.warn(
        f"{layer.band}: an offset of {layer.offset:g} would push {low:.0%} of the pixels below 1, "
        "so it seems to be applied already, and is left out. Override it with "
        f"`offset={layer.offset:g}`",
        stacklevel=2,
    )
    return numbers * np.float32(layer.scale)


def _nodata(named, dtype, pixels):
    """Return the value for no data that all files name, else one that no pixel has."""
    if len(named) == 1:
        return next(iter(named))
    ends = reversed(rasterio.dtypes.dtype_ranges[dtype])
    return next((value for value in ends if not (pixels == value).any()), None)


def _grid(file, bounds):
    """Return a dict of crs, transform, width, height of a window, in whole pixels of the file."""
    window = Window(0, 0, file.width, file.height)
    if bounds:
        west, south, east, north = transform_bounds("EPSG:4326", file.crs, *bounds, densify_pts=51)
        diagonal = {"type": "LineString", "coordinates": [(west, south), (east, north)]}
        try:  # an edge of a pixel is not met exactly
            window = geometry_window(file, [diagonal], pad_x=-1e-6, pad_y=-1e-6)
        except WindowError:
            raise Refused("the scene does not reach into the bounds") from None
    place = {"crs": file.crs, "transform": file.window_transform(window)}
    return place | {"width": int(window.width), "height": int(window.height)}
