"""What all figures are drawn with: one stretch, neutral no-data, scale bars, credits."""

import textwrap
from dataclasses import replace

import numpy as np

from helpers.scenes import Scene

COLOURS = (("red", "green", "blue"), ("nir", "red", "green"))  # natural, else false colour: vegetation is red
NO_DATA = (0.64, 0.61, 0.68)  # greyish violet, which neither ground nor cloud has, nor the colours of an error map
PALETTE = ("#004488", "#DDAA33", "#BB5566", "#228833", "#66CCEE", "#777777")  # Paul Tol's, for colour-blind readers too
MOST_PX = 1500  # larger images are thinned out to draw them, as no screen shows more


def stretch(images, percentiles=(2, 98), *, bands=None):
    """The one linear stretch under which images can be compared by eye: the dark and the bright end of each band.

    Args:
        images: list of Scene or (height, width, bands); NaN = no data, left out.
        percentiles: of the values of all the images together, to be shown as black and as full brightness.
        bands: those to show, as for `grid`.

    Returns:
        (low, high), each float (bands shown,), in the unit of the images.
    """
    visible = [_visible(image, bands) for image in images]
    values = np.concatenate([pixels.reshape(-1, pixels.shape[-1]) for pixels in visible])
    finite = [band[np.isfinite(band)] for band in values.T]
    low, high = np.transpose([np.percentile(band, percentiles) if band.size else (0.0, 1.0) for band in finite])
    return low, high


def array(image):
    """The pixels of a Scene, or an array, (height, width, bands)."""
    pixels = image.pixels if isinstance(image, Scene) else np.asarray(image)
    if pixels.ndim != 3:
        raise ValueError(f"an image has shape {pixels.shape}; expected (height, width, bands), in a list of images")
    return pixels


def thinned(pixels):
    """Every n-th pixel, so that no side is longer than a screen."""
    step = -(-max(pixels.shape[:2]) // MOST_PX)
    return pixels[::step, ::step]


def _visible(image, bands):
    """The pixels to look at, thinned: float32 (height, width, 1 or 3)."""
    pixels = thinned(array(image))
    if isinstance(image, Scene):
        named = [colours for colours in COLOURS if set(colours) <= set(image.bands)]
        default = named[0] if named else image.bands[: 3 if len(image.bands) > 2 else 1]
        pixels = replace(image, pixels=pixels).select(default if bands is None else bands).pixels
    else:
        default = range(3 if pixels.shape[-1] > 2 else 1)
        pixels = pixels[..., list(default if bands is None else bands)]
    if pixels.shape[-1] not in (1, 3):
        raise ValueError(f"{pixels.shape[-1]} bands to show ({bands}); expected one, or three for red, green and blue")
    return pixels.astype(np.float32, copy=False)


def pictures(images, bands=None, limits=None):
    """Each image as uint8 (height, width, 3): one stretch for all in colour, another for all in grey."""
    visible = [_visible(image, bands) for image in images]
    kinds = [(p.shape[-1], getattr(i, "dtype", None) == "uint8") for p, i in zip(visible, images, strict=True)]
    shared = {}
    for count, eight_bit in set(kinds):
        alike = [pixels for pixels, kind in zip(visible, kinds, strict=True) if kind == (count, eight_bit)]
        given = limits is not None and np.size(limits[0]) in (1, count)
        shared[count, eight_bit] = (0, 255) if eight_bit else limits if given else stretch(alike)

    def painted(pixels, kind):
        low, high = np.asarray(shared[kind], float)
        bright = np.clip((pixels - low) / np.where(high > low, high - low, 1), 0, 1)
        missing = np.isnan(bright).any(axis=-1, keepdims=True)
        return np.rint(255 * np.where(missing, NO_DATA, bright)).astype(np.uint8)

    return [painted(pixels, kind) for pixels, kind in zip(visible, kinds, strict=True)]


def credit(credit, images):
    """The credit line given, else that of the Scenes among the images."""
    own = [image.credit for image in images if isinstance(image, Scene) and image.credit]
    return " · ".join(dict.fromkeys(own)) if credit is None else credit


def one_each(images, titles):
    """A title for each image; a ValueError where the numbers differ."""
    titles = [""] * len(images) if titles is None else list(titles)
    if not len(images) or len(images) != len(titles):
        raise ValueError(f"{len(images)} images and {len(titles)} titles; expected at least one, and a title for each")
    return titles


def figure(width, height, *, rows=1, columns=1, caption=None, credit=None):
    """A figure `width` x `height` inches, higher by what caption and credit need, and its axes as a list."""
    import matplotlib.pyplot as plt

    caption, credit = _wrapped(caption, width, 11), _wrapped(credit, width, 8)
    height += sum(0.08 + 0.18 * len(text.splitlines()) for text in (caption, credit) if text)
    fig, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    plt.close(fig)
    if caption:
        fig.suptitle(caption, x=0.01, ha="left", fontsize=11)
    if credit:
        fig.supxlabel(credit, x=0.99, ha="right", fontsize=8, color="#555555")
    return fig, list(axes.flat)


def panels(images, titles, *, columns=None, credit=None, caption=None, size=None, room_in=0):
    """A figure with bare, titled axes, one for each image."""
    columns = columns or min(len(images), 4)
    size, rows = size or min(5, 10 / columns), -(-len(images) // columns)
    titles = [_wrapped(title, size, 10) for title in titles]
    height = size * max(array(image).shape[0] / array(image).shape[1] for image in images)
    height += 0.19 * max(len(title.splitlines()) for title in titles)
    fig, axes = figure(
        size * columns, height * rows + room_in, rows=rows, columns=columns, caption=caption, credit=credit
    )
    for ax, title in zip(axes, titles + [""] * len(axes), strict=False):
        ax.set_title(title, fontsize=10)
        ax.axis("off")
        ax.set_anchor("N")  # images of other proportions line up under their titles; and constrained layout cuts none
    return fig, axes[: len(images)]


def _wrapped(text, width_in, size_pt):
    characters = int(width_in * 72 / (0.55 * size_pt))  # a letter is about 0.55 of its size wide
    return "\n".join(textwrap.fill(line, characters) for line in (text or "").splitlines())


def draw(ax, picture, shape, **colouring):
    """Draw in the image's own pixel coordinates."""
    interpolation = "nearest" if max(picture.shape[:2]) <= 512 else "auto"  # the page has fewer pixels: average them
    return ax.imshow(picture, extent=(0, shape[1], shape[0], 0), interpolation=interpolation, **colouring)


def pixel_sizes(images, pixel_size_m):
    """Pixel width of each image in metres, or None where it is unknown."""
    if pixel_size_m is None:
        return [image.ground_sample_distance_m if isinstance(image, Scene) else None for image in images]
    widths = [array(image).shape[1] for image in images]
    return [pixel_size_m * max(widths) / width for width in widths]


def scale_bars(axes, images, pixel_size_m):
    """A bar of a round length, up to a third of the width: on the first image if all are as wide, else on each."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    panels = zip(axes, pixel_sizes(images, pixel_size_m), images, strict=True)
    known = [(ax, size, size * array(image).shape[1]) for ax, size, image in panels if size]
    alike = len(known) == len(axes) and np.ptp([width_m for *_, width_m in known]) < 0.01 * known[0][-1]
    for ax, size, width_m in known[:1] if alike else known:
        power = 10 ** np.floor(np.log10(width_m / 3))
        length_m = power * max(step for step in (1, 2, 5) if step * power <= width_m / 3)
        label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
        style = {"pad": 0.4, "borderpad": 0.5, "sep": 3, "color": "white", "label_top": True}
        bar = AnchoredSizeBar(ax.transData, length_m / size, label, "lower left", **style)
        bar.patch.set(facecolor="black", alpha=0.55, linewidth=0)
        bar.size_bar.get_children()[0].set_linewidth(2)
        ax.add_artist(bar)
