"""Differentiable augmentation of images before a discriminator judges them."""

from helpers.backend import keras

ops = keras.ops


def augment(images, draws):
    """Change brightness, saturation and contrast, and shift by up to an eighth of the side.

    Real and generated images are changed alike before they are judged, so that a discriminator
    cannot memorise a few images. Shifts also hide the grid of the discriminator's strides.

    Args:
        images: float32 (batch, side, side, bands), 0 to 1.
        draws: float32 (batch, 5), uniform from -1 to 1; equal draws change images equally.

    Returns:
        Tensor of the same shape; a little below 0 or above 1 here and there. Shifted edges are
        filled with the mirror image.

    Source: Zhao et al. 2020 (differentiable augmentation), arXiv:2006.10738.
    """
    brightness, saturation, contrast, down, right = ops.unstack(draws, axis=1)
    images = images + 0.15 * brightness[:, None, None, None]
    images = _from_mean(
        images,
        1 + 0.6 * saturation,
        axes=3,
    )
    images = _from_mean(
        images,
        1 + 0.3 * contrast,
        axes=(1, 2, 3),
    )
    return ops.einsum(  # products of matrices have a cheap gradient
        "byxc,bny,bmx->bnmc",
        images,
        _shift(down, images.shape[1]),
        _shift(right, images.shape[1]),
    )


def _from_mean(images, factor, axes):
    """Bring values nearer to their mean, or further from it."""
    mean = ops.mean(images, axis=axes, keepdims=True)
    factor = factor[:, None, None, None]
    return (images - mean) * factor + mean


def _shift(draws, side):
    """Return matrices (batch, side, side) that shift by up to an eighth of the side."""
    shift = ops.round(draws * (side // 8))
    place = ops.arange(side) + ops.cast(shift[:, None], "int32")
    place = ops.abs(place)  # mirrored at the first pixel
    place = side - 1 - ops.abs(side - 1 - place)  # and at the last
    return ops.one_hot(place, side)
