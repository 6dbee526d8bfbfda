"""Collect the scores of several methods, and compare each model with a baseline."""

import numpy as np

from helpers.metrics.gains import gain, gain_pooled

# ends of the names of scores that should be small
ERRORS = ("mae", "rmse", "angle_deg", "ergas", "distance")


class Scoreboard:
    """Hold scores per patch of each method; show means, and gains with 95 % bootstrap intervals.

    Where a cell ends with a board, it is shown as a table. One line adds a method:

        board = metrics.Scoreboard(["psnr_db"], over="bicubic", seed=seed)
        board.add("bicubic", "baseline", {"psnr_db": metrics.psnr(truth, bicubic, data_range=1)})
        scores = {"psnr_db": metrics.psnr(truth, sharp, data_range=1)}
        board.add("srcnn", "model", scores, headline=True)
        board.gain("srcnn", "psnr_db")  # gain over bicubic, low and high end of its interval
        worst = board.ahead("srcnn", "psnr_db").nsmallest(3).index  # numbers of three patches
        run.record(board.rows(), device=device.record(), credits=credits, training_seconds=60)

    Args:
        gains: names of the scores whose gains are computed, the main one first.
        over: baseline of all gains; None for the baseline that is best in the main score.
        intervals: names of scores that get an interval of their own, such as hit rates.
        seed: of the resampling of patches.

    `by_patch` maps each method to a pandas.DataFrame (patches, scores).
    """

    def __init__(
        self,
        gains,
        *,
        over=None,
        intervals=(),
        seed=0,
    ):
        self.gains = gains
        self.over = over
        self.intervals = intervals
        self.seed = seed
        self.by_patch = {}
        self.whole = {}
        self.counts = {}

    def add(self, method, role, scores, **facts):
        """Keep the scores of a method; a second call with the same name replaces the first.

        Args:
            method: name.
            role: "baseline" or "model".
            scores: dict or DataFrame from the name of a score to an array with a value per patch,
                NaN where a patch has none; to one number for all patches; or from "confusion" to
                counts per patch, from which the gain in `mean_iou` is computed; see
                `metrics.map_scores`.
            **facts: more about the method, such as `headline=True`.

        Raises:
            ValueError: another role, or another number of patches than before.
        """
        import pandas as pd

        if role not in {"baseline", "model"}:
            raise ValueError(f'role is {role!r}; expected "baseline" or "model"')
        arrays = {name: np.asarray(values) for name, values in scores.items()}
        self.counts[method] = arrays.pop("confusion", None)
        single = {
            name: arrays.pop(name).item() for name in [*arrays] if not arrays[name].ndim
        }
        table = pd.DataFrame(arrays)
        first = next(iter(self.by_patch.values()), table)
        if len(first) != len(table):
            raise ValueError(
                f"{method} has scores of {len(table)} patches, the board of {len(first)}: score "
                "all methods on the same patches"
            )
        self.by_patch[method] = table
        means = table.mean().dropna().to_dict()
        about = {"method": method, "role": role, "split": "test"}
        self.whole[method] = about | means | single | facts

    @property
    def baseline(self):
        """Name of the method that gains are over."""
        if self.over:
            return self.over
        main = self.gains[0]
        scores = {
            row["method"]: row[main]
            for row in self.whole.values()
            if row["role"] == "baseline"
        }
        best = min if main.endswith(ERRORS) else max
        return best(scores, key=scores.get)

    def ahead(self, method, score, over=None):
        """Return how far a method is ahead on each patch: pandas.Series, positive is better."""
        model = self.by_patch[method][score]
        other = self.by_patch[over or self.baseline][score]
        return other - model if score.endswith(ERRORS) else model - other

    def gain(self, method, score, over=None):
        """Return (gain, low, high) over another method; () where no patch has the score."""
        if score == "mean_iou":
            other = over or self.baseline
            return gain_pooled(self.counts[method], self.counts[other], seed=self.seed)
        ahead = self.ahead(method, score, over).dropna().to_numpy()
        return gain(ahead, 0 * ahead, seed=self.seed) if ahead.size else ()

    def rows(self):
        """Return a dict of scores for each method, as `run.record` takes them."""
        rows = []
        for method, known in self.whole.items():
            row = dict(known)
            for score in self.intervals:
                values = self.by_patch[method][score].to_numpy()
                row |= _ends(score, gain(values, 0 * values, seed=self.seed))
            if row["role"] == "model":
                row["gain_over"] = self.baseline
                for score in self.gains:
                    row |= _ends(f"gain_{score}", self.gain(method, score))
            rows.append(row)
        return rows

    def table(self):
        """Return a pandas.DataFrame for people: a line for each method, intervals in cells."""
        table = score_table(self.rows()).set_index("method")
        table.columns.name = f"gains over {self.baseline}"
        return table.drop(columns=["split", "gain_over"], errors="ignore")

    def _repr_html_(self):
        return self.table()._repr_html_()


def score_table(rows):
    """Show scores as text: the main score and its gain first.

    The main score is the first that the headline has a gain in.

    Args:
        rows: list of dict, as `metrics.json` has them.

    Returns:
        pandas.DataFrame of texts: method, role, split, then a column for each score.
    """
    import pandas as pd

    ordered = sorted(rows, key=lambda row: not row.get("headline"))
    numbers = pd.DataFrame(ordered).select_dtypes("number")
    names = [name for name in numbers if not name.endswith(("_low", "_high"))]
    gains = [name for name in names if name.startswith("gain_")]
    main = gains[0].removeprefix("gain_") if gains else ""
    names.sort(key=lambda name: (name.removeprefix("gain_") != main, name in gains))
    columns = ["method", "role", "split", *names] + ["gain_over"] * bool(gains)
    cells = [[_cell(row, name) for name in columns] for row in rows]
    return pd.DataFrame(cells, columns=columns)


def _cell(row, name):
    if name not in row or isinstance(row[name], str):
        return row.get(name, "")
    style = ".4g" if abs(row[name]) < 10_000 else ",.0f"
    if name.startswith("gain_"):
        style = "+.3g"
    keys = [key for key in (name, f"{name}_low", f"{name}_high") if key in row]
    value, *ends = (f"{row[key]:{style}}" for key in keys)
    return f"{value} [{', '.join(ends)}]" if ends else value


def _ends(name, found):
    """Return a dict of a value and both ends of its interval, if there are any."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=False))
