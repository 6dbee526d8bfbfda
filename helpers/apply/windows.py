"""Cut an image into windows that overlap, and put the answers together again."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from rasterio.windows import Window


@dataclass(frozen=True)
class Grid:
    """Square windows that cover an image. All in pixels of the input, from its upper left corner.

    Where the receptive field is known, a window shows `margin` pixels more on each side, which are
    cropped from the answer: no seam is left. Where the context is global, neighbouring answers
    share `overlap` pixels, across which a raised cosine leads from one to the other. An image that
    fits into one window is not cut.
    """

    shape: tuple  # (height, width) of the image
    region: tuple  # (row, column, height, width) that is wanted
    cell: int  # from one window to the next
    margin: int
    overlap: int

    @classmethod
    def over(cls, shape, region, cell, margin, multiple):
        """Choose windows; `margin` is None where the context is global."""
        cell, overlap = min(cell, max(shape)), 0
        if margin is None:
            margin = _rounded_up(max(cell // 8, 1), multiple)
            if cell < max(shape):
                margin, overlap = 0, 2 * margin
        cell = _rounded_up(max(cell, overlap), multiple)
        return cls(shape, region, cell, _rounded_up(margin, multiple), overlap)

    @property
    def cells(self):
        """List (row, column) of the windows that have a part in the region, in reading order."""
        start, length = np.reshape(self.region, (2, 2))
        last = (start + length - 1 + self.overlap) // self.cell
        return list(product(*map(range, start // self.cell, last + 1)))

    def read(self, how, cell):
        """Read a window, float32 (side, side, bands), mirrored beyond the image.

        Args:
            how: function of `window` that returns (bands, height, width).
            cell: (row, column) of the window.
        """
        begin = np.multiply(cell, self.cell) - self.overlap - self.margin
        end = begin + self.cell + self.overlap + 2 * self.margin
        first, last = np.maximum(begin, 0), np.minimum(end, self.shape)
        pixels = how(window=Window(*first[::-1], *(last - first)[::-1]))
        around = zip(first - begin, end - last, strict=True)
        return np.moveaxis(np.pad(pixels, [(0, 0), *around], mode="symmetric"), 0, -1)

    def finished(self, cell):
        """Say what is complete once the answer to a window has arrived.

        Returns:
            int (2, 2): from and to which row and column of the answer; empty where they are equal
            or less. And int (2,): row and column of its beginning in the region.
        """
        start, length = np.reshape(self.region, (2, 2))
        begin = np.multiply(cell, self.cell) - self.overlap
        first = np.maximum(begin, start)
        last = np.minimum(begin + self.cell, start + length)
        return np.array([first - begin, last - begin]), first - start


def _rounded_up(size, multiple):
    return -(-size // multiple) * multiple


def blending(size, overlap):
    """Make a function that adds up answers that overlap; they must come in reading order.

    Only what later windows need is kept: an overlap for each column, and that of the window before.
    Beside the first row and column of the region lies what nobody asks for.

    Args:
        size: from one answer to the next, pixels.
        overlap: pixels that neighbours share.

    Returns:
        function of a column and an answer, float32 (height, width, bands), that returns what is
        complete with it: (size, size, bands).
    """
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(overlap) + 0.5) / max(1, overlap))
    side = np.concatenate([rise, np.ones(size - overlap), rise[::-1]]).astype("float32")
    weight = np.outer(side, side)[..., None]
    right, below = {}, {}

    def blend(column, answer):
        if not overlap:
            return answer
        answer = answer * weight
        answer[:, :overlap] += right.get(column, 0)
        right[column + 1] = answer[:, size:].copy()
        right.pop(column, None)
        answer = answer[:, :size]
        answer[:overlap] += below.get(column, 0)
        below[column] = answer[size:].copy()
        return answer[:size]

    return blend
