"""Pairs of satellite image and map: the Blue Marble with its land cover, or a folder of pictures.

A pair is one Scene whose bands are red, green, blue and then either `class`, the place of each
pixel's class in a legend, or `map_red`, `map_green`, `map_blue` where the map has no legend.
"""

from dataclasses import replace

import numpy as np

from helpers import scenes
from helpers.acquire import packs
from helpers.backend import tf
from helpers.pairs.folders import COLOURS
from helpers.pairs.patches import patches

# For colour-blind eyes, too: the least difference of two is 12 by CIEDE2000.
LEGEND = {
    "water": (44, 82, 165),
    "forest": (48, 124, 43),
    "rainforest": (8, 62, 44),
    "ice": (244, 250, 255),
    "savanna": (144, 151, 98),
    "shrub": (166, 98, 110),
    "grass and wetland": (182, 238, 132),
    "crops": (228, 158, 28),
    "barren": (227, 202, 184),
}
# Place in LEGEND of the classes 0 to 16 of IGBP. Open and closed shrubs, the two savannas and the
# kinds of fields cannot be told apart by colour; towns are too small and count as fields.
IGBP = np.float32([0, 1, 2, 1, 1, 1, 5, 5, 4, 4, 6, 6, 7, 7, 7, 3, 8])
# rows of the map, 84 N to 60 S; beyond them lies nothing but ice
TOP = 90
HEIGHT = 2160
BUFFER_PX = 16  # between ground of different splits
STRIDE_PX = 48  # between blocks of training ground, which overlap
MIN_LAND = 0.3  # share of a block


def earth():
    """Return the Earth from 60 S to 84 N: the Blue Marble with its land cover as the band `class`.

    The land cover has four pixels where the image has three; the nearest one counts.

    Returns:
        Scene, bands red, green, blue, class; 7.4 km a pixel at the equator.
    """
    image = packs.open_scene("blue_marble", "image")
    cover = packs.open_scene("land_cover")
    igbp = tf.image.resize(cover.pixels, image.pixels.shape[:2], "nearest")
    classes = IGBP[igbp.numpy().astype(int)]
    both = replace(
        image,
        pixels=np.concatenate([image.pixels, classes], axis=-1),
        bands=(*COLOURS, "class"),
        credit=f"{image.credit} · {cover.credit}",
        name="earth",
    )
    return both.cut(TOP, 0, HEIGHT, image.width)


def land_cover(whole, *, block_px=128, seed=0):
    """Split the Earth: blocks to validate and test, and far enough from them the training ground.

    Args:
        whole: Scene of `earth`.
        block_px: side of a block, pixels.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene of one size. Those of training
        ground overlap.
    """
    cuts = {"block_px": block_px, "buffer_px": BUFFER_PX}
    ground = scenes.split_ground([whole], seed=seed, **cuts)
    held_out = ground["validation"] + ground["test"]
    cuts["stride_px"] = STRIDE_PX
    ground["train"] = scenes.blocks_away_from(held_out, whole, **cuts)
    return {split: with_land(blocks) for split, blocks in ground.items()}


def with_land(blocks):
    """Return the blocks with at least 30 % land: any class but the first, which is water."""
    return [block for block in blocks if (block.pixels[..., -1] > 0).mean() >= MIN_LAND]


def dataset(pairs, *, legend=None, target="class", **stream):
    """Stream training pairs: patches at random places, image and map turned and flipped alike.

    Args:
        pairs: list of Scene of training ground.
        legend: dict from class to colour, or None where the pairs have pictures.
        target: "class" for places in the legend, "map" for the picture.
        **stream: as of `pairs.patches.patches`.

    Returns:
        tf.data.Dataset of (satellite, map), float32 (batch, patch, patch, 3), 0 to 1; or of
        (satellite, classes), int32 (batch, patch, patch).

    Raises:
        ValueError: a scene is smaller than a patch.
    """

    def pair(pixels):
        satellite = pixels[..., :3] / 255
        drawn = pixels[..., 3:]
        if legend is None:
            return satellite, drawn / 255
        classes = tf.cast(drawn[..., 0], tf.int32)
        if target == "class":
            return satellite, classes
        return satellite, tf.gather(_colours(legend), classes)

    return patches(pairs, finish=pair, **stream)


def arrays(pairs, legend=None):
    """Stack pairs of one size.

    Args:
        pairs: list of Scene.
        legend: dict from class to colour, or None where the pairs have pictures.

    Returns:
        Satellite images and maps, float32 (batch, height, width, 3), 0 to 1; and the classes, uint8
        (batch, height, width), or None.
    """
    pixels = np.uint8([pair.pixels for pair in pairs])
    satellite = pixels[..., :3] / np.float32(255)
    drawn = pixels[..., 3:]
    if legend is None:
        return satellite, drawn / np.float32(255), None
    classes = drawn[..., 0]
    return satellite, paint(classes, legend), classes


def paint(classes, legend):
    """Return the map, float32 (..., height, width, 3), 0 to 1, of an image of classes."""
    return _colours(legend)[classes]


def _colours(legend):
    return np.float32(list(legend.values())) / 255
