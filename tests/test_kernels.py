"""Kernels that are forked from one import of TensorFlow: each is on its own, as one that was started alone."""

import os
import subprocess
import sys
import time

import nbformat
import papermill
import psutil
import pytest

from tests import kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Function that runs cells in a kernel of their own, and returns what each printed."""
    monkeypatch.setenv("JUPYTER_PATH", kernels.offered())

    def said(*sources, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, tmp_path / "book.ipynb")
        options = {"cwd": tmp_path, "progress_bar": False, "shutdown_kernel": "immediate"}
        done = papermill.execute_notebook(tmp_path / "book.ipynb", None, **options)
        return ["".join(output.text for output in cell.outputs).strip() for cell in done.cells]

    return said


def test_a_kernel_shares_nothing_with_the_next(said, tmp_path):
    cells = (
        "import os, sys; print('tensorflow' in sys.modules, os.getcwd())",
        "print(os.environ['MARK'], hasattr(os, 'marked')); os.marked = True",
        "import numpy, random; print(numpy.random.random(), random.random())",
        "import subprocess; print(subprocess.run(['true']).returncode, os.getppid())",
        "from helpers import paths, runs; print(paths.RUNS, runs.run.paths.RUNS)",
    )
    first, second = (said(*cells, MARK=mark, SATELLITE_NOTEBOOKS_RUNS=f"/{mark}") for mark in ("one", "two"))
    assert first[0] == second[0] == f"True {tmp_path}" and (first[4], second[4]) == ("/one /one", "/two /two")
    assert (first[1], second[1]) == ("one False", "two False")
    assert first[2] != second[2]
    assert first[3] == second[3] and first[3].startswith("0 ")


def test_graphs_are_switched_off_for_the_notebooks_that_are_named(said):
    begin = "from types import SimpleNamespace as S; runs = S(start=print)", '\nrun = runs.start("05_maps", globals())'
    ask = "import tensorflow as tf; print(tf.config.functions_run_eagerly())"
    assert [said(*begin, ask, **{kernels.EAGERLY: names})[2] for names in ("04 05", "06")] == ["True", "False"]


def test_a_kernel_ends_with_whoever_started_it(said, tmp_path):
    code = "import jupyter_client, os; manager, client = jupyter_client.manager.start_new_kernel(); "
    code += 'client.execute_interactive(\'import os; open("number", "w").write(str(os.getpid()))\'); os._exit(1)'
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    wait_for_the_end(int((tmp_path / "number").read_text()))


def wait_for_the_end(number):
    deadline = time.monotonic() + 30
    while psutil.pid_exists(number):
        assert time.monotonic() < deadline, "the kernel goes on although nobody waits for it"
        time.sleep(0.05)


def test_a_kernel_that_is_killed_ends_and_papermill_says_so(said, tmp_path):
    """Killed is the process that stands in for it, which is all that Jupyter knows of."""
    kill = """import os, psutil
open("number", "w").write(str(os.getpid()))
for one in psutil.process_iter(["cmdline"]):
    if {"-f", os.environ["SOCKET"]} <= set(one.info["cmdline"] or ()):
        one.kill()
while True:
    pass"""
    with pytest.raises(Exception, match="Kernel died"):
        said(kill, SOCKET=os.path.join(kernels.offered(), "socket"))
    wait_for_the_end(int((tmp_path / "number").read_text()))
