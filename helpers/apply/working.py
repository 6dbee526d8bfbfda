"""Grow the outputs in a folder beside the target, where they survive a crash.

The working files are uncompressed, so that tiles are overwritten in place. A process that is killed
while writing harms only windows that the journal does not count yet. The folder stays until the
outputs are whole; files in it that are not ours are left alone.
"""

import hashlib
import shutil
from contextlib import suppress
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from helpers import paths
from helpers.scenes import to_file_values

JOURNAL = "journal.json"
BLOCK_PX = 512
PROFILE = {
    "driver": "GTiff", "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX,
    "interleave": "band", "compress": "none", "bigtiff": "if_safer", "photometric": "minisblack",
    "nodata": None,
}  # fmt: skip
# zstd takes half the processor time of deflate at its fastest, for 4 % more bytes
COG = {
    "driver": "COG", "compress": "zstd", "level": 1, "predictor": "YES", "blocksize": BLOCK_PX,
    "bigtiff": "IF_SAFER",
}  # fmt: skip
# GDAL caches a twentieth of all memory otherwise; and overviews stand beside a working file,
# because the COG driver's own take half as long again as the whole copy
ENVIRONMENT = {
    "GDAL_CACHEMAX": 128 * 2**20, "GDAL_NUM_THREADS": "ALL_CPUS", "TIFF_USE_OVR": True
}  # fmt: skip
SPACE_FACTOR = 8 / 3  # a working file, its overviews, and the output uncompressed


def begin(folder, plan, job, resume):
    """Go on with an interrupted job, or create an empty file for each output.

    Args:
        folder: Path of the folder.
        plan: of `planned`.
        job: dict that says in words what is computed; only the same job can go on.
        resume: go on if there is a journal; what was begun before is overwritten otherwise.

    Returns:
        journal: dict of the job, the number of finished windows, and the numbers of pixels without
        cloud and shadow and of pixels with data.

    Raises:
        ValueError: the folder holds another job (says what differs).
        OSError: not enough room on the disk.
    """
    file = folder / JOURNAL
    if resume and file.exists():
        journal = paths.read_record(file)
        differing = {name for name, _ in journal["job"].items() ^ job.items()}
        if differing:
            raise ValueError(
                f"what was begun in {folder} differs in: {', '.join(sorted(differing))}. Give the "
                "same again, delete that folder, or begin anew without --resume"
            )
        return journal
    remove(folder)
    place = _place(plan)
    pixels = place["height"] * place["width"]
    credits = {plan.image.tags().get("credit", ""), plan.about["credit"]} - {""}
    tags = {"credit": "; ".join(sorted(credits)), "apply_job": digest(job)}
    colours = [each["colour"] for each in plan.about["classes"]]
    for name, (order, dtype, labels) in plan.outputs.items():
        profile = place | PROFILE | {"count": len(order), "dtype": dtype}
        size = pixels * len(order) * np.dtype(dtype).itemsize
        paths.require_space(folder, SPACE_FACTOR * size)
        folder.mkdir(parents=True, exist_ok=True)
        with rasterio.open(folder / name, "w", **profile) as made:
            made.update_tags(**tags)
            for label, values in labels.items():
                setattr(made, label, values)
            if colours:
                made.write_colormap(1, dict(enumerate(colours)))
    journal = {"job": job, "finished": 0, "clear": 0, "seen": 0}
    paths.write_json(file, journal)
    return journal


def made_by(path, job):
    """Return whether a file is the output of this very job."""
    with suppress(RasterioError), rasterio.open(path) as made:
        return made.tags().get("apply_job") == digest(job)


def digest(job):
    """Return a text that stands for a job, as a tag of its outputs."""
    return hashlib.sha256(repr(sorted(job.items())).encode()).hexdigest()


def _place(plan):
    """Return size and place of the output for rasterio; control points and RPCs are scaled, too."""
    part = "srcwin={},{},{},{}&outsize={percent}%,{percent}%"
    part = part.format(*plan.window, percent=100 * plan.about["scale"])
    # in the name of the image, a ? would be misread
    with MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(plan.image, memory.name, driver="VRT")
        with rasterio.open(f"vrt://{memory.name}?{part}") as frame:
            points, crs = frame.gcps
            own = {"gcps": points, "rpcs": frame.rpcs, "crs": crs or frame.crs}
            return frame.profile | own


def write(folder, outputs, ends, pixels):
    """Write pixels, float32 (height, width, bands), NaN = no data, through to the disk.

    Args:
        folder: Path of the folder.
        outputs: of the plan.
        ends: of the pixels in the output: array ((first row, column), (last row, column)).
        pixels: of all outputs.
    """
    window = tuple(ends.T.tolist())
    for name, (order, dtype, labels) in outputs.items():
        values = to_file_values(pixels[..., order], dtype, labels["nodata"])
        with rasterio.open(folder / name, "r+") as made:
            made.write(np.moveaxis(values, -1, 0), window=window)
        paths.to_disk(folder / name)


def deliver(file, path, how):
    """Turn a working file into a cloud-optimised GeoTIFF at `path`; `how` is of its overviews."""
    # half of it, if a run was killed here
    file.with_suffix(".tif.ovr").unlink(missing_ok=True)
    with rasterio.open(file, "r+") as made:
        side = max(made.shape)
        steps = [2**k for k in range(1, 32) if side > 2**k * BLOCK_PX / 2]
        made.build_overviews(steps, how)
    whole = file.with_suffix(".cog.tif")
    rasterio.shutil.copy(file, whole, **COG)
    shutil.move(whole, path)  # the mask may lie on another disk


def remove(folder):
    """Remove the files of a job; a folder with other files stays."""
    for file in [*folder.glob("*journal*json"), *folder.glob("[01].*")]:
        file.unlink()
    with suppress(OSError):
        folder.rmdir()


def write_class_names(path, classes):
    """Write the names of a map's classes beside it, the only place where GDAL and QGIS look."""
    names = "".join(f"<Category>{escape(each['name'])}</Category>" for each in classes)
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    paths.write_text(f"{path}.aux.xml", f"<PAMDataset>{band}</PAMDataset>")
