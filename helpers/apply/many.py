"""Apply a network to many files: each in a process of its own, or on a Dask cluster."""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from helpers.apply.network import model_path
from helpers.apply.whole import apply
from helpers.scenes.folders import IMAGE_SUFFIXES, images

WAIT = "10s"  # for a scheduler


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
    if options.get("cloud_mask"):
        raise ValueError("--cloud-mask names one file: apply the images one by one")
    # a worker stands in another folder; many files always go on where they stopped
    options |= {
        "model": str(model_path(model).absolute()),
        "resume": True,
        "progress": False,
    }
    targets, rows = _targets(sources, Path(folder).absolute()), []
    with _cluster(dask) if dask else ThreadPoolExecutor(workers) as pool:
        run = _apply if dask else _apart
        tasks = [
            options | {"source": str(path), "target": to}
            for to, path in targets.items()
        ]
        for task, future in [(task, pool.submit(run, task)) for task in tasks]:
            try:
                state, told = future.result()
            except Exception as error:
                state, told = (
                    "failed",
                    f"its process ended, most often for lack of memory: {error}",
                )
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
            raise ValueError(
                f"{source} holds no image; expected {', '.join(IMAGE_SUFFIXES)}"
            )
        for path in files:
            target = str(folder / f"{path.stem}.tif")
            if target in targets:
                raise ValueError(
                    f"two images would both become {path.stem}.tif: rename one"
                )
            targets[target] = path.absolute()
    return targets


def _apart(task):
    """Run one file in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_apply, task).result()


def _apply(task):
    """Run one file; returns its state and what it said."""
    with warnings.catch_warnings(record=True) as notes:
        try:
            state = "done" if apply(**task) else "already finished"
        except (
            Exception
        ) as error:  # also those of libraries: each file stands for itself
            return "failed", f"error: {error or type(error).__name__}"
    return state, " ".join(f"note: {note.message}" for note in notes)
