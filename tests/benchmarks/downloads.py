"""`python -m tests.benchmarks.downloads`: speed, politeness and memory of downloads, from a server on this machine.

Prints a table and leaves nothing behind. The server is a process of its own, so that it does not share our Python.
"""

import contextlib
import functools
import hashlib
import io
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.acquire import checks
from helpers.acquire.download import Client, Item, Policy, fetch
from helpers.acquire.practice import Response, serve

LATENCY_S, CONNECTIONS, SIZE_PX = 0.05, 16, 256
PLACE = dict.fromkeys(("west", "south", "east", "north"), 12345678.9)
ROW = {"role": "image", "source": "benchmark", "crs": "EPSG:3857", **PLACE, "credit": "A credit line of usual length"}
RIGHT = functools.partial(checks.image, size_px=(SIZE_PX, SIZE_PX))
BARS = []  # of each line that was printed, whether what is wanted was reached


def main():
    """Measure all, print a line for each."""
    print(f"{'measured':78}{'found':>14}  {'wanted':12}verdict", flush=True)
    with served(LATENCY_S) as url:
        rounds = [(tiles_per_s(url, 60, 1), tiles_per_s(url, 1000, CONNECTIONS)) for _ in range(3)]
        one, many = map(max, zip(*rounds, strict=True))  # the best of each: other programs only make it slower
        ratio = many / one
        report(
            f"{CONNECTIONS} connections against 1, at {LATENCY_S * 1000:.0f} ms ({many:.0f} and {one:.1f} tiles/s)",
            f"{ratio:.1f} x", ">= 12 x", ratio >= 12,
        )  # fmt: skip
    with served(0) as url:
        for limit in (4, 50, 200):
            found = requests_per_s(url, limit)
            report(f"limit of {limit} requests/s", f"{found:.1f} /s", "within 5 %", abs(found / limit - 1) <= 0.05)
        peaks = {count: peak_mb(url, count) for count in (1_000, 20_000)}
        few, lots = peaks.values()
        report(
            f"peak memory of a process that fetches 1,000 and 20,000 tiles ({few:.0f} and {lots:.0f} MB)",
            f"+{lots - few:.1f} MB", "< 20 MB", lots - few < 20,
        )  # fmt: skip
        with data_elsewhere() as folder:
            fetch(tiles(url, 1000), folder, Client(Policy(CONNECTIONS, None)))
            start = time.perf_counter()
            again = fetch(tiles(url, 1000), folder, Client(Policy(CONNECTIONS, None)))
            took = time.perf_counter() - start
        report(
            f"a finished job of 1,000 tiles, again ({took:.1f} s)",
            f"{again.requests} requests",
            "0",
            (again.kept, again.requests) == (1000, 0),
        )
        kept, whole = killed(url, 20)
        report(f"20 kills of a job of 2,000 tiles ({kept} files there at the last)", str(whole), "whole", whole)
    print(f"{BARS.count(False)} of {len(BARS)} bars not reached")


def report(what, found, wanted, reached):
    """Print one line of the table, and count it."""
    BARS.append(reached)
    print(f"{what:78}{found:>14}  {wanted:12}{'reached' if reached else 'NOT reached'}", flush=True)


def tiles(url, count):
    """Generator of items, each of another address."""
    return (Item(f"image/benchmark/{number:06}.png", f"{url}/tile/{number}.png", ROW, RIGHT) for number in range(count))


def tiles_per_s(url, count, connections):
    """Files per second of a job, without its start: from the first to the last item that is done."""
    moments = []

    def note(data):
        RIGHT(data)
        moments.append(time.perf_counter())
        return data

    with data_elsewhere() as folder:
        items = (Item(item.name, item.url, item.row, note) for item in tiles(url, count))
        summary = fetch(items, folder, Client(Policy(connections, None)))
    assert summary.fetched == count, summary
    return (count - 1) / (max(moments) - min(moments))


def requests_per_s(url, limit):
    """Requests per second of a client that may make `limit`, asked by many threads for five seconds."""
    client, moments = Client(Policy(CONNECTIONS, limit)), []

    def ask(number):
        client.get_bytes(f"{url}/tile/{number}.png")
        moments.append(time.perf_counter())

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(ask, range(limit * 5)))
    return (len(moments) - 1) / (max(moments) - min(moments))


@contextlib.contextmanager
def data_elsewhere():
    """A new data set folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "set"


@contextlib.contextmanager
def served(latency_s):
    """Address of a server in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "serve", str(latency_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate("end\n")


def killed(url, times):
    """Kill a job at random moments, then let it end: files at the last kill, and whether all is whole."""
    random = np.random.default_rng(0)
    with data_elsewhere() as folder:
        for _ in range(times):
            command = [sys.executable, "-m", __spec__.name, "fill", url, str(folder)]
            job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            job.stdout.readline()
            time.sleep(random.uniform(0, 0.15))
            job.kill()
            job.communicate()
        kept = len(list(folder.glob("image/benchmark/*.png")))
        summary = fetch(tiles(url, 2000), folder, Client(Policy(CONNECTIONS, None)))
        table = summary.frame()
        right = {hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in table.path} == set(table.sha256)
        return kept, bool(len(table) == 2000 and right and summary.kept >= kept - 4 * CONNECTIONS)


def peak_mb(url, count):
    """Peak resident memory of a new process that fetches so many tiles, MB, as the system counts it."""
    command = [sys.executable, "-m", __spec__.name, "fetch", url, str(count)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def serve_until_told(latency_s):
    """The process of `served`: one tile for all addresses."""
    buffer = io.BytesIO()
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    Image.fromarray(np.stack([rows, columns, rows ^ columns], -1).astype(np.uint8)).save(buffer, "PNG")
    tile = Response(buffer.getvalue(), "image/png")
    with serve([("GET", r"/tile/\d+\.png", lambda request: tile)], latency_s=latency_s) as server:
        print(server.url, flush=True)
        sys.stdin.readline()


def fetch_and_weigh(url, count):
    """The process of `peak_mb`."""
    import resource  # of Linux and macOS; Windows has no such count

    with data_elsewhere() as folder:
        fetch(tiles(url, count), folder, Client(Policy(CONNECTIONS, None)))
    unit = 1e6 if sys.platform == "darwin" else 1e3
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", latency_s]:
            serve_until_told(float(latency_s))
        case ["fill", url, folder]:
            print("ready", flush=True)
            fetch(tiles(url, 2000), folder, Client(Policy(CONNECTIONS, None)))
        case ["fetch", url, count]:
            fetch_and_weigh(url, int(count))
        case _:
            main()
