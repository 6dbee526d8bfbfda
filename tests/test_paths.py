"""Writing files so that nothing half-written ever stands under a final name."""

import json
import os
import subprocess
import sys

import pytest

from helpers import paths


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "new" / "scene.tif"
    with paths.atomic(target) as temporary:
        assert temporary.parent == target.parent and temporary.suffix == ".tif"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole" and names(target.parent) == ["scene.tif"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks what is being read")
def test_whoever_reads_the_old_file_reads_it_to_its_end(tmp_path):
    (tmp_path / "scene.tif").write_text("old")
    with open(tmp_path / "scene.tif") as reader:
        with paths.atomic(tmp_path / "scene.tif") as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, PermissionError])
def test_a_failure_leaves_what_was_there(tmp_path, failure):
    target = tmp_path / "metrics.json"
    target.write_text("old")
    with pytest.raises(failure), paths.atomic(target) as temporary:
        temporary.write_text("half of the new")
        raise failure
    assert target.read_text() == "old" and names(tmp_path) == ["metrics.json"]


def test_a_failure_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(RuntimeError), paths.atomic(tmp_path / "scene.tif") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_block_that_writes_nothing_replaces_nothing(tmp_path):
    (tmp_path / "latest").write_text("old")
    with pytest.raises(FileNotFoundError), paths.atomic(tmp_path / "latest"):
        pass
    assert (tmp_path / "latest").read_text() == "old"


def test_a_claim_says_why_it_fails(tmp_path):
    (tmp_path / "lock").write_text("not SQLite's" * 1000)
    with pytest.raises(ValueError, match="it is taken"), paths.claimed(tmp_path / "lock", "it is taken"):
        pass
    with pytest.raises(OSError, match="File name too long"), paths.claimed(tmp_path / ("x" * 256), "it"):
        pass


def test_a_full_disk_is_told_with_what_to_do(tmp_path, monkeypatch):
    target = tmp_path / "scene.tif"
    target.write_text("old")
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda folder: _Usage(5e5))
    message = "disk is full: 1 MB are needed in .*, 0 MB free. Make room"
    with pytest.raises(OSError, match=message), paths.atomic(target) as temporary:
        temporary.write_text("half")
        raise OSError("No space left on device")
    assert target.read_text() == "old" and names(tmp_path) == ["scene.tif"]


@pytest.mark.parametrize("free, message", [(5e5, "disk is full"), (5e9, "^Write failed$")])
def test_a_full_disk_is_seen_where_a_library_hides_the_reason(tmp_path, monkeypatch, free, message):
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda folder: _Usage(free))
    with pytest.raises(OSError, match=message), paths.atomic(tmp_path / "scene.tif"):
        raise OSError("Write failed")  # as rasterio reports it: without a number


class _Usage:
    def __init__(self, free):
        self.free = free


def test_killed_while_writing(tmp_path):
    """Even a process that cannot tidy up leaves nothing under the final name."""
    (tmp_path / "scene.tif").write_text("old")
    code = (
        "import os, sys\nfrom helpers import paths\nwith paths.atomic(sys.argv[1]) as t: t.write_text('x'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "scene.tif"]).returncode == 9
    assert (tmp_path / "scene.tif").read_text() == "old"


def test_room_is_asked_for_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(paths.shutil, "disk_usage", lambda folder: _Usage(3e6))
    paths.require_space(tmp_path / "not" / "there" / "yet", 2_900_000)
    with pytest.raises(OSError, match="7 MB are needed.*3 MB free.*Make room"):
        paths.require_space(tmp_path / "not" / "there" / "yet", 7_000_000)
    assert names(tmp_path) == []


def test_what_json_cannot_hold_is_not_written(tmp_path):
    target = tmp_path / "metrics.json"
    paths.write_json(target, {"credit": "© Müller", "psnr_db": 24.24})
    assert paths.read_json(target) == {"credit": "© Müller", "psnr_db": 24.24}
    assert "Müller" in target.read_text(encoding="utf-8")
    with pytest.raises(ValueError):
        paths.write_json(target, {"psnr_db": float("inf")})
    assert json.loads(target.read_text(encoding="utf-8"))["psnr_db"] == 24.24


def test_broken_json_is_named(tmp_path):
    (tmp_path / "metrics.json").write_text('{"scores": [')
    with pytest.raises(ValueError, match="metrics.json is not valid JSON.*delete it"):
        paths.read_json(tmp_path / "metrics.json")


def test_folders_follow_the_environment(tmp_path):
    code = "from helpers import paths; print(paths.ROOT, paths.DATA, paths.RUNS, sep='|')"
    settings = {"SATELLITE_NOTEBOOKS_ROOT": str(tmp_path), "SATELLITE_NOTEBOOKS_RUNS": "~/my runs"}
    environment = {**os.environ, **settings, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    environment.pop("SATELLITE_NOTEBOOKS_DATA", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=True)
    root = tmp_path.resolve()
    assert done.stdout.strip().split("|") == [str(root), str(root / "data"), str(root / "my runs")]
