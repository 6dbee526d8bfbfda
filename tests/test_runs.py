"""Runs: strict parameters, one folder each, the ledger, and going on after a failure."""

import json
import math
import os
import re
import sys

import numpy as np
import pandas as pd
import pytest
from papermill import PapermillExecutionError

from helpers import paths, runs, scenes

PARAMETERS = """# a comment of its own
scale: int = 4  # enlargement of each side [2, 3, 4]
steps: int = 600  # optimiser steps [1..1000]
learning_rate: float = 0.001  # highest learning rate [0..1]
note: str = "a # inside = a string"  # what was tried
limit: int | None = None  # most tiles [1..]
bands: list[int] = [1, 2]  # which bands [1..13]
precision: str = "auto"  # numbers to compute in [auto, float32]
study: bool = False  # also the comparisons
shift: float = -0.5  # pixels, signed
buffer_px: int = 16  # between splits
seed: int = 0  # of everything"""
DEVICE = {"kind": "cpu", "precision": "float32", "tensorflow": "2", "keras": "3"}
BASELINE = {"method": "bicubic", "role": "baseline", "split": "test", "psnr_db": 24.24, "ssim": 0.678}
HEADLINE = {
    "method": "srcnn", "role": "model", "headline": True, "split": "test", "psnr_db": 25.03, "ssim": 0.728,
    "gain_over": "bicubic", "gain_psnr_db": 0.79, "gain_psnr_db_low": 0.7, "gain_psnr_db_high": 0.88,
}  # fmt: skip


@pytest.fixture
def two_notebooks(project, write_notebook):
    """A project with two notebooks and their profiles."""
    write_notebook("00_start", parameters=PARAMETERS)
    write_notebook("02_srcnn", parameters=PARAMETERS)
    profiles = "smoke:\n  02_srcnn: {steps: 6, learning_rate: 0.01}\nworkshop: {}\nwrong:\n  02_srcnn: {step: 6}\n"
    (project / "notebooks" / "profiles.yaml").write_text(profiles)
    return project


@pytest.fixture
def declared(two_notebooks):
    return runs.declared(two_notebooks / "notebooks" / "02_srcnn.ipynb")


@pytest.fixture
def run(two_notebooks, monkeypatch):
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUN_ID", "mine")
    return runs.start("02_srcnn", {"scale": 3, "note": "here", "unrelated": object()})


def record(run, *scores, **changes):
    run.record(list(scores), **{"device": DEVICE, "training_seconds": 1.25, "credits": ["USGS"]} | changes)


# --- parameters


def test_parameters_are_read_whole(declared):
    assert {name: parameter.default for name, parameter in declared.items()} == {
        "scale": 4, "steps": 600, "learning_rate": 0.001, "note": "a # inside = a string", "limit": None,
        "bands": [1, 2], "precision": "auto", "study": False, "shift": -0.5, "buffer_px": 16, "seed": 0,
    }  # fmt: skip
    assert declared["note"].help == "what was tried" and declared["limit"].type == "int | None"


@pytest.mark.parametrize("given, expected", [
    ({"scale": 2}, 2), ({"steps": 1}, 1), ({"steps": 1000}, 1000), ({"learning_rate": 1}, 1.0), ({"limit": None}, None),
    ({"limit": 3}, 3), ({"bands": [13]}, [13]), ({"bands": []}, []), ({"precision": "float32"}, "float32"),
    ({"study": True}, True), ({"shift": -3}, -3.0),
])  # fmt: skip
def test_values_that_are_allowed(declared, given, expected):
    (value,) = runs.check(given, declared).values()
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize("given, message", [
    ({"scale": 0}, r"scale is 0; expected int: enlargement of each side \[2, 3, 4\]"),
    ({"scale": "4"}, "scale is '4'; expected int"),
    ({"scale": 4.0}, "scale is 4.0; expected int"),
    ({"scale": True}, "scale is True; expected int"),
    ({"scale": None}, "scale is None; expected int"),
    ({"steps": 0}, r"steps is 0; expected int: optimiser steps \[1..1000\]"),
    ({"steps": 1001}, "steps is 1001; expected int"),
    ({"learning_rate": True}, "learning_rate is True; expected float"),
    ({"learning_rate": float("nan")}, "learning_rate is nan; expected float"),
    ({"shift": float("-inf")}, "shift is -inf; expected float"),
    ({"note": 3}, "note is 3; expected str"),
    ({"limit": []}, r"limit is \[\]; expected int"),
    ({"limit": "all"}, r"limit is 'all'; expected int \| None"),
    ({"limit": 0}, r"limit is 0; expected .* \[1..\]"),
    ({"bands": 3}, r"bands is 3; expected list\[int\]"),
    ({"bands": [1, "2"]}, r"expected list\[int\]"),
    ({"bands": [1, True]}, r"expected list\[int\]"),
    ({"bands": [1, 14]}, r"bands is \[1, 14\]; expected list\[int\]: which bands \[1..13\]"),
    ({"precision": "float64"}, r"expected str: numbers to compute in \[auto, float32\]"),
    ({"study": 1}, "study is 1; expected bool"),
    ({"learing_rate": 0.1}, "unknown parameter learing_rate; did you mean learning_rate\\? known are scale, steps"),
    ({"xyzzy": 0.1}, "unknown parameter xyzzy; known are scale, steps"),
    ({"guard_px": 8}, "unknown parameter guard_px; did you mean buffer_px\\? known are scale, .*buffer_px"),
])  # fmt: skip
def test_values_that_are_refused(declared, given, message):
    with pytest.raises(ValueError, match=message):
        runs.check(given, declared)


@pytest.mark.parametrize("source, message", [
    ("scale = 4", "`scale = 4` should read `name: type = value"),
    ("scale: int = 4  # times\nprint(scale)", "`print.scale.` should read"),
    ('note: str = """two\nlines"""', "should read"),
    (None, "0 cells are tagged `parameters`; expected one"),
])  # fmt: skip
def test_a_parameter_cell_that_is_none(write_notebook, source, message):
    with pytest.raises(ValueError, match=message):
        runs.declared(write_notebook("03_other", parameters=source))


# --- one run


def test_a_run_begins_with_a_folder_and_checked_values(run, project, capsys):
    assert run.folder == project / "runs" / "mine" / "02_srcnn" and (run.folder / "figures").is_dir()
    assert run.parameters == {"scale": 3, "note": "here"} and run.profile == "workshop"
    assert (project / "runs" / "latest").read_text() == "mine"
    with pytest.raises(ValueError, match="scale is 0"):
        runs.start("02_srcnn", {"scale": 0})


def test_a_run_in_a_browser_is_named_by_the_time(two_notebooks):
    assert re.fullmatch(r"\d{8}-\d{6}", runs.start("02_srcnn", {}).id)


def test_a_finished_run_is_never_overwritten(run):
    runs.start("02_srcnn", {"scale": 3, "note": "here"})  # not finished: goes on
    record(run, BASELINE, HEADLINE)
    before = (run.folder / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match="mine/02_srcnn already holds a finished run: choose another"):
        runs.start("02_srcnn", {})
    runs.start("00_start", {})  # another notebook of the same run
    assert (run.folder / "metrics.json").read_bytes() == before


def test_metrics_json(run):
    record(
        run, BASELINE, HEADLINE | {"psnr_db": np.float32(25.5), "parameters": np.int64(8129)}, credits=["b", "a", "b"]
    )
    entry = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert list(entry) == ["notebook", "profile", "parameters", "seed", "device", "seconds", "scores"]
    assert entry["notebook"] == "02_srcnn" and entry["profile"] == "workshop" and entry["device"] == DEVICE
    assert entry["parameters"] == {"scale": 3, "note": "here"}
    assert entry["seconds"]["training"] == 1.2 and 0 <= entry["seconds"]["total"] < 60
    assert entry["scores"] == [BASELINE, HEADLINE | {"psnr_db": 25.5, "parameters": 8129}]
    assert json.loads((run.folder / "credits.json").read_text(encoding="utf-8")) == ["a", "b"]


@pytest.mark.parametrize("scores, message", [
    ([HEADLINE], r"need a baseline and a model on the test split, and one headline; there are the roles \['model'\]"),
    ([BASELINE], r"there are the roles \['baseline'\] and the headlines \[\]"),
    ([], r"there are the roles \[\]"),
    ([BASELINE, HEADLINE | {"headline": False}], r"the headlines \[\]"),
    ([BASELINE, HEADLINE, HEADLINE | {"method": "espcn"}], r"the headlines \['srcnn', 'espcn'\]"),
    ([BASELINE | {"split": "validation"}, HEADLINE], r"there are the roles \['model'\]"),
    ([BASELINE, HEADLINE | {"psnr_db": math.inf, "ssim": math.nan}], "need finite numbers; there is .*'psnr_db': inf"),
    ([BASELINE | {"ssim": np.float32("nan")}, HEADLINE], "need finite numbers; there is .*bicubic.*'ssim': nan"),
])  # fmt: skip
def test_scores_that_are_not_whole_are_not_recorded(run, scores, message):
    with pytest.raises(ValueError, match=message):
        record(run, *scores)
    assert not (run.folder / "metrics.json").exists()


def test_notebooks_that_train_nothing_need_no_scores(run):
    record(runs.start("00_start", {}))
    assert json.loads((run.folder.parent / "00_start" / "metrics.json").read_text())["scores"] == []


def test_history_is_one_table(run):
    histories = {name: pd.DataFrame({"step": [1, 2], "psnr_db": [20.5, 21]}) for name in ("srcnn", "plain")}
    run.history(histories)
    table = pd.read_csv(run.folder / "history.csv")
    assert table.method.tolist() == ["srcnn", "srcnn", "plain", "plain"] and table.psnr_db[0] == 20.5


# --- many runs


def test_ledger(project, two_notebooks, monkeypatch):
    for number, psnr_db in enumerate([25.0, 26.0]):
        monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUN_ID", f"run{number}")
        run = runs.start("02_srcnn", {"seed": number})
        record(run, BASELINE, HEADLINE | {"psnr_db": psnr_db})
    (project / "runs" / "unfinished" / "02_srcnn").mkdir(parents=True)
    table = runs.ledger()
    assert table.run.tolist() == ["run0", "run0", "run1", "run1"] and table.seed.tolist() == [0, 0, 1, 1]
    assert table[table.role == "model"].psnr_db.tolist() == [25.0, 26.0]
    assert set(runs.ledger(["run1"]).run) == {"run1"} and len(runs.ledger(["unfinished"])) == 0
    with pytest.raises(ValueError, match="there is no run run7; the last ones are run0, run1, unfinished"):
        runs.ledger(["run1", "run7"])


# --- execution


@pytest.fixture
def nothing_runs(two_notebooks, monkeypatch):
    """Notebooks are not run but noted, with their values."""
    noted, module = {}, sys.modules["helpers.runs.execute"]  # in the package the function has taken its name
    monkeypatch.setattr(module, "_execute_one", lambda path, output, values: noted.update({path.stem: values}))
    monkeypatch.setattr(module, "write_report", lambda run_id: run_id)
    return noted


@pytest.mark.parametrize("names, options, message", [
    (["02", "07"], {}, "no notebook is called 07; there are 00_start.ipynb, 02_srcnn"),
    (["02"], {"profile": "quick"}, "unknown profile quick; known are smoke, workshop, wrong"),
    (["02"], {"profile": "wrong"}, "unknown parameter step; did you mean steps"),
    ([], {"values": {"step": 3}}, "unknown parameter step; did you mean steps"),
    ([], {"values": {"scale": 0}}, "scale is 0"),
    ([], {"run_id": "../mine"}, "run id '../mine': use letters"),
    ([], {"run_id": ".hidden"}, "run id '.hidden': use letters"),
    ([], {"run_id": ""}, "run id '': use letters"),
    ([], {"run_id": "latest"}, "run id 'latest': .* not `latest`"),
    ([], {"run_id": "taken"}, "run taken exists: give --resume"),
    ([], {"run_id": "takne", "resume": True}, "there is no run takne to go on with"),
    ([], {"resume": True}, "there is no run yet to go on with"),
])  # fmt: skip
def test_a_wrong_plan_is_refused_before_anything_runs(project, nothing_runs, names, options, message):
    (project / "runs" / "taken").mkdir(parents=True)
    with pytest.raises(ValueError, match=message):
        runs.execute(names, **options)
    assert not nothing_runs and os.listdir(project / "runs") == ["taken"]


def test_what_is_given_goes_over_the_profile(nothing_runs):
    assert re.fullmatch(r"\d{8}-\d{6}", runs.execute(profile="smoke", values={"steps": 9, "scale": 2}))
    assert nothing_runs == {
        "00_start": {"steps": 9, "scale": 2}, "02_srcnn": {"steps": 9, "scale": 2, "learning_rate": 0.01},
    }  # fmt: skip


def test_a_value_goes_to_the_notebooks_that_have_it(nothing_runs, write_notebook):
    write_notebook("01_acquire", parameters="source: str = 'a'  # where from")
    runs.execute(values={"scale": 2})
    assert nothing_runs == {"00_start": {"scale": 2}, "01_acquire": {}, "02_srcnn": {"scale": 2}}


def test_notebooks_are_chosen_by_the_beginning_of_their_names(two_notebooks, write_notebook):
    write_notebook("Untitled")
    assert [path.stem for path in runs.notebooks()] == ["00_start", "02_srcnn"]
    assert [path.stem for path in runs.notebooks(["02_srcnn.ipynb"])] == ["02_srcnn"]
    assert [path.stem for path in runs.notebooks(["02", "00"])] == ["00_start", "02_srcnn"]


def test_resuming_goes_on_with_the_latest_run(project, nothing_runs):
    first = runs.execute(run_id="first")
    (project / "runs" / "latest").write_text("first\n")
    assert runs.execute(resume=True) == first == "first"
    with pytest.raises(ValueError, match="no run second to go on with"):
        runs.execute(run_id="second", resume=True)


def test_a_failed_run_is_continued(project, two_notebooks, write_notebook, capfd):
    """The notebook that failed leaves its traceback and is run again; the finished one is not."""
    write_notebook(
        "00_start", "open('../begun', 'a').write('x')", "from helpers import runs",
        "runs.start('00_start', globals()).record([], device={}, training_seconds=0, credits=['USGS'])",
        parameters=PARAMETERS,
    )  # fmt: skip
    write_notebook(
        "02_srcnn", "from helpers import runs; run = runs.start('02_srcnn', globals())",
        "import os; assert os.path.exists('../ready'), f'{scale} is not ready'",
        f"run.record({[BASELINE, HEADLINE]}, device={DEVICE}, training_seconds=1, credits=['ESA'])",
        parameters=PARAMETERS,
    )  # fmt: skip
    before = dict(os.environ)
    with pytest.raises(PapermillExecutionError, match="3 is not ready"):
        runs.execute(profile="smoke", values={"scale": 3}, run_id="mine")
    folder = project / "runs" / "mine"
    failed = (folder / "02_srcnn" / "02_srcnn.ipynb").read_text(encoding="utf-8")
    assert "AssertionError" in failed and "3 is not ready" in failed
    assert not (folder / "02_srcnn" / "metrics.json").exists() and not (folder / "report.html").exists()
    (project / "ready").touch()
    report = runs.execute(profile="smoke", values={"scale": 3}, resume=True)
    assert report == folder / "report.html" and report.exists()
    assert "00_start: already finished in run mine" in capfd.readouterr().out
    assert (project / "begun").read_text() == "x"
    entry = json.loads((folder / "02_srcnn" / "metrics.json").read_text(encoding="utf-8"))
    assert entry["profile"] == "smoke" and entry["seconds"]["training"] == 1
    assert entry["parameters"] | {"scale": 3, "steps": 6, "learning_rate": 0.01} == entry["parameters"]
    assert dict(os.environ) == before  # a run leaves no trace in the process that started it


# --- the identity of a run


def test_resuming_without_arguments_repeats_those_of_the_run(project, nothing_runs):
    runs.execute(["02"], profile="smoke", values={"steps": 9}, run_id="mine")
    (project / "runs" / "latest").write_text("mine\n")
    expected = dict(nothing_runs)
    nothing_runs.clear()
    assert runs.execute(resume=True) == "mine"
    assert nothing_runs == expected == {"02_srcnn": {"steps": 9, "learning_rate": 0.01}}


@pytest.mark.parametrize("now, told", [
    ({"values": {"scale": 2, "seed": 5}}, "notebooks/02_srcnn.ipynb was {'scale': 2}, now {'scale': 2, 'seed': 5}"),
    ({"values": {"seed": 5}}, "notebooks/02_srcnn.ipynb was {'scale': 2}, now {'seed': 5}"),
    ({"values": {"scale": 2}, "profile": "smoke"}, "profile was 'workshop', now 'smoke'"),
    ({"values": {"scale": 2}, "names": ["00"]}, "notebooks/02_srcnn.ipynb was {'scale': 2}, now None; "),
])  # fmt: skip
def test_a_run_that_was_begun_otherwise_is_not_gone_on_with(nothing_runs, monkeypatch, now, told):
    runs.execute(["02"], values={"scale": 2}, run_id="mine")
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUN_ID", "mine")
    defaults = {name: each.default for name, each in runs.declared(runs.notebooks(["02"])[0]).items()}
    runs.start("02_srcnn", defaults | {"scale": 2})
    nothing_runs.clear()
    now = {"names": ["02"], "profile": "workshop"} | now
    with pytest.raises(ValueError, match=f"run mine was begun otherwise: .*{told}"):
        runs.execute(now.pop("names"), **now, run_id="mine", resume=True)
    assert not nothing_runs


def test_other_files_are_another_run(project, write_notebook, monkeypatch, make_scene):
    """The pixels behind a VRT change, the VRT itself does not."""
    write_notebook("03_more", parameters="source: str = ''  # where from")
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUN_ID", "mine")
    scenes.write(make_scene(bands=["a"], dtype="float32"), project / "data.tif")
    (project / "in.vrt").write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">data.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )
    given = {"source": str(project / "in.vrt")}
    runs.start("03_more", given)
    runs.start("03_more", given)
    os.utime(project / "data.tif", (1, 1))
    with pytest.raises(ValueError, match="files of source was"):
        runs.start("03_more", given)


def test_two_runs_in_one_second_have_folders_of_their_own(two_notebooks):
    names = [runs.start("02_srcnn", {}).id for _ in range(3)]
    assert len(set(names)) == 3


def test_a_run_that_is_going_on_is_not_joined(project, nothing_runs):
    runs.execute(["02"], run_id="mine")
    told, lock = "run mine is going on already", project / "runs" / "mine" / ".lock"
    with paths.claimed(lock, "run mine is going on already"), pytest.raises(ValueError, match=told):
        runs.execute(run_id="mine", resume=True)


@pytest.mark.parametrize("text", ["2020-05-01", "no", "123", "/data/area #2", "null", "a: b", "[x", "1e3", ""])
def test_text_stays_as_it_stands(nothing_runs, text):
    runs.execute(["02"], values={"note": text}, run_id="mine")
    assert nothing_runs["02_srcnn"]["note"] == text


@pytest.mark.parametrize("name, text, value", [
    ("steps", "10", 10), ("limit", "null", None), ("bands", "[1, 2]", [1, 2]), ("study", "true", True),
    ("shift", "1e-3", 0.001), ("steps", "010", None), ("steps", "1:30", None), ("steps", "2020-05-01", None),
    ("bands", "[010]", None), ("learning_rate", "1,5", None),
    ("study", "yes", None), ("learning_rate", "NaN", None), ("bands", "[1, 2", None),
])  # fmt: skip
def test_values_on_the_command_line_are_read_by_type(nothing_runs, name, text, value):
    if value is None and name != "limit":
        with pytest.raises(ValueError, match=f"parameter {name} is .*expected"):
            runs.execute(["02"], values={name: text})
    else:
        runs.execute(["02"], values={name: text})
        assert nothing_runs["02_srcnn"][name] == value


def test_a_relative_source_is_seen_from_where_the_user_stands(project, nothing_runs, write_notebook, monkeypatch):
    write_notebook("03_more", parameters="source: str = ''  # where from")
    for name in ("tiles", "blue_marble"):
        (project / "elsewhere" / name).mkdir(parents=True)
    monkeypatch.setattr("helpers.acquire.packs.catalogue", lambda: {"blue_marble": None})
    monkeypatch.chdir(project / "elsewhere")
    runs.execute(["03"], values={"source": "tiles"})
    assert nothing_runs["03_more"]["source"] == str(project / "elsewhere" / "tiles")
    runs.execute(["03"], values={"source": "blue_marble"})
    assert nothing_runs["03_more"]["source"] == "blue_marble"
