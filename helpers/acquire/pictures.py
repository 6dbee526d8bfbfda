"""One photo: what its EXIF tags say, and the numbers by which `photos.judge` tells a landscape from anything else."""

import math
import re
import struct
from contextlib import contextmanager
from datetime import datetime

import numpy as np

LOOK_PX = 640  # longer side of the copy that is looked at
PEOPLE_PX = 480  # longer side of the copy in which people are searched; the smallest that is found is about 100 px high


@contextmanager
def opened(path):
    """The picture in a file, not decoded yet; an OSError for whatever is wrong with it, here or in the block."""
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
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error, Image.DecompressionBombError) as error:
        raise OSError(str(error)) from error


def unreadable(error):
    """The reason for an OSError of `opened`."""
    return f"cannot be read: {error.strerror or error}"


def tags(picture):
    """Position, heading, time and upright size of an opened picture, as `photos.read_folder` describes them."""
    from PIL.ExifTags import GPS, IFD, Base

    exif = picture.getexif()
    gps, camera = exif.get_ifd(IFD.GPSInfo), exif.get_ifd(IFD.Exif)
    width, height = picture.size[::-1] if exif.get(Base.Orientation) in (5, 6, 7, 8) else picture.size
    lon = _degrees(gps.get(GPS.GPSLongitude), gps.get(GPS.GPSLongitudeRef), "EW", 180)
    lat = _degrees(gps.get(GPS.GPSLatitude), gps.get(GPS.GPSLatitudeRef), "NS", 90)
    if math.isnan(lon + lat) or lon == lat == 0:
        lon = lat = math.nan
    heading = _degrees([gps.get(GPS.GPSImgDirection)], "+", "+-", 360) % 360
    north = {"T": "true", "M": "magnetic"}.get(str(gps.get(GPS.GPSImgDirectionRef))[:1], "")
    try:
        taken = str(camera.get(Base.DateTimeOriginal)).strip("\0 ")
        time = datetime.strptime(taken, "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:  # missing, or "    :  :     :  :  "
        time = ""
    offset = re.match(r"[+-]\d\d:\d\d", str(camera.get(Base.OffsetTimeOriginal)))
    time += offset[0] if time and offset else ""
    return {
        "lon": lon, "lat": lat, "heading_deg": heading, "heading_reference": "" if math.isnan(heading) else north,
        "time": time, "width": width, "height": height,
    }  # fmt: skip


def _degrees(parts, reference, letters, most):
    """Degrees from EXIF's degrees, minutes and seconds; NaN where one is missing or is no number, as 0/0."""
    try:
        degrees = sum(float(part) / 60**power for power, part in enumerate(parts))
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan
    sign = {letters[0]: 1, letters[1]: -1}.get(str(reference)[:1].upper())
    return sign * degrees if sign and 0 <= degrees <= most else math.nan


def small_copy(path):
    """A small, upright copy in colour."""
    from PIL import ImageOps

    with opened(path) as picture:
        picture.thumbnail((LOOK_PX, LOOK_PX))  # of a JPEG, only as many pixels as that takes are decoded
        return ImageOps.exif_transpose(picture).convert("RGB")


def sharpness(picture):
    """How steep the steepest 1 % of pixels are, in % of the range of brightness, at a shorter side of 256 px.

    Measured on 15 sample photos (of scikit-image, scikit-learn, gradio, ultralytics): 35 to 190, also with 30 % of
    their contrast; blurred by a Gaussian of 1 px 10 to 44, of 2 px 4 to 10. On 32 views rendered by `relief`: 21 to
    61, in haze 22 to 63, blurred 3 to 8. The plain variance of the Laplacian takes haze for blur: 37 to 344 in haze,
    20 to 161 blurred.
    """
    from skimage.filters import laplace

    scale = min(1, 256 / min(picture.size))
    grey = picture.convert("L").resize([round(side * scale) for side in picture.size], reducing_gap=3)
    grey = np.asarray(grey, np.float32)
    return float(100 * np.percentile(np.abs(laplace(grey)), 99) / max(np.ptp(np.percentile(grey, (2, 98))), 8))


def brightness(picture):
    """90th percentile, 0..255.

    Measured: the darkest of 18 photos has 94 (a rocket at dusk), the night sky 28; `relief`'s views have 68 and more
    by day, 6 by night.
    """
    return float(np.percentile(np.asarray(picture.convert("L")), 90))


def difference_hash(picture):
    """256 bits: whether it grows brighter to the right.

    Measured: 18 photos differ in 73 bits and more, views of `relief` in 49; copies of them in 21 at most, if darkened
    to 60 %, halved, or stored at JPEG quality 30.
    """
    grey = np.asarray(picture.convert("L").resize((17, 16), 4), int)  # 4: the mean of pixels
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def people_counter(look_for_faces, look_for_people):
    """Function from a picture to the numbers of faces and of people in it, NaN if not looked for.

    Measured: of OpenCV's cascades alt2 finds 98 of the 100 faces in scikit-image's lfw_subset, and none in 26 photos
    and textures without (default: 96, and 12; scikit-image's own cascade: 94, and 2). HOG gives a figure who stands
    upright and is seen whole 1.0 to 2.7, other things up to 0.6; it misses most who do not. On 36 views both find
    nothing.
    """
    if not (look_for_faces or look_for_people):
        return lambda picture: (math.nan, math.nan)
    try:
        import cv2
    except ImportError:
        cv2 = None
    if not (hasattr(cv2, "CascadeClassifier") and hasattr(cv2, "HOGDescriptor_getDefaultPeopleDetector")):
        found = f"version {cv2.__version__} has neither detector" if cv2 else "it is missing"
        raise ImportError(
            f"faces and people are found by OpenCV 4: {found}. Install it: pip install 'opencv-python-headless<5'. "
            "Or do not look for them: most_faces=None, most_people=None"
        )
    cascade = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_alt2.xml")
    upright = cv2.HOGDescriptor()
    upright.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def count(picture):
        grey = picture.convert("L")
        grey.thumbnail((PEOPLE_PX, PEOPLE_PX))
        grey, faces, people = np.asarray(grey), math.nan, 0 if look_for_people else math.nan
        if look_for_faces:
            faces = len(cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(30, 30)))
        if look_for_people and grey.shape[0] >= 128 and grey.shape[1] >= 64:  # the detector's window
            _, weights = upright.detectMultiScale(grey, winStride=(8, 8), padding=(8, 8), scale=1.05)
            people = int(np.count_nonzero(np.asarray(weights) >= 0.8))
        return faces, people

    return count
