"""Legends: the classes that the colours of a map stand for."""

import warnings
from dataclasses import replace
from itertools import chain

import numpy as np
import pandas

from helpers import metrics
from helpers.pairs.folders import COLOURS
from helpers.scenes.folders import read_table

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
    packed, counts = np.unique(np.concatenate(drawn), return_counts=True)
    colours = np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1)
    if (folder / "legend.csv").exists():
        legend = _read_legend(folder / "legend.csv")
    elif len(colours) <= MAX_COLOURS:
        legend = {
            "#{:02x}{:02x}{:02x}".format(*colour): tuple(colour)
            for colour in colours.tolist()
        }
    else:
        told = f"{folder} has no legend.csv, and its maps have more than {MAX_COLOURS} colours"
        warnings.warn(
            f"{told}: no classes, so that only pictures can be compared", stacklevel=3
        )
        return ground, None
    nearest = metrics.decode(colours.astype("uint8"), legend)
    distances = ((colours - np.array(list(legend.values()))[nearest]) ** 2).sum(axis=-1)
    far = distances > tolerance**2
    _report_undecided(colours[far], counts[far], counts.sum())

    def of_classes(pair):
        classes = nearest[np.searchsorted(packed, _packed(pair))]
        pixels = np.dstack([pair.pixels[..., :3], classes])
        return replace(pair, pixels=pixels, bands=(*COLOURS, "class"))

    ground = {split: list(map(of_classes, pairs)) for split, pairs in ground.items()}
    held = set(chain(*(np.unique(pair.pixels[..., 3]) for pair in ground["train"])))
    absent = [name for number, name in enumerate(legend) if number not in held]
    if absent:
        told = f"no training pair holds {', '.join(absent)}: it cannot be learned"
        warnings.warn(f"{told}. Correct its colour, or remove the class", stacklevel=3)
    return ground, legend


def _packed(pair):
    """Return the colours of a pair's map as one number each."""
    return pair.pixels[..., 3:] @ np.array([65536, 256, 1])


def _read_legend(path):
    table = read_table(path, ("class", *COLOURS))
    colours = table[list(COLOURS)].apply(pandas.to_numeric, errors="coerce")
    legend = dict(
        zip(table["class"], colours.itertuples(index=False, name=None), strict=True)
    )
    is_doubled = len(set(legend.values())) < len(table) or len(legend) < len(table)
    if not legend or is_doubled or not colours.isin(range(256)).all(axis=None):
        told = "expected classes and colours that occur once, and numbers from 0 to 255"
        raise ValueError(f"{path}: {told}")
    return legend


def _report_undecided(colours, pixels, total):
    """Warn of pixels whose colours are far from all of the legend; refuse where they are many."""
    if not len(colours):
        return
    most = [
        f"{tuple(colours[at].tolist())} {pixels[at]} px"
        for at in np.argsort(-pixels)[:5]
    ]
    told = (
        f"{pixels.sum() / total:.1%} of the map pixels are undecided: further than the tolerance "
        f"from every colour of the legend. Colours: {', '.join(most)}"
    )
    if pixels.sum() > MAX_UNDECIDED * total:
        raise ValueError(
            f"{told}. Correct the legend; or, if the maps were stored with loss, as JPEG does, "
            "give a larger tolerance"
        )
    warnings.warn(f"{told}. They get the nearest class", stacklevel=4)
