"""Training a network on pairs, so that an interruption loses nothing."""

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import metrics
from helpers.backend import keras
from helpers.paths import atomic
from helpers.training.monitor import Monitor


def fit(
    model, make_dataset, *, steps, learning_rate, device, validation, checkpoint,
    loss="mse", baseline=None, ema=None, reports=20, settings=None,
):  # fmt: skip
    """Train a network, reporting and saving its whole state at regular steps.

    The learning rate warms up over a twentieth of the steps, then falls along a cosine to a hundredth. If
    `checkpoint` exists, training continues from it and ends as if it had never stopped.

    Args:
        model: keras.Model, built within `device.scope()`.
        make_dataset: function from the first step to a tf.data.Dataset of (input, target) batches from there on.
        steps: optimiser steps in all.
        learning_rate: the highest.
        device: Device.
        validation: (inputs, targets) arrays, scored at every report in PSNR.
        checkpoint: file that holds the state between reports.
        loss: Keras loss.
        baseline: PSNR in dB of the method to beat on the same validation patches, to be drawn beside.
        ema: decay of an exponential average of the weights that replaces them at the end, or None.
        reports: how often to report, score and save.
        settings: dict of what else shaped the training; a checkpoint of other settings is refused.

    Returns:
        pandas.DataFrame with the columns step, seconds, loss, psnr_db.

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
    settings = {"steps": steps, "learning_rate": learning_rate, "loss": str(loss), "ema": ema} | (settings or {})
    state = State(checkpoint, model, settings)
    history = state.restore()
    first = history[-1]["step"] if history else 0
    if first < steps:
        monitor = Monitor(model.name, steps=steps, score="psnr_db", baseline=baseline)
        reporter = Reporter(state, history, monitor, validation, every=max(1, steps // reports), steps=steps)
        model.fit(make_dataset(first), steps_per_epoch=steps - first, shuffle=False, verbose=0, callbacks=[reporter])
        state.save(history)  # once more, with the averaged weights in place
    return pd.DataFrame(history)


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


class Reporter(keras.callbacks.Callback):
    """Every few steps: score the validation patches, add a row to the history, save the state, show it."""

    def __init__(self, state, history, monitor, validation, *, every, steps):
        super().__init__()
        self.state, self.history, self.monitor, self.validation = state, history, monitor, validation
        self.every, self.steps = every, steps
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
        inputs, targets = self.validation
        psnr_db = metrics.psnr(np.clip(targets, 0, 1), predict(self.model, inputs), data_range=1).mean()
        row = {"step": self.at, "seconds": self.seconds, "loss": float(logs["loss"]), "psnr_db": float(psnr_db)}
        self.history.append(row)
        self.state.save(self.history)
        self.monitor.report(self.history)
        self.model.reset_metrics()
        self.started = time.perf_counter()

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
