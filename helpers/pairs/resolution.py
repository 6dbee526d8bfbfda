"""Low- and high-resolution pairs: what a coarser sensor would have seen of the same ground.

`scale` is the whole number of high-resolution pixels to a low-resolution one; `value_range`, (low,
high) per band, is what networks see as 0 to 1.
"""

from dataclasses import replace

import numpy as np
from rasterio.transform import Affine

from helpers.backend import tf
from helpers.pairs.patches import patches, whole_patches
from helpers.scenes import to_unit


def degrade(high_res, scale):
    """Shrink images as the super-resolution literature does: bicubic, antialiased.

    Args:
        high_res: float (batch, height, width, bands); sides are multiples of `scale`.

    Returns:
        float32 tensor (batch, height / scale, width / scale, bands), same unit.

    Raises:
        ValueError: a side is no multiple of `scale`.

    Source: cubic convolution with a = -0.5 (Keys 1981), stretched by `scale`; cross-checked against
    Pillow.
    """
    height, width = high_res.shape[1:3]
    if height % scale or width % scale:
        raise ValueError(
            f"{height} x {width} pixels cannot be shrunk {scale} times: cut to multiples of "
            f"{scale} first"
        )
    return tf.image.resize(
        high_res,
        [height // scale, width // scale],
        "bicubic",
        antialias=True,
    )


def upsample(low_res, scale):
    """Enlarge images by bicubic interpolation: the baseline, and the input of SRCNN.

    Args:
        low_res: float (batch, height, width, bands).

    Returns:
        float32 tensor (batch, height * scale, width * scale, bands), same unit.
    """
    return tf.image.resize(low_res, tf.shape(low_res)[1:3] * scale, "bicubic")


def dataset(
    scenes,
    *,
    value_range,
    scale,
    enlarged,
    **stream,
):
    """Stream training pairs, degraded here, or as two sensors saw the ground.

    Args:
        scenes: list of Scene of training ground. Of two sensors, bands of the coarse one follow
            those of the fine one, each pixel repeated `scale` x `scale` times.
        enlarged: True for networks that want their input at the size of the output (SRCNN).
        **stream: `patch_px`, `batch_size`, `steps`, `first_step`, `seed` as of `patches.patches`.

    Returns:
        tf.data.Dataset of (input, target), float32, 0 to 1 within the value range; target (batch,
        patch, patch, bands), input the same or a `scale`-th of it.
    """

    def pair(pixels):
        low_res, high_res = _low_and_high(pixels, value_range, scale)
        return (upsample(low_res, scale) if enlarged else low_res), high_res

    align = 1 if len(scenes[0].bands) == len(value_range) else scale
    return patches(scenes, align=align, finish=pair, **stream)


def _low_and_high(pixels, value_range, scale):
    """Return the pair of a batch: degraded, or of two sensors where bands of both are there."""
    bands = len(value_range)
    high_res = to_unit(pixels[..., :bands], value_range)
    if pixels.shape[-1] == bands:
        return degrade(high_res, scale), high_res
    return to_unit(pixels[:, ::scale, ::scale, bands:], value_range), high_res


def arrays(
    scenes,
    *,
    value_range,
    scale,
    patch_px,
):
    """Cut ground into pairs of patches that do not overlap, for validation and test.

    Args:
        scenes: list of Scene.
        patch_px: side of a patch at high resolution.

    Returns:
        low_res, high_res: float32 arrays (patches, height, width, bands), not clipped.

    Raises:
        ValueError: there is not one whole patch without no-data pixels.
    """
    pixels = [patch.pixels for patch in whole_patches(scenes, patch_px)]
    low_res, high_res = _low_and_high(np.stack(pixels), value_range, scale)
    return np.asarray(low_res), high_res


def shrink_scene(scene, scale):
    """Shrink a scene to what a coarser sensor would have seen; its transform fits the new pixels.

    Args:
        scene: Scene; up to `scale` - 1 rows and columns at the end are left out.

    Returns:
        Scene; no data wherever a pixel without data had any part in a coarse one.
    """
    scene = scene.cut(
        row=0,
        column=0,
        height=scene.height // scale * scale,
        width=scene.width // scale * scale,
    )
    # NaN spreads as far as it counts
    coarse = degrade(scene.pixels[None], scale)[0].numpy()
    transform = scene.transform and scene.transform @ Affine.scale(scale)
    return replace(scene, pixels=coarse, transform=transform)
