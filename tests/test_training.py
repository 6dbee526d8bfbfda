"""Training: resuming, seeds, XLA, several devices, precision."""

import contextlib
import io
import json

import numpy as np
import pytest

from helpers import models, training
from helpers.backend import keras, tf
from helpers.pairs import resolution
from helpers.scenes import Scene
from tests import kernels
from tests.notebook_functions import espcn

RANGE = ((0.0, 1.0),) * 3
STREAM = {"value_range": RANGE, "scale": 2, "enlarged": True, "patch_px": 16, "batch_size": 4, "steps": 8, "seed": 3}


def blocks():
    pixels = np.random.default_rng(0).random((3, 40, 40, 3), dtype="float32")
    return [Scene(each, ("red", "green", "blue"), name=f"block {i}") for i, each in enumerate(pixels)]


@pytest.fixture
def ground():
    return blocks()


@pytest.fixture
def device():
    return training.prepare_device(precision="float32", seed=0)


def train(ground, device, checkpoint, *, stop_after=None, **changes):
    """A short training of a small SRCNN; returns its weights and history."""
    keras.utils.set_random_seed(1)
    with device.scope():
        model = models.srcnn(3, filters=(4, 4))
    low, high = resolution.arrays(ground[:1], value_range=RANGE, scale=2, patch_px=16)

    def make_dataset(first):
        data = resolution.dataset(ground, first_step=first, **STREAM)
        return data if stop_after is None else data.map(Interrupt(stop_after))

    options = {"steps": 8, "learning_rate": 1e-2, "reports": 4, "checkpoint": checkpoint} | changes
    validation = (resolution.upsample(low, 2).numpy(), high)
    history = training.fit(model, make_dataset, device=device, validation=validation, **options)
    return model.get_weights(), history


class Interrupt:
    """Passes some batches on, then fails as Ctrl-C would."""

    def __init__(self, batches):
        self.left = batches

    def __call__(self, inputs, targets):
        def count(values):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return values

        passed = tf.numpy_function(count, [inputs], tf.float32)
        return tf.ensure_shape(passed, inputs.shape), targets


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nobody touched: weights, history, the file of its state, and what it printed."""
    state, printed = tmp_path_factory.mktemp("whole") / "state.npz", io.StringIO()
    with contextlib.redirect_stdout(printed):
        weights, history = train(blocks(), training.prepare_device(precision="float32", seed=0), state, baseline=20.0)
    return weights, history, state, printed.getvalue()


def test_interrupted_training_equals_uninterrupted(ground, device, tmp_path, whole):
    """The same seed gives the same weights, too: the two trainings share nothing else."""
    weights, history, *_ = whole
    with pytest.raises(Exception, match="KeyboardInterrupt"):
        train(ground, device, tmp_path / "cut.npz", stop_after=6)
    resumed, resumed_history = train(ground, device, tmp_path / "cut.npz")
    assert all(np.array_equal(a, b) for a, b in zip(weights, resumed, strict=True))
    columns = ["step", "loss", "psnr_db"]
    assert history[columns].equals(resumed_history[columns])
    assert list(history.step) == [2, 4, 6, 8]


def test_state_of_other_settings_is_refused(ground, device, whole):
    with pytest.raises(ValueError, match="other settings"):
        train(ground, device, whole[2], learning_rate=1e-3)


def test_averaged_weights_replace_the_last_ones_and_a_finished_training_is_not_run_again(
    ground, device, tmp_path, whole
):
    last, (averaged, _) = whole[0], train(ground, device, tmp_path / "b.npz", ema=0.9)
    assert not np.allclose(last[0], averaged[0])
    assert np.abs(averaged[0] - last[0]).max() < 0.1
    again, _ = train(ground, device, tmp_path / "b.npz", ema=0.9, stop_after=0)
    assert all(np.array_equal(a, b) for a, b in zip(averaged, again, strict=True))


def test_one_step_with_xla_gives_the_same_loss(ground, device):
    inputs, targets = next(iter(resolution.dataset(ground, **STREAM)))
    losses = []
    for xla in (False, True):
        keras.utils.set_random_seed(1)
        model = espcn(3, scale=2, filters=(4, 4), depth=1)
        model.compile("adam", "mse", jit_compile=xla)
        small = resolution.degrade(targets, 2)
        losses.append([model.train_on_batch(small, targets) for _ in range(2)])
    assert np.allclose(*losses, rtol=1e-4)
    assert losses[0][1] < losses[0][0]


TWO_DEVICES = """
import json, sys
from helpers.backend import keras, tf
cpu, half = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
import numpy as np
from dataclasses import replace
from helpers import models, training
from helpers.pairs import resolution
from helpers.scenes import Scene
pixels = np.random.default_rng(0).random((3, 40, 40, 3), dtype="float32")
ground = [Scene(each, ("red", "green", "blue")) for each in pixels]
stream = dict(value_range=((0, 1),) * 3, scale=2, enlarged=True, patch_px=16, batch_size=4, steps=6, seed=3)
low, high = resolution.arrays(ground[:1], value_range=((0, 1),) * 3, scale=2, patch_px=16)
results = {}
for count in (1, 2):
    device = training.prepare_device(precision="float32", seed=0)
    if count == 2:
        device = replace(device, strategy=tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    keras.utils.set_random_seed(1)
    with device.scope():
        model = models.srcnn(3, filters=(4, 4))
    history = training.fit(
        model, lambda first: resolution.dataset(ground, first_step=first, **stream), steps=6, learning_rate=1e-2,
        device=device, validation=(resolution.upsample(low, 2).numpy(), high), checkpoint=f"{sys.argv[1]}/{count}.npz",
        reports=3,
    )
    results[count] = {"loss": list(history.loss), "weights": [w.ravel().tolist() for w in model.get_weights()]}
print("RESULT" + json.dumps(results))
"""


def test_two_devices_give_the_result_of_one(tmp_path):
    done = kernels.run(TWO_DEVICES, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    results = json.loads(done.stdout.split("RESULT")[1])
    assert np.allclose(results["1"]["loss"], results["2"]["loss"], rtol=1e-4)
    for one, two in zip(results["1"]["weights"], results["2"]["weights"], strict=True):
        assert np.allclose(one, two, atol=1e-5)


def test_bfloat16_is_chosen_by_the_processors_flags(tmp_path):
    for flags, expected in [("fma avx2", False), ("avx512f avx512_bf16", True), ("amx_bf16", True)]:
        (tmp_path / "cpuinfo").write_text(f"processor: 0\nflags\t: fpu {flags}\n")
        assert training.cpu_computes_bfloat16(tmp_path / "cpuinfo") is expected
    assert training.cpu_computes_bfloat16(tmp_path / "absent") is False


def test_monitor_prints_few_lines_where_nobody_looks(whole):
    lines = whole[3].strip().splitlines()[1:]
    assert len(lines) == 4 and "step 8/8" in lines[-1] and "psnr_db" in lines[-1]
