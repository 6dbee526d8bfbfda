"""`python -m helpers`: messages and exit codes for people and scripts, and that nothing heavy loads before it must."""

import builtins
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from helpers import paths, runs, scenes
from helpers.__main__ import main
from tests.interrupts import press_ctrl_c

SCORES = [
    {"method": "bicubic", "role": "baseline", "split": "test", "psnr_db": 24.24},
    {"method": "srcnn", "role": "model", "headline": True, "split": "test", "psnr_db": 25.03, "gain_over": "bicubic",
     "gain_psnr_db": 0.79, "gain_psnr_db_low": 0.7, "gain_psnr_db_high": 0.88},
]  # fmt: skip
CATALOGUE = paths.ROOT / "data" / "packs.toml"
RECORD = f"run.record({SCORES}, device={{'kind': 'cpu'}}, training_seconds=1, credits=['USGS'])"
START = "from helpers import runs; run = runs.start('02_srcnn', globals())"


def python(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment(project):
    folders = {"ROOT": project, "DATA": project / "data", "RUNS": project / "runs"}
    return os.environ | {f"SATELLITE_NOTEBOOKS_{name}": str(folder) for name, folder in folders.items()}


# --- what is loaded


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom helpers.__main__ import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: code = end.code\n"
        "print(code, *sorted({'tensorflow', 'keras', 'rasterio', 'numpy', 'pandas', 'papermill'} & set(sys.modules)))"
    )
    for arguments in (["--help"], ["fetch", "--help"], ["run", "--help"], ["apply", "--help"], ["compare", "--help"]):
        *text, last = python(code, *arguments).splitlines()
        assert last == "0" and text[0].startswith("usage: python -m helpers")


def test_the_data_side_loads_nothing_heavier_than_numpy_and_rasterio():
    """What is loaded decides how long it takes, on any machine; `make bench` has the time, over that of these two."""
    code = (
        "import sys, numpy, rasterio\nbefore = set(sys.modules)\n"
        "import helpers, helpers.scenes, helpers.acquire.packs, helpers.metrics, helpers.show, helpers.runs\n"
        "more = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(*(name for name in more if not name.startswith('_')))"
    )
    assert set(python(code).split()) <= {"helpers", "rasterio", "yaml"}


# --- bad input


@pytest.mark.parametrize("arguments, message", [
    ([], "required: COMMAND"),
    (["sharpen"], "invalid choice: 'sharpen'"),
    (["run", "-p", "steps"], "invalid NAME=VALUE value: 'steps'"),
    (["apply", "model.keras"], "required: FILE"),
    (["apply", "model.keras", "in.tif", "out.tif", "--value-range", "5"], "invalid LO,HI value: '5'"),
    (["apply", "model.keras", "in.tif", "out.tif", "--value-range", "dark,bright"], "invalid LO,HI value"),
    (["apply", "model.keras", "in.tif", "out.tif", "--nodata", "auto"], "invalid VALUE value: 'auto'"),
    (["apply", "model.keras", "in.tif", "--out", "here", "--workers", "0"], "invalid N value: '0'"),
    (["export", "model.keras", "m.onnx", "--tile", "-16"], "invalid N value: '-16'"),
    (["export", "model.keras", "m.onnx", "--resolution", "-5"], "invalid CM value: '-5'"),
    (["export", "model.keras", "m.onnx", "--resolution", "nan"], "invalid CM value: 'nan'"),
])  # fmt: skip
def test_a_command_that_cannot_be_read(arguments, message, capsys):
    with pytest.raises(SystemExit) as told:
        main(arguments)
    assert told.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize("arguments, message", [
    (["run", "07"], "no notebook is called 07; there are 02_srcnn"),
    (["run", "--profile", "quick"], "unknown profile quick; known are smoke, workshop"),
    (["run", "-p", "scal=2"], "unknown parameter scal; did you mean scale? known are scale, rate"),
    (["run", "-p", "scale=0"], "parameter scale is 0; expected int: enlargement [2, 3, 4]"),
    (["run", "-p", "scale=big"], "parameter scale is 'big'; expected int"),
    (["run", "-p", "rate=2e1"], "parameter rate is 20.0; expected float: learning [0..1]"),
    (["run", "--run-id", "a/b"], "run id 'a/b': use letters"),
    (["compare", "run7"], "there is no run run7; the last ones are none"),
    (["fetch", "landsat9"], "landsat9"),
    (["apply", "sharpest", "in.tif", "in.tif"], "in.tif is the input"),
    (["apply", "sharpest", "in.tif", "out.tif"], "there is no model sharpest"),
    (["apply", "sharpest", "in.tif", "out.tif", "--value-range", "-1000,8000"], "there is no model sharpest"),
])  # fmt: skip
def test_bad_input(project, write_notebook, make_scene, monkeypatch, capsys, arguments, message):
    (project / "data").mkdir()
    shutil.copy(CATALOGUE, project / "data")
    write_notebook(
        "02_srcnn", parameters="scale: int = 4  # enlargement [2, 3, 4]\nrate: float = 0.1  # learning [0..1]"
    )
    scenes.write(make_scene(), project / "in.tif")
    monkeypatch.chdir(project)
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: ") and message in told.err
    assert not (project / "runs").exists() and not (project / "out.tif").exists()


def test_a_source_that_is_nowhere_is_refused_before_a_run_begins(project, write_notebook, capsys):
    (project / "data").mkdir()
    shutil.copy(CATALOGUE, project / "data")
    write_notebook("02_srcnn", parameters='source: str = "landsat8_itaipu"  # a pack, or a folder')
    assert main(["run", "-p", "source=no/such"]) == 2
    assert "'no/such' is neither a pack (landsat8_itaipu" in capsys.readouterr().err
    assert not (project / "runs").exists()


def test_publish_in_a_process_of_its_own():
    """TensorFlow reads what becomes the name of the program; a run that does not exist comes next."""
    command = [sys.executable, "-m", "helpers", "publish", "no-run", "02", "sharp"]
    ended = subprocess.run(command, env=environment(paths.ROOT), text=True, capture_output=True)
    assert ended.returncode == 2 and "is no model with scores of a finished run" in ended.stderr


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "ledger", interrupted)
    assert main(["compare"]) == 130
    assert "`--resume` goes on" in capsys.readouterr().err


# --- good input


def test_run_and_compare(project, write_notebook, capfd):
    write_notebook("02_srcnn", START, RECORD, parameters="rate: float = 0.1  # of learning [0..1]")
    assert main(["compare"]) == 0
    assert "there are no scores yet" in capfd.readouterr().out
    assert main(["run", "02", "-p", "rate=1e-3", "--profile", "smoke", "--run-id", "mine"]) == 0
    said = capfd.readouterr().out
    assert "mine · 02_srcnn" in said and f"report: {project / 'runs' / 'mine' / 'report.html'}" in said
    assert [line.split() for line in said.splitlines() if line.strip().startswith("srcnn ")] == [
        ["srcnn", "model", "test", "25.03", "+0.79", "[+0.7,", "+0.88]", "bicubic"]
    ]
    entry = json.loads((project / "runs" / "mine" / "02_srcnn" / "metrics.json").read_text())
    assert entry["parameters"] == {"rate": 0.001} and entry["profile"] == "smoke"
    assert main(["run", "--run-id", "mine"]) == 2
    assert "run mine exists: give --resume" in capfd.readouterr().err
    assert main(["compare", "mine"]) == 0
    assert ["bicubic", "baseline", "test", "24.24"] in list(map(str.split, capfd.readouterr().out.splitlines()))


def test_a_notebook_that_fails(project, write_notebook, capfd):
    write_notebook("02_srcnn", START, "raise ValueError('source holds no image')")
    assert main(["run"]) == 1
    error = capfd.readouterr().err
    assert "error: ValueError: source holds no image" in error and "`--resume` goes on from there" in error
    assert not list(project.glob("runs/*/*/metrics.json"))


def test_a_notebook_whose_process_dies(project, write_notebook, capfd):
    """As the system does with what takes too much memory."""
    write_notebook("02_srcnn", START, "import os; os._exit(137)")
    assert main(["run"]) == 1
    assert "error: the notebook's process ended by itself, most often for lack of memory" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT to a process of its own")
def test_ctrl_c(project, write_notebook):
    """The notebook's process ends too, nothing is recorded, and the same run goes on."""
    write_notebook("02_srcnn", START, "import os, pathlib, time; pathlib.Path('../begun').write_text(str(os.getpid()))",
                   "if not os.path.exists('../ready'): time.sleep(1000)", RECORD)  # fmt: skip
    command = [sys.executable, "-m", "helpers", "run", "--run-id", "mine"]
    running = subprocess.Popen(command, env=environment(project), text=True, stderr=subprocess.PIPE)
    try:
        begun = project / "begun"
        deadline = time.monotonic() + 120
        while not (begun.exists() and begun.read_text()):
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.05)
        kernel = int(begun.read_text())
        _, error = press_ctrl_c(running, lambda: psutil.pid_exists(kernel))
    finally:
        running.kill()  # else a failure here leaves it asleep
    assert running.returncode == 130 and "`--resume` goes on" in error
    assert "Traceback" not in error and "WARNING" not in error
    deadline = time.monotonic() + 60
    while psutil.pid_exists(kernel):
        assert time.monotonic() < deadline, "the kernel goes on"
        time.sleep(0.05)
    assert not (project / "runs" / "mine" / "02_srcnn" / "metrics.json").exists()
    (project / "ready").touch()
    assert main(["run", "--run-id", "mine", "--resume"]) == 0


def test_apply_in_a_process_of_its_own(project, make_scene):
    """A network with a layer of our own is found by whoever did not build it."""
    from helpers import models
    from tests.notebook_functions import espcn

    model = espcn(3, scale=2, filters=(4, 4), depth=1)
    bands = ["red", "green", "blue"]
    about = {
        "task": "super-resolution", "bands": bands, "bands_out": bands, "scale": 2, "size_multiple": 1,
        "value_range": [(0, 60_000)] * 3, "receptive_field_px": models.receptive_field_px(model), "credit": "USGS",
    }  # fmt: skip
    path = runs.Run("mine", "02_srcnn", "smoke", {}, project).save_model(model, **about)
    scene = make_scene(20, 30)
    scene.pixels[:] = 30_000
    scenes.write(scene, project / "in.tif")
    command = [sys.executable, "-m", "helpers", "apply", path.name, "in.tif", "out.tif"]
    done = subprocess.run(command, cwd=project, env=environment(project), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "oneDNN" not in done.stderr and "cuda" not in done.stderr.lower()
    answer = scenes.read(project / "out.tif")
    assert answer.bounds == scene.bounds and answer.pixels.shape == (40, 60, 3) and np.all(answer.pixels == 30_000)


@pytest.mark.parametrize("error, status, told", [
    ("NoSuchKernel", 1, "the notebook's kernel did not start"),
    ("RuntimeError", 1, "the notebook's kernel did not start"),
    ("DeadKernelError", 1, "most often for lack of memory"),
    ("ZeroDivisionError", 1, "error: ZeroDivisionError: python3. This is a fault of the program"),
])  # fmt: skip
def test_no_traceback_reaches_the_user(project, monkeypatch, capsys, error, status, told):
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    kinds = {"NoSuchKernel": NoSuchKernel, "DeadKernelError": DeadKernelError}
    kind = kinds.get(error) or getattr(builtins, error)

    def fails(*_, **__):
        raise kind("python3")

    monkeypatch.setattr(runs, "execute", fails)
    assert main(["run", "02"]) == status
    assert told in capsys.readouterr().err


def test_a_parameter_that_is_given_twice(project, capsys):
    assert main(["run", "02", "-p", "steps=5", "-p", "steps=7"]) == 2
    assert "a parameter is given twice: leave one out" in capsys.readouterr().err
