"""Running notebooks with papermill: profiles, parameters, one folder, and going on after an interruption."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

from helpers import paths
from helpers.acquire import packs
from helpers.runs import parameters as parameter_cells
from helpers.runs.report import write_report
from helpers.runs.run import INPUTS, check_run_id, claim, identity, refuse_changes

DEFAULT_PROFILE = "workshop"


def notebooks(names=()):
    """Find notebooks by the beginning of their names.

    Args:
        names: such as "02", "deeper/02b" or "exercises/02"; default: the lessons alone.

    Returns:
        list of Path, sorted.

    Raises:
        ValueError: a name that fits no notebook (names all of them).
    """
    folder = paths.ROOT / "notebooks"
    lessons = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    others = sorted([*folder.glob("deeper/*.ipynb"), *folder.glob("exercises/*.ipynb")])
    known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in lessons + others}
    chosen = set()
    for name in names:
        found = {path for key, path in known.items() if key.startswith(name.removesuffix(".ipynb"))}
        if not found:
            raise ValueError(f"no notebook is called {name}; there are {', '.join(known)}")
        chosen |= found
    return sorted(chosen) if names else lessons


def execute(names=(), *, profile=None, values=None, run_id=None, resume=False):
    """Run notebooks one after another into one run folder, then write its report.

    Every value is checked before the first notebook starts, and goes to those that have such a parameter.

    Args:
        names: beginnings of notebook names; all by default.
        profile: name in `notebooks/profiles.yaml`; default: workshop.
        values: dict of parameters that override the profile's. A text is read as the type of its parameter.
        run_id: of the run; default: the time.
        resume: go on with a run of that id, or the latest: finished notebooks are left as they are, trainings
            continue. Without notebooks, profile and values, those of that run are taken.

    Returns:
        Path of the report.

    Raises:
        ValueError: unknown notebook, profile or parameter, a wrong value, a run id that is already in use, or
            a run that was begun otherwise (says what differs).
        papermill.PapermillExecutionError: a notebook failed; its output notebook holds the traceback.
        RuntimeError: the kernel of a notebook died.
    """
    if run_id is None and resume and (paths.RUNS / "latest").exists():
        run_id = (paths.RUNS / "latest").read_text(encoding="utf-8").strip()
    order = {"notebooks": list(names), "profile": profile, "values": values or {}}
    if resume and run_id and order == {"notebooks": [], "profile": None, "values": {}}:
        order = _begun(check_run_id(run_id)) or order
    chosen = notebooks(order["notebooks"])
    profile = order["profile"] or DEFAULT_PROFILE
    planned = plan(chosen, profile, order["values"])
    if run_id and (paths.RUNS / check_run_id(run_id)).exists():
        if not resume:
            raise ValueError(f"run {run_id} exists: give --resume to go on with it, or choose another --run-id")
        _refuse_changes(run_id, profile, planned)
    else:
        run_id = claim(run_id)
    folder = paths.RUNS / run_id
    values = {name: value for given in planned.values() for name, value in given.items() if name in order["values"]}
    names = [path.relative_to(paths.ROOT / "notebooks").with_suffix("").as_posix() for path in chosen]
    told = {"notebooks": names, "profile": profile, "values": values}
    with paths.claimed(folder / ".lock", f"run {run_id} is going on already, in process"):
        paths.write_json(folder / "run.json", told)
        _execute_all(run_id, profile, chosen, planned)
    return write_report(run_id)


def _execute_all(run_id, profile, chosen, planned):
    folder = paths.RUNS / run_id
    roots = {"ROOT": paths.ROOT, "DATA": paths.DATA, "RUNS": paths.RUNS}
    with _environment(RUN_ID=run_id, PROFILE=profile, STATIC="1", **roots):
        for notebook in chosen:
            if (folder / notebook.stem / "metrics.json").exists():
                print(f"{notebook.stem}: already finished in run {run_id}")
                continue
            print(f"\n{notebook.stem}")
            _execute_one(notebook, folder / notebook.stem / notebook.name, planned[notebook.stem])


def _begun(run_id):
    """Return the arguments that a run was begun with; None where there is no such run."""
    folder = paths.RUNS / run_id
    if folder.exists() and not (folder / "run.json").exists():
        raise ValueError(f"run {run_id} does not say how it was begun: name its notebooks and parameters")
    return paths.read_record(folder / "run.json", ("notebooks", "profile", "values")) if folder.exists() else None


def _refuse_changes(run_id, profile, planned):
    """Raise a ValueError where a run was begun with other notebooks, parameters or files."""
    order = _begun(run_id) if (paths.RUNS / run_id / "run.json").exists() else None
    if order:
        before = plan(notebooks(order["notebooks"]), order["profile"], order["values"])
        refuse_changes(run_id, {"notebooks": sorted(before)}, {"notebooks": sorted(planned)})
    for notebook, given in planned.items():
        now = {"profile": profile} | _whole(notebook, given)
        if order:
            refuse_changes(run_id, {"profile": order["profile"]} | _whole(notebook, before[notebook]), now)
        job = paths.RUNS / run_id / notebook / "job.json"
        if job.exists():
            refuse_changes(run_id, paths.read_record(job), identity(notebook, profile, _whole(notebook, given)))


def _whole(notebook, given):
    """Return all parameters of a notebook, those that are not given by default."""
    declared = parameter_cells.declared(notebook)
    defaults = {name: parameter.default for name, parameter in declared.items()}
    return parameter_cells.check(defaults | given, declared)


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
    profile = profile or DEFAULT_PROFILE
    if profile not in profiles:
        raise ValueError(f"unknown profile {profile}; known are {', '.join(profiles)}")
    declared = {notebook.stem: parameter_cells.declared(notebook) for notebook in chosen}
    everywhere = {name: parameter for each in declared.values() for name, parameter in each.items()}
    parameter_cells.check({name: value for name, value in values.items() if name not in everywhere}, everywhere)
    return {
        name: parameter_cells.check((profiles[profile].get(name) or {}) | _given(values, parameters), parameters)
        for name, parameters in declared.items()
    }


def _given(values, parameters):
    """Return the values that a notebook has, read as their types; paths as seen from here."""
    given = {}
    for name in values.keys() & parameters.keys():
        value = values[name]
        if isinstance(value, str):
            value = parameters[name].parse(value)
        if name in INPUTS and value and value not in packs.catalogue() and Path(value).exists():
            value = str(Path(value).absolute())
        given[name] = value
    return given


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
