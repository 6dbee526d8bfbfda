"""Play with images by hand: sliders, a map to click on; figures without a kernel."""

import inspect
import os
from base64 import b64encode
from textwrap import dedent

import numpy as np

from helpers.show.drawing import as_scene, credit_of, paint
from helpers.show.figures import grid

MAP_STYLE = """<style>
.click-map > div {{display: grid; width: 480px; height: calc(480px / {ratio});
 background-size: 100% 100%; background-image: url(data:image/png;base64,{data});
 grid-template: repeat(16, minmax(0, 1fr)) / repeat(20, 1fr)}}
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
    images = [as_scene(image) for image in (before, after)]
    shapes = [image.height / image.width for image in images]
    if not np.isclose(*shapes, rtol=0.01):
        raise ValueError(
            "the images are {:.2f} and {:.2f} times as high as wide, so they do not show the same "
            "ground".format(*shapes)
        )
    if is_static():
        return grid(images, titles, **look)
    painted = paint(images, look.get("bands"), look.get("stretch", ()))
    left, right = map(enlarged, painted)
    width, height = left.size
    right = right.resize(left.size, resample=0)  # without smoothing

    def picture(border):
        both = left.copy()
        both.paste(right.crop((border, 0, width, height)), (border, 0))
        both.paste("white", (max(border - 1, 0), 0, border + 1, height))
        return both

    line = f"{' | '.join(titles)} · {look.get('credit') or credit_of(images)}"
    return _redrawn(picture, line, border=(0, width))


def _redrawn(draw, line, **widgets):
    """Redraw a picture whenever a widget beside it changes; a line of text stands below."""
    from ipywidgets import Label, VBox, interactive

    picture = interactive(draw, {"auto_display": True}, **widgets)
    picture.layout.flex_flow = "row wrap"
    for control in picture.children[:-1]:
        control.layout.width = "480px"
    return VBox([picture, Label(line)])


def enlarged(image, size_px=640):
    """Return an image as a Pillow image of about this width, without smoothing.

    Args:
        image: (height, width, 3), uint8, or float with 0 to 1 for the same range.
        size_px: width of the result, unless the image is wider.
    """
    from PIL.Image import fromarray

    (painted,) = paint([image], limits=(0, 1))
    zoom = max(1, size_px // painted.shape[1])
    return fromarray(painted.repeat(zoom, axis=0).repeat(zoom, axis=1))


def explore(draw, count, *, credit=""):
    """Move one slider for each number of the latent, and see the image that belongs to them.

    Sliders go from -1 to 1, and begin at 0. Where `is_static()`, a figure with a row for each
    number that moves while the others are 0.

    Args:
        draw: function from float32 (n, count) to images (n, height, width, 3), 0 to 1.
        count: of numbers.
        credit: line below.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    names = [f"number {place}" for place in range(1, count + 1)]
    if is_static():
        stops = np.linspace(-1, 1, 7)
        images = draw(np.kron(np.eye(count), stops[:, None]).astype("float32"))
        titles = [f"{name} = {stop:+.1f}" for name in names for stop in stops]
        return grid(
            images,
            titles,
            columns=7,
            stretch=(0, 1),
            credit=credit,
        )

    def picture(**numbers):
        return enlarged(draw(np.array([[*numbers.values()]], "float32"))[0], 384)

    return _redrawn(picture, credit, **dict.fromkeys(names, (-1.0, 1.0, 0.05)))


def click_map(picture, look, *, credit=""):
    """Click on a map, and see the view from there beside it.

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
    spots = [((x + 0.5) / 20, (y + 0.5) / 16) for y, x in np.ndindex(16, 20)]
    places = {
        f"{x:.0%} from the west, {y:.0%} from the north": (x, y) for x, y in spots
    }
    if is_static():
        six = [*places][105:216:22]  # from north-west to south-east
        seen = [look(*places[name]) for name in six]
        return grid(seen, six, columns=3, stretch=(0, 1), credit=credit)
    from ipywidgets import HTML, ToggleButtons, VBox

    chart = ToggleButtons(options=places, index=170)
    chart.add_class("click-map")
    data = b64encode(enlarged(picture, 1)._repr_png_()).decode()
    ratio = picture.shape[1] / picture.shape[0]
    style = HTML(MAP_STYLE.format(data=data, ratio=ratio))
    view = _redrawn(lambda place: enlarged(look(*place), 420), credit, place=chart)
    return VBox([style, view])
