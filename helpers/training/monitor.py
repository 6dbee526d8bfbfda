"""Watch a training: score, save and show it at regular steps."""

import time

import numpy as np

from helpers import metrics, show
from helpers.backend import keras, tf


class Reporter(keras.callbacks.Callback):
    """Score validation patches, add a history row, save the state and show it at regular steps.

    People see a bar and a figure that is redrawn in place; elsewhere a line is printed.

    Args:
        state: State of the model.
        history: list of dict, a row for each report so far; it grows.
        steps: optimiser steps in all.
        validation: (inputs, targets) arrays to score in PSNR; None leaves the scores to `watch`.
        baseline: PSNR in dB of the method to beat on the same patches, drawn beside.
        reports: how many there are in all.
        keep_best: keep the best weights: True for the highest PSNR, or the name of a score of
            `watch`, lowest best.
        board: folder for TensorBoard's scalars and preview images, or None.
        watch: function of the model that gives a dict of further scores for every report, or None.
    """

    def __init__(
        self, state, history, *, steps, validation, baseline=None, reports=20, keep_best=False,
        board=None, watch=None,
    ):  # fmt: skip
        super().__init__()
        self.state, self.history = state, history
        self.steps, self.every = steps, max(1, steps // reports)
        self.validation, self.watch, self.baseline = validation, watch, baseline
        self.board = board and tf.summary.create_file_writer(str(board))
        is_named = isinstance(keep_best, str)
        self.score, self.best = (keep_best, min) if is_named else ("psnr_db", max)
        last = history[-1] if history else {"step": 0, "seconds": 0.0}
        self.at, self.seconds = last["step"], last["seconds"]

    def on_train_begin(self, logs=None):
        """Show the bar, and start the clock."""
        from IPython.display import display
        from tqdm.auto import tqdm

        shown = {
            "total": self.steps,
            "initial": self.at,
            "unit": "step",
            "mininterval": 0.5,
        }
        self.bar = tqdm(desc=self.model.name, disable=show.is_static(), **shown)
        self.display = None if self.bar.disable else display(display_id=True)
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count, and report when it is time; the clock stands still meanwhile."""
        self.at += 1
        self.bar.update()
        if self.at % self.every == 0 or self.at == self.steps:
            self.seconds += time.perf_counter() - self.started
            self._report(logs)
            self.started = time.perf_counter()

    def on_train_end(self, logs=None):
        """End the bar."""
        self.bar.close()

    def _report(self, logs):
        """Score, keep the best weights, save the state, and show all that."""
        scores, pictures = dict(logs), ()
        if self.validation:
            inputs, targets = self.validation
            estimates, targets = predict(self.model, inputs), np.clip(targets, 0, 1)
            scores["psnr_db"] = metrics.psnr(targets, estimates, data_range=1).mean()
            pictures = estimates[:3], targets[:3]
        if self.watch:
            scores |= self.watch(self.model)
        scores = {name: float(value) for name, value in scores.items()}
        if self.best is min and self.score not in scores:
            raise ValueError(
                f"keep_best is {self.score!r}; the scores are {', '.join(scores)}"
            )
        self.history.append({"step": self.at, "seconds": self.seconds} | scores)
        known = [row[self.score] for row in self.history if self.score in row]
        if known and known[-1] == self.best(known):
            self.state.save_best()
        self.state.save(self.history)
        if self.board:
            self._draw_on_board(scores, pictures)
        if self.display:
            self.display.update(self._curve())
        else:
            shown, names = (
                scores | {"baseline": self.baseline},
                ("loss", self.score, "baseline"),
            )
            told = [
                f"{key} {shown[key]:.4f}" for key in names if shown.get(key) is not None
            ]
            where = f"{self.model.name}: step {self.at}/{self.steps}"
            print(where, *told, sep=" · ", flush=True)
        self.model.reset_metrics()

    def _curve(self):
        steps = [row["step"] for row in self.history]
        lines = {
            "step": steps,
            self.model.name: [row.get(self.score) for row in self.history],
        }
        return show.curves(
            lines, baseline=self.baseline, ylabel=f"validation {self.score}"
        )

    def _draw_on_board(self, scores, pictures):
        with self.board.as_default(step=self.at):
            for name, value in scores.items():
                tf.summary.scalar(name, value)
            if pictures:
                both = np.concatenate(pictures, axis=2)
                tf.summary.image("estimate and target", both[..., 2::-1])
        self.board.flush()


def predict(model, inputs):
    """Return the network's answer to images, float32 array, clipped to 0..1."""
    return np.clip(
        model.predict(inputs, batch_size=8, verbose=0).astype("float32"), 0, 1
    )
