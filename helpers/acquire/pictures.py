"""One photo: its EXIF tags, and the measures that `photos.judge` uses."""

import math
import struct
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import lru_cache

import numpy as np

LOOK_PX = 640  # longer side of the copy that is looked at
FACES_PX = 480  # longer side of the copy in which faces are searched


@contextmanager
def opened(path):
    """Open the picture in a file, not decoded yet; an OSError says whatever is wrong with it."""
    from PIL import Image, UnidentifiedImageError

    if path.suffix.lower() in (".heic", ".heif"):
        raise OSError("HEIC: convert it to JPEG first")
    try:
        with Image.open(path) as picture:  # refuses what declares more than 179 million pixels
            if picture.mode[0] in "IF":
                raise OSError("more than 8 bits: save it with 8 bits first")
            yield picture
    except UnidentifiedImageError as error:
        raise OSError("it is no picture") from error
    except (
        SyntaxError,
        ValueError,
        KeyError,
        TypeError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise OSError(str(error)) from error


def unreadable(error):
    """Return the reason for an OSError of `opened`."""
    return f"cannot be read: {error.strerror or error}"


def tags(picture):
    """Read the EXIF data of an opened picture, as `photos.read_folder` describes it."""
    from PIL.ExifTags import GPS, IFD, Base

    exif = picture.getexif()
    gps, taken = exif.get_ifd(IFD.GPSInfo), exif.get_ifd(IFD.Exif).get(Base.DateTimeOriginal)
    place = {"lon": _degrees(gps, GPS.GPSLongitude), "lat": _degrees(gps, GPS.GPSLatitude)}
    if not (abs(place["lon"]) <= 180 and abs(place["lat"]) <= 90 and any(place.values())):
        place = dict.fromkeys(place, math.nan)
    heading, time = math.nan, ""
    with suppress(TypeError, ZeroDivisionError):
        heading = float(gps.get(GPS.GPSImgDirection, "nan"))
    with suppress(ValueError):  # missing, or "0000:00:00 00:00:00"
        time = datetime.strptime(str(taken).strip("\0 "), "%Y:%m:%d %H:%M:%S").isoformat()
    turned = exif.get(Base.Orientation) in (5, 6, 7, 8)
    sides = dict(
        zip(("height", "width") if turned else ("width", "height"), picture.size, strict=True)
    )
    heading = heading % 360 if 0 <= heading <= 360 else math.nan
    return place | sides | {"heading_deg": heading, "time": time}


def _degrees(gps, tag):
    """Return degrees of a position; NaN where a part is missing or is no number, as 0/0."""
    try:
        degrees, minutes, seconds = map(float, gps[tag])
        sign = {"E": 1, "N": 1, "W": -1, "S": -1}[str(gps[tag - 1])[:1].upper()]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return math.nan
    return sign * (degrees + minutes / 60 + seconds / 3600)


def small_copy(path):
    """Return a small, upright copy in colour."""
    from PIL import ImageOps

    with opened(path) as picture:
        picture.thumbnail((LOOK_PX, LOOK_PX))  # of a JPEG, only that many pixels are decoded
        return ImageOps.exif_transpose(picture).convert("RGB")


def sharpness(picture):
    """Return 1 minus the perceptual blur (Crété et al. 2007), 0..1; 0 where nothing is seen.

    Measured with a shorter side of 256 px: eight photos of scikit-image have 0.59 to 0.85, eight
    views of `relief` 0.56 to 0.67, all the same to 0.03 in haze; blurred by a Gaussian of 1 px 0.46
    to 0.77, of 2 px 0.30 to 0.45 (stars: 0.59).
    """
    from skimage.measure import blur_effect

    scale = min(1, 256 / min(picture.size))
    size = [round(side * scale) for side in picture.size]
    grey = np.asarray(picture.convert("L").resize(size, reducing_gap=3))
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(1 - blur_effect(grey)))


def brightness(picture):
    """Return the 90th percentile, 0..255.

    Measured: the darkest of 18 photos has 94 (a rocket at dusk), the night sky 28; `relief`'s
    views have 68 and more by day, 6 by night.
    """
    return float(np.percentile(np.asarray(picture.convert("L")), 90))


def difference_hash(picture):
    """Return 256 bits: whether it grows brighter to the right.

    Measured: 18 photos differ in 73 bits and more, views of `relief` in 49; copies of them in 21
    at most, if darkened to 60 %, halved, or stored at JPEG quality 30.
    """
    grey = np.asarray(picture.convert("L").resize((17, 16), 4), int)  # 4: the mean of pixels
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def faces(picture):
    """Count faces; none is recognised.

    Measured: of OpenCV's cascades alt2 finds 98 of the 100 faces in scikit-image's lfw_subset, and
    none in 26 photos and textures without (default: 96, and 12).
    """
    grey = picture.convert("L")
    grey.thumbnail((FACES_PX, FACES_PX))
    found = _cascade().detectMultiScale(np.asarray(grey), 1.1, 5, minSize=(30, 30))
    return len(found)


@lru_cache
def _cascade():
    import cv2

    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")
