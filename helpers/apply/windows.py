"""How an image is cut into windows that overlap, and how the answers become one image again."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from rasterio.windows import Window


@dataclass(frozen=True)
class Grid:
    """Square cells that cover an image, counted from its upper left corner; a window is a cell with its surroundings.

    All in pixels of the input. Where the receptive field is known, a window shows `margin` pixels more on each side,
    which are cropped from the answer: no seam is left. Where the context is global, windows are blended: they reach
    `ramp` pixels into their neighbours' cells, and across the 2 x `ramp` pixels that both have answered, a raised
    cosine leads from one to the other, with weight near zero where a window, at its very border, knows least. `ramp`
    is an eighth of a cell: the network is asked for 1.6 times the pixels.
    """

    height: int
    width: int
    cell: int
    margin: int
    ramp: int
    region: tuple  # (row, column, height, width) that is wanted

    @classmethod
    def over(cls, shape, region, cell, margin, multiple):
        """The grid for an image; `margin` is None where the context is global."""
        cell = _rounded_up(min(cell, max(shape)), multiple)
        if margin is not None:
            return cls(*shape, cell, _rounded_up(margin, multiple), 0, region)
        return cls(*shape, max(cell, 2 * multiple), 0, _rounded_up(-(-cell // 8), multiple), region)

    @property
    def reach(self):
        """How far a window extends beyond its cell on each side."""
        return self.margin + self.ramp

    @property
    def side(self):
        """Of a window."""
        return self.cell + 2 * self.reach

    @cached_property
    def last(self):
        """Row and column of the last cell of the image."""
        return (self.height - 1) // self.cell, (self.width - 1) // self.cell

    @cached_property
    def cells(self):
        """(row, column) of each cell that has a part in the region, in reading order."""
        axes = []
        for start, length, last in zip(self.region[:2], self.region[2:], self.last, strict=True):
            first = max(0, (start - self.ramp) // self.cell)
            axes.append(range(first, min(last, (start + length - 1 + self.ramp) // self.cell) + 1))
        return list(product(*axes))

    def finished_by(self, cell):
        """((top, bottom), (left, right)) of what is complete once the windows up to that of `cell` are answered.

        Pixels of the image, within the region; empty where bottom <= top or right <= left.
        """
        sides = []
        for index, last, start, length in zip(cell, self.last, self.region[:2], self.region[2:], strict=True):
            begin = index * self.cell - self.ramp
            end = begin + self.cell + 2 * self.ramp * (index == last)
            sides.append((max(begin, start), min(end, start + length)))
        return tuple(sides)

    def finished_part(self, cell, reach, scale=1):
        """The same as slices of an array that begins `reach` pixels before the cell, and has `scale` times as many."""
        begins = (index * self.cell - reach for index in cell)
        sides = zip(begins, self.finished_by(cell), strict=True)
        return tuple(slice((start - begin) * scale, (stop - begin) * scale) for begin, (start, stop) in sides)

    def read(self, how, image, bands, cell, *nodata):
        """Read the pixels of a window, (side, side, bands), mirrored beyond the edge of the image.

        Args:
            how: `read_values` or `read_raw`.
            image: open rasterio dataset.
            bands: 1-based indices.
            cell: (row, column).
            nodata: for `read_values`.
        """
        begins = [index * self.cell - self.reach for index in cell]
        there, beyond = [], []
        for begin, length in zip(begins, (self.height, self.width), strict=True):
            end = begin + self.side
            there.append((max(0, begin), min(length, end)))
            beyond.append((max(0, -begin), max(0, end - length)))
        pixels = how(image, bands, *nodata, window=Window.from_slices(*there))
        return np.moveaxis(np.pad(pixels, [(0, 0), *beyond], mode="symmetric"), 0, -1)


def _rounded_up(size, multiple):
    return -(-size // multiple) * multiple


class Blend:
    """Adds up the answers of windows that overlap by ramps; they must come in reading order.

    Only what later windows add to is kept: one row of ramps, and one ramp of the window before.
    """

    def __init__(self, grid, scale):
        self.grid, self.ramp = grid, 2 * grid.ramp * scale
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self.ramp) + 0.5) / max(1, self.ramp))
        self.rise, self.below, self.right = rise.astype("float32"), {}, None

    def __call__(self, cell, answer):
        """Add the answer to one more window, float32 (height, width, bands) without its margin.

        Returns:
            The part that is now complete, as `Grid.finished_by` says, but reaching beyond region and image.
        """
        if not self.ramp:
            return answer
        (row, column), last = cell, self.grid.last
        answer = answer * self._weight(row, last[0])[:, None, None] * self._weight(column, last[1])[:, None]
        height, width = answer.shape[0] - self.ramp, answer.shape[1] - self.ramp
        if self.right is not None and self.right[0] == (row, column - 1):
            answer[:, : self.ramp] += self.right[1]
        above = self.below.pop(column, None)
        if above is not None:
            answer[: self.ramp, : above.shape[1]] += above
        # the lower right corner goes to the right only, or it would arrive twice
        self.right = cell, answer[:, width:].copy()
        end = None if column == last[1] else width
        self.below[column] = answer[height:, :end].copy()
        return answer[: None if row == last[0] else height, :end]

    def _weight(self, index, last):
        weight = np.ones((self.grid.cell + 2 * self.grid.ramp) * len(self.rise) // (2 * self.grid.ramp), "float32")
        if index > 0:
            weight[: self.ramp] = self.rise
        if index < last:
            weight[-self.ramp :] = self.rise[::-1]
        return weight
