"""Slide between before and after in one frame; a figure for pages that nobody can move."""

import io
import os
from html import escape

import numpy as np

from helpers.show import drawing, images


def is_static():
    """Tell whether nobody can move a slider: no kernel, or SATELLITE_NOTEBOOKS_STATIC=1."""
    try:
        from IPython import get_ipython
    except ImportError:
        return True
    if os.environ.get("SATELLITE_NOTEBOOKS_STATIC") == "1":
        return True
    return getattr(get_ipython(), "kernel", None) is None


def before_after(
    before, after, *, titles=("before", "after"), bands=None, stretch=None, pixel_size_m=None,
    credit=None, static=None,
):  # fmt: skip
    """Show two images of the same ground in one frame, with a border that a slider moves.

    Args:
        before: Scene or (height, width, bands), shown left of the border.
        after: the same, of any number of pixels; the coarser image is enlarged without smoothing.
        titles: of the two.
        bands, stretch, pixel_size_m, credit: as for `grid`.
        static: True draws a figure instead: before, half and half, after. Default: `is_static()`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.

    Raises:
        ValueError: the images have other proportions, so they do not show the same ground.
    """
    shapes = [drawing.array(image).shape[:2] for image in (before, after)]
    (rows, columns), (rows_after, columns_after) = shapes
    if abs(rows * columns_after / (rows_after * columns) - 1) > 0.01:
        sizes = f"before is {rows} x {columns} pixels, after {rows_after} x {columns_after}"
        raise ValueError(f"{sizes}: their proportions differ, so they do not show the same ground")
    credit = drawing.credit(credit, [before, after])
    painted = drawing.pictures([before, after], bands, stretch)
    height, width = max(picture.shape[:2] for picture in painted)
    zoom = max(1, 640 // max(height, width))
    left, right = (_enlarged(picture, height * zoom, width * zoom) for picture in painted)

    def halves(border):
        picture = np.concatenate([left[:, :border], right[:, border:]], axis=1)
        picture[:, max(0, border - 1) : border + 1] = 255
        return picture

    width = left.shape[1]
    if not (is_static() if static is None else static):
        return _slider(halves, width, titles, credit)
    names = [titles[0], " | ".join(titles), titles[1]]
    size_m = drawing.pixel_sizes([before, after], pixel_size_m)[0]
    size_m = size_m and size_m * columns / width
    return images.grid([left, halves(width // 2), right], names, pixel_size_m=size_m, credit=credit)


def _slider(halves, width, titles, credit):
    from ipywidgets import IntSlider, Layout, VBox

    layout = Layout(width=f"{width}px", max_width="100%")
    slider = IntSlider(width // 2, 0, width, readout=False, layout=layout)
    image = redrawn(halves, [slider], layout)
    return VBox([line(" | ".join(titles)), image, slider, line(credit)])


def redrawn(draw, sliders, layout):
    """Make a picture that is drawn anew, by a function of their values, when a slider moves."""
    from ipywidgets import Image

    image = Image(format="png", layout=layout)

    def redraw(_=None):
        image.value = png(draw(*(slider.value for slider in sliders)))

    redraw()
    for slider in sliders:
        slider.observe(redraw, "value")
    return image


def line(text):
    """Make a small line of text."""
    from ipywidgets import HTML

    return HTML(f"<small>{escape(text or '')}</small>")


def _enlarged(picture, height, width):
    rows = np.arange(height) * picture.shape[0] // height
    columns = np.arange(width) * picture.shape[1] // width
    return picture[rows][:, columns]


def png(picture):
    """Return the bytes of a picture, uint8 (height, width, 3), as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png", compress_level=1)  # the fastest: no lag
    return buffer.getvalue()
