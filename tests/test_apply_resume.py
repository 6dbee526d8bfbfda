"""A run of `apply` that is killed at any moment and gone on with gives the very same file."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil

from helpers import scenes
from helpers.apply import apply, working
from helpers.apply.network import Predictor
from tests import kernels
from tests.notebook_functions import espcn
from tests.test_apply_windows import save, unet  # noqa: F401 - fixtures

OPTIONS = {"window_px": 16, "progress": False}


@pytest.fixture
def files(tmp_path, make_scene, unet):  # noqa: F811
    """(model, source, target) with an image of many windows."""
    scenes.write(make_scene(90, 123, dtype="float32"), tmp_path / "in.tif")
    return unet, tmp_path / "in.tif", tmp_path / "out.tif"


def interrupt(monkeypatch, after):
    """Let the network stop as Ctrl-C would, after some windows; returns what counts them."""
    once, calls = Predictor.__call__, []

    def call(*arguments):
        calls.append(arguments)
        if after and len(calls) >= after:
            raise KeyboardInterrupt
        return once(*arguments)

    monkeypatch.setattr(Predictor, "__call__", call)
    return calls


@pytest.mark.parametrize("kind, after", [("global", 1), ("global", 20), ("global", 48), ("local", 20)])
def test_interrupted_and_gone_on_with(files, monkeypatch, save, kind, after):  # noqa: F811
    model, source, target = files
    if kind == "local":
        files = save(espcn(3, scale=2, filters=(4, 4), depth=1), scale=2), source, target
    apply(*files, **OPTIONS)
    expected = target.read_bytes()
    target.write_text("old")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, after)
        apply(*files, **OPTIONS)
    journal = target.parent / ".out.tif.work" / "journal.json"
    finished = json.loads(journal.read_text())["finished"] if after > 1 else 0
    assert journal.exists() == (after > 1) and 0 <= finished < after and target.read_text() == "old"
    calls = interrupt(monkeypatch, None)
    apply(*files, **OPTIONS, resume=True)
    assert target.read_bytes() == expected
    assert not (target.parent / ".out.tif.work").exists()
    assert len(calls) == 48 - finished


def test_interrupted_while_the_file_is_put_together(files, monkeypatch):
    model, source, target = files
    apply(*files, **OPTIONS)
    expected, copy = target.read_bytes(), rasterio.shutil.copy
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):

        def half(source, made, driver, **_):
            if driver == "VRT":  # of the input
                return copy(source, made, driver=driver)
            made.write_bytes(expected[: len(expected) // 2])
            raise KeyboardInterrupt

        patch.setattr("rasterio.shutil.copy", half)
        apply(*files, **OPTIONS)
    assert target.read_bytes() == expected  # of the first run: nothing half stands under the final name
    monkeypatch.setattr(Predictor, "__call__", lambda *_: pytest.fail("computed again"))
    apply(*files, **OPTIONS, resume=True)
    assert target.read_bytes() == expected and sorted(os.listdir(target.parent)) == ["in.tif", "out.tif", "run"]


def test_killed_while_overviews_are_built(files, monkeypatch, save):  # noqa: F811
    """They stand beside a working file; half of them, left there, do no harm."""
    model = save(espcn(3, scale=8, filters=(4, 4), depth=1), scale=8)
    options = OPTIONS | {"window_px": 48}
    apply(model, *files[1:], **options)
    expected = files[2].read_bytes()

    def killed(file, *_, **__):
        Path(f"{file}.ovr").write_bytes(expected[: len(expected) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("helpers.apply.whole.deliver", lambda plan, file, path: killed(file))
        apply(model, *files[1:], **options)
    apply(model, *files[1:], **options, resume=True)
    assert files[2].read_bytes() == expected
    with rasterio.open(files[2]) as out:
        assert out.overviews(1) == [2]


def test_another_job_is_not_gone_on_with(files, monkeypatch):
    model, source, target = files
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 12)
        apply(*files, **OPTIONS)

    def refused(differing, **options):
        with pytest.raises(ValueError, match=f"differs in: {differing}. Give the same again, delete that folder"):
            apply(*files, **OPTIONS | options, resume=True)

    refused("value_range", value_range=(0, 5))
    refused("nodata", nodata=0)
    refused("tta, window", window=(0, 0, 20, 20), tta=True)
    os.utime(source, (1, 1))
    refused("input")
    description = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").write_text(json.dumps(description | {"credit": "ESA"}))
    refused("input, model")
    assert (target.parent / ".out.tif.work").exists() and not target.exists()
    apply(*files, **OPTIONS)
    assert scenes.read(target).valid.all()


def test_nothing_to_go_on_with(files):
    apply(*files, **OPTIONS, resume=True)
    assert scenes.read(files[2]).valid.all()


KILLED = """
import os, signal, sys
from helpers.apply import apply, network

once, calls = network.Predictor.__call__, []


def call(*arguments):
    calls.append(arguments)
    if len(calls) == 30:
        os.kill(os.getpid(), signal.SIGKILL)
    return once(*arguments)


network.Predictor.__call__ = call
apply(*sys.argv[1:4], window_px=16, progress=False)
"""


def test_killed_without_warning(files):
    """The 30th window never comes; kills at random moments, twenty in a row, are part of `make bench`."""
    target = files[2]
    apply(*files, **OPTIONS)
    expected = target.read_bytes()
    target.unlink()
    killed = kernels.run(KILLED, *files)
    assert killed.returncode and not killed.stderr
    assert (target.parent / ".out.tif.work" / "journal.json").exists() and not target.exists()
    apply(*files, **OPTIONS, resume=True)
    assert target.read_bytes() == expected
    assert np.isfinite(scenes.read(target).pixels).all()


def test_a_kill_while_cleaning_up_leaves_no_journal_without_its_pixels(tmp_path, monkeypatch):
    gone = []
    found = [tmp_path / name for name in ("journal0.tif", "journal.json", "journal1.tif")]
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter(found))
    monkeypatch.setattr(Path, "unlink", lambda file: gone.append(file.name))
    working.remove(tmp_path)
    assert gone[0] == "journal.json"
