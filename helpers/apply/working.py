"""Grow the outputs in a folder beside the target, where they survive a crash, until they are whole."""

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import Resampling
from rasterio.windows import Window

from helpers import paths
from helpers.scenes import to_file_values

BLOCK_PX = 512
OURS = re.compile(r"\.?journal.*\.json|\d(\.cog)?\.tif.*")  # files of a work folder
# the working file, a third of it for overviews, and the output where nothing can be compressed
SPACE_FACTOR = 1 + 1 / 3 + 4 / 3


def work_folder(target):
    """Return the folder beside a target in which it grows."""
    return target.with_name(f".{target.name}.work")


@dataclass(frozen=True)
class Layer:
    """Describe one output: its final name, and what rasterio needs to create it."""

    target: Path
    profile: dict
    labels: dict  # attributes to set: descriptions, scales, offsets, units, colours, control points
    tags: dict
    order: list  # for each band that is written, its number in the file
    classes: list | None = None  # dicts with "name" and "colour", where the pixels are classes


class Working:
    """Hold the working file of each layer, uncompressed, and a journal of the finished windows.

    Uncompressed tiles are overwritten in place. A process that is killed while writing harms only
    windows that the journal does not count yet. Nothing is made before `begin`.

    Args:
        layers: list of Layer; the folder stands beside the first one's target.
        job: dict that says in words what is computed; only the same job can go on.
        resume: go on with a job that was interrupted; otherwise it is overwritten.

    Attributes:
        finished: number of windows that are done.
        left: number of pixels left as they were, and of pixels with data.

    Raises:
        ValueError: the folder holds other files, or another job's (says what differs).
        OSError: not enough room on the disk.
    """

    def __init__(self, layers, job, *, resume):
        target = layers[0].target
        self.folder, self.layers, self.job = work_folder(target), layers, job
        self.files = [self.folder / f"{number}.tif" for number in range(len(layers))]
        self.journal, self.finished, self.left = self.folder / "journal.json", 0, [0, 0]
        for path in self.folder.glob("*"):
            if not OURS.fullmatch(path.name):
                told = f"{self.folder} is needed for the work, and holds {path.name}"
                raise ValueError(f"{told}, which is not of `apply`: move it away, or choose another output")
        if resume and self.journal.exists():
            record = paths.read_record(self.journal, ("job", "finished", "left"))
            before = record["job"]
            differing = [name for name in before | job if before.get(name) != job.get(name)]
            if differing:
                told = f"what was begun for {target} differs in: {', '.join(differing)}"
                raise ValueError(f"{told}. Give the same again, or begin anew without --resume")
            self.finished, self.left = record["finished"], record["left"]
        elif self.folder.exists() and not resume:
            print(f"note: what an interrupted run left in {self.folder} is overwritten")

    @contextmanager
    def begin(self):
        """Make the folder; it stays behind only where `resume` can use it."""
        size = SPACE_FACTOR * sum(map(_size, self.layers))
        held = sum(getattr(file.stat(), "st_blocks", 0) * 512 for file in self.folder.glob("*"))
        paths.require_space(self.folder.parent, size - held)
        if not self.finished:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        try:
            if not self.finished:
                self.note(0)
                for file, layer in zip(self.files, self.layers, strict=True):
                    _create(file, layer)
            yield
        except BaseException:
            if not self.finished:
                shutil.rmtree(self.folder)
            raise
        shutil.rmtree(self.folder)

    def write(self, row, column, pixels):
        """Write pixels, float32 (height, width, bands of all layers), NaN = no data."""
        parts = np.split(pixels, len(self.layers), axis=-1)
        window = Window(column, row, *pixels.shape[1::-1])
        for file, layer, part in zip(self.files, self.layers, parts, strict=True):
            kind = layer.profile["dtype"], layer.profile["nodata"]
            # some rows at a time stay in the processor's cache: twice faster
            cuts = [to_file_values(cut, *kind) for cut in np.array_split(part, 12)]
            with rasterio.open(file, "r+") as dataset:
                dataset.write(np.moveaxis(np.concatenate(cuts), -1, 0), layer.order, window=window)

    def note(self, finished):
        """Note in the journal how many windows are finished, once they are safely on the disk."""
        for file in self.files if finished else ():
            paths.to_disk(file)
        self.finished = finished
        record = {"job": self.job, "finished": finished, "left": self.left}
        paths.write_json(self.journal, record)

    def deliver(self, number, path):
        """Turn a working file into a cloud-optimised GeoTIFF at `path`."""
        file, layer, made = self.files[number], self.layers[number], self.folder / f"{number}.cog.tif"
        file.with_suffix(".tif.ovr").unlink(missing_ok=True)  # half of it, if a run was killed here
        side = max(layer.profile["height"], layer.profile["width"])
        factors = [2**k for k in range(1, 32) if side > 2 ** (k - 1) * BLOCK_PX]
        # the driver's own overviews take three times the processor time of the whole copy
        env = {"GDAL_NUM_THREADS": "ALL_CPUS", "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK_PX}
        env |= {"TIFF_USE_OVR": True, "COMPRESS_OVERVIEW": "NONE"}
        with rasterio.Env(**env), rasterio.open(file, "r+") as dataset:
            if factors:
                how = Resampling.mode if layer.classes else Resampling.average
                dataset.build_overviews(factors, how)
        # zstd takes half the processor time of deflate at its fastest, for 4 % more bytes
        rasterio.shutil.copy(
            file, made, driver="COG", compress="zstd", level=1, predictor="YES", blocksize=BLOCK_PX,
            num_threads="ALL_CPUS", bigtiff="IF_SAFER",
        )  # fmt: skip
        paths.to_disk(made)
        shutil.move(made, path)  # `uncertainty` may lie on another disk


def _size(layer):
    """Return the bytes of a working file."""
    height, width, count, dtype = map(layer.profile.get, ("height", "width", "count", "dtype"))
    return height * width * count * np.dtype(dtype).itemsize


def _create(file, layer):
    """Create an empty working file with all labels."""
    blocks = {"blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "interleave": "band"}
    profile = layer.profile | blocks | {"compress": None, "predictor": 1}
    with rasterio.open(file, "w", **profile) as dataset:
        for name, value in layer.labels.items():
            setattr(dataset, name, value)
        dataset.update_tags(**layer.tags)
        if layer.classes:
            colours = {at: tuple(each["colour"]) for at, each in enumerate(layer.classes)}
            dataset.write_colormap(1, colours | {layer.profile["nodata"]: (0, 0, 0, 0)})
            names = {f"class_{at}": each["name"] for at, each in enumerate(layer.classes)}
            dataset.update_tags(1, **names)
