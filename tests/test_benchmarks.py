"""A benchmark that dies says so and fails."""

import sys

import pytest

from tests.benchmarks.__main__ import Peer, measured

ANSWERS = "import sys; print('{}', flush=True)\nfor _ in sys.stdin: print(0.25, flush=True)"
DIES = "import os; print('{}', flush=True); input(); os.kill(os.getpid(), 11)"


def test_peers_take_turns():
    peers = {name: Peer(name, [sys.executable, "-c", ANSWERS]) for name in ("one", "other")}
    assert measured(peers) == ({"one": 0.25, "other": 0.25}, {"one": {}, "other": {}})


def test_a_peer_that_dies_says_so_and_fails():
    with pytest.raises(SystemExit, match="the benchmark 'torch' died by signal 11 .SIGSEGV"):
        measured({"torch": Peer("torch", [sys.executable, "-c", DIES])})
    with pytest.raises(SystemExit, match="(?s)the benchmark 'x' died with status 1:.*KeyError: 'x'"):
        Peer("x")
