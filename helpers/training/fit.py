"""Training a network on pairs, so that an interruption loses nothing."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import metrics
from helpers.backend import keras, tf
from helpers.paths import atomic
from helpers.training.monitor import Monitor


def fit(
    model, make_dataset, *, steps, learning_rate, device, validation, checkpoint,
    loss="mse", baseline=None, ema=None, keep_best=False, reports=20, settings=None, board=None,
    watch=None,
):  # fmt: skip
    """Train a network, reporting and saving its whole state at regular steps.

    The learning rate warms up over a twentieth of the steps, then falls along a cosine to a hundredth. If
    `checkpoint` exists, training continues from it and ends as if it had never stopped.

    Args:
        model: keras.Model, built within `device.scope()`.
        make_dataset: function from the first step to a tf.data.Dataset of (input, target) batches from there on; a
            third member, (batch, height, width), is how much each pixel counts.
        steps: optimiser steps in all.
        learning_rate: the highest.
        device: Device.
        validation: (inputs, targets) arrays, scored at every report in PSNR; None leaves the scores to `watch`.
        checkpoint: file that holds the state between reports.
        loss: Keras loss.
        baseline: PSNR in dB of the method to beat on the same validation patches, to be drawn beside.
        ema: decay of an exponential average of the weights that replaces them at the end, or None.
        keep_best: end with the weights of the report that scored best, instead of the last: True for the highest PSNR,
            or the name of one of the scores of `watch`, lowest best; with `ema`, these are not averaged.
        reports: how often to report, score and save.
        settings: dict of what else shaped the training; a checkpoint of other settings is refused.
        board: folder for TensorBoard's scalars and preview images, or None.
        watch: function of the model that gives a dict of further scores for every report, or None.

    Returns:
        pandas.DataFrame with the columns step, seconds, loss, psnr_db and those of `watch`.

    Raises:
        ValueError: the checkpoint belongs to other settings.
    """
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10, max(1, steps - steps // 20), alpha=0.01,
        warmup_target=learning_rate, warmup_steps=max(1, steps // 20),
    )  # fmt: skip
    with device.scope():
        optimizer = keras.optimizers.Adam(schedule, use_ema=ema is not None, ema_momentum=ema or 0.99)
        model.compile(optimizer, loss, jit_compile=device.xla)
        optimizer.build(model.trainable_variables)
    name = getattr(loss, "__name__", str(loss))
    settings = {"steps": steps, "learning_rate": learning_rate, "loss": name, "ema": ema} | (settings or {})
    state = State(checkpoint, model, settings)
    history = train(
        model, make_dataset, state, steps=steps, validation=validation, baseline=baseline, reports=reports,
        keep_best=keep_best, board=board, watch=watch,
    )  # fmt: skip
    return pd.DataFrame(history)


def train(model, make_dataset, state, *, steps, validation, baseline, reports, keep_best=False, board=None, watch=None):
    """The loop below `fit` and `fit_adversarial`: from where the state left off to the last step.

    Args:
        model: compiled keras.Model.
        state: State of it.
        others: as of `fit`.

    Returns:
        list of dict, a row for each report.
    """
    history = state.restore()
    first = history[-1]["step"] if history else 0
    if first < steps:
        lowest = keep_best if isinstance(keep_best, str) else None
        monitor = Monitor(model.name, steps=steps, score=lowest or "psnr_db", baseline=baseline)
        every = max(1, steps // reports)
        reporter = Reporter(
            state, history, monitor, validation, every=every, steps=steps, board=board, watch=watch, lowest=lowest
        )
        model.fit(make_dataset(first), steps_per_epoch=steps - first, shuffle=False, verbose=0, callbacks=[reporter])
        state.save(history)  # once more, with the averaged weights in place
    if keep_best:
        state.restore_best()
    return history


class State:
    """Everything that a training needs to go on: weights, optimizer slots, random states, history.

    Args:
        path: file to keep it in.
        model: compiled keras.Model.
        settings: dict that must be equal when the state is read back.
        optimizers: every optimizer of the model; default: `model.optimizer`.
    """

    def __init__(self, path, model, settings, optimizers=None):
        self.path, self.settings = Path(path), json.dumps(settings, sort_keys=True, default=str)
        self.model, self.best = model, self.path.with_suffix(".best.npz")
        self.variables = [*model.variables, *(v for o in optimizers or [model.optimizer] for v in o.variables)]

    def save(self, history):
        """Write the state atomically."""
        values = {f"{number:05d}": np.asarray(variable) for number, variable in enumerate(self.variables)}
        with atomic(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, history=json.dumps(history), settings=self.settings, **values)

    def restore(self):
        """Read the state back; returns the history, [] where nothing was saved yet."""
        if not self.path.exists():
            return []
        with np.load(self.path) as saved:
            if str(saved["settings"]) != self.settings:
                raise ValueError(
                    f"{self.path} was begun with other settings ({saved['settings']}) than asked for now "
                    f"({self.settings}): continue with the old ones, or start a new run"
                )
            for number, variable in enumerate(self.variables):
                variable.assign(saved[f"{number:05d}"])
            return json.loads(str(saved["history"]))

    def save_best(self):
        """Keep the weights of now as the best so far."""
        with atomic(self.best) as temporary, open(temporary, "wb") as file:
            np.savez(file, *self.model.get_weights())

    def restore_best(self):
        """Give the model the best weights that it had at any report."""
        with np.load(self.best) as saved:
            self.model.set_weights([saved[name] for name in saved.files])


class Reporter(keras.callbacks.Callback):
    """Every few steps: score the validation patches, add a row to the history, save the state, show it."""

    def __init__(self, state, history, monitor, validation, *, every, steps, board=None, watch=None, lowest=None):
        super().__init__()
        self.score, self.sign = (lowest, -1) if lowest else ("psnr_db", 1)
        self.board = board and tf.summary.create_file_writer(str(board))
        self.state, self.history, self.monitor, self.validation = state, history, monitor, validation
        self.every, self.steps, self.watch = every, steps, watch or (lambda model: {})
        self.at = history[-1]["step"] if history else 0
        self.seconds = history[-1]["seconds"] if history else 0.0

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.monitor.begin(self.at)
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count, and report when it is time; the clock stands still meanwhile."""
        self.at += 1
        self.monitor.step(self.at)
        if self.at % self.every and self.at != self.steps:
            return
        self.seconds += time.perf_counter() - self.started
        row = {"step": self.at, "seconds": self.seconds, **{name: float(value) for name, value in logs.items()}}
        pictures = ()
        if self.validation:
            inputs, targets = self.validation
            estimates, targets = predict(self.model, inputs), np.clip(targets, 0, 1)
            row["psnr_db"] = float(metrics.psnr(targets, estimates, data_range=1).mean())
            pictures = estimates[:3], targets[:3]
        row |= {name: float(value) for name, value in self.watch(self.model).items()}
        if self.sign < 0 and self.score not in row:
            scores = ", ".join(name for name in row if name not in ("step", "seconds"))
            raise ValueError(f"keep_best is {self.score!r}; the scores are {scores}")
        if self.score in row and all(self.sign * (row[self.score] - old[self.score]) >= 0 for old in self.history):
            self.state.save_best()
        self.history.append(row)
        self.state.save(self.history)
        if self.board:
            self._draw_on_board(row, pictures)
        self.monitor.report(self.history)
        self.model.reset_metrics()
        self.started = time.perf_counter()

    def _draw_on_board(self, row, pictures):
        with self.board.as_default(step=self.at):
            for name in set(row) - {"step", "seconds"}:
                tf.summary.scalar(name, row[name])
            if pictures:
                bands = slice(0, 3) if pictures[0].shape[-1] > 2 else slice(0, 1)
                tf.summary.image("estimate and target", np.concatenate(pictures, axis=2)[..., bands][..., ::-1])
        self.board.flush()

    def on_train_end(self, logs=None):
        """Leave the last figure standing."""
        self.monitor.end(self.history)


def predict(model, inputs, batch_size=8):
    """The network's answer clipped to 0..1, as it is scored and shown.

    Args:
        model: keras.Model.
        inputs: float32 array (batch, height, width, bands).
        batch_size: images at a time.

    Returns:
        float32 array (batch, height, width, bands).
    """
    return np.clip(model.predict(inputs, batch_size=batch_size, verbose=0).astype("float32"), 0, 1)
