"""Images side by side, and where they are wrong."""

import numpy as np

from helpers.show import drawing


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
    titles, credit = drawing.one_each(images, titles), drawing.credit(credit, images)
    fig, axes = drawing.panels(images, titles, columns=columns, credit=credit, caption=caption, size=size)
    for ax, image, picture in zip(axes, images, drawing.pictures(images, bands, stretch), strict=True):
        drawing.draw(ax, picture, drawing.array(image).shape)
    drawing.scale_bars(axes, images, pixel_size_m)
    return fig


def error_map(reference, estimates, titles, *, unit="", pixel_size_m=None, credit=None, caption=None):
    """Where each estimate is wrong: absolute error of every pixel, mean over bands, on one shared scale.

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

    titles, truth = drawing.one_each(estimates, titles), drawing.array(reference).astype(float)
    for title, estimate in zip(titles, estimates, strict=True):
        if (shape := drawing.array(estimate).shape) != truth.shape:
            raise ValueError(f"{title} has shape {shape}, the reference {truth.shape}: resample it")
    errors = [np.abs(drawing.array(estimate) - truth).mean(axis=-1) for estimate in estimates]
    titles = [f"{title}, mean {np.nanmean(error):.3g}" for title, error in zip(titles, errors, strict=True)]
    credit = drawing.credit(credit, [reference, *estimates])
    fig, axes = drawing.panels(estimates, titles, credit=credit, caption=caption, room_in=0.7)
    colours = matplotlib.colormaps["magma"].with_extremes(bad=drawing.NO_DATA)
    limit = np.nanpercentile([drawing.thinned(error) for error in errors], 99)
    for ax, error in zip(axes, errors, strict=True):
        drawn = drawing.draw(ax, drawing.thinned(error), error.shape, cmap=colours, vmin=0, vmax=limit)
    label = f"absolute error ({unit})" if unit else "absolute error"
    fig.colorbar(drawn, ax=axes, label=label, extend="max", location="bottom", shrink=0.5, aspect=40)
    drawing.scale_bars(axes, [reference] * len(axes), pixel_size_m)
    return fig
