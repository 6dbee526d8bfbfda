"""Pictures to compare: grids with one shared stretch, error maps, before/after sliders, curves, blocks on the ground.

Every function that draws returns a Matplotlib figure, or a widget, and shows nothing by itself: make it the last
expression of a cell, or `display(...)` it. The figure is already closed for pyplot, so that it is not shown twice.
"""

import os
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


def grid(
    images, titles=None, *, bands=None, stretch=None, columns=None, pixel_size_m=None, credit=None, caption=None,
    size=None,
):  # fmt: skip
    """Images side by side under one shared stretch, so that what looks brighter is brighter.

    Args:
        images: list of Scene or (height, width, bands), of any sizes. NaN is painted in a neutral colour; uint8 arrays
            and Scenes from 8-bit files are pictures already, and are shown as they are.
        titles: one for each image.
        bands: three to show as red, green and blue, or one in grey: names for Scenes, indices for arrays. Default:
            red, green, blue; else nir, red, green; else the first three; else the first.
        stretch: (low, high) to show as black and as full brightness; default: `stretch` of all the images.
        columns: images in a row; default: at most 4.
        pixel_size_m: gives the scale bar: pixel width of the image with most columns, where all show the same ground.
            Scenes know their own.
        credit: line below; default: the Scenes' own.
        caption: line above: what to look at.
        size: width of one image on the page, inches; default: as 10 inches allow, at most 5.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: no image, one without three dimensions, another number of titles, or a band that is missing.
    """
    titles, credit = _one_each(images, titles), _credit(credit, images)
    fig, axes = _panels(images, titles, columns=columns, credit=credit, caption=caption, size=size)
    for ax, image, picture in zip(axes, images, _pictures(images, bands, stretch), strict=True):
        _draw(ax, picture, _array(image).shape)
    _scale_bars(axes, images, pixel_size_m)
    return fig


def error_map(reference, estimates, titles, *, unit="", pixel_size_m=None, credit=None, caption=None):
    """Where each estimate is wrong: absolute error of every pixel, mean over bands, on one shared scale.

    Args:
        reference: Scene or (height, width, bands); NaN = no data.
        estimates: list of the same, each of the reference's shape.
        titles: one for each estimate; its mean error is written below.
        unit: of the values, such as "reflectance".
        pixel_size_m, credit, caption: as for `grid`.

    Returns:
        matplotlib Figure; the brightest colour is the 99th percentile of all the errors shown.

    Raises:
        ValueError: an estimate has another shape, or another number of titles.
    """
    import matplotlib

    titles, truth = _one_each(estimates, titles), _array(reference).astype(float)
    for title, estimate in zip(titles, estimates, strict=True):
        if _array(estimate).shape != truth.shape:
            raise ValueError(f"{title} has shape {_array(estimate).shape}, the reference {truth.shape}: resample it")
    errors = [np.abs(_array(estimate) - truth).mean(axis=-1) for estimate in estimates]
    titles = [f"{title}\nmean {np.nanmean(error):.3g} {unit}" for title, error in zip(titles, errors, strict=True)]
    credit = _credit(credit, [reference, *estimates])
    fig, axes = _panels(estimates, titles, credit=credit, caption=caption, room_in=0.7)
    colours = matplotlib.colormaps["magma"].with_extremes(bad=NO_DATA)
    limit = np.nanpercentile([_thinned(error) for error in errors], 99)
    for ax, error in zip(axes, errors, strict=True):
        drawn = _draw(ax, _thinned(error), error.shape, cmap=colours, vmin=0, vmax=limit)
    label = f"absolute error ({unit})" if unit else "absolute error"
    fig.colorbar(drawn, ax=axes, label=label, extend="max", location="bottom", shrink=0.5, aspect=40)
    _scale_bars(axes, [reference] * len(axes), pixel_size_m)
    return fig


def before_after(
    before, after, *, titles=("before", "after"), bands=None, stretch=None, pixel_size_m=None, credit=None, static=None
):
    """Two images of the same ground in one frame, with a border between them that a slider moves.

    Args:
        before: Scene or (height, width, bands), shown left of the border.
        after: the same, of any number of pixels; the coarser image is enlarged without smoothing.
        titles: of the two.
        bands, stretch, pixel_size_m, credit: as for `grid`.
        static: True draws a figure instead: before, half and half, after. Default: only where nobody could move the
            slider, which is outside a notebook, or where SATELLITE_NOTEBOOKS_STATIC=1 is set, as in runs.

    Returns:
        ipywidgets VBox, or matplotlib Figure.

    Raises:
        ValueError: the images have other proportions, so they do not show the same ground.
    """
    (rows, columns), (rows_after, columns_after) = (_array(image).shape[:2] for image in (before, after))
    if abs(rows * columns_after / (rows_after * columns) - 1) > 0.01:
        sizes = f"before is {rows} x {columns} pixels, after {rows_after} x {columns_after}"
        raise ValueError(f"{sizes}: their proportions differ, so they do not show the same ground")
    credit = _credit(credit, [before, after])
    pictures = _pictures([before, after], bands, stretch)
    height, width = max(picture.shape[:2] for picture in pictures)
    zoom = max(1, 640 // max(height, width))
    left, right = (_enlarged(picture, height * zoom, width * zoom) for picture in pictures)

    def halves(border):
        picture = np.concatenate([left[:, :border], right[:, border:]], axis=1)
        picture[:, max(0, border - 1) : border + 1] = 255
        return picture

    if not (_nobody_watches() if static is None else static):
        return _slider(halves, left.shape[1], titles, credit)
    images, names = [left, halves(left.shape[1] // 2), right], [titles[0], " | ".join(titles), titles[1]]
    pixel_size_m = _pixel_sizes([before, after], pixel_size_m)[0]
    pixel_size_m = pixel_size_m and pixel_size_m * columns / left.shape[1]
    return grid(images, names, pixel_size_m=pixel_size_m, credit=credit)


def _slider(halves, width, titles, credit):
    from html import escape

    from ipywidgets import HTML, Image, IntSlider, Layout, VBox

    layout = Layout(width=f"{width}px", max_width="100%")
    image = Image(value=_png(halves(width // 2)), format="png", layout=layout)
    slider = IntSlider(width // 2, 0, width, readout=False, layout=layout, tooltip="drag to compare")
    slider.observe(lambda change: setattr(image, "value", _png(halves(change["new"]))), "value")
    ends = "".join(f"<b>{escape(title)}</b>" for title in titles)
    above = HTML(f'<div style="display: flex; justify-content: space-between">{ends}</div>', layout=layout)
    return VBox([above, image, slider, HTML(f"<small>{escape(credit)}</small>", layout=layout)])


def curves(history, *, baseline=None, ylabel="", caption=None):
    """Values against training steps, with what has to be beaten as a dashed line.

    Args:
        history: dict or DataFrame from name to values; its entry "step" holds the steps, else they are 1, 2, …
            NaN is left out, and the line drawn through, as some values are measured less often.
        baseline: number, or dict from name to number.
        ylabel: what is drawn, with its unit, such as "PSNR (dB)".
        caption: line above: what to look at.

    Returns:
        matplotlib Figure.
    """
    history = {name: np.asarray(values, float) for name, values in dict(history).items()}
    steps = history.pop("step", None)
    baselines = baseline if isinstance(baseline, dict) else {} if baseline is None else {"baseline": baseline}
    fig, (ax,) = _figure(7, 3.5, caption=caption)
    for number, (name, values) in enumerate(history.items()):
        at = np.arange(1, len(values) + 1) if steps is None else steps[: len(values)]
        known = np.isfinite(values)
        ax.plot(at[known], values[known], color=PALETTE[number % len(PALETTE)], linewidth=1.8, label=name)
    for (name, value), dashes in zip(baselines.items(), ("--", ":", "-."), strict=False):
        ax.axhline(value, color="black", linewidth=1.2, linestyle=dashes, label=f"{name} {value:.4g}")
    ax.set(xlabel="step", ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    return fig


def footprints(ground, backdrop=(), *, credit=None, caption=None):
    """Which blocks of ground train, validate and test: rectangles on the map.

    Args:
        ground: dict from split to list of Scene, as from `scenes.split_ground`.
        backdrop: Scene, or list of Scene in one CRS, drawn underneath.
        credit: line below; default: the backdrop's own.
        caption: line above: what to look at.

    Returns:
        matplotlib Figure; the axes are map coordinates, km (degrees in a geographic CRS).

    Raises:
        ValueError: no scene, one without a place, or a backdrop in several CRSs.
    """
    from matplotlib.patches import Patch, Rectangle
    from rasterio.warp import transform_bounds

    backdrop = [backdrop] if isinstance(backdrop, Scene) else list(backdrop)
    blocks = [scene for members in ground.values() for scene in members]
    scenes = [*backdrop, *blocks]
    if not scenes or any(scene.bounds is None or scene.crs is None for scene in scenes):
        raise ValueError("a map needs scenes with a place on the ground: give georeferenced ones")
    crs = scenes[0].crs
    if any(scene.crs != crs for scene in backdrop):
        raise ValueError(f"the backdrop lies in {len({str(s.crs) for s in backdrop})} CRSs: give scenes of one")
    kilometres = crs.linear_units_factor[1] / 1000 if crs.is_projected else 1
    boxes = kilometres * np.array([transform_bounds(scene.crs, crs, *scene.bounds) for scene in scenes])
    west, south, east, north = *boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)
    credit = _credit(credit, backdrop)
    fig, (ax,) = _figure(7, 1 + 6.2 * (north - south) / (east - west), caption=caption, credit=credit)
    for (left, bottom, right, top), scene, picture in zip(boxes, backdrop, _pictures(backdrop), strict=False):
        pale = 0.45 + 0.55 * picture / 255  # so that the blocks stand out
        ax.imshow(np.dstack([pale, _thinned(scene.valid)]), extent=(left, right, bottom, top))
    legend, remaining = [], iter(boxes[len(backdrop) :])
    for colour, (split, members) in zip(PALETTE, ground.items(), strict=False):
        style = {"facecolor": (colour, 0.45), "edgecolor": colour, "linewidth": 1.5}
        legend.append(Patch(label=f"{split}: {len(members)} blocks", **style))
        for _, (left, bottom, right, top) in zip(members, remaining, strict=False):
            ax.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))
    x, y = ("east (km)", "north (km)") if crs.is_projected else ("longitude (degrees)", "latitude (degrees)")
    ax.set(xlim=(west, east), ylim=(south, north), xlabel=x, ylabel=y, aspect="equal")
    ax.legend(handles=legend, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return fig


def source(thing):
    """Show the source code of a function, class or module in place, highlighted: there is no second copy of it.

    Raises:
        TypeError: it has no Python source.
    """
    import inspect

    from IPython.display import Code, display

    try:
        code = textwrap.dedent(inspect.getsource(thing))
    except (TypeError, OSError) as error:
        raise TypeError(
            f"{thing!r} has no Python source to show: it is built in, compiled, or an object rather than its class. "
            "Give a function, class or module that is written in Python"
        ) from error
    display(Code(code, language="python"))


def _array(image):
    pixels = image.pixels if isinstance(image, Scene) else np.asarray(image)
    if pixels.ndim != 3:
        raise ValueError(f"an image has shape {pixels.shape}; expected (height, width, bands), in a list of images")
    return pixels


def _thinned(pixels):
    step = -(-max(pixels.shape[:2]) // MOST_PX)
    return pixels[::step, ::step]


def _visible(image, bands):
    """The pixels to look at, thinned: float32 (height, width, 1 or 3)."""
    pixels = _thinned(_array(image))
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


def _pictures(images, bands=None, limits=None):
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


def _enlarged(picture, height, width):
    rows, columns = (np.arange(new) * old // new for new, old in zip((height, width), picture.shape[:2], strict=True))
    return picture[rows][:, columns]


def _png(picture):
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "png", compress_level=1)  # the fastest: a slider must not lag
    return buffer.getvalue()


def _nobody_watches():
    from IPython import get_ipython

    return os.environ.get("SATELLITE_NOTEBOOKS_STATIC") == "1" or getattr(get_ipython(), "kernel", None) is None


def _credit(credit, images):
    own = [image.credit for image in images if isinstance(image, Scene) and image.credit]
    return " · ".join(dict.fromkeys(own)) if credit is None else credit


def _one_each(images, titles):
    titles = [""] * len(images) if titles is None else list(titles)
    if not len(images) or len(images) != len(titles):
        raise ValueError(f"{len(images)} images and {len(titles)} titles; expected at least one, and a title for each")
    return titles


def _figure(width, height, *, rows=1, columns=1, caption=None, credit=None):
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


def _panels(images, titles, *, columns=None, credit=None, caption=None, size=None, room_in=0):
    """A figure with bare, titled axes, one for each image."""
    columns = columns or min(len(images), 4)
    size, rows = size or min(5, 10 / columns), -(-len(images) // columns)
    titles = [_wrapped(title, size, 10) for title in titles]
    height = size * max(_array(image).shape[0] / _array(image).shape[1] for image in images)
    height += 0.19 * max(len(title.splitlines()) for title in titles)
    fig, axes = _figure(
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


def _draw(ax, picture, shape, **colouring):
    """Draw in the image's own pixel coordinates."""
    interpolation = "nearest" if max(picture.shape[:2]) <= 512 else "auto"  # the page has fewer pixels: average them
    return ax.imshow(picture, extent=(0, shape[1], shape[0], 0), interpolation=interpolation, **colouring)


def _pixel_sizes(images, pixel_size_m):
    """Pixel width of each image in metres, or None where it is unknown."""
    if pixel_size_m is None:
        return [image.ground_sample_distance_m if isinstance(image, Scene) else None for image in images]
    widths = [_array(image).shape[1] for image in images]
    return [pixel_size_m * max(widths) / width for width in widths]


def _scale_bars(axes, images, pixel_size_m):
    """A bar of a round length, up to a third of the width: on the first image if all are as wide, else on each."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    panels = zip(axes, _pixel_sizes(images, pixel_size_m), images, strict=True)
    known = [(ax, size, size * _array(image).shape[1]) for ax, size, image in panels if size]
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
