"""Cloud removal with `apply`: clear pixels kept, the mask, opaque cloud as no data, and odd values."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from helpers import runs, scenes
from helpers.__main__ import main
from helpers.apply import apply
from helpers.apply.network import Predictor
from helpers.backend import keras
from helpers.pairs import clouds
from helpers.scenes.values import refuse_misfit
from tests.test_apply_resume import interrupt

BANDS = ["nir", "red", "green"]


@pytest.fixture
def model(tmp_path):
    """Path of a network that answers its input, and takes the first band for the opacity of cloud."""
    return saved(tmp_path, added=0.0)


def saved(tmp_path, added, **more):
    """Save such a network that adds a reflectance to all that it sees."""
    keras.config.set_dtype_policy("float32")
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)])
    kernel = np.zeros((1, 1, 3, 5), "float32")
    kernel[0, 0, range(3), range(3)] = kernel[0, 0, 0, 3] = 1
    network.set_weights([kernel, np.array([added / 1.2] * 3 + [0, 0], "float32")])
    about = {
        "task": "cloud removal", "bands": BANDS, "bands_out": BANDS, "scale": 1, "credit": "USGS", "size_multiple": 1,
        "receptive_field_px": 1, "value_range": [list(clouds.REFLECTANCE)] * 3, "masks": ["opacity", "shadow"],
        "unit": "reflectance x 10,000", **more,
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
    assert "note: the model takes most pixels for cloud or shadow" in capsys.readouterr().out
    mask, answer = scenes.read(tmp_path / "mask.tif"), scenes.read(tmp_path / "out.tif")
    assert list(mask.bands) == ["opacity"] and mask.pixels.dtype == "float32" and mask.bounds == scene.bounds
    np.testing.assert_allclose(mask.pixels[..., 0], scene.pixels[..., 0] / 12_000, atol=1e-6)
    np.testing.assert_array_equal(answer.pixels, scene.pixels)


def test_a_name_too_long_for_the_files_made_beside_it_is_refused(tmp_path, model, scene, monkeypatch):
    """The longest possible name is written; the names of locks and temporary files would be too long otherwise."""
    scenes.write(scene, tmp_path / "in.tif")
    longest, mask = "я" * 113 + ".tif", "é" * 113 + ".tif"
    apply(model, tmp_path / "in.tif", tmp_path / longest, cloud_mask=tmp_path / mask, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"in.tif", "run", longest, mask}
    monkeypatch.setattr(Predictor, "__call__", lambda *_: pytest.fail("computed"))
    for target, other in (("x" + longest, None), ("x" * 300 + ".tif", None), ("out.tif", "x" + mask)):
        with pytest.raises(ValueError, match="is too long a name: at most 230 bytes, as the files made beside it"):
            apply(model, tmp_path / "in.tif", tmp_path / target, cloud_mask=other and tmp_path / other)


def test_opaque_cloud_is_no_data(tmp_path, model, scene, capsys):
    scenes.write(scene, tmp_path / "in.tif")
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", opaque="nodata", progress=False)
    answer = scenes.read(tmp_path / "out.tif")
    np.testing.assert_array_equal(answer.valid, scene.pixels[..., 0] < 8_400)
    assert "without cloud and shadow: 6.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, message",
    [
        ({"cloud_mask": "out.tif"}, "cannot be the output and its mask at once"),
        ({"value_range": "auto"}, "--scale-offset SCALE,OFFSET alone says"),
        ({"value_range": (0, 4000)}, "--scale-offset SCALE,OFFSET alone says"),
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
        (1e-4, 0, "looks like reflectance where .*: --scale-offset 10000,0"),
        (0.01, 0, "--scale-offset 100,0 mends it, but for pictures of 8 bits"),
        (2.5, 5_500, "looks like another scale: .*Landsat's collection 2"),
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
    for option in ({"cloud_mask": tmp_path / "m.tif"}, {"opaque": "nodata"}, {"only_clouded": True}):
        with pytest.raises(ValueError, match="are for models such as cloud_remover_sentinel2"):
            apply("srcnn_landsat8_x4", tmp_path / "in.tif", tmp_path / "out.tif", **option)


# --- only clouded


def answered(model, scene, folder, name="out.tif", **options):
    """What `apply` writes, as the file has it: (height, width, bands)."""
    scenes.write(scene, folder / "in.tif")
    apply(model, folder / "in.tif", folder / name, progress=False, **options)
    return numbers(folder / name)


def numbers(path):
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, -1)


def test_only_clouded_keeps_what_the_model_takes_for_clear(tmp_path, scene, capsys):
    model = saved(tmp_path, 0.012)
    made = answered(model, scene, tmp_path, only_clouded=True)
    clear = scene.pixels[..., 0] < 0.06 * 12_000
    assert 0 < clear.mean() < 0.1
    np.testing.assert_allclose(made, scene.pixels + np.where(clear, 0, 120)[..., None], atol=1)
    np.testing.assert_array_equal(made[clear], scene.pixels[clear])
    said = f"without cloud and shadow: 6.0% of the pixels with data ({clear.sum():,} of 2,000)"
    assert said in capsys.readouterr().out
    files = [str(tmp_path / name) for name in ("in.tif", "again.tif")]
    assert main(["apply", str(model), *files, "--only-clouded"]) == 0
    np.testing.assert_array_equal(numbers(files[1]), made)


def test_a_model_tells_the_opacity_and_the_shadow_from_which_it_changes_pixels(tmp_path, scene):
    model = saved(tmp_path, 0.012, changed_above=[0.3, 0.06])
    made, clear = answered(model, scene, tmp_path, only_clouded=True), scene.pixels[..., 0] < 0.3 * 12_000
    assert 0.2 < clear.mean() < 0.4
    np.testing.assert_allclose(made, scene.pixels + np.where(clear, 0, 120)[..., None], atol=1)


def test_bands_in_another_order_in_the_file(tmp_path, scene):
    scene.pixels[..., 1:] = scene.pixels[..., 1:] * (0.5, 0.7)
    shuffled = replace(scene, pixels=scene.pixels[..., [2, 0, 1]], bands=("green", "nir", "red"))
    model = saved(tmp_path, 0.012)
    expected = answered(model, scene, tmp_path, only_clouded=True)
    mask = tmp_path / "mask.tif"
    made = answered(model, shuffled, tmp_path, only_clouded=True, cloud_mask=mask)
    assert np.array_equal(made, expected[..., [2, 0, 1]])
    np.testing.assert_allclose(numbers(mask)[..., 0], scene.pixels[..., 0] / 12_000, atol=1e-6)


def test_holes_stay_holes(tmp_path, scene, model, capsys):
    scene = replace(scene, nodata=7)
    scene.pixels[10:30, 20:40, 1] = np.nan  # one band suffices
    options = {"only_clouded": True, "opaque": "nodata", "cloud_mask": tmp_path / "mask.tif"}
    made = answered(model, scene, tmp_path, **options)
    opaque = scene.pixels[..., 0] >= 8_400
    assert np.array_equal((made == 7).all(axis=-1), opaque | ~scene.valid)
    assert np.array_equal(scenes.read(tmp_path / "mask.tif").valid, scene.valid)
    assert "of 1,600)" in capsys.readouterr().out


def test_black_beside_an_alpha_channel_does_not_become_a_hole(tmp_path, scene, model):
    """The output says "no data" by 0: black ground moves by one, all other clear values not at all."""
    pixels = np.moveaxis(scene.pixels / 40, -1, 0).astype("uint8")
    pixels[:, 4:9] = 0
    alpha = np.full((1, 40, 50), 255, "uint8")
    alpha[:, 7:12, 5:15] = 0
    profile = {"width": 50, "height": 40, "count": 4, "dtype": "uint8", "crs": scene.crs, "transform": scene.transform}
    with rasterio.open(tmp_path / "in.tif", "w", driver="GTiff", **profile) as file:
        file.write(np.concatenate([pixels, alpha]))
        file.descriptions = [*BANDS, None]
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    options = {"only_clouded": True, "value_range": "model", "progress": False}
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", **options)
    assert np.array_equal(scenes.read(tmp_path / "out.tif").valid, alpha[0] > 0)
    expected = np.where(alpha[0, ..., None] > 0, np.maximum(np.moveaxis(pixels, 0, -1), 1), 0)
    assert np.array_equal(numbers(tmp_path / "out.tif"), expected)


def test_interrupted_and_gone_on_with(tmp_path, scene, monkeypatch, capsys):
    model, target, mask = saved(tmp_path, 0.012), tmp_path / "out.tif", tmp_path / "mask.tif"
    options = {"window_px": 16, "only_clouded": True, "cloud_mask": mask}
    answered(model, scene, tmp_path, **options)
    expected, said = [target.read_bytes(), mask.read_bytes()], capsys.readouterr().out
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 8)
        apply(model, tmp_path / "in.tif", target, progress=False, **options)
    assert 0 < json.loads((tmp_path / ".out.tif.work" / "journal.json").read_text())["finished"] < 8
    with pytest.raises(ValueError, match="differs in: only_clouded. Give the same again"):
        apply(model, tmp_path / "in.tif", target, progress=False, resume=True, **options | {"only_clouded": False})
    target.unlink()
    apply(model, tmp_path / "in.tif", target, progress=False, resume=True, **options)
    assert [target.read_bytes(), mask.read_bytes()] == expected and capsys.readouterr().out == said


# --- values


def test_an_offset_is_found_on_green_ground_beside_water():
    """Near infrared of summer lies far above 1000, and water a little below."""
    generator = np.random.default_rng(3)
    ground = generator.normal((2600, 450, 600), 60, (4000, 3))
    ground[:400] = generator.normal((60, 20, 40), 15, (400, 3))
    ranges = np.array([clouds.REFLECTANCE] * 3)
    with pytest.raises(ValueError, match="an offset of 1000"):
        refuse_misfit(ground + 1000, BANDS, ranges, is_physical=True)
    refuse_misfit(ground, BANDS, ranges, is_physical=True)


def test_winter_ground_is_taken_for_an_offset_and_the_error_says_what_to_do(tmp_path, model, scene):
    """Nothing tells such ground from water with an offset: the values are the same."""
    scene.pixels[:] = np.linspace(900, 1800, 50, dtype="float32").round()[None, :, None]
    with pytest.raises(ValueError, match="an offset of 1000.*right as they are, such as winter.*--value-range model"):
        answered(model, scene, tmp_path)
    np.testing.assert_array_equal(answered(model, scene, tmp_path, value_range="model"), scene.pixels)
