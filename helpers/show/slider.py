"""Before and after in one frame, for people who can drag a slider and for pages that cannot."""

import os

import numpy as np

from helpers.show import drawing, images


def is_static():
    """Whether nobody is there to move or to watch: no notebook kernel, or SATELLITE_NOTEBOOKS_STATIC=1, as in runs."""
    try:
        from IPython import get_ipython
    except ImportError:
        return True
    return os.environ.get("SATELLITE_NOTEBOOKS_STATIC") == "1" or getattr(get_ipython(), "kernel", None) is None


def before_after(
    before, after, *, titles=("before", "after"), bands=None, stretch=None, pixel_size_m=None, credit=None, static=None
):
    """Two images of the same ground in one frame, with a border between them that a slider moves.

    Args:
        before: Scene or (height, width, bands), shown left of the border.
        after: the same, of any number of pixels; the coarser image is enlarged without smoothing.
        titles: of the two.
        bands, stretch, pixel_size_m, credit: as for `grid`.
        static: True draws a figure instead: before, half and half, after. Default: only where nobody could move the
            slider, which is outside a notebook, or where SATELLITE_NOTEBOOKS_STATIC=1 is set, as in runs.

    Returns:
        ipywidgets VBox, or matplotlib Figure.

    Raises:
        ValueError: the images have other proportions, so they do not show the same ground.
    """
    (rows, columns), (rows_after, columns_after) = (drawing.array(image).shape[:2] for image in (before, after))
    if abs(rows * columns_after / (rows_after * columns) - 1) > 0.01:
        sizes = f"before is {rows} x {columns} pixels, after {rows_after} x {columns_after}"
        raise ValueError(f"{sizes}: their proportions differ, so they do not show the same ground")
    credit = drawing.credit(credit, [before, after])
    pictures = drawing.pictures([before, after], bands, stretch)
    height, width = max(picture.shape[:2] for picture in pictures)
    zoom = max(1, 640 // max(height, width))
    left, right = (_enlarged(picture, height * zoom, width * zoom) for picture in pictures)

    def halves(border):
        picture = np.concatenate([left[:, :border], right[:, border:]], axis=1)
        picture[:, max(0, border - 1) : border + 1] = 255
        return picture

    if not (is_static() if static is None else static):
        return _slider(halves, left.shape[1], titles, credit)
    panels, names = [left, halves(left.shape[1] // 2), right], [titles[0], " | ".join(titles), titles[1]]
    pixel_size_m = drawing.pixel_sizes([before, after], pixel_size_m)[0]
    pixel_size_m = pixel_size_m and pixel_size_m * columns / left.shape[1]
    return images.grid(panels, names, pixel_size_m=pixel_size_m, credit=credit)


def _slider(halves, width, titles, credit):
    from html import escape

    from ipywidgets import HTML, Image, IntSlider, Layout, VBox

    layout = Layout(width=f"{width}px", max_width="100%")
    image = Image(value=png(halves(width // 2)), format="png", layout=layout)
    slider = IntSlider(width // 2, 0, width, readout=False, layout=layout, tooltip="drag to compare")
    slider.observe(lambda change: setattr(image, "value", png(halves(change["new"]))), "value")
    ends = "".join(f"<b>{escape(title)}</b>" for title in titles)
    above = HTML(f'<div style="display: flex; justify-content: space-between">{ends}</div>', layout=layout)
    return VBox([above, image, slider, HTML(f"<small>{escape(credit)}</small>", layout=layout)])


def _enlarged(picture, height, width):
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), picture.shape[:2], strict=True))
    return picture[rows][:, columns]


def png(picture):
    """The bytes of a picture, uint8 (height, width, 3), as a PNG."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "png", compress_level=1)  # the fastest: a slider must not lag
    return buffer.getvalue()
