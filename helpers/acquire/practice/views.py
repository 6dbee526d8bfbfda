"""The photos of the practice server: views rendered over the Rocky Mountains, which say so, and one real portrait."""

import functools
import hashlib
from collections import namedtuple
from datetime import UTC, datetime, timedelta

import numpy as np

from helpers import paths, relief
from helpers.acquire import packs
from helpers.acquire.practice.imagery import encoded, once

PHOTO_PX, SIZES_PX = (450, 300), {"tiny": (120, 80), "face": (512, 512)}
DAY = datetime(2014, 9, 20, tzinfo=UTC)  # of the image
DEFECTS = ("night", "blurred", "tiny", "copy", "unplaced", "face")  # what a filter should find, one photo each
COPIED = 3  # number of the photo that "copy" nearly equals

Photo = namedtuple("Photo", "number defect title lon lat heading_deg time size_px")


@functools.cache
def land():
    """(heights, image, pixel_size_m, transform) of the Rocky Mountains, as `relief.aligned` gives them."""
    dem, image = (packs.open_scene("rocky_mountain", name) for name in ("dem", "image"))
    return relief.aligned(dem, image)


@functools.cache
def photos():
    """List of Photo: 36 spread over the mountains, 18 close together on three spots, and one of each of DEFECTS."""
    random, (heights, _, pixel_size_m, transform) = np.random.default_rng(2014), land()
    spots = (np.argwhere(np.ones((6, 6))) + random.uniform(0.25, 0.75, (36, 2))) / 6
    near = np.repeat(spots[[7, 16, 28]], 6, axis=0) + random.uniform(-0.004, 0.004, (18, 2))  # some 150 m away
    spots, found = np.concatenate([spots, near, random.uniform(0.2, 0.8, (len(DEFECTS), 2))]), []
    reach = round(400 / pixel_size_m[0])
    for number, (spot, defect) in enumerate(zip(spots, [""] * 54 + list(DEFECTS), strict=True), start=1):
        # people climb to where they see something, and look down rather than up
        row, column = (spot * heights.shape).astype(int) - reach
        around = heights[row : row + 2 * reach + 1, column : column + 2 * reach + 1]
        up, left = np.unravel_index(around.argmax(), around.shape) if not 36 < number <= 54 else (reach, reach)
        lon, lat = (round(float(value), 6) for value in transform @ (column + left + 0.5, row + up + 0.5))
        south, east = (float(part.mean()) for part in np.gradient(around))
        heading = round(np.degrees(np.arctan2(-east, south)) + random.uniform(-50, 50)) % 360
        sunlit = random.integers(8 * 60, 17 * 60) if defect != "night" else 18 * 60 + 50
        time = DAY + timedelta(days=int(random.integers(-5, 5)), minutes=int(sunlit) + 7 * 60)  # the sun is 7 h late
        title = f"Rendered view {number:02}, Rocky Mountains, heading {heading} degrees"
        photo = Photo(number, defect, title, lon, lat, heading, time, SIZES_PX.get(defect, PHOTO_PX))
        if defect == "copy":
            title = f"Rendered view {number:02}, nearly the same as {COPIED:02}"
            photo = found[COPIED - 1]._replace(number=number, defect=defect, title=title)
        if defect == "face":
            photo = photo._replace(title="Portrait of the astronaut Eileen Collins")
        found.append(photo)
    return found


@once(0)  # the file is kept
def photo_file(number):
    """Path of a photo as JPEG, rendered at the first call; its EXIF says from where, and that it is rendered."""
    photo = photos()[number - 1]
    made_from = hashlib.sha256(repr(photo).encode()).hexdigest()[:8]  # so that no picture outlives a change of the list
    path = paths.DATA / "practice" / "photos" / f"{number:02}_{made_from}.jpg"
    if not path.exists():
        data = encoded(_picture(photo), "JPEG", exif=_exif(photo))
        with paths.atomic(path) as temporary:
            temporary.write_bytes(data)
    return path


def described(photo):
    """What a photo shows, in words that leave no doubt."""
    if photo.defect == "face":
        return "Official portrait of Eileen Collins (NASA), put here to practise the filter for people"
    return (
        "Rendered view, not a photograph: the Landsat 8 image of 20 September 2014 (NASA, USGS) draped over elevation "
        "data (Mapzen terrain tiles), with invented detail and time"
    )


@once(128)
def smaller_photo(number, width):
    """JPEG of a photo, `width` pixels wide; without position, as services that make small images drop it."""
    from PIL import Image

    with Image.open(photo_file(number)) as picture:
        exif = Image.Exif()
        exif[0x010E] = described(photos()[number - 1])
        size = (width, round(width * picture.height / picture.width))
        return encoded(picture.resize(size, Image.Resampling.LANCZOS), "JPEG", exif=exif)


def _picture(photo):
    from PIL import Image, ImageEnhance, ImageFilter, ImageOps

    if photo.defect == "face":
        from skimage import data

        return Image.fromarray(data.astronaut())
    if photo.defect == "copy":  # a few pixels cut off, a little brighter
        with Image.open(photo_file(COPIED)) as picture:
            cut = ImageOps.crop(picture, 2).resize(picture.size)
        return ImageEnhance.Brightness(cut).enhance(1.04)
    heights, image, pixel_size_m, transform = land()
    column, row = ~transform @ (photo.lon, photo.lat)
    azimuth, elevation = _sun(photo)
    view = relief.view(
        heights, image, pixel_size_m=pixel_size_m, column=column, row=row, heading_deg=photo.heading_deg,
        size_px=PHOTO_PX[::-1], sun_azimuth_deg=azimuth, sun_elevation_deg=elevation,
    )  # fmt: skip
    picture = Image.fromarray(np.rint(view * 255).astype("uint8"))
    if photo.defect == "blurred":
        picture = picture.filter(ImageFilter.GaussianBlur(8))
    return picture.resize(photo.size_px)


def _sun(photo):
    """(azimuth, elevation) in degrees; near the equinox the sun stands over the equator."""
    hour, lat = np.radians((photo.time.hour + photo.time.minute / 60 - 12) * 15 + photo.lon), np.radians(photo.lat)
    east, north, up = -np.sin(hour), -np.sin(lat) * np.cos(hour), np.cos(lat) * np.cos(hour)
    return float(np.degrees(np.arctan2(east, north)) % 360), float(np.degrees(np.arcsin(up)))


def _exif(photo):
    from PIL import Image

    exif = Image.Exif()
    exif[0x010E], exif[0x0131] = described(photo), "satellite-notebooks"  # ImageDescription, Software
    exif.get_ifd(0x8769).update({0x9003: f"{photo.time:%Y:%m:%d %H:%M:%S}", 0x9011: "+00:00"})  # DateTimeOriginal, zone
    if photo.defect != "unplaced":
        place = exif.get_ifd(0x8825)  # GPS
        for tag, value, signs in ((1, photo.lat, "NS"), (3, photo.lon, "EW")):
            minutes, seconds = divmod(round(abs(value) * 3600, 4), 60)
            place[tag], place[tag + 1] = signs[value < 0], (*map(float, divmod(minutes, 60)), seconds)
        place[16], place[17] = "T", float(photo.heading_deg)  # GPSImgDirection, from true north
    return exif
