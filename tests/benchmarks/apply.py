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
    both, difference = (small, large), max(image["difference"] for image in (small, large))
    beside, optimised = max(image["beside"] for image in both), sum(image["is COG"] for image in both)
    bars = [
        judge("largest difference to the whole at once, numbers", difference, difference <= 1, "at most 1"),
        judge("corners beside their place, pixels", beside, beside < 0.01, "under 0.01"),
        judge("outputs with the layout COG, tiles and overviews", optimised, optimised == len(both), "2"),
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
    window_px = room.plan.OUTPUT_PX // SCALE  # as `apply` chooses it
    alone = Alone(model, kind, window_px)
    alone()
    delivering, deliver = [], room.whole.deliver

    def timed(*arguments):
        begin = time.perf_counter()
        deliver(*arguments)
        delivering.append(time.perf_counter() - begin)

    room.whole.deliver = timed
    begin, processor = time.perf_counter(), time.process_time()
    room.apply(model, folder / "in.tif", folder / "out.tif")
    seconds, processor = time.perf_counter() - begin, time.process_time() - processor
    alone()
    windows = -(-height // window_px) * -(-width // window_px)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        json.dumps(checked(folder, alone.network, kind) | {
            "window_px": alone.images.shape[1], "windows": windows,
            "windows/s, predict in memory": alone.windows / alone.seconds,
            "processor seconds per window, predict": alone.processor / alone.windows,
            "processor seconds per window, apply": processor / windows,
            "seconds, apply": seconds, "seconds, final file": sum(delivering),
            "peak GB": peak_gb,
        })
    )  # fmt: skip


def checked(folder, network, kind, side=300, margin=40):
    """The output against the network's answer to a part with a wide margin, its layout, and where its corners lie."""
    import rasterio
    from rasterio.windows import Window

    from helpers.pairs.resolution import upsample

    with rasterio.open(folder / "in.tif") as source, rasterio.open(folder / "out.tif") as made:
        row, column = source.height // 3, source.width // 3  # windows meet in it
        part = source.read(window=Window(column - margin, row - margin, side + 2 * margin, side + 2 * margin))
        unit = (np.moveaxis(part, 0, -1)[None].astype("float32") - 500) / 5500
        answer = network(upsample(unit, SCALE) if kind == "srcnn" else unit)[0].numpy() * 5500 + 500
        inside = slice(margin * SCALE, -margin * SCALE)
        written = made.read(window=Window(column * SCALE, row * SCALE, side * SCALE, side * SCALE))
        difference = np.abs(np.moveaxis(written, 0, -1) - np.clip(np.rint(answer[inside, inside]), 0, 65535)).max()
        ends = [image.transform @ (image.width, image.height) for image in (source, made)]
        starts = [image.transform @ (0, 0) for image in (source, made)]
        beside = max(np.abs(np.subtract(*pair)).max() for pair in (starts, ends)) / made.transform.a
        layout = made.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
        is_cog = bool(layout and made.profile["tiled"] and made.overviews(1))
    return {"difference": float(difference), "beside": float(beside), "is COG": is_cog}


class Alone:
    """The bare network on windows in memory, measured before and after, as other work on the machine comes and goes."""

    def __init__(self, model, kind, window_px):
        from helpers import apply as room

        self.network, about = room.load_model(model)
        predictor = room.network.Predictor(self.network, about, about["value_range"])
        side = (window_px + 2 * predictor.margin_px) * (SCALE if kind == "srcnn" else 1)
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
    from tests.notebook_functions import espcn

    bands = len(scene.bands)
    model = models.srcnn(bands) if kind == "srcnn" else espcn(bands, scale=SCALE)
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
