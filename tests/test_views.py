"""Pairs of satellite patch and view: the place of things in both by hand, splits, cache, stream, folders of photos."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import calculate_default_transform, reproject

from helpers import paths, relief, scenes
from helpers.acquire import download, packs
from helpers.pairs import photo_views, views
from helpers.relief import surroundings
from helpers.scenes import Scene

needs_pack = pytest.mark.skipif(bool(packs.missing("rocky_mountain")), reason="needs: python -m helpers fetch")
FOCAL = 32 / math.tan(math.radians(30))  # of a view of 64 px, 60 degrees wide
DEGREE_M, PIXEL_M, NORTH, WEST = 111_195, 100, 50.0, 10.0  # of the invented land below
RED, GREEN = (200, 20, 20), (20, 200, 20)


def degrees(east_m, north_m, lat=NORTH - 0.2):
    """Longitude and latitude so far from another place."""
    return east_m / DEGREE_M / math.cos(math.radians(lat)), north_m / DEGREE_M


def invented_land(cone=None, height_m=900, radius_m=800):
    """A red plain of 36 x 44 km inside an image 8 km wider, with one green cone at (x_m, y_m)."""
    y, x = (np.indices((440 + 160, 360 + 160)) - 80 + 0.5) * PIXEL_M
    far = np.hypot(x - cone[0], y - cone[1]) if cone else np.full(x.shape, np.inf)
    pixels = np.where(far[..., None] < radius_m, GREEN, RED).astype("float32")
    heights = np.clip(1 - far / radius_m, 0, 1)[80:-80, 80:-80] * height_m
    wide, high = degrees(PIXEL_M, PIXEL_M)
    transform = Affine(wide, 0, WEST, 0, -high, NORTH)
    place = transform @ Affine.translation(-80, -80)
    image = Scene(pixels, ("red", "green", "blue"), place, CRS.from_epsg(4326), dtype="uint8")
    ground = relief.ground(heights, np.moveaxis(pixels[80:-80, 80:-80] / 255, -1, 0), (PIXEL_M, PIXEL_M))
    return views.Land(ground, image, transform)


@pytest.fixture
def on_land(folders, monkeypatch):
    """Function that puts an invented land, bare of invented detail, in place of the Rocky Mountains."""

    def put(**cone):
        land = invented_land(**cone)
        monkeypatch.setattr(views, "land", lambda: land)
        monkeypatch.setattr(surroundings, "LAYERS_M", (1e-9,))
        return land

    return put


@pytest.fixture
def kept_apart(tmp_path, monkeypatch):
    """The real ground, whose pairs are kept in a folder of the test."""
    views.land()
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path


def is_red(image):
    return (image[..., 0] > 1.3 * image[..., 1]) & (image[..., 0] > 1.3 * image[..., 2])


def is_green(image):
    return (image[..., 1] > 1.3 * image[..., 0]) & (image[..., 1] > 1.3 * image[..., 2])


# --- where things appear


def test_the_horizon_of_a_plain_lies_where_geometry_puts_it(on_land):
    on_land()
    pair = views.render("train", 4, image_size=64)
    dip = math.sqrt(2 * 20 * (1 - 0.13) / 6_371_000)  # from 20 m above the plain, radians
    expected = 32 + FOCAL * (dip - math.tan(math.radians(10)))  # the view's middle looks 10 degrees down
    assert expected == pytest.approx(22.4, abs=0.1)
    sky = (~is_red(pair.views.astype(float))).sum(axis=1)
    assert abs(sky - expected).max() < 0.8


def test_a_mountain_appears_in_view_and_patch_where_its_bearing_and_distance_put_it(on_land):
    cone, seen, below = (18_050, 36_050), 0, 0
    land = on_land(cone=cone)
    for row in views.spots("train", 600).itertuples():
        east, north = cone[0] - row.x_m, row.y_m - cone[1]
        distance, angle = math.hypot(east, north), math.atan2(east, north) - math.radians(row.heading_deg)
        aside, forward = distance * math.sin(angle), distance * math.cos(angle)
        if 2000 < forward < 4500 and abs(aside / forward) < 0.4:
            view = views.seen(land, row._asdict(), 64, 0)
            rows, columns = np.nonzero(is_green(view)[: 32 - 10])  # what rises above the horizon
            assert abs(columns.mean() + 0.5 - (32 + FOCAL * aside / forward)) < 1
            assert abs(rows.min() - (32 - FOCAL * (math.tan(math.radians(10)) + (900 - 20) / forward))) < 2
            seen += 1
        if max(abs(aside), abs(forward)) < 2000:
            patch = views.cut(land.image, row.lon, row.lat, row.heading_deg, size_px=64)
            rows, columns = np.nonzero(is_green(patch))
            assert abs(columns.mean() + 0.5 - (32 + aside * 64 / 6000)) < 0.5
            assert abs(rows.mean() + 0.5 - (32 - forward * 64 / 6000)) < 0.5
            assert len(rows) == pytest.approx(math.pi * 800**2 / (6000 / 64) ** 2, rel=0.1)
            below += 1
    assert seen >= 3 and below >= 3


@pytest.mark.parametrize(("heading_deg", "row", "column"), [
    (0, 32, 53.3), (90, 10.7, 32), (180, 32, 10.7), (270, 53.3, 32), (45, 16.9, 47.1), (math.nan, 32, 53.3),
])  # fmt: skip
def test_what_lies_ahead_is_up_in_a_patch(heading_deg, row, column):
    pixels = np.zeros((200, 200, 3), "float32")
    pixels[95:105, 115:125, 0] = 255  # a red square 2 km to the east of the middle, 1 km wide
    wide, high = degrees(PIXEL_M, PIXEL_M, 45)
    place = Affine(wide, 0, 7 - 100 * wide, 0, -high, 45 + 100 * high)
    scene = Scene(pixels, ("red", "green", "blue"), place, CRS.from_epsg(4326))
    patch = views.cut(scene, 7, 45, heading_deg, size_px=64)
    rows, columns = np.nonzero(patch[..., 0] > 127)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((row, column), abs=0.3)
    assert patch[..., 0].sum() / 255 == pytest.approx((64 / 6) ** 2, rel=0.02) and not patch[..., 1:].any()


def test_a_patch_is_cut_alike_from_another_projection():
    random, px = np.random.default_rng(0), 300
    smooth = np.kron(random.uniform(0, 255, (3, 10, 10)), np.ones((30, 30)))
    wide, high = degrees(PIXEL_M, PIXEL_M, 40)
    here = Scene(
        np.moveaxis(smooth, 0, -1).astype("float32"), ("r", "g", "b"),
        Affine(wide, 0, -105 - px / 2 * wide, 0, -high, 40 + px / 2 * high), CRS.from_epsg(4326),
    )  # fmt: skip
    there = CRS.from_epsg(32612)  # whose middle is far: north is turned by 4 degrees
    place, width, height = calculate_default_transform(here.crs, there, px, px, *here.bounds, resolution=50)
    pixels = np.zeros((3, height, width), "float32")
    reproject(smooth.astype("float32"), pixels, src_transform=here.transform, src_crs=here.crs, dst_transform=place,
              dst_crs=there, resampling=rasterio.enums.Resampling.bilinear)  # fmt: skip
    moved = Scene(np.moveaxis(pixels, 0, -1), here.bands, place, there)
    one, two = (views.cut(scene, -105.01, 40.02, 30, size_px=64) for scene in (here, moved))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.995
    wrong = views.cut(moved, -105.01, 40.02, 34, size_px=64)
    assert np.corrcoef(one.ravel(), wrong.ravel())[0, 1] < 0.97


def test_fine_imagery_is_averaged_not_picked():
    pixels = np.where(np.indices((800, 800)).sum(axis=0)[..., None] % 2, 200, 100).astype("float32")
    wide, high = degrees(10, 10, 45)
    scene = Scene(pixels, ("grey",), Affine(wide, 0, 7 - 400 * wide, 0, -high, 45 + 400 * high), CRS.from_epsg(4326))
    assert abs(views.cut(scene, 7, 45, 20, size_px=32) - 150).max() < 3


@needs_pack
@pytest.mark.parametrize(("eye_m", "pitch_deg", "mean", "most"), [
    (2, -5, 0.01, 0.013),  # measured: 0.0085 and 0.0094
    (20, -10, 0.016, 0.027),  # measured: 0.0142 and 0.0239, most over forest: more single trees are in view
])  # fmt: skip
def test_small_views_show_what_large_ones_do(kept_apart, monkeypatch, eye_m, pitch_deg, mean, most):
    land, losses = views.land(), []
    monkeypatch.setattr(views, "EYE_M", eye_m)
    monkeypatch.setattr(views, "PITCH_DEG", pitch_deg)
    for row in views.spots("train", 6, seed=3).to_dict("records"):
        large, small = (views.seen(land, row, size, 0) for size in (256, 64))
        losses.append(abs(large.reshape(64, 4, 64, 4, 3).mean((1, 3)) - small).mean())
    assert np.mean(losses) < mean and max(losses) < most


# --- spots


def corners(row, half=3000):
    """Of a turned patch, metres east and south."""
    angle = math.radians(row.heading_deg)
    forward, right = np.array([math.sin(angle), -math.cos(angle)]), np.array([math.cos(angle), math.sin(angle)])
    return [(row.x_m, row.y_m) + half * (a * forward + b * right) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]


@needs_pack
@pytest.mark.parametrize("seed", [0, 1])
def test_patches_of_different_splits_share_no_ground(seed):
    counts, reach = {"train": 400, "validation": 80, "test": 120}, {}
    for split, count in counts.items():
        for again in (False, True):
            y = np.array([corner[1] for row in views.spots(split, count, seed=seed, again=again).itertuples()
                          for corner in corners(row)])  # fmt: skip
            reach[split, again] = y.min(), y.max()
    north, south = (max(reach["test", a][1] for a in (0, 1)), min(reach["train", a][0] for a in (0, 1)))
    assert south - north >= 6000
    assert min(reach["validation", a][0] for a in (0, 1)) - north > 2 * 167  # pixels of the image
    assert south - max(reach["validation", a][1] for a in (0, 1)) > 2 * 167


@needs_pack
def test_a_hundred_test_spots_lie_a_kilometre_from_each_other(monkeypatch):
    table = views.spots("test", 120)
    apart = np.hypot(*(table[axis].to_numpy()[:, None] - table[axis].to_numpy() for axis in ("x_m", "y_m")))
    assert (apart + 1e9 * np.eye(120)).min() >= 1000
    monkeypatch.setattr(views, "PATIENCE", 200)
    with pytest.raises(ValueError, match=r"1000 test spots are wanted, but only 1\d\d of them lie 1000 m"):
        views.spots("test", 1000)
    with pytest.raises(ValueError, match="0 pairs are wanted: ask for 1 at least"):
        views.render("test", 0)


@needs_pack
def test_spots_are_on_dry_ground_with_relief_ahead_and_know_their_place():
    ground, _, transform = views.land()
    wide, high = ground.pixel_size_m
    end = ground.shapes.shape[2] * wide, ground.shapes.shape[1] * high
    below = []
    for row in views.spots("train", 200).itertuples():
        for turn in (-30, 0, 30):
            angle = math.radians(row.heading_deg + turn)
            x, y = row.x_m + 7990 * math.sin(angle), row.y_m - 7990 * math.cos(angle)
            assert 0 < x < end[0] and 0 < y < end[1]
        red, _, blue = ground.image[:, int(row.y_m / high), int(row.x_m / wide)]
        assert not (blue > red and red + blue < 0.4)
        np.testing.assert_allclose(transform @ (row.x_m / wide, row.y_m / high), (row.lon, row.lat))
        angle = math.radians(row.heading_deg)
        x, y = row.x_m + 400 * math.sin(angle), row.y_m - 400 * math.cos(angle)
        below.append(
            ground.shapes[0][int(y / high), int(x / wide)] < ground.shapes[0][int(row.y_m / high), int(row.x_m / wide)]
        )
    assert np.mean(below) > 0.8  # people look down


def test_people_climb_and_look_down():
    heights = np.add.outer(np.zeros(40), 30.0 * np.arange(40))  # rises to the east
    (column, _), downhill = views.lookout(heights, np.array([100.0, 100]), np.array([2050, 2050]))
    assert (column, downhill % 360) == (24, 270)
    (_, row), downhill = views.lookout(heights.T, np.array([100.0, 200]), np.array([2050, 4100]))
    assert (row, downhill % 360) == (22, 0)


# --- rendering


@needs_pack
def test_pairs_depend_on_the_seed_alone(kept_apart, monkeypatch):
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(views.os, "cpu_count", lambda threads=threads: threads)
        found.append(views.render("validation", 5, image_size=32))
        for file in (kept_apart / "views").iterdir():
            file.unlink()
    first, again = found
    assert all(np.array_equal(a, b) for a, b in zip(first[:2], again[:2], strict=True))
    pd.testing.assert_frame_equal(first.table, again.table)
    fewer = views.render("validation", 3, image_size=32)
    assert np.array_equal(fewer.views, first.views[:3]) and np.array_equal(fewer.patches, first.patches[:3])
    row = first.table.to_dict("records")[4]
    patch = views.cut(views.land().image, row["lon"], row["lat"], row["heading_deg"], size_px=32)
    assert np.array_equal(first.patches[4], np.rint(patch))
    assert np.array_equal(first.views[4], np.rint(255 * views.seen(views.land(), row, 32, 0)))
    other = views.render("validation", 5, image_size=32, seed=1)
    assert not (other.table.x_m == first.table.x_m).any()
    assert first.patches.dtype == first.views.dtype == np.uint8 and first.views.shape == (5, 32, 32, 3)


@needs_pack
def test_a_spot_rendered_again_has_other_weather_and_nearly_the_same_heading(kept_apart, monkeypatch):
    one, two = (views.render("test", 12, image_size=32, again=again) for again in (False, True))
    for column in ("lon", "lat", "x_m", "y_m"):
        assert (one.table[column] == two.table[column]).all()
    turn = (one.table.heading_deg - two.table.heading_deg + 180) % 360 - 180
    assert abs(turn).min() > 0 and abs(turn).max() <= 5 and turn.std() > 1
    for column in ("sun_azimuth_deg", "sun_elevation_deg", "haze_km", "cloud_seed"):
        assert not (one.table[column] == two.table[column]).any()
    assert abs(one.views.astype(float) - two.views).mean((1, 2, 3)).min() > 1
    drawn = []
    monkeypatch.setattr(
        relief, "view", lambda *_, **how: (drawn.append((how["seed"], how["cloud_seed"])), np.zeros(1))[1]
    )
    for again in (False, True):
        views.render("test", 12, image_size=16, seed=2, again=again)
    ground, clouds = map(set, zip(*drawn, strict=True))
    assert ground == {2} and len(clouds) == 24  # nobody sees other ground where they stood before


@needs_pack
def test_the_cache_is_used_until_what_shapes_the_pairs_changes(kept_apart, monkeypatch):
    first = views.render("train", 3, image_size=16)
    files = list((kept_apart / "views").iterdir())
    assert len(files) == 1

    def fail(*_, **__):
        raise AssertionError("rendered again")

    with monkeypatch.context() as patched:
        patched.setattr(relief, "view", fail)
        assert np.array_equal(views.render("train", 3, image_size=16).views, first.views)
        changed = kept_apart / "relief" / "__init__.py"
        changed.parent.mkdir()
        changed.write_text("# other code")
        patched.setattr(relief, "__file__", str(changed))
        with pytest.raises(AssertionError, match="rendered again"):
            views.render("train", 3, image_size=16)
    other = dict(packs.catalogue()) | {views.PACK: "another version"}
    monkeypatch.setattr(packs, "catalogue", lambda: other)
    views.render("train", 3, image_size=16)
    assert len(list((kept_apart / "views").iterdir())) == 2


def test_the_weather_of_a_view_changes_its_clouds_not_its_ground():
    land = invented_land(cone=(18_000, 22_000))
    place = {"column": 180, "row": 250, "heading_deg": 0, "size_px": (64, 64), "haze_km": math.inf}
    one, other = (relief.view(land.ground, seed=1, cloud_seed=cloud, **place) for cloud in (1, 7))
    assert np.array_equal(one[40:], other[40:]) and abs(one[:20] - other[:20]).mean() > 0.01


# --- the stream


def numbered(count, size=8):
    """Views whose patches and views are equal, each with a gradient to the right and down, and its number in blue."""
    y, x = np.indices((size, size))
    images = np.stack([np.stack([x * 9, y * 7, np.full_like(x, k)], axis=-1) for k in range(count)]).astype("uint8")
    return views.Views(images, images.copy(), None)


def test_patch_and_view_are_mirrored_together_and_every_pair_comes_once_a_pass():
    pairs, mirrored = numbered(10), []
    batches = views.dataset(pairs, batch_size=5, steps=40)(0)
    patches, seen = (np.concatenate(part) for part in zip(*batches, strict=True))
    assert patches.shape == (200, 8, 8, 3) and patches.dtype == np.float32 and np.array_equal(patches, seen)
    for image in np.rint(seen * 255).astype(int):
        original = pairs.views[image[0, 0, 2]]
        mirrored.append(image[0, 0, 0] > 0)
        assert np.array_equal(image, original[:, ::-1] if mirrored[-1] else original)
    assert 70 < sum(mirrored) < 130
    numbers = np.rint(seen[:, 0, 0, 2] * 255).reshape(20, 10)
    assert (np.sort(numbers, axis=1) == np.arange(10)).all() and not (numbers[0] == numbers[1]).all()


def test_a_stream_that_starts_later_continues_the_first_one_exactly():
    whole, rest, other = (
        [batch.numpy() for _, batch in views.dataset(numbered(7), batch_size=4, steps=9, seed=seed)(first)]
        for first, seed in ((0, 3), (5, 3), (0, 4))
    )
    assert len(whole) == 9 and np.array_equal(whole[5:], rest) and not np.array_equal(whole, other)
    with pytest.raises(ValueError, match="no pairs to train on"):
        views.dataset(numbered(1)._replace(views=np.zeros((0, 8, 8, 3), "uint8")), batch_size=1, steps=1)


# --- folders of photos


def photo(path, place=None, heading=None, size=(300, 100), orientation=None):
    """A photo with EXIF tags: red on the left, green in the middle, blue on the right."""
    picture = Image.new("RGB", size, (0, 255, 0))
    picture.paste((255, 0, 0), (0, 0, size[0] // 3, size[1]))
    picture.paste((0, 0, 255), (2 * size[0] // 3, 0, *size))
    exif, gps = Image.Exif(), {}
    exif[Base.Make] = "tests"
    if place:
        parts = [(abs(value) // 1, abs(value) % 1 * 60, 0.0) for value in place]
        gps |= {GPS.GPSLongitude: parts[0], GPS.GPSLongitudeRef: "E" if place[0] > 0 else "W"}
        gps |= {GPS.GPSLatitude: parts[1], GPS.GPSLatitudeRef: "N"}
    if heading is not None:
        gps |= {GPS.GPSImgDirection: float(heading), GPS.GPSImgDirectionRef: "T"}
    exif.get_ifd(IFD.GPSInfo).update(gps)
    if orientation:
        exif[Base.Orientation] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=95, exif=exif)


def imagery(path, width_km=140, height_km=30, factor=1):
    """A GeoTIFF with pixels of 100 m around 7 E, 45 N, whose bands grow to the east and to the north."""
    rows, columns = np.indices((height_km * 10, width_km * 10))
    pixels = np.stack([columns * 250 / columns.max(), 250 - rows * 250 / rows.max(), 0 * rows + 80], axis=-1) * factor
    wide, high = degrees(100, 100, 45)
    place = Affine(wide, 0, 7 - columns.shape[1] / 2 * wide, 0, -high, 45 + len(rows) / 2 * high)
    dtype = "uint8" if factor == 1 else "uint16"
    scene = Scene(np.rint(pixels).astype("float32"), ("red", "green", "blue"), place, CRS.from_epsg(4326), dtype=dtype)
    scenes.write(scene, path)
    return path


def along(number, count=40, width_km=120):
    """The place of one of some photos, side by side from west to east."""
    east, north = degrees((number / (count - 1) - 0.5) * 1000 * width_km, 0, 45)
    return 7 + east, 45 + north


@pytest.fixture
def album(tmp_path):
    """Folder of 40 photos over 120 km, headings alternating between none and east."""
    for number in range(40):
        photo(tmp_path / "album" / f"{number:02}.jpg", along(number), 90 if number % 2 else None)
    return tmp_path / "album"


def test_photos_get_patches_from_imagery_turned_to_their_headings(album, tmp_path):
    image = imagery(tmp_path / "image.tif")
    ground, table = views.read_views(album, imagery=scenes.read(image), image_size=32)
    assert set(ground) == {"train", "validation", "test"} and list(table.path) == [f"{k:02}.jpg" for k in range(40)]
    for pairs in ground.values():
        assert pairs.patches.shape == pairs.views.shape == (len(pairs.table), 32, 32, 3)
        for row, patch in zip(pairs.table.itertuples(), pairs.patches.astype(float), strict=True):
            number = int(row.path[:2])
            assert patch[..., 0].mean() == pytest.approx(250 * ((number / 39 - 0.5) * 120 + 70) / 140, abs=1)
            down, right = (np.gradient(patch[..., 0], axis=axis).mean() for axis in (0, 1))
            ahead = (-down, abs(right)) if number % 2 else (right, abs(down))  # redder to the east
            assert ahead[0] == pytest.approx(250 / 140 * 6 / 32, rel=0.1) and ahead[1] < 0.02
    assert abs(ground["train"].views[:, 3:-3, 3:-3] - [0, 254.0, 0]).max() < 5  # the middle third


def test_patches_of_different_splits_lie_6_km_apart_where_photos_allow_that(album, tmp_path):
    ground, table = views.read_views(album, imagery=scenes.read(imagery(tmp_path / "image.tif")), image_size=16)
    east = {
        split: pairs.table.lon.to_numpy() * DEGREE_M * math.cos(math.radians(45)) for split, pairs in ground.items()
    }
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert abs(east[one][:, None] - east[other]).min() >= 6000 + 6000
    left_out = table[table.reason != ""]
    assert len(left_out) and set(left_out.reason) == {"too near to another split"} and set(left_out.split) == {"guard"}
    assert sum(len(pairs.table) for pairs in ground.values()) == 40 - len(left_out)


def test_photos_that_lie_too_close_are_split_with_a_warning(tmp_path):
    for number in range(20):  # by name they jump to and fro
        photo(tmp_path / "album" / f"{7 * number % 20:02}.jpg", along(number, 20, width_km=8))
    with pytest.warns(UserWarning, match="show the same ground in part: the photos lie too close"):
        ground, _ = views.read_views(
            tmp_path / "album", imagery=scenes.read(imagery(tmp_path / "i.tif", 60)), image_size=16
        )
    tables = [ground[split].table for split in ("train", "validation", "test")]
    assert list(map(len, tables)) == [14, 2, 4]
    assert tables[0].lon.max() < tables[1].lon.min() and tables[1].lon.max() < tables[2].lon.min()


def test_each_photo_that_is_left_out_has_its_reason(album, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 250_000)  # Pillow refuses twice that
    photo(album / "x_unplaced.jpg")
    photo(album / "x_outside.jpg", (8.5, 45))
    photo(album / "x_edge.jpg", along(-4))  # its patch reaches beyond the image
    photo(album / "x_huge.jpg", along(3), size=(900, 600))
    photo(album / "x_tiny.jpg", along(3), size=(20, 15))
    (album / "x_broken.jpg").write_bytes((album / "00.jpg").read_bytes()[:900])
    (album / "x_text.jpg").write_text("no picture")
    image = imagery(album / "image.tif")
    opened = []
    real = photo_views.ImageOps.exif_transpose
    monkeypatch.setattr(
        photo_views.ImageOps, "exif_transpose",
        lambda picture: (opened.append(Path(picture.filename).name), real(picture))[1],
    )  # fmt: skip
    ground, table = views.read_views(album, imagery=scenes.read(image), image_size=32)
    reasons = table.set_index("path").reason
    assert reasons["x_unplaced.jpg"] == "no position"
    assert reasons["x_outside.jpg"] == reasons["x_edge.jpg"] == "outside the imagery"
    assert "540000 pixels" in reasons["x_huge.jpg"] and "x_huge.jpg" not in opened
    assert reasons["x_tiny.jpg"] == "too small: 20 x 15 pixels, 32 needed"
    assert reasons["x_broken.jpg"].startswith("cannot be read") and reasons["x_text.jpg"].startswith("cannot be read")
    assert opened and not any("x_" in path for p in ground.values() for path in p.table.path)
    with pytest.raises(ValueError, match=r"holds 40 usable photos of 48; 41 are needed. Left out: .*no position \(2\)"):
        views.read_views(album, imagery=scenes.read(image), image_size=32, least=41)
    with pytest.raises(ValueError, match=r"holds 0 usable photos of 48; .*no satellite patch, .*\(4\d\)"):
        views.read_views(album, image_size=32)


def test_imagery_without_place_or_data_or_of_16_bits(album, tmp_path):
    Image.new("RGB", (50, 50)).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="plain has no place or fewer than 3 bands"):
        views.read_views(album, imagery=scenes.read(tmp_path / "plain.png"))
    ground, _ = views.read_views(album, imagery=scenes.read(imagery(tmp_path / "deep.tif", factor=200)), image_size=16)
    red = ground["train"].patches[..., 0]
    assert red.min() == 0 and red.max() == 255 and 60 < red.mean() < 200
    scene = scenes.read(tmp_path / "deep.tif")
    scene.pixels[:, :300] = np.nan
    with pytest.raises(ValueError, match="imagery without data"):
        views.cut(scene, *along(5), size_px=16)


def notebook_folder(folder, count=40, heading=None, width_m=6000, split=None):
    """A data set folder as notebook 01 writes it: patches with a red northern half."""
    rows = []
    for number in range(count):
        lon, lat = along(number)
        name, (half_x, half_y) = f"{number:02}.jpg", degrees(width_m / 2, width_m / 2, lat)
        photo(folder / name, (lon, lat), heading)
        patch = np.zeros((128, 128, 3), "uint8")
        patch[:64, :, 0] = 200
        (folder / "satellite").mkdir(exist_ok=True)
        Image.fromarray(patch).save(folder / "satellite" / f"{name}.png")
        shared = {"pair": name, "split": split(number) if split else "", "crs": "EPSG:4326"}
        rows.append({"path": f"satellite/{name}.png", "role": "satellite", "west": lon - half_x, "south": lat - half_y,
                     "east": lon + half_x, "north": lat + half_y} | shared)  # fmt: skip
        rows.append({"path": name, "role": "photo", "west": lon, "south": lat, "east": lon, "north": lat} | shared)
    download.write_manifest(folder, rows)
    return folder


def red_half(patches):
    return [side for side, part in {
        "top": patches[:, :7], "bottom": patches[:, 9:], "left": patches[:, :, :7], "right": patches[:, :, 9:]
    }.items() if (part[..., 0] > 190).all()]  # fmt: skip


def test_the_patches_of_a_data_set_folder_are_taken_with_its_split(tmp_path):
    parts = ["train"] * 20 + ["guard"] * 3 + ["validation"] * 7 + ["test"] * 10
    folder = notebook_folder(tmp_path, split=lambda number: parts[number])
    ground, table = views.read_views(folder, image_size=16)
    assert {split: len(pairs.table) for split, pairs in ground.items()} == {"train": 20, "validation": 7, "test": 10}
    assert red_half(ground["test"].patches) == ["top"] and list(ground["test"].table.path[:1]) == ["30.jpg"]
    assert set(table.reason[20:23]) == {"no satellite patch, or left out by the manifest"}
    with pytest.raises(ValueError, match=r"the photos have the splits \['test', 'train'\]"):
        views.read_views(notebook_folder(tmp_path / "b", split=lambda k: "test" if k % 2 else "train"), image_size=16)


@pytest.mark.parametrize(("heading", "side"), [(90, "left"), (180, "bottom"), (270, "right")])
def test_patches_of_a_data_set_folder_are_turned_and_as_wide_as_they_can_be(tmp_path, heading, side):
    folder = notebook_folder(tmp_path / "narrow", heading=heading)
    with pytest.warns(UserWarning, match=r"show 4\.2 km of ground instead of 6"):
        ground, _ = views.read_views(folder, image_size=16)
    assert red_half(ground["train"].patches) == [side]


def test_wide_patches_of_a_data_set_folder_show_6_km(tmp_path, recwarn):
    ground, _ = views.read_views(notebook_folder(tmp_path, heading=90, width_m=9000), image_size=16)
    assert red_half(ground["train"].patches) == ["left"]
    assert not [warning for warning in recwarn if warning.category is UserWarning]


def test_photos_without_position_are_split_by_name_and_turned_upright(tmp_path):
    rows = []
    for number in range(20):
        photo(tmp_path / f"{number:02}.jpg", size=(300, 200), orientation=6)  # upright, red is above
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number:02}.png")
        rows += [{"path": f"{number:02}.{end}", "pair": str(number), "role": role}
                 for end, role in (("jpg", "photo"), ("png", "satellite"))]  # fmt: skip
    download.write_manifest(tmp_path, rows)
    with pytest.warns(UserWarning, match="not all photos have a position"):
        ground, _ = views.read_views(tmp_path, image_size=16)
    assert [len(pairs.table) for pairs in ground.values()] == [14, 2, 4]
    assert (ground["test"].patches[:, 0, 0, 0] == [0, 1, 2, 3]).all()
    assert abs(ground["test"].views[:, :3] - [254.0, 0, 0]).max() < 8
    assert abs(ground["test"].views[:, 6:-6] - [0, 254.0, 0]).max() < 8
