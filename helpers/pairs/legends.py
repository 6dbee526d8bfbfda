"""Legends: the classes that the colours of a map stand for."""

import warnings
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas
from scipy.spatial.distance import cdist

from helpers.acquire.manifest import read_table
from helpers.pairs.folders import COLOURS

MAX_COLOURS = 16  # in maps that can be their own legend
MAX_UNDECIDED = 0.05  # share of map pixels that no colour of the legend is near


def classified(ground, folder, tolerance=0):
    """Replace the colours of maps by their places in a legend, as the band `class`.

    The legend stands in the folder's `legend.csv` (columns class, red, green, blue). Without one,
    each colour is a class where all maps together have 16 at most; else the pairs stay pictures.
    Warns of a class that no training pair holds.

    Args:
        ground: dict from split to a list of Scene whose last three bands are the map, uint8.
        folder: Path.
        tolerance: largest distance in RGB from a colour of the legend, for maps stored with loss. A
            pixel further away is undecided: it gets the nearest class, and a warning says how many
            there are.

    Returns:
        tuple: dict like `ground`; and the legend, dict from class to (red, green, blue), or None.

    Raises:
        ValueError: a legend.csv that cannot be read, or more than 5 % undecided pixels (says which
            colours).
    """
    drawn = [_packed(pair).ravel() for pair in chain(*ground.values())]
    counts = pandas.Series(np.concatenate(drawn)).value_counts()
    colours = np.transpose(np.unravel_index(counts.index, [256] * 3))
    if (folder / "legend.csv").exists():
        legend = _read_legend(folder / "legend.csv")
    elif len(colours) <= MAX_COLOURS:
        in_order = sorted(colours.tolist())
        legend = {"#{:02x}{:02x}{:02x}".format(*each): tuple(each) for each in in_order}
    else:
        warnings.warn(
            f"{folder} has no legend.csv, and its maps have more than {MAX_COLOURS} colours: "
            "there are no classes, and only pictures are compared",
            stacklevel=3,
        )
        return ground, None
    distances = cdist(colours, list(legend.values()))
    is_far = distances.min(axis=1) > tolerance
    _report_undecided(colours[is_far], counts[is_far], counts.sum())
    class_of = np.zeros(256**3, "uint8")
    class_of[counts.index] = distances.argmin(axis=1)

    def of_classes(pair):
        pixels = np.dstack([pair.pixels[..., :3], class_of[_packed(pair)]])
        bands = (*COLOURS, "class")
        return replace(pair, pixels=pixels.astype("uint8"), bands=bands)

    ground = {split: list(map(of_classes, pairs)) for split, pairs in ground.items()}
    trained = [pair.pixels[..., 3].ravel() for pair in ground["train"]]
    absent = np.delete(list(legend), np.concatenate(trained))
    if len(absent):
        warnings.warn(
            f"no training pair holds {', '.join(absent)}: it cannot be learned. Correct its "
            "colour, or remove the class",
            stacklevel=3,
        )
    return ground, legend


def _packed(pair):
    """Return the colours of a pair's map as one number each."""
    return pair.pixels[..., 3:].astype(int) @ [65536, 256, 1]


def _read_legend(path):
    table = read_table(path, ("class", *COLOURS)).set_index("class")[[*COLOURS]]
    table = table.apply(pandas.to_numeric, errors="coerce")
    is_unique = table.index.is_unique and not table.duplicated().any()
    is_colour = table.isin(range(256)).all(axis=None)
    if table.empty or not (is_unique and is_colour):
        raise ValueError(
            f"{path}: expected classes and colours that occur once, and numbers from 0 to 255"
        )
    return table.agg(tuple, axis=1).to_dict()


def _report_undecided(colours, counts, total):
    """Warn of pixels whose colours are far from all of the legend; refuse where they are many."""
    if counts.empty:
        return
    most = zip(map(tuple, colours[:5].tolist()), counts, strict=False)
    told = (
        f"{counts.sum() / total:.1%} of the map pixels are undecided: further than the tolerance "
        f"from every colour of the legend. Colours: "
        + ", ".join(f"{colour} {count} px" for colour, count in most)
    )
    if counts.sum() > MAX_UNDECIDED * total:
        raise ValueError(
            f"{told}. Correct the legend; or, if the maps were stored with loss, as JPEG does, "
            "give a larger tolerance"
        )
    warnings.warn(f"{told}. They get the nearest class", stacklevel=4)
