"""Draw figures: images side by side, curves, blocks on the ground."""

import numpy as np

from helpers.scenes import Scene
from helpers.scenes.splits import boxes_in
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
    titles = [""] * len(images) if titles is None else titles
    if not len(images) or len(images) != len(titles):
        wanted = "expected at least one, and a title for each"
        raise ValueError(f"{len(images)} images and {len(titles)} titles; {wanted}")
    shapes = [drawing.array(image).shape for image in images]
    painted = drawing.paint(images, bands, stretch)
    columns = columns or min(len(images), 4)
    rows = -(-len(images) // columns)
    size = size or min(5, 10 / columns)
    titles = [drawing.wrap(title, size, 10) for title in titles]
    height = size * max(tall / wide for tall, wide, _ in shapes)
    height += 0.19 * max(len(title.splitlines()) for title in titles)
    texts = {"caption": caption, "credit": drawing.credit_of(images) if credit is None else credit}
    fig, axes = drawing.figure(size * columns, height * rows, rows=rows, columns=columns, **texts)
    for ax in axes:
        ax.axis("off")
        ax.set_anchor("N")  # images of other proportions line up under their titles
    axes = axes[: len(images)]
    for ax, picture, title, (tall, wide, _) in zip(axes, painted, titles, shapes, strict=True):
        smooth = max(tall, wide) > 512  # the page has fewer pixels: average them
        kernel = "auto" if smooth else "nearest"
        ax.imshow(picture, extent=(0, wide, tall, 0), interpolation=kernel)
        ax.set_title(title, fontsize=10)
    drawing.scale_bars(axes, images, pixel_size_m)
    return fig


def curves(history, *, baseline=None, ylabel="", caption=None):
    """Draw values against training steps, with the baseline as a dashed line.

    Args:
        history: dict or DataFrame from name to values; its entry "step" holds the steps, else they
            are 1, 2, … NaN is left out, and the line drawn through, as some values are measured
            less often.
        baseline: number, or dict from name to number.
        ylabel: what is drawn, with its unit, such as "PSNR (dB)".
        caption: line above: what to look at.

    Returns:
        matplotlib Figure.
    """
    history = {name: np.asarray(values, float) for name, values in dict(history).items()}
    steps = history.pop("step", None)
    if baseline is not None and not isinstance(baseline, dict):
        baseline = {"baseline": baseline}
    fig, (ax,) = drawing.figure(7, 3.5, caption=caption)
    ax.set_prop_cycle(color=drawing.PALETTE)
    for name, values in history.items():
        at = np.arange(1, len(values) + 1) if steps is None else steps
        known = np.isfinite(values)
        ax.plot(at[known], values[known], linewidth=1.8, label=name)
    for (name, value), dashes in zip((baseline or {}).items(), ("--", ":", "-."), strict=False):
        style = {"color": "black", "linewidth": 1.2, "linestyle": dashes}
        ax.axhline(value, label=f"{name} {value:.4g}", **style)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    return fig


def footprints(splits, backdrop=(), *, credit=None, caption=None, opacity=0.45):
    """Draw which blocks of ground train, validate and test: rectangles on the map.

    Args:
        splits: dict from split to list of Scene, as from `scenes.split_ground`.
        backdrop: Scene, or list of Scene in one CRS, drawn underneath.
        credit: line below; default: the backdrop's own.
        caption: line above: what to look at.
        opacity: of the rectangles, 0 to 1; less where many lie over one another.

    Returns:
        matplotlib Figure; the axes are map coordinates, km (degrees in a geographic CRS).

    Raises:
        ValueError: no scene, one without a place, or a backdrop in several CRSs.
    """
    from matplotlib.patches import Patch, Rectangle

    backdrop = [backdrop] if isinstance(backdrop, Scene) else list(backdrop)
    crs, boxes = _boxes([*backdrop, *sum(splits.values(), [])], len(backdrop))
    (west, south), (east, north) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    credit = drawing.credit_of(backdrop) if credit is None else credit
    height = 1 + 6.2 * (north - south) / (east - west)
    fig, (ax,) = drawing.figure(7, height, caption=caption, credit=credit)
    painted, boxes = drawing.paint(backdrop), iter(boxes)
    for scene, picture, (left, bottom, right, top) in zip(backdrop, painted, boxes, strict=False):
        pale = 0.55 * drawing.thin(scene.valid)  # so that the blocks stand out
        ax.imshow(picture, alpha=pale, extent=(left, right, bottom, top))
    legend = []
    for colour, (split, members) in zip(drawing.PALETTE, splits.items(), strict=False):
        style = {"facecolor": (colour, opacity), "edgecolor": colour, "linewidth": 1.5}
        legend.append(Patch(label=f"{split}: {len(members)}", **style))
        for _, (left, bottom, right, top) in zip(members, boxes, strict=False):
            ax.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))
    names = ("east (km)", "north (km)")
    x, y = names if crs.is_projected else ("longitude (degrees)", "latitude (degrees)")
    ax.set(xlim=(west, east), ylim=(south, north), xlabel=x, ylabel=y, aspect="equal")
    ax.legend(handles=legend, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return fig


def _boxes(scenes, backdrops):
    """Return the CRS of the map, and the bounds of all scenes in it, km or degrees."""
    if not scenes or any(scene.bounds is None or scene.crs is None for scene in scenes):
        raise ValueError("a map needs scenes with a place on the ground: give georeferenced ones")
    crs = scenes[0].crs
    if any(scene.crs != crs for scene in scenes[:backdrops]):
        raise ValueError("the backdrop lies in several CRSs: give scenes of one")
    unit = crs.linear_units_factor[1] / 1000 if crs.is_projected else 1
    return crs, unit * boxes_in(crs, scenes)
