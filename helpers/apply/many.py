"""Apply a network to many files: each in a process of its own, here or on a Dask cluster."""

import json
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from helpers import paths
from helpers.apply.network import model_path
from helpers.apply.whole import apply
from helpers.scenes.folders import IMAGE_SUFFIXES, images

ALONE = "import sys; from helpers.apply.many import _alone; _alone(sys.argv[1])"
WAIT = "10s"  # for a scheduler
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
    if options.pop("cloud_mask", None):
        raise ValueError("--cloud-mask names one file: apply the images one by one")
    options["model"] = str(model_path(model).absolute())  # a worker stands in another folder
    targets = _targets(sources, Path(folder).absolute())
    rows = []
    with ThreadPoolExecutor(workers) if dask is None else _cluster(dask) as pool:
        if dask is not None:
            pool = pool.get_executor(pure=False)
        tasks = [options | {"source": str(path), "target": to} for to, path in targets.items()]
        futures = [pool.submit(_apply_one, task) for task in tasks]
        for task, future in zip(tasks, futures, strict=True):
            error = future.exception()
            state, told = ("failed", str(error)) if error else future.result()
            rows.append({"source": task["source"], "state": state, "told": told})
            print(f"[{len(rows)}/{len(tasks)}] {task['source']}: {state}")
    return rows


def _cluster(address):
    try:
        from distributed import Client

        return Client(address, timeout=WAIT)
    except (ImportError, OSError, ValueError) as error:
        raise ValueError(
            f"there is no Dask scheduler at {address} ({error}): pip install "
            "'satellite-notebooks[dask]' brings the library, `dask scheduler` starts a cluster"
        ) from error


def _targets(sources, folder):
    """Return a dict from the file to write, as text, to the image."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file: give --out the name of a folder")
    targets = {}
    for source in map(Path, sources):
        files = images(source) if source.is_dir() else [source]
        if not files:
            raise ValueError(f"{source} holds no image; expected {', '.join(IMAGE_SUFFIXES)}")
        for path in files:
            target = str(folder / f"{path.stem}.tif")
            if target in targets:
                raise ValueError(f"two images would both become {path.stem}.tif: rename one")
            targets[target] = path.absolute()
    return targets


def _apply_one(task):
    """Run one `apply` in a process of its own; returns (state, what it said)."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-c", ALONE, json.dumps(task)]
    with subprocess.Popen(command, **pipes, text=True) as process:
        said = process.stdout.readlines()
    with suppress(IndexError, ValueError):
        return json.loads(said[-1])
    return "failed", LOST


def _alone(task):
    """Run one file in this process; prints its state and what it said as JSON."""
    threading.Thread(target=paths.end_with_parent, daemon=True).start()
    notes = []
    warnings.showwarning = lambda message, *_: notes.append(f"note: {message}")
    try:
        made = apply(**json.loads(task) | {"resume": True, "progress": False})
        state = "done" if made else "already finished"
    except Exception as error:  # also those of libraries: each file stands for itself
        state, notes = "failed", [f"error: {error or type(error).__name__}"]
    print(json.dumps([state, " ".join(notes)]))
