"""Fetching packs that is interrupted, broken off or killed goes on, and leaves nothing half done."""

# ruff: noqa: F811
import os
import subprocess
import sys
import time

import pytest

from helpers.acquire import packs
from tests.test_packs import MEMBERS, RANDOM, WHOLE, downloads, index, root, unpacked, wheel_of, write_catalogue  # noqa: F401


def test_interrupted_while_unpacking(root, index, monkeypatch):
    replace, done = os.replace, []

    def interrupt_the_second(source, target):
        if done:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupt_the_second)
    with pytest.raises(KeyboardInterrupt):
        packs.fetch()
    assert unpacked(root) == {"tiny/red.bin": MEMBERS["red.bin"]}
    monkeypatch.setattr(os, "replace", replace)
    index.log.clear()
    packs.fetch()
    assert index.log == [] and unpacked(root) == WHOLE


@pytest.mark.parametrize("fault", ["break", "end early", "break at once"])
def test_a_broken_download_is_fetched_again_whole(root, index, fault):
    index.faults = [fault]
    packs.fetch()
    assert [request.status for request in downloads(index)] == [200, 200]
    assert unpacked(root) == WHOLE


def test_it_gives_up_after_some_tries_and_leaves_nothing_half_done(root, index):
    index.faults = ["break"] * 9
    with pytest.raises(OSError, match="did not arrive: .*--from-folder"):
        packs.fetch()
    assert len(downloads(index)) == 4 and unpacked(root) == {}
    index.faults = []
    packs.fetch()
    assert unpacked(root) == WHOLE


FETCH = "from helpers.acquire import packs; packs.fetch()"


def fetch_elsewhere(root, index):
    """`fetch` in a process of its own, with pip configured by the environment."""
    environment = os.environ | {
        "SATELLITE_NOTEBOOKS_ROOT": str(root),
        "SATELLITE_NOTEBOOKS_DATA": str(root / "data"),
        "PIP_INDEX_URL": index.url,
    }
    return subprocess.Popen(
        [sys.executable, "-c", FETCH], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_killed_while_downloading(root, index):
    members = MEMBERS | {"red.bin": RANDOM.bytes(2_000_000)}
    index.content, index.faults = wheel_of(members), ["slow"]
    write_catalogue(root, index.content, members=members)
    process = fetch_elsewhere(root, index)
    deadline = time.monotonic() + 60
    while not downloads(index) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    assert unpacked(root) == {}
    packs.fetch()
    assert unpacked(root) == WHOLE | {"tiny/red.bin": members["red.bin"]}


def test_two_processes_at_once_end_with_whole_packs(root, index):
    index.faults = ["slow"]
    processes = [fetch_elsewhere(root, index) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert unpacked(root) == WHOLE
