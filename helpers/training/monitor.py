"""Watch a training: score, save and show it at regular steps."""

import time

import numpy as np
import pandas as pd

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
        keep_best: name of the score whose best weights are kept: the highest "psnr_db", the lowest
            of any other; or None.
        board: folder for TensorBoard's scalars and preview images, or None.
        watch: function of the model that gives a dict of further scores for every report, or None.
    """

    def __init__(
        self, state, history, *, steps, validation, baseline=None, reports=20, keep_best=None,
        board=None, watch=None,
    ):  # fmt: skip
        super().__init__()
        self.state = state
        self.history = history
        self.steps = steps
        self.every = max(1, steps // reports)
        self.validation = validation
        self.watch = watch
        self.baseline = baseline
        self.keep_best = keep_best
        self.score = keep_best or ("psnr_db" if validation else "loss")
        self.board = board and tf.summary.create_file_writer(str(board))
        self.at = history[-1]["step"] if history else 0
        self.seconds = history[-1]["seconds"] if history else 0.0

    def on_train_begin(self, logs=None):
        """Show the bar, and start the clock."""
        from IPython.display import display
        from tqdm.auto import tqdm

        self.bar = tqdm(
            desc=self.model.name,
            total=self.steps,
            initial=self.at,
            unit="step",
            mininterval=0.5,
            disable=show.is_static(),
        )
        self.figure = None if self.bar.disable else display(display_id=True)
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count, and report when it is time; the clock stands still meanwhile."""
        self.at += 1
        self.bar.update()
        if self.at % self.every == 0 or self.at == self.steps:
            self.seconds += time.perf_counter() - self.started
            self._report(logs)
            self.model.reset_metrics()
            self.started = time.perf_counter()

    def on_train_end(self, logs=None):
        """End the bar."""
        self.bar.close()

    def _report(self, logs):
        """Score, keep the best weights, save the state, and show all that."""
        scores = dict(logs)
        pictures = {}
        if self.validation:
            inputs, targets = self.validation
            estimates = predict(self.model, inputs)
            targets = np.clip(targets, 0, 1)
            scores["psnr_db"] = metrics.psnr(targets, estimates, data_range=1).mean()
            pictures = {"estimate": estimates, "target": targets}
        if self.watch:
            scores |= self.watch(self.model)
        scores = {name: float(value) for name, value in scores.items()}
        self.history.append({"step": self.at, "seconds": self.seconds} | scores)
        if self.keep_best and self._is_best():
            self.state.save(self.state.best, self.history)
        if self.at < self.steps:  # `train` saves the last one
            self.state.save(self.state.path, self.history)
        if self.board:
            self._write_to_board(scores, pictures)
        if self.figure:
            self.figure.update(self._curve())
        else:
            names = dict.fromkeys(("loss", self.score))
            told = [f"{name} {scores[name]:.4f}" for name in names]
            print(
                f"{self.model.name}: step {self.at}/{self.steps}",
                *told,
                sep=" · ",
                flush=True,
            )

    def _is_best(self):
        found = [row[self.score] for row in self.history]
        return found[-1] == (max(found) if self.score == "psnr_db" else min(found))

    def _write_to_board(self, scores, pictures):
        with self.board.as_default(step=self.at):
            for name, value in scores.items():
                tf.summary.scalar(name, value)
            for name, images in pictures.items():
                tf.summary.image(name, images[..., 2::-1])
        self.board.flush()

    def _curve(self):
        table = pd.DataFrame(self.history)[["step", self.score]]
        return show.curves(table, baseline=self.baseline, ylabel=self.score)


def predict(model, inputs):
    """Return the network's answer to images, float32 array, clipped to 0..1."""
    answer = model.predict(inputs, batch_size=8, verbose=0)
    return np.clip(answer.astype("float32"), 0, 1)
