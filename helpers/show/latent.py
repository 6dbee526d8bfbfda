"""Play with a model by hand: sliders for its numbers, a map to click on; figures where nobody can."""

import base64
from html import escape

import numpy as np

from helpers.show import images
from helpers.show.slider import is_static, png


def explore(draw, count, *, reach=2.0, credit=None, static=None):
    """Move one slider for each number of the latent, and see the image that belongs to them.

    Args:
        draw: function from float32 (n, count) to images (n, height, width, 3), 0 to 1.
        count: of numbers.
        reach: sliders go from -reach to reach, and begin at 0.
        credit: line below.
        static: True draws a figure instead, a row for each number that moves while the others are
            0. Default: only where nobody could move a slider, as of `before_after`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    titles = [f"number {place}" for place in range(1, count + 1)]
    if is_static() if static is None else static:
        stops = np.linspace(-reach, reach, 7)
        latents = np.concatenate([np.outer(stops, axis) for axis in np.eye(count)])
        labels = [f"{title} = {stop:+.1f}" for title in titles for stop in stops]
        pictures = [*_bytes(draw(latents.astype("float32")))]
        return images.grid(pictures, labels, columns=len(stops), credit=credit)
    from ipywidgets import FloatSlider, Image, Layout, VBox

    layout = Layout(width="384px", max_width="100%")
    shared = {"min": -reach, "max": reach, "step": 0.05, "readout_format": "+.2f", "layout": layout}
    sliders = [FloatSlider(0.0, description=title, **shared) for title in titles]
    image = Image(format="png", layout=layout)

    def redraw(_=None):
        numbers = [slider.value for slider in sliders]
        image.value = png(_bytes(draw(np.array([numbers], "float32")))[0])

    redraw()
    for slider in sliders:
        slider.observe(redraw, "value")
    return VBox([image, *sliders, _line(credit)])


def click_map(picture, look, *, rows=16, columns=20, credit=None, static=None):
    """Click on a map, and see beside it what is to be seen from there.

    The map is covered with transparent buttons, as a picture of ipywidgets does not hear clicks.

    Args:
        picture: uint8 (height, width, 3), the map.
        look: function from (x, y), 0 to 1 from its upper left corner, to an image (height, width,
            3), 0 to 1.
        rows, columns: places to click on.
        credit: line below.
        static: True draws a figure of six places instead. Default: as of `explore`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    if is_static() if static is None else static:
        places = [(x, y) for y in (0.35, 0.65) for x in (0.25, 0.5, 0.75)]
        labels = [f"{x:.0%} from the west, {y:.0%} from the north" for x, y in places]
        seen = [_bytes(look(*place)) for place in places]
        return images.grid(seen, labels, columns=3, credit=credit)
    from ipywidgets import HTML, Button, ButtonStyle, GridBox, HBox, Image, Layout, VBox

    width = 480
    height = round(width * picture.shape[0] / picture.shape[1])
    layout = Layout(width="auto", height="auto", margin="0")
    clear, marked = (ButtonStyle(button_color=colour) for colour in ("#0000", "#f00a"))
    buttons = [Button(layout=layout, style=clear) for _ in range(rows * columns)]
    grid = GridBox(buttons, layout=Layout(
        width=f"{width}px", height=f"{height}px", grid_gap="0", flex="0 0 auto",  # never shrunk
        grid_template_columns=f"repeat({columns}, 1fr)", grid_template_rows=f"repeat({rows}, 1fr)",
    ))  # fmt: skip
    grid.add_class("click-map")
    grid.add_class(own := f"map-{grid.model_id}")
    address = base64.b64encode(png(picture)).decode()
    rule = f".{own} {{background: url(data:image/png;base64,{address}) 0 0 / 100% 100%}}"
    image = Image(format="png", layout=Layout(width="420px", height="auto", flex="0 0 auto"))

    def redraw(button):
        for each in buttons:
            if each.style is marked:
                each.style = clear
        button.style = marked
        row, column = divmod(buttons.index(button), columns)
        image.value = png(_bytes(look((column + 0.5) / columns, (row + 0.5) / rows)))

    for button in buttons:
        button.on_click(redraw)
    redraw(buttons[rows // 2 * columns + columns // 2])
    return VBox(
        [
            HTML(f"<style>{rule}</style>"),
            HBox([grid, image], layout=Layout(flex_flow="row wrap", align_items="center")),
            _line(credit),
        ]
    )


def _bytes(image):
    return np.rint(255 * np.clip(np.asarray(image, "float32"), 0, 1)).astype("uint8")


def _line(credit):
    from ipywidgets import HTML

    return HTML(f"<small>{escape(credit or '')}</small>")
