"""Running notebooks from the command line, as their tests do: in profile smoke, into a folder of their own."""

import os
import sys

from helpers import paths
from tests import kernels

PLANTED = "planted-Secret+4711/key"


def environment(folder):
    """Runs and acquired data go into a folder of their own; packs and rendered views are the project's.

    Keys are planted. On Linux, kernels are forked from a process that has imported TensorFlow.
    """
    data = folder / "data"
    for name in ("packs", "views"):  # views are rendered once for all tests, and kept
        (paths.DATA / name).mkdir(exist_ok=True)
        if not (data / name).exists():
            data.mkdir(parents=True, exist_ok=True)
            (data / name).symlink_to(paths.DATA / name, target_is_directory=True)
    return os.environ | dict.fromkeys(("TELLUS_TOKEN", "YANDEX_MAPS_KEY", "VK_TOKEN"), PLANTED) | {
        "SATELLITE_NOTEBOOKS_RUNS": str(folder), "SATELLITE_NOTEBOOKS_DATA": str(data),
        "SATELLITE_NOTEBOOKS_STATIC": "1", "MPLBACKEND": "agg", "PYTHONPATH": str(paths.ROOT),
        "JUPYTER_PATH": kernels.offered() if sys.platform == "linux" else "",
    }  # fmt: skip


def command_line(folder, *words, eagerly, **variables):
    """Run notebooks in profile smoke, those of these names without graphs; the process that has ended."""
    command = "import sys; from helpers.__main__ import main; main(sys.argv[1:]) and sys.exit(1)"
    variables = environment(folder) | {kernels.EAGERLY: eagerly} | variables
    return kernels.run(command, "run", "--profile", "smoke", *words, cwd=paths.ROOT, env=variables)


def one(notebook, folder, *values, resume=False, **variables):
    """Run one notebook with these parameters, without graphs; the process that has ended."""
    words = ["--run-id", "apart", *["--resume"] * resume, *(word for value in values for word in ("-p", value))]
    return command_line(folder, notebook, *words, eagerly=notebook, **variables)


def run_apart(notebook, folder, *values, **options):
    """The same, which must end well; its part of the run."""
    done = one(notebook, folder, *values, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (metrics,) = folder.glob("apart/*/metrics.json")
    return metrics.parent
