"""Train and score cloud removal on real pairs of a cloudy and a clear day."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from helpers import scenes
from helpers.backend import tf
from helpers.pairs.clouds import Examples, skewed, uniform
from helpers.pairs.folders import CLOUDY
from helpers.pairs.patches import patches, whole_patches
from helpers.scenes import to_unit
from helpers.scenes.folders import read_table

CLOUD_LIGHT = 0.6  # of the range that networks see


def has_pairs(folder):
    """Return whether a folder holds cloudy and clear images, by its manifest or its folders."""
    table = Path(folder, "manifest.csv")
    there = read_table(table).get("role", ()) if table.exists() else os.listdir(folder)
    return set(CLOUDY) <= set(there)


def days(pair):
    """Return the cloudy and the clear Scene of a pair of `folders.read_pairs`."""
    count = len(pair.bands) // 2
    cloudy, clear = np.split(pair.pixels, 2, axis=-1)
    pair = replace(pair, bands=pair.bands[:count])
    return replace(pair, pixels=cloudy), replace(pair, pixels=clear)


def dataset(pairs, *, value_range, skew=0.15, **stream):
    """Stream training pairs; place, turn and skew are drawn once for both images.

    Args:
        pairs: list of Scene of `folders.read_pairs`; pixels without data are filled with the
            nearest ones.
        value_range: (low, high) per band that networks see as 0 to 1.
        skew, **stream: as of `clouds.dataset`.

    Returns:
        tf.data.Dataset of (cloudy, truth), as of `clouds.dataset`. Opacity and shadow follow from
        the two days' brightness, as if clouds had a light of 0.6.
    """

    def pair(patch, key):
        shear = skew * (2 * uniform(key, 3, 1)[0] - 1)
        both = to_unit(skewed(patch, shear), [*value_range] * 2)
        cloudy, clear = tf.split(both, 2, axis=-1)
        seen, ground = (
            tf.reduce_mean(image, axis=-1, keepdims=True) for image in (cloudy, clear)
        )
        opacity = (seen - ground) / tf.maximum(CLOUD_LIGHT - ground, 0.1)
        shadow = 1 - seen / tf.maximum(ground, 0.01)
        taken = tf.clip_by_value(tf.concat([opacity, shadow], axis=-1), 0, 0.98)
        return cloudy, tf.concat([clear, taken], axis=-1)

    filled = [replace(both, pixels=scenes.fill_nodata(both.pixels)) for both in pairs]
    return patches(filled, augment=pair, **stream)


def examples(pairs, *, value_range, patch_px):
    """Cut real pairs into patches that do not overlap, for validation and test.

    Args:
        pairs: list of Scene of `folders.read_pairs`.
        value_range: (low, high) per band.
        patch_px: side of a patch.

    Returns:
        clouds.Examples of kind "real"; the density of these clouds is unknown, so depth,
        transmittance, shadow and cover are NaN and the subsets empty.

    Raises:
        ValueError: there is not one whole patch without no-data pixels.
    """
    both = np.stack([patch.pixels for patch in whole_patches(pairs, patch_px)])
    both = to_unit(both, [*value_range] * 2).astype("float32")
    cloudy, clear = np.split(both, 2, axis=-1)
    unknown = np.full(clear.shape[:3], np.nan, "float32")
    kind = np.array(["real"] * len(clear))
    return Examples(cloudy, clear, unknown, unknown, unknown, kind, unknown[:, 0, 0])
