"""Grow the outputs in a folder beside the target, where they survive a crash."""

import shutil
from contextlib import suppress
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.windows import Window

from helpers import paths
from helpers.apply.plan import NO_CLASS, Output
from helpers.scenes import to_file_values
from helpers.scenes.files import geotiff_profile

BLOCK_PX = 512
OPACITY = Output([-1], [], ["opacity"], "float32", np.nan)  # of cloud, which comes last
SPACE_FACTOR = 1 + 1 / 3 + 4 / 3  # the working file, overviews, and the output uncompressed


def work_folder(target):
    """Return the folder beside a target in which it grows."""
    return target.with_name(f".{target.name}.work")


class Working:
    """Hold the working file of each target, uncompressed, and a journal of the finished windows.

    Uncompressed tiles are overwritten in place. A process that is killed while writing harms only
    windows that the journal does not count yet. The folder stays until the outputs are whole.

    Args:
        plan: Plan.
        targets: Path of the image, and of the opacity of cloud where that is asked for.
        job: dict that says in words what is computed; only the same job can go on.
        digest: of the job; a tag of the outputs.
        resume: go on with a job that was interrupted; otherwise it is overwritten.

    Attributes:
        finished: number of windows that are done.
        clear: number of pixels without cloud and shadow, and of pixels with data.

    Raises:
        ValueError: the folder holds another job (says what differs).
        OSError: not enough room on the disk.
    """

    def __init__(self, plan, targets, job, digest, *, resume):
        self.plan, self.job, self.folder = plan, job, work_folder(targets[0])
        self.outputs = [plan.output, OPACITY][: len(targets)]
        self.files = [self.folder / f"{number}.tif" for number in range(len(targets))]
        self.journal, self.finished, self.clear = self.folder / "journal.json", 0, np.zeros(2, int)
        if resume and self.journal.exists():
            record = paths.read_record(self.journal, ("job", "finished", "clear"))
            before = record["job"]
            differing = [name for name in before | job if before.get(name) != job.get(name)]
            if differing:
                raise ValueError(
                    f"what was begun for {targets[0]} differs in: {', '.join(differing)}. Give the "
                    "same again, or begin anew without --resume"
                )
            self.finished, self.clear = record["finished"], np.array(record["clear"])
            return
        if self.journal.exists():
            print(f"note: what an interrupted run left in {self.folder} is overwritten")
            self.remove()
        *_, height, width = plan.region
        itemsize = sum(len(out.names) * np.dtype(out.dtype).itemsize for out in self.outputs)
        size = SPACE_FACTOR * height * width * plan.scale**2 * itemsize
        paths.require_space(self.folder.parent, size)
        self.folder.mkdir(parents=True, exist_ok=True)
        for file, output in zip(self.files, self.outputs, strict=True):
            _create(file, plan, output, digest)
        self.note(0)

    def write(self, row, column, pixels):
        """Write pixels, float32 (height, width, bands, and opacity), NaN = no data."""
        window = Window(column, row, *pixels.shape[1::-1])
        for file, output in zip(self.files, self.outputs, strict=True):
            with rasterio.open(file, "r+") as made:
                # some rows at a time stay in the processor's cache: twice faster
                cuts = np.array_split(pixels[..., output.order], 12)
                cuts = [to_file_values(cut, made.dtypes[0], made.nodata) for cut in cuts]
                made.write(np.moveaxis(np.concatenate(cuts), -1, 0), window=window)

    def note(self, finished):
        """Note in the journal how many windows are finished, once they are safely on the disk."""
        for file in self.files:
            paths.to_disk(file)
        self.finished = finished
        record = {"job": self.job, "finished": finished, "clear": self.clear.tolist()}
        paths.write_json(self.journal, record)

    def deliver(self, number, path):
        """Turn a working file into a cloud-optimised GeoTIFF at `path`."""
        file, whole = self.files[number], self.folder / f"{number}.cog.tif"
        file.with_suffix(".tif.ovr").unlink(missing_ok=True)  # half of it, if a run was killed here
        how = Resampling.mode if self.plan.about.get("classes") else Resampling.average
        # the driver's own overviews take half as long again as the whole copy
        env = {"GDAL_NUM_THREADS": "ALL_CPUS", "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK_PX}
        env |= {"TIFF_USE_OVR": True, "COMPRESS_OVERVIEW": "NONE"}
        with rasterio.Env(**env), rasterio.open(file, "r+") as made:
            factors = [2**k for k in range(1, 32) if max(made.shape) > 2 ** (k - 1) * BLOCK_PX]
            if factors:
                made.build_overviews(factors, how)
        # zstd takes half the processor time of deflate at its fastest, for 4 % more bytes
        rasterio.shutil.copy(
            file, whole, driver="COG", compress="zstd", level=1, predictor="YES",
            blocksize=BLOCK_PX, num_threads="ALL_CPUS", bigtiff="IF_SAFER",
        )  # fmt: skip
        paths.to_disk(whole)
        shutil.move(whole, path)  # the mask may lie on another disk

    def remove(self):
        """Remove the files of a job; a folder with other files stays."""
        for file in [*self.folder.glob("*journal*json"), *self.folder.glob("[01].*")]:
            file.unlink()
        with suppress(OSError):
            self.folder.rmdir()


def write_class_names(path, classes):
    """Write the names of a map's classes beside it, the only place where GDAL and QGIS look."""
    names = "".join(f"<Category>{escape(each['name'])}</Category>" for each in classes)
    band = f'<PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames></PAMRasterBand>'
    paths.write_text(path.with_name(f"{path.name}.aux.xml"), f"<PAMDataset>{band}</PAMDataset>")


def _create(path, plan, output, digest):
    """Create an empty working file with its place and all labels."""
    image, about = plan.image, plan.about
    _, numbers, names, dtype, nodata = output
    height, width = np.multiply(plan.region[2:], plan.scale)
    place = {"nodata": nodata, "crs": image.crs, "transform": None}
    profile = geotiff_profile(height, width, names, dtype, **place)
    profile |= {"blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "interleave": "band"}
    with rasterio.open(path, "w", **profile | {"compress": None, "predictor": 1}) as made:
        _place(made, plan)
        for label in ("scales", "offsets", "units", "colorinterp") if numbers else ():
            setattr(made, label, [getattr(image, label)[number - 1] for number in numbers])
        if about.get("classes"):
            colours = {at: tuple(each["colour"]) for at, each in enumerate(about["classes"])}
            made.write_colormap(1, colours | {NO_CLASS: (0, 0, 0, 0)})
            classes = {f"class_{at}": each["name"] for at, each in enumerate(about["classes"])}
            made.update_tags(1, **classes)
        made.descriptions = names
        credits = filter(None, [image.tags().get("credit"), about["credit"]])
        made.update_tags(credit="; ".join(dict.fromkeys(credits)), apply_job=digest)


def _place(made, plan):
    """Write where the output lies: by control points, RPCs or an affine map, scaled."""
    image, scale, (row, column, *_) = plan.image, plan.scale, plan.region
    (points, crs), rpcs = image.gcps, image.rpcs
    if points:
        for point in points:
            point.row, point.col = (point.row - row) * scale, (point.col - column) * scale
        made.gcps = points, crs
        return
    if rpcs:  # they count from the centre of the first pixel
        rpcs.line_off = (rpcs.line_off + 0.5 - row) * scale - 0.5
        rpcs.samp_off = (rpcs.samp_off + 0.5 - column) * scale - 0.5
        rpcs.line_scale *= scale
        rpcs.samp_scale *= scale
        made.rpcs = rpcs
    if image.transform != Affine.identity():
        made.transform = image.transform @ Affine.translation(column, row) @ Affine.scale(1 / scale)
