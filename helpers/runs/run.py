"""A run: one folder for everything that a notebook produced, and the ledger of scores over all of them."""

import hashlib
import math
import os
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.runs import parameters as parameter_cells

SCORED_NOTEBOOKS = ("02", "03", "04", "05", "06")


def start(notebook, values):
    """Begin a run of a notebook: check its parameters, make its folder.

    Args:
        notebook: name of the notebook without suffix.
        values: dict that holds the parameters among other things; a notebook passes `globals()`.

    Returns:
        Run.

    Raises:
        ValueError: a parameter of wrong type or range, or a run of that id that is already finished.
    """
    declared = parameter_cells.declared(paths.ROOT / "notebooks" / f"{notebook}.ipynb")
    chosen = parameter_cells.check({name: values[name] for name in declared if name in values}, declared)
    run_id = os.environ.get("SATELLITE_NOTEBOOKS_RUN_ID") or datetime.now().strftime("%Y%m%d-%H%M%S")
    profile = os.environ.get("SATELLITE_NOTEBOOKS_PROFILE", "workshop")
    folder = paths.RUNS / run_id / notebook
    if (folder / "metrics.json").exists():
        raise ValueError(f"{folder} already holds a finished run: choose another run id, or delete that folder")
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    if "SATELLITE_NOTEBOOKS_SWEEP" not in os.environ:  # `--resume` goes on with a run that somebody began
        paths.write_text(paths.RUNS / "latest", run_id + "\n")
    print(f"run {run_id} · {notebook} · profile {profile} · seed {chosen.get('seed')}")
    return Run(run_id, notebook, profile, chosen, folder)


class Run:
    """One notebook's part of a run.

    Attributes:
        id: of the run; several notebooks may share it.
        notebook: name.
        profile: "smoke", "workshop" or "full".
        parameters: dict of checked values.
        folder: where everything goes.
    """

    def __init__(self, run_id, notebook, profile, parameters, folder):
        self.id, self.notebook, self.profile, self.parameters, self.folder = (
            run_id, notebook, profile, parameters, Path(folder),
        )  # fmt: skip
        self._started = time.perf_counter()

    def checkpoint(self, method):
        """File that holds the training state of a method, so that an interrupted run can go on."""
        return self.folder / "checkpoints" / f"{method}.npz"

    def figure(self, name, figure):
        """Save a matplotlib figure as PNG, and return it, so that a cell that ends with this call shows it."""
        with paths.atomic(self.folder / "figures" / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=120)
        return figure

    def history(self, histories):
        """Write `history.csv`.

        Args:
            histories: dict from method to its pandas.DataFrame.

        Returns:
            pandas.DataFrame of all, with a column `method`.
        """
        import pandas as pd

        table = pd.concat([history.assign(method=method) for method, history in histories.items()])
        paths.write_text(self.folder / "history.csv", table.to_csv(index=False))
        return table

    def save_model(self, model, *, method=None, **about):
        """Save a network, ready for inference, with what is needed to apply it.

        Args:
            model: keras.Model.
            method: name of a model that is not the headline; the headline becomes `model.keras`.
            **about: the fields of `model.json`: task, bands, bands_out, scale, value_range, size_multiple,
                receptive_field_px, credit.

        Returns:
            Path of the .keras file.
        """
        path = self.folder / (f"models/{method}.keras" if method else "model.keras")
        with paths.atomic(path) as temporary:
            model.save(temporary)
        digest = hashlib.sha256()
        for weight in model.get_weights():
            digest.update(np.ascontiguousarray(weight).tobytes())
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
        scores = [{key: _plain(value) for key, value in row.items()} for row in scores]
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
        paths.write_json(self.folder / "credits.json", sorted(set(credits)))
        total = time.perf_counter() - self._started
        paths.write_json(
            self.folder / "metrics.json",
            {
                "notebook": self.notebook, "profile": self.profile, "parameters": self.parameters,
                "seed": self.parameters.get("seed"), "device": device,
                "seconds": {"training": round(training_seconds, 1), "total": round(total, 1)}, "scores": scores,
            },
        )  # fmt: skip
        print(f"recorded in {self.folder}")


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def finished(run_ids=None):
    """Where the scores of runs are.

    Args:
        run_ids: names of runs, or of sweeps, which stand for their cells; default: all runs.

    Returns:
        dict from run id to the list of `metrics.json` of its finished notebooks, in the order given.

    Raises:
        ValueError: a name that is neither a run nor a sweep (names the newest runs).
    """
    folders = [path for path in paths.RUNS.glob("*") if path.is_dir()]
    known = [path.name for path in sorted(folders, key=lambda path: (path.stat().st_mtime, path.name))]
    chosen = []
    for name in run_ids or sorted(known):
        sweep = paths.RUNS / f"{name}.sweep.json"
        if name not in known and not sweep.exists():
            raise ValueError(f"there is no run {name}; the newest are {', '.join(known[-5:]) or 'none'}")
        chosen += [name] if name in known else paths.read_json(sweep)["cells"]
    return {run_id: sorted((paths.RUNS / run_id).glob("*/metrics.json")) for run_id in chosen}


def ledger(run_ids=None):
    """The scores of finished runs, one row each.

    Args:
        run_ids: which runs or sweeps; default: all.

    Returns:
        pandas.DataFrame with run, notebook, profile, seed, device, training_seconds and the columns of the scores.

    Raises:
        ValueError: a name that is neither a run nor a sweep (names the newest runs).
    """
    import pandas as pd

    rows = []
    for path in (path for found in finished(run_ids).values() for path in found):
        entry = paths.read_json(path)
        about = {
            "run": path.parent.parent.name, "notebook": entry["notebook"], "profile": entry["profile"],
            "seed": entry["seed"], "device": entry["device"].get("kind"),
            "training_seconds": entry["seconds"]["training"], "total_seconds": entry["seconds"]["total"],
        }  # fmt: skip
        rows += [about | row for row in entry["scores"]]
    return pd.DataFrame(rows)
