"""A network over a whole GeoTIFF: the same as over the whole image at once, on the same ground, without shift."""

import hashlib
import json
import os
import warnings
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.shutil import copy as rasterio_copy
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from skimage.registration import phase_cross_correlation

from helpers import models, paths, runs, scenes
from helpers.apply import apply, load_model
from helpers.apply.network import Predictor
from helpers.backend import keras
from helpers.pairs import resolution
from tests.notebook_functions import espcn

BANDS = ["red", "green", "blue"]
RANGE = [(0.1, 0.9), (0.2, 1.0), (0.0, 0.5)]
SLANTED = Affine(30, 0, 500_000, 0, -30, 7_000_000) @ Affine.rotation(30)


@pytest.fixture(scope="module")
def save(tmp_path_factory):
    """Function that saves a network as a run does; returns its path."""
    keras.config.set_dtype_policy("float32")  # whatever was set by the tests before

    def save(model, name, **changes):
        about = {
            "task": "super-resolution", "bands": BANDS, "bands_out": BANDS, "scale": 2, "value_range": RANGE,
            "size_multiple": 1, "receptive_field_px": models.receptive_field_px(model), "credit": "USGS",
        }  # fmt: skip
        folder = tmp_path_factory.mktemp(name)
        return runs.Run("id", "02_srcnn", "smoke", {}, folder).save_model(model, **about | changes)

    return save


def random(model):
    """The same network with random weights in its last layer, which starts at zero."""
    generator = np.random.default_rng(5)
    for weight in model.trainable_weights:
        if not weight.numpy().any():
            weight.assign(generator.normal(0, 0.1, weight.shape))
    return model


@pytest.fixture(scope="module", params=["srcnn", "espcn"])
def model(request, save):
    """A network that enlarges twice: one that is given the bicubic image, and one that is given the small one."""
    keras.utils.set_random_seed(3)
    build = {
        "srcnn": lambda: models.srcnn(3, filters=(8, 4)),
        "espcn": lambda: espcn(3, scale=2, filters=(8, 4)),
    }
    return save(random(build[request.param]()), request.param)


@pytest.fixture(scope="module")
def bicubic(save):
    """An untrained network: its residual is zero, its answer the bicubic image."""
    return save(models.srcnn(3, filters=(4, 4)), "bicubic", scale=4)


@pytest.fixture(scope="module")
def sharpen(save):
    """A network that keeps the size."""
    keras.utils.set_random_seed(4)
    return save(random(models.srcnn(3, filters=(4, 4))), "sharpen", scale=1)


def sharpened(model, scene, folder, **options):
    scenes.write(scene, folder / "in.tif")
    apply(model, folder / "in.tif", folder / "out.tif", progress=False, **options)
    return scenes.read(folder / "out.tif")


def at_once(model, pixels):
    network, about = load_model(model)
    values = scenes.to_unit(pixels, about["value_range"])[None]
    if network.name.startswith("srcnn") and about["scale"] > 1:
        values = resolution.upsample(values, about["scale"])
    return scenes.from_unit(network.predict(values, verbose=0)[0], about["value_range"])


def pillow_bicubic(pixels, scale):
    size = pixels.shape[1] * scale, pixels.shape[0] * scale
    bands = [Image.fromarray(band).resize(size, Image.Resampling.BICUBIC) for band in np.moveaxis(pixels, -1, 0)]
    return np.stack([np.asarray(band) for band in bands], axis=-1)


# --- pixels


@pytest.mark.parametrize("window_px", [23, 37, 256])
def test_windows_leave_no_seam(tmp_path, make_scene, model, window_px):
    scene = make_scene(41, 59, dtype="float32")
    answer = sharpened(model, scene, tmp_path, window_px=window_px).pixels
    assert answer.shape == (82, 118, 3)
    inside = np.s_[18:-18, 18:-18]  # at its border the whole image sees zeros, the windows its mirror image
    assert np.abs(answer[inside] - at_once(model, scene.pixels)[inside]).max() < 1e-5


def test_the_margin_is_as_large_as_it_must_be(tmp_path, make_scene, model):
    """The test above can fail: with a margin of a few pixels less there are seams."""
    scene = make_scene(41, 59, dtype="float32")
    about = json.loads(model.with_suffix(".json").read_text())
    narrow = model.with_name("narrow.keras")
    narrow.write_bytes(model.read_bytes())
    narrow.with_suffix(".json").write_text(json.dumps(about | {"receptive_field_px": 1}))
    answer = sharpened(narrow, scene, tmp_path, window_px=23).pixels
    inside = np.s_[18:-18, 18:-18]
    assert np.abs(answer[inside] - at_once(model, scene.pixels)[inside]).max() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (17, 40)])
def test_scenes_smaller_than_a_window(tmp_path, make_scene, model, size):
    answer = sharpened(model, make_scene(*size, dtype="float32"), tmp_path)
    assert answer.pixels.shape == (size[0] * 2, size[1] * 2, 3) and answer.valid.all()


def test_nothing_is_shifted(tmp_path, make_scene, bicubic):
    """A network that adds nothing gives the bicubic image, pixel by pixel and by phase correlation."""
    scene = make_scene(60, 70, dtype="float32")
    scene = replace(scene, pixels=pillow_bicubic(scene.pixels[:20, :24], 3)[:60, :70])  # smooth, as imagery is
    answer = sharpened(bicubic, scene, tmp_path, window_px=33).pixels
    expected = pillow_bicubic(scene.pixels, 4)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(answer - expected)[inside].max() < 1e-5
    shift, _, _ = phase_cross_correlation(expected[..., 0], answer[..., 0], upsample_factor=100)
    assert np.abs(shift).max() < 0.05
    shift, _, _ = phase_cross_correlation(np.roll(expected[..., 0], 1, axis=1), answer[..., 0], upsample_factor=100)
    assert np.allclose(shift, (0, 1), atol=0.05)  # a shift would have been seen


def test_the_edge_is_as_good_as_the_middle(tmp_path, make_scene, bicubic):
    flat = make_scene(20, 20, dtype="float32")
    flat = replace(flat, pixels=np.full_like(flat.pixels, 0.3))
    assert np.allclose(sharpened(bicubic, flat, tmp_path).pixels, 0.3, atol=1e-5)


def test_values_are_rounded_and_kept_within_the_type(tmp_path, make_scene, save):
    model = save(random(models.srcnn(3, filters=(4, 4))), "integers", scale=1, value_range=[(0, 300)] * 3)
    scene = make_scene(20, 20, dtype="uint8")
    answer = sharpened(model, scene, tmp_path, value_range=(0, 300))
    inside = np.s_[8:-8, 8:-8]
    assert answer.dtype == "uint8"
    assert np.array_equal(answer.pixels[inside], np.clip(np.rint(at_once(model, scene.pixels)), 0, 255)[inside])


def test_one_band(tmp_path, make_scene, save):
    only = {"bands": ["pan"], "bands_out": ["pan"], "value_range": [(0, 1)]}
    model = save(random(espcn(1, scale=3, filters=(4, 4), depth=1)), "pan", scale=3, **only)
    scene = make_scene(20, 30, ["pan"], dtype="float32")
    answer = sharpened(model, scene, tmp_path, window_px=11)
    inside = np.s_[15:-15, 15:-15]
    assert answer.bands == ("pan",)
    assert np.abs(answer.pixels - at_once(model, scene.pixels))[inside].max() < 1e-5


# --- place


@pytest.mark.parametrize(
    "place", [{}, {"transform": SLANTED}, {"crs": "EPSG:4326", "pixel": 0.01, "west": -55, "north": -25}]
)
def test_every_corner_stays_where_it_is(tmp_path, make_scene, bicubic, place):
    sharpened(bicubic, make_scene(21, 33, dtype="float32", **place), tmp_path, window_px=20)
    with rasterio.open(tmp_path / "in.tif") as before, rasterio.open(tmp_path / "out.tif") as after:
        assert after.crs == before.crs and after.shape == (84, 132) and after.descriptions == tuple(BANDS)
        for row, column in [(0, 0), (0, 33), (21, 0), (21, 33), (10.5, 16.5)]:
            there = after.transform @ (4 * column, 4 * row)
            assert np.allclose(there, before.transform @ (column, row), rtol=0, atol=1e-6 * abs(before.transform.a))
        assert after.tags()["credit"] == "USGS"


def test_a_picture_without_a_place(tmp_path, make_scene, model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", rasterio.errors.NotGeoreferencedWarning)
        answer = sharpened(model, make_scene(20, 20, dtype="float32", transform=None, crs=None), tmp_path)
    assert answer.transform is None and answer.crs is None and answer.valid.all()


# --- no data


@pytest.mark.parametrize(
    "dtype, nodata", [("float32", float("nan")), ("float32", -9999.0), ("uint16", 0), ("uint16", 65535)]
)
def test_no_data_is_kept_and_not_smeared(tmp_path, make_scene, model, dtype, nodata):
    whole = make_scene(40, 40, dtype=dtype, nodata=nodata)
    holed = replace(whole, pixels=whole.pixels.copy())
    holed.pixels[20:22, :, 1] = np.nan  # one band suffices
    filled = replace(whole, pixels=whole.pixels.copy())
    filled.pixels[20], filled.pixels[21] = whole.pixels[19], whole.pixels[22]
    options = {} if dtype == "float32" else {"value_range": (0, 60_000)}
    answer = sharpened(model, holed, tmp_path, **options)
    assert answer.nodata == nodata or np.isnan(nodata)
    assert np.array_equal(np.flatnonzero(~answer.valid.any(axis=1)), [40, 41, 42, 43])
    expected = sharpened(model, filled, tmp_path, **options).pixels
    expected[40:44] = np.nan
    assert np.allclose(answer.pixels, expected, rtol=0, atol=1e-6 if dtype == "float32" else 0, equal_nan=True)


def test_a_scene_without_any_data_stays_empty(tmp_path, make_scene, sharpen):
    scene = make_scene(30, 30, dtype="uint16", nodata=0)
    scene.pixels[:] = np.nan
    assert not sharpened(sharpen, scene, tmp_path, value_range=(0, 1)).valid.any()
    refused = pytest.raises(ValueError, match="would be .*nan, nan.*give --value-range")
    with warnings.catch_warnings(action="error"), refused:
        sharpened(sharpen, scene, tmp_path, value_range="auto")


@pytest.mark.parametrize("dtype, nodata", [("uint16", 65_535), ("int16", -9999), ("float32", None)])
def test_windows_without_data_are_not_computed(tmp_path, make_scene, sharpen, monkeypatch, dtype, nodata):
    scene = replace(make_scene(70, 600, dtype="uint8", nodata=nodata), dtype=dtype)
    scene.pixels[:, 100:560] = np.nan
    calls, once = [], Predictor.__call__
    monkeypatch.setattr(Predictor, "__call__", lambda *given: calls.append(given) or once(*given))
    answer = sharpened(sharpen, scene, tmp_path, value_range=(0, 255), window_px=70)
    assert len(calls) == 4 and np.array_equal(answer.valid, scene.valid)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.overviews(1) and not out.read_masks(1, out_shape=(35, 300))[:, 60:270].any()


def test_black_stays_black_where_the_file_has_no_holes(tmp_path, make_scene, save):
    model = save(models.srcnn(3, filters=(4, 4)), "same", scale=1, value_range=[(0, 255)] * 3)
    scene = make_scene(20, 20, dtype="uint8")
    scene.pixels[3, 4] = 0
    assert np.array_equal(sharpened(model, scene, tmp_path).pixels, scene.pixels)


# --- bands and values


def test_bands_are_found_by_name(tmp_path, make_scene, sharpen):
    scene = make_scene(20, 20, dtype="float32")
    expected = sharpened(sharpen, scene, tmp_path)
    more = make_scene(20, 20, ["nir", "blue", "green", "red"], dtype="float32")
    more.pixels[..., [3, 2, 1]] = scene.pixels
    answer = sharpened(sharpen, more, tmp_path)
    assert answer.bands == ("blue", "green", "red")  # as the file has them
    assert np.array_equal(answer.pixels[..., ::-1], expected.pixels)


def test_colours_of_a_picture_count_as_names(tmp_path, make_scene, save):
    """A model of blue, green, red finds them by colour, and gives them back as the file has them."""
    order = {"bands": ["blue", "green", "red"], "bands_out": ["blue", "green", "red"]}
    model = save(models.srcnn(3, filters=(4, 4)), "same", scale=1, value_range=[(0, 255)] * 3, **order)
    pixels = make_scene(20, 20, dtype="uint8").pixels
    Image.fromarray(pixels.astype("uint8")).save(tmp_path / "in.png")
    apply(model, tmp_path / "in.png", tmp_path / "out.tif", progress=False)
    assert np.array_equal(scenes.read(tmp_path / "out.tif").pixels, pixels)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert [colour.name for colour in out.colorinterp] == ["red", "green", "blue"]


def test_a_jpeg_is_not_compressed_with_loss_again(tmp_path, make_scene, save):
    model = save(models.srcnn(3, filters=(4, 4)), "same", scale=1, value_range=[(0, 255)] * 3)
    Image.fromarray(make_scene(64, 64, dtype="uint8").pixels.astype("uint8")).save(tmp_path / "in.jpg")
    apply(model, tmp_path / "in.jpg", tmp_path / "out.tif", progress=False)
    out, image = scenes.read(tmp_path / "out.tif"), scenes.read(tmp_path / "in.jpg")
    assert np.array_equal(out.pixels, image.pixels)


def test_bands_without_names_are_taken_by_number(tmp_path, make_scene, sharpen):
    scene = make_scene(20, 20, dtype="float32")
    expected = sharpened(sharpen, scene, tmp_path)
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", width=20, height=20, count=3, dtype="float32", crs=scene.crs,
        transform=scene.transform,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(scene.pixels, -1, 0))
    with pytest.raises(ValueError, match="no bands match red.*1 band1, 2 band2, 3 band3.*--bands"):
        apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", progress=False, bands=(1, 2, 3))
    assert np.array_equal(scenes.read(tmp_path / "out.tif").pixels, expected.pixels)


@pytest.mark.parametrize("bands", [["red", "green"], ["red", "green", "nir"], ["red", "green", "nir", "swir"]])
def test_wrong_bands_are_named(tmp_path, make_scene, sharpen, bands):
    with pytest.raises(ValueError, match="bands red, green, blue: no bands match .*1 red, 2 green.*--bands"):
        sharpened(sharpen, make_scene(20, 20, bands), tmp_path)
    assert os.listdir(tmp_path) == ["in.tif"]


@pytest.mark.parametrize("highest", [20_000, 1])
def test_eight_bits_for_a_model_of_sixteen_or_of_reflectance(tmp_path, make_scene, save, highest):
    model = save(models.srcnn(3, filters=(4, 4)), "wide", scale=1, value_range=[(0, highest)] * 3)
    scene = make_scene(20, 20, dtype="uint8")
    wanted = "red 1 to 25[0-5], model 0 to .*8-bit pixels.*--value-range LO,HI or --value-range auto"
    with pytest.raises(ValueError, match=wanted):
        sharpened(model, scene, tmp_path)
    assert os.listdir(tmp_path) == ["in.tif"]
    for value_range in [(0, 255), "auto"]:
        assert np.array_equal(sharpened(model, scene, tmp_path, value_range=value_range).pixels, scene.pixels)


def test_auto_takes_the_range_of_the_image(tmp_path, make_scene, sharpen):
    """The answer follows the image's own scale: ten times the values, ten times the answer."""
    scene = make_scene(30, 30, dtype="float32")
    once = sharpened(sharpen, scene, tmp_path, value_range="auto").pixels
    tenfold = sharpened(sharpen, replace(scene, pixels=scene.pixels * 10), tmp_path, value_range="auto").pixels
    assert np.allclose(tenfold, once * 10, atol=1e-4)
    assert not np.allclose(once, sharpened(sharpen, scene, tmp_path).pixels, atol=1e-3)
    scene.pixels[..., 1] = 0.5
    with pytest.raises(ValueError, match=r"would be .*\[0.5, 0.5\].*give --value-range LO,HI"):
        sharpened(sharpen, scene, tmp_path, value_range="auto")


@pytest.mark.parametrize("value_range", [(5, 5), (5, 1), (0, float("inf")), (float("nan"), 1)])
def test_a_range_that_is_none(tmp_path, make_scene, sharpen, value_range):
    with pytest.raises(ValueError, match="give --value-range LO,HI with the larger number last"):
        sharpened(sharpen, make_scene(), tmp_path, value_range=value_range)


# --- what can go wrong


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_the_input_is_never_overwritten(tmp_path, make_scene, sharpen, link):
    source = target = tmp_path / "in.tif"
    scenes.write(make_scene(), source)
    if link:
        target = tmp_path / "other.tif"
        link(source, target)
    before = source.read_bytes()
    with pytest.raises(ValueError, match="is the input, or read by it: choose another name"):
        apply(sharpen, source, target)
    assert source.read_bytes() == before


def test_what_a_vrt_reads_is_never_overwritten(tmp_path, make_scene, sharpen):
    scenes.write(make_scene(), tmp_path / "in.tif")
    with rasterio.open(tmp_path / "in.tif") as image, WarpedVRT(image) as virtual:
        rasterio_copy(virtual, tmp_path / "in.vrt", driver="VRT")
    before = (tmp_path / "in.tif").read_bytes()
    with pytest.raises(ValueError, match="is the input, or read by it: choose another name"):
        apply(sharpen, tmp_path / "in.vrt", tmp_path / "in.tif")
    assert (tmp_path / "in.tif").read_bytes() == before


def test_a_folder_is_no_image(tmp_path, sharpen):
    with pytest.raises(ValueError, match="takes a folder of them with --out"):
        apply(sharpen, tmp_path, tmp_path / "out.tif")


def test_gaps_of_int64_come_back_as_gaps(tmp_path, make_scene, sharpen):
    pixels = make_scene().pixels.astype("int64")
    pixels[5:20, 5:20] = -9999
    with rasterio.open(
        tmp_path / "in.tif",
        "w",
        driver="GTiff",
        width=50,
        height=40,
        count=3,
        dtype="int64",
        crs="EPSG:32621",
        transform=rasterio.Affine(30, 0, 500_000, 0, -30, 7_000_000),
    ) as file:
        file.write(np.moveaxis(pixels, -1, 0))
        file.write_mask(np.where(pixels[..., 0] == -9999, 0, 255).astype("uint8"))
        file.descriptions = BANDS
    apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", value_range="auto", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        missing, scale = out.read_masks(1) == 0, out.height // 40
        assert out.dtypes[0] == "int64" and missing.sum() == (15 * scale) ** 2
        assert missing[5 * scale : 20 * scale, 5 * scale : 20 * scale].all()
        assert (out.read(1)[missing] == out.nodata).all()


def test_nan_can_be_given_as_no_data(tmp_path, make_scene, sharpen):
    scene = make_scene(dtype="float32")
    scene.pixels[5:20, 5:20] = np.nan
    scenes.write(scene, tmp_path / "in.tif")
    given = {"value_range": "auto", "nodata": float("nan"), "progress": False}
    apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", **given)
    assert not (tmp_path / ".out.tif.work").exists()
    assert not apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", resume=True, **given)


@pytest.mark.parametrize("name, content, message", [
    ("in.tif", None, "in.tif is no readable image.*No such file"),
    ("in.tif", b"see attachment", "in.tif is no readable image.*not recognized"),
])  # fmt: skip
def test_an_input_that_is_no_image(tmp_path, sharpen, name, content, message):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        apply(sharpen, tmp_path / name, tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_a_truncated_input_leaves_the_old_output(tmp_path, make_scene, sharpen):
    scene = make_scene(60, 60, dtype="float32")
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", width=60, height=60, count=3, dtype="float32", crs=scene.crs,
        transform=scene.transform,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(scene.pixels, -1, 0))
    whole = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "in.tif").write_bytes(whole[: len(whole) * 3 // 4])
    (tmp_path / "out.tif").write_text("old")
    with pytest.raises(ValueError, match="in.tif .*appears truncated"):
        apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", bands=(1, 2, 3), window_px=20, progress=False)
    assert (tmp_path / "out.tif").read_text() == "old" and sorted(os.listdir(tmp_path)) == ["in.tif", "out.tif"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_stopped_half_way(tmp_path, make_scene, sharpen, monkeypatch, failure):
    calls, once = [], Predictor.__call__

    def fails_later(self, pixels):
        calls.append(pixels)
        if len(calls) >= 10:
            raise failure
        return once(self, pixels)

    scenes.write(make_scene(60, 60, dtype="float32"), tmp_path / "in.tif")
    (tmp_path / "out.tif").write_text("old")
    with monkeypatch.context() as patch, pytest.raises(failure):
        patch.setattr(Predictor, "__call__", fails_later)
        apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", window_px=10, progress=False)
    assert len(calls) >= 10 and (tmp_path / "out.tif").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == [".out.tif.work", "in.tif", "out.tif"]
    apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", window_px=10, progress=False, resume=True)
    assert sorted(os.listdir(tmp_path)) == ["in.tif", "out.tif"] and scenes.read(tmp_path / "out.tif").valid.all()


def test_too_little_room(tmp_path, make_scene, sharpen, monkeypatch):
    scenes.write(make_scene(dtype="float32"), tmp_path / "in.tif")
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(1000))
    monkeypatch.setattr(Predictor, "__call__", lambda *_: pytest.fail("computed before the room was asked for"))
    with pytest.raises(OSError, match="MB are needed.*Make room"):
        apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif")
    assert os.listdir(tmp_path) == ["in.tif"]


def test_a_disk_that_fills_while_writing(tmp_path, make_scene, sharpen, monkeypatch):
    """The output is to blame then, not the input."""

    def full(*_, **__):
        monkeypatch.setattr(paths.shutil, "disk_usage", lambda folder: namedtuple("Usage", "free")(0))
        raise rasterio.errors.RasterioIOError("Write failed. See previous exception for details.")

    scenes.write(make_scene(dtype="float32"), tmp_path / "in.tif")
    monkeypatch.setattr("helpers.apply.windows.to_file_values", full)
    with pytest.raises(OSError, match="disk is full: 1 MB are needed in .*, 0 MB free. Make room"):
        apply(sharpen, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    assert sorted(os.listdir(tmp_path)) == [".out.tif.work", "in.tif"]  # to go on from


@pytest.mark.parametrize("name", ["out", "out.png", "folder.tif", ""])
def test_what_is_no_name_of_a_geotiff(tmp_path, make_scene, sharpen, name):
    scenes.write(make_scene(), tmp_path / "in.tif")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(ValueError, match="is a folder, or no name of a GeoTIFF: end it in .tif"):
        apply(sharpen, tmp_path / "in.tif", tmp_path / name)


def test_models_that_cannot_be_used(tmp_path, make_scene, sharpen):
    scenes.write(make_scene(), tmp_path / "in.tif")

    def refused(model, message):
        with pytest.raises(ValueError, match=message):
            apply(model, tmp_path / "in.tif", tmp_path / "out.tif")

    refused("sharpest", "there is no model sharpest: give the path of a .keras file.*, or a name in data/weights")
    refused(tmp_path, "there is no model")
    copy = tmp_path / "copy.keras"
    copy.write_bytes(sharpen.read_bytes())
    refused(copy, "there is no model .*copy.keras: .* with a .json of that name beside it")
    about = json.loads(sharpen.with_suffix(".json").read_text())
    copy.with_suffix(".json").write_text(json.dumps({k: v for k, v in about.items() if k not in ("scale", "bands")}))
    refused(copy, "copy.json .*lacks an entry .'bands'")
    copy.with_suffix(".json").write_text("{")
    refused(copy, "copy.json is not valid JSON")
    copy.with_suffix(".json").write_text(json.dumps(about))
    copy.write_bytes(copy.read_bytes()[:1000])
    refused(copy, "copy.keras")


def test_a_model_is_found_by_its_name(tmp_path, monkeypatch, sharpen):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    folder = tmp_path / "data" / "weights"
    folder.mkdir(parents=True)
    for suffix in (".keras", ".json"):
        (folder / f"crisp{suffix}").write_bytes(sharpen.with_suffix(suffix).read_bytes())
    network, about = load_model("crisp")
    assert network.name == "srcnn_residual" and about["bands"] == BANDS
    with pytest.raises(ValueError, match=r"a name in data/weights \(crisp\)"):
        load_model("blunt")


def test_the_weights_are_signed(sharpen):
    network, about = load_model(sharpen)
    weights = b"".join(np.ascontiguousarray(weight).tobytes() for weight in network.get_weights())
    assert about["weights_sha256"] == hashlib.sha256(weights).hexdigest()
