"""Run notebooks with papermill: profiles, parameters, one folder, and resuming."""

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import yaml

from helpers import paths
from helpers.acquire import packs
from helpers.runs.parameters import check, check_names, declared
from helpers.runs.report import write_report
from helpers.runs.run import INPUTS, check_run_id, claim, refuse_other_job

DEFAULT_PROFILE = "workshop"
ORDER = ("notebooks", "profile", "values")  # what `run.json` keeps of a command


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
    known = {_name(path): path for path in lessons + others}
    chosen = set()
    for name in names:
        found = [key for key in known if key.startswith(name.removesuffix(".ipynb"))]
        if not found:
            raise ValueError(f"no notebook is called {name}; there are {', '.join(known)}")
        chosen |= {known[key] for key in found}
    return sorted(chosen) if names else lessons


def _name(path):
    return path.relative_to(paths.ROOT / "notebooks").with_suffix("").as_posix()


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
    begun = None
    if run_id is not None and (paths.RUNS / check_run_id(run_id)).exists():
        if not resume:
            advice = "give --resume to go on with it, or choose another --run-id"
            raise ValueError(f"run {run_id} exists: {advice}")
        record = paths.RUNS / run_id / "run.json"
        begun = paths.read_record(record, ORDER) if record.exists() else None
    if begun and not (names or profile or values):
        names, profile, values = (begun[key] for key in ORDER)
    chosen = notebooks(names)
    profile, values = profile or DEFAULT_PROFILE, read_values(values or {}, chosen)
    planned = plan(chosen, profile, values)
    order = {"notebooks": [_name(path) for path in chosen], "profile": profile, "values": values}
    if begun:
        refuse_other_job(run_id, begun, order)
    run_id = run_id or claim()
    folder = paths.RUNS / run_id
    roots = {"ROOT": paths.ROOT, "DATA": paths.DATA, "RUNS": paths.RUNS}
    with (
        paths.claimed(folder / ".lock", f"run {run_id} is going on already, in process"),
        _environment(RUN_ID=run_id, PROFILE=profile, STATIC="1", **roots),
    ):
        paths.write_json(folder / "run.json", order)
        for notebook in chosen:
            _execute_one(notebook, folder / notebook.stem / notebook.name, planned[notebook.stem])
    return write_report(run_id)


@contextmanager
def _environment(**values):
    """Set what the kernels of the notebooks read, and set it back."""
    before = dict(os.environ)
    os.environ.update({f"SATELLITE_NOTEBOOKS_{name}": str(value) for name, value in values.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def read_values(values, chosen):
    """Read texts as the types of the notebooks' parameters; see paths from here."""
    parameters = {name: each for path in chosen for name, each in declared(path).items()}
    check_names(values, parameters)
    read = {}
    for name, value in values.items():
        if isinstance(value, str):
            value = parameters[name].parse(value)
        if name in INPUTS and value and value not in packs.catalogue() and Path(value).exists():
            value = str(Path(value).absolute())
        read[name] = value
    return read


def plan(chosen, profile, values):
    """Check the parameters of notebooks: dict from a notebook's name to the dict of those given.

    Values over those of the profile go to the notebooks that have such a parameter.
    """
    text = (paths.ROOT / "notebooks" / "profiles.yaml").read_text(encoding="utf-8")
    profiles, profile = yaml.safe_load(text), profile or DEFAULT_PROFILE
    if profile not in profiles:
        raise ValueError(f"unknown profile {profile}; known are {', '.join(profiles)}")
    values, planned = read_values(values, chosen), {}
    for path in chosen:
        parameters = declared(path)
        usual = profiles[profile].get(path.stem) or {}
        given = {name: value for name, value in values.items() if name in parameters}
        planned[path.stem] = check(usual | given, parameters)
    return planned


def _execute_one(notebook, output, values):
    """Run one notebook, unless it is finished."""
    if output.with_name("metrics.json").exists():
        print(f"{notebook.stem}: already finished in run {output.parents[1].name}")
        return
    print(f"\n{notebook.stem}")
    # a grammar of addresses that jsonschema would build, and nothing here checks: 2.3 s of loading
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    # where Ctrl-C ends a kernel while papermill asks it something, asyncio would print a traceback
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    output.parent.mkdir(parents=True, exist_ok=True)
    papermill.execute_notebook(
        notebook, output, parameters=values, cwd=notebook.parent, kernel_name="python3",
        progress_bar=sys.stderr.isatty(), stdout_file=sys.stdout,
        extra_arguments=["--log-level=CRITICAL"],  # else each kernel warns of TCP and of Ctrl-C
    )  # fmt: skip
