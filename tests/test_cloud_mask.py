"""Cloud removal with `apply`: the mask, opaque cloud as no data, the note above half, and odd values."""

import numpy as np
import pytest

from helpers import runs, scenes
from helpers.apply import apply
from helpers.backend import keras
from helpers.pairs import clouds

BANDS = ["nir", "red", "green"]


@pytest.fixture
def model(tmp_path):
    """Path of a network that answers its input, and takes the first band for the opacity of cloud."""
    keras.config.set_dtype_policy("float32")
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    kernel = np.zeros((1, 1, 3, 5), "float32")
    kernel[0, 0, range(3), range(3)] = kernel[0, 0, 0, 3] = 1
    network.set_weights([kernel, np.zeros(5, "float32")])
    about = {
        "task": "cloud removal", "bands": BANDS, "bands_out": BANDS, "scale": 1, "credit": "USGS", "size_multiple": 1,
        "receptive_field_px": 1, "value_range": [list(clouds.REFLECTANCE)] * 3, "masks": ["opacity", "shadow"],
        "unit": "reflectance x 10,000",
    }  # fmt: skip
    return runs.Run("id", "04_cloud_removal", "smoke", {}, tmp_path / "run").save_model(network, **about)


@pytest.fixture
def scene(make_scene):
    """A scene whose first band rises from 0 to 11,000, a quarter of it above the opacity 0.7."""
    scene = make_scene(40, 50, BANDS)
    scene.pixels[:] = np.linspace(100, 11_000, 50, dtype="float32").round()[None, :, None]
    return scene


def test_the_mask_is_the_opacity_and_lies_on_the_same_ground(tmp_path, model, scene, capsys):
    scenes.write(scene, tmp_path / "in.tif")
    masks = {"cloud_mask": tmp_path / "mask.tif", "progress": False}
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", **masks)
    assert "note: the model takes 94% of the pixels for cloud or shadow" in capsys.readouterr().out
    mask, answer = scenes.read(tmp_path / "mask.tif"), scenes.read(tmp_path / "out.tif")
    assert list(mask.bands) == ["opacity"] and mask.pixels.dtype == "float32" and mask.bounds == scene.bounds
    np.testing.assert_allclose(mask.pixels[..., 0], scene.pixels[..., 0] / 12_000, atol=1e-6)
    np.testing.assert_array_equal(answer.pixels, scene.pixels)


def test_opaque_cloud_is_no_data(tmp_path, model, scene, capsys):
    scenes.write(scene, tmp_path / "in.tif")
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", opaque="nodata", progress=False)
    answer = scenes.read(tmp_path / "out.tif")
    np.testing.assert_array_equal(answer.valid, scene.pixels[..., 0] < 8_400)
    assert "without cloud and shadow: 6.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        ({"opaque": "paint"}, "--opaque paint is unknown"),
        ({"cloud_mask": "m.tif", "uncertainty": "u.tif"}, "do not go together"),
        ({"value_range": "auto"}, "cannot find it"),
    ],
)
def test_options_that_do_not_fit(tmp_path, model, scene, options, message):
    scenes.write(scene, tmp_path / "in.tif")
    options = {name: tmp_path / value if value.endswith("tif") else value for name, value in options.items()}
    with pytest.raises(ValueError, match=message):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False, **options)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize(
    "scale, offset, message",
    [
        (1e-4, 0, "reflectance from 0 to 1: --scale-offset 10000,0"),
        (0.01, 0, "an 8-bit picture"),
        (2.5, 5_500, "Landsat's own numbers"),
        (0.3, 1_050, "an offset of 1000"),
    ],
)
def test_values_that_are_no_reflectance_are_refused(tmp_path, model, scene, scale, offset, message):
    scene.pixels[:] = scene.pixels * scale + offset
    kind = {"dtype": "float32"} if scale < 0.1 else {}
    scenes.write(scenes.Scene(scene.pixels, scene.bands, **{"transform": scene.transform, "crs": scene.crs,
                 "dtype": "uint16", "name": "odd", **kind}), tmp_path / "in.tif")  # fmt: skip
    with pytest.raises(ValueError, match=message):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)


def test_other_models_have_no_mask(tmp_path, make_scene):
    scenes.write(make_scene(40, 40), tmp_path / "in.tif")
    with pytest.raises(ValueError, match="are for models that find clouds"):
        apply("srcnn_landsat8_x4", tmp_path / "in.tif", tmp_path / "out.tif", cloud_mask=tmp_path / "m.tif")
