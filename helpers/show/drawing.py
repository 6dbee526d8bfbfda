"""Draw images with one stretch, neutral no-data, scale bars and credits; what all figures share."""

import textwrap
from dataclasses import replace

import numpy as np

from helpers.scenes import Scene

COLOURS = (("red", "green", "blue"), ("nir", "red", "green"))  # natural, else vegetation is red
NO_DATA = (0.64, 0.61, 0.68)  # greyish violet, a colour of neither ground, cloud nor error maps
# Paul Tol's, for colour-blind readers too
PALETTE = ("#004488", "#DDAA33", "#BB5566", "#228833", "#66CCEE", "#777777")
MOST_PX = 1500  # larger images are thinned out to draw them, as no screen shows more


def stretch(images, percentiles=(2, 98), *, bands=None):
    """Find one linear stretch to compare images by eye: the dark and the bright end of each band.

    Args:
        images: list of Scene or (height, width, bands); NaN = no data, left out.
        percentiles: of all values together, to be shown as black and as full brightness.
        bands: those to show, as for `grid`.

    Returns:
        (low, high), each float (bands shown,), in the unit of the images.
    """
    visible = [_visible(image, bands) for image in images]
    values = np.concatenate([pixels.reshape(-1, pixels.shape[-1]) for pixels in visible])
    ends = []
    for band in values.T:
        known = band[np.isfinite(band)]
        ends.append(np.percentile(known, percentiles) if known.size else (0.0, 1.0))
    low, high = np.transpose(ends)
    return low, high


def array(image):
    """Return the pixels of a Scene, or an array, (height, width, bands)."""
    pixels = image.pixels if isinstance(image, Scene) else np.asarray(image)
    if pixels.ndim != 3:
        wanted = "expected (height, width, bands), in a list of images"
        raise ValueError(f"an image has shape {pixels.shape}; {wanted}")
    return pixels


def thinned(pixels):
    """Take every n-th pixel, so that no side is longer than a screen."""
    step = -(-max(pixels.shape[:2]) // MOST_PX)
    return pixels[::step, ::step]


def _visible(image, bands):
    """Return the pixels to look at, thinned: float32 (height, width, 1 or 3)."""
    pixels = thinned(array(image))
    count = 3 if pixels.shape[-1] > 2 else 1
    if isinstance(image, Scene):
        if bands is None:
            named = [colours for colours in COLOURS if set(colours) <= set(image.bands)]
            bands = [*named, image.bands[:count]][0]
        pixels = replace(image, pixels=pixels).select(bands).pixels
    else:
        pixels = pixels[..., list(range(count) if bands is None else bands)]
    if pixels.shape[-1] not in (1, 3):
        wanted = "expected one, or three for red, green and blue"
        raise ValueError(f"{pixels.shape[-1]} bands to show ({bands}); {wanted}")
    return pixels.astype(np.float32, copy=False)


def pictures(images, bands=None, limits=None):
    """Paint each image as uint8 (height, width, 3): one stretch for all in colour, one in grey."""
    visible = [_visible(image, bands) for image in images]
    kinds = [
        (pixels.shape[-1], getattr(image, "dtype", None) == "uint8")
        for image, pixels in zip(images, visible, strict=True)
    ]
    shared = {}
    for kind in set(kinds):
        count, is_picture = kind
        alike = [pixels for pixels, other in zip(visible, kinds, strict=True) if other == kind]
        given = limits is not None and np.size(limits[0]) in (1, count)
        shared[kind] = (0, 255) if is_picture else limits if given else stretch(alike)
    return [_painted(pixels, *shared[kind]) for pixels, kind in zip(visible, kinds, strict=True)]


def _painted(pixels, low, high):
    low, high = np.asarray(low, float), np.asarray(high, float)
    bright = np.clip((pixels - low) / np.where(high > low, high - low, 1), 0, 1)
    missing = np.isnan(bright).any(axis=-1, keepdims=True)
    return np.rint(255 * np.where(missing, NO_DATA, bright)).astype(np.uint8)


def credit(credit, images):
    """Return the credit line given, else that of the Scenes among the images."""
    if credit is not None:
        return credit
    own = [image.credit for image in images if isinstance(image, Scene) and image.credit]
    return " · ".join(dict.fromkeys(own))


def one_each(images, titles):
    """Return a title for each image; a ValueError says where the numbers differ."""
    titles = [""] * len(images) if titles is None else list(titles)
    if not len(images) or len(images) != len(titles):
        wanted = "expected at least one, and a title for each"
        raise ValueError(f"{len(images)} images and {len(titles)} titles; {wanted}")
    return titles


def figure(width, height, *, rows=1, columns=1, caption=None, credit=None):
    """Make a figure, inches, higher by what caption and credit need; return it and its axes."""
    import matplotlib.pyplot as plt

    caption, credit = _wrapped(caption, width, 11), _wrapped(credit, width, 8)
    for text in (caption, credit):
        height += 0.08 + 0.18 * len(text.splitlines()) if text else 0
    size = {"figsize": (width, height), "layout": "constrained"}
    fig, axes = plt.subplots(rows, columns, squeeze=False, **size)
    plt.close(fig)
    if caption:
        fig.suptitle(caption, x=0.01, ha="left", fontsize=11)
    if credit:
        fig.supxlabel(credit, x=0.99, ha="right", fontsize=8, color="#555555")
    return fig, list(axes.flat)


def panels(images, titles, *, columns=None, credit=None, caption=None, size=None, room_in=0):
    """Make a figure with bare, titled axes, one for each image; return it and the axes."""
    columns = columns or min(len(images), 4)
    rows = -(-len(images) // columns)
    size = size or min(5, 10 / columns)
    titles = [_wrapped(title, size, 10) for title in titles]
    shapes = [array(image).shape for image in images]
    height = size * max(tall / wide for tall, wide, _ in shapes)
    height += 0.19 * max(len(title.splitlines()) for title in titles)
    layout = {"rows": rows, "columns": columns, "caption": caption, "credit": credit}
    fig, axes = figure(size * columns, height * rows + room_in, **layout)
    for ax in axes:
        ax.axis("off")
        ax.set_anchor("N")  # images of other proportions line up under their titles
    for ax, title in zip(axes, titles, strict=False):
        ax.set_title(title, fontsize=10)
    return fig, axes[: len(images)]


def _wrapped(text, width_in, size_pt):
    characters = int(width_in * 72 / (0.55 * size_pt))  # a letter is about 0.55 of its size wide
    return "\n".join(textwrap.fill(line, characters) for line in (text or "").splitlines())


def draw(ax, picture, shape, **colouring):
    """Draw a picture in the pixel coordinates of an image of this shape."""
    small = max(picture.shape[:2]) <= 512  # else the page has fewer pixels: average them
    extent = (0, shape[1], shape[0], 0)
    return ax.imshow(
        picture, extent=extent, interpolation="nearest" if small else "auto", **colouring
    )


def pixel_sizes(images, pixel_size_m):
    """Return the pixel width of each image in metres, or None where it is unknown."""
    if pixel_size_m is None:
        return [getattr(image, "ground_sample_distance_m", None) for image in images]
    widths = [array(image).shape[1] for image in images]
    return [pixel_size_m * max(widths) / width for width in widths]


def scale_bars(axes, images, pixel_size_m):
    """Draw a bar of a round length, where the width on the ground changes."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    last_m = 0
    sizes = pixel_sizes(images, pixel_size_m)
    for ax, image, size in zip(axes, images, sizes, strict=True):
        width_m = size * array(image).shape[1] if size else last_m
        if abs(width_m - last_m) <= 0.01 * last_m:
            continue
        last_m = width_m
        power = 10 ** np.floor(np.log10(width_m / 3))
        length_m = max(step * power for step in (1, 2, 5) if step * power <= width_m / 3)
        label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
        style = {"pad": 0.4, "borderpad": 0.5, "sep": 3, "color": "white", "label_top": True}
        bar = AnchoredSizeBar(ax.transData, length_m / size, label, "lower left", **style)
        bar.patch.set(facecolor="black", alpha=0.55, linewidth=0)
        bar.size_bar.get_children()[0].set_linewidth(2)
        ax.add_artist(bar)
