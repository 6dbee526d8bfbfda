"""Running notebooks with papermill: profiles, parameters, one folder, and going on after an interruption."""

import os
import re
import sys
from contextlib import contextmanager

from helpers import paths
from helpers.runs import parameters as parameter_cells
from helpers.runs.report import write_report
from helpers.runs.run import now


def notebooks(names=()):
    """Find notebooks by the beginning of their names.

    Args:
        names: such as "02", or "deeper/02b" for one that lies in `notebooks/deeper`; default: all
            lessons, and nothing of `deeper`.

    Returns:
        list of Path, sorted.

    Raises:
        ValueError: a name that fits no notebook (names all of them).
    """
    folder = paths.ROOT / "notebooks"
    lessons, deeper = sorted(folder.glob("[0-9][0-9]_*.ipynb")), sorted(folder.glob("deeper/*.ipynb"))
    known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in lessons + deeper}
    chosen = set()
    for name in names:
        found = {path for key, path in known.items() if key.startswith(name.removesuffix(".ipynb"))}
        if not found:
            raise ValueError(f"no notebook is called {name}; there are {', '.join(known)}")
        chosen |= found
    return sorted(chosen) if names else lessons


def execute(names=(), *, profile="workshop", values=None, run_id=None, resume=False):
    """Run notebooks one after another into one run folder, then write its report.

    Every value is checked before the first notebook starts, and goes to those that have such a parameter.

    Args:
        names: beginnings of notebook names; all by default.
        profile: name in `notebooks/profiles.yaml`.
        values: dict of parameters that override the profile's.
        run_id: of the run; default: the time.
        resume: go on with a run of that id: finished notebooks are left as they are, trainings continue.

    Returns:
        Path of the report.

    Raises:
        ValueError: unknown notebook, profile or parameter, a wrong value, or a run id that is already in use.
        papermill.PapermillExecutionError: a notebook failed; its output notebook holds the traceback.
        RuntimeError: the kernel of a notebook died.
    """
    chosen = notebooks(names)
    planned = plan(chosen, profile, values or {})
    run_id = _run_id(run_id, resume)
    folder = paths.RUNS / run_id
    with _environment(RUN_ID=run_id, PROFILE=profile, STATIC="1", ROOT=paths.ROOT, DATA=paths.DATA, RUNS=paths.RUNS):
        for notebook in chosen:
            if (folder / notebook.stem / "metrics.json").exists():
                print(f"{notebook.stem}: already finished in run {run_id}")
                continue
            print(f"\n{notebook.stem}")
            _execute_one(notebook, folder / notebook.stem / notebook.name, planned[notebook.stem])
    return write_report(run_id)


@contextmanager
def _environment(**values):
    """What the kernels of the notebooks read; folders are absolute, as a kernel works in another one."""
    before = dict(os.environ)
    os.environ.update({f"SATELLITE_NOTEBOOKS_{name}": str(value) for name, value in values.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def plan(chosen, profile, values):
    """The checked parameters for each of the chosen notebooks: dict from its name to a dict."""
    profiles = parameter_cells.read_yaml((paths.ROOT / "notebooks" / "profiles.yaml").read_text(encoding="utf-8"))
    if profile not in profiles:
        raise ValueError(f"unknown profile {profile}; known are {', '.join(profiles)}")
    declared = {notebook.stem: parameter_cells.declared(notebook) for notebook in chosen}
    everywhere = {name: parameter for each in declared.values() for name, parameter in each.items()}
    parameter_cells.check({name: value for name, value in values.items() if name not in everywhere}, everywhere)
    return {
        name: parameter_cells.check(
            (profiles[profile].get(name) or {}) | {key: values[key] for key in values if key in parameters}, parameters
        )
        for name, parameters in declared.items()
    }


def _run_id(run_id, resume):
    latest = paths.RUNS / "latest"
    if run_id is None:
        return latest.read_text(encoding="utf-8").strip() if resume and latest.exists() else now()
    if (paths.RUNS / check_run_id(run_id)).exists() and not resume:
        raise ValueError(f"run {run_id} exists: give --resume to go on with it, or choose another --run-id")
    return run_id


def check_run_id(run_id):
    """The id, where it can be the name of a folder; a ValueError says what it may hold."""
    if not re.fullmatch(r"[\w-][\w.-]*", run_id):
        raise ValueError(f"run id {run_id!r}: use letters, digits, '-', '_' and '.'")
    if run_id == "latest":
        raise ValueError(f"run id {run_id!r} is the name of the file that holds the newest one: choose another")
    return run_id


def _execute_one(notebook, output, values):
    import logging

    import papermill

    # where Ctrl-C ends a kernel while papermill still asks it something, asyncio would print a traceback at exit
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        notebook, output, parameters=values, cwd=notebook.parent, kernel_name="python3",
        progress_bar=sys.stderr.isatty(), stdout_file=sys.stdout,
        extra_arguments=["--log-level=CRITICAL"],  # else each kernel warns of TCP, and of being stopped by Ctrl-C
    )  # fmt: skip
