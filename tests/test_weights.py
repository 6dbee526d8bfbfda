"""Weights of data/weights: complete, small, as good as they say, of use to `apply` and notebooks; how they are made."""

import hashlib
import shlex
import shutil
import tomllib

import numpy as np
import pytest

from data.weights import publish as publishing
from data.weights import train_clouds
from data.weights.publish import publish
from helpers import features, metrics, models, paths, runs, scenes, training
from helpers.__main__ import _parser, main
from helpers.acquire import packs, sources
from helpers.apply.network import read_network
from helpers.backend import keras
from helpers.pairs import clouds, maps, resolution, views
from helpers.runs.execute import plan
from helpers.training import predict

WEIGHTS = sorted((paths.ROOT / "data" / "weights").glob("*.keras"))
# of scripts, not of runs
LANDSCAPES = [path for path in WEIGHTS if path.stem.startswith("landscape")]
CLOUDS = [path for path in WEIGHTS if path.stem.startswith("cloud")]
PUBLISHED = [path for path in WEIGHTS if path not in LANDSCAPES + CLOUDS]
START = {
    "02": "srcnn_landsat8_x4",
    "03": "upsampler_sentinel2_x4",
    "04": "cloud_remover_sentinel2",
    "05": "map_land_cover",
}
BANDS = ["red", "green", "blue"]
NOTEBOOK = "02_srcnn_super_resolution"
USUAL = {"source": "landsat8_itaipu", "scale": 4, "block_px": 256, "steps": 1000, "seed": 0}
CELL = "\n".join(f"{name}: {type(value).__name__} = {value!r}  # of this" for name, value in USUAL.items())
SCORES = [
    {"method": "bicubic", "role": "baseline", "split": "test", "psnr_db": 24.0},
    {"method": "srcnn_residual", "role": "model", "headline": True, "split": "test", "psnr_db": 25.0,
     "gain_over": "bicubic", "gain_psnr_db": 1.0, "gain_psnr_db_low": 0.9, "gain_psnr_db_high": 1.1},
    {"method": "plain", "role": "model", "split": "test", "psnr_db": 24.5, "gain_over": "bicubic"},
]  # fmt: skip

needs_packs = pytest.mark.skipif(
    any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched: python -m helpers fetch"
)


def described(path):
    return paths.read_json(path.with_suffix(".json"))


# --- what is in data/weights


def test_there_are_weights_for_every_notebook():
    assert {described(path)["provenance"]["notebook"][:2] for path in WEIGHTS} >= set(START)
    assert set(START.values()) <= {path.stem for path in WEIGHTS}
    for notebook in runs.notebooks(START):
        default = runs.declared(notebook)["start_from"].default
        assert default in ("", START[notebook.stem[:2]])


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_weights_are_small_and_say_where_they_come_from(path):
    about = described(path)
    made, content = about["provenance"], path.read_bytes()
    assert len(content) <= 2_000_000
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    named = tomllib.loads((paths.ROOT / "data" / "packs.toml").read_text())["packs"][made["parameters"]["source"]]
    assert made["licence"] == named["licence"] and named["credit"] in about["credit"]
    assert about["credit"] in made["credits"] or set(named["credit"].split(" · ")) <= set(made["credits"])
    gains = [key for key in made["scores"] if key.startswith("gain_") and f"{key}_low" in made["scores"]]
    assert gains and made["scores"]["method"] == made["method"]
    assert made["device"]["machine"] and made["device"]["tensorflow"] and made["seconds"]["training"] > 0
    assert made["seed"] == made["parameters"]["seed"] and made["profile"] == "workshop"


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_recorded_command_gives_the_recorded_parameters(path):
    made = described(path)["provenance"]
    python, *arguments = shlex.split(made["command"])
    options = _parser().parse_args(arguments[2:])
    assert [python, *arguments[:2]] == ["python", "-m", "helpers"]
    (notebook,) = runs.notebooks(options.notebooks)
    declared = {name: each.default for name, each in runs.declared(notebook).items()}
    (values,) = plan(options.notebooks, options.profile, dict(options.values)).values()
    planned = declared | values
    assert planned | made["parameters"] == planned  # a parameter that came later has its default


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_file_holds_the_weights_that_were_hashed(path):
    network = read_network(path)
    content = b"".join(np.ascontiguousarray(values).tobytes() for values in network.get_weights())
    assert described(path)["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert all(weight.dtype == "float32" and np.isfinite(weight).all() for weight in network.weights)


@needs_packs
@pytest.mark.parametrize("path", CLOUDS, ids=lambda path: path.stem)
def test_weights_of_cloud_removal_reach_their_recorded_scores(path):
    keras.config.set_dtype_policy("float32")
    about, content, network = described(path), path.read_bytes(), read_network(path)
    made = about["provenance"]
    assert len(content) <= 2_000_000 and made["sha256"] == hashlib.sha256(content).hexdigest()
    assert (paths.ROOT / made["script"]).exists() and made["steps"] > 0 and made["note"]
    ground, block_px, light = train_clouds.open_ground(path.stem)
    scores = train_clouds.at_home(network, ground, light, block_px)
    for name, value in scores.items():
        assert value == pytest.approx(made["scores"][name], abs=0.02), name


@pytest.mark.parametrize("path", LANDSCAPES, ids=lambda path: path.stem)
def test_weights_of_landscapes_say_how_they_were_made(path):
    about, content = described(path), path.read_bytes()
    made, network = about["provenance"], read_network(path)
    assert len(content) <= 4_000_000 and made["sha256"] == hashlib.sha256(content).hexdigest()
    held = b"".join(np.ascontiguousarray(values).tobytes() for values in network.get_weights())
    assert about["weights_sha256"] == hashlib.sha256(held).hexdigest()
    assert (paths.ROOT / made["script"]).exists() and made["device"]["machine"] and made["device"]["backend"]
    assert made["seconds"] > 0 and made["steps"] > 0 and made["views"] and made["note"]
    named = tomllib.loads((paths.ROOT / "data" / "packs.toml").read_text())["packs"][made["source"]]
    assert made["licence"] == named["licence"] and named["credit"] in about["credit"]


@needs_packs
def test_landscapes_look_as_real_as_recorded_and_are_as_diverse():
    """On ground that the generator never saw; `make bench` scores all of it, as it was recorded."""
    path = paths.ROOT / "data" / "weights" / "landscape_rocky_mountain.keras"
    told = described(path)["provenance"]["scores"]
    real = views.render("test", 20).views / np.float32(255)  # which the smoke run of 06 renders, too
    latents = training.draw_latents(32, 4, [0, 1])
    made = np.clip(read_network(path).predict(latents, verbose=0), 0, 1)
    kid = metrics.kid(features.embed(real), features.embed(made))
    assert kid < told["shipped before, 64 px enlarged"]["kid_imagenet"] / 20
    assert training.diversity(made, real) == pytest.approx(told["shipped now, 128 px"]["diversity"], abs=0.05)


# --- as good as they say, on test ground


def super_resolution(network, given):
    """Mean PSNR on the test ground of notebooks 02 and 03, and the value range of their training ground."""
    if given["source"] == "landsat8_itaipu":
        ground = sources.open_ground(given["source"], block_px=given["block_px"], buffer_px=16, seed=given["seed"])
    else:
        clear = clear_brandenburg(["blue", "green", "red", "nir"], given["cloud_level"])[1]
        ground = scenes.split_ground([clear], **{key: given[key] for key in ("block_px", "buffer_px", "seed")})
    settings = {"value_range": scenes.value_range(ground["train"]), "scale": given["scale"]}
    low, high = resolution.arrays(ground["test"], patch_px=given.get("tile_px", given["block_px"]), **settings)
    enlarged = resolution.upsample(low, given["scale"]).numpy()
    enlarges = network.compute_output_shape((1, 16, 16, low.shape[-1]))[1] > 16
    estimate = predict(network, low if enlarges else enlarged)
    scores = [metrics.psnr(np.clip(high, 0, 1), np.clip(each, 0, 1), data_range=1) for each in (estimate, enlarged)]
    return {"psnr_db": scores[0].mean(), "gain_psnr_db": (scores[0] - scores[1]).mean()}, settings["value_range"]


def clear_brandenburg(bands, level=2000):
    """The scene of Brandenburg, and the same without its clouded ground."""
    whole = packs.open_scene("sentinel2_brandenburg", "10m", bands)
    return whole, clouds.without_cloud(whole, packs.open_scene("sentinel2_brandenburg", "60m", ["coastal"]), level)


def satellite_to_map(network, given):
    """Mean IoU on the test blocks of notebook 05, each with 32 px of image around it."""
    earth, margin, size = maps.earth(), 32, given["tile_px"]
    tiles = maps.land_cover(earth, block_px=size, seed=given["seed"])["test"]
    sides = [(margin, margin), (margin, margin), (0, 0)]
    image = np.pad(earth.pixels[..., :3], sides, "reflect") / np.float32(255)
    corners = [np.rint(~earth.transform @ (tile.transform.c, tile.transform.f)).astype(int) for tile in tiles]
    around = [image[row : row + size + 2 * margin, column : column + size + 2 * margin] for column, row in corners]
    guess = network.predict(np.stack(around), batch_size=8, verbose=0).argmax(axis=-1)
    classes = maps.arrays(tiles, maps.LEGEND)[2]
    core = guess[:, margin : margin + size, margin : margin + size]
    pooled = metrics.confusion(classes, core, len(maps.LEGEND)).sum(axis=0)
    return {"mean_iou": metrics.mean_iou(pooled), "pixel_accuracy": pooled.trace() / pooled.sum()}, [[0, 255]] * 3


SCORED = {"02": super_resolution, "03": super_resolution, "05": satellite_to_map}
TOLERANCE = dict.fromkeys(("psnr_db", "gain_psnr_db"), 0.02) | dict.fromkeys(("mean_iou", "pixel_accuracy"), 0.002)


@needs_packs
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_recorded_score_is_reached_on_test_ground(path):
    keras.config.set_dtype_policy("float32")
    about = described(path)
    made = about["provenance"]
    scores, value_range = SCORED[made["notebook"][:2]](read_network(path), made["parameters"])
    np.testing.assert_allclose(about["value_range"], value_range)
    for name, value in scores.items():
        assert value == pytest.approx(made["scores"][name], abs=TOLERANCE[name]), name


# --- of use


@needs_packs
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_apply_takes_the_name(path, tmp_path):
    about = described(path)
    scene = packs.open_scene(
        "sentinel2_brandenburg" if "nir" in about["bands"] else "landsat8_itaipu", None, about["bands"]
    )
    scenes.write(scene.cut(100, 800, 40, 50), tmp_path / "in.tif")
    command = ["apply", path.stem, str(tmp_path / "in.tif"), str(tmp_path / "out.tif")]
    if path.stem.startswith("map"):
        command += ["--value-range", "auto"]
    assert main(command) == 0
    answer, given = (scenes.read(tmp_path / f"{name}.tif") for name in ("out", "in"))
    assert answer.pixels.shape == (40 * about["scale"], 50 * about["scale"], len(about["bands_out"]))
    assert answer.bounds == pytest.approx(given.bounds)
    enlarged = (
        resolution.upsample(given.pixels[None], about["scale"]).numpy()[0] if about["scale"] > 1 else given.pixels
    )
    assert np.isfinite(answer.pixels).all() and np.abs(answer.pixels - enlarged).mean() > 1


# --- how they are made


@pytest.fixture
def finished(project, write_notebook):
    """Function that makes a finished run of notebook 02 with a small network in a project of its own; its Run."""
    keras.config.set_dtype_policy("float32")
    (project / "data").mkdir(exist_ok=True)
    shutil.copy(packs.__file__.replace("helpers/acquire/packs.py", "data/packs.toml"), project / "data" / "packs.toml")
    write_notebook(NOTEBOOK, parameters=CELL)
    write_notebook("03_other", parameters=CELL)

    def make(run_id="r1", *, filters=(8, 4), notebook=NOTEBOOK, record=True, model=None, **changes):
        folder = paths.RUNS / run_id / notebook
        run = runs.Run(run_id, notebook, "workshop", USUAL | changes, folder)
        model = model or with_random_weights(models.srcnn(3, filters=filters))
        about = {
            "task": "super-resolution", "bands": BANDS, "bands_out": BANDS, "scale": 4, "value_range": [[0, 1]] * 3,
            "size_multiple": 1, "receptive_field_px": 13, "credit": "USGS",
        }  # fmt: skip
        run.save_model(model, **about)
        run.save_model(with_random_weights(models.srcnn(3, filters=(4, 4))), method="plain", **about)
        if record:
            run.record(SCORES, device={"kind": "cpu", "machine": "x86_64"}, training_seconds=1, credits=["USGS"])
        return run

    return make


def with_random_weights(model, seed=5):
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(0, 0.1, values.shape) for values in model.get_weights()])
    return model


def test_weights_are_rounded_to_eight_bits_to_the_nearest():
    # 1 to 2 in steps of 1/128; 0.1 lies between 204/2048 and 205/2048, nearer to the second
    network = keras.Sequential([keras.Input((7,)), keras.layers.Rescaling(1.0), keras.layers.Dense(1)])
    given = np.array([[1.0], [1.003], [1.005], [-1.01], [0.1], [0.0], [300.0]], "float32")
    network.set_weights([given, np.float32([1e-9])])
    publishing.round_weights(network)
    kernel, bias = network.get_weights()
    assert kernel.ravel().tolist() == [1.0, 1.0, 1.0078125, -1.0078125, 205 / 2048, 0.0, 300.0]
    assert bias[0] == pytest.approx(1e-9, rel=1 / 256) and kernel.dtype == bias.dtype == np.float32


def test_published_weights_answer_nearly_as_the_run_did_and_tell_how_it_was_made(finished):
    run = finished(steps=6)
    path = publish("r1", "02", "sharp")
    assert path == paths.ROOT / "data" / "weights" / "sharp.keras"
    assert path.stat().st_size < 0.7 * (run.folder / "model.keras").stat().st_size
    image = np.random.default_rng(1).random((1, 20, 24, 3)).astype("float32")
    before, after = (read_network(each).predict(image, verbose=0) for each in (run.folder / "model.keras", path))
    assert 0 < np.abs(before - after).max() < 0.01 * np.abs(before).max()
    about = described(path)
    made = about["provenance"]
    assert made["command"] == (
        "python -m helpers run 02 --profile workshop -p source=landsat8_itaipu -p scale=4"
        " -p block_px=256 -p steps=6 -p seed=0"
    )
    assert made["scores"] == SCORES[1] and made["parameters"]["steps"] == 6 and made["credits"] == ["USGS"]
    assert made["licence"].startswith("Landsat: public domain") and made["device"]["machine"] == "x86_64"
    assert about["weights_sha256"] != described(run.folder / "model.keras")["weights_sha256"]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_weights_stay_float32_in_mixed_precision(finished, policy):
    """Where a notebook computes in mixed precision, too, the weights themselves are float32, and those of the file."""
    finished()
    path = publish("r1", "02", "sharp")
    before = read_network(path).get_weights()
    keras.config.set_dtype_policy(policy)
    try:
        model = models.srcnn(3, filters=(8, 4))
        runs.start_from(model, "sharp", finished("r2", record=False), BANDS)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_another_method_of_the_run_can_be_published(finished):
    finished()
    path = publish("r1", "02", "plain_one", method="plain")
    assert described(path)["provenance"]["method"] == "plain" and described(path)["provenance"]["scores"] == SCORES[2]
    assert read_network(path).count_params() == 9 * 9 * 3 * 4 + 4 + 4 * 4 + 4 + 5 * 5 * 4 * 3 + 3
    with pytest.raises(ValueError, match="esrgan.keras is no model with scores of a finished run"):
        publish("r1", "02", "other", method="esrgan")


def test_publishing_refuses_what_nobody_could_use(finished, capsys):
    finished("half", record=False)
    with pytest.raises(ValueError, match="no model with scores of a finished run"):
        publish("half", "02", "sharp")
    finished("own", source="my/pictures")
    with pytest.raises(ValueError, match="my/pictures, which is no pack"):
        publish("own", "02", "sharp")
    with pytest.raises(ValueError, match="use letters, digits"):
        publish("own", "02", "../sharp")
    finished("large", filters=(1500, 900))
    with pytest.raises(ValueError, match=r"large has [2-3],\d{3},\d{3} bytes, compressed; at most 2,000,000"):
        publish("large", "02", "large")
    assert not list((paths.ROOT / "data").glob("weights/*"))
    finished()
    assert main(["publish", "r1", "02", "sharp"]) == 0
    assert "sharp.keras" in capsys.readouterr().out
    assert main(["publish", "r1", "02", "sharp"]) == 0  # the same notebook may replace its weights
    finished("third", notebook="03_other")
    assert main(["publish", "third", "03", "sharp"]) == 2
    assert f"in use by {NOTEBOOK}: choose another name" in capsys.readouterr().err


# --- what a notebook starts from


def test_starting_from_a_name_or_a_run_gives_the_same_answers(finished, capsys, monkeypatch):
    monkeypatch.chdir(paths.ROOT / "notebooks")  # where notebooks are run
    run = finished()
    path, image = publish("r1", "02", "sharp"), np.random.default_rng(1).random((1, 9, 9, 3)).astype("float32")
    of_run = run.folder / "model.keras"
    for name, file in (("sharp", path), (of_run, of_run), (of_run.relative_to(paths.ROOT), of_run)):
        model = models.srcnn(3, filters=(8, 4))
        runs.start_from(model, str(name), finished("now", record=False, steps=20, source="landsat8_itaipu"), BANDS)
        np.testing.assert_array_equal(model.predict(image, verbose=0), read_network(file).predict(image, verbose=0))
    assert "starting from sharp, trained on landsat8_itaipu" in capsys.readouterr().out


def test_a_frozen_network_with_a_layer_behind_it_can_be_started_from(finished):
    """So are the averaged generator of notebook 04, and the painter of notebook 05, when they are saved."""
    inner = with_random_weights(models.srcnn(3, filters=(8, 4)))
    painter = keras.Model(inner.input, keras.layers.Conv2D(3, 1, name="paint")(inner.output))
    painter.trainable = False
    finished(model=painter)
    read = read_network(publish("r1", "02", "sharp")).get_weights()
    model = models.srcnn(3, filters=(8, 4))
    runs.start_from(model, "sharp", finished("now", record=False), BANDS)
    assert len(read) == 8 and len(model.get_weights()) == 6 and len(model.trainable_weights) == 6
    for mine, theirs, exact in zip(model.get_weights(), read[:6], inner.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_allclose(mine, exact, rtol=1 / 256)


@pytest.mark.parametrize(
    ("changes", "bands", "filters", "message"),
    [
        ({"notebook": "03_other"}, BANDS, (8, 4), f"trained in {NOTEBOOK} .* this is 03_other .*choose other weights"),
        ({}, ["red", "nir"], (8, 4), r"on .'red', 'green', 'blue'.; .* with the bands .'red', 'nir'."),
        ({}, BANDS, (4, 4), "sharp is a network of another size, 2,291 weights: choose other weights"),
        (
            {"seed": 3},
            BANDS,
            (8, 4),
            "sharp was made with seed 0, here 3: it may have learned on what is test ground here",
        ),
        ({"seed": 3, "block_px": 128}, BANDS, (8, 4), "with block_px 256, here 128; seed 0, here 3"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_changed(finished, changes, bands, filters, message):
    finished()
    publish("r1", "02", "sharp")
    model = models.srcnn(3, filters=filters)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        runs.start_from(model, "sharp", finished("now", record=False, **changes), bands)
    for mine, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_weights_of_unknown_ground_are_refused(finished):
    run = finished(record=False)
    with pytest.raises(ValueError, match="nothing says on which ground .*model.keras was trained"):
        runs.start_from(models.srcnn(3, filters=(8, 4)), run.folder / "model.keras", run, BANDS)
    with pytest.raises(ValueError, match="there is no model nowhere: .* a name in data/weights"):
        runs.start_from(models.srcnn(3, filters=(8, 4)), "nowhere", run, BANDS)


def test_other_imagery_may_be_split_as_it_likes_and_keeps_its_own_table(finished):
    """A fixed layer belongs to the ground; statistics of a normalisation were learned."""

    def network(table, seed):
        image = keras.Input((None, None, 3))
        fixed = keras.layers.Conv2D(3, 1, trainable=False, name="table")
        model = keras.Model(image, keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 1)(fixed(image))))
        with_random_weights(model, seed)
        fixed.set_weights([np.full((1, 1, 3, 3), table), np.zeros(3)])
        return model

    finished(model=network(1.0, 6))
    path = publish("r1", "02", "sharp")
    model = network(2.0, 7)
    runs.start_from(model, "sharp", finished("now", record=False, source="my/pictures", seed=3), BANDS)
    of = {weight.path.split("/")[-1]: weight.numpy() for weight in read_network(path).layers[-1].weights}
    assert (model.get_layer("table").get_weights()[0] == 2.0).all()
    for weight in model.layers[-1].weights:
        np.testing.assert_array_equal(weight, of[weight.path.split("/")[-1]])
