"""Paint images with one stretch and neutral no-data; add scale bars and credits."""

import textwrap

import numpy as np

from helpers.scenes import Scene

# natural colours, else vegetation is red
COLOURS = (("red", "green", "blue"), ("nir", "red", "green"))
# greyish violet, a colour of neither ground, cloud nor error maps
NO_DATA = (0.64, 0.61, 0.68)
# Any two differ by 17 or more (CIEDE2000), also for red-green and blue-yellow blind readers
PALETTE = ("#004488", "#DDAA33", "#BB5566", "#66CCEE", "#000000", "#AAAAAA")
MAX_PX = 1500  # larger images are thinned out to draw them, as no screen shows more


def as_scene(image):
    """Return a Scene as it is, and an array (height, width, bands) as one of numbered bands."""
    if isinstance(image, Scene):
        return image
    pixels = np.asarray(image)
    if pixels.ndim != 3:
        raise ValueError(
            f"an image has shape {pixels.shape}; expected (height, width, bands), in a list of "
            "images"
        )
    return Scene(pixels, tuple(range(pixels.shape[-1])), dtype=pixels.dtype)


def visible(image, bands):
    """Return the pixels to look at, (height, width, 1 or 3): uint8 for a picture, else float32."""
    image = as_scene(image)
    names = image.bands
    choices = [bands] if bands else [*COLOURS, names[:3], names[:1]]
    fitting = [
        each for each in choices if len(each) in (1, 3) and set(each) <= set(names)
    ]
    if not fitting:
        raise ValueError(
            f"the bands to show are {list(bands)}; expected one, or three for red, green and "
            f"blue, of {list(names)}"
        )
    step = 1 + max(image.height, image.width) // MAX_PX
    pixels = image.pixels[::step, ::step, [*map(names.index, fitting[0])]]
    is_picture = image.dtype == "uint8" and np.isfinite(pixels).all()
    return pixels.astype("uint8" if is_picture else "float32", copy=False)


def stretch(images, percentiles=(2, 98), *, bands=None):
    """Find one linear stretch to compare images by eye: the dark and the bright end of each band.

    Args:
        images: list of Scene or (height, width, bands); NaN = no data, left out.
        percentiles: of all values together, to be shown as black and as full brightness.
        bands: those to show, as for `grid`.

    Returns:
        (low, high), each float (bands shown,), in the unit of the images.
    """
    values = np.concatenate([np.vstack(visible(image, bands)) for image in images])
    known = values[np.isfinite(values).all(axis=-1)]
    return np.percentile(known if len(known) else [[1.0]], percentiles, axis=0)


def paint(images, bands=None, limits=()):
    """Paint each image as uint8 (height, width, 3): one stretch for all in colour, one in grey.

    Pictures of 8 bits keep their values.
    """
    shown = [visible(image, bands) for image in images]
    ends = {}
    for channels in (1, 3):
        measured = [
            pixels
            for pixels in shown
            if pixels.dtype != "uint8" and pixels.shape[-1] == channels
        ]
        fits = np.size(limits[:1]) in (1, channels)
        ends[channels] = limits if fits or not measured else stretch(measured)
    return [_stretched(pixels, ends[pixels.shape[-1]]) for pixels in shown]


def _stretched(pixels, ends):
    low, high = (0, 255) if pixels.dtype == "uint8" else ends
    bright = (pixels - low) / np.maximum(np.subtract(high, low), 1e-12)
    missing = np.isnan(bright).any(axis=-1, keepdims=True)
    painted = np.where(missing, NO_DATA, bright.clip(0, 1))
    return np.rint(255 * painted).astype("uint8")


def wrap(text, width_in, size_pt):
    """Break a text into lines of this width; 130 letters of size 1 fit into an inch."""
    characters = int(130 * width_in / size_pt)
    return "\n".join(textwrap.fill(line, characters) for line in text.splitlines())


def credit_of(scenes):
    """Return the credit lines of the Scenes, each once."""
    credits = dict.fromkeys(scene.credit for scene in scenes)
    return " · ".join(filter(None, credits))


def figure(width, height, rows=1, columns=1, *, caption="", credit=""):
    """Make a figure, inches, higher by what caption and credit need; return it and its axes."""
    import matplotlib.pyplot as plt

    caption = wrap(caption, width, 11)
    credit = wrap(credit, width, 8)
    height += 0.2 * len([*caption.splitlines(), *credit.splitlines()])
    size = width, height
    fig, axes = plt.subplots(
        rows, columns, squeeze=False, figsize=size, layout="constrained"
    )
    plt.close(fig)
    fig.suptitle(caption, x=0.01, ha="left", fontsize=11)
    fig.supxlabel(credit, x=0.99, ha="right", fontsize=8)
    return fig, axes.ravel()


def scale_bars(axes, scenes, pixel_size_m):
    """Draw a scale bar on the first image, and where the width on the ground changes."""
    widest = max(scene.width for scene in scenes)
    last_m = 0
    for ax, scene in zip(axes, scenes, strict=False):
        width_m = scene.width * (scene.ground_sample_distance_m or 0)
        if pixel_size_m:
            width_m = pixel_size_m * widest
        if width_m not in (0, last_m):
            _scale_bar(ax, width_m, scene.width)
            last_m = width_m


def _scale_bar(ax, width_m, columns):
    """Draw a bar of a round length, about a quarter of the image."""
    from matplotlib.ticker import EngFormatter
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    length_m = float(f"{width_m / 4:.0e}")  # one digit, then zeros
    bar = AnchoredSizeBar(
        ax.transData,
        length_m * columns / width_m,
        EngFormatter("m")(length_m),
        "lower left",
        color="white",
        label_top=True,
        pad=0.4,
        size_vertical=columns / 200,
    )
    bar.patch.set(facecolor="black", alpha=0.55)
    ax.add_artist(bar)
