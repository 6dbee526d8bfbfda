"""The notebooks in notebooks/deeper, run end to end by papermill in profile smoke, and their anatomy."""

import re

import nbformat
import numpy as np
import pytest

from helpers import paths, runs, scenes
from helpers.acquire import download, packs
from tests.notebook_runs import command_line
from tests.test_notebooks import (
    COMPARED,
    assert_shows_what_is_stored,
    check_figures_are_seen,
    check_manifest,
    code_cells,
)

NOTEBOOKS = runs.notebooks(["deeper/"])
pytestmark = pytest.mark.skipif(
    any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched: python -m helpers fetch"
)


@pytest.fixture(scope="module")
def smoke_run(tmp_path_factory):
    """All of them, run once from the command line, without graphs, which lessons have; the folder of the run."""
    folder = tmp_path_factory.mktemp("runs")
    done = command_line(folder, "deeper/", "--run-id", "deeper", eagerly="0")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "deeper"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_run_leaves_its_scores_and_figures(smoke_run, path):
    folder = smoke_run / path.stem
    assert paths.read_json(folder / "metrics.json")["notebook"] == path.stem
    assert paths.read_json(folder / "credits.json")
    figures = sorted((folder / "figures").glob("*.png"))
    assert len(figures) >= 2 and all(figure.stat().st_size > 3_000 for figure in figures)
    executed = code_cells(folder / path.name)
    assert not [o for cell in executed for o in cell.outputs if o.output_type == "error"]
    check_figures_are_seen(executed, figures)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_anatomy(path):
    assert re.fullmatch(r"\d\d[b-z]_[a-z0-9_]+", path.stem), "a lesson's number and a letter: 03b_name"
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert max(len(cell.source.splitlines()) for cell in code) <= 30
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    for cell in code:
        kept = COMPARED in cell.metadata.get("tags", [])
        assert bool(cell.outputs) == kept, "store them with: python -m tests.store_outputs deeper/…"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_smoke_run_shows_the_stored_outputs(smoke_run, path):
    assert_shows_what_is_stored(path, smoke_run / path.stem / path.name)


def test_random_features_are_blind_to_a_grid_that_pretrained_ones_see(smoke_run):
    rows = paths.read_json(smoke_run / "07b_choosing_a_metric" / "metrics.json")["scores"]
    random, pretrained = ({key.split(" (")[0]: row[key] for key in row} for row in rows)
    assert (random["method"], pretrained["method"]) == ("random features", "pretrained features")
    assert abs(random["with a grid"]) < 3 < 10 < pretrained["with a grid"]
    assert abs(pretrained["other views"]) < 3


def test_the_acquired_data_sets_have_their_manifests_pairs_and_splits(smoke_run):
    (acquired,) = (smoke_run.parent / "data" / "acquired" / "smoke").glob("practice_*")
    folders = {folder.name.split("_")[0]: folder for folder in acquired.iterdir()}
    assert set(folders) == {"map", "multispectral", "cloudy", "landscapes"}
    pairs = {"map": {"satellite", "map"}, "cloudy": {"cloudy", "clear"}, "landscapes": {"satellite", "photo"}}
    for name, roles in pairs.items():
        table = download.read_manifest(folders[name])
        by_pair = table[table.pair != ""].groupby("pair").role.agg(set)
        assert len(by_pair) and all(found == roles for found in by_pair)
    assert set(scenes.SPLITS) <= set(download.read_manifest(folders["map"]).split)
    for folder in folders.values():
        check_manifest(folder)


def test_the_real_cloudy_dates_are_ten_and_their_composite_is_near_the_clear_day(smoke_run):
    folder = smoke_run / "04b_real_pairs_and_clinic"
    rows = {row["method"]: row for row in paths.read_json(folder / "metrics.json")["scores"]}
    gain_db = rows["composite"]["psnr_db"] - rows["cloudy"]["psnr_db"]
    assert gain_db == pytest.approx(11.28, abs=0.02)  # no network has a part in it
    (executed,) = folder.glob("04b*.ipynb")
    assert "105 dates: 42 clear, 10 partly clouded" in executed.read_text(encoding="utf-8")


def test_the_exported_model_answers_the_same(smoke_run):
    """The SavedModel for other tools, in another process than the one that wrote it, and without Keras."""
    from helpers.apply import load_model
    from helpers.backend import tf

    exported = tf.saved_model.load(smoke_run / "03c_seams_flips_20m" / "saved_model")
    network, _ = load_model("upsampler_sentinel2_x4")
    inputs = np.linspace(0, 1, 2 * 12 * 10 * 4, dtype="float32").reshape(2, 12, 10, 4)
    np.testing.assert_allclose(exported.serve(inputs), network.predict(inputs, verbose=0), atol=1e-5)
