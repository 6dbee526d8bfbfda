"""Train and score cloud removal on real pairs of a cloudy and a clear day."""

from dataclasses import replace

import numpy as np

from helpers import scenes
from helpers.backend import tf
from helpers.pairs.clouds import Examples, skewed, uniform
from helpers.pairs.patches import patches, whole_patches
from helpers.scenes import to_unit

CLOUD_LIGHT = 0.6  # of the range that networks see


def days(pair):
    """Return the cloudy and the clear Scene of a pair of `folders.read_pairs`."""
    day = replace(pair, bands=pair.bands[: len(pair.bands) // 2])
    return [replace(day, pixels=pixels) for pixels in np.split(pair.pixels, 2, axis=-1)]


def dataset(
    pairs,
    *,
    value_range,
    skew=0.15,
    **stream,
):
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


def examples(
    pairs,
    *,
    value_range,
    patch_px,
):
    """Cut real pairs into patches that do not overlap, for validation and test.

    Args:
        pairs: list of Scene of `folders.read_pairs`.
        value_range: (low, high) per band.
        patch_px: side of a patch.

    Returns:
        clouds.Examples of kind "real"; the density of these clouds is unknown, so transmittance and
        shadow are NaN.

    Raises:
        ValueError: there is not one whole patch without no-data pixels.
    """
    cuts = [patch.pixels for patch in whole_patches(pairs, patch_px)]
    both = to_unit(np.stack(cuts), [*value_range] * 2).astype("float32")
    cloudy, clear = np.split(both, 2, axis=-1)
    unknown = np.full(clear.shape[:3], np.nan, "float32")
    return Examples(
        cloudy,
        clear,
        unknown,
        unknown,
        np.full(len(clear), "real"),
    )
