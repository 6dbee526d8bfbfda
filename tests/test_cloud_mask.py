"""Cloud removal with `apply`: the mask, opaque cloud as no data, the note above half, and odd values."""

import numpy as np
import pytest

from helpers import runs, scenes
from helpers.apply import apply
from helpers.backend import keras
from helpers.pairs import clouds
from helpers.scenes.values import refuse_no_reflectance

BANDS = ["nir", "red", "green"]


@pytest.fixture
def model(tmp_path):
    """Path of a network that answers its input, and takes the first band for the opacity of cloud."""
    return saved(tmp_path, added=0.0)


def saved(tmp_path, added):
    """Save such a network that adds a reflectance to all that it sees."""
    keras.config.set_dtype_policy("float32")
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    kernel = np.zeros((1, 1, 3, 5), "float32")
    kernel[0, 0, range(3), range(3)] = kernel[0, 0, 0, 3] = 1
    network.set_weights([kernel, np.array([added / 1.2] * 3 + [0, 0], "float32")])
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
        ({"value_range": "auto"}, "--scale-offset SCALE,OFFSET can"),
        ({"value_range": (0, 4000)}, "--scale-offset SCALE,OFFSET can"),
    ],
)
def test_options_that_do_not_fit(tmp_path, model, scene, options, message):
    scenes.write(scene, tmp_path / "in.tif")
    options = {name: tmp_path / value if "tif" in value else value for name, value in options.items()}
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
        (0.01, 0, "percent"),
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


def test_only_clouded_keeps_what_the_model_takes_for_clear(tmp_path, scene):
    scenes.write(scene, tmp_path / "in.tif")
    apply(saved(tmp_path, 0.012), tmp_path / "in.tif", tmp_path / "out.tif", only_clouded=True, progress=False)
    answer, clear = scenes.read(tmp_path / "out.tif"), scene.pixels[..., :1] < 0.06 * 12_000
    assert clear.any()
    np.testing.assert_allclose(answer.pixels, scene.pixels + np.where(clear, 0, 120), atol=1)
    np.testing.assert_array_equal(answer.pixels[clear[..., 0]], scene.pixels[clear[..., 0]])


def test_an_offset_is_found_on_green_ground_beside_water(make_scene):
    """Near infrared of summer lies far above 1000, and water a little below."""
    generator = np.random.default_rng(3)
    ground = generator.normal((2600, 450, 600), 60, (4000, 3))
    ground[:400] = generator.normal((60, 20, 40), 15, (400, 3))
    with pytest.raises(ValueError, match="an offset of 1000"):
        refuse_no_reflectance(ground + 1000, BANDS)
    refuse_no_reflectance(ground, BANDS)
