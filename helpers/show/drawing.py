"""Paint images with one stretch and neutral no-data; add scale bars and credits."""

import textwrap

import numpy as np

from helpers.scenes import Scene

COLOURS = (
    ("red", "green", "blue"),
    ("nir", "red", "green"),
)  # natural, else vegetation is red
NO_DATA = (
    0.64,
    0.61,
    0.68,
)  # greyish violet, a colour of neither ground, cloud nor error maps
# Any two differ by 17 or more (CIEDE2000), also for red-green and blue-yellow blind readers
PALETTE = ("#004488", "#DDAA33", "#BB5566", "#66CCEE", "#000000", "#AAAAAA")
MAX_PX = 1500  # larger images are thinned out to draw them, as no screen shows more


def array(image):
    """Return the pixels of a Scene, or an array, (height, width, bands)."""
    pixels = image.pixels if isinstance(image, Scene) else np.asarray(image)
    if pixels.ndim != 3:
        raise ValueError(
            f"an image has shape {pixels.shape}; expected (height, width, bands), in a list of "
            "images"
        )
    return pixels


def visible(image, bands):
    """Return the pixels to look at, (height, width, 1 or 3): uint8 for a picture, else float32."""
    pixels = array(image)
    step = -(-max(pixels.shape[:2]) // MAX_PX)
    names = image.bands if isinstance(image, Scene) else tuple(range(pixels.shape[-1]))
    first = names[: 3 if len(names) > 2 else 1]
    chosen = bands or next((each for each in COLOURS if set(each) <= set(names)), first)
    if len(chosen) not in (1, 3) or not set(chosen) <= set(names):
        raise ValueError(
            f"the bands to show are {list(chosen)}; expected one, or three for red, green and "
            f"blue, of {list(names)}"
        )
    pixels = pixels[::step, ::step, [names.index(band) for band in chosen]]
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
    values = np.concatenate([pixels.reshape(-1, pixels.shape[-1]) for pixels in shown])
    known = values[np.isfinite(values).all(axis=-1)]
    return np.percentile(
        known if len(known) else np.ones_like(values), percentiles, axis=0
    )


def paint(images, bands=None, limits=None):
    """Paint each image as uint8 (height, width, 3): one stretch for all in colour, one in grey.

    Pictures of 8 bits keep their values.
    """
    shown = [visible(image, bands) for image in images]
    kinds = [(each.dtype, each.shape[-1]) for each in shown]
    ends = {}
    for kind in set(kinds):
        alike = [each for each, own in zip(shown, kinds, strict=True) if own == kind]
        is_given = limits is not None and np.size(limits[0]) in (1, kind[1])
        ends[kind] = (
            (0, 255) if kind[0] == "uint8" else limits if is_given else _ends(alike)
        )
    return [
        _stretched(each, *ends[kind]) for each, kind in zip(shown, kinds, strict=True)
    ]


def _stretched(pixels, low, high):
    bright = (pixels - low) / np.maximum(np.subtract(high, low), 1e-12)
    missing = np.isnan(bright).any(axis=-1, keepdims=True)
    return np.rint(255 * np.where(missing, NO_DATA, np.clip(bright, 0, 1))).astype(
        "uint8"
    )


def wrap(text, width_in, size_pt):
    """Break a text into lines of this width; a letter is about 0.55 of its size wide."""
    characters = int(width_in * 72 / (0.55 * size_pt))
    return "\n".join(
        textwrap.fill(line, characters) for line in (text or "").splitlines()
    )


def credit_of(images):
    """Return the credit lines of the Scenes among the images, each once."""
    credits = [getattr(image, "credit", "") for image in images]
    return " · ".join(dict.fromkeys(filter(None, credits)))


def figure(width, height, *, rows=1, columns=1, caption=None, credit=None):
    """Make a figure, inches, higher by what caption and credit need; return it and its axes."""
    import matplotlib.pyplot as plt

    caption, credit = wrap(caption, width, 11), wrap(credit, width, 8)
    height += sum(
        0.08 + 0.18 * len(text.splitlines()) for text in (caption, credit) if text
    )
    size = {"figsize": (width, height), "layout": "constrained"}
    fig, axes = plt.subplots(rows, columns, squeeze=False, **size)
    plt.close(fig)
    if caption:  # an empty text would take room, too
        fig.suptitle(caption, x=0.01, ha="left", fontsize=11)
    if credit:
        fig.supxlabel(credit, x=0.99, ha="right", fontsize=8, color="#555555")
    return fig, list(axes.flat)


def scale_bars(axes, images, pixel_size_m):
    """Draw a scale bar on the first image, and where the width on the ground changes."""
    sizes = [array(image).shape[1] for image in images]
    last_m = 0
    for ax, image, columns in zip(axes, images, sizes, strict=True):
        own_m = columns * (getattr(image, "ground_sample_distance_m", None) or 0)
        width_m = pixel_size_m * max(sizes) if pixel_size_m else own_m
        if width_m and abs(width_m - last_m) > 0.01 * last_m:
            _scale_bar(ax, width_m, columns)
            last_m = width_m


def _scale_bar(ax, width_m, columns):
    """Draw a bar of a round length: 1, 2 or 5, at most a third of the image."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    power = 10 ** np.floor(np.log10(width_m / 3))
    length_m = power * max(step for step in (1, 2, 5) if step * power <= width_m / 3)
    label = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    bar = AnchoredSizeBar(
        ax.transData, length_m * columns / width_m, label, "lower left", color="white",
        label_top=True, pad=0.4, borderpad=0.5, sep=3,
    )  # fmt: skip
    bar.patch.set(facecolor="black", alpha=0.55, linewidth=0)
    bar.size_bar.get_children()[0].set_linewidth(2)
    ax.add_artist(bar)
