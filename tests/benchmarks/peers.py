"""What `make bench` compares, each in a process of its own: `python -m tests.benchmarks.peers NAME`.

A peer prints one line of JSON about itself. Then it runs a few steps for every line that it reads,
and prints the seconds of one step as a line of JSON.
"""

import json
import os
import sys
import time

if sys.argv[1:] == ["article"]:
    import tensorflow  # noqa: F401  before helpers, so that it has its own settings, as the article had it

import numpy as np

PATCH_PX, BATCH_SIZE, SCALE, STEPS, SIDE = 256, 32, 4, 2, 4096


def training_ground():
    """Blocks of real training ground, and their value range."""
    from helpers import scenes
    from helpers.acquire import packs

    blocks = scenes.split_ground(packs.open_scenes("landsat8_itaipu"), block_px=PATCH_PX, buffer_px=16)
    return blocks["train"], scenes.value_range(blocks["train"])


def batches():
    """The super-resolution pipeline of the notebooks, as tf.data."""
    from helpers.pairs import resolution

    ground, value_range = training_ground()
    stream = {"patch_px": PATCH_PX, "batch_size": BATCH_SIZE, "steps": 10_000, "seed": 0}
    return resolution.dataset(ground, value_range=value_range, scale=SCALE, enlarged=True, **stream)


def keras_training(data, precision):
    """Facts, and a function that runs steps of SRCNN on an endless dataset."""
    from helpers import models
    from helpers.backend import keras

    keras.config.set_dtype_policy(precision)
    bands = data.element_spec[0].shape[-1]
    model = models.srcnn(bands)
    model.compile("adam", "mse", jit_compile=False)
    taken = iter(data)

    def run(steps):
        for _ in range(steps):
            model.train_on_batch(*next(taken))

    run(2)  # traces the step and fills the pipeline
    return {"precision": precision, "bands": bands}, run


def pipeline():
    """Train on the real pipeline."""
    from helpers import training

    return keras_training(batches(), training.prepare_device().precision)


def memory(precision="auto"):
    """Train on one batch in memory: the limit of any pipeline."""
    from helpers import training
    from helpers.backend import tf

    batch = next(iter(batches()))
    chosen = training.prepare_device(precision=precision).precision
    return keras_training(tf.data.Dataset.from_tensors(batch).repeat(), chosen)


def article():
    """Train as the article did: a Python generator that degrades images with Pillow, one by one."""
    from PIL import Image

    from helpers import scenes
    from helpers.backend import tf

    ground, value_range = training_ground()
    unit = [np.clip(scenes.to_unit(scene.pixels, value_range), 0, 1) for scene in ground]
    pictures = [np.uint8(255 * pixels) for pixels in unit]
    small, kernel = (PATCH_PX // SCALE, PATCH_PX // SCALE), Image.Resampling.BICUBIC

    def draw():
        generator = np.random.default_rng(0)
        while True:
            inputs, targets = [], []
            for _ in range(BATCH_SIZE):
                image = Image.fromarray(pictures[generator.integers(len(pictures))])
                inputs.append(np.asarray(image.resize(small, kernel).resize(image.size, kernel)) / 255)
                targets.append(np.asarray(image) / 255)
            yield np.stack(inputs).astype("float32"), np.stack(targets).astype("float32")

    spec = tf.TensorSpec((BATCH_SIZE, PATCH_PX, PATCH_PX, len(ground[0].bands)))
    return keras_training(tf.data.Dataset.from_generator(draw, output_signature=(spec, spec)), "float32")


def torch_training(layout):
    """Train the same network in PyTorch eager, in one memory layout, on random numbers."""
    import torch

    torch.set_num_threads(os.cpu_count())
    bands = len(training_ground()[0][0].bands)
    form = getattr(torch, layout)
    inputs, targets = (torch.rand(BATCH_SIZE, bands, PATCH_PX, PATCH_PX).to(memory_format=form) for _ in range(2))
    network = torch.nn.Sequential(
        torch.nn.Conv2d(bands, 64, 9, padding=4), torch.nn.ReLU(), torch.nn.Conv2d(64, 32, 1), torch.nn.ReLU(),
        torch.nn.Conv2d(32, bands, 5, padding=2),
    ).to(memory_format=form)  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters())

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(inputs + network(inputs), targets).backward()
            optimizer.step()

    run(1)
    return {"torch": torch.__version__}, run


def matrix_product(dtype):
    """Multiply large matrices: the practical limit of the machine."""
    from helpers.backend import tf

    a = tf.cast(tf.random.normal((SIDE, SIDE)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.cast(tf.matmul(a, a)[0], "float32")))

    def run(steps):
        for _ in range(steps):
            product().numpy()

    run(1)
    return {}, run


PEERS = {
    "real pipeline": pipeline,
    "data in memory": memory,
    "data in memory, float32": lambda: memory("float32"),
    "article": article,
    "PyTorch eager, plain, float32": lambda: torch_training("contiguous_format"),
    "PyTorch eager, channels-last, float32": lambda: torch_training("channels_last"),
    "matrix product, float32": lambda: matrix_product("float32"),
    "matrix product, bfloat16": lambda: matrix_product("bfloat16"),
}


def main(name):
    """Answer until the input ends."""
    answers = os.dup(1)  # what libraries print goes to the error output
    os.dup2(2, 1)
    with os.fdopen(answers, "w") as out:
        about, run = PEERS[name]()
        print(json.dumps(about), file=out, flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            run(STEPS)
            print(json.dumps((time.perf_counter() - start) / STEPS), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
