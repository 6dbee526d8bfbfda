"""Play with images by hand: sliders, a map to click on; figures without a kernel."""

import inspect
import os
from base64 import b64encode
from html import escape
from textwrap import dedent

import numpy as np

from helpers.show import drawing, figures

SLIDER_PX = 640  # width of images with a slider, about
MAP_STYLE = """<style>
.click-map > div {{display: grid; width: 480px; height: {height}px; background-size: 100% 100%;
 background-image: url(data:image/png;base64,{data});
 grid-template: repeat(16, 1fr) / repeat(20, 1fr)}}
.click-map > label {{display: none}}
.click-map button {{all: unset; font-size: 0; cursor: pointer; box-shadow: none !important}}
.click-map .mod-active {{background: #f00a}}
</style>"""


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
    (rows, columns), (rows_after, columns_after) = (
        drawing.array(one).shape[:2] for one in images
    )
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

    look_of_slider = {
        "description": " ",
        "readout": False,
        "layout": {"width": f"{width}px"},
    }
    slider = IntSlider(width // 2, 0, width, **look_of_slider)
    credit = look.get("credit") or drawing.credit_of(images)
    return _redrawn(picture, f"{' | '.join(titles)} · {credit}", border=slider)


def _redrawn(draw, line, **widgets):
    """Redraw a picture whenever a widget beside it changes; a line of text stands below."""
    from ipywidgets import HTML, VBox, interactive

    picture = interactive(draw, {"auto_display": True}, **widgets)
    picture.layout.flex_flow = "row wrap"
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
        return enlarged(
            _bytes(draw(np.array([[*numbers.values()]], "float32")))[0], 384
        )

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
        seen = [_bytes(look(*place)) for place in places]
        return figures.grid(seen, list(map(_where, places)), columns=3, credit=credit)
    from ipywidgets import HTML, ToggleButtons, VBox

    places = [((x + 0.5) / 20, (y + 0.5) / 16) for y in range(16) for x in range(20)]
    chart = ToggleButtons(options={_where(place): place for place in places}, index=170)
    chart.add_class("click-map")
    data = b64encode(enlarged(picture, 1)._repr_png_()).decode()
    height = 480 * picture.shape[0] // picture.shape[1]

    def view(place):
        return enlarged(_bytes(look(*place)), 420)

    return VBox(
        [
            HTML(MAP_STYLE.format(data=data, height=height)),
            _redrawn(view, credit, place=chart),
        ]
    )


def _where(place):
    x, y = place
    return f"{x:.0%} from the west, {y:.0%} from the north"


def _bytes(image):
    return np.rint(255 * np.clip(image, 0, 1)).astype("uint8")
