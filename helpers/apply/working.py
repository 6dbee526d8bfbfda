"""Grow the outputs in a folder beside the target, where they survive a crash.

The working files are uncompressed, so that tiles are overwritten in place. A process that is killed
while writing harms only windows that the journal does not count yet. The folder stays until the
outputs are whole; files in it that are not ours are left alone.
"""

import shutil
from contextlib import suppress
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.io import MemoryFile

from helpers import paths
from helpers.scenes import to_file_values

JOURNAL = "journal.json"
BLOCK_PX = 512
PROFILE = {
    "driver": "GTiff", "tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX,
    "interleave": "band", "compress": "none", "bigtiff": "if_safer", "photometric": "minisblack",
}  # fmt: skip
# the COG driver's own overviews take half as long again as the whole copy
OVERVIEWS = {
    "GDAL_NUM_THREADS": "ALL_CPUS", "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK_PX, "TIFF_USE_OVR": True,
    "COMPRESS_OVERVIEW": "NONE",
}  # fmt: skip
# zstd takes half the processor time of deflate at its fastest, for 4 % more bytes
COG = {
    "driver": "COG", "compress": "zstd", "level": 1, "predictor": "YES", "blocksize": BLOCK_PX,
    "num_threads": "ALL_CPUS", "bigtiff": "IF_SAFER",
}  # fmt: skip
SPACE_FACTOR = (
    1 + 1 / 3 + 4 / 3
)  # the working file, overviews, and the output uncompressed


def interrupted(folder, job):
    """Read the journal of a job that was interrupted; None where there is none.

    Args:
        folder: Path of the folder.
        job: dict that says in words what is computed; only the same job can go on.

    Raises:
        ValueError: the folder holds another job (says what differs).
    """
    if not (folder / JOURNAL).exists():
        return None
    journal = paths.read_record(folder / JOURNAL, ("job", "finished", "clear", "seen"))
    differing = sorted({name for name, _ in journal["job"].items() ^ job.items()})
    if differing:
        raise ValueError(
            f"what was begun in {folder} differs in: {', '.join(differing)}. Give the same again, "
            "or begin anew without --resume"
        )
    return journal


def begin(folder, plan, job, digest):
    """Create an empty file for each output; what was begun before is overwritten.

    Args:
        folder: Path of the folder.
        plan: of `planned`.
        job: dict that says in words what is computed.
        digest: of the job; a tag of the outputs.

    Returns:
        journal: dict of the job, the number of finished windows, and the numbers of pixels without
        cloud and shadow and of pixels with data.

    Raises:
        OSError: not enough room on the disk.
    """
    remove(folder)
    profile, about = _place(plan) | PROFILE, plan.about
    itemsize = sum(
        len(order) * np.dtype(dtype).itemsize for order, _, dtype, _ in plan.outputs
    )
    size = SPACE_FACTOR * profile["height"] * profile["width"] * itemsize
    paths.require_space(folder.parent, size)
    folder.mkdir(parents=True, exist_ok=True)
    credits = dict.fromkeys([plan.image.tags().get("credit"), about["credit"]])
    for number, (order, labels, dtype, nodata) in enumerate(plan.outputs):
        profile |= {"count": len(order), "dtype": dtype, "nodata": nodata}
        with rasterio.open(folder / f"{number}.tif", "w", **profile) as made:
            made.update_tags(credit="; ".join(filter(None, credits)), apply_job=digest)
            for name, values in labels.items():
                setattr(made, name, values)
            if about["classes"]:
                colours = [tuple(each["colour"]) for each in about["classes"]]
                made.write_colormap(1, dict(enumerate(colours)))
    journal = {"job": job, "finished": 0, "clear": 0, "seen": 0}
    note(folder, journal)
    return journal


def _place(plan):
    """Return size and place of the output for rasterio; control points and RPCs are scaled, too."""
    percent = 100 * plan.about["scale"]
    part = "srcwin={},{},{},{}&outsize={}%,{}%".format(*plan.window, percent, percent)
    with MemoryFile(
        ext=".vrt"
    ) as memory:  # in the name of the image, a ? would be misread
        rasterio.shutil.copy(plan.image, memory.name, driver="VRT")
        with rasterio.open(f"vrt://{memory.name}?{part}") as frame:
            points, crs = frame.gcps
            return frame.profile | {
                "gcps": points,
                "rpcs": frame.rpcs,
                "crs": crs or frame.crs,
            }


def write(folder, outputs, ends, pixels):
    """Write pixels, float32 (height, width, bands), NaN = no data, through to the disk.

    Args:
        folder: Path of the folder.
        outputs: of the plan.
        ends: of the pixels in the output: array ((first row, column), (last row, column)).
        pixels: of all outputs.
    """
    for number, (order, _, dtype, nodata) in enumerate(outputs):
        file = folder / f"{number}.tif"
        with rasterio.open(file, "r+") as made:
            for band, place in enumerate(order, 1):
                values = to_file_values(pixels[..., place], dtype, nodata)
                made.write(values, band, window=tuple(ends.T.tolist()))
        paths.to_disk(file)


def note(folder, journal):
    """Write the journal, once the windows that it counts are on the disk."""
    paths.write_json(folder / JOURNAL, journal)


def deliver(file, path, about):
    """Turn a working file into a cloud-optimised GeoTIFF at `path`."""
    whole = file.with_suffix(".cog.tif")
    file.with_suffix(".tif.ovr").unlink(
        missing_ok=True
    )  # half of it, if a run was killed here
    with rasterio.Env(**OVERVIEWS), rasterio.open(file, "r+") as made:
        how = Resampling.mode if about["classes"] else Resampling.average
        made.build_overviews(
            [2**k for k in range(1, 32) if max(made.shape) > 2**k * BLOCK_PX / 2], how
        )
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
    paths.write_text(
        path.with_name(f"{path.name}.aux.xml"), f"<PAMDataset>{band}</PAMDataset>"
    )
