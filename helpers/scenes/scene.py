"""`Scene`: pixels that know their bands, their place on the ground and their credit line."""

import itertools
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from rasterio.transform import Affine, array_bounds

from helpers.scenes.bands import find_bands

GRID = attrgetter("height", "width", "transform", "crs")


@dataclass(frozen=True)
class Scene:
    """An image of some ground.

    Attributes:
        pixels: float32 (height, width, bands), reflectance or digital numbers as the file has them;
            NaN = no data.
        bands: one name per band, for example ("blue", "green", "red").
        transform: affine map from (column, row) to map coordinates, or None where the place is
            unknown.
        crs: coordinate reference system of `transform`, or None.
        credit: credit line, to be shown with the pixels.
        name: short name for captions and file names.
        dtype: data type of the file it came from, used again when it is written.
        nodata: value that stands for "no data" in that file, or None.
        scaling: scale of each band, then offset of each, as that file declares them; not applied.
    """

    pixels: np.ndarray
    bands: tuple
    transform: Affine | None = None
    crs: object = None
    credit: str = ""
    name: str = "scene"
    dtype: str = "float32"
    nodata: float | None = None
    scaling: tuple = ()

    @property
    def height(self):
        """Rows."""
        return self.pixels.shape[0]

    @property
    def width(self):
        """Columns."""
        return self.pixels.shape[1]

    @property
    def pixel_size(self):
        """Width and height of a pixel in the unit of `crs`; 1 where the place is unknown."""
        matrix = np.reshape(self.transform or Affine.identity(), (3, 3))
        return np.hypot(*matrix[:2, :2])

    @property
    def ground_sample_distance_m(self):
        """Width of a pixel in metres, or None where the coordinates are not in metres."""
        if not (self.transform and self.crs and self.crs.is_projected):
            return None
        width_m = self.pixel_size[0] * self.crs.linear_units_factor[1]
        if (
            self.crs.to_epsg() == 3857
        ):  # Mercator's metres are metres at the equator only
            width_m /= np.cosh((self.bounds[1] + self.bounds[3]) / 2 / 6378137)
        return float(width_m)

    @property
    def bounds(self):
        """(west, south, east, north) in the unit of `crs`, or None where the place is unknown."""
        if self.transform is None:
            return None
        ends = np.reshape(array_bounds(self.height, self.width, self.transform), (2, 2))
        return tuple(np.sort(ends, axis=0).ravel().tolist())  # some rows run northwards

    @property
    def valid(self):
        """bool (height, width): True where every band has data."""
        return np.isfinite(self.pixels).all(axis=-1)

    def cut(self, row, column, height, width):
        """Return the window that starts at (`row`, `column`), a view with its own transform.

        Raises:
            ValueError: the window reaches beyond the scene.
        """
        pixels = self.pixels[row : row + height, column : column + width]
        if min(row, column) < 0 or pixels.shape[:2] != (height, width):
            raise ValueError(
                f"the window (row, column, height, width) {row, column, height, width} reaches "
                f"beyond {self.height} x {self.width} pixels"
            )
        transform = self.transform and self.transform @ Affine.translation(column, row)
        return replace(self, pixels=pixels, transform=transform)

    def select(self, bands):
        """Return the scene with only `bands`, in that order, found as `find_bands` does."""
        pixels = self.pixels[..., find_bands(self.bands, bands)]
        return replace(self, pixels=pixels, bands=tuple(bands))

    def patches(self, size, stride=None, start=(0, 0)):
        """Return square windows of `size` pixels in reading order, all with data everywhere.

        Args:
            size: side of a window.
            stride: from one window to the next; default: the size.
            start: row and column of the first.
        """
        ends = np.subtract(self.pixels.shape[:2], size - 1)
        sides = map(range, start, ends, (stride or size,) * 2)
        cuts = [self.cut(*corner, size, size) for corner in itertools.product(*sides)]
        return [cut for cut in cuts if cut.valid.all()]


def stack(scenes):
    """Return one scene with the bands of all.

    Raises:
        ValueError: the scenes lie on different grids.
    """
    if len(set(map(GRID, scenes))) > 1:
        raise ValueError(
            "the scenes lie on different grids: resample them to one first"
        )
    return replace(
        scenes[0],
        pixels=np.concatenate([scene.pixels for scene in scenes], axis=-1),
        bands=sum((scene.bands for scene in scenes), ()),
    )


def fill_nodata(pixels):
    """Replace pixels without data by the nearest ones with data, so that networks can be fed.

    Args:
        pixels: float (height, width, bands); NaN = no data, in all bands where one has none.

    Returns:
        Array of the same shape; `pixels` itself where nothing is missing, or all is.
    """
    missing = np.isnan(pixels).any(axis=-1)
    if not missing.any() or missing.all():
        return pixels
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(
        missing, return_distances=False, return_indices=True
    )
    return pixels[tuple(nearest)]
