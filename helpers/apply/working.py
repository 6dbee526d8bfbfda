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
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from helpers import paths

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
# GDAL caches a twentieth of all memory otherwise; overviews stand beside a working file
ENVIRONMENT = {
    "GDAL_CACHEMAX": 128 * 2**20, "GDAL_NUM_THREADS": "ALL_CPUS", "TIFF_USE_OVR": True
}  # fmt: skip
SPACE_FACTOR = 8 / 3  # a working file, its overviews, and the output uncompressed


def begun(folder, job):
    """Read the journal of an interrupted job; returns None where nothing was begun.

    Raises:
        ValueError: the folder holds another job (says what differs).
    """
    file = folder / JOURNAL
    if not file.exists():
        return None
    journal = paths.read_json(file, ["job"])
    differing = dict(journal["job"].items() ^ job.items())
    if differing:
        raise ValueError(
            f"what was begun in {folder} differs in: {', '.join(sorted(differing))}. Give the same "
            "again, delete that folder, or begin anew without --resume"
        )
    return journal


def begin(folder, plan, job, identity):
    """Create an empty file for each output; what was begun before is overwritten.

    Args:
        folder: Path of the folder.
        plan: of `planned`.
        job: dict that says in words what is computed; only the same job can go on.
        identity: text that stands for it, a tag of the outputs.

    Returns:
        journal: dict of the job, the number of finished windows, and the numbers of pixels without
        cloud and shadow and of pixels with data. It is written with the first window.

    Raises:
        OSError: not enough room on the disk.
    """
    remove(folder)
    place = _place(plan)
    credits = {plan.image.tags().get("credit", ""), plan.credit} - {""}
    for name, (order, dtype, labels) in plan.outputs.items():
        profile = place | PROFILE | {"count": len(order), "dtype": dtype}
        size = place["height"] * place["width"] * len(order) * np.dtype(dtype).itemsize
        paths.require_space(folder, SPACE_FACTOR * size)
        folder.mkdir(exist_ok=True)
        with rasterio.open(folder / name, "w", **profile) as made:
            made.update_tags(credit="; ".join(sorted(credits)), apply_job=identity)
            for label, values in labels.items():
                setattr(made, label, values)
            if plan.classes:
                colours = enumerate(each["colour"] for each in plan.classes)
                made.write_colormap(1, dict(colours))
    return {"job": job, "finished": 0, "clear": 0, "seen": 0}


def made_by(path):
    """Return the identity of the job that wrote a file; None where there is none."""
    with suppress(RasterioError), rasterio.open(path) as made:
        return made.tags().get("apply_job")


def _place(plan):
    """Return size and place of the output for rasterio; control points and RPCs are scaled, too."""
    part = "srcwin={},{},{},{}&outsize={percent}%,{percent}%"
    part = part.format(*plan.window, percent=100 * plan.scale)
    # in the name of the image, a ? would be misread
    with MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(plan.image, memory.name, driver="VRT")
        with rasterio.open(f"vrt://{memory.name}?{part}") as frame:
            points, crs = frame.gcps
            own = {"gcps": points, "crs": crs or frame.crs, "rpcs": frame.rpcs}
            return frame.profile | own


def deliver(plan, file, path):
    """Turn a working file into a cloud-optimised GeoTIFF at `path`."""
    # half of its overviews, if a run was killed here
    file.with_suffix(".tif.ovr").unlink(missing_ok=True)
    # band by band: the COG driver's own overviews, of all bands at once, take three times as long
    with rasterio.open(file, "r+") as made:
        steps = [2 << at for at in range(31) if max(made.shape) >> at > BLOCK_PX]
        made.build_overviews(steps, Resampling["mode" if plan.classes else "average"])
    whole = file.with_suffix(".cog.tif")
    rasterio.shutil.copy(file, whole, **COG)
    shutil.move(whole, path)  # the mask may lie on another disk


def remove(folder):
    """Remove the files of a job, its journal first; a folder with other files stays."""
    for file in sorted(folder.glob("*journal*")):
        file.unlink()
    with suppress(OSError):
        folder.rmdir()


def write_class_names(path, classes):
    """Write the names of a map's classes beside it, the only place where GDAL and QGIS look."""
    names = "".join(f"<Category>{escape(each['name'])}</Category>" for each in classes)
    paths.write_text(
        f"{path}.aux.xml",
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>'
        "</PAMRasterBand></PAMDataset>",
    )
