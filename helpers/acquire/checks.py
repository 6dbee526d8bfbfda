"""Check that an answer is what was asked for: servers send pages of HTML, or half an image."""

import io
import re

import rasterio
from PIL import Image

from helpers.acquire.http import read_json

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "JPEG2000")  # some others start other programs
MAX_PIXELS = 50_000_000  # of an image, by the size that it declares; checked before it is decoded
SUFFIXES = {
    ".png": b"\x89PNG",
    ".jpg": b"\xff\xd8",
    ".webp": b"RIFF",
    ".tif": b"II*\0",
    ".img": b"",
}
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BROKEN = (Image.DecompressionBombError, OSError, SyntaxError, rasterio.errors.RasterioError)


def check(data, kind, size_px=None):
    """Return the bytes of a file; a ValueError says what they are instead.

    Args:
        data: bytes.
        kind: "image", "json" or "file", which is anything but a page of HTML.
        size_px: (width, height) that an image must have; None: any.
    """
    if not data:
        raise ValueError("an empty file")
    if kind == "json":
        read_json(data)
    elif re.match(rb"\s*<(!doctype html|html)", data[:256], re.IGNORECASE):
        raise ValueError("an HTML page in place of the file")
    elif kind == "image":
        decode = _decode_tiff if data.startswith(TIFF_STARTS) else _decode
        try:
            decode(data, size_px)
        except BROKEN as error:
            raise ValueError(f"a damaged image, or none ({type(error).__name__})") from None
    return data


def suffix(data):
    """Return the suffix of the file name that image bytes ask for."""
    return next(end for end, start in SUFFIXES.items() if data.startswith(start))


def _decode(data, size_px):
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(*image.size, size_px)
        image.verify()  # the checksum of a PNG; `load` has all rows before it meets that
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()


def _decode_tiff(data, size_px):
    with rasterio.MemoryFile(data) as memory, memory.open(driver="GTiff") as image:
        _check_size(image.width, image.height, size_px)
        for band in image.indexes:
            image.read(band)


def _check_size(width, height, size_px):
    if width * height > MAX_PIXELS:
        raise ValueError(f"an image that declares more than {MAX_PIXELS} pixels")
    if size_px and (width, height) != tuple(size_px):
        raise ValueError(f"an image of {width} x {height} px, expected {size_px[0]} x {size_px[1]}")
