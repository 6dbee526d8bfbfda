"""One photo: open it, and read its EXIF tags."""

import math
from contextlib import contextmanager, suppress
from datetime import datetime

from helpers.acquire import tiles


@contextmanager
def opened(path):
    """Open the picture in a file, not decoded yet; an OSError says why it cannot be read."""
    from PIL import Image

    try:
        if path.suffix.lower() in (".heic", ".heif"):
            raise ValueError("HEIC: convert it to JPEG first")
        # refuses what declares more than 179 million pixels
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise ValueError("more than 8 bits: save it with 8 bits first")
            yield picture
    # Pillow raises whatever a damaged file leads to
    except Exception as error:
        reason = getattr(error, "strerror", "") or error
        raise OSError(f"cannot be read: {reason}") from error


def tags(picture):
    """Read the EXIF data of an opened picture, as `photos.read_folder` describes it.

    `time` is left out where the camera does not know it.
    """
    from PIL.ExifTags import GPS, IFD, Base

    exif = picture.getexif()
    known = {}
    gps = exif.get_ifd(IFD.GPSInfo)
    camera = exif.get_ifd(IFD.Exif)
    with suppress(ValueError):  # missing, or "0000:00:00 00:00:00"
        taken = str(camera.get(Base.DateTimeOriginal)).strip("\0 ")
        known["time"] = datetime.strptime(taken, "%Y:%m:%d %H:%M:%S").isoformat()
    lon = _degrees(gps, GPS.GPSLongitude)
    lat = _degrees(gps, GPS.GPSLatitude)
    lon, lat = tiles.position(lon, lat)
    heading = float(gps.get(GPS.GPSImgDirection, math.nan))
    width, height = picture.size[:: -1 if exif.get(Base.Orientation, 1) > 4 else 1]
    return known | {
        "lon": lon, "lat": lat, "heading_deg": heading % 360 if 0 <= heading <= 360 else math.nan,
        "width": width, "height": height,
    }  # fmt: skip


def _degrees(gps, tag):
    """Return degrees of a position; None where a part is missing, NaN where it is 0/0."""
    with suppress(KeyError, TypeError, ValueError):
        degrees, minutes, seconds = map(float, gps[tag])
        sign = {"E": 1, "N": 1, "W": -1, "S": -1}[gps[tag - 1]]
        return sign * (degrees + minutes / 60 + seconds / 3600)
