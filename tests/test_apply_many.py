"""Many files: in processes here and on a cluster; one that fails or is killed does not stop the others."""

import json
import os
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest

from helpers import paths, scenes
from helpers.__main__ import main
from helpers.apply import apply, many
from helpers.apply.many import apply_many
from tests.notebook_functions import espcn
from tests.test_apply_windows import save  # noqa: F401 - fixture


@pytest.fixture
def model(save):  # noqa: F811
    return save(espcn(3, scale=2, filters=(4, 4), depth=1), scale=2)


@pytest.fixture
def folder(tmp_path, make_scene):
    """A folder with two images and a bad file between them."""
    for number, height in ((1, 60), (3, 12)):
        scene = make_scene(height, 16, dtype="float32", seed=number)
        scenes.write(scene, tmp_path / "images" / f"{number}.tif")
    (tmp_path / "images" / "2.tif").write_text("see attachment")
    return tmp_path / "images"


def killer(folder, name):
    """Kill, once, the process that claims an image, seconds before it can be done; returns the list of those killed."""
    lock, killed = folder.resolve() / f".{name}.work.lock", []

    def watch():
        while not killed:
            time.sleep(0.005)
            for process in psutil.Process().children(recursive=True) if lock.exists() else []:
                with suppress(psutil.Error):
                    if str(lock) in [file.path for file in process.open_files()]:
                        process.kill()
                        killed.append(process)

    threading.Thread(target=watch, daemon=True).start()
    return killed


@contextmanager
def forked():
    """Dask forks its workers from a process that has imported TensorFlow, instead of starting each from nothing."""
    from dask import config
    from distributed.utils import get_mp_context

    with config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(["distributed", "helpers.apply"])
        yield


def test_one_bad_file_and_one_killed_process_do_not_stop_the_others(tmp_path, model, folder, monkeypatch):
    """Dask gives the image of a killed worker to another. TensorFlow alone costs each process seconds: one test."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[dask]'")
    out, killed = tmp_path / "out", killer(tmp_path / "out", "1.tif")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with forked(), distributed.LocalCluster(**options, host="127.0.0.1") as cluster:
        rows = apply_many(model, [folder], out, dask=cluster.scheduler_address, window_px=4)
    assert killed and [row[0] for row in rows] == ["done", "failed", "done"], rows
    assert "no readable image" in rows[1][2]
    before = (out / "3.tif").stat().st_mtime_ns
    (folder / "2.tif").unlink()
    (out / "1.tif").unlink()
    killed = killer(out, "1.tif")
    (row,) = apply_many(model, [folder / "1.tif"], out, window_px=4)
    assert killed and row[0] == "failed" and "its process ended" in row[2]
    monkeypatch.setattr("helpers.apply.many._apart", many._apply)  # the others go on in this process
    rows = apply_many(model, [folder], out, workers=2, window_px=4)
    assert [row[0] for row in rows] == ["done", "already finished"]
    assert (out / "3.tif").stat().st_mtime_ns == before
    for number in (1, 3):
        apply(model, folder / f"{number}.tif", tmp_path / "expected.tif", progress=False)
        expected = scenes.read(tmp_path / "expected.tif").pixels
        assert np.allclose(scenes.read(out / f"{number}.tif").pixels, expected, rtol=0, atol=1e-6)


def test_the_table_at_the_end(tmp_path, model, folder, monkeypatch, capsys):
    """Of three processes one is killed: the others end as they would have."""
    said = {"1": ("done", "note: such"), "3": ("already finished", "")}

    def apart(task):
        if task["source"].stem == "2":
            raise BrokenProcessPool("it was terminated")
        return said[task["source"].stem]

    monkeypatch.setattr("helpers.apply.many._apart", apart)
    command = ["apply", str(model), str(folder), "--out", str(tmp_path / "out"), "--workers", "2"]
    assert main(command) == 1
    one, two, three = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in (one, two, three)] == ["done", "failed", "already"]
    assert one.endswith("1.tif  note: such") and "its process ended" in two and two.endswith(": it was terminated")


def test_another_input_is_no_finished_job(tmp_path, model, folder, capsys):
    files = model, folder / "1.tif", tmp_path / "out.tif"
    options = {"progress": False, "resume": True}
    assert apply(*files, **options) and not apply(*files, **options)
    assert "out.tif: already finished" in capsys.readouterr().out
    os.utime(folder / "1.tif", (1, 1))
    assert apply(*files, **options)


@pytest.mark.parametrize("arguments, told", [
    (["a.tif"], "1 files are named: give IN.tif OUT.tif, or images and --out DIR, with --workers"),
    (["a.tif", "b.tif", "c.tif"], "3 files are named"),
    (["a.tif", "b.tif", "--workers", "2"], "2 files are named: give IN.tif"),
    (["empty", "--out", "out"], "empty holds no image"),
    (["a.tif", "x/a.tif", "--out", "out"], "would both become a.tif"),
    (["c.tif", "--out", "out"], "c.tif holds no image"),
    (["a.tif", "--out", "file"], "file is a file: give --out the name of a folder"),
    (["a.tif", "--out", "out", "--cloud-mask", "u.tif"], "--cloud-mask names one file"),
    (["a.tif", "--out", "out", "--dask", "tcp://127.0.0.1:9"], "Timed out trying to connect to tcp://127.0.0.1:9"),
])  # fmt: skip
def test_what_cannot_be_asked_for(tmp_path, model, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "x").mkdir()
    for name in ("a.tif", "x/a.tif"):
        (tmp_path / name).touch()
    (tmp_path / "file").touch()
    if "--dask" in arguments:
        pytest.importorskip("dask").config.set({"distributed.comm.timeouts.connect": "1s"})
    assert main(["apply", str(model), *arguments]) == 2
    assert told in capsys.readouterr().err and not (tmp_path / "out").exists()


# --- ONNX


def engines():
    return ["reference", "onnxruntime"]


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("name", ["espcn_landsat8_x4", "srcnn_landsat8_x4", "cloud_remover_sentinel2"])
def test_an_exported_network_gives_what_apply_gives(tmp_path, name, engine):
    """As Deepness calls it: pixels / 255, channels first; the answers are digital numbers."""
    onnx = pytest.importorskip("onnx")
    library = pytest.importorskip("onnxruntime" if engine == "onnxruntime" else "onnx.reference")
    if engine == "reference" and name.startswith("srcnn"):
        pytest.skip("the reference engine resizes in pure Python: minutes")
    about = paths.read_json(paths.ROOT / "data" / "weights" / f"{name}.json")
    scale, margin = about["scale"], about["receptive_field_px"] // 2 + 4
    side = (2 * margin + 23) // 16 * 16  # some pixels are not near the border
    low, high = np.array(about["value_range"]).T
    generator = np.random.default_rng(6)
    values = np.rint(generator.uniform(low, high, (side, side, len(low)))).astype("float32")
    scene = scenes.Scene(values, tuple(about["bands"]), dtype="uint16")
    scenes.write(scene, tmp_path / "in.tif")
    apply(name, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    expected = scenes.read(tmp_path / "out.tif").pixels
    assert main(["export", name, str(tmp_path / "m.onnx"), "--tile", str(side), "--resolution", "1000"]) == 0
    pixels = np.moveaxis(values, -1, 0)[None] / np.float32(255)
    model = onnx.load(tmp_path / "m.onnx")
    if engine == "reference":
        (made,) = library.ReferenceEvaluator(model).run(None, {"input": pixels})
    else:
        session = library.InferenceSession(tmp_path / "m.onnx")
        (made,) = session.run(None, {"input": pixels})
    assert made.shape == (1, len(about["bands_out"]), side * scale, side * scale)
    inside = np.s_[margin * scale : -margin * scale]  # at its border a tile sees zeros
    difference = np.abs(np.moveaxis(made[0], 0, -1) - expected)[inside, inside]
    assert difference.size and difference.max() <= 1
    told = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert told["model_type"] == ("Superresolution" if scale > 1 else "Regressor") and told["resolution"] == 1000
    assert told["class_names"] == {str(at): band for at, band in enumerate(about["bands_out"])}
    assert told["tiles_size"] == side and 0 < told["tiles_overlap"] <= 90


def test_what_cannot_be_exported(tmp_path, capsys):
    pytest.importorskip("onnx")
    assert main(["export", "cloud_remover_sentinel2", str(tmp_path / "m.onnx"), "--tile", "100"]) == 2
    assert "takes multiples of 16: give another --tile" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
    assert main(["export", "cloud_remover_sentinel2", str(tmp_path), "--tile", "96"]) == 2
    assert "is a folder: name a file" in capsys.readouterr().err
