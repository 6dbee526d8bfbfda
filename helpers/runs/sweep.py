"""Sweeps: a grid over the parameters of a notebook, a run for each cell of the grid, one table of all scores."""

import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from pathlib import Path

from helpers import paths
from helpers.runs import parameters as parameter_cells
from helpers.runs.execute import execute, notebooks, plan
from helpers.runs.run import check_run_id, ledger

ALONE = "import sys; from helpers.runs.sweep import _alone; _alone(sys.argv[1])"
LOST = "the process ended by itself, most often for lack of memory: fewer workers or smaller parameters need less"
INTERRUPTED = (130, -signal.SIGINT, 0xC000013A)  # the last on Windows: Ctrl-C while Python starts


def sweep(name, notebook, grid, *, profile="workshop", values=None, executor=None, workers=1):
    """Run a notebook once for every combination of the values that some of its parameters are given.

    Every cell of the grid is a run in a process of its own, named after the sweep and the cell's parameters. A cell
    that fails leaves its traceback in `error.txt` of its run, and the others go on. Called again, a sweep leaves
    finished cells as they are, goes on with interrupted ones, and tries failed ones once more. A grid of more values
    adds cells; cells that are no longer asked for stay in the table.

    Args:
        name: of the sweep; the ids of its runs begin with it.
        notebook: beginning of a notebook's name.
        grid: dict from parameter to the list of its values.
        profile: name in `notebooks/profiles.yaml`.
        values: dict of parameters that are the same in every cell.
        executor: any `concurrent.futures.Executor` whose workers see the same folders, such as Dask's
            `client.get_executor()`; it is left open. Default: processes on this machine, which end when this one does.
        workers: how many cells at a time where there is no `executor`.

    Returns:
        pandas.DataFrame, see `sweep_table`.

    Raises:
        ValueError: unknown notebook, profile or parameter, a wrong value anywhere in the grid, a sweep of that name
            that is running, or has another notebook, profile or fixed parameters, or a run that is in the way; nothing
            has run then.
    """
    entry = _planned(name, notebook, grid, profile, values or {})
    cells, notebook = entry["cells"], entry["notebook"]
    _refuse_changes(name, entry)
    common = {"names": [notebook], "profile": profile}
    environment = {f"SATELLITE_NOTEBOOKS_{name}": str(getattr(paths, name)) for name in ("ROOT", "DATA", "RUNS")}
    claim = paths.claimed(paths.RUNS / f".{name}.sweep.lock", f"sweep {name} is running already, in process")
    with claim, ThreadPoolExecutor(workers) if executor is None else nullcontext(executor) as pool:
        paths.write_json(_path(name), entry | {"cells": _begun(name, entry)["cells"] | cells})
        waiting = {run_id: cell for run_id, cell in cells.items() if _state(run_id, notebook)[0] != "finished"}
        print(f"sweep {name}: {len(cells)} cells, {len(cells) - len(waiting)} already finished")
        futures = {
            pool.submit(_run_cell, common | {"run_id": run_id, "values": entry["fixed"] | cell}, environment): run_id
            for run_id, cell in waiting.items()
        }
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                run_id = futures[future]
                if future.exception():  # the executor's own, as when its worker died
                    told = "".join(traceback.format_exception(future.exception()))
                    paths.write_text(paths.RUNS / run_id / "error.txt", told)
                print(f"[{count}/{len(waiting)}] {run_id}: {_state(run_id, notebook)[0]}")
        finally:  # after Ctrl-C: those that have not begun
            for future in futures:
                future.cancel()
    return sweep_table(name)


def sweep_table(name):
    """The table of a sweep as it stands now, without running anything.

    Args:
        name: of the sweep.

    Returns:
        pandas.DataFrame, a row for each cell and method: the parameters of the grid, the columns of `ledger`, `state`
        ("finished", "failed" or "unfinished") and `error`, the traceback. A cell without scores has one row.

    Raises:
        ValueError: there is no sweep of that name (names those that there are).
    """
    import pandas as pd

    if not _path(name).exists():
        known = sorted(path.name.removesuffix(".sweep.json") for path in paths.RUNS.glob("*.sweep.json"))
        raise ValueError(f"there is no sweep {name}; there are {', '.join(known) or 'none'}")
    entry = paths.read_json(_path(name))
    about = {"notebook": entry["notebook"], "profile": entry["profile"], "seed": entry["fixed"].get("seed")}
    table = pd.DataFrame([{"run": run_id} | about | cell for run_id, cell in entry["cells"].items()])
    states = pd.DataFrame(
        [(run_id, *_state(run_id, entry["notebook"])) for run_id in table.run], columns=["run", "state", "error"]
    )
    finished = states.run[states.state == "finished"].tolist()
    if finished and len(scores := ledger(finished)):
        scores = scores.drop(columns=table.columns.drop("run"), errors="ignore")
        table = table.merge(scores, on="run", how="left")
    return table.merge(states, on="run")


def _path(name):
    return paths.RUNS / f"{check_run_id(name)}.sweep.json"


def _state(run_id, notebook):
    """("finished" or "failed" or "unfinished", traceback or "")."""
    folder = paths.RUNS / run_id
    if (folder / notebook / "metrics.json").exists():
        return "finished", ""
    error = folder / "error.txt"
    return ("failed", error.read_text(encoding="utf-8")) if error.exists() else ("unfinished", "")


def _planned(name, notebook, grid, profile, values):
    """What `NAME.sweep.json` holds for this grid, everything checked."""
    chosen = notebooks([notebook])
    if len(chosen) > 1:
        raise ValueError(f"a sweep takes one notebook; {notebook} begins {', '.join(path.stem for path in chosen)}")
    if not grid:
        raise ValueError("the grid names no parameter; expected a dict such as {'seed': [0, 1, 2]}")
    declared, checked = parameter_cells.declared(chosen[0]), {}
    for key, choices in grid.items():
        if not isinstance(choices, (list, tuple, range)) or not choices:
            raise ValueError(f"the grid gives {key} as {choices!r}; expected a list of its values, such as [0, 1, 2]")
        if key in values:
            raise ValueError(f"parameter {key} is in the grid and in the fixed values, too: leave one of them out")
        checked[key] = [parameter_cells.check({key: value}, declared)[key] for value in choices]
    fixed = {key: parameter.default for key, parameter in declared.items()}
    fixed |= plan(chosen, profile, values)[chosen[0].stem]
    cells = [dict(zip(checked, combination, strict=True)) for combination in itertools.product(*checked.values())]
    return {
        "notebook": chosen[0].stem, "profile": profile,
        "fixed": {key: value for key, value in fixed.items() if key not in grid},
        "cells": {_run_id(name, cell): cell for cell in cells},
    }  # fmt: skip


def _run_id(name, cell):
    """Readable, the same whatever the order of the grid; a digest where the letters alone may not tell cells apart."""
    told = "-".join([name, *(f"{key}-{value}" for key, value in sorted(cell.items()))])
    plain = re.sub(r"[^\w.-]+", "_", told, flags=re.ASCII)[:100]
    simple = all(isinstance(v, (int, float)) or re.fullmatch(r"[a-z0-9_.]+", str(v)) for v in cell.values())
    digest = hashlib.sha256(json.dumps(cell, sort_keys=True).encode()).hexdigest()[:8]
    return check_run_id(plain if simple and plain == told else f"{plain}-{digest}")


def _begun(name, entry):
    """What `NAME.sweep.json` holds already: this entry without cells where there is no such file."""
    return paths.read_json(_path(name)) if _path(name).exists() else entry | {"cells": {}}


def _refuse_changes(name, entry):
    """A ValueError where the sweep was begun with other settings, or a run is in the way."""
    begun = _begun(name, entry)
    before, now = ({key: each[key] for key in ("notebook", "profile")} | each["fixed"] for each in (begun, entry))
    for key in before | now:
        was, given = (repr(each[key]) if key in each else "varied" for each in (before, now))
        if was != given:
            raise ValueError(f"sweep {name} was begun with {key} {was}, and now it is {given}: choose another name")
    for run_id in entry["cells"].keys() - begun["cells"].keys():
        if (paths.RUNS / run_id).exists():
            raise ValueError(f"run {run_id} exists, and is no part of sweep {name}: choose another name")


def _run_cell(task, environment):
    """Run one cell in a process of its own, as it sets the environment; what it says goes to `log.txt` of the run."""
    folder = Path(environment["SATELLITE_NOTEBOOKS_RUNS"]) / task["run_id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").unlink(missing_ok=True)
    command = [sys.executable, "-c", ALONE, json.dumps(task)]
    environment = os.environ | environment | {"SATELLITE_NOTEBOOKS_SWEEP": "1"}
    with (
        open(folder / "log.txt", "ab") as log,
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        status = process.wait()
    if status and status not in INTERRUPTED and not (folder / "error.txt").exists():
        paths.write_text(folder / "error.txt", f"{LOST} (status {status}; log.txt may say more)")


def _alone(task):
    """What the process of a cell does: run it, and leave its error in a file."""
    # A grammar of addresses that jsonschema would build, and nothing here checks: 2.3 of papermill's 2.8 s of loading.
    sys.modules["rfc3987_syntax"] = None
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    threading.Thread(target=paths.end_with_parent, daemon=True).start()
    task = json.loads(task)
    try:
        execute(**task, resume=True)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED[0])
    except Exception as error:
        told = {PapermillExecutionError: str(error), DeadKernelError: LOST}.get(type(error)) or traceback.format_exc()
        paths.write_text(paths.RUNS / task["run_id"] / "error.txt", told)
        sys.exit(1)
