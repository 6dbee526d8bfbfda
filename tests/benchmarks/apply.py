"""`python -m tests.benchmarks.apply [SIDE] [srcnn]`: the speed of `apply` beside the bare network, and its memory.

A whole Sentinel-2 tile of real imagery (2,745 pixels a side, or SIDE) becomes four times larger: 10,980 x 10,980 x 4
of 16 bits. The network is ESPCN, the smallest of the series, or SRCNN, seven times dearer. Rates depend on the machine,
so only their ratio, measured in one process, is judged.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers import paths, runs, scenes
from helpers.acquire import packs

SCALE, SIDE, ROUNDS = 4, 2745, 6


def main(side, kind):
    """Measure in processes of their own, print and judge."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = (measured(Path(folder), kind, (height, side)) for height in (side, 2 * side))
    print(f"{side * SCALE} x {side * SCALE} x 4, 16 bits, {kind} x4, windows of {small['window_px']:.0f} px")
    for name, value in small.items():
        print(f"  {name:45} {value:9.2f}")
    network, seconds = small["windows/s, predict in memory"], small["seconds, apply"]
    computing = small["windows"] / (seconds - small["seconds, final file"]) / network
    whole, growth = small["windows"] / seconds / network, large["peak GB"] / small["peak GB"]
    bars = [
        judge("reading, computing, writing / predict in memory", computing, computing >= 0.85, "at least 0.85"),
        judge("the same with the final file / predict in memory", whole, whole >= 0.85, "at least 0.85"),
        judge("peak memory, GB", small["peak GB"], small["peak GB"] < 2, "under 2"),
        judge("peak memory at twice the area / at once", growth, growth < 1.1, "under 1.1"),
    ]
    print(f"  {bars.count(False)} of {len(bars)} bars not reached")


def judge(name, value, reached, wanted):
    """Print one line: what was measured, and whether it is what is wanted, which is returned."""
    print(f"  {name:55} {value:6.2f}  (wanted {wanted}: {'reached' if reached else 'NOT reached'})")
    return reached


def measured(folder, kind, shape):
    """What one process measures on an image of this (height, width)."""
    command = [sys.executable, "-m", "tests.benchmarks.apply", "once", str(folder), kind, *map(str, shape)]
    done = subprocess.run(command, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def once(folder, kind, height, width):
    """Apply a network, then measure it alone; prints JSON."""
    from helpers import apply as room

    scene = packs.open_scene("sentinel2_brandenburg")
    repeats = -(-height // scene.height), -(-width // scene.width), 1
    wide = replace(scene, pixels=np.tile(scene.pixels, repeats)[:height, :width])
    scenes.write(wide, folder / "in.tif")
    model = saved_model(folder, kind, scene)
    del wide
    window_px = 128 if kind == "srcnn" else 256  # as `apply` chooses them
    alone = Alone(model, window_px)
    alone()
    delivering, deliver = [], room.working.Working.deliver

    def timed(*arguments):
        begin = time.perf_counter()
        deliver(*arguments)
        delivering.append(time.perf_counter() - begin)

    room.working.Working.deliver = timed
    begin, processor = time.perf_counter(), time.process_time()
    room.apply(model, folder / "in.tif", folder / "out.tif")
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    alone()
    windows = -(-height // window_px) * -(-width // window_px)
    print(
        json.dumps({
            "window_px": alone.images.shape[1], "windows": windows,
            "windows/s, predict in memory": alone.windows / alone.seconds,
            "processor seconds per window, predict": alone.processor / alone.windows,
            "processor seconds per window, apply": processor / windows,
            "seconds, apply": seconds, "seconds, final file": sum(delivering),
            "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        })
    )  # fmt: skip


class Alone:
    """The bare network on windows in memory, measured before and after, as other work on the machine comes and goes."""

    def __init__(self, model, window_px):
        from helpers import apply as room

        self.network, about = room.load_model(model)
        predictor = room.network.Predictor(self.network, about, about["value_range"], about["value_range"])
        side = (window_px + 2 * predictor.margin_px) * (SCALE if predictor.enlarge_first else 1)
        self.images = np.random.default_rng(0).random((4, side, side, len(about["bands"]))).astype("float32")
        self.windows = self.seconds = self.processor = 0
        self.network.predict(self.images, batch_size=4, verbose=0)  # traces it

    def __call__(self):
        """A few rounds."""
        begin, processor = time.perf_counter(), time.process_time()
        for _ in range(ROUNDS):
            self.network.predict(self.images, batch_size=4, verbose=0)
        self.seconds += time.perf_counter() - begin
        self.processor += time.process_time() - processor
        self.windows += ROUNDS * len(self.images)


def saved_model(folder, kind, scene):
    """A small network with random weights, and its description."""
    from helpers import models

    bands = len(scene.bands)
    model = models.srcnn(bands) if kind == "srcnn" else models.espcn(bands, scale=SCALE)
    for weight in model.trainable_weights:
        if not weight.numpy().any():
            weight.assign(np.random.default_rng(0).normal(0, 0.01, weight.shape))
    about = {
        "task": "super-resolution", "bands": scene.bands, "bands_out": scene.bands, "scale": SCALE, "size_multiple": 1,
        "value_range": [(500, 6000)] * len(scene.bands), "receptive_field_px": models.receptive_field_px(model),
        "credit": scene.credit,
    }  # fmt: skip
    return runs.Run("bench", "02_srcnn", "full", {}, folder).save_model(model, **about)


if __name__ == "__main__":
    if sys.argv[1:2] == ["once"]:
        once(Path(sys.argv[2]), sys.argv[3], *map(int, sys.argv[4:]))
    else:
        main(int(next(filter(str.isdigit, sys.argv[1:]), SIDE)), "srcnn" if "srcnn" in sys.argv else "espcn")
