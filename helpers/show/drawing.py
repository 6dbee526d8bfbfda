"""Paint images with one stretch and neutral no-data; add scale bars and credits."""

import textwrap
from dataclasses import replace

import numpy as np

from helpers.scenes import Scene

COLOURS = (("red", "green", "blue"), ("nir", "red", "green"))  # natural, else vegetation is red
NO_DATA = (0.64, 0.61, 0.68)  # greyish violet, a colour of neither ground, cloud nor error maps
# Any two differ by 17 or more (CIEDE2000), also for red-green and blue-yellow blind readers
PALETTE = ("#004488", "#DDAA33", "#BB5566", "#66CCEE", "#000000", "#AAAAAA")
MAX_PX = 1500  # larger images are thinned out to draw them, as no screen shows more


def array(image):
    """Return the pixels of a Scene, or an array, (height, width, bands)."""
    pixels = image.pixels if isinstance(image, Scene) else np.asarray(image)
    if pixels.ndim != 3:
        wanted = "expected (height, width, bands), in a list of images"
        raise ValueError(f"an image has shape {pixels.shape}; {wanted}")
    return pixels


def thin(pixels):
    """Take every n-th pixel, so that no side is longer than a screen."""
    step = -(-max(pixels.shape[:2]) // MAX_PX)
    return pixels[::step, ::step]


def visible(image, bands):
    """Return the pixels to look at, (height, width, 1 or 3): uint8 for a picture, else float32."""
    pixels = thin(array(image))
    count = 3 if pixels.shape[-1] > 2 else 1
    if isinstance(image, Scene):
        named = [colours for colours in COLOURS if set(colours) <= set(image.bands)]
        bands = bands or [*named, image.bands[:count]][0]
        pixels = replace(image, pixels=pixels).select(bands).pixels
    else:
        pixels = pixels[..., list(bands or range(count))]
    if pixels.shape[-1] not in (1, 3):
        wanted = "expected one, or three for red, green and blue"
        raise ValueError(f"{pixels.shape[-1]} bands to show ({bands}); {wanted}")
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
    shown = [visible(image, bands) for image in images]
    values = np.concatenate([pixels.reshape(-1, pixels.shape[-1]) for pixels in shown])
    known = values[np.isfinite(values).all(axis=-1)]
    if not len(known):
        known = np.ones((1, values.shape[-1]))
    low, high = np.percentile(known, percentiles, axis=0)
    return low, high


def paint(images, bands=None, limits=None):
    """Paint each image as uint8 (height, width, 3): one stretch for all in colour, one in grey.

    Pictures of 8 bits keep their values.
    """
    shown = [visible(image, bands) for image in images]
    painted, ends = [], {}
    for pixels in shown:
        kind = (pixels.dtype, pixels.shape[-1])
        if kind not in ends:
            is_given = limits is not None and np.size(limits[0]) in (1, pixels.shape[-1])
            alike = [each for each in shown if (each.dtype, each.shape[-1]) == kind]
            ends[kind] = limits if is_given else stretch(alike)
        painted.append(pixels if pixels.dtype == "uint8" else _stretched(pixels, *ends[kind]))
    return [np.broadcast_to(picture, (*picture.shape[:2], 3)) for picture in painted]


def _stretched(pixels, low, high):
    low, high = np.asarray(low, float), np.asarray(high, float)
    bright = np.clip((pixels - low) / np.where(high > low, high - low, 1), 0, 1)
    missing = np.isnan(bright).any(axis=-1, keepdims=True)
    return np.rint(255 * np.where(missing, NO_DATA, bright)).astype(np.uint8)


def credit_of(images):
    """Return the credit lines of the Scenes among the images, each once."""
    credits = [image.credit for image in images if isinstance(image, Scene) and image.credit]
    return " · ".join(dict.fromkeys(credits))


def wrap(text, width_in, size_pt):
    """Break a text into lines of this width; a letter is about 0.55 of its size wide."""
    characters = int(width_in * 72 / (0.55 * size_pt))
    return "\n".join(textwrap.fill(line, characters) for line in (text or "").splitlines())


def figure(width, height, *, rows=1, columns=1, caption=None, credit=None):
    """Make a figure, inches, higher by what caption and credit need; return it and its axes."""
    import matplotlib.pyplot as plt

    caption, credit = wrap(caption, width, 11), wrap(credit, width, 8)
    height += sum(0.08 + 0.18 * len(text.splitlines()) for text in (caption, credit) if text)
    size = {"figsize": (width, height), "layout": "constrained"}
    fig, axes = plt.subplots(rows, columns, squeeze=False, **size)
    plt.close(fig)
    if caption:
        fig.suptitle(caption, x=0.01, ha="left", fontsize=11)
    if credit:
        fig.supxlabel(credit, x=0.99, ha="right", fontsize=8, color="#555555")
    return fig, list(axes.flat)


def scale_bars(axes, images, pixel_size_m):
    """Draw a scale bar on the first image, and where the width on the ground changes."""
    most = max(array(image).shape[1] for image in images)
    last_m = 0
    for ax, image in zip(axes, images, strict=True):
        columns = array(image).shape[1]
        own_m = columns * (getattr(image, "ground_sample_distance_m", None) or 0)
        width_m = pixel_size_m * most if pixel_size_m else own_m or last_m
        if abs(width_m - last_m) > 0.01 * last_m:
            _scale_bar(ax, width_m, columns)
        last_m = width_m


def _scale_bar(ax, width_m, columns):
    """Draw a bar of a round length: 1, 2 or 5, at most a third of the image."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    power = 10 ** np.floor(np.log10(width_m / 3))
    length_m = max(step * power for step in (1, 2, 5) if step * power <= width_m / 3)
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    style = {"pad": 0.4, "borderpad": 0.5, "sep": 3, "color": "white", "label_top": True}
    length_px = length_m * columns / width_m
    bar = AnchoredSizeBar(ax.transData, length_px, label, "lower left", **style)
    bar.patch.set(facecolor="black", alpha=0.55, linewidth=0)
    bar.size_bar.get_children()[0].set_linewidth(2)
    ax.add_artist(bar)
