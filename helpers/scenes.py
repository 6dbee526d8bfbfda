"""`Scene`: pixels that know their bands, their place on the ground and whom to credit; and splits by ground."""

import itertools
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine, array_bounds
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from helpers.paths import atomic, require_space

SPLITS = ("train", "validation", "test")
IMAGE_SUFFIXES = {".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"}
MAX_READ_BYTES = 4e9  # a Scene is held in memory; whole products go through `apply`, window by window


@dataclass(frozen=True)
class Scene:
    """An image of some ground.

    Attributes:
        pixels: float32 (height, width, bands), reflectance or digital numbers as the file has them; NaN = no data.
        bands: one name per band, for example ("blue", "green", "red").
        transform: affine map from (column, row) to map coordinates, or None where the place is unknown.
        crs: coordinate reference system of `transform`, or None.
        credit: whom to credit wherever the pixels are shown.
        name: short name for captions and file names.
        dtype: data type of the file it came from, used again when it is written.
        nodata: value that stands for "no data" in that file, or None.
    """

    pixels: np.ndarray
    bands: tuple
    transform: Affine | None = None
    crs: object = None
    credit: str = ""
    name: str = "scene"
    dtype: str = "float32"
    nodata: float | None = None

    def __post_init__(self):
        if self.pixels.ndim != 3 or self.pixels.shape[2] != len(self.bands):
            raise ValueError(
                f"{self.name}: pixels have shape {self.pixels.shape}, expected (height, width, {len(self.bands)}) "
                f"for the bands {', '.join(self.bands)}"
            )

    @property
    def height(self):
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self):
        """Columns."""
        return self.pixels.shape[1]

    @property
    def ground_sample_distance_m(self):
        """Width of a pixel in metres, or None where the coordinates are not in metres."""
        if self.transform is None or self.crs is None or not self.crs.is_projected:
            return None
        return float(np.hypot(self.transform.a, self.transform.d)) * self.crs.linear_units_factor[1]

    @property
    def bounds(self):
        """(west, south, east, north) in the unit of `crs`, or None where the place is unknown."""
        return None if self.transform is None else array_bounds(self.height, self.width, self.transform)

    @property
    def valid(self):
        """bool (height, width): True where every band has data."""
        return np.isfinite(self.pixels).all(axis=-1)

    def cut(self, row, column, height, width):
        """The window that starts at (`row`, `column`), a view with its own transform.

        Raises:
            ValueError: the window reaches beyond the scene.
        """
        if row < 0 or column < 0 or row + height > self.height or column + width > self.width:
            raise ValueError(
                f"{self.name}: rows {row} to {row + height}, columns {column} to {column + width} reach beyond "
                f"{self.height} x {self.width} pixels"
            )
        transform = None if self.transform is None else self.transform * Affine.translation(column, row)
        return replace(self, pixels=self.pixels[row : row + height, column : column + width], transform=transform)

    def select(self, bands):
        """The same scene with only `bands`, in that order; a ValueError names what is missing."""
        missing = [band for band in bands if band not in self.bands]
        if missing:
            raise ValueError(f"{self.name} has no band {', '.join(missing)}; it has {', '.join(self.bands)}")
        index = [self.bands.index(band) for band in bands]
        return replace(self, pixels=self.pixels[..., index], bands=tuple(bands))

    def patches(self, size, stride=None):
        """Square windows of `size` pixels in reading order, without those that hold no-data pixels."""
        stride = stride or size
        rows = range(0, self.height - size + 1, stride)
        columns = range(0, self.width - size + 1, stride)
        cuts = (self.cut(row, column, size, size) for row, column in itertools.product(rows, columns))
        return [cut for cut in cuts if cut.valid.all()]


def read(files, *, bands=None, nodata=None, credit="", name=None):
    """Read one image from one file, or from several files of one grid whose bands are stacked.

    Args:
        files: path, or list of paths, in any format that rasterio reads (GeoTIFF, JPEG 2000, PNG, JPEG, …).
        bands: names for the bands; default: the file's own, else red/green/blue where the file says so, else band1, …
        nodata: value that means "no data", where the file does not say it itself.
        credit: whom to credit.
        name: short name; default: the first file's.

    Returns:
        Scene, float32, NaN where the file's mask or `nodata` says that there is no data.

    Raises:
        ValueError: not an image, too large for memory, grids that differ, or a wrong number of band names.
    """
    paths = [Path(path) for path in (files if isinstance(files, (list, tuple)) else [files])]
    parts, found = [], []
    for path in paths:
        try:
            with warnings.catch_warnings(), rasterio.open(path) as dataset:
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                size = dataset.width * dataset.height * dataset.count * 4 * len(paths)
                if size > MAX_READ_BYTES:
                    raise ValueError(
                        f"{path.name} is {dataset.width} x {dataset.height} x {dataset.count}: {size / 1e9:.1f} GB in "
                        "memory. Cut it first, or use `python -m helpers apply`, which works window by window"
                    )
                pixels = dataset.read(out_dtype="float32", masked=True)
                grid = (dataset.height, dataset.width, dataset.transform, dataset.crs)
                parts.append((grid, dataset.dtypes[0], dataset.nodata))
                found += _band_names(dataset, path if len(paths) > 1 else None)
        except rasterio.errors.RasterioError as error:
            raise ValueError(f"{path} cannot be read as an image ({error}). Expected GeoTIFF, JP2, PNG or JPEG") from error
        values = np.moveaxis(pixels.filled(np.nan), 0, -1)
        if nodata is not None:
            values[values == nodata] = np.nan
        parts[-1] += (values,)
    if any(part[0] != parts[0][0] for part in parts):
        raise ValueError(f"{', '.join(path.name for path in paths)} lie on different grids: resample them to one first")
    if bands is not None and len(bands) != len(found):
        raise ValueError(f"{paths[0].name}: {len(bands)} band names given for {len(found)} bands")
    (_, _, transform, crs), dtype, own_nodata, _ = parts[0]
    return Scene(
        pixels=np.concatenate([part[-1] for part in parts], axis=-1) if len(parts) > 1 else parts[0][-1],
        bands=tuple(bands or found),
        transform=None if transform == Affine.identity() else transform,
        crs=crs,
        credit=credit,
        name=name or paths[0].stem,
        dtype=dtype,
        nodata=own_nodata if nodata is None else nodata,
    )


def _band_names(dataset, prefix):
    colours = [colour.name for colour in dataset.colorinterp]
    named = colours if set(colours) == {"red", "green", "blue"} else [f"band{i + 1}" for i in range(dataset.count)]
    names = [description or name for description, name in zip(dataset.descriptions, named, strict=True)]
    return names if prefix is None else [f"{prefix.stem}_{name}" for name in names]


def to_file_values(pixels, dtype, nodata):
    """Float pixels as a file stores them: rounded and clipped to `dtype`, NaN as `nodata`.

    A valid value that would be read back as "no data" moves to the neighbouring number.

    Args:
        pixels: float32, NaN = no data.
        dtype: NumPy name of the file's data type.
        nodata: the file's no-data value; None only where there is no NaN, or for floats.

    Returns:
        Array of `dtype`.
    """
    missing = np.isnan(pixels)
    if np.issubdtype(np.dtype(dtype), np.floating):
        return pixels.astype(dtype) if nodata is None else np.where(missing, nodata, pixels).astype(dtype)
    limits = np.iinfo(dtype)
    if missing.any() and nodata is None:
        raise ValueError(f"{missing.sum()} values have no data, and the file of {dtype} names no value for that")
    values = np.clip(np.rint(np.where(missing, 0, pixels)), limits.min, limits.max).astype(dtype)
    if nodata is not None:
        values[~missing & (values == nodata)] = nodata + 1 if nodata < limits.max else nodata - 1
        values[missing] = nodata
    return values


def write(scene, path, *, dtype=None):
    """Write a scene as a tiled, compressed GeoTIFF with its CRS, transform, band names and no-data value.

    Args:
        scene: Scene.
        path: final name; replaced only once the new file is whole.
        dtype: data type to store; default: that of the file the scene came from.

    Raises:
        OSError: not enough room, before anything is written.
    """
    dtype = dtype or scene.dtype
    require_space(Path(path).parent, scene.pixels.size * np.dtype(dtype).itemsize)
    nodata = scene.nodata
    if nodata is None and np.isnan(scene.pixels).any():
        nodata = float("nan") if np.issubdtype(np.dtype(dtype), np.floating) else 0
    profile = {
        "driver": "GTiff", "height": scene.height, "width": scene.width, "count": len(scene.bands), "dtype": dtype,
        "crs": scene.crs, "nodata": nodata, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "predictor": 3 if np.issubdtype(np.dtype(dtype), np.floating) else 2,
    }  # fmt: skip
    if scene.transform is not None:
        profile["transform"] = scene.transform
    with atomic(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(temporary, "w", **profile) as dataset:
            dataset.write(np.moveaxis(to_file_values(scene.pixels, dtype, nodata), -1, 0))
            dataset.descriptions = scene.bands
            if scene.credit:
                dataset.update_tags(credit=scene.credit)


def split_ground(scenes, *, block_px, guard_px, shares=(0.7, 0.1, 0.2), seed=0):
    """Split ground, not pictures: blocks of a grid fixed to the map go to train, validation or test.

    Where scenes overlap, a block is taken from the first scene that covers it, so that no ground counts twice. A
    band of `guard_px` is left out between neighbouring blocks. Scenes without a place are split each on a grid of its
    own, so two of them must not show the same ground.

    Args:
        scenes: list of Scene of one ground sample distance.
        block_px: side of a usable block, pixels.
        guard_px: width of the band left out between blocks, pixels.
        shares: of train, validation and test, summing to 1.
        seed: of the assignment; the same seed gives the same split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene, sorted by place, without no-data pixels.

    Raises:
        ValueError: fewer than three whole blocks (says what would help).
    """
    pitch, found = block_px + guard_px, {}
    for number, scene in enumerate(scenes):
        # the grid is anchored at the CRS origin; an unplaced or rotated scene has a grid of its own
        placed = scene.transform is not None and scene.transform.b == scene.transform.d == 0
        first_column = round(scene.transform.c / scene.transform.a) if placed else 0
        first_row = round(scene.transform.f / scene.transform.e) if placed else 0
        for row in range(-first_row % pitch, scene.height - block_px + 1, pitch):
            for column in range(-first_column % pitch, scene.width - block_px + 1, pitch):
                place = ((row + first_row) // pitch, (column + first_column) // pitch)
                block = scene.cut(row, column, block_px, block_px)
                if block.valid.all():
                    found.setdefault((str(scene.crs) if placed else f"{number:06d}", *place), block)
    if len(found) < 3:
        largest = max((min(scene.height, scene.width) for scene in scenes), default=0)
        raise ValueError(
            f"only {len(found)} whole blocks of {block_px} pixels without no-data pixels were found; at least 3 are "
            f"needed, one each to train, validate and test. The shorter side of the largest image is {largest} pixels: "
            "use larger images or smaller blocks"
        )
    keys = sorted(found)
    order = np.random.default_rng(seed).permutation(len(keys))
    held_out = [max(1, round(share * len(keys))) for share in shares[1:]]
    ends = np.cumsum([len(keys) - sum(held_out), *held_out])
    ground = {
        split: [found[keys[i]] for i in sorted(order[start:end])]
        for split, start, end in zip(SPLITS, [0, *ends], ends, strict=False)
    }
    refuse_overlap(ground)
    return ground


def refuse_overlap(ground):
    """Raise a ValueError that names two scenes of different splits which show the same ground.

    Args:
        ground: dict from split to list of Scene; scenes without a place cannot be compared, and pass.
    """
    placed = [
        (split, scene, scene.bounds if str(scene.crs) == str(reference.crs) else _bounds_in(scene, reference.crs))
        for split in SPLITS
        for scene in ground.get(split, [])
        if scene.bounds and scene.crs
        for reference in [next(s for kept in SPLITS for s in ground.get(kept, []) if s.bounds and s.crs)]
    ]
    if not placed:
        return
    boxes = np.array([bounds for _, _, bounds in placed])
    names = np.array([split for split, _, _ in placed])
    slack = 1e-6 * (boxes[:, 2] - boxes[:, 0]).min()
    for index, (west, south, east, north) in enumerate(boxes):
        meets = (boxes[:, 0] < east - slack) & (boxes[:, 2] > west + slack)
        meets &= (boxes[:, 1] < north - slack) & (boxes[:, 3] > south + slack) & (names != names[index])
        if meets.any():
            other = placed[int(np.argmax(meets))]
            raise ValueError(
                f"{placed[index][1].name} ({names[index]}) and {other[1].name} ({other[0]}) show the same ground: "
                "scores on it would not be honest. Split by ground, for example with scenes.split_ground"
            )


def _bounds_in(scene, crs):
    return transform_bounds(scene.crs, crs, *scene.bounds)
