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
    return Scene(pixels, tuple(range(pixels.shape[-1])), dtype=pixels.dtype.name)


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
    step = -(-max(image.height, image.width) // MAX_PX)
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
    return _ends([visible(image, bands) for image in images], percentiles)


def _ends(shown, percentiles=(2, 98)):
    values = np.concatenate([np.vstack(pixels) for pixels in shown])
    known = values[np.isfinite(values).all(axis=-1)]
    return np.percentile(known if len(known) else [[1.0]], percentiles, axis=0)


def paint(images, bands=None, limits=None):
    """Paint each image as uint8 (height, width, 3): one stretch for all in colour, one in grey.

    Pictures of 8 bits keep their values.
    """
    shown = [visible(image, bands) for image in images]
    ends = {}
    for channels in (1, 3):
        alike = [each for each in shown if each.shape[-1] == channels]
        measured = [each for each in alike if each.dtype != "uint8"]
        fits = limits is not None and np.size(limits[0]) in (1, channels)
        ends[channels] = limits if fits or not measured else _ends(measured)
    return [_stretched(pixels, ends[pixels.shape[-1]]) for pixels in shown]


def _stretched(pixels, ends):
    low, high = (0, 255) if pixels.dtype == "uint8" else ends
    bright = (pixels - low) / np.maximum(np.subtract(high, low), 1e-12)
    missing = np.isnan(bright).any(axis=-1, keepdims=True)
    painted = np.where(missing, NO_DATA, bright.clip(0, 1))
    return np.rint(255 * painted).astype("uint8")


def wrap(text, width_in, size_pt):
    """Break a text into lines of this width; a letter is about 0.55 of its size wide."""
    characters = int(width_in * 72 / (0.55 * size_pt))
    lines = [textwrap.fill(line, characters) for line in text.splitlines()]
    return "\n".join(lines)


def credit_of(scenes):
    """Return the credit lines of the Scenes, each once."""
    credits = dict.fromkeys(scene.credit for scene in scenes)
    return " · ".join(filter(None, credits))


def figure(width, height, rows=1, columns=1, *, caption="", credit=""):
    """Make a figure, inches, higher by what caption and credit need; return it and its axes."""
    import matplotlib.pyplot as plt

    caption, credit = wrap(caption, width, 11), wrap(credit, width, 8)
    height += 0.2 * len([*caption.splitlines(), *credit.splitlines()])
    size = {"figsize": (width, height), "layout": "constrained"}
    fig, axes = plt.subplots(rows, columns, squeeze=False, **size)
    plt.close(fig)
    fig.suptitle(caption, x=0.01, ha="left", fontsize=11)
    fig.supxlabel(credit, x=0.99, ha="right", fontsize=8, color="#555555")
    return fig, list(axes.flat)


def scale_bars(axes, scenes, pixel_size_m):
    """Draw a scale bar on the first image, and where the width on the ground changes."""
    widest = max(scene.width for scene in scenes)
    last_m = 0
    for ax, scene in zip(axes, scenes, strict=True):
        width_m = scene.width * (scene.ground_sample_distance_m or 0)
        if pixel_size_m:
            width_m = pixel_size_m * widest
        if width_m and not np.isclose(width_m, last_m, rtol=0.01):
            _scale_bar(ax, width_m, scene.width)
            last_m = width_m


def _scale_bar(ax, width_m, columns):
    """Draw a bar of a round length: 1, 2 or 5, at most a third of the image."""
    from matplotlib.ticker import EngFormatter
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    steps_m = np.array([1, 2, 5]) * 10 ** np.floor(np.log10(width_m / 3))
    length_m = steps_m[steps_m <= width_m / 3].max()
    bar = AnchoredSizeBar(
        ax.transData, length_m * columns / width_m, EngFormatter("m")(length_m), "lower left",
        color="white", label_top=True, pad=0.4, borderpad=0.5, sep=3, size_vertical=columns / 200,
    )  # fmt: skip
    bar.patch.set(facecolor="black", alpha=0.55, linewidth=0)
    ax.add_artist(bar)
