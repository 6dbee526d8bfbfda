"""Differentiable augmentation of images before a discriminator judges them."""

from helpers.backend import keras

ops = keras.ops


def augment(images, draws):
    """Change brightness, saturation and contrast, and shift by up to an eighth of the side.

    Real and generated images are changed alike before they are judged, so that a discriminator
    cannot memorise a few images. Shifts also hide the grid of the discriminator's strides.

    Args:
        images: float32 (batch, side, side, bands), 0 to 1.
        draws: float32 (batch, 5), even from -1 to 1; equal draws change images equally.

    Returns:
        Tensor of the same shape; a little below 0 or above 1 here and there. Shifted edges are
        filled with the mirror image.

    Source: Zhao et al. 2020 (differentiable augmentation), arXiv:2006.10738.
    """
    brightness, saturation, contrast = (draws[:, i, None, None, None] for i in range(3))
    images = images + 0.15 * brightness
    images = _from_mean(images, 1 + 0.6 * saturation, axes=(3,))
    images = _from_mean(images, 1 + 0.3 * contrast, axes=(1, 2, 3))
    rows, columns = (_shift(draws[:, i], images.shape[1], images.dtype) for i in (3, 4))
    # as products of matrices, whose gradient is cheap
    return ops.einsum("byxc,bny,bmx->bnmc", images, rows, columns)


def _from_mean(images, factor, axes):
    """Bring values nearer to their mean, or further from it."""
    mean = ops.mean(images, axis=axes, keepdims=True)
    return (images - mean) * factor + mean


def _shift(draws, side, dtype):
    """Return matrices (batch, side, side) that shift by up to an eighth of the side."""
    shift = ops.cast(ops.round(draws * (side // 8)), "int32")
    place = ops.arange(side) + shift[:, None]
    mirrored = side - 1 - ops.abs(side - 1 - ops.abs(place))
    return ops.one_hot(mirrored, side, dtype=dtype)
