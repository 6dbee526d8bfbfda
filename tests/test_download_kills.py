"""Downloads that are killed, stopped or run out of disk keep what is done."""

import os
import random
import re
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from helpers.acquire import download
from helpers.acquire.download import Client, Policy
from tests.interrupts import press_ctrl_c
from tests.test_download_faults import CLIENT, FAST, ROUTES, assert_whole, contents, png, serve, tiles

# --- sudden death

JOB = """
import sys
from pathlib import Path
from helpers import paths
paths.DATA = Path(sys.argv[1])
from helpers.acquire.download import Client, Item, Policy, fetch
rows = {"role": "image", "west": 0.1, "credit": "Drawn, by a generator"}
items = (
    Item(f"image/{number}.png", f"{sys.argv[3]}/tile/{number}.png", rows) for number in range(200)
)
print("ready", flush=True)
print(fetch(items, sys.argv[2], Client(Policy(connections=4, requests_per_s=None, timeout_s=float(sys.argv[4])))))
"""


def run_job(data, folder, server, timeout_s=5):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(data), str(folder), server.url, str(timeout_s)], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip


def test_a_kill_before_the_first_line_of_the_manifest(folders):
    (folders / "set").mkdir()
    (folders / "set/manifest.csv").touch()
    with serve(ROUTES) as server:
        assert download.fetch(tiles(server, 3), folders / "set", Client(FAST, **CLIENT)).fetched == 3
    assert_whole(folders / "set", 3)


def test_a_job_killed_at_random_moments_ends_as_if_it_had_run_through(folders):
    moments, kills, most, listed, folder = random.Random(4), 0, 0, 0, folders / "set"
    with serve(ROUTES, latency_s=0.015) as server:
        whole = run_job(folders / "other data", folders / "whole", server)
        done = f"{folders / 'whole'}: 200 fetched, 0 already there, 200 requests"
        assert whole.communicate()[0] == f"ready\n{done}\n"  # and no bar, as there is no screen
        while kills < 3:  # 20 in tests/benchmarks/downloads.py
            job = run_job(folders / "data", folder, server)
            assert job.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0, 0.15))
            kills += job.poll() is None
            job.kill()
            job.communicate()
            found = contents(folder) if folder.exists() else {}
            images = {name: content for name, content in found.items() if re.match(r"image/\d", name)}
            assert all(content == png(int(name[6:-4])) for name, content in images.items())
            assert len(images) >= most  # nothing that was done is lost
            most = len(images)
            if found.get("manifest.csv"):
                *lines, last = found["manifest.csv"].splitlines(keepends=True)
                right = contents(folders / "whole")["manifest.csv"].splitlines(keepends=True)
                assert set(lines) <= set(right) and any(line.startswith(last) for line in right)
                assert len(lines) - 1 >= listed
                listed = len(lines) - 1
        before = server.requests
        assert "skipped" not in run_job(folders / "data", folder, server).communicate()[0]
        assert server.requests - before <= 200 - listed  # nothing listed is asked for again
        assert server.requests < 2 * 200 + 20 * 8  # what was in flight at a kill is all that was asked for again
    assert contents(folder) == contents(folders / "whole")
    assert_whole(folder, 200)


@pytest.mark.skipif(sys.platform == "win32", reason="the signal of Ctrl-C ends the whole test run there")
def test_ctrl_c_is_prompt_and_keeps_what_is_done(folders):
    with serve(ROUTES, faults={"stall": 0.1}, lasting=True) as server:
        job = run_job(folders / "data", folders / "set", server, timeout_s=2)
        manifest, deadline = folders / "set/manifest.csv", time.monotonic() + 100
        while not manifest.exists() or manifest.read_bytes().count(b"\n") < 6:  # a header, and five that are done
            assert time.monotonic() < deadline and job.poll() is None
            time.sleep(0.02)
        said, _ = press_ctrl_c(job)
        assert "KeyboardInterrupt" in said
    found = contents(folders / "set")
    table = download.read_manifest(folders / "set")
    assert 5 <= len(table) < 150 and {*table["path"], "manifest.csv"} == set(found)
    del found["manifest.csv"]
    assert all(content == png(int(name[6:-4])) for name, content in found.items())


def test_no_request_is_made_once_a_job_has_ended(folders):
    def draw(server):
        yield from tiles(server, 4)  # fewer than the threads: one of them draws on
        while server.requests < 12:
            time.sleep(0.01)
        raise RuntimeError("the search broke off")

    patient = Policy(connections=4, requests_per_s=None, tries=1000, longest_wait_s=0.1)
    with serve(ROUTES, faults={"503": 1.0}, lasting=True) as server:
        with pytest.raises(RuntimeError, match="broke off"):
            download.fetch(draw(server), folders / "set", Client(patient))
        time.sleep(0.2)
        before = server.requests
        time.sleep(0.5)
        assert server.requests == before


def test_a_full_disk_stops_the_job_with_clear_words(folders, monkeypatch):
    write = Path.write_bytes

    def full(path, data):
        # more than the 16 that may be on their way to the manifest
        if len(list((folders / "set/image").glob("*"))) > 20:
            monkeypatch.setattr("shutil.disk_usage", lambda folder: types.SimpleNamespace(free=0))
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with serve(ROUTES) as server, pytest.raises(OSError, match="the disk is full"):
        download.fetch(tiles(server, 60), folders / "set", Client(FAST))
    assert 0 < len(download.read_manifest(folders / "set")) < 50
    deadline = time.monotonic() + 30
    while [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]:
        assert time.monotonic() < deadline, "a thread goes on though the job has ended"
        time.sleep(0.05)
