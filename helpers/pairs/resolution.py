"""Low- and high-resolution pairs: what a coarser sensor would have seen of the same ground."""

from dataclasses import replace

import numpy as np
from rasterio.transform import Affine

from helpers.backend import tf
from helpers.pairs.patches import patches
from helpers.scenes import to_unit


def degrade(high_res, scale):
    """Shrink images as the super-resolution literature does: bicubic, antialiased.

    Args:
        high_res: float (batch, height, width, bands); sides are multiples of `scale`.
        scale: whole number of high-resolution pixels to a low-resolution one.

    Returns:
        float32 tensor (batch, height / scale, width / scale, bands), same unit.

    Raises:
        ValueError: a side is no multiple of `scale`.

    Source: cubic convolution with a = -0.5 (Keys 1981), stretched by `scale`; cross-checked against Pillow.
    """
    height, width = high_res.shape[1:3]
    if height % scale or width % scale:
        raise ValueError(f"{height} x {width} pixels cannot be shrunk {scale} times: cut to multiples of {scale} first")
    return tf.image.resize(high_res, [height // scale, width // scale], "bicubic", antialias=True)


def upsample(low_res, scale):
    """Enlarge images by bicubic interpolation: the baseline, and the input of SRCNN.

    Args:
        low_res: float (batch, height, width, bands).
        scale: enlargement of each side.

    Returns:
        float32 tensor (batch, height * scale, width * scale, bands), same unit.
    """
    height, width = tf.shape(low_res)[1], tf.shape(low_res)[2]
    return tf.image.resize(low_res, [height * scale, width * scale], "bicubic")


def dataset(scenes, *, value_range, scale, enlarged, first_step=0, **stream):
    """Training pairs, degraded in the input pipeline.

    Args:
        scenes: list of Scene of training ground.
        value_range: (low, high) per band that networks see as 0 to 1.
        scale: whole number of high-resolution pixels to a low-resolution one.
        enlarged: True for networks that want their input at the size of the output (SRCNN).
        first_step: batches to leave out, to continue an interrupted training.
        **stream: `patch_px`, `batch_size`, `steps`, `seed` as in `pairs.patches.patches`.

    Returns:
        tf.data.Dataset of (input, target), float32, 0 to 1 within the value range; target (batch, patch, patch,
        bands), input the same or a `scale`-th of it.
    """

    def pair(high_res):
        high_res = to_unit(high_res, value_range)
        low_res = degrade(high_res, scale)
        return (upsample(low_res, scale) if enlarged else low_res), high_res

    # one batch ahead suffices, and one call at a time leaves the cores to the training step
    return patches(scenes, first_step=first_step, **stream).map(pair, num_parallel_calls=1).prefetch(2)


def arrays(scenes, *, value_range, scale, patch_px):
    """The non-overlapping patches of some ground, for validation and test.

    Args:
        scenes: list of Scene.
        value_range: (low, high) per band.
        scale: whole number of high-resolution pixels to a low-resolution one.
        patch_px: side of a patch at high resolution.

    Returns:
        low_res, high_res: float32 arrays (patches, height, width, bands), not clipped.

    Raises:
        ValueError: there is not one whole patch without no-data pixels.
    """
    cuts = [patch.pixels for scene in scenes for patch in scene.patches(patch_px)]
    if not cuts:
        raise ValueError(f"no patch of {patch_px} x {patch_px} pixels without no-data pixels: use smaller patches")
    high_res = to_unit(np.stack(cuts), value_range)
    return degrade(high_res, scale).numpy(), high_res


def shrink_scene(scene, scale):
    """A scene as a coarser sensor would have seen it, with the transform that belongs to its larger pixels.

    Args:
        scene: Scene; up to `scale` - 1 rows and columns at the end are left out.
        scale: whole number of its pixels to a coarse one.

    Returns:
        Scene; no data wherever a pixel without data had any part in a coarse one.
    """
    scene = scene.cut(0, 0, scene.height // scale * scale, scene.width // scale * scale)
    coarse = degrade(np.nan_to_num(scene.pixels)[None], scale)[0].numpy()
    coarse[np.abs(degrade((~scene.valid)[None, ..., None].astype("float32"), scale)[0, ..., 0]) > 1e-6] = np.nan
    transform = scene.transform and scene.transform @ Affine.scale(scale)
    return replace(scene, pixels=coarse, transform=transform)
