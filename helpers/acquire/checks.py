"""Check that an answer is what was asked for: servers send pages of HTML, or half an image."""

import io
import re

import rasterio
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "JPEG2000")  # some others start other programs
MAX_PIXELS = 50_000_000  # of an image, by the size that it declares; checked before it is decoded
STARTS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".webp": b"RIFF", ".tif": b"II*\0", ".img": b""}
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BROKEN = (Image.DecompressionBombError, OSError, SyntaxError, rasterio.errors.RasterioError)


def file(data):
    """Return the bytes of a file; a ValueError where they are a page of HTML, or nothing."""
    if not data or re.match(rb"\s*<(!doctype html|html)", data[:256], re.IGNORECASE):
        raise ValueError("an HTML page or nothing in place of the file")
    return data


def image(data, size_px=None):
    """Return the bytes of an image; a ValueError says what they are instead.

    Args:
        data: bytes.
        size_px: (width, height) that it must have; None: any.
    """
    try:
        (_decode_tiff if file(data).startswith(TIFF_STARTS) else _decode)(data, size_px)
    except BROKEN as error:
        raise ValueError(f"a damaged image, or none ({type(error).__name__})") from None
    return data


def suffix(data):
    """Return the suffix of the file name that image bytes ask for."""
    return next(end for end, start in STARTS.items() if data.startswith(start))


def _decode(data, size_px):
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        _check_size(picture.size, size_px)
        picture.verify()  # the checksum of a PNG; `load` has all rows before it meets that
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        picture.load()


def _decode_tiff(data, size_px):
    with rasterio.MemoryFile(data) as memory, memory.open(driver="GTiff") as raster:
        _check_size(raster.shape[::-1], size_px)
        for band in raster.indexes:
            raster.read(band)


def _check_size(size, expected):
    if size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"an image that declares more than {MAX_PIXELS} pixels")
    if expected and size != tuple(expected):
        raise ValueError(f"an image of {size} px, expected {tuple(expected)}")
