"""Apply a network to many files: each in a process of its own, or on a Dask cluster."""

import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from helpers.apply.network import model_path
from helpers.apply.whole import apply
from helpers.scenes.files import images


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
        list of (state, image, reason or notes), as printed line by line; the state is "done",
        "already finished" or "failed".

    Raises:
        ValueError: no such image, two of one name, or a folder that is a file; nothing is
            computed then.
        OSError: no scheduler answers at that address.
    """
    if options.get("cloud_mask"):
        raise ValueError("--cloud-mask names one file: apply the images one by one")
    # a worker stands in another folder; many files always go on where they stopped
    options |= {"model": model_path(model).absolute(), "resume": True}
    targets = _targets(sources, Path(folder).absolute())
    run = _apart
    pool = ThreadPoolExecutor(workers)
    if dask:
        from distributed import Client

        run = _apply
        pool = Client(dask)
    rows = []
    with pool:
        futures = {
            source: pool.submit(run, options | {"source": source, "target": target})
            for target, source in targets.items()
        }
        for source, future in futures.items():
            try:
                state, told = future.result()
            except Exception as error:
                state = "failed"
                told = f"its process ended, most often for lack of memory: {error}"
            rows.append((state, source, told))
            print(f"{state:16}  {source}  {told}".rstrip())
    return rows


def _targets(sources, folder):
    """Return a dict from the file to write to the image, as paths."""
    if folder.is_file():
        raise ValueError(f"{folder} is a file: give --out the name of a folder")
    targets = {}
    for source in sources:
        files = images(source)
        if not files:
            raise ValueError(f"{source} holds no image, such as a GeoTIFF")
        for path in files:
            target = folder / f"{path.stem}.tif"
            if target in targets:
                raise ValueError(
                    f"two images would both become {path.stem}.tif: rename one"
                )
            targets[target] = path.absolute()
    return targets


def _apart(task):
    """Run one file in a process of its own."""
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:  # spawned
        return pool.submit(_apply, task).result()


def _apply(task):
    """Run one file; returns its state and what it said."""
    with warnings.catch_warnings(record=True) as notes:
        try:
            state = "done" if apply(**task, progress=False) else "already finished"
        except Exception as error:  # those of libraries, too: each file is on its own
            return "failed", f"error: {error}"
    return state, " ".join(f"note: {note.message}" for note in notes)
