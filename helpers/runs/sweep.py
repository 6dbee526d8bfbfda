"""Sweep a grid over a notebook's parameters: a run for each cell, one table of scores."""

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext

from helpers import paths
from helpers.runs.execute import plan
from helpers.runs.run import check_run_id, environment, ledger, refuse_changes

ALONE = """
import json, os, sys, threading
from helpers import runs

def end_with_parent():  # even of kill -9: the input ends then
    os.read(0, 1)
    os._exit(1)

threading.Thread(target=end_with_parent, daemon=True).start()
runs.execute(**json.loads(sys.argv[1]))
"""
LOST = "the process ended by itself, most often for lack of memory: fewer workers need less"


def sweep(
    name, notebook, grid, *, profile="workshop", values=None, executor=None, workers=1
):
    """Run a notebook once for every combination of the values of some of its parameters.

    Every cell of the grid is a run in a process of its own, named after the sweep and the cell's
    parameters. A cell that fails leaves its traceback in `error.txt` of its run, and the others go
    on. Called again, a sweep leaves finished cells as they are, goes on with interrupted ones, and
    tries failed ones once more. A grid of more values adds cells; cells that are no longer asked
    for stay in the table.

    Args:
        name: of the sweep; the ids of its runs begin with it.
        notebook: beginning of a notebook's name.
        grid: dict from parameter to the list of its values.
        profile: name in `notebooks/profiles.yaml`.
        values: dict of parameters that are the same in every cell.
        executor: any `concurrent.futures.Executor` whose workers see the same folders, such as
            Dask's `client.get_executor()`; it is left open. Default: processes on this machine,
            which end when this one does.
        workers: how many cells at a time where there is no `executor`.

    Returns:
        pandas.DataFrame, see `sweep_table`.

    Raises:
        ValueError: unknown notebook, profile or parameter, a wrong value anywhere in the grid, a
            sweep of that name that is running or was begun with other settings; nothing has run
            then.
    """
    path = _path(name)
    values = values or {}
    stem, cells = _cells(name, notebook, grid, profile, values)
    entry = {
        "notebook": stem,
        "profile": profile,
        "values": values,
        "grid": sorted(grid),
    }
    begun = paths.read_json(path) if path.exists() else entry | {"cells": {}}
    refuse_changes(f"sweep {name}", begun, begun | entry)
    lock = path.with_suffix(".lock")
    own = ThreadPoolExecutor(workers) if executor is None else nullcontext(executor)
    with (
        paths.claimed(lock, f"sweep {name} is running already"),
        own as pool,
    ):
        paths.write_json(path, entry | {"cells": begun["cells"] | cells})
        waiting = [run_id for run_id in cells if _state(run_id, stem)[0] != "finished"]
        print(f"sweep {name}: {len(cells)} cells, {len(waiting)} of them to run")
        job = {"names": [notebook], "profile": profile, "resume": True}
        futures = {}
        for run_id in waiting:
            cell = job | {"run_id": run_id, "values": values | cells[run_id]}
            futures[pool.submit(_run_cell, cell, environment(SWEEP=1))] = run_id
        try:
            for future in as_completed(futures):
                run_id = futures[future]
                error = future.exception()
                if error:  # the executor's own, as when its worker died
                    paths.write_text(paths.RUNS / run_id / "error.txt", repr(error))
                print(f"{run_id}: {_state(run_id, stem)[0]}")
        finally:  # after Ctrl-C: those that have not begun
            for future in futures:
                future.cancel()
    return sweep_table(name)


def sweep_table(name):
    """Read the table of a sweep as it stands now, without running anything.

    Args:
        name: of the sweep.

    Returns:
        pandas.DataFrame, a row for each cell and method: the parameters of the grid, the columns of
        `ledger`, `state` ("finished", "failed" or "unfinished") and `error`, the traceback. A cell
        without scores has one row.

    Raises:
        ValueError: there is no sweep of that name.
    """
    import pandas as pd

    path = _path(name)
    rows = []
    if not path.exists():
        raise ValueError(f"there is no sweep {name}: {path} is missing")
    entry = paths.read_json(path)
    for run_id, cell in entry["cells"].items():
        state, error = _state(run_id, entry["notebook"])
        about = {"run": run_id, "notebook": entry["notebook"]}
        about |= cell | {"state": state, "error": error}
        scores = ledger([run_id]).to_dict("records") if state == "finished" else [{}]
        rows += [row | about for row in scores]
    return pd.DataFrame(rows)


def _path(name):
    return paths.RUNS / f"{check_run_id(name)}.sweep.json"


def _state(run_id, notebook):
    """Return "finished", "failed" or "unfinished", and the traceback or ""."""
    folder = paths.RUNS / run_id
    if (folder / notebook / "metrics.json").exists():
        return "finished", ""
    if (folder / "error.txt").exists():
        return "failed", (folder / "error.txt").read_text(encoding="utf-8")
    return "unfinished", ""


def _cells(name, notebook, grid, profile, values):
    """Check every cell of the grid.

    Returns:
        str, the notebook's name, and a dict from the id of a run to the values of its cell.
    """
    wrong = [
        key
        for key, choices in grid.items()
        if isinstance(choices, str) or not choices or key in values
    ]
    if wrong or not grid:
        raise ValueError(
            f"the grid is {grid!r}; expected a list of values for each parameter, such as "
            "{'seed': [0, 1, 2]}, and no fixed value beside it"
        )
    cells = {}
    for combination in itertools.product(*grid.values()):
        given = values | dict(zip(grid, combination, strict=True))
        planned = plan([notebook], profile, given)
        if len(planned) > 1:
            raise ValueError(
                f"a sweep takes one notebook; {notebook} begins {', '.join(planned)}"
            )
        ((path, parameters),) = planned.items()
        cell = {key: parameters[key] for key in grid}
        # readably, and by a digest of all parameters
        told = "-".join(f"{key}-{cell[key]}" for key in sorted(cell))
        plain = re.sub("[^a-z0-9_.-]", "_", told)[:100]
        job = json.dumps([path, profile, parameters], sort_keys=True)
        digest = hashlib.sha256(job.encode()).hexdigest()
        cells[f"{name}-{plain}-{digest[:8]}"] = cell
    return paths.Path(path).stem, cells


def _run_cell(job, variables):
    """Run one cell in a process of its own; it writes `log.txt` and, if it fails, `error.txt`."""
    folder = paths.Path(variables["SATELLITE_NOTEBOOKS_RUNS"], job["run_id"])
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    error = folder / "error.txt"
    error.unlink(missing_ok=True)
    command = [sys.executable, "-c", ALONE, json.dumps(job)]
    with open(log, "wb") as said:
        options = {"env": os.environ | variables, "stdout": said, "stderr": said}
        with subprocess.Popen(command, stdin=subprocess.PIPE, **options) as process:
            status = process.wait()
    if status:
        told = log.read_text(encoding="utf-8", errors="replace")
        is_lost = status < 0 or "DeadKernelError" in told
        paths.write_text(error, told + f"\n{LOST} (status {status})" * is_lost)
