"""Draw figures: images side by side, curves, blocks on the ground."""

from itertools import islice

import numpy as np
from rasterio.warp import transform_bounds

from helpers.scenes import Scene
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
        raise ValueError(
            f"{len(images)} images and {len(titles)} titles; expected at least one, and a title "
            "for each"
        )
    shapes = [drawing.array(image).shape for image in images]
    painted = drawing.paint(images, bands, stretch)
    columns = columns or min(len(images), 4)
    rows = -(-len(images) // columns)
    size = size or min(5, 10 / columns)
    titles = [drawing.wrap(title, size, 10) for title in titles]
    height = size * max(tall / wide for tall, wide, _ in shapes)
    height += 0.19 * max(len(title.splitlines()) for title in titles)
    fig, axes = drawing.figure(
        size * columns, height * rows, rows=rows, columns=columns, caption=caption,
        credit=credit or drawing.credit_of(images),
    )  # fmt: skip
    for ax in axes:
        ax.axis("off")
        ax.set_anchor("N")  # images of other proportions line up under their titles
    axes = axes[: len(images)]
    for ax, picture, title, (tall, wide, _) in zip(
        axes, painted, titles, shapes, strict=True
    ):
        # the page has fewer pixels than a large image: average them
        kernel = "auto" if max(tall, wide) > 512 else "nearest"
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
    import pandas as pd

    table = pd.DataFrame(history)
    table = (
        table.set_index("step") if "step" in table else table.set_index(table.index + 1)
    )
    levels = baseline if isinstance(baseline, dict) else {"baseline": baseline}
    fig, (ax,) = drawing.figure(7, 3.5, caption=caption)
    ax.set_prop_cycle(color=drawing.PALETTE)
    for name, values in table.items():
        ax.plot(values.astype(float).dropna(), linewidth=1.8, label=name)
    for dashes, (name, value) in zip(("--", ":", "-."), levels.items(), strict=False):
        if value is not None:
            label = f"{name} {value:.4g}"
            ax.axhline(
                value, label=label, color="black", linewidth=1.2, linestyle=dashes
            )
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
    backdrop = [backdrop] if isinstance(backdrop, Scene) else list(backdrop)
    everything = [*backdrop, *sum(splits.values(), [])]
    if not everything or any(
        scene.bounds is None or scene.crs is None for scene in everything
    ):
        raise ValueError(
            "a map needs scenes with a place on the ground: give georeferenced ones"
        )
    crs = everything[0].crs
    if any(scene.crs != crs for scene in backdrop):
        raise ValueError("the backdrop lies in several CRSs: give scenes of one")
    unit, scale = (
        ("km", crs.linear_units_factor[1] / 1000)
        if crs.is_projected
        else ("degrees", 1)
    )
    boxes = [transform_bounds(scene.crs, crs, *scene.bounds) for scene in everything]
    boxes = scale * np.array(boxes)
    (west, south), (east, north) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    fig, (ax,) = drawing.figure(
        7, 1 + 6.2 * (north - south) / (east - west), caption=caption,
        credit=credit or drawing.credit_of(backdrop),
    )  # fmt: skip
    boxes = iter(boxes)
    for picture in drawing.paint(backdrop):
        left, bottom, right, top = next(boxes)
        ax.imshow(
            picture, alpha=0.55, extent=(left, right, bottom, top)
        )  # pale behind the blocks
    for colour, (split, members) in zip(drawing.PALETTE, splits.items(), strict=False):
        label = f"{split}: {len(members)}"
        for left, bottom, right, top in islice(boxes, len(members)):
            ax.bar(
                left, top - bottom, right - left, bottom, align="edge", label=label,
                facecolor=(colour, opacity), edgecolor=colour, linewidth=1.5,
            )  # fmt: skip
            label = None  # once in the legend
    ax.set(xlim=(west, east), ylim=(south, north), aspect="equal")
    ax.set(xlabel=f"east ({unit})", ylabel=f"north ({unit})")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return fig
