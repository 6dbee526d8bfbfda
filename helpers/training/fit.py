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
    model, make_dataset, *, steps, learning_rate, device, checkpoint, loss="mse", ema=None,
    settings=None, **reporting,
):  # fmt: skip
    """Train a network, reporting and saving its whole state at regular steps.

    The learning rate warms up over a twentieth of the steps, then falls along a cosine to a
    hundredth. If `checkpoint` exists, training continues from it and ends as if it had never
    stopped.

    Args:
        model: keras.Model, built within `device.scope()`.
        make_dataset: function from the first step to a tf.data.Dataset of (input, target) batches
            from there on; a third member, (batch, height, width), weighs each pixel.
        steps: optimiser steps in all.
        learning_rate: the highest.
        device: Device.
        checkpoint: file that holds the state between reports.
        loss: Keras loss.
        ema: decay of an exponential average of the weights that replaces them at the end, or None.
        settings: dict of what else shaped the training; a checkpoint of other settings is refused.
        reporting: `validation`, `baseline`, `reports`, `keep_best`, `board`, `watch` of
            `Reporter`. With `ema`, the weights that `keep_best` ends with are not averaged.

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
        optimizer = keras.optimizers.Adam(
            schedule, use_ema=ema is not None, ema_momentum=ema or 0.99
        )
        model.compile(optimizer, loss, jit_compile=device.xla)
        optimizer.build(model.trainable_variables)
    name = getattr(loss, "__name__", str(loss))
    shaped = {"steps": steps, "learning_rate": learning_rate, "loss": name, "ema": ema}
    state = State(checkpoint, model, shaped | (settings or {}), [model.optimizer])
    return train(model, make_dataset, state, steps=steps, **reporting)


def train(model, make_dataset, state, *, steps, keep_best=False, **reporting):
    """Train a compiled model from its saved state to the last step; `fit` builds on it.

    Args and Returns: as of `fit`; `state` is the model's State.
    """
    history = state.restore()
    first = history[-1]["step"] if history else 0
    if first < steps:
        reporter = Reporter(state, history, steps=steps, keep_best=keep_best, **reporting)
        options = {"steps_per_epoch": steps - first, "shuffle": False, "verbose": 0}
        model.fit(make_dataset(first), callbacks=[reporter], **options)
        state.save(history)  # once more, with the averaged weights in place
    if keep_best:
        state.restore_best()
    return pd.DataFrame(history)


class State:
    """Everything that a training needs to go on: weights, optimizer slots, random states, history.

    Args:
        path: file to keep it in.
        model: compiled keras.Model.
        settings: dict that must be equal when the state is read back.
        optimizers: every optimizer of the model.
    """

    def __init__(self, path, model, settings, optimizers):
        self.path, self.settings = Path(path), json.dumps(settings, sort_keys=True, default=str)
        self.model, self.best = model, self.path.with_suffix(".best.npz")
        slots = [variable for optimizer in optimizers for variable in optimizer.variables]
        self.variables = [*model.variables, *slots]

    def save(self, history):
        """Write the state atomically."""
        values = {
            f"{number:05d}": each for number, each in enumerate(map(np.asarray, self.variables))
        }
        _write(self.path, history=json.dumps(history), settings=self.settings, **values)

    def restore(self):
        """Read the state back; returns the history, [] where nothing was saved yet."""
        if not self.path.exists():
            return []
        with np.load(self.path) as saved:
            if str(saved["settings"]) != self.settings:
                told = f"{self.path} was begun with other settings: {saved['settings']}"
                advice = "go on with those, or start a new run"
                raise ValueError(f"{told}; now they are {self.settings}. {advice}")
            for number, variable in enumerate(self.variables):
                variable.assign(saved[f"{number:05d}"])
            return json.loads(str(saved["history"]))

    def save_best(self):
        """Keep the weights of now as the best so far."""
        _write(self.best, *self.model.get_weights())

    def restore_best(self):
        """Give the model the best weights that it had at any report."""
        with np.load(self.best) as saved:
            self.model.set_weights([saved[name] for name in saved.files])


def _write(path, *arrays, **named):
    """Write arrays to an .npz file, atomically."""
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, *arrays, **named)


class Reporter(keras.callbacks.Callback):
    """Score validation patches, add a history row and save the state at regular steps.

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
        self.score = keep_best if isinstance(keep_best, str) else "psnr_db"
        self.lowest_is_best = isinstance(keep_best, str)
        self.board = board and tf.summary.create_file_writer(str(board))
        self.state, self.history, self.validation, self.watch = state, history, validation, watch
        self.every, self.steps = max(1, steps // reports), steps
        last = history[-1] if history else {"step": 0, "seconds": 0.0}
        self.at, self.seconds = last["step"], last["seconds"]
        shown = {"first": self.at, "steps": steps, "score": self.score, "baseline": baseline}
        self.monitor = Monitor(state.model.name, **shown)

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Count, and report when it is time; the clock stands still meanwhile."""
        self.at += 1
        self.monitor.step(self.at)
        if self.at % self.every == 0 or self.at == self.steps:
            self.seconds += time.perf_counter() - self.started
            self._report(logs)
            self.started = time.perf_counter()

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
        if self.lowest_is_best and self.score not in scores:
            raise ValueError(f"keep_best is {self.score!r}; the scores are {', '.join(scores)}")
        self.history.append({"step": self.at, "seconds": self.seconds} | scores)
        if self._is_best():
            self.state.save_best()
        self.state.save(self.history)
        if self.board:
            self._draw_on_board(scores, pictures)
        self.monitor.report(self.history)
        self.model.reset_metrics()

    def _is_best(self):
        """Tell whether no earlier report has a better score than the last one."""
        scores = [row[self.score] for row in self.history if self.score in row]
        best = min if self.lowest_is_best else max
        return bool(scores) and scores[-1] == best(scores)

    def _draw_on_board(self, scores, pictures):
        with self.board.as_default(step=self.at):
            for name, value in scores.items():
                tf.summary.scalar(name, value)
            if pictures:
                bands = slice(0, 3) if pictures[0].shape[-1] > 2 else slice(0, 1)
                both = np.concatenate(pictures, axis=2)[..., bands]
                tf.summary.image("estimate and target", both[..., ::-1])
        self.board.flush()

    def on_train_end(self, logs=None):
        """Keep the last figure."""
        self.monitor.end(self.history)


def predict(model, inputs):
    """Return the network's answer to images, float32 array, clipped to 0..1."""
    return np.clip(model.predict(inputs, batch_size=8, verbose=0).astype("float32"), 0, 1)
