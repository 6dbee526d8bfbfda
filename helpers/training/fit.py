"""Training a network on pairs, so that an interruption loses nothing."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.backend import keras
from helpers.paths import atomic
from helpers.training.monitor import Reporter


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
    average = {} if ema is None else {"use_ema": True, "ema_momentum": ema}
    with device.scope():
        optimizer = keras.optimizers.Adam(schedule, **average)
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
        reporter = Reporter(
            state, history, steps=steps, keep_best=keep_best, **reporting
        )
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
        self.path, self.settings = (
            Path(path),
            json.dumps(settings, sort_keys=True, default=str),
        )
        self.model, self.best = model, self.path.with_suffix(".best.npz")
        slots = [
            variable for optimizer in optimizers for variable in optimizer.variables
        ]
        self.variables = [*model.variables, *slots]

    def save(self, history):
        """Write the state atomically."""
        told = {"history": json.dumps(history), "settings": self.settings}
        _write(self.path, *map(np.asarray, self.variables), **told)

    def restore(self):
        """Read the state back; returns the history, [] where nothing was saved yet."""
        if not self.path.exists():
            return []
        with np.load(self.path) as saved:
            if str(saved["settings"]) != self.settings:
                raise ValueError(
                    f"{self.path} was begun with other settings: {saved['settings']}; now they "
                    f"are {self.settings}. go on with those, or start a new run"
                )
            for number, variable in enumerate(self.variables):
                variable.assign(saved[f"arr_{number}"])
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
