"""Draw curves, and blocks on the ground."""

import numpy as np

from helpers.scenes import Scene
from helpers.show import drawing


def curves(history, *, baseline=None, ylabel="", caption=None):
    """Draw values against training steps, with what has to be beaten as a dashed line.

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
    if baseline is None:
        baseline = {}
    elif not isinstance(baseline, dict):
        baseline = {"baseline": baseline}
    fig, (ax,) = drawing.figure(7, 3.5, caption=caption)
    for number, (name, values) in enumerate(history.items()):
        at = np.arange(1, len(values) + 1) if steps is None else steps[: len(values)]
        known = np.isfinite(values)
        colour = drawing.PALETTE[number % len(drawing.PALETTE)]
        ax.plot(at[known], values[known], color=colour, linewidth=1.8, label=name)
    for (name, value), dashes in zip(baseline.items(), ("--", ":", "-."), strict=False):
        style = {"color": "black", "linewidth": 1.2, "linestyle": dashes}
        ax.axhline(value, label=f"{name} {value:.4g}", **style)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    return fig


def footprints(ground, backdrop=(), *, credit=None, caption=None, opacity=0.45):
    """Draw which blocks of ground train, validate and test: rectangles on the map.

    Args:
        ground: dict from split to list of Scene, as from `scenes.split_ground`.
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
    blocks = [scene for members in ground.values() for scene in members]
    crs, boxes = _boxes(backdrop, blocks)
    west, south, east, north = *boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)
    height = 1 + 6.2 * (north - south) / (east - west)
    credit = drawing.credit(credit, backdrop)
    fig, (ax,) = drawing.figure(7, height, caption=caption, credit=credit)
    painted = drawing.pictures(backdrop)
    for (left, bottom, right, top), scene, picture in zip(boxes, backdrop, painted, strict=False):
        pale = 0.45 + 0.55 * picture / 255  # so that the blocks stand out
        visible = np.dstack([pale, drawing.thinned(scene.valid)])
        ax.imshow(visible, extent=(left, right, bottom, top))
    legend, remaining = [], iter(boxes[len(backdrop) :])
    for colour, (split, members) in zip(drawing.PALETTE, ground.items(), strict=False):
        style = {"facecolor": (colour, opacity), "edgecolor": colour, "linewidth": 1.5}
        legend.append(Patch(label=f"{split}: {len(members)}", **style))
        for _ in members:
            left, bottom, right, top = next(remaining)
            ax.add_patch(Rectangle((left, bottom), right - left, top - bottom, **style))
    names = "longitude (degrees)", "latitude (degrees)"
    x, y = ("east (km)", "north (km)") if crs.is_projected else names
    ax.set(xlim=(west, east), ylim=(south, north), xlabel=x, ylabel=y, aspect="equal")
    ax.legend(handles=legend, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    return fig


def _boxes(backdrop, blocks):
    """Return the CRS of the map, and the bounds of all scenes in it, km or degrees."""
    from rasterio.warp import transform_bounds

    scenes = [*backdrop, *blocks]
    if not scenes or any(scene.bounds is None or scene.crs is None for scene in scenes):
        raise ValueError("a map needs scenes with a place on the ground: give georeferenced ones")
    crs = scenes[0].crs
    names = {str(scene.crs) for scene in backdrop}
    if len(names) > 1:
        raise ValueError(f"the backdrop lies in {len(names)} CRSs: give scenes of one")
    unit = crs.linear_units_factor[1] / 1000 if crs.is_projected else 1
    boxes = [transform_bounds(scene.crs, crs, *scene.bounds) for scene in scenes]
    return crs, unit * np.array(boxes)
