"""`python -m tests.benchmarks.clouds`: whether clouds are simulated faster than a network can be trained on them.

The U-Net of the notebook is trained on the simulation, and on one batch in memory, taking turns. Rates depend on the
machine, so their ratios are judged; those in processor seconds, which other programs do not count in.
"""

import time

import numpy as np

from helpers import scenes, training
from helpers.acquire import packs
from helpers.backend import tf
from helpers.pairs import clouds, resolution
from tests.notebook_functions import unet

PATCH_PX, BATCH_SIZE, BANDS, ROUNDS, STEPS = 128, 8, 3, 10, 4


def main():
    """Measure, print and judge."""
    training.prepare_device()
    ground = scenes.split_ground(packs.open_scenes("landsat8_itaipu"), block_px=256, buffer_px=16)["train"]
    stream = {
        "value_range": scenes.value_range(ground),
        "patch_px": PATCH_PX,
        "batch_size": BATCH_SIZE,
        "steps": 10_000,
    }
    simulated = clouds.dataset(ground, light=(25_000,) * BANDS, **stream)
    degraded = resolution.dataset(ground, scale=4, enlarged=True, **stream)
    print(f"patches of {PATCH_PX} px, 3 bands, one thread")
    alone = {name: per_processor_second(data) for name, data in (("clouds", simulated), ("super-resolution", degraded))}
    for name, rate in alone.items():
        print(f"  {name + ', patches per processor second':55} {rate:8.0f}")
    in_memory = tf.data.Dataset.from_tensors(next(iter(simulated))).repeat()
    trained = trainings({"simulated": simulated, "in memory": in_memory})
    for name, (by_clock, by_processor) in trained.items():
        print(f"  {'training, data ' + name + ', patches/s':55} {by_clock:8.1f}")
        print(f"  {'training, data ' + name + ', patches per processor second':55} {by_processor:8.1f}")
    share, headroom = trained["simulated"][1] / trained["in memory"][1], alone["clouds"] / trained["in memory"][0]
    bars = [
        judge("processor time, training alone / with the simulation", share, share >= 0.9, "at least 0.9"),
        judge("patches that one thread makes / that training takes", headroom, headroom >= 2, "at least 2"),
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


def trainings(contenders):
    """Of each, the patches trained on per second, and per processor second: the best of rounds that take turns."""
    runs, times = {}, {name: [] for name in contenders}
    for name, data in contenders.items():
        model = unet(BANDS, BANDS + 2, 32, 4)
        model.compile("adam", "mae", jit_compile=False)
        runs[name] = model, iter(data)
        model.train_on_batch(*next(runs[name][1]))  # traces the step
    for _ in range(ROUNDS):
        for name, (model, batches) in runs.items():
            start = time.perf_counter(), time.process_time()
            for _ in range(STEPS):
                model.train_on_batch(*next(batches))
            times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: STEPS * BATCH_SIZE / np.min(each, axis=0) for name, each in times.items()}


if __name__ == "__main__":
    main()
