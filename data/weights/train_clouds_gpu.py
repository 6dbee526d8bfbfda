"""Train a cloud remover on one GPU where Keras runs on JAX and TensorFlow is not installed.

Network, simulation and loss are those of `helpers`. Their few TensorFlow functions are replaced by
JAX's, so the random numbers are JAX's, too. Samples are made on the GPU, inside the training step.

    python -m data.weights.train_clouds cloud_remover_landsat --out trained --prepare   # TensorFlow
    python data/weights/train_clouds_gpu.py trained/cloud_remover_landsat_ground.npz LEG.npz --seconds 420
    python -m data.weights.train_clouds cloud_remover_landsat --out trained --publish --leg LEG.npz

A leg may start from another (`--start`). LEG.npz holds the averaged weights and the settings.
"""

import argparse
import importlib
import json
import os
import sys
import time
import types
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import numpy as np

HELPERS = Path(__file__).resolve().parents[2] / "helpers"
CHUNK = 50  # steps in one call of the GPU


def uniform(shape, key, minval=0.0, maxval=1.0):
    """Stand in for tf.random.stateless_uniform."""
    return jax.random.uniform(key, tuple(shape), minval=minval, maxval=maxval)


def cast(values, dtype):
    """Stand in for tf.cast; keys of random numbers stay keys."""
    is_key = hasattr(values, "dtype") and jax.dtypes.issubdtype(values.dtype, jax.dtypes.prng_key)
    return values if is_key else jnp.asarray(values).astype(dtype)


def moments(values, axes, keepdims=False):
    """Stand in for tf.nn.moments."""
    return jnp.mean(values, axes, keepdims=keepdims), jnp.var(values, axes, keepdims=keepdims)


def skewed(image, shear):
    """Stand in for `pairs.clouds.skewed`: shift each row sideways; bilinear, mirrored."""
    height, width = image.shape[:2]
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None]
    at = columns + shear * (rows - (height - 1) / 2)
    left = jnp.floor(at)

    def take(index):
        index = index.astype(int)
        index = jnp.where(index < 0, -1 - index, index)
        return image[rows, jnp.where(index >= width, 2 * width - 1 - index, index)]

    share = (at - left)[..., None]
    return take(left) * (1 - share) + take(left + 1) * share


def stub(name, **content):
    """Put a module in the place of one that cannot be imported here."""
    module = sys.modules[name] = types.ModuleType(name)
    module.__dict__.update(content)
    folder = HELPERS.parent / name.replace(".", "/")
    if folder.is_dir():
        module.__path__ = [str(folder)]
    return module


def to_unit(pixels, value_range):
    """Stand in for `scenes.to_unit`."""
    low, high = np.asarray(value_range, "float32").T
    return (pixels - low) / (high - low)


def load_helpers():
    """Import models, losses and the simulation of clouds with JAX in the place of TensorFlow."""
    same = ["sin", "cos", "round", "exp", "sqrt", "stack", "sort", "reshape", "abs", "where"]
    same += ["maximum", "minimum", "float32", "int32", "broadcast_to"]
    tf = types.SimpleNamespace(**{name: getattr(jnp, name) for name in same})
    tf.int64, tf.cast, tf.concat, tf.clip_by_value = jnp.int32, cast, jnp.concatenate, jnp.clip
    tf.constant, tf.size, tf.transpose = jnp.asarray, jnp.size, jnp.transpose
    tf.sigmoid, tf.complex, tf.tensordot = jax.nn.sigmoid, jax.lax.complex, jnp.tensordot
    tf.gather = lambda table, index: jnp.take(jnp.asarray(table), index, axis=0)
    tf.slice, tf.unstack = jax.lax.dynamic_slice, list
    tf.reduce_max, tf.reduce_min, tf.reduce_mean = jnp.max, jnp.min, jnp.mean
    tf.math = types.SimpleNamespace(reduce_std=jnp.std)
    tf.nn, tf.signal = types.SimpleNamespace(moments=moments), types.SimpleNamespace(irfft2d=jnp.fft.irfft2)
    tf.random = types.SimpleNamespace(stateless_uniform=uniform, fold_in=jax.random.fold_in)
    stub("helpers").features = stub("helpers.features", backbone=None)
    stub("helpers.backend", keras=keras, tf=tf)
    stub("helpers.scenes", to_unit=to_unit)
    for room in ("pairs", "training"):
        stub(f"helpers.{room}")
    names = ("helpers.models", "helpers.pairs.clouds", "helpers.training.losses", "travelling_clouds")
    models, clouds, losses, travelling_clouds = map(importlib.import_module, names)
    clouds.skewed = skewed
    return models, clouds, losses, travelling_clouds


def draw_patch(ground, side, key):
    """Return a patch of the training ground (blocks, height, width, bands), turned and mirrored."""
    keys = jax.random.split(key, 3)
    block = jax.random.randint(keys[0], (), 0, len(ground))
    row, column = jax.random.randint(keys[1], (2,), 0, ground.shape[1] - side + 1)
    patch = jax.lax.dynamic_slice(ground, (block, row, column, 0), (1, side, side, ground.shape[3]))[0]
    turn = jax.random.randint(keys[2], (3,), 0, 2)
    patch = jnp.where(turn[0], patch.transpose(1, 0, 2), patch)
    patch = jnp.where(turn[1], patch[::-1], patch)
    return jnp.where(turn[2], patch[:, ::-1], patch)


def train(options):
    """Train until the time is over, and write the averaged weights."""
    models, clouds, losses, travelling_clouds = load_helpers()
    with np.load(options.ground) as given:
        ground, light = jnp.asarray(given["ground"], jnp.float32), given["light"].astype("float32")
        bands, settings = given["bands"].tolist(), json.loads(str(given["network"]))
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if jax.default_backend() == "gpu" else "float32")
    keras.utils.set_random_seed(options.seed)
    network = models.cloud_remover(len(bands), **settings)
    loss_of = losses.cleared(options.clear_weight, options.cloud_weight)
    looks = {"bands": bands, "value_range": clouds.UNIT, "skew": 0.15}

    def sample(key):
        """One pair: mostly ground and clouds of all kinds, else both as they are at home."""
        keys = jax.random.split(key, 3)
        patch = draw_patch(ground, options.patch_px, keys[0])
        own = clouds.simulate(patch, keys[1], light=light, difficulty=1.0, **looks)
        varied = travelling_clouds.simulate(patch, keys[1], **looks)
        at_home = jax.random.uniform(keys[2]) < options.home
        return tuple(jnp.where(at_home, *images) for images in zip(own, varied, strict=True))

    def objective(weights, cloudy, truth):
        return loss_of(truth, network.stateless_call(weights, [], cloudy, training=True)[0])

    def step(state, key):
        weights, first, second, averaged, count, rate = state
        cloudy, truth = jax.vmap(sample)(jax.random.split(key, options.batch_size))
        loss, slopes = jax.value_and_grad(objective)(weights, cloudy, truth)
        norm = jnp.sqrt(sum((slope**2).sum() for slope in slopes))
        slopes = [slope / jnp.maximum(norm, 1.0) for slope in slopes]
        count += 1
        first = [0.9 * old + 0.1 * new for old, new in zip(first, slopes, strict=True)]  # Adam
        second = [0.999 * old + 0.001 * new**2 for old, new in zip(second, slopes, strict=True)]
        moved = [
            a / (1 - 0.9**count) / (jnp.sqrt(b / (1 - 0.999**count)) + 1e-8) for a, b in zip(first, second, strict=True)
        ]
        weights = [old - rate * by for old, by in zip(weights, moved, strict=True)]
        decay = jnp.minimum(0.998, (1 + count) / (10 + count))
        averaged = [decay * old + (1 - decay) * new for old, new in zip(averaged, weights, strict=True)]
        return (weights, first, second, averaged, count, rate), loss

    @jax.jit
    def steps(state, key):
        state, losses_seen = jax.lax.scan(step, state, jax.random.split(key, CHUNK))
        return state, losses_seen.mean()

    weights = [jnp.asarray(variable.value) for variable in network.trainable_variables]
    if options.start:
        with np.load(options.start) as held:
            weights = [jnp.asarray(held[f"arr_{number}"]) for number in range(len(weights))]
    zeros = [jnp.zeros_like(each) for each in weights]
    state, key = (weights, zeros, zeros, weights, jnp.float32(0)), jax.random.key(options.seed)
    begun, done = time.time(), 0
    while (part := (time.time() - begun) / options.seconds) < 1:
        rate = options.rate * min(1, (done + CHUNK) / 300) * 0.5 * (1 + np.cos(np.pi * part)) + 1e-6
        key, drawn = jax.random.split(key)
        state, loss = steps((*state[:5], jnp.float32(rate)), drawn)
        loss.block_until_ready()  # else the next steps are queued, faster than they are computed
        done += CHUNK
        if done == CHUNK:
            begun = time.time()  # compiled now: the clock starts anew
        if done % 2500 == 0:
            print(f"step {done} · loss {float(loss):.4f}", flush=True)
    facts = {**vars(options), "steps": done, "seconds": round(time.time() - begun)}
    np.savez(options.leg, *map(np.asarray, state[3]), settings=json.dumps(facts))


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ground")
    parser.add_argument("leg")
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--start", help="leg to start from")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--patch-px", type=int, default=64)
    parser.add_argument("--home", type=float, default=0.2, help="share of patches as they are at home")
    parser.add_argument("--clear-weight", type=float, default=3.0)
    parser.add_argument("--cloud-weight", type=float, default=0.15)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
