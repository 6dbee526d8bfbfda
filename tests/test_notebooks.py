"""Every notebook, run end to end by papermill in profile smoke; its anatomy; the stored outputs that nbval compares."""

import copy
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
from urllib.parse import quote, quote_plus

import nbformat
import pytest
import rasterio
import yaml

from helpers import paths, runs, scenes
from helpers.acquire import download, packs
from tests.notebook_runs import PLANTED, command_line, environment, one, run_apart
from tests.trainings import without_graphs

NOTEBOOKS = runs.notebooks()
SCORED = [path for path in NOTEBOOKS if path.stem.startswith(("02", "03", "04", "05", "06"))]
LOWER_IS_BETTER = {"mae", "rmse", "spectral_angle_deg", "ergas"}
COMPARED = "nbval-check-output"
WIDGET = "application/vnd.jupyter.widget-view+json"
pytestmark = pytest.mark.skipif(
    any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched: python -m helpers fetch"
)


def cells(path):
    return nbformat.read(path, 4).cells


def code_cells(path):
    return [cell for cell in cells(path) if cell.cell_type == "code"]


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """The whole series, run once from the command line; the folder of the run. 03 to 06 run without graphs."""
    folder = tmp_path_factory.mktemp("runs")
    done = command_line(folder, "--run-id", "smoke", eagerly="03 04 05 06")
    (folder / "smoke.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "report.html" in done.stdout
    return folder / "smoke"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_run_leaves_what_it_promises(smoke_run, path):
    folder = smoke_run / path.stem
    entry = paths.read_json(folder / "metrics.json")
    assert entry["notebook"] == path.stem and entry["profile"] == "smoke" and entry["seconds"]["total"] > 0
    assert set(entry["parameters"]) == set(runs.declared(path))
    assert paths.read_json(folder / "credits.json")
    figures = sorted((folder / "figures").glob("*.png"))
    assert len(figures) >= 5 and all(figure.stat().st_size > 3_000 for figure in figures)
    executed = code_cells(folder / path.name)
    assert not [o for cell in executed for o in cell.outputs if o.output_type == "error"]
    assert all(len(json.dumps(cell.outputs)) < 2_000_000 for cell in executed)
    streams = [o for cell in executed for o in cell.outputs if o.output_type == "stream"]
    assert sum(len(o.text.splitlines()) for o in streams) < 200
    assert not [o.text for o in streams if o.name == "stderr"]
    check_figures_are_seen(executed, figures)


def check_figures_are_seen(executed, figures):
    """In a block or before the last line, a figure is saved, and stays unseen: it needs `display`."""
    for figure in figures:
        cells = [cell for cell in executed if f'run.figure("{figure.stem}"' in cell.source]
        shown = [o for cell in cells for o in cell.outputs if "<Figure" in o.get("data", {}).get("text/plain", "")]
        assert shown or not cells, f"{figure.stem} is saved and not shown"  # not cells: named in a loop


@pytest.mark.parametrize("path", SCORED, ids=lambda path: path.stem)
def test_scores_stand_beside_a_baseline(smoke_run, path):
    rows = paths.read_json(smoke_run / path.stem / "metrics.json")["scores"]
    test_rows = [row for row in rows if row["split"] == "test"]
    assert {"baseline", "model"} <= {row["role"] for row in test_rows}
    assert sum(bool(row.get("headline")) for row in rows) == 1
    methods = {row["method"] for row in rows}
    for row in test_rows:
        gains = [key for key in row if key.startswith("gain_") and not key.endswith(("_over", "_low", "_high"))]
        assert bool(gains) == (row["role"] == "model")
        for gain in gains:
            assert row[f"{gain}_low"] <= row[gain] <= row[f"{gain}_high"]
            assert row["gain_over"] in methods
            (base,) = [other for other in rows if other["method"] == row["gain_over"]]
            score = gain.removeprefix("gain_")
            better = -1 if score in LOWER_IS_BETTER else 1
            assert row[gain] == pytest.approx(better * (row[score] - base[score]), abs=1e-5)


@pytest.mark.parametrize("path", SCORED[:-1], ids=lambda path: path.stem)
def test_the_saved_model_applies_to_a_geotiff(smoke_run, path, tmp_path):
    from helpers.apply import apply, load_model

    folder = smoke_run / path.stem
    _, about = load_model(folder / "model.keras")
    wanted = {"task", "bands", "bands_out", "scale", "value_range", "size_multiple", "receptive_field_px"}
    assert wanted | {"weights_sha256", "credit"} <= set(about)
    pack = "sentinel2_brandenburg" if "nir" in about["bands"] else "landsat8_itaipu"
    pack = "blue_marble" if about["classes"] else pack
    scene = packs.open_scene(pack).cut(300, 300, 40, 50)
    scenes.write(scene, tmp_path / "in.tif")
    with without_graphs():
        apply(folder / "model.keras", tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.shape == (40 * about["scale"], 50 * about["scale"]) and out.crs == scene.crs
        assert out.bounds == pytest.approx(scene.bounds)
    header = (folder / "history.csv").read_text().splitlines()[0].split(",")
    assert {"step", "seconds", "loss", "method"} <= set(header)


def test_a_view_from_the_ground_is_not_put_on_a_map(smoke_run, tmp_path):
    from helpers.apply import apply

    (path,) = (path for path in SCORED if path not in SCORED[:-1])
    scenes.write(packs.open_scene("landsat8_itaipu").cut(300, 300, 64, 64), tmp_path / "in.tif")
    with pytest.raises(ValueError, match="windows need images of any size"):
        apply(smoke_run / path.stem / "model.keras", tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    assert path.stem.startswith("06") and not (tmp_path / "out.tif").exists()


def test_a_notebook_that_starts_from_shipped_weights_is_good_at_once(smoke_run):
    """Few steps from nothing gain nothing; a few from the weights keep what they gain, here on smaller tiles."""
    entry = paths.read_json(smoke_run / "02_srcnn_super_resolution" / "metrics.json")
    start = entry["parameters"]["start_from"]
    known = paths.read_json(paths.ROOT / "data" / "weights" / f"{start}.json")["provenance"]["scores"]
    headline, plain = (row for row in entry["scores"] if row["role"] == "model")
    assert headline["headline"] and headline["gain_psnr_db"] == pytest.approx(known["gain_psnr_db"], abs=0.2)
    assert plain["gain_psnr_db"] < 0


@pytest.fixture(scope="session")
def acquired(smoke_run):
    """Folder of the data sets that notebook 01 acquired in the smoke run."""
    (folder,) = (smoke_run.parent / "data" / "acquired" / "smoke").glob("practice_*")
    return folder


def test_a_planted_key_is_found_nowhere(smoke_run, acquired):
    """The practice server wants keys, and got this one; it stands in no notebook, log, manifest, report or store."""
    forms = {PLANTED, quote(PLANTED), quote(PLANTED, safe=""), quote_plus(PLANTED)}
    own = [path for path in smoke_run.parent.rglob("*") if not {"packs", "views"} & set(path.parts)]
    files = [path for path in own if path.is_file()]
    assert len(files) > 100 and any(path.name == "manifest.csv" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(form.encode() in content for form in forms), path


def on_tiles(acquired):
    """Parameters of notebook 02 for those tiles, from nothing."""
    return f"source={acquired / 'tiles'}", "start_from="


@pytest.fixture(scope="session")
def trained_on_tiles(acquired, tmp_path_factory):
    """What notebook 02 made of them."""
    return run_apart("02", tmp_path_factory.mktemp("tiles"), *on_tiles(acquired))


def test_super_resolution_trains_on_the_tiles_that_were_acquired(trained_on_tiles):
    scores = paths.read_json(trained_on_tiles / "metrics.json")["scores"]
    assert {row["method"] for row in scores} == {"bicubic", "srcnn_residual", "srcnn"}


KILL = """
import os
from helpers.training.fit import State

save = State.save


def save_and_die(state, path, history):
    save(state, path, history)
    if state.path.stem == "srcnn" and history[-1]["step"] == 2 and not os.path.exists(os.environ["KILLED"]):
        open(os.environ["KILLED"], "w").close()
        os.kill(os.getpid(), 9)


State.save = save_and_die
"""


def test_a_training_that_is_killed_goes_on_and_ends_the_same(acquired, trained_on_tiles, tmp_path):
    """kill -9 in the second of two trainings, after two of its three steps; then --resume: the same weights."""
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "kill.py"  # a kernel runs it before all else
    startup.parent.mkdir(parents=True)
    startup.write_text(KILL)
    variables = {"IPYTHONDIR": str(tmp_path / "ipython"), "KILLED": str(tmp_path / "killed")}
    killed = one("02", tmp_path, *on_tiles(acquired), **variables)
    assert killed.returncode == 1 and "the notebook's process ended by itself" in killed.stderr
    assert (tmp_path / "killed").exists()
    resumed = run_apart("02", tmp_path, *on_tiles(acquired), resume=True, **variables)
    for model in ("model", "models/srcnn"):
        digests = [
            paths.read_json(folder / f"{model}.json")["weights_sha256"] for folder in (trained_on_tiles, resumed)
        ]
        assert digests[0] == digests[1], model


def test_the_data_set_has_its_manifest_and_its_split(acquired):
    assert set(scenes.SPLITS) <= set(download.read_manifest(acquired / "tiles").split)
    check_manifest(acquired / "tiles")


def check_manifest(folder):
    """Every file is there with the SHA-256 that its row has; no row lacks its credit."""
    table = download.read_manifest(folder)
    assert (table[["credit", "licence", "sha256", "source"]] != "").all(axis=None)
    for path, sha256 in zip(table.path, table.sha256, strict=True):
        assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == sha256


def test_the_report_shows_every_notebook(smoke_run):
    page = (smoke_run / "report.html").read_text(encoding="utf-8")
    assert all(path.stem.replace("_", " ") in page for path in NOTEBOOKS)
    assert len(re.findall("data:image/(png|jpeg);base64,", page)) >= 5 * len(NOTEBOOKS)
    loaded = re.findall(r"""(?:src|href|action)\s*=\s*["']?(\w+:)|url\(\s*["']?(\w+:)|@import""", page)
    assert loaded and all("data:" in kinds for kinds in loaded)  # credits name addresses; nothing is fetched from one


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_anatomy(path):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    tags = [tag for cell in code_cells(path) for tag in cell.metadata.get("tags", [])]
    assert max(lengths) <= 30 and statistics.median(lengths) <= 6
    assert tags.count("parameters") == 1
    assert not {"exercise", "solution"} & set(tags), "exercises have notebooks of their own"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_only_those_that_are_compared(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), "store them with: python -m tests.store_outputs"
    compared = [cell for cell in code_cells(path) if COMPARED in cell.metadata.get("tags", [])]
    assert len(compared) >= 2
    for cell in code_cells(path):
        assert bool(cell.outputs) == (cell in compared), "store them with: python -m tests.store_outputs"


def test_profiles_are_complete_and_allowed():
    profiles = yaml.safe_load((paths.ROOT / "notebooks" / "profiles.yaml").read_text())
    assert set(profiles) == {"smoke", "workshop", "full"}
    for notebooks in profiles.values():
        for name, values in notebooks.items():
            runs.check(values, runs.declared(name))


def shown(cell):
    """What a cell shows, as nbval compares it: without execution counts, and names of widgets, which are random.

    Printed text comes in as many pieces as the kernel happened to send: pieces that follow each other are joined.
    """
    kept = []
    for output in cell.outputs:
        output = {key: value for key, value in output.items() if key != "execution_count"}
        output.get("data", {}).pop(WIDGET, None)
        if kept and output["output_type"] == "stream" and kept[-1].get("name") == output["name"]:
            kept[-1]["text"] += output["text"]
        else:
            kept.append(output)
    return kept


def assert_shows_what_is_stored(path, executed):
    """The cells of a notebook that are marked for comparing show in an executed copy what they have stored."""
    fresh = {cell.id: shown(cell) for cell in code_cells(executed)}
    for cell in code_cells(path):
        if COMPARED in cell.metadata.get("tags", []):
            assert shown(cell) == fresh[cell.id], "store them with: python -m tests.store_outputs"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_smoke_run_shows_the_stored_outputs(smoke_run, path):
    """What nbval would find; nbval itself, below, runs only the beginning of the first, as all would take minutes."""
    assert_shows_what_is_stored(path, smoke_run / path.stem / path.name)


def test_nbval_agrees_with_the_stored_outputs_and_notices_a_changed_one(tmp_path):
    """Every cell passes but the last, which is a compared one once more, with another stored output."""
    book = nbformat.read(NOTEBOOKS[0], 4)
    first = next(at for at, cell in enumerate(book.cells) if COMPARED in cell.metadata.get("tags", []))
    book.cells, changed = book.cells[: first + 1], copy.deepcopy(book.cells[first])
    count = sum(cell.cell_type == "code" for cell in book.cells)
    changed.id, changed.outputs[0].text = "changed", changed.outputs[0].text.replace("0", "1", 1)
    book.cells.append(changed)
    nbformat.write(book, tmp_path / "book.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider", "-c", os.devnull]
    done = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "book.ipynb"], cwd=tmp_path, env=environment(tmp_path / "runs"),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and f"1 failed, {count} passed" in done.stdout, done.stdout[-3000:]
    assert f"FAILED book.ipynb::Cell {count} " in done.stdout, done.stdout[-3000:]
