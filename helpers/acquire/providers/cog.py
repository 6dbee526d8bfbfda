"""Read windows of rasters over HTTP onto one grid, and write them as one GeoTIFF."""

import contextlib
import warnings
from dataclasses import dataclass

import numpy as np

from helpers import scenes
from helpers.acquire.http import AGENT, CONTACT, Refused

MOST_BYTES = 5e8  # of one window in memory; a few are made at a time
METRES_PER_DEGREE = 111_320
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
    "GDAL_HTTP_USERAGENT": AGENT.format(CONTACT),
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/http",
}


@dataclass(frozen=True)
class Layer:
    """A band that is wanted: where its file lies, and what its digital numbers mean."""

    band: str
    address: str
    scale: float = 1
    offset: float = 0
    classes: bool = False


def write(path, layers, *, bounds, resolution_m, credit, name, fixed=False):
    """Write the window of all layers to a GeoTIFF, on the grid of the finest.

    Args:
        path: of the GeoTIFF.
        layers: list of Layer; a file of three bands gives red, green, blue.
        bounds: window in degrees, or None for all.
        resolution_m: pixel size, or None for that of the finest.
        credit, name: of the Scene.
        fixed: apply offsets even where they look wrong.

    Raises:
        Refused: the window is empty or too large.
        ConnectionError: a file cannot be read.
    """
    import rasterio

    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(rasterio.Env(**GDAL))
            files = [
                stack.enter_context(rasterio.open(f"/vsicurl/{one.address}")) for one in layers
            ]
            scene, tags = _read(files, layers, bounds, resolution_m, credit, name, fixed)
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).split("?")[0]  # behind it stands a token
        raise ConnectionError(f"a file could not be read ({reason})") from None
    scenes.write(scene, path)
    with rasterio.open(path, "r+") as written:
        written.update_tags(**tags)


def _read(files, layers, bounds, resolution_m, credit, name, fixed):
    """Scene of the window, and a tag for each band that says how it was made."""
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    finest = min(files, key=lambda file: file.res[0])
    unit = 1 if finest.crs and finest.crs.is_projected else METRES_PER_DEGREE
    resolution = resolution_m / unit if resolution_m else finest.res[0]
    grid = _grid(finest, bounds, resolution)
    size = 4 * grid["height"] * grid["width"] * sum(file.count for file in files)
    if size > MOST_BYTES:
        told = "give narrower `bounds`, or a larger `resolution_m`"
        raise Refused(f"the window takes {size / 1e9:.1f} GB: {told}")
    planes, tags, bands, kinds = [], {}, [], {file.dtypes[0] for file in files}
    for file, layer in zip(files, layers, strict=True):
        ratio = 1 if layer.classes else file.res[0] / resolution
        how = "bilinear" if ratio > 1 + 1e-9 else "average" if ratio < 1 - 1e-9 else "nearest"
        with WarpedVRT(file, **grid, resampling=Resampling[how]) as on_grid:
            pixels = on_grid.read(masked=True).astype("float32").filled(np.nan)
        pixels, said = _calibrated(pixels, layer, fixed)
        bands += ["red", "green", "blue"] if file.count == 3 else [layer.band]
        planes.extend(pixels[:3])
        tags[f"{layer.band}_made"] = f"{how}, from {file.res[0]:g} m, {said}"
    pixels, dtype = np.stack(planes, axis=-1), np.result_type(*kinds).name
    nodata = _nodata([file.nodata for file in files], dtype, pixels)
    place = grid["transform"], grid["crs"]
    return scenes.Scene(pixels, tuple(bands), *place, credit, name, dtype, nodata), tags


def _calibrated(pixels, layer, fixed):
    """Pixels with scale and offset, and words for it; an offset that looks wrong is left out."""
    if layer.offset == 0 and layer.scale == 1:
        return pixels, "offset 0"
    moved = pixels * np.float32(layer.scale) + np.float32(layer.offset)
    valid = np.isfinite(pixels) & (pixels > 0)
    share = float((moved[valid] < 1).mean()) if valid.any() else 0
    if share > IMPLAUSIBLE and layer.offset < 0 and not fixed:
        warnings.warn(
            f"{layer.band}: an offset of {layer.offset:g} would push {share:.0%} of the pixels "
            "below 1, so it seems to be applied already, and is left out. Override it with "
            f"`offset={layer.offset:g}`",
            stacklevel=2,
        )
        return pixels * np.float32(layer.scale), "offset 0, as the one named is implausible"
    return moved, f"scale {layer.scale:g}, offset {layer.offset:g}"


def _nodata(known, dtype, pixels):
    """A value for no data that no band has as a value."""
    named = [value for value in known if value is not None]
    if len(set(named)) == 1 and len(named) == len(known):
        return named[0]
    if not named and not np.isnan(pixels).any():
        return None
    integer = np.issubdtype(np.dtype(dtype), np.integer)
    limits = np.iinfo(dtype) if integer else np.finfo(dtype)
    free = [value for value in (*named, limits.max, limits.min) if not (pixels == value).any()]
    return free[0] if free else None


def _grid(file, bounds, resolution):
    """dict of crs, transform, width, height of a window; edges count from the file's corner."""
    from rasterio.transform import from_origin
    from rasterio.warp import transform_bounds

    if not file.crs:
        raise Refused("its files do not say where they lie")
    left, bottom, right, top = file.bounds
    first = np.zeros(2)
    last = np.ceil(np.array([right - left, top - bottom]) / resolution - 1e-6)
    if bounds:
        west, south, east, north = transform_bounds("EPSG:4326", file.crs, *bounds, densify_pts=51)
        begin = np.floor(np.array([west - left, top - north]) / resolution + 1e-6)
        end = np.ceil(np.array([east - left, top - south]) / resolution - 1e-6)
        first, last = np.maximum(first, begin), np.minimum(last, end)
    if (last <= first).any():
        raise Refused("the scene does not reach into the bounds")
    corner = left + first[0] * resolution, top - first[1] * resolution
    width, height = (last - first).astype(int).tolist()
    transform = from_origin(*corner, resolution, resolution)
    return {"crs": file.crs, "transform": transform, "width": width, "height": height}
