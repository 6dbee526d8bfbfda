"""`python -m tests.benchmarks.kills [COUNT]`: a job of `apply` is killed at random moments, and still ends whole.

Every process goes on where the one before fell; the file must be that of a job that nobody touched.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import paths, runs, scenes
from helpers.acquire import packs
from helpers.apply import apply
from tests.notebook_functions import unet

COUNT = 20
CODE = """
import sys
from helpers.apply import apply
apply(*sys.argv[1:4], window_px=16, progress=False, resume=True)
"""


def main(count):
    """Kill, let the last one end, compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [saved_model(folder), folder / "in.tif", folder / "out.tif"]
        scenes.write(packs.open_scene("landsat8_itaipu").cut(300, 300, 200, 250), files[1])
        apply(*files, window_px=16, progress=False)
        expected = files[2].read_bytes()
        files[2].unlink()
        kills = sum(killed(files, seed) for seed in range(count))
        apply(*files, window_px=16, progress=False, resume=True)
        same = expected == files[2].read_bytes()
    verdict = "reached" if same and kills else "NOT reached"
    print(f"  {kills} kills of a job of apply: the same bytes at the end, {same}  (wanted True: {verdict})")


def killed(files, seed):
    """Run the job until it has come further, then kill it; whether it was still at work."""
    journal = files[2].parent / ".out.tif.work" / "journal.json"

    def finished():
        return json.loads(journal.read_text())["finished"] if journal.exists() else -1

    before = finished()
    process = subprocess.Popen([sys.executable, "-c", CODE, *map(str, files)], cwd=paths.ROOT)
    while process.poll() is None and finished() <= before:
        time.sleep(0.002)
    time.sleep(random.Random(seed).uniform(0, 0.05))
    at_work = process.poll() is None
    process.kill()
    process.wait()
    return at_work


def saved_model(folder):
    """A small network with random weights, and its description."""
    about = {
        "task": "cloud removal", "bands": ["red", "green", "blue"], "bands_out": ["red", "green", "blue"], "scale": 1,
        "size_multiple": 4, "value_range": [(5000, 20_000)] * 3, "receptive_field_px": None, "credit": "",
    }  # fmt: skip
    return runs.Run("bench", "04", "full", {}, folder).save_model(unet(3, 3, 4, 2), **about)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
