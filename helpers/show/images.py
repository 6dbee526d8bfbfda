"""Show images side by side, and where they are wrong."""

import numpy as np

from helpers.show import drawing


def grid(
    images, titles=None, *, bands=None, stretch=None, columns=None, pixel_size_m=None, credit=None,
    caption=None, size=None,
):  # fmt: skip
    """Show images side by side under one shared stretch, so that what looks brighter is brighter.

    Args:
        images: list of Scene or (height, width, bands), of any sizes. NaN is painted in a neutral
            colour; uint8 arrays and Scenes from 8-bit files are shown as they are.
        titles: one for each image.
        bands: three to show as red, green and blue, or one in grey: names for Scenes, indices for
            arrays. Default: red, green, blue; else nir, red, green; else the first three; else the
            first.
        stretch: (low, high) to show as black and as full brightness; default: `stretch` of all the
            images.
        columns: images in a row; default: at most 4.
        pixel_size_m: gives the scale bar: pixel width of the image with most columns, where all
            show the same ground. Scenes know their own.
        credit: line below; default: the Scenes' own.
        caption: line above: what to look at.
        size: width of one image on the page, inches; default: as 10 inches allow, at most 5.

    Returns:
        matplotlib Figure.

    Raises:
        ValueError: no image, one without three dimensions, another number of titles, or a band that
            is missing.
    """
    titles, credit = drawing.one_each(images, titles), drawing.credit(credit, images)
    layout = {"columns": columns, "credit": credit, "caption": caption, "size": size}
    fig, axes = drawing.panels(images, titles, **layout)
    painted = drawing.pictures(images, bands, stretch)
    for ax, image, picture in zip(axes, images, painted, strict=True):
        drawing.draw(ax, picture, drawing.array(image).shape)
    drawing.scale_bars(axes, images, pixel_size_m)
    return fig


def error_map(
    reference, estimates, titles, *, unit="", pixel_size_m=None, credit=None, caption=None
):
    """Show where each estimate is wrong: absolute error of a pixel, mean over bands, on one scale.

    Args:
        reference: Scene or (height, width, bands); NaN = no data.
        estimates: list of the same, each of the reference's shape.
        titles: one for each estimate; its mean error is written beside.
        unit: of the values, such as "reflectance".
        pixel_size_m, credit, caption: as for `grid`.

    Returns:
        matplotlib Figure; the brightest colour is the 99th percentile of all the errors shown.

    Raises:
        ValueError: an estimate has another shape, or another number of titles.
    """
    import matplotlib

    truth, errors = drawing.array(reference).astype(float), []
    titles = drawing.one_each(estimates, titles)
    for number, estimate in enumerate(map(drawing.array, estimates)):
        if estimate.shape != truth.shape:
            told = f"{titles[number]} has shape {estimate.shape}, the reference {truth.shape}"
            raise ValueError(f"{told}: resample it")
        errors.append(np.abs(estimate - truth).mean(axis=-1))
        titles[number] += f", mean {np.nanmean(errors[-1]):.3g}"
    credit = drawing.credit(credit, [reference, *estimates])
    fig, axes = drawing.panels(estimates, titles, credit=credit, caption=caption, room_in=0.9)
    colours = matplotlib.colormaps["magma"].with_extremes(bad=drawing.NO_DATA)
    seen = [drawing.thinned(error) for error in errors]
    scale = {"cmap": colours, "vmin": 0, "vmax": np.nanpercentile(seen, 99)}
    for ax, error in zip(axes, seen, strict=True):
        drawn = drawing.draw(ax, error, truth.shape, **scale)
    label = f"absolute error ({unit})" if unit else "absolute error"
    bar = {"extend": "max", "location": "bottom", "shrink": 0.5, "aspect": 40}
    fig.colorbar(drawn, ax=axes, label=label, **bar)
    drawing.scale_bars(axes, [reference] * len(axes), pixel_size_m)
    return fig
