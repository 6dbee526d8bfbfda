"""Apply a network to a whole GeoTIFF: what is refused, what is gone on with, what is replaced."""

import hashlib
import json
from contextlib import ExitStack, suppress
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from helpers import paths
from helpers.apply import working
from helpers.apply.network import load_model, model_path
from helpers.apply.plan import planned
from helpers.apply.windows import compute
from helpers.scenes import refuse_classes
from helpers.scenes.files import files_behind, opened, remove_sidecars

MOST_CHANGED = 0.5  # share of pixels above which the answer is doubtful
CACHE_BYTES = 128 * 2**20  # of GDAL, which takes a twentieth of all memory otherwise


def apply(
    model, source, target, *, resume=False, cloud_mask=None, progress=True, **options
):
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
        cloud_mask: GeoTIFF to write, too: the opacity of cloud that the model finds, float32, 0 to
            1.
        progress: show a progress bar.
        **options: of `plan.planned`: value_range, scale_offset, nodata, bands, window, tta, …

    Returns:
        True; False where `resume` finds that the same job is already finished.

    Raises:
        ValueError: wrong bands or values, a file that cannot be read or ends too early, a map of
            classes, a target that cannot be replaced, a window outside of the image, an interrupted
            run of another job, or another process at work on the same target; all before anything
            is computed.
        OSError: not enough room on the disk.
    """
    source = Path(source)
    targets = [_target(source, Path(path)) for path in (target, cloud_mask) if path]
    target, *mask = targets
    if target in mask:
        raise ValueError(
            f"{target} cannot be the output and its mask at once: rename one"
        )
    folder = target.with_name(f".{target.name}.work")
    lock = folder.with_suffix(".lock"), f"{target} is being written already, in process"
    with (
        rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES),
        opened(source) as image,
        paths.claimed(*lock),
    ):
        refuse_classes(source)
        job = _job(model_path(model), source, options | {"cloud_mask": cloud_mask})
        digest = hashlib.sha256(json.dumps(job).encode()).hexdigest()
        journal = working.interrupted(folder, job) if resume else None
        if resume and not journal and all(_made_by(path, digest) for path in targets):
            print(f"{target}: already finished")
            return False
        plan = planned(image, *load_model(model), cloud_mask=cloud_mask, **options)
        journal = journal or working.begin(folder, plan, job, digest)
        with ExitStack() as finals:
            temporaries = [finals.enter_context(paths.atomic(path)) for path in targets]
            compute(
                plan,
                folder,
                journal,
                desc=target.name,
                disable=not progress,
                unit="window",
            )
            for number, temporary in enumerate(temporaries):
                working.deliver(folder / f"{number}.tif", temporary, plan.about)
        working.remove(folder)
        for path in targets:
            remove_sidecars(path)
        if plan.about["classes"]:
            working.write_class_names(target, plan.about["classes"])
    if plan.about["masks"]:
        _tell(journal["clear"], max(journal["seen"], 1))
    return True


def _target(source, path):
    """Return the file to write, at the end of a link; a ValueError where it cannot be replaced."""
    if path.is_symlink():
        print(f"note: {path} is a link: {path.resolve()} is written")
    path = path.resolve()
    if source.is_dir():
        raise ValueError(f"{source} is a folder: --out DIR takes all its images")
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder: name a file, such as {path / source.name}"
        )
    if path.exists():
        if any(path.samefile(file) for file, *_ in files_behind(source)):
            raise ValueError(f"{path} is the input, or read by it: choose another name")
        if not path.stat().st_mode & 0o222:
            raise ValueError(
                f"{path} is read-only: choose another name, or allow to write it"
            )
    return path


def _job(keras_file, source, options):
    """Describe what must be the same for an interrupted run to go on."""
    model = [
        paths.sha256(file) for file in (keras_file, keras_file.with_suffix(".json"))
    ]
    job = {"model": model, "input": files_behind(source), **options}
    given = {name: str(value) for name, value in sorted(job.items())}
    return {
        name: value for name, value in given.items() if value not in ("None", "False")
    }


def _made_by(path, digest):
    """Return whether a file is the output of this very job."""
    with suppress(RasterioError), rasterio.open(path) as made:
        return made.tags().get("apply_job") == digest
    return False


def _tell(clear, seen):
    """Say how much of the pixels with data is clear."""
    share = clear / seen
    print(
        f"without cloud and shadow: {share:.1%} of the pixels with data ({clear:,} of {seen:,})"
    )
    if share < 1 - MOST_CHANGED:
        print(
            f"note: the model takes {1 - share:.0%} of the pixels for cloud or shadow. Snow, salt "
            "and values of another unit look like cloud: compare result and image"
        )
