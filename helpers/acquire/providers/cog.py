"""Read windows of rasters over HTTP onto one grid, and write them as one GeoTIFF."""

import contextlib
import warnings
from dataclasses import dataclass, replace

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


def write(path, layers, *, bounds, credit, name, contact=""):
    """Write the window of all layers to a GeoTIFF, on the grid of the finest.

    Args:
        path: of the GeoTIFF.
        layers: list of Layer; a file of three bands gives red, green, blue.
        bounds: window in degrees, or None for all.
        credit, name: of the Scene.
        contact: as `http.agent` takes it.

    Returns:
        (west, south, east, north) of the window, degrees.

    Raises:
        Refused: the window is empty or too large.
        ConnectionError: a file cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(rasterio.Env(**GDAL, GDAL_HTTP_USERAGENT=agent(contact)))
            files = [
                stack.enter_context(rasterio.open(f"/vsicurl/{one.address}")) for one in layers
            ]
            grid = _grid(min(files, key=lambda file: file.res[0]), bounds)
            if (size := 4 * grid["height"] * grid["width"] * len(files)) > MOST_BYTES:
                raise Refused(f"the window takes {size / 1e9:.1f} GB: give narrower `bounds`")
            read = [_read(file, one, grid) for file, one in zip(files, layers, strict=True)]
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).split("?")[0]  # behind it stands a token
        raise ConnectionError(f"a file could not be read ({reason})") from None
    parts, said = zip(*read, strict=True)
    scene, dtype = scenes.stack(parts), np.result_type(*(part.dtype for part in parts)).name
    nodata = _nodata({part.nodata for part in parts}, dtype, scene.pixels)
    scenes.write(replace(scene, dtype=dtype, nodata=nodata, credit=credit, name=name), path)
    with rasterio.open(path, "r+") as written:
        written.update_tags(**dict(said))
    return transform_bounds(scene.crs, "EPSG:4326", *scene.bounds)


def _read(file, layer, grid):
    """Return the Scene of a layer on a grid, and the tag that says how it was made.

    An offset that looks wrong is left out.
    """
    coarser = file.res[0] > grid["transform"].a * (1 + 1e-9) and not layer.classes
    how = "bilinear" if coarser else "nearest"
    with WarpedVRT(file, **grid, resampling=Resampling[how]) as on_grid:
        pixels = on_grid.read(masked=True).astype("float32").filled(np.nan)[:3]
    bands = ("red", "green", "blue") if len(pixels) == 3 else (layer.band,)
    scaled, offset = pixels * np.float32(layer.scale), np.float32(layer.offset)
    low = np.mean(scaled[pixels > 0] + offset < 1) if (pixels > 0).any() else 0
    why = f"offset {layer.offset:g}"
    if layer.offset < 0 and low > IMPLAUSIBLE and not layer.fixed:
        warnings.warn(
            f"{layer.band}: an offset of {layer.offset:g} would push {low:.0%} of the pixels "
            "below 1, so it seems to be applied already, and is left out. Override it with "
            f"`offset={layer.offset:g}`",
            stacklevel=2,
        )
        offset, why = 0, "offset 0, as the one named is implausible"
    pixels = np.moveaxis(scaled + offset, 0, -1)
    place = grid["transform"], grid["crs"]
    scene = scenes.Scene(pixels, bands, *place, dtype=file.dtypes[0], nodata=file.nodata)
    said = f"{how}, from {file.res[0]:g} m, scale {layer.scale:g}, {why}"
    return scene, (f"{layer.band}_made", said)


def _nodata(named, dtype, pixels):
    """A value for no data that no band has as a value."""
    if len(named) == 1 or not np.isnan(pixels).any():
        return min(named - {None}, default=None)
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    choice = [*(named - {None}), limits.max, limits.min]
    return next((value for value in choice if not (pixels == value).any()), None)


def _grid(file, bounds):
    """dict of crs, transform, width, height of a window, in whole pixels of the file."""
    if not file.crs:
        raise Refused("its files do not say where they lie")
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
