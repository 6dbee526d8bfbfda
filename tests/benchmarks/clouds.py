"""`python -m tests.benchmarks.clouds`: whether clouds are simulated faster than a network can be trained on them.

A convolutional network of about the cost of the U-Net of the notebook is trained on the simulation, and on one batch
in memory, taking turns. Rates depend on the machine, so only their ratio, measured in one process, is judged.
"""

import time

import numpy as np

from helpers import scenes, training
from helpers.acquire import packs
from helpers.backend import keras, tf
from helpers.pairs import clouds, resolution

PATCH_PX, BATCH_SIZE, ROUNDS, STEPS = 128, 8, 6, 4


def main():
    """Measure, print and judge."""
    training.prepare_device()
    ground = scenes.split_ground(packs.open_scenes("landsat8_itaipu"), block_px=256, guard_px=16)["train"]
    stream = {
        "value_range": scenes.value_range(ground),
        "patch_px": PATCH_PX,
        "batch_size": BATCH_SIZE,
        "steps": 10_000,
    }
    simulated = clouds.dataset(ground, light=(25_000,) * 3, zero=5000, **stream)
    degraded = resolution.dataset(ground, scale=4, enlarged=True, **stream)
    print(f"patches of {PATCH_PX} px, 3 bands, one thread")
    alone = {name: per_processor_second(data) for name, data in (("clouds", simulated), ("super-resolution", degraded))}
    for name, rate in alone.items():
        print(f"  {name + ', patches per processor second':55} {rate:8.0f}")
    in_memory = tf.data.Dataset.from_tensors(next(iter(simulated))).repeat()
    trained = rates({"simulated": simulated, "in memory": in_memory})
    for name, rate in trained.items():
        print(f"  {'training, ' + name + ', patches/s':55} {rate:8.1f}")
    ratio, headroom = trained["simulated"] / trained["in memory"], alone["clouds"] / trained["in memory"]
    bars = [
        judge("training on the simulation / on data in memory", ratio, ratio >= 0.9, "at least 0.9"),
        judge("one thread's patches / what training takes", headroom, headroom >= 2, "at least 2"),
        judge("patches per processor second", alone["clouds"], alone["clouds"] >= 150, "at least 150"),
    ]
    print(f"  {bars.count(False)} of {len(bars)} bars not reached")


def judge(name, value, reached, wanted):
    """Print one line: what was measured, and whether it is what is wanted, which is returned."""
    print(f"  {name:55} {value:8.2f}  (wanted {wanted}: {'reached' if reached else 'NOT reached'})")
    return reached


def per_processor_second(data):
    """Patches that one thread makes in a second of its own time, which other programs do not count in."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = options.threading.max_intra_op_parallelism = 1
    batches, times = iter(data.with_options(options)), []
    next(batches)
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(12):
            next(batches)
        times.append(time.process_time() - start)
    return 12 * BATCH_SIZE / np.median(times)


def rates(contenders):
    """Patches per second of training on each, the best of rounds in which they take turns."""
    runs, times = {name: (network(), iter(data)) for name, data in contenders.items()}, {}
    for number in range(ROUNDS + 1):
        for name, (model, batches) in runs.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                model.train_on_batch(*next(batches))
            if number:  # the first round traces the step
                times.setdefault(name, []).append((time.perf_counter() - start) / STEPS)
    return {name: BATCH_SIZE / min(each) for name, each in times.items()}


def network(bands=3, filters=32):
    """Down four times and up again, with twice the filters at half the size, as a U-Net."""
    image = features = keras.Input((PATCH_PX, PATCH_PX, bands))
    kept = []
    for level in range(4):
        features = keras.layers.Conv2D(filters * 2**level, 3, padding="same", activation="relu")(features)
        kept.append(features)
        features = keras.layers.Conv2D(filters * 2**level, 4, 2, padding="same", activation="relu")(features)
    for level in reversed(range(4)):
        features = keras.layers.Concatenate()([keras.layers.UpSampling2D()(features), kept[level]])
        features = keras.layers.Conv2D(filters * 2**level, 3, padding="same", activation="relu")(features)
    model = keras.Model(image, keras.layers.Conv2D(bands, 3, padding="same", dtype="float32")(features))
    model.compile("adam", "mae", jit_compile=False)
    return model


if __name__ == "__main__":
    main()
