"""Ground photos: reading where they were taken, judging, and pairing with patches."""

import functools
import itertools
import re
import struct
import types
from pathlib import Path

import mercantile
import nbformat
import numpy as np
import pandas
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from PIL.ExifTags import GPS, IFD, Base
from skimage import data

from helpers import paths
from helpers.acquire import checks, download, packs, photos, pictures

NOWHERE, ZERO_BY_ZERO = {}, 123_454_321
ESTES_PARK = {"lon": -105.52, "lat": 40.37}


def landscape(seed=0, size=(640, 426)):
    """Sky over hills whose texture is as rough as that of a photo; each seed another one."""
    random = np.random.default_rng(seed)
    width, height = size
    x, y = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    ridges = sum(random.uniform(0.02, 0.1) * np.sin(2 * np.pi * (k * x + random.uniform())) / k for k in range(1, 9))
    texture = sum(
        np.kron(random.uniform(-1, 1, (height // step + 1, width // step + 1)), np.ones((step, step)))[:height, :width]
        for step in (2, 5, 17)
    )
    ground = y > 0.45 + ridges
    grey = np.where(ground, 90 + 18 * texture, 200 - 40 * y)
    colour = grey[..., None] * [0.95, 1, 0.9] + ~ground[..., None] * [0, 0, 25]
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


def gps(lon=None, lat=None, heading=None, reference="T"):
    tags = {}
    if lat is not None:
        tags |= {GPS.GPSLatitudeRef: "S" if lat < 0 else "N", GPS.GPSLatitude: sexagesimal(lat)}
        tags |= {GPS.GPSLongitudeRef: "W" if lon < 0 else "E", GPS.GPSLongitude: sexagesimal(lon)}
    if heading is not None:
        tags |= {GPS.GPSImgDirection: heading, GPS.GPSImgDirectionRef: reference}
    return tags


def sexagesimal(degrees):
    minutes = abs(degrees) % 1 * 60
    return (int(abs(degrees)), int(minutes), round(minutes % 1 * 60, 4))


def save(path, picture=None, place=ESTES_PARK, *, position=None, camera=None, orientation=None, **options):
    """Write a photo with EXIF tags; `position`: GPS tags as they are, instead of those of `place`."""
    exif = Image.Exif()
    exif[Base.Make] = "tests"  # Pillow takes tags without one of the main directory for none
    exif.get_ifd(IFD.GPSInfo).update(gps(**place) if position is None else position)
    exif.get_ifd(IFD.Exif).update(camera or {})
    if orientation:
        exif[Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = exif.tobytes().replace(struct.pack("<2L", ZERO_BY_ZERO, 1), bytes(8))
    (picture or landscape()).save(path, exif=tags, **options)
    return path


def only(folder):
    """The one row of a folder with one photo."""
    table = photos.read_folder(folder)
    assert len(table) == 1
    return table.iloc[0]


def cells(pattern):
    """The code cells of notebook deeper/01b in which a line begins so."""
    book = nbformat.read(paths.ROOT / "notebooks/deeper/01b_pairs_dates_photos.ipynb", 4)
    code = [cell.source for cell in book.cells if cell.cell_type == "code"]
    return [source for source in code if re.search(f"^({pattern})", source, re.M)]


def lesson(**others):
    """The functions of notebook deeper/01b, or others in place of them; its landscapes are the scene "valley"."""
    names = {"np": np, "pd": pandas, "Path": Path, "Image": Image, "ImageOps": ImageOps, "CLASSES": {0: "valley"}}
    names |= {"paths": paths, "download": download, "pictures": pictures, "checks": checks, "packs": packs}
    names |= {"mercantile": mercantile, "itertools": itertools, "partial": functools.partial}
    exec("\n".join(cells(r"def (?!probabilities|classify)\w+\(")), names)
    names |= others
    return types.SimpleNamespace(**names)


def judged(folder, classify=lambda picture: "valley"):
    return lesson(classify=classify).judge(photos.read_folder(folder), folder)


def reasons(folder, **rules):
    return dict(judged(folder, **rules)[["path", "reason"]].itertuples(index=False))


# --- reading


@pytest.mark.parametrize(("lon", "lat"), [(138.7278, 35.3606), (-70.0109, -32.6532), (151.2, -33.9), (-105.68, 40.25)])
@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "tif", "webp", "JPG"])
def test_a_position_survives_exif_in_all_four_hemispheres(tmp_path, suffix, lon, lat):
    save(tmp_path / f"a.{suffix}", place={"lon": lon, "lat": lat})
    row = only(tmp_path)
    assert (row.lon, row.lat) == pytest.approx((lon, lat), abs=1e-6) and row.reason == ""


LATITUDE = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (40, 15, 0)}
LONGITUDE = {GPS.GPSLongitudeRef: "W", GPS.GPSLongitude: (105, 30, 0)}


@pytest.mark.parametrize(
    "position",
    [
        NOWHERE,
        LATITUDE,
        LONGITUDE,
        LATITUDE | {GPS.GPSLongitude: (105, 30, 0)},
        LATITUDE | LONGITUDE | {GPS.GPSLatitudeRef: ""},
        LATITUDE | LONGITUDE | {GPS.GPSLatitude: (ZERO_BY_ZERO, 15, 0)},
        LATITUDE | LONGITUDE | {GPS.GPSLatitude: (40, 15, ZERO_BY_ZERO)},
        LATITUDE | LONGITUDE | {GPS.GPSLatitude: (95, 0, 0)},
        LATITUDE | LONGITUDE | {GPS.GPSLatitude: (0, 0, 0), GPS.GPSLongitude: (0, 0, 0)},
    ],
    ids=["none", "no lon", "no lat", "no reference", "empty reference", "0/0", "seconds 0/0", "too far", "no fix"],
)
def test_a_position_that_is_not_whole_is_unknown(tmp_path, position):
    save(tmp_path / "a.jpg", position=position)
    row = only(tmp_path)
    assert np.isnan(row.lon) and np.isnan(row.lat) and row.reason == "" and (row.width, row.height) == (640, 426)


def test_rational_numbers_are_divided(tmp_path):
    position = LATITUDE | LONGITUDE | {GPS.GPSLatitude: (40, 1535 / 100, 0), GPS.GPSLongitude: (105.5, 0, 0)}
    save(tmp_path / "a.jpg", position=position)
    row = only(tmp_path)
    assert (row.lon, row.lat) == pytest.approx((-105.5, 40 + 15.35 / 60))


@pytest.mark.parametrize(("heading", "expected"), [(123.5, 123.5), (360, 0), (361, np.nan), (None, np.nan)])
def test_the_heading_is_read(tmp_path, heading, expected):
    save(tmp_path / "a.jpg", place=ESTES_PARK | {"heading": heading})
    assert only(tmp_path).heading_deg == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("camera", "expected"),
    [
        ({Base.DateTimeOriginal: "2024:09:20 18:05:59"}, "2024-09-20T18:05:59"),
        ({Base.DateTimeOriginal: "    :  :     :  :  "}, ""),
        ({Base.DateTimeOriginal: "0000:00:00 00:00:00"}, ""),  # a clock that was never set
        ({Base.DateTimeOriginal: "2024:13:45 99:99:99"}, ""),
        ({}, ""),
    ],
)
def test_the_time_is_that_of_the_cameras_clock(tmp_path, camera, expected):
    save(tmp_path / "a.jpg", camera=camera)
    assert only(tmp_path).time == expected


def test_the_size_is_that_of_the_upright_photo(tmp_path):
    save(tmp_path / "a.jpg", orientation=6)
    assert (only(tmp_path).width, only(tmp_path).height) == (426, 640)


def test_photos_come_sorted_from_all_subfolders_and_hidden_files_are_left_out(tmp_path):
    for name in ("b.jpg", "a/z.png", ".hidden.jpg", ".thumbs/c.jpg", "B.jpg"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo")
    assert list(photos.read_folder(tmp_path).path) == ["B.jpg", "a/z.png", "b.jpg"]


def test_what_cannot_be_read_is_a_row_with_the_reason(tmp_path):
    save(tmp_path / "good.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "good.jpg").read_bytes()[:9000])
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "empty.png").touch()
    (tmp_path / "phone.HEIC").write_bytes(b"ftypheic")
    (tmp_path / "folder.jpg").mkdir()
    Image.new("I;16", (300, 300)).save(tmp_path / "deep.tif")
    table = photos.read_folder(tmp_path).set_index("path")
    assert table.reason["phone.HEIC"] == "cannot be read: HEIC: convert it to JPEG first"
    assert all("cannot identify image" in table.reason[name] for name in ("page.jpg", "empty.png"))
    assert "8 bits" in table.reason["deep.tif"] and "directory" in table.reason["folder.jpg"].lower()
    assert table.reason["cut.jpg"] == table.reason["good.jpg"] == ""
    found = reasons(tmp_path)
    assert "truncated" in found.pop("cut.jpg") and found.pop("good.jpg") == ""
    assert found == table.reason.drop(["cut.jpg", "good.jpg"]).to_dict()


def test_a_picture_that_declares_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    save(tmp_path / "a.jpg")
    assert "decompression bomb" in only(tmp_path).reason


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_of_rubbish_does_not_stop_the_others(tmp_path):
    save(tmp_path / "a.jpg")
    landscape().save(tmp_path / "b.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(256)))
    table = photos.read_folder(tmp_path)
    assert len(table) == 2 and table.lon.notna().tolist() == [True, False]


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no photo"):
        photos.read_folder(tmp_path)
    with pytest.raises(ValueError, match="holds no photo"):
        photos.read_folder(tmp_path / "missing")


def test_the_manifest_says_what_exif_does_not(tmp_path):
    save(tmp_path / "photo" / "a.jpg", position=NOWHERE, camera={Base.DateTimeOriginal: "2024:09:20 18:05:59"})
    save(tmp_path / "photo" / "b.jpg")
    save(tmp_path / "satellite" / "b.png")
    place = {"west": 8.0, "east": 8.0, "south": 46.0, "north": 46.0, "crs": "EPSG:4326", "time": "2001-01-01"}
    about = {"role": "photo", "source": "commons", "credit": "A. Photographer", "licence": "CC BY 4.0", "url": "x"}
    download.write_manifest(
        tmp_path,
        [
            {"path": "photo/a.jpg", **about, **place},
            {"path": "photo/b.jpg", **about, **place},
            {"path": "photo/lost.jpg", **about},
            {"path": "satellite/b.png", "role": "satellite"},
        ],
    )
    table = photos.read_folder(tmp_path).set_index("path")
    assert list(table.index) == ["photo/a.jpg", "photo/b.jpg"]
    assert tuple(table.loc["photo/a.jpg", ["lon", "lat", "time"]]) == (8.0, 46.0, "2024-09-20T18:05:59")
    assert table.lon["photo/b.jpg"] == pytest.approx(-105.52) and table.time["photo/b.jpg"] == "2001-01-01"
    assert table.credit["photo/a.jpg"] == "A. Photographer" and table.licence["photo/a.jpg"] == "CC BY 4.0"


# --- judging: each rule alone, beside a photo that it lets through


def test_a_landscape_is_kept_with_its_measurements(tmp_path):
    save(tmp_path / "a.jpg")
    row = judged(tmp_path).iloc[0]
    assert row.reason == "" and row.scene == "valley"
    assert row.sharpness > 0.7 and row.brightness > 100 and row.faces == 0


def test_a_photo_without_position_is_rejected(tmp_path):
    save(tmp_path / "a.jpg", position=NOWHERE)
    assert reasons(tmp_path) == {"a.jpg": "no position"}


def test_a_small_photo_is_rejected(tmp_path):
    save(tmp_path / "a.jpg", landscape(1, (340, 255)))
    save(tmp_path / "b.jpg", landscape(2, (341, 256)))
    assert reasons(tmp_path) == {"a.jpg": "too small", "b.jpg": ""}


@pytest.mark.parametrize("size", [(640, 426), (2560, 1704)])
def test_a_blurred_photo_is_rejected_and_a_hazy_one_is_not(tmp_path, size):
    picture = landscape().resize(size, Image.Resampling.NEAREST)
    save(tmp_path / "blurred.jpg", picture.filter(ImageFilter.GaussianBlur(2 * size[1] / 256)))
    haze = Image.blend(picture, Image.new("RGB", size, (190, 200, 210)), 0.7)
    save(tmp_path / "haze.jpg", haze)
    assert reasons(tmp_path) == {"blurred.jpg": "blurred", "haze.jpg": ""}


def test_a_night_is_rejected_though_it_has_lights_and_dusk_is_not(tmp_path):
    night = Image.eval(landscape(1), lambda value: value // 8)
    ImageDraw.Draw(night).ellipse((300, 60, 380, 140), fill="white")
    save(tmp_path / "a.jpg", night)
    save(tmp_path / "b.jpg", Image.eval(landscape(2), lambda value: value // 3))
    assert reasons(tmp_path) == {"a.jpg": "night", "b.jpg": ""}


def test_copies_of_a_photo_are_rejected_and_its_neighbour_is_not(tmp_path):
    picture = landscape()
    save(tmp_path / "a.jpg", picture)
    save(tmp_path / "b.jpg", picture, quality=40)
    save(tmp_path / "c.jpg", picture.resize((500, 333)))
    save(tmp_path / "d.jpg", landscape(1))
    found = reasons(tmp_path)
    assert all(found[name] == "duplicate of a.jpg" for name in ("b.jpg", "c.jpg"))
    assert found["a.jpg"] == found["d.jpg"] == ""


def test_the_copy_of_a_photo_that_is_rejected_itself_is_kept(tmp_path):
    save(tmp_path / "a.jpg", landscape().resize((300, 200)))
    save(tmp_path / "b.jpg")
    save(tmp_path / "c.jpg")
    found = reasons(tmp_path)
    assert "too small" in found["a.jpg"] and found["b.jpg"] == "" and "duplicate of b.jpg" in found["c.jpg"]


def test_a_face_is_rejected_and_a_cat_is_not(tmp_path):
    save(tmp_path / "face.jpg", Image.fromarray(data.astronaut()))
    save(tmp_path / "cat.jpg", Image.fromarray(data.chelsea()))
    assert reasons(tmp_path) == {"cat.jpg": "", "face.jpg": "faces: 1"}


def test_a_scene_that_is_no_landscape_is_named(tmp_path):
    save(tmp_path / "a.jpg")
    save(tmp_path / "b.jpg", Image.fromarray(data.coffee()))

    def warm(picture):
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and max(picture.shape) <= 640
        return "table" if picture[..., 0].mean() > picture[..., 2].mean() + 10 else "valley"

    assert reasons(tmp_path, classify=warm) == {"a.jpg": "", "b.jpg": "scene: table"}


def test_all_reasons_of_a_photo_are_kept(tmp_path):
    save(tmp_path / "a.jpg", landscape(0, (300, 200)).point(lambda value: value // 8), position=NOWHERE)
    assert reasons(tmp_path) == {"a.jpg": "no position; too small; night"}


def test_tiny_and_flat_pictures_are_measured(tmp_path):
    save(tmp_path / "a.png", Image.new("RGB", (1, 1), "white"))
    save(tmp_path / "b.png", Image.new("L", (2000, 3), 128))
    save(tmp_path / "c.png", Image.new("RGBA", (400, 300), (0, 0, 255, 0)))
    save(tmp_path / "d.webp", Image.new("RGB", (400, 300), "white"))
    save(tmp_path / "e.jpg", Image.new("RGB", (500, 80), "white"))
    table = judged(tmp_path)
    assert table.reason.str.contains("blurred").all() and table.faces.eq(0).all()
