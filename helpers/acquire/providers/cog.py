"""Read windows of rasters over HTTP onto one grid, and write them as one GeoTIFF."""

import contextlib
import warnings
from collections import namedtuple

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.features import geometry_window
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window, WindowError

from helpers import scenes
from helpers.acquire.http import Refused, agent

MOST_PIXELS = 20_000_000  # of a window; a few are in memory at a time
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


class Layer(namedtuple("Layer", "band address scale offset fixed classes")):
    """A band that is wanted: where its file lies, and what its digital numbers mean.

    `fixed`: the offset was given, and is applied even where it looks wrong; `classes`: its values
    are classes.
    """


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
    read = {}
    try:
        with (
            rasterio.Env(**GDAL, GDAL_HTTP_USERAGENT=agent()),
            contextlib.ExitStack() as stack,
        ):
            files = [
                stack.enter_context(rasterio.open(f"/vsicurl/{layer.address}"))
                for layer in layers
            ]
            grid = _grid(min(files, key=lambda file: file.res[0]), bounds)
            for file, layer in zip(files, layers, strict=True):
                read |= _read(file, layer, grid)
            dtype = np.result_type(*(file.dtypes[0] for file in files)).name
            nodata, *others = {file.nodata for file in files}
            # a value that stands for "no data" in one file may be data in another
            if others:
                nodata = rasterio.dtypes.dtype_ranges[dtype][1]
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).split("?")[0]  # behind it stands a token
        raise ConnectionError(f"a file could not be read ({reason})") from None
    scene = scenes.Scene(
        np.dstack([*read.values()]), tuple(read), grid["transform"], grid["crs"], credit,
        dtype=dtype, nodata=nodata,
    )  # fmt: skip
    scenes.write(scene, path)
    return transform_bounds(scene.crs, "EPSG:4326", *scene.bounds)


def _read(file, layer, grid):
    """Return dict from band to float32 (height, width) on a grid; NaN where there is no data.

    A file of three bands gives red, green, blue. An offset that looks wrong is left out.
    """
    coarser = file.res[0] > grid["transform"].a * 1.001 and not layer.classes
    how = Resampling.bilinear if coarser else Resampling.nearest
    with WarpedVRT(file, **grid, resampling=how) as on_grid:
        numbers = on_grid.read(masked=True).astype("float32").filled(np.nan)[:3]
    values = numbers * layer.scale
    low = values[numbers > 0] < 1 - layer.offset
    if layer.offset < 0 and not layer.fixed and low.sum() > IMPLAUSIBLE * low.size:
        warnings.warn(
            f"{layer.band}: an offset of {layer.offset:g} would push {low.mean():.0%} of the "
            "pixels below 1, so it seems to be applied already, and is left out. Override it with "
            f"`offset={layer.offset:g}`",
            stacklevel=2,
        )
    else:
        values += layer.offset
    names = ["red", "green", "blue"] if len(values) == 3 else [layer.band]
    return dict(zip(names, values, strict=False))


def _grid(file, bounds):
    """Return a dict of crs, transform, width, height of a window, in whole pixels of the file."""
    window = Window(0, 0, file.width, file.height)
    if bounds:
        west, south, east, north = transform_bounds(
            "EPSG:4326", file.crs, *bounds, densify_pts=51
        )
        diagonal = {"type": "LineString", "coordinates": [(west, south), (east, north)]}
        try:  # an edge of a pixel is not met exactly
            window = geometry_window(file, [diagonal], pad_x=-1e-6, pad_y=-1e-6)
        except WindowError:
            raise Refused("the scene does not reach into the bounds") from None
    if window.width * window.height > MOST_PIXELS:
        raise Refused(
            f"the window has more than {MOST_PIXELS:,} pixels: give narrower `bounds`"
        )
    return {
        "crs": file.crs,
        "transform": file.window_transform(window),
        "width": int(window.width),
        "height": int(window.height),
    }
