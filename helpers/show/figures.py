"""Draw figures: images side by side, curves, blocks on the ground."""

import numpy as np
from rasterio.warp import transform_bounds

from helpers.show.drawing import (
    PALETTE,
    as_scene,
    credit_of,
    figure,
    paint,
    scale_bars,
    wrap,
)


def grid(
    images, titles=None, *, bands=None, stretch=(), columns=None, pixel_size_m=None, credit="",
    caption="", size=None,
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
    titles = titles or [""] * len(images)
    if not titles or len(images) != len(titles):
        raise ValueError(
            f"{len(images)} images and {len(titles)} titles; expected at least one, and a title "
            "for each"
        )
    scenes = [as_scene(image) for image in images]
    painted = paint(scenes, bands, stretch)
    columns = columns or min(len(scenes), 4)
    rows = -(-len(scenes) // columns)
    size = size or min(5, 10 / columns)
    titles = [wrap(title, size, 10) for title in titles]
    height = size * max(scene.height / scene.width for scene in scenes)
    height += 0.19 * max(len(title.splitlines()) for title in titles)
    fig, axes = figure(
        size * columns,
        height * rows,
        rows,
        columns,
        caption=caption,
        credit=credit or credit_of(scenes),
    )
    for ax in axes:
        ax.axis("off")
        ax.set_anchor("N")  # images of other proportions line up under their titles
    for ax, scene, picture, title in zip(axes, scenes, painted, titles, strict=False):
        extent = 0, scene.width, scene.height, 0
        # the page has fewer pixels than a large image: average them
        kernel = "auto" if max(extent) > 512 else "nearest"
        ax.imshow(picture, extent=extent, interpolation=kernel)
        ax.set_title(title, fontsize=10)
    scale_bars(axes, scenes, pixel_size_m)
    return fig


def curves(history, *, baseline=None, ylabel="", caption=""):
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

    table = pd.DataFrame(history, dtype=float)
    table = table.set_index("step" if "step" in table else table.index + 1)
    levels = pd.Series(baseline, dtype=float).rename({0: "baseline"}).dropna()
    fig, (ax,) = figure(7, 3.5, caption=caption)
    ax.set_prop_cycle(color=PALETTE)
    for name, values in table.items():
        ax.plot(values.dropna(), linewidth=1.8, label=name)
    for dashes, (name, value) in zip(("--", ":", "-."), levels.items(), strict=False):
        label = f"{name} {value:.4g}"
        ax.axhline(value, label=label, color="black", linestyle=dashes)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.grid(alpha=0.25)
    ax.legend()
    return fig


def footprints(splits, backdrop=(), *, credit="", caption="", opacity=0.45):
    """Draw which blocks of ground train, validate and test: rectangles on the map.

    Args:
        splits: dict from split to list of Scene, as from `scenes.split_ground`.
        backdrop: list of Scene in one CRS, drawn underneath.
        credit: line below; default: the backdrop's own.
        caption: line above: what to look at.
        opacity: of the rectangles, 0 to 1; less where many lie over one another.

    Returns:
        matplotlib Figure; the axes are map coordinates, km (degrees in a geographic CRS).

    Raises:
        ValueError: no scene, one without a place, or a backdrop in several CRSs.
    """
    everything = [*backdrop, *sum(splits.values(), [])]
    if not everything or not all(each.bounds and each.crs for each in everything):
        raise ValueError(
            "a map needs scenes with a place on the ground: give georeferenced ones"
        )
    crs = everything[0].crs
    if any(scene.crs != crs for scene in backdrop):
        raise ValueError("the backdrop lies in several CRSs: give scenes of one")
    unit = "degrees"
    scale = 1
    if crs.is_projected:
        unit = "km"
        scale = crs.linear_units_factor[1] / 1000

    def sides(scenes):
        """West, south, east and north of each scene on the map."""
        found = [transform_bounds(each.crs, crs, *each.bounds) for each in scenes]
        return scale * np.reshape(found, (-1, 4)).T

    credit = credit or credit_of(backdrop)
    fig, (ax,) = figure(7, 1, caption=caption, credit=credit)
    pictures = paint(backdrop)
    for picture, box in zip(pictures, sides(backdrop).T, strict=True):
        # pale behind the blocks
        ax.imshow(picture, alpha=0.55, extent=box[[0, 2, 1, 3]])
    for colour, (split, members) in zip(PALETTE, splits.items(), strict=False):
        left, bottom, right, top = sides(members)
        ax.bar(
            left,
            top - bottom,
            right - left,
            bottom,
            align="edge",
            facecolor=(colour, opacity),
            edgecolor=colour,
            label=f"{split}: {len(members)}",
        )
    ax.margins(0)
    fig.set_figheight(fig.get_figheight() + 6.2 * ax.get_data_ratio())
    ax.set(xlabel=f"east ({unit})", ylabel=f"north ({unit})", aspect="equal")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return fig
