"""Scenes: files with their georeference (oracle: rasterio), cutting, value ranges."""

import itertools
import os
import sys
import warnings
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from helpers import paths, scenes
from helpers.scenes import Scene, files

SLANTED = Affine(30, 0, 500_000, 0, -30, 7_000_000) @ Affine.rotation(30)


def same(scene, other):
    return (
        np.array_equal(scene.pixels, other.pixels, equal_nan=True)
        and (scene.bands, scene.crs, scene.credit) == (other.bands, other.crs, other.credit)
        and (scene.transform == other.transform or scene.transform.almost_equals(other.transform))
    )


def raw_file(path, values, **profile):
    """A GeoTIFF as somebody else would write it; values (bands, height, width)."""
    count, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, **profile
        ) as f:
            f.write(values)
    return path


# --- files


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("place", ["straight", "slanted", "none"])
def test_a_scene_comes_back_from_its_file(tmp_path, make_scene, dtype, place):
    places = {"straight": {}, "slanted": {"transform": SLANTED}, "none": {"transform": None, "crs": None}}
    scene = make_scene(dtype=dtype, credit="USGS · © somebody", **places[place])
    scene.pixels[3, 4] = np.nan
    scenes.write(scene, tmp_path / "a.tif")
    back = scenes.read(tmp_path / "a.tif")
    assert same(back, scene) and back.dtype == dtype and back.name == "a"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "a.tif") as oracle:
            assert oracle.crs == scene.crs and oracle.descriptions == scene.bands and oracle.dtypes == (dtype,) * 3
            assert oracle.transform.almost_equals(scene.transform or Affine.identity())
            assert np.array_equal(oracle.read(out_dtype="float32")[:, 10, 20], scene.pixels[10, 20])
            assert not oracle.read_masks(1)[3, 4] and oracle.read_masks(1).sum() == 255 * (40 * 50 - 1)


def test_reading_an_unplaced_file_is_quiet(tmp_path, make_scene, recwarn):
    scenes.write(make_scene(transform=None, crs=None), tmp_path / "a.tif")
    scenes.read(tmp_path / "a.tif")
    assert not recwarn.list


@pytest.mark.parametrize("nodata", [-9999.0, 0.0, float("nan"), -3.4028234663852886e38])
def test_no_data_of_floats(tmp_path, make_scene, nodata):
    scene = make_scene(dtype="float32", nodata=nodata)
    scene.pixels[3, 4], scene.pixels[5, 6] = np.nan, 0
    if nodata in (-9999, 0):
        scene.pixels[7, 8] = nodata  # measured, and by chance what stands for no data
    scenes.write(scene, tmp_path / "a.tif")
    back = scenes.read(tmp_path / "a.tif")
    assert np.argwhere(~back.valid).tolist() == [[3, 4]]
    assert np.allclose(back.pixels, scene.pixels, rtol=1e-5, atol=1e-12, equal_nan=True)


def test_no_data_given_by_the_caller(tmp_path):
    raw_file(tmp_path / "a.tif", np.array([[[0, 7], [8, 9]]], "uint16"))
    assert scenes.read(tmp_path / "a.tif").valid.all()
    scene = scenes.read(tmp_path / "a.tif", nodata=0)
    assert scene.nodata == 0 and np.argwhere(~scene.valid).tolist() == [[0, 0]]


def test_an_internal_mask_is_obeyed(tmp_path):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = raw_file(tmp_path / "a.tif", np.full((2, 20, 30), 7, "uint16"), crs="EPSG:32621", transform=SLANTED)
        mask = np.full((20, 30), 255, "uint8")
        mask[2, 3] = 0
        with rasterio.open(path, "r+") as file:
            file.write_mask(mask)
    scene = scenes.read(path)
    assert scene.nodata is None and np.argwhere(~scene.valid).tolist() == [[2, 3]]
    scenes.write(scene, tmp_path / "b.tif")
    assert np.argwhere(~scenes.read(tmp_path / "b.tif").valid).tolist() == [[2, 3]]


def test_an_alpha_channel_is_a_mask_and_no_band(tmp_path):
    pixels = np.full((20, 30, 4), 200, "uint8")
    pixels[2, 3, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "tile.png")
    tile = scenes.read(tmp_path / "tile.png")
    assert tile.bands == ("red", "green", "blue") and np.argwhere(~tile.valid).tolist() == [[2, 3]]


def test_a_fourth_band_is_no_alpha_channel(tmp_path, make_scene):
    """GDAL takes the fourth of four 8-bit bands for transparency unless it is told otherwise: zeros would be lost."""
    scene = make_scene(bands=("blue", "green", "red", "nir"), dtype="uint8")
    scene.pixels[2, 3, 3] = 0
    scenes.write(scene, tmp_path / "a.tif")
    assert same(scenes.read(tmp_path / "a.tif"), scene)


def test_thirteen_bands(tmp_path, make_scene):
    scene = make_scene(bands=tuple(f"B{i:02d}" for i in range(1, 14)))
    scenes.write(scene, tmp_path / "a.tif")
    assert same(scenes.read(tmp_path / "a.tif"), scene)


def test_bands_without_names_get_numbers_and_pictures_colours(tmp_path):
    raw_file(tmp_path / "a.tif", np.ones((2, 5, 5), "uint16"))
    assert scenes.read(tmp_path / "a.tif").bands == ("band1", "band2")
    Image.fromarray(np.ones((5, 5, 3), "uint8")).save(tmp_path / "a.png")
    assert scenes.read(tmp_path / "a.png").bands == ("red", "green", "blue")


def test_one_file_for_each_band(tmp_path, make_scene):
    scene = make_scene(bands=("B2", "B3"))
    for band in scene.bands:
        raw_file(
            tmp_path / f"{band}.tif", scene.select([band]).pixels[None, ..., 0].astype("uint16"),
            crs=scene.crs, transform=scene.transform,
        )  # fmt: skip
    one, other = (scenes.read(tmp_path / f"{band}.tif") for band in scene.bands)
    stacked = scenes.stack([one, other])
    assert stacked.bands == ("band1", "band1") and np.array_equal(stacked.pixels, scene.pixels)
    assert (stacked.crs, stacked.transform) == (scene.crs, scene.transform)
    with pytest.raises(ValueError, match="lie on different grids"):
        scenes.stack([one, replace(other, transform=SLANTED)])


def test_a_text_file_with_the_name_of_an_image(tmp_path):
    (tmp_path / "a.tif").write_text("see attachment")
    with pytest.raises(ValueError, match="a.tif is no readable image .(?!.*truncated).*expected GeoTIFF"):
        scenes.read(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="absent.tif is no readable image.*No such file"):
        scenes.read(tmp_path / "absent.tif")


@pytest.mark.parametrize("name", ["a.tif", "raw.tif", "a.png", "a.jpg"])
def test_a_truncated_file(tmp_path, make_scene, name):
    scene = make_scene(200, 200, dtype="uint8")
    if name == "a.tif":
        scenes.write(scene, tmp_path / name)
    elif name == "raw.tif":  # whose directory stands at its beginning
        raw_file(tmp_path / name, np.moveaxis(scene.pixels, -1, 0).astype("uint8"))
    else:
        Image.fromarray(scene.pixels.astype("uint8")).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(ValueError, match=f"{name} is no readable image") as told:
        scenes.read(tmp_path / name)
    assert "previous exception" not in str(told.value)  # but the reason itself
    assert ("appears truncated" in str(told.value)) == (name != "a.tif")  # whose directory stands at its end


def test_a_file_that_declares_a_huge_size_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=60_000, height=60_000, count=3, dtype="uint8", tiled=True, blockxsize=4096,
        blockysize=4096, SPARSE_OK=True, crs="EPSG:32621", transform=Affine(30, 0, 0, 0, -30, 0),
    ):  # fmt: skip
        pass
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match=r"too large .*3 bands of \(60000, 60000\) pixels.*helpers apply"):
        scenes.read(path)


def test_file_values():
    def stored(values, dtype, nodata):
        return scenes.to_file_values(np.array(values, "float32"), dtype, nodata).tolist()

    nan = float("nan")
    assert stored([-3, 1.5, 2.4, 300, np.inf], "uint8", None) == [0, 2, 2, 255, 255]
    assert stored([nan, 0, 0.4, 1], "uint8", 0) == [0, 1, 1, 1]  # what is measured is never read back as no data
    assert stored([nan, 255, 254.6, 254], "uint8", 255) == [255, 254, 254, 254]
    assert stored([nan, -9999, 40_000], "int16", -9999) == [-9999, -9998, 32767]
    assert stored([5e9, -1], "uint32", None) == [2**32 - 1, 0]
    assert scenes.to_file_values(np.array([nan, 2], "float32"), "uint16", 0).dtype == np.uint16
    with pytest.raises(ValueError, match="pixels have no data.*uint8 names no value"):
        stored([nan, 1], "uint8", None)


@pytest.mark.parametrize("nodata", [-9999.0, float("nan"), 0.5, None])
def test_a_no_data_value_that_the_type_cannot_hold_is_replaced(tmp_path, make_scene, nodata):
    scene = make_scene(dtype="float32", nodata=nodata)
    scene.pixels[:] = np.rint(scene.pixels * 200 + 1)
    scene.pixels[3, 4] = np.nan
    scenes.write(replace(scene, dtype="uint8"), tmp_path / "a.tif")
    back = scenes.read(tmp_path / "a.tif")
    assert back.dtype == "uint8" and np.array_equal(back.pixels, scene.pixels, equal_nan=True)


def test_writing_keeps_what_was_there_when_it_fails(tmp_path, make_scene, monkeypatch):
    target = tmp_path / "a.tif"
    scenes.write(make_scene(seed=1), target)
    before = target.read_bytes()
    monkeypatch.setattr(files, "to_file_values", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scenes.write(make_scene(seed=2), target)
    assert target.read_bytes() == before and os.listdir(tmp_path) == ["a.tif"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")
def test_a_disk_that_fills_while_writing(tmp_path, make_scene, monkeypatch):
    """The operating system refuses to let the file grow; GDAL reports it without saying why."""
    import resource

    target = tmp_path / "a.tif"
    scenes.write(make_scene(seed=1), target)
    before = target.read_bytes()
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(0))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="disk is full.*Make room"):
            scenes.write(make_scene(400, 400, seed=2), target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == before and os.listdir(tmp_path) == ["a.tif"]


# --- scenes


@pytest.mark.parametrize("transform", [Affine(30, 0, 500_000, 0, -30, 7_000_000), SLANTED])
def test_a_cut_knows_its_place(tmp_path, make_scene, transform):
    scene = make_scene(transform=transform)
    scenes.write(scene, tmp_path / "a.tif")
    cut = scene.cut(7, 11, 5, 6)
    with rasterio.open(tmp_path / "a.tif") as oracle:
        window = rasterio.windows.Window(11, 7, 6, 5)
        assert cut.transform.almost_equals(oracle.window_transform(window))
        assert np.array_equal(np.moveaxis(oracle.read(window=window), 0, -1), cut.pixels)
    assert np.shares_memory(cut.pixels, scene.pixels)
    for beyond in [(-1, 0, 5, 5), (0, -1, 5, 5), (36, 0, 5, 5), (0, 46, 5, 5)]:
        with pytest.raises(ValueError, match="reaches beyond 40 x 50 pixels"):
            scene.cut(*beyond)


def test_bounds_and_ground_sample_distance(make_scene):
    scene = make_scene()
    assert scene.bounds == (500_000, 7_000_000 - 40 * 30, 500_000 + 50 * 30, 7_000_000)
    northwards = replace(scene, transform=Affine(30, 0, 500_000, 0, 30, 7_000_000 - 40 * 30))
    assert northwards.bounds == scene.bounds
    assert scene.ground_sample_distance_m == 30
    assert replace(scene, transform=SLANTED).ground_sample_distance_m == pytest.approx(30)
    in_feet = make_scene(pixel=10, crs="EPSG:2263")
    assert in_feet.ground_sample_distance_m == pytest.approx(10 * 1200 / 3937)
    assert make_scene(crs="EPSG:4326").ground_sample_distance_m is None
    nowhere = replace(scene, transform=None, crs=None)
    assert nowhere.bounds is None and nowhere.ground_sample_distance_m is None


def test_selecting_bands(make_scene):
    scene = make_scene()
    chosen = scene.select(["blue", "red"])
    assert chosen.bands == ("blue", "red") and np.array_equal(chosen.pixels, scene.pixels[..., [2, 0]])
    with pytest.raises(ValueError, match="no bands match nir; .* 1 red, 2 green, 3 blue"):
        scene.select(["red", "nir", "swir"])


def test_patches_leave_no_data_out(make_scene):
    scene = make_scene(40, 50)
    scene.pixels[12, 12, 1] = np.nan
    patches = scene.patches(10)
    assert len(patches) == 4 * 5 - 1
    corners = [((7_000_000 - p.transform.f) / 300, (p.transform.c - 500_000) / 300) for p in patches]
    assert corners == [place for place in itertools.product(range(4), range(5)) if place != (1, 1)]
    assert len(make_scene(40, 50).patches(10, stride=5)) == 7 * 9
    assert make_scene(9, 50).patches(10) == []


# --- the range of values


def test_value_range(make_scene):
    counted = np.arange(1001, dtype="float32").reshape(77, 13, 1)
    counted = np.concatenate([counted, counted * -2], axis=-1)
    counted[5, 5] = np.nan  # 70 and -140
    scene = Scene(counted, ("a", "b"))
    expected = [np.percentile(np.delete(counted[..., i], 70), (0.5, 99.5)) for i in range(2)]
    assert np.allclose(scenes.value_range([scene]), expected)
    assert np.allclose(scenes.value_range([scene.cut(0, 0, 40, 13), scene.cut(40, 0, 37, 13)]), expected)
    with pytest.raises(ValueError, match="band b has one value everywhere.*leave it out"):
        scenes.value_range([Scene(np.stack([counted[..., 0], np.full((77, 13), 7)], axis=-1), ("a", "b"))])


def test_to_unit_and_back():
    ranges = ((100, 300), (-1, 1))
    pixels = np.array([[[100, -1], [300, 1], [200, 0], [500, np.nan]]], "float32")
    unit = scenes.to_unit(pixels, ranges)
    assert np.array_equal(unit, np.array([[[0, 0], [1, 1], [0.5, 0.5], [2, np.nan]]]), equal_nan=True)
    assert unit.dtype == np.float32 and np.array_equal(scenes.from_unit(unit, ranges), pixels, equal_nan=True)
