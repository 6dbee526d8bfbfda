"""`--only-clouded`: what was clear stays as the file has it, bit for bit; the rest is what the network answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from helpers import models, scenes
from helpers.__main__ import main
from helpers.apply import apply, clouded
from helpers.apply.network import Predictor
from helpers.backend import keras
from tests.test_apply_resume import interrupt
from tests.test_apply_windows import save  # noqa: F401 - fixture

BANDS = ["red", "green", "blue"]
RANGE = [(2_000, 42_000), (0, 50_000), (1_000, 61_000)]
LOW, HIGH = np.array(RANGE, "float64").T


def darkened(context=None, bands=3):
    """x + 0.01 - (x - 0.6) / 2 where x > 0.6: a cloud is halved, and nothing that is clear stays quite the same.

    Args:
        context: what is added: None, "blur" of 3 x 3 pixels that no flip leaves alone, or "normalised" by all that is
            shown.
        bands: of the image.
    """
    layers, generator = keras.layers, np.random.default_rng(11)
    image = keras.Input((None, None, bands))

    def same(factor, shift, **options):
        layer = layers.Conv2D(bands, 1, bias_initializer=keras.initializers.Constant(shift), **options)
        layer.build((None, None, None, bands))
        layer.kernel.assign(factor * np.eye(bands)[None, None])
        return layer

    parts = [image, same(-0.5, 0.01)(same(1, -0.6, activation="relu")(image))]
    if context:
        blur = layers.Conv2D(bands, 3, padding="same")
        blur.build((None, None, None, bands))
        blur.kernel.assign(0.01 * generator.normal(size=blur.kernel.shape))
        parts.append(blur(image))
    if context == "normalised":
        parts[-1] = same(0.01, 0.0)(layers.GroupNormalization(groups=1)(parts[-1]))
    return keras.Model(image, layers.Add()(parts))


@pytest.fixture
def cloud_model(save):  # noqa: F811
    """Function that saves such a network as a model of cloud removal; returns its path."""

    def make(context=None, **changes):
        field = {"normalised": None, "blur": 3, None: 1}[context]
        options = {"task": "cloud removal", "value_range": RANGE, "receptive_field_px": field, "size_multiple": 4}
        return save(darkened(context), **options | changes)

    return make


@pytest.fixture
def scene(make_scene):
    """Dark ground, and on the right anything up to the brightest cloud."""
    scene = make_scene(70, 93)
    scene.pixels[:, :60] = np.rint(2_000 + scene.pixels[:, :60] / 3)
    return scene


def answered(model, scene, folder, name="out.tif", **options):
    """What `apply` writes, as the file has it: (height, width, bands)."""
    scenes.write(scene, folder / "in.tif")
    apply(model, folder / "in.tif", folder / name, progress=False, **options)
    return numbers(folder / name)


def numbers(path):
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, -1)


def plain_answer(model, scene, folder, **options):
    """The network's blended answer before it is rounded."""
    return answered(model, replace(scene, dtype="float32"), folder, "plain.tif", **options)


def rounded(plain):
    return np.clip(np.rint(plain), 0, 65_535)


def is_clear(plain, scene, tolerance=0.02):
    return np.all(np.abs(plain - scene.pixels) < tolerance * (HIGH - LOW), axis=-1)


# --- what stays and what does not


@pytest.mark.parametrize("tolerance, brightest", [(True, 0.66), (0.02, 0.66), (0.05, 0.72)])
def test_values_by_hand(tmp_path, make_scene, cloud_model, tolerance, brightest):
    """By 0.01 - (x - 0.6) / 2 a value x changes: by 0.02 at x = 0.66, by 0.05 at x = 0.72."""
    scene = make_scene(1, 4)
    edge = LOW + brightest * (HIGH - LOW)
    scene.pixels[0] = [LOW + 0.3 * (HIGH - LOW), edge - 2, [edge[0] + 2, *edge[1:] - 2], LOW + 0.9 * (HIGH - LOW)]
    scene.pixels[:] = np.rint(scene.pixels)
    answer = answered(cloud_model(), scene, tmp_path, only_clouded=tolerance)
    assert answer.dtype == "uint16"
    assert np.array_equal(answer[0, :2], scene.pixels[0, :2])
    cloud = scene.pixels[0, 2:]
    expected = cloud + 0.01 * (HIGH - LOW) - (cloud - LOW - 0.6 * (HIGH - LOW)) / 2
    assert np.abs(answer[0, 2:] - expected).max() < 0.51 and not np.any(answer[0, 2:] == cloud)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("context", [None, "blur", "normalised"])
def test_clear_pixels_are_left_and_the_others_are_answered(tmp_path, scene, cloud_model, capsys, context, dtype):
    model, scene = cloud_model(context), replace(scene, dtype=dtype)
    plain = plain_answer(model, scene, tmp_path, window_px=16)
    assert "left as it was" not in capsys.readouterr().out
    clear = is_clear(plain, scene)
    assert 0.2 < clear.mean() < 0.8 and not np.any(plain[clear] == scene.pixels[clear])
    answer = answered(model, scene, tmp_path, window_px=16, only_clouded=True)
    assert answer.dtype == dtype and np.array_equal(answer[clear], scene.pixels[clear])
    assert np.array_equal(answer[~clear], rounded(plain[~clear]) if dtype == "uint16" else plain[~clear])
    share = f"left as it was: {100 * clear.mean():.1f} % of the pixels with data ({clear.sum():,} of 6,510)\n"
    assert capsys.readouterr().out == share


@pytest.mark.parametrize("context", ["blur", "normalised"])
def test_a_part_is_what_the_whole_gives_there(tmp_path, scene, cloud_model, context):
    model, options = cloud_model(context), {"window_px": 16, "only_clouded": True}
    whole = answered(model, scene, tmp_path, **options)
    part = answered(model, scene, tmp_path, window=(31, 17, 40, 22), **options)
    assert np.array_equal(part, whole[17:39, 31:71])


def test_bands_in_another_order_in_the_file(tmp_path, scene, cloud_model):
    pixels = np.concatenate([scene.pixels[..., :1], scene.pixels[..., [2, 0, 1]]], axis=-1)
    shuffled = replace(scene, pixels=pixels, bands=("nir", "blue", "red", "green"))
    model = cloud_model("blur")
    expected = answered(model, scene, tmp_path, only_clouded=True)
    made = answered(model, shuffled, tmp_path, only_clouded=True)
    assert np.array_equal(made, expected[..., [2, 0, 1]])


def test_the_mean_of_all_turns_decides(tmp_path, scene, cloud_model):
    model, spread = cloud_model("blur"), tmp_path / "spread.tif"
    alone = is_clear(plain_answer(model, scene, tmp_path), scene)
    plain = plain_answer(model, scene, tmp_path, tta=True, uncertainty=spread)
    expected, clear = numbers(spread), is_clear(plain, scene)
    assert np.sum(clear != alone) > 100
    answer = answered(model, scene, tmp_path, tta=True, uncertainty=spread, only_clouded=True)
    assert np.array_equal(answer, np.where(clear[..., None], scene.pixels, rounded(plain)))
    assert np.array_equal(numbers(spread), expected) and expected[clear].min() > 0  # written everywhere, unchanged


# --- no data


@pytest.mark.parametrize("context", ["blur", "normalised"])
def test_holes_stay_holes(tmp_path, scene, cloud_model, capsys, context):
    scene, model = replace(scene, nodata=7), cloud_model(context)
    scene.pixels[10:30, 20:60, 1] = np.nan  # one band suffices
    plain = plain_answer(model, scene, tmp_path, window_px=16)
    clear = is_clear(plain, scene)
    answer = answered(model, scene, tmp_path, window_px=16, only_clouded=True)
    assert np.all(answer[~scene.valid] == 7) and np.array_equal(answer[clear], scene.pixels[clear])
    assert np.array_equal(scenes.read(tmp_path / "out.tif").valid, scene.valid)
    assert f"({clear.sum():,} of {6510 - 20 * 40:,})" in capsys.readouterr().out


def test_nothing_but_holes(tmp_path, make_scene, cloud_model, capsys):
    scene = make_scene(20, 20, nodata=0)
    scene.pixels[:] = np.nan
    assert not answered(cloud_model(), scene, tmp_path, only_clouded=True).any()
    assert capsys.readouterr().out == "left as it was: nothing, as no pixel has data\n"


def test_black_beside_an_alpha_channel_does_not_become_a_hole(tmp_path, make_scene, save):  # noqa: F811
    """The output says "no data" by 0: black ground moves by one, all other clear values not at all."""
    model = save(darkened(), value_range=[(0, 255)] * 3, receptive_field_px=1)
    scene = make_scene(20, 30, dtype="uint8")
    scene.pixels[:] = np.rint(scene.pixels / 2)
    scene.pixels[4:9, :, 1] = 0
    alpha = np.full((20, 30), 255, "uint8")
    alpha[7:12, 5:15] = 0
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", width=30, height=20, count=4, dtype="uint8", crs=scene.crs,
        transform=scene.transform,
    ) as file:  # fmt: skip
        file.write(np.concatenate([np.moveaxis(scene.pixels, -1, 0), alpha[None]]).astype("uint8"))
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", only_clouded=True, progress=False)
    assert np.array_equal(scenes.read(tmp_path / "out.tif").valid, alpha > 0)
    expected = np.where(alpha[..., None] > 0, np.maximum(scene.pixels, 1), 0)
    assert np.array_equal(numbers(tmp_path / "out.tif"), expected)


# --- interrupted


@pytest.mark.parametrize("context, after", [("blur", 20), ("normalised", 16), ("normalised", 28)])
def test_interrupted_and_gone_on_with(tmp_path, scene, cloud_model, monkeypatch, capsys, context, after):
    model, target = cloud_model(context), tmp_path / "out.tif"
    options = {"window_px": 16, "only_clouded": True}
    answered(model, scene, tmp_path, **options)
    expected, said = target.read_bytes(), capsys.readouterr().out
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, after)
        apply(model, tmp_path / "in.tif", target, progress=False, **options)
    assert 0 < json.loads((tmp_path / ".out.tif.work" / "journal.json").read_text())["finished"] <= after
    for other in (False, 0.05):
        with pytest.raises(ValueError, match="differs in: only clouded. Give the same again"):
            apply(model, tmp_path / "in.tif", target, progress=False, resume=True, **options | {"only_clouded": other})
    target.unlink()
    apply(model, tmp_path / "in.tif", target, progress=False, resume=True, **options)
    assert target.read_bytes() == expected and capsys.readouterr().out == said


# --- what is refused, before anything is computed


def refused(model, scene, folder, monkeypatch, message, **options):
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=message):
        patch.setattr(Predictor, "__call__", lambda *_: pytest.fail("computed"))
        answered(model, scene, folder, **{"only_clouded": True} | options)
    assert not (folder / "out.tif").exists() and not (folder / ".out.tif.work").exists()


@pytest.mark.parametrize("fraction", [0, 1, -0.02, 2, float("nan"), float("inf")])
def test_a_fraction_that_is_none(tmp_path, make_scene, cloud_model, monkeypatch, fraction):
    message = f"--only-clouded {fraction:g} should be a fraction of the value range, above 0 and below 1, such as 0.02"
    refused(cloud_model(), make_scene(), tmp_path, monkeypatch, message, only_clouded=fraction)


CANNOT = "cannot be done here: size, bands, value range and data type .* Leave the option out"


def test_a_network_that_enlarges(tmp_path, make_scene, save, monkeypatch):  # noqa: F811
    model = save(models.espcn(3, scale=2, filters=(4, 4), depth=1), scale=2, value_range=RANGE)
    refused(model, make_scene(), tmp_path, monkeypatch, CANNOT)


@pytest.mark.parametrize("changes", [
    {"bands_out": ["height"] * 3}, {"value_range_out": [(0, 1)] * 3}, {"dtype_out": "uint8"},
    {"dtype_out": "uint8", "value_range_out": [(0, 255)] * 3},
])  # fmt: skip
def test_an_output_of_another_kind(tmp_path, make_scene, cloud_model, monkeypatch, changes):
    refused(cloud_model(**changes), make_scene(), tmp_path, monkeypatch, CANNOT)


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_numbers_that_float32_cannot_hold(tmp_path, make_scene, cloud_model, monkeypatch, dtype):
    refused(cloud_model(), replace(make_scene(), dtype=dtype), tmp_path, monkeypatch, CANNOT, value_range=(0, 1))


def test_a_range_for_the_output_that_is_that_of_the_input(tmp_path, make_scene, cloud_model):
    """The output is in the unit of the file then, whatever range is given; scales and units stay."""
    scene = make_scene()
    expected = answered(cloud_model(), scene, tmp_path, only_clouded=True, value_range=(0, 60_000))
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.scales, file.offsets, file.units = (0.1, 0.2, 0.3), (1, 2, 3), ("a", "b", "c")
    options = {"only_clouded": True, "value_range": (0, 60_000), "progress": False}
    apply(cloud_model(value_range_out=RANGE), tmp_path / "in.tif", tmp_path / "out.tif", **options)
    assert np.array_equal(numbers(tmp_path / "out.tif"), expected)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert (out.scales, out.offsets, out.units) == ((0.1, 0.2, 0.3), (1, 2, 3), ("a", "b", "c"))


def test_the_range_that_is_given_counts(tmp_path, make_scene, cloud_model):
    """Of 0 to 10,000, ground of 5,000 changes by 100, cloud of 9,000 by 1,400, and what lies at 6,600 by 200."""
    scene = make_scene(1, 4)
    scene.pixels[:] = np.array([5_000, 6_590, 6_610, 9_000])[:, None]
    for options in ({"value_range": (0, 10_000)}, {"value_range": (0, 10_000), "only_clouded": 0.02}):
        answer = answered(cloud_model(), scene, tmp_path, **options)
    assert np.array_equal(answer[0, :, 0], [5_000, 6_590, 6_405, 7_600])


def test_another_task_is_allowed(tmp_path, scene, cloud_model):
    expected = answered(cloud_model("blur"), scene, tmp_path, only_clouded=True)
    assert np.array_equal(
        answered(cloud_model("blur", task="sharpening"), scene, tmp_path, only_clouded=True), expected
    )


# --- the command


def test_on_the_command_line(tmp_path, scene, cloud_model, capsys):
    model, files = cloud_model("blur"), [str(tmp_path / "in.tif"), str(tmp_path / "out.tif")]
    for arguments, tolerance in (([], 0.02), (["0.05"], 0.05), (["--tta"], 0.02)):
        plain = plain_answer(model, scene, tmp_path, tta="--tta" in arguments)
        clear = is_clear(plain, scene, tolerance)
        scenes.write(scene, files[0])
        assert main(["apply", str(model), *files, "--only-clouded", *arguments]) == 0
        assert f"left as it was: {100 * clear.mean():.1f} % of the pixels" in capsys.readouterr().out
        assert np.array_equal(numbers(files[1]), np.where(clear[..., None], scene.pixels, rounded(plain)))
    assert main(["apply", str(model), *files, "--only-clouded", "2"]) == 2
    assert "error: --only-clouded 2 should be a fraction" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["apply", "--only-clouded", "some.keras", *files])
    assert "argument --only-clouded: invalid float value: 'some.keras'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["apply", "--help"])
    assert f"({clouded.TOLERANCE} where none is given)" in " ".join(capsys.readouterr().out.split())


def test_bands_without_names_are_noted_once(tmp_path, scene, cloud_model, capsys):
    command = ["apply", str(cloud_model()), str(tmp_path / "in.tif"), str(tmp_path / "out.tif")]
    scenes.write(scene, tmp_path / "in.tif")
    assert main(command) == 0 and "note: " not in capsys.readouterr().err
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.descriptions = (None, None, None)
        file.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.undefined]
    assert main(command) == 0
    note = "note: the file does not name its bands: they are taken as red, green, blue"
    assert capsys.readouterr().err.count(note) == 1
