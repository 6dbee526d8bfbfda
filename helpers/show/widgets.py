"""Play with images by hand: sliders, a map to click on; figures without a kernel."""

import inspect
import os
from base64 import b64encode
from html import escape
from textwrap import dedent

import numpy as np

from helpers.show import drawing, figures

MAP_PX = 480  # width of the map to click on
ROWS, COLUMNS = 16, 20  # places to click on
SLIDER_PX = 640  # width of images with a slider, about
SMALL = {"width": "auto", "height": "auto", "margin": "0"}
MAP = {
    "grid_template_columns": f"repeat({COLUMNS}, 1fr)",
    "grid_template_rows": f"repeat({ROWS}, 1fr)",
    "grid_gap": "0",
    "width": f"{MAP_PX}px",
    "flex": "0 0 auto",  # never shrunk
}


def is_static():
    """Tell whether sliders cannot work: no kernel, or SATELLITE_NOTEBOOKS_STATIC=1."""
    from IPython import get_ipython

    is_asked_for = os.environ.get("SATELLITE_NOTEBOOKS_STATIC") == "1"
    return is_asked_for or getattr(get_ipython(), "kernel", None) is None


def source(thing):
    """Show the source code of a function, class or module in place, highlighted."""
    from IPython.display import Code, display

    display(Code(dedent(inspect.getsource(thing)), language="python"))


def before_after(before, after, *, titles=("before", "after"), **look):
    """Show two images of the same ground in one frame, with a border that a slider moves.

    Where `is_static()`, a figure of the two side by side.

    Args:
        before: Scene or (height, width, bands), shown left of the border.
        after: the same, of any number of pixels; the coarser image is enlarged without smoothing.
        titles: of the two.
        **look: bands, stretch, pixel_size_m and credit, as for `grid`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.

    Raises:
        ValueError: the images have other proportions, so they do not show the same ground.
    """
    images = [before, after]
    (rows, columns), (rows_after, columns_after) = (drawing.array(one).shape[:2] for one in images)
    if abs(rows * columns_after / (rows_after * columns) - 1) > 0.01:
        raise ValueError(
            f"before is {rows} x {columns} pixels, after {rows_after} x {columns_after}: their "
            "proportions differ, so they do not show the same ground"
        )
    if is_static():
        return figures.grid(images, titles, **look)
    from ipywidgets import IntSlider
    from PIL import Image

    painted = drawing.paint(images, look.get("bands"), look.get("stretch"))
    left, right = map(enlarged, painted)
    width, right = left.width, right.resize(left.size, Image.Resampling.NEAREST)

    def picture(border):
        both = np.where(np.arange(width)[:, None] < border, left, right)
        both[:, max(border - 1, 0) : border + 1] = 255
        return Image.fromarray(both)

    look_of_slider = {"description": " ", "readout": False, "layout": {"width": f"{width}px"}}
    slider = IntSlider(width // 2, 0, width, **look_of_slider)
    credit = look.get("credit") or drawing.credit_of(images)
    return _redrawn(picture, f"{' | '.join(titles)} · {credit}", border=slider)


def _redrawn(draw, line, **sliders):
    """Redraw a picture whenever a slider moves; a line of text stands below."""
    from ipywidgets import HTML, VBox, interactive

    picture = interactive(draw, {"auto_display": True}, **sliders)
    return VBox([picture, HTML(f"<small>{escape(line)}</small>")])


def enlarged(picture, size_px=SLIDER_PX):
    """Return uint8 (height, width, 3) as a Pillow image of about this width, without smoothing."""
    from PIL import Image

    zoom = max(1, size_px // picture.shape[1])
    return Image.fromarray(picture.repeat(zoom, axis=0).repeat(zoom, axis=1))


def explore(draw, count, *, reach=2.0, credit=""):
    """Move one slider for each number of the latent, and see the image that belongs to them.

    Where `is_static()`, a figure with a row for each number that moves while the others are 0.

    Args:
        draw: function from float32 (n, count) to images (n, height, width, 3), 0 to 1.
        count: of numbers.
        reach: sliders go from -reach to reach, and begin at 0.
        credit: line below.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    titles = [f"number {place}" for place in range(1, count + 1)]
    if is_static():
        stops = np.linspace(-reach, reach, 7)
        latents = np.concatenate([np.outer(stops, axis) for axis in np.eye(count)])
        labels = [f"{title} = {stop:+.1f}" for title in titles for stop in stops]
        drawn = _bytes(draw(latents.astype("float32")))
        return figures.grid(list(drawn), labels, columns=7, credit=credit)
    from ipywidgets import FloatSlider

    scale = {"min": -reach, "max": reach, "step": 0.05, "layout": {"width": "384px"}}
    sliders = {title: FloatSlider(0.0, **scale) for title in titles}

    def picture(**numbers):
        return enlarged(_bytes(draw(np.array([[*numbers.values()]], "float32")))[0], 384)

    return _redrawn(picture, credit, **sliders)


def click_map(picture, look, *, credit=""):
    """Click on a map, and see beside it what is to be seen from there.

    The map is covered with transparent buttons, as a picture of ipywidgets does not hear clicks.
    Where `is_static()`, a figure of six places.

    Args:
        picture: uint8 (height, width, 3), the map.
        look: function from (x, y), 0 to 1 from its upper left corner, to an image (height, width,
            3), 0 to 1.
        credit: line below.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    if is_static():
        places = [(x, y) for y in (0.35, 0.65) for x in (0.25, 0.5, 0.75)]
        labels = [f"{x:.0%} from the west, {y:.0%} from the north" for x, y in places]
        seen = [_bytes(look(*place)) for place in places]
        return figures.grid(seen, labels, columns=3, credit=credit)
    from ipywidgets import HTML, Button, GridBox, HBox, Image, VBox

    image = Image(layout={"width": "420px", "flex": "0 0 auto"})
    buttons = [Button(layout=SMALL) for _ in range(ROWS * COLUMNS)]

    def redraw(button):
        for each in buttons:
            each.style.button_color = "#f00a" if each is button else "#0000"
        row, column = divmod(buttons.index(button), COLUMNS)
        view = _bytes(look((column + 0.5) / COLUMNS, (row + 0.5) / ROWS))
        image.value = enlarged(view, 1)._repr_png_()

    for button in buttons:
        button.on_click(redraw)
    redraw(buttons[ROWS // 2 * COLUMNS + COLUMNS // 2])
    height = MAP_PX * picture.shape[0] // picture.shape[1]
    chart = GridBox(buttons, layout=MAP | {"height": f"{height}px"})
    chart.add_class("click-map")
    background = b64encode(enlarged(picture, 1)._repr_png_()).decode()
    style = f".click-map {{background: url(data:image/png;base64,{background}) 0 / 100% 100%}}"
    both = HBox([chart, image], layout={"flex_flow": "row wrap", "align_items": "center"})
    return VBox([HTML(f"<style>{style}</style>"), both, HTML(f"<small>{escape(credit)}</small>")])


def _bytes(image):
    return np.rint(255 * np.clip(image, 0, 1)).astype("uint8")
