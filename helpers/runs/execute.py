"""Run notebooks with papermill: profiles, parameters, one folder, and resuming."""

import logging
import os
import sys
from collections import ChainMap
from pathlib import Path
from unittest import mock

import yaml

from helpers import paths
from helpers.acquire import packs
from helpers.acquire.sources import locate
from helpers.runs.parameters import check, check_names, declared, notebooks
from helpers.runs.report import write_report
from helpers.runs.run import (
    INPUTS,
    check_run_id,
    claim,
    environment,
    refuse_changes,
)


def execute(names=(), *, profile=None, values=None, run_id=None, resume=False):
    """Run notebooks one after another into one run folder, then write its report.

    Every value is checked before the first notebook starts, and goes to those that have such a
    parameter.

    Args:
        names: beginnings of notebook names; all by default.
        profile: name in `notebooks/profiles.yaml`; default: workshop.
        values: dict of parameters that override the profile's. A text is read as the type of its
            parameter.
        run_id: of the run; default: the time.
        resume: go on with a run of that id, or the latest: finished notebooks are left as they are,
            trainings continue. Without notebooks, profile and values, those of that run are taken.

    Returns:
        Path of the report.

    Raises:
        ValueError: unknown notebook, profile or parameter, a wrong value, a run id that is already
            in use, or a run that was begun otherwise (says what differs).
        papermill.PapermillExecutionError: a notebook failed; its output holds the traceback.
        RuntimeError: the kernel of a notebook died.
    """
    latest = paths.RUNS / "latest"
    if run_id is None and resume and latest.exists():
        run_id = latest.read_text(encoding="utf-8").strip()
    begun = run_id is not None and _begun(run_id, resume)
    is_asked = names or profile or values
    if resume and not begun and not is_asked:
        raise ValueError(
            f"there is no run {run_id or 'yet'} to go on with: `run` without --resume begins one"
        )
    if begun and not is_asked:
        job = begun
    else:
        profile = profile or "workshop"
        job = {"profile": profile} | plan(names, profile, values or {})
    if begun:
        refuse_changes(f"run {run_id}", begun, job)
    run_id = run_id or claim()
    folder = paths.RUNS / run_id
    told = f"run {run_id} is going on already"
    # the notebooks' processes take these over
    variables = environment(RUN_ID=run_id, PROFILE=job["profile"], STATIC=1)
    with paths.claimed(folder / ".lock", told), mock.patch.dict(os.environ, variables):
        paths.write_json(folder / "run.json", job)
        for name, given in list(job.items())[1:]:  # after the profile
            path = paths.ROOT / name
            _execute_one(path, folder / path.stem / path.name, given)
    return write_report(run_id)


def _begun(run_id, resume):
    """Return what was kept of the run when it was begun, or None for a new run."""
    folder = paths.RUNS / check_run_id(run_id)
    if folder.exists() and not resume:
        raise ValueError(
            f"run {run_id} exists: give --resume to go on with it, or choose another --run-id"
        )
    record = folder / "run.json"
    if record.exists():
        return paths.read_json(record, ["profile"])


def plan(names, profile, values):
    """Check the parameters of notebooks: values over those of the profile.

    Args:
        names: beginnings of notebook names; all lessons by default.
        profile: name in `notebooks/profiles.yaml`.
        values: dict; a text is read as the type of its parameter, paths count from here. A value
            goes to the notebooks that have such a parameter.

    Returns:
        dict from the path of a notebook in the project to the dict of the parameters that are given
        to it.

    Raises:
        ValueError: unknown notebook, profile or parameter, or a wrong value.
    """
    file = paths.ROOT / "notebooks" / "profiles.yaml"
    profiles = yaml.safe_load(file.read_bytes())
    if profile not in profiles:
        raise ValueError(f"unknown profile {profile}; known are {', '.join(profiles)}")
    parameters = {path: declared(path) for path in notebooks(names)}
    known = ChainMap(*parameters.values())
    check_names(values, known)
    values = {name: _read(known[name], value) for name, value in values.items()}
    planned = {}
    for path, found in parameters.items():
        given = {name: value for name, value in values.items() if name in found}
        given = profiles[profile].get(path.stem, {}) | given
        planned[path.relative_to(paths.ROOT).as_posix()] = check(given, found)
    return planned


def _read(parameter, value):
    """Read a text as the parameter's type; the path of a file counts from here, and must exist."""
    value = parameter.parse(value)
    if parameter.name not in INPUTS or not value or value in packs.catalogue():
        return value
    if parameter.name != "start_from":  # may be a name in data/weights
        locate(value)
    return str(Path(value).absolute()) if Path(value).exists() else value


def _execute_one(notebook, output, values):
    """Run one notebook, unless it is finished."""
    if output.with_name("metrics.json").exists():
        print(f"{notebook.stem}: already finished in run {output.parents[1].name}")
        return
    print(f"\n{notebook.stem}")
    # else jsonschema builds a grammar of addresses, which nothing here checks, in 2.3 s
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    # else asyncio prints a traceback where Ctrl-C ends a kernel while papermill asks it something
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        notebook, output, parameters=values, cwd=notebook.parent, kernel_name="python3",
        progress_bar=sys.stderr.isatty(), stdout_file=sys.stdout,
        extra_arguments=["--log-level=CRITICAL"],  # else each kernel warns of TCP and of Ctrl-C
        shutdown_kernel="immediate",  # TensorFlow takes 3 s to leave, and nothing is left to do
    )  # fmt: skip
