"""What a generator is trained to make small: distances between images, and the adversary's opinion."""

from helpers.backend import keras, tf

ops = keras.ops
VGG_MEAN = (123.68, 116.779, 103.939)  # of ImageNet's red, green and blue, which VGG19 was trained around


def l1(target, estimate):
    """Mean absolute difference."""
    return ops.mean(ops.abs(target - estimate))


def l2(target, estimate):
    """Mean squared difference."""
    return ops.mean(ops.square(target - estimate))


def spectral_angle(value_range):
    """Loss: mean angle between the spectra of a pixel, radians; blind to brightness.

    Args:
        value_range: (low, high) per band, as the images are mapped to 0 … 1: an angle is one of measured values.

    Returns:
        Function of (target, estimate), float32 (batch, height, width, bands), to a number.
    """
    low, high = ops.transpose(ops.convert_to_tensor(value_range, "float32"))

    def angle(target, estimate):
        one, other = (image * (high - low) + low for image in (target, estimate))
        lengths = ops.sqrt(ops.sum(one**2, -1) * ops.sum(other**2, -1)) + 1e-6
        # the slope of arccos is endless at 1
        return ops.mean(ops.arccos(ops.clip(ops.sum(one * other, -1) / lengths, -1 + 1e-6, 1 - 1e-6)))

    return angle


def perceptual(bands, weights="imagenet"):
    """Loss: mean squared difference of VGG19's features, which follow what people notice.

    Args:
        bands: names of the images' bands; red, green and blue must be among them.
        weights: "imagenet", or path of the weights file (`vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5`).

    Returns:
        Function of (target, estimate), float32 (batch, height, width, bands), 0 … 1, to a number.

    Raises:
        ValueError: a band is missing, or the weights cannot be had (says how to get them).

    Source: Ledig et al. 2017 (SRGAN), arXiv:1609.04802: layer conv5_4 before pooling; features divided by 12.75.
    """
    missing = [band for band in ("red", "green", "blue") if band not in bands]
    if missing:
        raise ValueError(f"the perceptual loss looks at red, green and blue; there is no {', '.join(missing)}")
    try:
        whole = keras.applications.VGG19(include_top=False, weights=weights)
    except Exception as error:  # of the download or the file, which differ by Keras version
        raise ValueError(
            f"the weights of VGG19 cannot be had ({type(error).__name__}). With a network, Keras fetches them itself "
            "(80 MB); else copy vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 into ~/.keras/models, or give its "
            "path; or leave the perceptual term at 0"
        ) from error
    features = keras.Model(whole.input, whole.get_layer("block5_conv4").output, trainable=False)
    order = [bands.index(band) for band in ("blue", "green", "red")]

    def difference(target, estimate):
        seen = (255 * ops.take(image, order, axis=-1) - ops.array(VGG_MEAN[::-1]) for image in (target, estimate))
        one, other = (features(image) / 12.75 for image in seen)
        return ops.mean(ops.square(one - other))

    return difference


def _non_saturating(real, fake):
    """The discriminator's loss and the generator's; log 2 each where the discriminator cannot tell."""
    return ops.mean(ops.softplus(-real)) / 2 + ops.mean(ops.softplus(fake)) / 2, ops.mean(ops.softplus(-fake))


def _least_squares(real, fake):
    return ops.mean((real - 1) ** 2) / 2 + ops.mean(fake**2) / 2, ops.mean((fake - 1) ** 2)


def _wasserstein(real, fake):
    return ops.mean(fake) - ops.mean(real), -ops.mean(fake)


ADVERSARIES = {"non_saturating": _non_saturating, "lsgan": _least_squares, "wgan_gp": _wasserstein}


def gradient_penalty(discriminator, condition, real, fake, *, step=0):
    """How far the discriminator's slope is from 1 between real and generated images: what WGAN-GP adds.

    Args:
        discriminator: keras.Model on the list `condition + images`.
        condition: list of tensors that both are judged with, may be empty.
        real, fake: lists of tensors (batch, height, width, bands).
        step: which draws the places between them, so that a training that goes on draws the same.

    Returns:
        Number.

    Source: Gulrajani et al. 2017, arXiv:1704.00028.
    """
    share = tf.random.stateless_uniform([tf.shape(real[0])[0], 1, 1, 1], [0, tf.cast(step, tf.int32)])
    between = [share * one + (1 - share) * other for one, other in zip(real, fake, strict=True)]
    with tf.GradientTape() as tape:
        tape.watch(between)
        # one number an image: the mean over its patches
        judged = ops.sum(ops.mean(discriminator([*condition, *between], training=True), axis=(1, 2, 3)))
    squares = sum(ops.sum(gradient**2, axis=(1, 2, 3)) for gradient in tape.gradient(judged, between))
    return ops.mean((ops.sqrt(squares + 1e-12) - 1) ** 2)
