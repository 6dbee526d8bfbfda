"""Differentiable augmentation of images before a discriminator judges them."""

from helpers.backend import keras

ops = keras.ops


def augment(images, draws):
    """Change brightness, saturation and contrast, and shift by up to an eighth of the side.

    Real and generated images are changed alike before they are judged, so that a discriminator
    cannot learn a few images by heart. Shifts also hide the grid of the discriminator's strides.

    Args:
        images: float32 (batch, side, side, bands), 0 to 1.
        draws: float32 (batch, 5), even from -1 to 1; equal draws change images equally.

    Returns:
        Tensor of the same shape; a little below 0 or above 1 here and there. Shifted edges are
        filled with the mirror image.

    Source: Zhao et al. 2020 (differentiable augmentation), arXiv:2006.10738.
    """
    side = images.shape[1]
    brightness, saturation, contrast = (draws[:, i, None, None, None] for i in range(3))
    images = images + 0.15 * brightness
    for amount, axes in ((0.6 * saturation, (3,)), (0.3 * contrast, (1, 2, 3))):
        mean = ops.mean(images, axis=axes, keepdims=True)
        images = (images - mean) * (1 + amount) + mean
    moved = ops.arange(side) + ops.cast(ops.round(draws[:, 3:, None] * (side // 8)), "int32")
    mirrored = side - 1 - ops.abs(side - 1 - ops.abs(moved))
    rows, columns = (ops.one_hot(mirrored[:, axis], side, dtype=images.dtype) for axis in (0, 1))
    # as products of matrices, whose gradient is cheap
    return ops.einsum("byxc,bny,bmx->bnmc", images, rows, columns)
