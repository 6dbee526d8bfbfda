"""Keep everything that a notebook produces in one folder; list the scores of all runs."""

import hashlib
import json
import math
import os
import re
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from helpers import paths
from helpers.runs.parameters import check, declared
from helpers.scenes.files import files_behind

SCORED_NOTEBOOKS = ("02_", "03_", "04_", "05_", "06_")
INPUTS = (
    "source",
    "imagery",
    "start_from",
    "own_photos",
)  # parameters that may name files
RECORD = (
    "notebook",
    "profile",
    "seed",
    "device",
    "seconds",
    "scores",
)  # of `metrics.json`


def check_run_id(run_id):
    """Return the id if it can be the name of a run's folder; a ValueError says what it may hold."""
    if run_id == "latest" or not re.fullmatch(r"[\w-][\w.-]*", run_id):
        raise ValueError(
            f"run id {run_id!r}: use letters, digits, '-', '_' and '.', and not `latest` alone"
        )
    return run_id


def claim():
    """Make the folder of a new run, named by the time; return its id."""
    while True:
        run_id = f"{datetime.now():%Y%m%d-%H%M%S}"
        try:
            (paths.RUNS / run_id).mkdir(parents=True)
            return run_id
        except FileExistsError:  # of another run that began in this second
            time.sleep(0.1)


def environment(**values):
    """Return environment variables that tell a process where things live, and these values."""
    values |= {name: getattr(paths, name) for name in ("ROOT", "DATA", "RUNS")}
    return {f"SATELLITE_NOTEBOOKS_{name}": str(value) for name, value in values.items()}


def identity(notebook, profile, parameters):
    """Describe a job: notebook, profile, parameters, and the state of the files that they name."""
    job = {"notebook": notebook, "profile": profile} | parameters
    for name in INPUTS:
        value = parameters.get(name)
        places = [
            Path(folder, value).expanduser()
            for folder in ("", paths.DATA, paths.ROOT)
            if value
        ]
        if path := next(filter(Path.exists, places), None):
            state = json.dumps(files_behind(path)).encode()
            job[f"files of {name}"] = hashlib.sha256(state).hexdigest()
    return job


def refuse_changes(what, before, now):
    """Raise a ValueError where a job was begun otherwise: it says what differs."""
    told = [
        f"{key} was {before.get(key)!r}, now {now.get(key)!r}"
        for key in before | now
        if before.get(key) != now.get(key)
    ]
    if told:
        raise ValueError(
            f"{what} was begun otherwise: {'; '.join(told)}. Choose another name, or go on as it "
            "was begun; `run --resume` alone does that"
        )


def start(notebook, values):
    """Begin a run of a notebook: check its parameters, make its folder.

    Args:
        notebook: name of the notebook without suffix.
        values: dict that holds the parameters among other things; a notebook passes `globals()`.

    Returns:
        Run.

    Raises:
        ValueError: a parameter of wrong type or range, a run of that id that is already finished,
            or one that was begun otherwise (says what differs).
    """
    known = declared(notebook)
    chosen = check({name: values[name] for name in known if name in values}, known)
    run_id = os.environ.get("SATELLITE_NOTEBOOKS_RUN_ID") or claim()
    profile = os.environ.get("SATELLITE_NOTEBOOKS_PROFILE", "workshop")
    folder = paths.RUNS / run_id / notebook
    if (folder / "metrics.json").exists():
        raise ValueError(
            f"{folder} already holds a finished run: choose another run id, or delete that folder"
        )
    job = identity(notebook, profile, chosen)
    record = folder / "job.json"
    if record.exists():
        refuse_changes(f"run {run_id}", paths.read_json(record, ["notebook"]), job)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    paths.write_json(record, job)
    if (
        "SATELLITE_NOTEBOOKS_SWEEP" not in os.environ
    ):  # `--resume` goes on with what somebody began
        paths.write_text(paths.RUNS / "latest", run_id)
    print(f"run {run_id} · {notebook} · profile {profile} · seed {chosen.get('seed')}")
    return Run(run_id, notebook, profile, chosen, folder)


@dataclass
class Run:
    """One notebook's part of a run: the run's id, which notebooks may share, and its own folder."""

    id: str
    notebook: str
    profile: str
    parameters: dict
    folder: Path
    _began: float = field(default_factory=time.perf_counter)

    def checkpoint(self, method):
        """Return the file for the training state of a method, from which a stopped run goes on."""
        return self.folder / "checkpoints" / f"{method}.npz"

    def figure(self, name, figure):
        """Save a matplotlib figure as PNG, and return it, so that a cell can show it."""
        with paths.atomic(self.folder / "figures" / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120)
        return figure

    def history(self, histories):
        """Write a dict from method to DataFrame as `history.csv`; return the table."""
        import pandas as pd

        table = pd.concat(histories, names=["method"]).reset_index("method")
        paths.write_text(self.folder / "history.csv", table.to_csv(index=False))
        return table

    def save_model(self, model, *, method=None, **about):
        """Save a network for inference, with a description that tells how to apply it.

        Args:
            model: keras.Model.
            method: name of a model that is not the headline; the headline becomes `model.keras`.
            **about: the fields of `model.json`: task, bands, bands_out, scale, value_range,
                size_multiple, receptive_field_px, credit.

        Returns:
            Path of the .keras file.
        """
        path = self.folder / (f"models/{method}.keras" if method else "model.keras")
        with paths.atomic(path) as temporary:
            model.save(temporary)
        paths.write_json(
            path.with_suffix(".json"), about | {"weights_sha256": weights_sha256(model)}
        )
        return path

    def record(self, scores, *, device, training_seconds, credits):
        """Write `credits.json` and `metrics.json`: the run is finished.

        Args:
            scores: list of dict, a row of `metrics.json` each.
            device: dict from `Device.record()`.
            training_seconds: spent in training steps.
            credits: list of credit lines of all imagery shown or learned from.

        Raises:
            ValueError: no baseline, no or several headline rows, or a score that is not finite.
        """
        scores = json.loads(
            json.dumps(scores, default=lambda number: number.item())
        )  # of NumPy
        _check_scores(scores, self.notebook.startswith(SCORED_NOTEBOOKS))
        total = time.perf_counter() - self._began
        entry = {
            "notebook": self.notebook, "profile": self.profile, "parameters": self.parameters,
            "seed": self.parameters.get("seed"), "device": device,
            "seconds": {"training": round(training_seconds, 1), "total": round(total, 1)},
            "scores": scores,
        }  # fmt: skip
        paths.write_json(self.folder / "credits.json", sorted(set(credits)))
        paths.write_json(self.folder / "metrics.json", entry)
        print(f"recorded in {self.folder}")


def _check_scores(scores, is_scored):
    for row in scores:
        numbers = [value for value in row.values() if isinstance(value, float)]
        if not all(map(math.isfinite, numbers)):
            raise ValueError(f"scores need finite numbers; there is {row}")
    roles = {row["role"] for row in scores if row["split"] == "test"}
    headlines = [row["method"] for row in scores if row.get("headline")]
    is_whole = roles >= {"baseline", "model"} and len(headlines) == 1
    if is_scored and not is_whole:
        raise ValueError(
            "scores need a baseline and a model on the test split, and one headline; there are "
            f"the roles {sorted(roles)} and the headlines {headlines}"
        )


def weights_sha256(model):
    """Return the SHA-256 of a network's weights, in their order."""
    return hashlib.sha256(
        b"".join(values.tobytes() for values in model.get_weights())
    ).hexdigest()


def ledger(run_ids=None):
    """Collect the scores of finished runs, one row each.

    Args:
        run_ids: names of runs, or of sweeps, which stand for their cells; default: all runs.

    Returns:
        pandas.DataFrame: the scores, then run, notebook, profile, seed, device_kind,
        seconds_training and seconds_total.

    Raises:
        ValueError: a name that is neither a run nor a sweep (names the last ones).
    """
    import pandas as pd

    known = sorted(path.name for path in paths.RUNS.glob("*/"))
    entries = []
    for name in run_ids or known:
        sweep = paths.RUNS / f"{name}.sweep.json"
        if name not in known and not sweep.exists():
            raise ValueError(
                f"there is no run {name}; the last ones are "
                f"{', '.join(known[-5:]) or 'none'}"
            )
        for run_id in [name] if name in known else paths.read_json(sweep)["cells"]:
            for file in sorted((paths.RUNS / run_id).glob("*/metrics.json")):
                entries.append({"run": run_id} | paths.read_json(file, RECORD))
    about = [
        "run",
        "notebook",
        "profile",
        "seed",
        ["device", "kind"],
        ["seconds", "training"],
        ["seconds", "total"],
    ]
    options = {"errors": "ignore", "sep": "_"}
    return pd.json_normalize(entries, "scores", about, **options).infer_objects()
