"""Apply a network to a whole GeoTIFF: check the job, resume it, and last replace the target."""

import hashlib
from pathlib import Path

import rasterio

from helpers import paths
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import planned
from helpers.apply.windows import compute
from helpers.apply.working import (
    ENVIRONMENT,
    begin,
    begun,
    deliver,
    made_by,
    remove,
    write_class_names,
)
from helpers.scenes.files import files_behind, opened, remove_sidecars


def apply(model, source, target, *, resume=False, progress=True, **options):
    """Apply a network to a whole image and write a cloud-optimised GeoTIFF on the same ground.

    Each window is read with a margin as wide as the receptive field reaches, which is cropped from
    the answer: no seam is left. Beyond the edge of the image its mirror image is shown. Where there
    is no data the network is shown the nearest pixel with data, and the output has no data there
    either. The CRS is kept; pixel size, origin, ground control points and RPCs follow the scale.
    Bands come out in the order of the file, with its descriptions and colours. A model of classes
    gives one band with their palette and names.

    Args:
        model: path or name, as `load_model` takes it.
        source: image with the bands that the model expects.
        target: GeoTIFF to write; what stood there stays until the new file is whole. Finished
            windows are kept in a folder beside it until then.
        resume: go on with an interrupted run of the same job; without one, begin.
        progress: show a progress bar.
        **options: of `plan.planned`: value_range, scale_offset, nodata, bands, cloud_mask, …

    Returns:
        True; False where `resume` finds that the same job is already finished.

    Raises:
        ValueError: wrong bands or values, a file that cannot be read or ends too early, a map of
            classes, a target that cannot be replaced or whose name is too long, a window outside
            the image, an interrupted run of another job, another process at work on the target; all
            before computing.
        OSError: not enough room on the disk.
    """
    inputs = files_behind(source)
    targets = [
        _target(path, inputs)
        for path in (target, options.get("cloud_mask"))
        if path is not None
    ]
    target = targets[0]
    if target in targets[1:]:
        raise ValueError(
            f"{target} cannot be the output and its mask at once: rename one"
        )
    folder = target.with_name(f".{target.name}.work")
    with (
        rasterio.Env(**ENVIRONMENT),
        opened(source, classes=False) as image,
        paths.claimed(f"{folder}.lock", f"{target} is being written already"),
    ):
        weights = model_path(model)
        asked = options | {
            "input": inputs,
            "model": [*map(files_behind, (weights, weights.with_suffix(".json")))],
        }
        job = {name: str(value) for name, value in asked.items()}
        identity = hashlib.sha256(repr(sorted(job.items())).encode()).hexdigest()
        journal = resume and begun(folder, job)
        if resume and not journal and {identity} == set(map(made_by, targets)):
            print(f"{target}: already finished")
            return False
        plan = planned(image, *load_model(weights), **options)
        journal = journal or begin(folder, plan, job, identity)
        for name, path in zip(plan.outputs, targets, strict=True):
            with paths.atomic(path) as temporary:
                # for the mask, nothing is left to compute
                compute(plan, folder, journal, progress)
                deliver(plan, folder / name, temporary)
            remove_sidecars(path)
        remove(folder)
        if plan.classes:
            write_class_names(target, plan.classes)
    if plan.masks:
        _tell(journal["clear"], journal["seen"])
    return True


def _target(path, inputs):
    """Return the file to write, at the end of a link; a ValueError where it cannot be replaced."""
    given = Path(path)
    path = given.resolve()
    told = None
    # temporary names are up to 22 bytes longer, and file systems take 255
    if len(path.name.encode()) > 230:
        told = "too long a name: at most 230 bytes, as the files made beside it have longer names"
    elif path.is_dir() or ".tif" not in path.suffix.lower():
        told = "a folder, or no name of a GeoTIFF: end it in .tif"
    elif path.exists():
        if not path.stat().st_mode & 0o222:
            told = "read-only: choose another name, or allow to write it"
        if any(path.samefile(file) for file, *_ in inputs):
            told = "the input, or read by it: choose another name"
    if told:
        raise ValueError(f"{path} is {told}")
    if given.is_symlink():
        print(f"note: {given} is a link: {path} is written")
    return path


def _tell(clear, seen):
    """Say how much of the pixels with data is clear."""
    share = clear / max(seen, 1)
    print(
        f"without cloud and shadow: {share:.1%} of the pixels with data ({clear:,} of {seen:,})"
    )
    if share < 0.5:
        print(
            "note: the model takes most pixels for cloud or shadow. Snow, salt and values of "
            "another unit look like cloud: compare result and image"
        )
