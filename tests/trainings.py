"""What tests of trainings share: the state that a kill would leave behind, and steps without a graph."""

import shutil
from contextlib import contextmanager

import pytest

from helpers.backend import tf
from helpers.training.fit import State


@contextmanager
def kept_after(step, folder):
    """Copy what a training keeps on the disk after some step into a folder, as if it had been killed there."""
    save = State.save

    def saving(state, path, history):
        save(state, path, history)
        if path == state.path and history[-1]["step"] == step:
            shutil.copytree(state.path.parent, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(State, "save", saving)
        yield


@contextmanager
def without_graphs():
    """Train without graphs: to build one takes longer than a few steps."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
