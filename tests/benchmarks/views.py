"""`python -m tests.benchmarks.views`: how fast pairs of patch and view are rendered.

Judged is what is made in a second of processor time, in which other programs hardly count; what the clock says is
printed beside it, and means something on an idle machine only.
"""

import tempfile
import time
from pathlib import Path

from helpers import paths
from helpers.pairs import views

IMAGE_SIZE, COUNT, ROUNDS, WANTED = 64, 60, 5, 30


def main():
    """Measure, print and judge."""
    views.land()  # read and refined once
    views.seen(views.land(), views.spots("train", 1).to_dict("records")[0], 64, 0)  # the textures likewise
    by_clock, by_processor = rates()
    print(f"pairs of {IMAGE_SIZE} px, rendered")
    print(f"  {'a second':45} {by_clock:7.1f}")
    reached = by_processor >= WANTED
    verdict = "reached" if reached else "NOT reached"
    print(f"  {'a processor second':45} {by_processor:7.1f}  (wanted at least {WANTED}: {verdict})")
    print(f"  {int(not reached)} of 1 bars not reached")


def rates():
    """Pairs a second, and a processor second: the best of some rounds, none of them from the cache."""
    found, kept = [], paths.DATA
    for seed in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            paths.DATA = Path(folder)
            start = time.perf_counter(), time.process_time()
            views.render("train", COUNT, image_size=IMAGE_SIZE, seed=seed)
            found.append((COUNT / (time.perf_counter() - start[0]), COUNT / (time.process_time() - start[1])))
        paths.DATA = kept
    return tuple(map(max, zip(*found, strict=True)))


if __name__ == "__main__":
    main()
