"""Parts, flips and turns, and every kind of file that `apply` may meet."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from helpers import models, runs, scenes
from helpers.__main__ import main
from helpers.apply import apply, load_model
from helpers.backend import keras
from tests.notebook_functions import espcn

BANDS = ["red", "green", "blue"]


@pytest.fixture
def save(tmp_path):
    """Function that saves a network with its description as a run does; returns its path."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(7)

    def save(model, bands=BANDS, **changes):
        about = {
            "task": "super-resolution", "bands": bands, "bands_out": bands, "scale": 1, "credit": "USGS",
            "value_range": [(0, 1)] * len(bands), "size_multiple": 1,
        }  # fmt: skip
        if "receptive_field_px" not in changes:
            about["receptive_field_px"] = models.receptive_field_px(model)
        return runs.Run("id", "02_srcnn", "smoke", {}, tmp_path / "run").save_model(model, **about | changes)

    return save


def with_random_end(model):
    generator = np.random.default_rng(5)
    for weight in model.trainable_weights:
        if not weight.numpy().any():
            weight.assign(generator.normal(0, 0.1, weight.shape))
    return model


def global_unet(bands=3):
    """A small U-Net whose every answer depends on the mean of all that it is shown."""
    layers = keras.layers
    image = keras.Input((None, None, bands))
    small = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    small = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(small)
    small = layers.Add()([small, layers.Dense(8)(layers.GlobalAveragePooling2D(keepdims=True)(small))])
    large = layers.Conv2D(bands, 3, padding="same")(layers.UpSampling2D(4, interpolation="bilinear")(small))
    return keras.Model(image, layers.Add()([image, large]))


@pytest.fixture
def unet(save):
    """The path of such a network."""
    return save(global_unet(), receptive_field_px=None, size_multiple=4)


def applied(model, scene, folder, name="out.tif", **options):
    scenes.write(scene, folder / "in.tif")
    apply(model, folder / "in.tif", folder / name, progress=False, **options)
    return scenes.read(folder / name)


# --- parts


@pytest.mark.parametrize("window", [(0, 0, 1, 1), (31, 17, 50, 22), (100, 0, 103, 60), (5, 40, 198, 20)])
@pytest.mark.parametrize("kind", ["local", "global"])
def test_a_part_is_what_the_whole_gives_there(tmp_path, make_scene, save, kind, window):
    if kind == "global":
        model = save(global_unet(), receptive_field_px=None, size_multiple=4)
    else:
        model = save(with_random_end(espcn(3, scale=2, filters=(8, 4))), scale=2)
    scene, scale = make_scene(60, 203, dtype="float32"), load_model(model)[1]["scale"]
    whole = applied(model, scene, tmp_path, window_px=32)
    column, row, width, height = window
    part = applied(model, scene, tmp_path, window_px=32, window=window)
    expected = whole.cut(row * scale, column * scale, height * scale, width * scale)
    assert np.abs(part.pixels - expected.pixels).max() < 1e-6
    assert part.transform.almost_equals(expected.transform, 1e-6)


@pytest.mark.parametrize("window", [(-1, 0, 5, 5), (0, 0, 51, 5), (0, 38, 5, 5), (3, 3, 0, 5)])
def test_a_part_outside_of_the_image(tmp_path, make_scene, unet, window):
    with pytest.raises(ValueError, match="is not inside the image of 50 x 40 pixels"):
        applied(unet, make_scene(dtype="float32"), tmp_path, window=window)


def test_strided_networks_see_the_same_raster_in_every_window(tmp_path, make_scene, save):
    """Corners and sides of windows are multiples of `size_multiple`, or strides would fall between pixels."""
    layers = keras.layers
    image = keras.Input((None, None, 3))
    small = layers.Conv2D(8, 4, strides=4, padding="same", activation="relu")(image)
    network = keras.Model(image, layers.Conv2D(3, 3, padding="same")(layers.UpSampling2D(4)(small)))
    model = save(network, receptive_field_px=9, size_multiple=4)
    scene = make_scene(44, 61, dtype="float32")
    answer = applied(model, scene, tmp_path, window_px=13).pixels
    expected = network.predict(scene.pixels[None, :, :60], verbose=0)[0]
    assert np.abs(answer[4:-4, 4:56] - expected[4:-4, 4:56]).max() < 1e-5


# --- flips and turns


def test_flips_and_turns(tmp_path, make_scene, save):
    network = with_random_end(models.srcnn(3, filters=(4, 4)))
    model = save(network, value_range=[(0, 2)] * 3)
    scene = make_scene(33, 33, dtype="float32")
    plain = applied(model, scene, tmp_path).pixels
    mean = applied(model, scene, tmp_path, tta=True)
    views = []
    for flipped in (scene.pixels, scene.pixels[:, ::-1]):
        for turns in range(4):
            answer = np.rot90(2 * network.predict(np.rot90(flipped, turns)[None] / 2, verbose=0)[0], -turns)
            views.append(answer[:, ::-1] if flipped is not scene.pixels else answer)
    inside = np.s_[8:-8, 8:-8]
    assert np.abs(mean.pixels - np.mean(views, axis=0))[inside].max() < 1e-5
    assert not np.allclose(mean.pixels, plain, atol=1e-3)


# --- kinds of files and of outputs


def test_thirteen_bands(tmp_path, make_scene, save):
    bands = [f"B{number:02}" for number in range(13)]
    model = save(espcn(13, scale=2, filters=(4, 4), depth=1), bands, scale=2, value_range=[(0, 10_000)] * 13)
    scene = make_scene(37, 41, bands)
    scene.pixels[:] = np.arange(1, 14) * 500
    answer = applied(model, scene, tmp_path, window_px=16)
    assert answer.bands == tuple(bands) and np.array_equal(
        answer.pixels, np.broadcast_to(np.arange(1, 14) * 500, (74, 82, 13))
    )


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_masks_and_alpha(tmp_path, make_scene, save, kind):
    model = save(models.srcnn(3, filters=(4, 4)), value_range=[(0, 255)] * 3)
    scene = make_scene(40, 50, dtype="uint8")
    valid = np.full((40, 50), 255, "uint8")
    valid[5:9, 7:20] = 0
    profile = {"driver": "GTiff", "height": 40, "width": 50, "count": 3 + (kind == "alpha"), "dtype": "uint8"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        tmp_path / "in.tif", "w", **profile, crs=scene.crs, transform=scene.transform
    ) as file:  # fmt: skip
        file.write(np.moveaxis(scene.pixels, -1, 0).astype("uint8"), indexes=[1, 2, 3])
        if kind == "alpha":
            file.write(valid, 4)
            file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        else:
            file.descriptions = BANDS
            file.write_mask(valid)
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    answer = scenes.read(tmp_path / "out.tif")
    assert np.array_equal(answer.valid, valid > 0) and np.array_equal(answer.pixels[valid > 0], scene.pixels[valid > 0])


def test_scales_and_units_are_kept_by_band(tmp_path, make_scene, save):
    model = save(models.srcnn(3, filters=(4, 4)))
    scene = make_scene(20, 20, ["blue", "green", "red"], credit="ESA")
    scenes.write(scene, tmp_path / "in.tif")
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.scales, file.offsets = (1e-5, 1.1e-5, 1.2e-5), (0.1, 0.2, 0.3)
        file.units = ("b", "g", "r")
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert (out.scales, out.offsets) == ((1e-5, 1.1e-5, 1.2e-5), (0.1, 0.2, 0.3))
        assert out.units == ("b", "g", "r") and out.descriptions == ("blue", "green", "red")
        assert out.tags()["credit"] == "ESA; USGS"


def test_another_kind_of_output(tmp_path, make_scene, save):
    """A network that makes a map: other bands, other values."""
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Conv2D(1, 1, kernel_initializer="ones", use_bias=False)(image))
    out = {"bands_out": ["height"], "value_range_out": [(0, 100)], "task": "map"}
    model = save(network, value_range=[(0, 60_000)] * 3, **out)
    scene = make_scene(30, 30, nodata=65535)
    scene.pixels[:] = 15_000
    scene.pixels[3, 4] = np.nan
    answer = applied(model, scene, tmp_path)
    assert answer.bands == ("height",) and answer.dtype == "uint16" and (~answer.valid).sum() == 1
    assert np.all(answer.pixels[answer.valid] == 75)
    model = save(network, bands_out=["height"], value_range=[(0, 60_000)] * 3)
    with pytest.raises(ValueError, match="does not say value_range_out"):
        applied(model, scene, tmp_path)


def test_a_network_of_one_size(tmp_path, make_scene, save):
    image = keras.Input((64, 64, 3))
    model = save(keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image)), receptive_field_px=3)
    with pytest.raises(ValueError, match=r"\(None, 64, 64, 3\).*images of any size"):
        applied(model, make_scene(dtype="float32"), tmp_path)


@pytest.mark.parametrize("scale, size", [(1, 192), (2, 192), (1, 62), (1, 32)])
def test_a_network_of_another_scale_than_it_says(tmp_path, make_scene, save, scale, size):
    """It would write a corner of the answer over the whole ground, or shift it."""
    image = keras.Input((None, None, 3))
    layers = {
        192: keras.layers.UpSampling2D(3),
        62: keras.layers.Conv2D(3, 3),
        32: keras.layers.AveragePooling2D(2),
    }
    network = keras.Model(image, layers[size](image))
    model = save(network, value_range=[(0, 60_000)] * 3, scale=scale, receptive_field_px=3)
    with pytest.raises(ValueError, match=f"makes {size} pixels of 64, unlike its .json says"):
        applied(model, make_scene(30, 30), tmp_path)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("name", ["landscape_rocky_mountain", "landscape_view_encoder"])
def test_what_makes_or_reads_views_takes_no_map(name):
    with pytest.raises(ValueError, match="windows need images of any size"):
        load_model(name)


@pytest.mark.parametrize("missing", [1, 300])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_truncated_file_is_refused_before_computing(tmp_path, make_scene, save, monkeypatch, interleave, missing):
    scene = make_scene(600, 500, dtype="float32")
    profile = {"driver": "GTiff", "height": 600, "width": 500, "count": 3, "dtype": "float32", "interleave": interleave}
    with rasterio.open(tmp_path / "in.tif", "w", **profile, crs=scene.crs, transform=scene.transform) as file:
        file.write(np.moveaxis(scene.pixels, -1, 0))
    content = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "in.tif").write_bytes(content[:-missing])
    monkeypatch.setattr("helpers.apply.whole.compute", lambda *_: pytest.fail("computed"))
    with pytest.raises(ValueError, match="in.tif .*appears truncated"):
        apply(save(models.srcnn(3, filters=(4, 4))), tmp_path / "in.tif", tmp_path / "out.tif", bands=(1, 2, 3))


def test_the_output_is_a_cloud_optimised_geotiff(tmp_path, make_scene, save):
    """Its layout, its tiles, its overviews before its pixels, and every corner in its place."""
    model = save(espcn(3, scale=4, filters=(4, 4), depth=1), scale=4)
    slanted = Affine(30, 0, 500_000, 0, -30, 7_000_000) @ Affine.rotation(30)
    applied(model, make_scene(151, 333, dtype="float32", transform=slanted), tmp_path, window_px=100)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and out.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"]
        assert out.block_shapes == [(512, 512)] * 3 and out.overviews(1) == [2, 4]
        for corner in [(0, 0), (333, 0), (0, 151), (333, 151)]:
            offset = ~out.transform @ (slanted @ corner)
            assert np.allclose(offset, np.multiply(corner, 4), rtol=0, atol=0.01)
        data = [int(out.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=level)) for level in (1, 0)]
        assert data[0] < data[1] < int(out.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        coarse = out.read(out_shape=(3, 151, 333))
        assert np.abs(coarse - scenes.read(tmp_path / "in.tif").pixels.transpose(2, 0, 1)).mean() < 0.2


# --- the command


def test_every_option_on_the_command_line(tmp_path, make_scene, unet, capsys):
    scene = make_scene(30, 40, dtype="float32", crs=None)
    scenes.write(scene, tmp_path / "in.tif")
    command = ["apply", str(unet), str(tmp_path / "in.tif"), str(tmp_path / "out.tif"), "--window", "3,4,20,10"]
    assert main([*command, "--tta", "--resume", "--value-range", "auto"]) == 0
    assert scenes.read(tmp_path / "out.tif").pixels.shape == (10, 20, 3)
    assert main([*command[:-1], "3,4,50,10"]) == 2
    assert "is not inside the image" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command[:-1], "3,4"])
    assert "invalid COL,ROW,WIDTH,HEIGHT value: '3,4'" in capsys.readouterr().err


def test_a_model_must_say_whether_its_context_is_global(tmp_path, make_scene, unet):
    about = json.loads(unet.with_suffix(".json").read_text())
    del about["receptive_field_px"]
    unet.with_suffix(".json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="lacks an entry .'receptive_field_px'"):
        applied(unet, make_scene(), tmp_path)


def test_pixels_are_those_of_the_middle_of_a_large_scene(tmp_path, make_scene, save):
    """An image of three windows by two, with sides that are multiples of nothing, in integers: within one number."""
    network = with_random_end(espcn(3, scale=4, filters=(8, 4)))
    model = save(network, scale=4, value_range=[(0, 60_000)] * 3)
    scene = make_scene(101, 137)
    answer = applied(model, replace(scene, dtype="uint16"), tmp_path, window_px=64)
    expected = 60_000 * network.predict(scene.pixels[None] / 60_000, verbose=0)[0]
    difference = np.abs(answer.pixels - np.clip(expected, 0, 65_535))[40:-40, 40:-40]
    assert answer.pixels.shape == (404, 548, 3) and difference.max() <= 1
