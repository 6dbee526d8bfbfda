"""Apply a network to many files: each in a process of its own, here or on a Dask cluster."""

import json
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from helpers import paths
from helpers.apply.network import model_path
from helpers.apply.whole import apply
from helpers.scenes.folders import IMAGE_SUFFIXES, images

ALONE = "import json, sys; from helpers.apply.many import _alone; _alone(json.loads(sys.argv[1]))"
SUFFIXES = IMAGE_SUFFIXES | {".vrt"}
WAIT = "10s"  # for a scheduler
FINISHED = 3  # status of a process that found its output there already
LOST = "its process was ended, most often for lack of memory: try again with fewer workers"


def apply_many(model, sources, folder, *, workers=1, dask=None, **options):
    """Apply a network to several images; one that fails does not stop the others.

    Called again, it leaves finished outputs as they are and goes on with the others.

    Args:
        model: as `apply` takes it.
        sources: images, and folders that stand for the images in them.
        folder: where the outputs go: GeoTIFFs with the names of the images.
        workers: processes at a time on this machine.
        dask: address of a running Dask scheduler, whose workers see the same files, to use instead.
        **options: of `apply`.

    Returns:
        list of dict with `source`, `state` ("done", "already finished" or "failed") and `told`, the
        reason or the notes.

    Raises:
        ValueError: no image, two of one name, or a folder that is a file; nothing is computed then.
    """
    options["model"] = str(model_path(model).absolute())  # a worker may have another root
    tasks = [options | task for task in _tasks(sources, Path(folder).absolute())]
    rows = []
    with ThreadPoolExecutor(workers) if dask is None else _cluster(dask) as pool:
        if dask is not None:
            pool = pool.get_executor(pure=False)
        futures = {pool.submit(_apply_one, task): task["source"] for task in tasks}
        for future in as_completed(futures):
            source, error = futures[future], future.exception()
            state, told = ("failed", str(error)) if error else future.result()
            rows.append({"source": source, "state": state, "told": told})
            print(f"[{len(rows)}/{len(tasks)}] {source}: {state}")
    return sorted(rows, key=lambda row: row["source"])


def _cluster(address):
    try:
        from distributed import Client

        return Client(address, timeout=WAIT)
    except (ImportError, OSError, ValueError) as error:
        raise ValueError(
            f"there is no Dask scheduler at {address} ({error}): pip install "
            "'satellite-notebooks[dask]' brings the library, `dask scheduler` starts a cluster"
        ) from error


def _tasks(sources, folder):
    """Return source and target of each image."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file: give --out the name of a folder")
    targets = {}
    for source in map(Path, sources):
        files = [source]
        if source.is_dir():
            files = images(source, SUFFIXES)
        if not files:
            raise ValueError(f"{source} holds no image; expected {', '.join(sorted(SUFFIXES))}")
        for path in files:
            other = targets.setdefault(folder / f"{path.stem}.tif", path)
            if other is not path:
                raise ValueError(
                    f"{other} and {path} would both become {path.stem}.tif: rename one"
                )
    # a worker of a cluster stands in another folder
    return [{"source": str(path.absolute()), "target": str(to)} for to, path in targets.items()]


def _apply_one(task):
    """Run one `apply` in a process of its own; returns (state, what it said)."""
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    command = [sys.executable, "-c", ALONE, json.dumps(task)]
    with subprocess.Popen(command, **pipes, text=True) as process:
        said = process.stderr.read().splitlines()
        status = process.wait()
    notes = [line for line in said if line.startswith(("note: ", "error: "))]
    if status in (0, FINISHED):
        return "already finished" if status else "done", " ".join(notes)
    return "failed", notes[-1] if notes and status == 1 else LOST


def _alone(task):
    """Run one file in this process."""
    threading.Thread(target=paths.end_with_parent, daemon=True).start()
    warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
    try:
        made = apply(**task, resume=True, progress=False)
    except Exception as error:  # also those of libraries: each file stands for itself
        sys.exit(f"error: {error or type(error).__name__}".replace("\n", " "))
    sys.exit(0 if made else FINISHED)
