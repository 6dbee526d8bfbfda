"""Grow the outputs in a folder beside the target, where they survive a crash."""

import shutil
import warnings
from contextlib import contextmanager, suppress

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.windows import Window

from helpers import paths
from helpers.apply.plan import has_gaps
from helpers.scenes import to_file_values
from helpers.scenes.files import file_nodata, geotiff_profile

BLOCK_PX = 512
NO_CLASS = 255
SPACE_FACTOR = 1 + 1 / 3 + 4 / 3  # the working file, overviews, and the output uncompressed


def work_folder(target):
    """Return the folder beside a target in which it grows."""
    return target.with_name(f".{target.name}.work")


class Working:
    """Hold the working file of each target, uncompressed, and a journal of the finished windows.

    Uncompressed tiles are overwritten in place. A process that is killed while writing harms only
    windows that the journal does not count yet. Nothing is made before `begin`.

    Args:
        plan: Plan.
        targets: Path of the image, and of the spread of its values or the opacity of cloud where
            that is asked for.
        job: dict that says in words what is computed; only the same job can go on.
        resume: go on with a job that was interrupted; otherwise it is overwritten.

    Attributes:
        finished: number of windows that are done.
        left: number of pixels left as they were, and of pixels with data.

    Raises:
        ValueError: the folder holds another job (says what differs).
    """

    def __init__(self, plan, targets, job, *, resume):
        self.plan, self.job, self.folder = plan, job, work_folder(targets[0])
        self.files = [self.folder / f"{number}.tif" for number in range(len(targets))]
        self.journal, self.finished, self.left = self.folder / "journal.json", 0, [0, 0]
        names, made = plan.about["bands_out"], list(_kept(plan).values())
        self.order = [made.index(name) + 1 for name in names] if made else None
        if not self.journal.exists():
            return
        if not resume:
            print(f"note: what an interrupted run left in {self.folder} is overwritten")
            return
        record = paths.read_record(self.journal, ("job", "finished", "left"))
        before = record["job"]
        differing = [name for name in before | job if before.get(name) != job.get(name)]
        if differing:
            raise ValueError(
                f"what was begun for {targets[0]} differs in: {', '.join(differing)}. Give the "
                "same again, or begin anew without --resume"
            )
        self.finished, self.left = record["finished"], record["left"]

    @contextmanager
    def begin(self, digest):
        """Make the folder; it stays behind only where `resume` can use it.

        Args:
            digest: tells the job; a tag of the outputs.

        Raises:
            OSError: not enough room on the disk.
        """
        try:
            if not self.finished:
                self._clear()
                about, (*_, height, width) = self.plan.about, self.plan.grid.region
                values = height * width * about["scale"] ** 2 * len(about["bands_out"])
                itemsize = np.dtype(_kind(self.plan)[0]).itemsize + 4 * (len(self.files) - 1)
                paths.require_space(self.folder.parent, SPACE_FACTOR * values * itemsize)
                self.folder.mkdir(parents=True, exist_ok=True)
                for file in self.files:
                    create(file, self.plan, digest, is_aside=file != self.files[0])
                self.note(0)
            yield
        except BaseException:
            if not self.finished:
                self._clear()
            raise
        self._clear()

    def _clear(self):
        """Remove the files of a job; a folder with other files stays."""
        for file in [*self.folder.glob("*journal*json"), *self.folder.glob("[01].*")]:
            file.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def write(self, row, column, pixels):
        """Write pixels, float32 (height, width, bands of all files), NaN = no data."""
        window = Window(column, row, *pixels.shape[1::-1])
        count = pixels.shape[-1]
        first = count - 1 if self.plan.cloud_mask else count // len(self.files)
        parts = np.split(pixels, [first], axis=-1)
        for file, part in zip(self.files, parts, strict=False):
            with rasterio.open(file, "r+") as made:
                # some rows at a time stay in the processor's cache: twice faster
                cuts = np.array_split(part, 12)
                cuts = [to_file_values(cut, made.dtypes[0], made.nodata) for cut in cuts]
                values = np.moveaxis(np.concatenate(cuts), -1, 0)
                made.write(values, self.order if made.count > 1 else None, window=window)

    def note(self, finished):
        """Note in the journal how many windows are finished, once they are safely on the disk."""
        for file in self.files:
            paths.to_disk(file)
        self.finished = finished
        record = {"job": self.job, "finished": finished, "left": self.left}
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
        shutil.move(whole, path)  # `uncertainty` may lie on another disk


def _kept(plan):
    """Return {number in the file: name} of the bands that come out; {} where they are others."""
    about = plan.about
    if about.get("value_range_out") or not set(about["bands_out"]) <= set(about["bands"]):
        return {}
    numbers = dict(zip(about["bands"], plan.bands, strict=True))
    return dict(sorted((numbers[name], name) for name in about["bands_out"]))


def _kind(plan):
    """Return data type and no-data value of the output: the input's, or one that is needed."""
    image, about = plan.image, plan.about
    if about.get("classes"):
        return "uint8", NO_CLASS
    own = np.result_type(*(image.dtypes[band - 1] for band in plan.bands)).name
    dtype = about.get("dtype_out") or own
    known = image.nodata if plan.nodata is None else plan.nodata
    if known is None and np.dtype(dtype).kind == "i":
        known = max(np.iinfo(dtype).min, np.iinfo("int32").min)  # what GDAL reads back
    gaps = plan.nodata is not None or plan.opaque or has_gaps(image)
    needed = np.dtype(dtype).kind == "f" or gaps
    return dtype, file_nodata(known if dtype == own else None, dtype, needed=needed)


def create(path, plan, digest, *, is_aside):
    """Create an empty working file with its place and all labels."""
    image, about, kept = plan.image, plan.about, _kept(plan)
    row, column, height, width = plan.grid.region
    scale, classes = about["scale"], about.get("classes")
    (points, points_crs), rpcs = image.gcps, image.rpcs
    names = list(kept.values()) or about["bands_out"]
    dtype, nodata = ("float32", np.nan) if is_aside else _kind(plan)
    if is_aside and plan.cloud_mask:
        names, kept = ["opacity"], {}
    transform = None
    if image.transform != Affine.identity() and not points:
        transform = image.transform @ Affine.translation(column, row) @ Affine.scale(1 / scale)
    place = {"nodata": nodata, "crs": image.crs, "transform": transform}
    profile = geotiff_profile(height * scale, width * scale, names, dtype, **place)
    profile |= {"blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "interleave": "band"}
    with rasterio.open(path, "w", **profile | {"compress": None, "predictor": 1}) as made:
        if points:
            for point in points:
                point.row, point.col = (point.row - row) * scale, (point.col - column) * scale
            made.gcps = points, points_crs
        elif rpcs:  # they count from the centre of the first pixel
            rpcs.line_off = (rpcs.line_off + 0.5 - row) * scale - 0.5
            rpcs.samp_off = (rpcs.samp_off + 0.5 - column) * scale - 0.5
            rpcs.line_scale *= scale
            rpcs.samp_scale *= scale
            made.rpcs = rpcs
        elif image.crs is None:
            warnings.warn(
                f"{(image.files or [image.name])[0]} has no coordinate reference system, and so "
                "has the output: nobody can tell where it lies",
                stacklevel=4,
            )
        if classes:
            colours = {at: tuple(each["colour"]) for at, each in enumerate(classes)}
            made.write_colormap(1, colours | {NO_CLASS: (0, 0, 0, 0)})
            made.update_tags(1, **{f"class_{at}": each["name"] for at, each in enumerate(classes)})
        for label in ("scales", "offsets", "units", "colorinterp") if kept else ():
            setattr(made, label, [getattr(image, label)[number - 1] for number in kept])
        own = [image.descriptions[number - 1] for number in kept] or names
        made.descriptions = [given or name for given, name in zip(own, names, strict=True)]
        credits = filter(None, [image.tags().get("credit"), about["credit"]])
        made.update_tags(credit="; ".join(dict.fromkeys(credits)), apply_job=digest)
