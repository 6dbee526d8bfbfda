"""Check that an answer is of the expected kind: servers send pages of HTML, or half an image."""

import io
import math

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # some others start other programs
MAX_PIXELS = 50_000_000  # of an image, by the size that it declares; checked before it is decoded
STARTS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8", ".webp": b"RIFF", ".gif": b"GIF"}


def file(data):
    """Return the bytes of a file; a ValueError where they are a page of HTML, or nothing."""
    if not data or data[:256].lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    ):
        raise ValueError("an HTML page or nothing in place of the file")
    return data


def image(data, size_px=None):
    """Return the bytes of an image; a ValueError says what they are instead.

    Args:
        data: bytes.
        size_px: (width, height) that it must have; None: any.
    """
    picture(data, size_px)
    return data


def picture(data, size_px=None):
    """Return the picture in the bytes of an image; raises what `image` raises."""
    try:
        found = Image.open(io.BytesIO(file(data)), formats=FORMATS)
        if math.prod(found.size) > MAX_PIXELS:
            raise ValueError(f"an image that declares more than {MAX_PIXELS} pixels")
        if size_px and found.size != tuple(size_px):
            raise ValueError(f"an image of {found.size} px, expected {tuple(size_px)}")
        found.verify()  # the checksum of a PNG; `load` has all rows before it meets that
        found = Image.open(io.BytesIO(data), formats=FORMATS)
        found.load()
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"a damaged image, or none ({type(error).__name__})") from None
    return found


def suffix(data):
    """Return the suffix of a file name for image bytes; "" for others."""
    return next((end for end, start in STARTS.items() if data.startswith(start)), "")
