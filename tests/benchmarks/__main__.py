"""`make bench`: how fast SRCNN trains here, beside what it could be and what it was. Prints a table, writes bench.json.

Rates depend on the machine, so only ratios of rates measured side by side in this one run are judged.
"""

import json
import os
import platform
import subprocess
import sys
import time

if sys.argv[1:] == ["article"]:
    import tensorflow  # noqa: F401  before helpers, so that it comes with its own settings, as the article had it

import numpy as np
from PIL import Image

from helpers import models, paths, scenes, training
from helpers.acquire import packs
from helpers.backend import keras, tf
from helpers.pairs import resolution

PATCH_PX, BATCH_SIZE, SCALE, ROUNDS, STEPS = 256, 32, 4, 5, 2


def main():
    """Run every measurement, print the ratios, write them down."""
    ground, value_range = training_ground()
    chosen = training.prepare_device().precision
    rates = {f"matrix product, {kind} (GFLOP/s)": matrix_product(kind) for kind in ("float32", "bfloat16")}
    stream = {"patch_px": PATCH_PX, "batch_size": BATCH_SIZE, "steps": 10_000, "seed": 0}
    real = resolution.dataset(ground, value_range=value_range, scale=SCALE, enlarged=True, **stream)
    batch = next(iter(real))
    in_memory = tf.data.Dataset.from_tensors(batch).repeat()
    contenders = {"real pipeline": (real, chosen), "data in memory": (in_memory, chosen)}
    if chosen != "float32":
        contenders["data in memory, float32"] = (in_memory, "float32")
    trainings = {name: Training(*contender) for name, contender in contenders.items()} | pytorch_trainings(batch)
    rates |= {f"{name} (images/s)": rate for name, rate in measured(trainings).items()}
    command = [sys.executable, "-m", "tests.benchmarks", "article"]
    done = subprocess.run(command, cwd=paths.ROOT, env=bare_environment(), capture_output=True, text=True, check=True)
    rates["the article's pipeline (images/s)"] = json.loads(done.stdout.splitlines()[-1])
    rates["loading NumPy and rasterio (1/s)"] = loading("numpy, rasterio")
    data_side = "helpers.scenes, helpers.acquire.packs, helpers.metrics, helpers.show, helpers.runs"
    rates["loading the data side of helpers, with them (1/s)"] = loading(data_side)
    report(rates, chosen, batch[0].shape[-1])


def article():
    """The article's training in a process of its own, with TensorFlow's own settings; prints images per second."""
    ground, value_range = training_ground()
    shape = (BATCH_SIZE, PATCH_PX, PATCH_PX, len(ground[0].bands))
    batches = tf.data.Dataset.from_generator(
        lambda: article_batches(ground, value_range), output_signature=(tf.TensorSpec(shape), tf.TensorSpec(shape))
    )
    print(json.dumps(measured({"article": Training(batches, "float32")})["article"]))


def loading(modules):
    """How often a second modules could be imported: processor time in a process of its own, the best of five."""
    code = f"import time; begin = time.process_time(); import {modules}; print(time.process_time() - begin)"
    command = [sys.executable, "-c", code]
    return 1 / min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5))


def bare_environment():
    """The environment without what `helpers` told TensorFlow."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TF_")}


def training_ground():
    """Blocks of real training ground, and their value range."""
    ground = scenes.split_ground(packs.open_scenes("landsat8_itaipu"), block_px=PATCH_PX, guard_px=16)["train"]
    return ground, scenes.value_range(ground)


def measured(trainings):
    """Images per second of each training, the best of rounds in which all take turns, so that a busy moment of the
    machine hits all alike.
    """
    times = {name: [] for name in trainings}
    for _ in range(ROUNDS):
        for name, run in trainings.items():
            start = time.perf_counter()
            run(STEPS)
            times[name].append((time.perf_counter() - start) / STEPS)
    return {name: BATCH_SIZE / min(each) for name, each in times.items()}


class Training:
    """Keras training of SRCNN on an endless dataset, in some precision; call it to run steps."""

    def __init__(self, data, precision):
        keras.config.set_dtype_policy(precision)
        self.model = models.srcnn(data.element_spec[0].shape[-1])
        self.model.compile("adam", "mse", jit_compile=False)
        self.batches = iter(data)
        self(2)  # traces the step and fills the pipeline

    def __call__(self, steps):
        """Run some steps on the batches that come next."""
        for _ in range(steps):
            self.model.train_on_batch(*next(self.batches))


def article_batches(ground, value_range):
    """The article's way: a Python generator that degrades one 8-bit image after another with Pillow."""
    generator = np.random.default_rng(0)
    pictures = [np.uint8(255 * np.clip(scenes.to_unit(scene.pixels, value_range), 0, 1)) for scene in ground]
    small = (PATCH_PX // SCALE, PATCH_PX // SCALE)
    while True:
        inputs, targets = [], []
        for _ in range(BATCH_SIZE):
            image = Image.fromarray(pictures[generator.integers(len(pictures))])
            enlarged = image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)
            inputs.append(np.asarray(enlarged) / 255)
            targets.append(np.asarray(image) / 255)
        yield np.stack(inputs).astype("float32"), np.stack(targets).astype("float32")


def pytorch_trainings(batch):
    """The same network and step in PyTorch eager, in both memory layouts; nothing where torch is not installed."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(os.cpu_count())
    bands = batch[0].shape[-1]
    runs = {}
    for name, layout in [("plain", torch.contiguous_format), ("channels-last", torch.channels_last)]:
        inputs, targets = (torch.tensor(np.moveaxis(b.numpy(), -1, 1).copy()).to(memory_format=layout) for b in batch)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(bands, 64, 9, padding=4), torch.nn.ReLU(), torch.nn.Conv2d(64, 32, 1), torch.nn.ReLU(),
            torch.nn.Conv2d(32, bands, 5, padding=2),
        ).to(memory_format=layout)  # fmt: skip
        optimizer = torch.optim.Adam(network.parameters())

        def run(steps, network=network, optimizer=optimizer, inputs=inputs, targets=targets):
            for _ in range(steps):
                optimizer.zero_grad()
                torch.nn.functional.mse_loss(inputs + network(inputs), targets).backward()
                optimizer.step()

        run(1)
        runs[f"PyTorch eager, {name}, float32"] = run
    return runs


def matrix_product(dtype, side=4096):
    """GFLOP/s of a large matrix product: the machine's practical limit."""
    a = tf.cast(tf.random.normal((side, side)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.cast(tf.matmul(a, a)[0], "float32")))
    product()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        product().numpy()
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times) / 1e9


def training_gflop(bands):
    """Floating-point operations of one image's training step, in 10^9: forward, and backward to weights and inputs."""
    layers = [81 * bands * 64, 64 * 32, 25 * 32 * bands]
    multiply_adds = 3 * sum(layers) - layers[0]  # nobody asks for the gradient of the first layer's input
    return 2 * multiply_adds * PATCH_PX**2 / 1e9


def report(rates, precision, bands):
    """Print rates and ratios, and write bench.json."""
    real, memory = rates["real pipeline (images/s)"], rates["data in memory (images/s)"]
    ratios = {
        "real pipeline / data in memory": (real / memory, 0.95),
        "real pipeline / the article's pipeline": (real / rates["the article's pipeline (images/s)"], 1.5),
        "loading the data side / NumPy and rasterio alone": (
            rates["loading the data side of helpers, with them (1/s)"] / rates["loading NumPy and rasterio (1/s)"], 0.5,
        ),
        f"training arithmetic ({precision}) / float32 matrix product": (
            memory * training_gflop(bands) / rates["matrix product, float32 (GFLOP/s)"], 0.85,
        ),
    }  # fmt: skip
    torch_rates = [rate for name, rate in rates.items() if name.startswith("PyTorch")]
    if torch_rates:
        equal = rates.get("data in memory, float32 (images/s)", memory)
        ratios["float32 / PyTorch's best layout, float32"] = equal / max(torch_rates), 1.8
    print(f"\n{platform.machine()}, {precision}, SRCNN 9-1-5, {PATCH_PX} px, batch {BATCH_SIZE}, {bands} bands")
    for name, rate in rates.items():
        print(f"  {name:45} {rate:9.1f}")
    for name, (ratio, wanted) in ratios.items():
        print(f"  {name:65} {ratio:6.2f}  (wanted {wanted}: {'reached' if ratio >= wanted else 'NOT reached'})")
    if not torch_rates:
        print("  PyTorch is not installed here, so the comparison with it is left out: pip install torch")
    print(f"  {sum(ratio < wanted for ratio, wanted in ratios.values())} of {len(ratios)} bars not reached")
    entry = {"rates": rates, "ratios": {name: {"ratio": r, "wanted": w} for name, (r, w) in ratios.items()}}
    paths.write_json(paths.ROOT / "bench.json", entry | {"precision": precision, "bands": bands})


if __name__ == "__main__":
    article() if sys.argv[1:] == ["article"] else main()
