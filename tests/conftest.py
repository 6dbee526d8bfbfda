"""What the tests share: small scenes, and folders that are thrown away."""

import gc
import os
import signal
import sys

if "rfc3987_syntax" not in sys.modules:  # a grammar of addresses that jsonschema would build for notebooks: 2.3 s
    sys.modules["rfc3987_syntax"] = None
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is imported

import nbformat
import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from helpers import paths
from helpers.scenes import Scene
from tests import kernels

gc.disable()  # until all tests are imported, which makes much that stays: 2 s less
os.fsync = lambda handle: None  # what tests write need not outlive a power cut

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so a script starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests start must hear Ctrl-C

LONGEST = (  # files of tests, begun first, so that of two at a time neither is left alone at the end
    "test_deeper", "test_notebooks", "test_jupyterlab", "test_weights", "test_apply_many", "test_sweep", "test_latent",
    "test_training", "test_exercises", "test_adversarial", "test_notebook_folders", "test_apply", "test_scene_classes",
    "test_offline_install", "test_kernels", "test_apply_windows", "test_practice", "test_cloudy_pairs",
    "test_apply_values", "test_apply_resume", "test_command_line", "test_views", "test_features", "test_clouds",
    "test_models", "test_foreign_clouds", "test_maps", "test_show", "test_photos", "test_download_kills",
)  # fmt: skip


def pytest_configure(config):
    """Above two workers on two cores: a thread each, and one server of kernels for both."""
    if config.getoption("numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
        if sys.platform == "linux":
            os.environ[kernels.OFFERED] = kernels.offered()


def pytest_collection_modifyitems(items):
    """The longest files first; within a file, and among the others, as they stand."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish():
    """What is imported stays: garbage is not looked for in it again, and less often in what graphs are made of."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(scope="session")
def make_scene():
    """Function that makes a scene of random numbers, each pixel different, with its place on the ground."""

    def make(
        height=40, width=50, bands=("red", "green", "blue"), *, west=500_000, north=7_000_000, pixel=30,
        crs="EPSG:32621", seed=0, dtype="uint16", **others,
    ):  # fmt: skip
        low, high = {"uint8": (1, 255), "uint16": (1, 60_000), "float32": (0, 1)}[dtype]
        pixels = np.random.default_rng(seed).uniform(low, high, (height, width, len(bands))).astype("float32")
        if dtype != "float32":
            pixels = np.rint(pixels)
        place = {"transform": Affine(pixel, 0, west, 0, -pixel, north), "crs": crs and CRS.from_string(crs)}
        return Scene(pixels, tuple(bands), dtype=dtype, **{**place, "name": f"scene{seed}", **others})

    return make


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """`paths.DATA` and `paths.RUNS` in a temporary folder, and nothing set from outside; returns that folder."""
    for name in ("ROOT", "DATA", "RUNS", "RUN_ID", "PROFILE", "STATIC"):
        monkeypatch.delenv(f"SATELLITE_NOTEBOOKS_{name}", raising=False)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def project(folders, monkeypatch):
    """A project of its own in a temporary folder, without any notebook; returns that folder."""
    monkeypatch.setattr(paths, "ROOT", folders)
    (folders / "notebooks").mkdir()
    (folders / "notebooks" / "profiles.yaml").write_text("smoke: {}\nworkshop: {}\n")
    return folders


@pytest.fixture
def write_notebook(project):
    """Function that writes a notebook of code cells into the project; returns its path."""

    def write(name, *cells, parameters="seed: int = 0  # of everything"):
        notebook = nbformat.v4.new_notebook()
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        if parameters is not None:
            notebook.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
        path = project / "notebooks" / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    return write
