"""Play with a model by hand: sliders for its numbers, a map to click on."""

import base64

import numpy as np

from helpers.show import images
from helpers.show.slider import is_static, line, png, redrawn

MAP_PX = 480  # width of the map to click on


def explore(draw, count, *, reach=2.0, credit=None, static=None):
    """Move one slider for each number of the latent, and see the image that belongs to them.

    Args:
        draw: function from float32 (n, count) to images (n, height, width, 3), 0 to 1.
        count: of numbers.
        reach: sliders go from -reach to reach, and begin at 0.
        credit: line below.
        static: True draws a figure instead, a row for each number that moves while the others are
            0. Default: `is_static()`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    titles = [f"number {place}" for place in range(1, count + 1)]
    if is_static() if static is None else static:
        stops = np.linspace(-reach, reach, 7)
        latents = np.concatenate([np.outer(stops, axis) for axis in np.eye(count)])
        labels = [f"{title} = {stop:+.1f}" for title in titles for stop in stops]
        drawn = list(_bytes(draw(latents.astype("float32"))))
        return images.grid(drawn, labels, columns=len(stops), credit=credit)
    from ipywidgets import FloatSlider, Layout, VBox

    layout = Layout(width="384px", max_width="100%")
    shared = {"min": -reach, "max": reach, "step": 0.05, "layout": layout}
    sliders = [FloatSlider(0.0, description=title, **shared) for title in titles]

    def picture(*numbers):
        return _bytes(draw(np.array([numbers], "float32")))[0]

    return VBox([redrawn(picture, sliders, layout), *sliders, line(credit)])


def click_map(picture, look, *, rows=16, columns=20, credit=None, static=None):
    """Click on a map, and see beside it what is to be seen from there.

    The map is covered with transparent buttons, as a picture of ipywidgets does not hear clicks.

    Args:
        picture: uint8 (height, width, 3), the map.
        look: function from (x, y), 0 to 1 from its upper left corner, to an image (height, width,
            3), 0 to 1.
        rows, columns: places to click on.
        credit: line below.
        static: True draws a figure of six places instead. Default: `is_static()`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    if is_static() if static is None else static:
        places = [(x, y) for y in (0.35, 0.65) for x in (0.25, 0.5, 0.75)]
        labels = [f"{x:.0%} from the west, {y:.0%} from the north" for x, y in places]
        seen = [_bytes(look(*place)) for place in places]
        return images.grid(seen, labels, columns=3, credit=credit)
    from ipywidgets import HBox, Image, Layout, VBox

    image = Image(format="png", layout=Layout(width="420px", height="auto", flex="0 0 auto"))
    buttons, grid, style = _buttons(picture, rows, columns)

    def redraw(button):
        for each in buttons:
            each.style.button_color = "#0000"
        button.style.button_color = "#f00a"
        row, column = divmod(buttons.index(button), columns)
        image.value = png(_bytes(look((column + 0.5) / columns, (row + 0.5) / rows)))

    for button in buttons:
        button.on_click(redraw)
    redraw(buttons[rows // 2 * columns + columns // 2])
    both = Layout(flex_flow="row wrap", align_items="center")
    return VBox([style, HBox([grid, image], layout=both), line(credit)])


def _buttons(picture, rows, columns):
    """Make the buttons, the box that lays them over the map, and the style that draws it."""
    from ipywidgets import HTML, Button, GridBox, Layout

    height = round(MAP_PX * picture.shape[0] / picture.shape[1])
    layout = Layout(width="auto", height="auto", margin="0")
    buttons = [Button(layout=layout) for _ in range(rows * columns)]
    tracks = {
        "grid_template_columns": f"repeat({columns}, 1fr)",
        "grid_template_rows": f"repeat({rows}, 1fr)",
    }
    size = {"width": f"{MAP_PX}px", "height": f"{height}px", "flex": "0 0 auto"}  # never shrunk
    grid = GridBox(buttons, layout=Layout(grid_gap="0", **size, **tracks))
    grid.add_class("click-map")
    grid.add_class(own := f"map-{grid.model_id}")
    address = f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"
    rule = f".{own} {{background: url({address}) 0 0 / 100% 100%}}"
    return buttons, grid, HTML(f"<style>{rule}</style>")


def _bytes(image):
    return np.rint(255 * np.clip(np.asarray(image, "float32"), 0, 1)).astype("uint8")
