"""The files that grow beside an output: they survive a crash at any moment, and become the output only when whole."""

import json
import re
import shutil
import time
from contextlib import contextmanager, suppress
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
OURS = re.compile(r"\.?journal.*\.json|\d+(\.cog)?\.tif.*")  # files of a work folder
SYNC_S = 0.2  # at most so often is a journal written
# the working file, a third of it for overviews, and the output with its own where nothing can be compressed
SPACE_FACTOR = 1 + 1 / 3 + 4 / 3


@dataclass(frozen=True)
class Layer:
    """One file that is being made: its final name, and what rasterio needs to create it."""

    target: Path
    profile: dict
    labels: dict  # attributes to set: descriptions, scales, offsets, units, colours, control points
    tags: dict
    classes: list | None = None  # dicts with "name" and "colour", where the pixels are classes


def refuse_changes(before, now, target):
    """Raise a ValueError where an interrupted job is not this one (says what differs)."""
    differing = [name for name, value in now.items() if before.get(name) != value]
    if differing:
        raise ValueError(
            f"what was begun for {target} differs in: {', '.join(differing)}. Give the same again, or begin "
            "anew without --resume"
        )


def _bytes(height, width, count, dtype, **_):
    return height * width * count * np.dtype(dtype).itemsize


class Working:
    """The folder with the working file of each layer, uncompressed, and a journal of what is finished.

    Uncompressed tiles are overwritten in place, so that a process killed while writing harms nothing but what it was
    writing, which the journal does not count yet. Opening it refuses what does not fit; nothing is made before `begin`.
    `finished` is the number of windows that are done, `left` of pixels left as they were, and of pixels with data.

    Args:
        layers: list of Layer; the folder stands beside the first one's target.
        job: dict that says in words what is computed; only the same job can go on.
        resume: go on with a job that was interrupted; otherwise it is overwritten.

    Raises:
        ValueError: what stands there is another job's (says what differs).
        OSError: not enough room on the disk.
    """

    def __init__(self, layers, job, *, resume):
        target = layers[0].target
        self.folder, self.layers = target.with_name(f".{target.name}.work"), layers
        self.files = [self.folder / f"{number}.tif" for number in range(len(layers))]
        self.journal, self.job = self.folder / "journal.json", json.loads(json.dumps(job))
        self.resume, self.finished, self.left, self.synced = resume, 0, [0, 0], 0.0
        strange = [path.name for path in self.folder.glob("*") if not OURS.fullmatch(path.name)]
        if strange:
            told = f"{self.folder} is needed for the work, and holds {strange[0]}, which is not of `apply`"
            raise ValueError(f"{told}: move it away, or choose another name for the output")
        if resume and self.journal.exists():
            record = paths.read_record(self.journal, ("job", "finished", "left"))
            refuse_changes(record["job"], self.job, target)
            self.finished, self.left = record["finished"], record["left"]
        held = sum(getattr(file.stat(), "st_blocks", 0) * 512 for file in self.folder.glob("*"))
        paths.require_space(target.parent, sum(_bytes(**layer.profile) for layer in layers) * SPACE_FACTOR - held)

    @contextmanager
    def begin(self):
        """Context in which windows are computed; leaves a folder behind only where `resume` can use it."""
        if not self.finished:
            if self.folder.exists() and not self.resume:
                print(f"note: what an interrupted run left in {self.folder} is overwritten")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            self.note()
            for file, layer in zip(self.files, self.layers, strict=True):
                self._create(file, layer)
            self.synced = 0.0
        try:
            yield
        except BaseException as error:
            # no resuming mends a bad input
            if isinstance(error, ValueError) or not self.finished:
                shutil.rmtree(self.folder)
            else:
                with suppress(OSError):  # such as a full disk, which is what is told
                    self.note()
            raise
        shutil.rmtree(self.folder)

    def _create(self, file, layer):
        options = {"blockxsize": BLOCK_PX, "blockysize": BLOCK_PX, "interleave": "band", "compress": None}
        profile = layer.profile | options
        del profile["predictor"]  # it is for what is compressed
        with rasterio.open(file, "w", **profile) as dataset:
            for name, value in layer.labels.items():
                setattr(dataset, name, value)
            dataset.update_tags(**layer.tags)
            if layer.classes:
                colours = {at: tuple(each["colour"]) for at, each in enumerate(layer.classes)}
                dataset.write_colormap(1, colours | {layer.profile["nodata"]: (0, 0, 0, 0)})
                names = {f"class_{at}": each["name"] for at, each in enumerate(layer.classes)}
                dataset.update_tags(1, **names)

    def write(self, row, column, pixels, same, finished):
        """Write what is complete, and note it once it is safely on the disk.

        Args:
            row, column: of its upper left corner.
            pixels: float32 (height, width, bands) with the bands of all layers, NaN = no data.
            same: None, or what the first layer keeps: bool (height, width) and an array of its bands and
                data type.
            finished: windows that are done with these.
        """
        start = 0
        for file, layer in zip(self.files, self.layers, strict=True):
            stop = start + layer.profile["count"]
            values = self._values(layer, pixels[..., start:stop], None if start else same)
            window = Window(column, row, *values.shape[1::-1])
            with rasterio.open(file, "r+") as dataset:
                dataset.write(np.moveaxis(values, -1, 0), window=window)
            start = stop
        self.finished = finished
        if time.monotonic() > self.synced + SYNC_S:
            self.note()

    def _values(self, layer, pixels, same):
        """Return pixels in a layer's data type; counts what stays the same."""
        dtype, nodata = layer.profile["dtype"], layer.profile["nodata"]
        # 64 rows at a time stay in the processor's cache: twice faster
        cuts = [pixels[first : first + 64] for first in range(0, len(pixels), 64)]
        values = np.concatenate([to_file_values(cut, dtype, nodata) for cut in cuts])
        if same:
            clear, own = same
            # a number that means "no data" here stays where `to_file_values` moved it
            stays = clear[..., None] if nodata is None else clear[..., None] & (own != nodata)
            np.copyto(values, own, where=stays)
            self.left[0] += int(clear.sum())
            self.left[1] += int((~np.isnan(pixels[..., 0])).sum())
        return values

    def note(self):
        """Note in the journal what is finished, once it is safely on the disk."""
        for file in self.files if self.finished else ():
            paths.to_disk(file)
        record = {"job": self.job, "finished": self.finished, "left": self.left}
        paths.write_json(self.journal, record)
        self.synced = time.monotonic()

    def deliver(self, number, path):
        """Turn a working file into a cloud-optimised GeoTIFF at `path`."""
        file, layer, made = self.files[number], self.layers[number], self.folder / f"{number}.cog.tif"
        file.with_suffix(".tif.ovr").unlink(missing_ok=True)  # half of it, if a run was killed here
        sides = layer.profile["height"], layer.profile["width"]
        factors = [2**k for k in range(1, 32) if max(sides) > 2 ** (k - 1) * BLOCK_PX]
        # overviews from here, as the driver's own pass over compressed ones takes twice as long
        threads = {"GDAL_NUM_THREADS": "ALL_CPUS", "GDAL_TIFF_OVR_BLOCKSIZE": BLOCK_PX, "TIFF_USE_OVR": True}
        with rasterio.Env(**threads, COMPRESS_OVERVIEW="NONE"), rasterio.open(file, "r+") as dataset:
            if factors:
                how = Resampling.mode if layer.classes else Resampling.average
                dataset.build_overviews(factors, how)
        # zstd takes half the processor time of deflate at its fastest (1.8 and 3.4 s), for 4 % more bytes
        rasterio.shutil.copy(
            file, made, driver="COG", compress="zstd", level=1, predictor="YES", blocksize=BLOCK_PX,
            num_threads="ALL_CPUS", bigtiff="IF_SAFER",
        )  # fmt: skip
        paths.to_disk(made)  # here, where a crash leaves nothing behind that `resume` does not take away
        shutil.move(made, path)  # `uncertainty` may lie on another disk
