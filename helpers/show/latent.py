"""A walk through the latent space of a generator: by hand, on sliders; as a table where nobody can move them."""

import numpy as np

from helpers.show import images
from helpers.show.slider import is_static, png


def explore(draw, count, *, reach=2.0, credit=None, static=None):
    """One slider for each number of the latent, and the image that belongs to where they stand.

    Args:
        draw: function from float32 (n, count) to images (n, height, width, 3), 0 to 1.
        count: how many numbers the latent has.
        reach: the sliders go from -reach to reach, and begin at 0.
        credit: line below.
        static: True draws a figure instead, a row for each number that moves while the others are 0. Default: only
            where nobody could move a slider, as of `before_after`.

    Returns:
        ipywidgets VBox, or matplotlib Figure.
    """
    titles = [f"number {place}" for place in range(1, count + 1)]
    if is_static() if static is None else static:
        stops = np.linspace(-reach, reach, 7)
        latents = (np.eye(count)[:, None] * stops[:, None]).reshape(-1, count).astype("float32")
        labels = [f"{title} = {stop:+.1f}" for title in titles for stop in stops]
        return images.grid([*_pictures(draw(latents))], labels, columns=len(stops), credit=credit)
    return _sliders(draw, titles, reach, credit)


def _pictures(drawn):
    return np.rint(255 * np.clip(np.asarray(drawn, "float32"), 0, 1)).astype("uint8")


def _sliders(draw, titles, reach, credit):
    from html import escape

    from ipywidgets import HTML, FloatSlider, Image, Layout, VBox

    options = {"min": -reach, "max": reach, "step": 0.05, "readout_format": "+.2f", "continuous_update": True}
    layout = Layout(width="384px", max_width="100%")
    sliders = [FloatSlider(0.0, description=title, layout=layout, **options) for title in titles]
    image = Image(format="png", layout=layout)

    def redraw(_=None):
        (picture,) = _pictures(draw(np.array([[slider.value for slider in sliders]], "float32")))
        image.value = png(picture)

    redraw()
    for slider in sliders:
        slider.observe(redraw, "value")
    return VBox([image, *sliders, HTML(f"<small>{escape(credit or '')}</small>", layout=layout)])
