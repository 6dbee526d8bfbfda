"""`make bench`: how fast SRCNN trains here, beside what it could be and what it was. Prints a table, writes bench.json.

Rates depend on the machine, so only ratios of rates measured side by side in this one run are judged. Every peer works
in a process of its own: TensorFlow and PyTorch in one process were seen to die by a segmentation fault.
"""

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile

from helpers import paths
from tests.benchmarks.peers import BATCH_SIZE, PATCH_PX, PEERS, SIDE

ROUNDS = 5


def main():
    """Run every measurement, print the ratios, write them down."""
    names = [name for name in PEERS if importlib.util.find_spec("torch") or not name.startswith("PyTorch")]
    seconds, about = measured({name: Peer(name) for name in names})
    products = {name: time for name, time in seconds.items() if name.startswith("matrix")}
    rates = {f"{name} (GFLOP/s)": 2 * SIDE**3 / time / 1e9 for name, time in products.items()}
    rates |= {f"{name} (images/s)": BATCH_SIZE / time for name, time in seconds.items() if name not in products}
    rates["loading NumPy and rasterio (1/s)"] = loading("numpy, rasterio")
    data_side = "helpers.scenes, helpers.acquire.packs, helpers.metrics, helpers.show, helpers.runs"
    rates["loading the data side of helpers, with them (1/s)"] = loading(data_side)
    report(rates, **about["real pipeline"])


class Peer:
    """A process that runs a few steps whenever it is asked to."""

    def __init__(self, name, command=None):
        self.name = name
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        # the article's TensorFlow hears nothing of what `helpers` would tell it
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "tests.benchmarks.peers", name], cwd=paths.ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, env=environment,
        )  # fmt: skip
        self.about = self.answer()

    def ask(self):
        """Seconds of one step."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # `answer` says how it ended
        return self.answer()

    def answer(self):
        """The next line of JSON; SystemExit says how a peer died."""
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        how = f"by signal {-status} ({signal.Signals(-status).name})" if status < 0 else f"with status {status}"
        self.said.seek(0)
        raise SystemExit(f"the benchmark {self.name!r} died {how}:\n{self.said.read()[-3000:]}")

    def end(self):
        """Let it go."""
        self.process.communicate("")


def measured(peers):
    """Seconds of a step of each, the best of rounds in which all take turns, so that a busy moment hits all alike."""
    times = {name: [] for name in peers}
    for _ in range(ROUNDS):
        for name, peer in peers.items():
            times[name].append(peer.ask())
    for peer in peers.values():
        peer.end()
    return {name: min(each) for name, each in times.items()}, {name: peer.about for name, peer in peers.items()}


def loading(modules):
    """How often a second modules could be imported: processor time in a process of its own, the best of five."""
    code = f"import time; begin = time.process_time(); import {modules}; print(time.process_time() - begin)"
    command = [sys.executable, "-c", code]
    return 1 / min(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5))


def training_gflop(bands):
    """Floating-point operations of one image's training step, in 10^9: forward, and backward to weights and inputs."""
    layers = [81 * bands * 64, 64 * 32, 25 * 32 * bands]
    multiply_adds = 3 * sum(layers) - layers[0]  # nobody asks for the gradient of the first layer's input
    return 2 * multiply_adds * PATCH_PX**2 / 1e9


def report(rates, precision, bands):
    """Print rates and ratios, and write bench.json."""
    real, memory = rates["real pipeline (images/s)"], rates["data in memory (images/s)"]
    loaded = rates["loading the data side of helpers, with them (1/s)"]
    arithmetic = memory * training_gflop(bands) / rates["matrix product, float32 (GFLOP/s)"]
    ratios = {
        "real pipeline / data in memory": (real / memory, 0.95),
        "real pipeline / the article's pipeline": (real / rates["article (images/s)"], 1.5),
        "loading the data side / NumPy and rasterio alone": (loaded / rates["loading NumPy and rasterio (1/s)"], 0.5),
        f"training arithmetic ({precision}) / float32 matrix product": (arithmetic, 0.85),
    }
    torch_rates = [rate for name, rate in rates.items() if name.startswith("PyTorch")]
    if torch_rates:
        equal = rates["data in memory, float32 (images/s)"]
        ratios["float32 / PyTorch's best layout, float32"] = equal / max(torch_rates), 1.8
    print(f"\n{platform.machine()}, {precision}, SRCNN 9-1-5, {PATCH_PX} px, batch {BATCH_SIZE}, {bands} bands")
    for name, rate in rates.items():
        print(f"  {name:51} {rate:9.1f}")
    for name, (ratio, wanted) in ratios.items():
        print(f"  {name:65} {ratio:6.2f}  (wanted {wanted}: {'reached' if ratio >= wanted else 'NOT reached'})")
    if not torch_rates:
        print("  PyTorch is not installed here, so the comparison with it is left out: pip install torch")
    print(f"  {sum(ratio < wanted for ratio, wanted in ratios.values())} of {len(ratios)} bars not reached")
    entry = {"rates": rates, "ratios": {name: {"ratio": r, "wanted": w} for name, (r, w) in ratios.items()}}
    paths.write_json(paths.ROOT / "bench.json", entry | {"precision": precision, "bands": bands})


if __name__ == "__main__":
    main()
