"""A run: one folder for everything that a notebook produced, and the ledger of scores over all of them."""

import hashlib
import itertools
import json
import math
import os
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.runs import parameters as parameter_cells
from helpers.scenes.files import files_behind

SCORED_NOTEBOOKS = ("02_", "03_", "04_", "05_", "06_")
INPUTS = ("source", "imagery", "start_from", "own_photos")  # parameters that may name files
RECORD = ("notebook", "profile", "seed", "device", "seconds", "scores")  # of `metrics.json`
TIME = "%Y%m%d-%H%M%S"  # such texts sort


def check_run_id(run_id):
    """Return the id, where it can be the name of a folder; a ValueError says what it may hold."""
    if not re.fullmatch(r"[\w-][\w.-]*", run_id):
        raise ValueError(f"run id {run_id!r}: use letters, digits, '-', '_' and '.'")
    if run_id == "latest":
        told = f"run id {run_id!r} is the name of the file that holds the newest one"
        raise ValueError(f"{told}: choose another")
    return run_id


def claim(run_id=None):
    """Make the folder of a new run, which no other process has; returns its id, by default the time."""
    if run_id is not None:
        (paths.RUNS / check_run_id(run_id)).mkdir(parents=True)
        return run_id
    time_now = f"{datetime.now():{TIME}}"
    for number in itertools.count(1):
        run_id = time_now if number == 1 else f"{time_now}-{number}"
        try:
            (paths.RUNS / run_id).mkdir(parents=True)
        except FileExistsError:
            continue
        return run_id


def identity(notebook, profile, parameters):
    """Describe a job: notebook, profile, parameters, and the state of the files that they name."""
    files = {}
    for name in INPUTS:
        value = parameters.get(name)
        places = [Path(place, value).expanduser() for place in ("", paths.DATA, paths.ROOT)] if value else []
        path = next((place for place in places if place.exists()), None)
        if path:
            state = json.dumps(files_behind(path))
            files[f"files of {name}"] = hashlib.sha256(state.encode()).hexdigest()
    job = {"notebook": notebook, "profile": profile} | parameters | files
    return json.loads(json.dumps(job))


def refuse_changes(run_id, before, now):
    """Raise a ValueError where a run was begun with another job (says what differs)."""
    absent = "none"
    told = [
        f"{name} was {before.get(name, absent)!r}, now {now.get(name, absent)!r}"
        for name in before | now
        if before.get(name, absent) != now.get(name, absent)
    ]
    if told:
        raise ValueError(
            f"run {run_id} was begun otherwise: {'; '.join(told)}. `run --run-id {run_id} --resume` alone goes "
            "on as it was begun; or choose another run id"
        )


def start(notebook, values):
    """Begin a run of a notebook: check its parameters, make its folder.

    Args:
        notebook: name of the notebook without suffix.
        values: dict that holds the parameters among other things; a notebook passes `globals()`.

    Returns:
        Run.

    Raises:
        ValueError: a parameter of wrong type or range, a run of that id that is already finished, or one
            that was begun otherwise (says what differs).
    """
    declared = parameter_cells.declared(notebook)
    chosen = parameter_cells.check({name: values[name] for name in declared if name in values}, declared)
    run_id = os.environ.get("SATELLITE_NOTEBOOKS_RUN_ID") or claim()
    profile = os.environ.get("SATELLITE_NOTEBOOKS_PROFILE", "workshop")
    folder = paths.RUNS / run_id / notebook
    if (folder / "metrics.json").exists():
        raise ValueError(f"{folder} already holds a finished run: choose another run id, or delete that folder")
    job = identity(notebook, profile, chosen)
    if (folder / "job.json").exists():
        refuse_changes(run_id, paths.read_json(folder / "job.json"), job)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    paths.write_json(folder / "job.json", job)
    paths.write_text(folder / "started.txt", f"{datetime.now():{TIME}}")
    if "SATELLITE_NOTEBOOKS_SWEEP" not in os.environ:  # `--resume` goes on with a run that somebody began
        paths.write_text(paths.RUNS / "latest", run_id + "\n")
    print(f"run {run_id} · {notebook} · profile {profile} · seed {chosen.get('seed')}")
    return Run(run_id, notebook, profile, chosen, folder)


@dataclass
class Run:
    """One notebook's part of a run: the run's id, which several notebooks may share, and the notebook's own folder."""

    id: str
    notebook: str
    profile: str
    parameters: dict
    folder: Path
    _began: float = field(default_factory=time.perf_counter, repr=False)

    def checkpoint(self, method):
        """File that holds the training state of a method, so that an interrupted run can go on."""
        return self.folder / "checkpoints" / f"{method}.npz"

    def figure(self, name, figure):
        """Save a matplotlib figure as PNG, and return it, so that a cell that ends with this call shows it."""
        with paths.atomic(self.folder / "figures" / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120)
        return figure

    def history(self, histories):
        """Write `history.csv`: of a dict from method to pandas.DataFrame, one of all, with a column `method`."""
        import pandas as pd

        table = pd.concat([history.assign(method=method) for method, history in histories.items()])
        paths.write_text(self.folder / "history.csv", table.to_csv(index=False))
        return table

    def save_model(self, model, *, method=None, **about):
        """Save a network, ready for inference, with what is needed to apply it; returns the path of the .keras file.

        Args:
            model: keras.Model.
            method: name of a model that is not the headline; the headline becomes `model.keras`.
            **about: the fields of `model.json`: task, bands, bands_out, scale, value_range, size_multiple,
                receptive_field_px, credit.
        """
        path = self.folder / (f"models/{method}.keras" if method else "model.keras")
        with paths.atomic(path) as temporary:
            model.save(temporary)
        digest = hashlib.sha256(b"".join(weight.tobytes() for weight in model.get_weights()))
        paths.write_json(path.with_suffix(".json"), about | {"weights_sha256": digest.hexdigest()})
        return path

    def record(self, scores, *, device, training_seconds, credits):
        """Write `credits.json` and `metrics.json`: the run is finished.

        Args:
            scores: list of dict as DESIGN's `metrics.json` has them.
            device: dict from `Device.record()`.
            training_seconds: spent in training steps.
            credits: list of credit lines of all imagery shown or learned from.

        Raises:
            ValueError: no baseline, no or several headline rows, or a score that is not finite.
        """
        scores = [{key: value.tolist() if isinstance(value, np.generic) else value for key, value in row.items()}
                  for row in scores]  # fmt: skip
        for row in scores:
            wrong = [key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
            if wrong:
                raise ValueError(f"{row['method']}: {', '.join(wrong)} is not a finite number")
        if self.notebook.startswith(SCORED_NOTEBOOKS):
            roles = {row["role"] for row in scores if row["split"] == "test"}
            headlines = [row["method"] for row in scores if row.get("headline")]
            if not {"baseline", "model"} <= roles or len(headlines) != 1:
                raise ValueError(
                    "scores need a baseline and a model on the test split, and one headline; there are "
                    f"{', '.join(sorted(roles)) or 'none'}, and the headlines {headlines}"
                )
        seconds = {"training": training_seconds, "total": time.perf_counter() - self._began}
        paths.write_json(self.folder / "credits.json", sorted(set(credits)))
        paths.write_json(self.folder / "metrics.json", {
            "notebook": self.notebook, "profile": self.profile, "parameters": self.parameters,
            "seed": self.parameters.get("seed"), "device": device,
            "seconds": {name: round(value, 1) for name, value in seconds.items()}, "scores": scores,
        })  # fmt: skip
        print(f"recorded in {self.folder}")


def finished(run_ids=None):
    """Where the scores of runs are: dict from run id to the list of `metrics.json` of its finished notebooks.

    Args:
        run_ids: names of runs, or of sweeps, which stand for their cells; default: all runs.

    Raises:
        ValueError: a name that is neither a run nor a sweep (names the runs begun last).
    """
    known = sorted(path.name for path in paths.RUNS.glob("*") if path.is_dir())
    chosen = []
    for name in run_ids or known:
        sweep = paths.RUNS / f"{name}.sweep.json"
        if name not in known and not sweep.exists():
            newest = sorted(known, key=_begun)[-5:]
            raise ValueError(f"there is no run {name}; the newest are {', '.join(newest) or 'none'}")
        chosen += [name] if name in known else paths.read_json(sweep)["cells"]
    return {run_id: sorted((paths.RUNS / run_id).glob("*/metrics.json")) for run_id in chosen}


def _begun(run_id):
    """When a notebook of a run was last begun, as it noted; else the time in the run's name, else its folder's."""
    folder = paths.RUNS / run_id
    noted = [path.read_text(encoding="utf-8") for path in folder.glob("*/started.txt")]
    named = run_id if re.match(r"\d{8}-\d{6}", run_id) else f"{datetime.fromtimestamp(folder.stat().st_mtime):{TIME}}"
    return max(noted, default=named), run_id


def ledger(run_ids=None):
    """The scores of finished runs, one row each.

    Args:
        run_ids: as of `finished`, which raises what this does.

    Returns:
        pandas.DataFrame with run, notebook, profile, seed, device, training_seconds, total_seconds and the scores.
    """
    import pandas as pd

    rows = []
    for run_id, files in finished(run_ids).items():
        for entry in (paths.read_record(file, RECORD) for file in files):
            about = {
                "run": run_id, "notebook": entry["notebook"], "profile": entry["profile"], "seed": entry["seed"],
                "device": entry["device"].get("kind"), "training_seconds": entry["seconds"]["training"],
                "total_seconds": entry["seconds"]["total"],
            }  # fmt: skip
            rows += [about | row for row in entry["scores"]]
    return pd.DataFrame(rows)
