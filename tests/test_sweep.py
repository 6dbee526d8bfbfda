"""Sweeps: a grid of runs that can be killed and goes on, keeps its failures, and ends in one table."""

import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import product

import numpy as np
import psutil
import pytest

from helpers import paths, runs

PARAMETERS = """scale: int = 2  # enlargement [2, 3, 4, 8]
rate: float = 0.5  # of learning [0..1]
note: str = "none"  # what was tried
seed: int = 0  # of everything"""
GRID = {"seed": [0, 1], "scale": [2, 4]}
# Trains half-way, waits while seed 1 is held up, ends; notes each of these in a file. The score is made of parameters.
TOY = """import os, pathlib, time
from helpers import runs
run = runs.start("02_toy", globals())
noted = lambda what: open(f"../{what}", "a").write(f"{run.id} {os.getpid()}\\n")
state = run.checkpoint("toy")
if not state.exists():
    noted("trained")
    state.parent.mkdir()
    state.touch()
noted("held")
while seed == 1 and os.path.exists("../hold"):
    time.sleep(0.05)
psnr_db = 20 + scale + rate + 0.01 * seed
noted("ended")
rows = [{"method": "bicubic", "role": "baseline", "split": "test", "psnr_db": 20.0},
        {"method": "toy", "role": "model", "headline": True, "split": "test", "psnr_db": psnr_db, "ssim": 0.5}]
run.record(rows, device={"kind": "cpu"}, training_seconds=1, credits=["USGS"])"""
SWEEPING = """import sys
from helpers import runs
runs.sweep("halved", "02", eval(sys.argv[1]), workers=2)"""


class Pickling(Executor):
    """As executors of other processes and machines do: everything that goes in and out is pickled."""

    def __init__(self):
        self.pool = ThreadPoolExecutor(2)

    def submit(self, function, /, *given, **named):
        packed = pickle.dumps((function, given, named))
        return self.pool.submit(self.work, packed)

    @staticmethod
    def work(packed):
        function, given, named = pickle.loads(packed)
        return pickle.loads(pickle.dumps(function(*given, **named)))


class Broken(Executor):
    """Whose workers die."""

    def submit(self, function, /, *given, **named):
        future = Future()
        future.set_exception(OSError("the worker is gone"))
        return future


class Twice(Executor):
    """Begins the same sweep once more while it runs."""

    def submit(self, function, /, *given, **named):
        with pytest.raises(ValueError, match="sweep two is running already: wait until"):
            runs.sweep("two", "02", {"seed": [0, 1]}, executor=Never())
        return Broken().submit(function)


class Never(Executor):
    """Nothing may run."""

    def submit(self, function, /, *given, **named):
        raise AssertionError("something was run")


@pytest.fixture
def toy(project, write_notebook):
    write_notebook("02_toy", TOY, parameters=PARAMETERS)
    return project


def noted(project, what):
    """Ids of the runs that noted this, in order; one for each time."""
    path = project / what
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition):
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "waited for four minutes"
        time.sleep(0.05)


def test_a_sweep_that_is_killed_goes_on_and_ends_as_it_should(toy):
    """2 x 2; the sweeping process alone is killed, with half of the cells finished and two under way."""
    environment = os.environ | {f"SATELLITE_NOTEBOOKS_{n}": str(getattr(paths, n)) for n in ("ROOT", "DATA", "RUNS")}
    (toy / "hold").touch()
    process = subprocess.Popen([sys.executable, "-c", SWEEPING, repr(GRID)], env=environment)
    try:
        wait_until(lambda: len(noted(toy, "held")) == 4 or process.poll() is not None)
        started = psutil.Process(process.pid).children(recursive=True)
        with pytest.raises(ValueError, match="sweep halved is running already: wait until"):
            runs.sweep("halved", "02", GRID, executor=Never())
    finally:
        process.kill()
    process.wait()
    assert len(started) >= 4  # two cells, each with its kernel
    assert not psutil.wait_procs(started, timeout=60)[1], "a cell goes on although nobody waits for it"
    (toy / "hold").unlink()
    half = runs.sweep_table("halved")
    assert half.state.tolist() == ["finished"] * 4 + ["unfinished"] * 2  # each finished one has two methods

    went_on = runs.sweep("halved", "02", GRID, executor=Pickling())
    assert len(noted(toy, "held")) == 6  # all, and the two that were interrupted once more
    ids = went_on.run.unique().tolist()
    assert sorted(noted(toy, "ended")) == sorted(noted(toy, "trained")) == sorted(ids) and len(ids) == 4

    assert set(went_on.state) == {"finished"} and set(went_on.error) == {""}
    expected = [(seed, scale, psnr_db) for seed, scale in product([0, 1], [2, 4])
                for psnr_db in (20.0, 20.5 + scale + 0.01 * seed)]  # fmt: skip
    np.testing.assert_allclose(went_on[["seed", "scale", "psnr_db"]], expected, atol=1e-9)
    assert went_on.method.tolist() == ["bicubic", "toy"] * 4 and went_on.run[0].startswith("halved-scale-2-seed-0-")
    assert runs.sweep_table("halved").equals(went_on)


def test_a_cell_that_fails_is_kept_and_tried_again(project, write_notebook, capsys):
    """One cell raises, of two a process dies, the kernel or the one above it; the fourth is not touched by any."""
    trouble = (
        "mended = os.path.exists('../mended')\nif scale == 3 and not mended: raise ZeroDivisionError('too steep')\n"
        "if scale == 4: os._exit(137)\nif scale == 8: os.kill(os.getppid(), 9)"
    )
    write_notebook("02_toy", "import os", trouble, TOY, parameters=PARAMETERS)
    grid = {"scale": [3, 2]}
    table = runs.sweep("rough", "02", grid, workers=2)
    assert table.scale.tolist() == [3, 2, 2] and table.state.tolist() == ["failed", "finished", "finished"]
    assert table.psnr_db.isna().tolist() == [True, False, False] and table.notebook.tolist() == ["02_toy"] * 3
    file = project / "runs" / table.run[0] / "error.txt"
    assert table.error[0] == file.read_text() and table.error.tolist()[1:] == ["", ""]
    assert "ZeroDivisionError: too steep" in table.error[0] and "if scale == 3" in table.error[0]
    assert "\x1b" not in table.error[0] and f"{table.run[0]}: failed" in capsys.readouterr().out
    failed, finished = table.run[0], project / "runs" / table.run[1] / "02_toy" / "metrics.json"
    before = finished.read_bytes()

    table = runs.sweep("rough", "02", {"scale": [4, 8]}, workers=2)  # another grid: its cells are added
    assert table.scale.tolist() == [3, 2, 2, 4, 8] and "status" in table.error[4]
    assert all("process ended by itself, most often for lack of memory" in error for error in table.error[3:])
    (project / "mended").touch()
    table = runs.sweep("rough", "02", {"scale": [2, 3]})  # what is no longer in the grid stays in the table
    assert table.scale.tolist() == [3, 3, 2, 2, 4, 8] and table.state.tolist() == ["finished"] * 4 + ["failed"] * 2
    assert noted(project, "ended") == [finished.parts[-3], failed] and not file.exists()
    assert runs.sweep("rough", "02", {"scale": [2, 3]}, executor=Never()).equals(table)  # nothing is left to run
    assert finished.read_bytes() == before


def test_a_local_cluster_of_dask_runs_a_sweep(toy):
    """Started as in the notebook about experiments; the workers are processes of their own."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        table = runs.sweep("spread", "02", {"seed": [0, 1], "scale": [2]}, executor=client.get_executor())
    assert table.state.tolist() == ["finished"] * 4
    np.testing.assert_allclose(table.psnr_db, [20, 22.5, 20, 22.51])
    assert sorted(noted(toy, "ended")) == sorted(set(table.run))
    assert not (toy / "runs" / "latest").exists()  # that is for runs that somebody began


def test_a_sweep_is_not_run_twice_at_a_time(toy):
    """Nor by one process; once it has ended, it may be."""
    for _ in range(2):
        assert runs.sweep("two", "02", {"seed": [0]}, executor=Twice()).state.tolist() == ["failed"]


def test_an_executor_that_fails_leaves_its_error_in_the_table(toy):
    table = runs.sweep("lost", "02", {"seed": [0, 1]}, executor=Broken())
    assert table.state.tolist() == ["failed"] * 2 and all("the worker is gone" in e for e in table.error)


@pytest.mark.parametrize("grid, options, message", [
    ({"seeds": [0]}, {}, "unknown parameter seeds; did you mean seed"),
    ({"seed": [0], "scale": [2, 3, 5]}, {}, r"scale is 5; expected int: enlargement \[2, 3, 4, 8\]"),
    ({"rate": [0.5, "fast"]}, {}, "rate is 'fast'; expected float"),
    ({"seed": [0]}, {"values": {"rate": 2}}, r"rate is 2; expected float: of learning \[0..1\]"),
    ({"seed": [0]}, {"values": {"seed": 1}}, "the grid is {'seed': .0.}; expected a list .* no fixed value"),
    ({"seed": [0]}, {"profile": "quick"}, "unknown profile quick"),
    ({"note": "many"}, {}, "the grid is {'note': 'many'}; expected a list"),
    ({"seed": []}, {}, r"the grid is {'seed': \[\]}; expected a list"),
    ({}, {}, "the grid is {}; expected a list"),
    ({"seed": [0]}, {"notebook": "0"}, "takes one notebook; 0 begins notebooks/02_toy.ipynb, notebooks/03_other"),
    ({"seed": [0]}, {"notebook": "07"}, "no notebook is called 07"),
    ({"seed": [0]}, {"name": "a/b"}, "run id 'a/b': use letters"),
])  # fmt: skip
def test_a_wrong_grid_is_refused_before_anything_runs(toy, write_notebook, grid, options, message):
    write_notebook("03_other")
    with pytest.raises(ValueError, match=message):
        runs.sweep(**{"name": "wrong", "notebook": "02", "grid": grid, "executor": Never()} | options)
    assert not (toy / "runs").exists()


@pytest.mark.parametrize("change, message", [
    ({"values": {"rate": 0.25}}, "sweep s was begun otherwise: values was {}, now {'rate': 0.25}. Choose another"),
    ({"profile": "smoke"}, "profile was 'workshop', now 'smoke'"),
    ({"notebook": "03"}, "notebook was '02_toy', now '03_other'"),
    ({"grid": {"seed": [0]}}, r"grid was \['scale', 'seed'\], now \['seed'\]"),
])  # fmt: skip
def test_a_sweep_of_other_settings_needs_another_name(toy, write_notebook, change, message):
    write_notebook("03_other", parameters=PARAMETERS)
    begun = {"name": "s", "notebook": "02", "grid": {"seed": [0], "scale": [2]}}
    runs.sweep(**begun, executor=Broken())
    before = (toy / "runs" / "s.sweep.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        runs.sweep(**begun | change, executor=Never())
    assert (toy / "runs" / "s.sweep.json").read_bytes() == before


def test_every_cell_has_an_id_of_its_own(toy):
    """Letters that folders cannot have, capitals that some systems do not tell apart, numbers in any notation."""
    notes = ["a", "A", "a/b", "a_b", "a-b", "ü", "x" * 300, "x" * 301]
    table = runs.sweep("many", "02", {"note": notes, "rate": [1e-7, 1, 0.1]}, executor=Broken())
    assert len({run.lower() for run in table.run}) == 24 and all(len(run) < 120 for run in table.run)
    assert [run[:-9] for run in table.run[:3]] == [f"many-note-a-rate-{rate}" for rate in ("1e-07", "1.0", "0.1")]
    other = runs.sweep("many2", "02", {"note": ["a"]}, values={"rate": 0.1}, executor=Broken())
    again = runs.sweep("many2", "02", {"note": ["a", "b"]}, values={"rate": 0.1}, executor=Broken())
    assert again.run[0] == other.run[0] and other.run[0][-8:] == table.run[2][-8:]  # the digest is of all parameters
    again = runs.sweep("many", "02", {"rate": (0.1, 1.0), "note": notes[::-1]}, executor=Broken())
    assert again.run.tolist() == table.run.tolist()  # another order, and 1.0 for 1: the same cells
    assert dict(zip(table.run, table.note, strict=True))[table.run[23]] == "x" * 301


def test_no_table_of_nothing(toy):
    runs.sweep("some", "02", {"seed": [0]}, executor=Broken())
    with pytest.raises(ValueError, match="there is no sweep other"):
        runs.sweep_table("other")
