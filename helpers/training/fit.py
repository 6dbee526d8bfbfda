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
    warmup_steps = steps // 20
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10,
        max(1, steps - warmup_steps),
        alpha=0.01,
        warmup_target=learning_rate,
        warmup_steps=max(1, warmup_steps),
    )
    with device.scope():
        optimizer = keras.optimizers.Adam(
            schedule, use_ema=ema is not None, ema_momentum=ema
        )
        model.compile(optimizer, loss, jit_compile=device.xla)
        optimizer.build(model.trainable_variables)
    shaped = {
        "steps": steps,
        "learning_rate": learning_rate,
        "loss": getattr(loss, "__name__", str(loss)),
        "ema": ema,
    }
    state = State(checkpoint, model, shaped | (settings or {}), [model.optimizer])
    return train(model, make_dataset, state, steps=steps, **reporting)


def train(model, make_dataset, state, *, steps, keep_best=None, **reporting):
    """Train a compiled model from its saved state to the last step; `fit` builds on it.

    Args and Returns: as of `fit`; `state` is the model's State.
    """
    history = state.restore(state.path) if state.path.exists() else []
    first = history[-1]["step"] if history else 0
    if first < steps:
        reporting["keep_best"] = keep_best
        model.fit(
            make_dataset(first),
            steps_per_epoch=steps - first,
            shuffle=False,
            verbose=0,
            callbacks=[Reporter(state, history, steps=steps, **reporting)],
        )
        state.save(state.path, history)  # once more, with averaged weights in place
    if keep_best:
        state.restore(state.best)
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
        self.path = Path(path)
        self.best = self.path.with_suffix(".best.npz")
        self.settings = json.dumps(settings, sort_keys=True, default=str)
        self.variables = model.variables
        for optimizer in optimizers:
            self.variables += optimizer.variables

    def save(self, path, history):
        """Write the state atomically, to `path` of this state or to `best`."""
        values = map(np.asarray, self.variables)
        history = json.dumps(history)
        with atomic(path) as temporary:
            np.savez(temporary, *values, history=history, settings=self.settings)

    def restore(self, path):
        """Read a state back; return the history."""
        with np.load(path) as saved:
            history, settings, *values = saved.values()
        if settings != self.settings:
            raise ValueError(
                f"{path} was begun with other settings: {settings}; now they are "
                f"{self.settings}. Go on with those, or start a new run"
            )
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return json.loads(str(history))
