"""Compute generator and discriminator losses.

Images are float32 (batch, height, width, bands), 0 to 1. Unless stated, a loss is one number for
a batch.
"""

import numpy as np

from helpers.backend import keras, tf
from helpers.models import root

ops = keras.ops


def l1(target, estimate):
    """Return the mean absolute difference."""
    return ops.mean(ops.abs(target - estimate))


def l2(target, estimate):
    """Return the mean squared difference."""
    return ops.mean(ops.square(target - estimate))


def cleared(clear_weight, cloud_weight=0.25):
    """Return a loss for `models.cloud_remover`, a function of (target, estimate).

    Ground is compared by the roots of its reflectance, so that dark ground counts. Opacity and
    shadow, the last two bands, are compared by cross-entropy: without a loss of their own the
    network may learn to find no cloud at all, and then stop learning.

    Args:
        clear_weight: weight of a pixel without cloud and shadow.
        cloud_weight: smallest weight of another pixel, which counts by the light that passes.
    """

    def loss(target, estimate):
        truth = target[..., :-2]
        cover = target[..., -2:]
        answer = estimate[..., :-2]
        found = estimate[..., -2:]
        error = keras.losses.mean_absolute_error(
            root(truth),
            root(answer),
        )
        cover_error = keras.losses.binary_crossentropy(cover, found)
        passing = 1 - cover[..., 0]
        weights = ops.where(
            ops.max(cover, axis=-1) < 0.01,
            clear_weight,
            ops.maximum(passing, cloud_weight),
        )
        total = weights * error + 0.3 * cover_error
        return ops.mean(total)

    return loss


def spectral_angle(value_range):
    """Return a loss of (target, estimate): the mean angle between spectra, in radians.

    Args:
        value_range: (low, high) per band that became 0 to 1; angles are those of measured values.
    """
    low, high = np.array(value_range, "float32").T

    def angle(target, estimate):
        one = target * (high - low) + low
        other = estimate * (high - low) + low
        # keras.losses.cosine_similarity rounds otherwise: near 1 the slopes differ by 0.3 %
        squares = ops.sum(one**2, -1) * ops.sum(other**2, -1)
        cosine = ops.sum(one * other, -1) / (ops.sqrt(squares) + 1e-6)
        # the slope of arccos is endless at 1
        cosine = ops.clip(
            cosine,
            -1 + 1e-6,
            1 - 1e-6,
        )
        return ops.mean(ops.arccos(cosine))

    return angle


def grid(scale):
    """Return a loss of (target, estimate): how visible a grid of `scale` x `scale` pixels is.

    A generator that unfolds channels can brighten one pixel of every `scale` x `scale`, everywhere
    alike. So errors at each of these places are averaged over the image, and should be zero.
    """

    def loss(target, estimate):
        height, width, bands = target.shape[1:]
        cells = (-1, height // scale, scale, width // scale, scale, bands)
        errors = ops.reshape(estimate - target, cells)
        return ops.mean(ops.abs(ops.mean(errors, axis=(1, 3))))

    return loss


def ssim_loss(target, estimate):
    """Return 1 - SSIM (Wang et al. 2004) of each image, float32 (batch,), 0 to 2."""
    return 1 - tf.image.ssim(target, estimate, max_val=1.0)


# Scale of each part of `landscape`: the median difference of two places on training ground for
# edge directions, ten times it for skyline and hue, twenty times for brightness, which weather
# changes most. Measured on 140 training spots, each rendered twice: the rate at which the other
# view of a spot is found is 0.81 by skyline, 0.88 by hue, 0.86 by brightness and 1.00 by edge
# directions or by all four. With all four, another spot is never nearer than 1.1 times the own
# spot, and half the time 3.3 times as far.
LANDSCAPE_PARTS = {
    "skyline": 0.027,
    "hue": 0.29,
    "edges": 0.38,
    "brightness": 2.5,
}
LANDSCAPE_PX = 64
LANDSCAPE_SHIFTS = range(-2, 3)  # of two pixels each, as a compass is some degrees off
FAINT = 0.01  # slope of brightness, per pixel, below which an edge is too weak to have a direction


def landscape(target, estimate):
    """Compare two views of a place, whatever the weather: the custom loss of notebook 06.

    It compares the directions of edges on the ground, whatever their contrast. Skyline, hue and
    brightness of the ground weigh less, and a blue sky counts for nothing. Views are compared at
    a few shifts to the sides and the best one counts, as a camera's direction is not known
    exactly. A grey sky is not told from ground; its skyline then says nothing.

    Args:
        target, estimate: red, green and blue; square, 64 pixels or a multiple of that wide, made
            64 wide first. One may hold a single image for all of the other's.

    Returns:
        float32 (batch,), 0 for equal images, about 1.3 for views of different places.
    """
    one = _landmarks(target)
    other = _landmarks(estimate)
    apart = [_difference(one, other, shift) for shift in LANDSCAPE_SHIFTS]
    return ops.min(ops.stack(apart), axis=0)


def _difference(one, other, shift):
    """Sum the differences of the parts of two shifted views, each over its scale."""
    total = 0.0
    for name, scale in LANDSCAPE_PARTS.items():
        columns = 2 * shift if name == "skyline" else shift
        first = _cut(one[name], columns)
        second = _cut(other[name], -columns)
        compare = ops.square if name in ("skyline", "edges") else ops.abs
        difference = compare(first - second)
        total += ops.mean(difference, axis=(-3, -2, -1)) / scale
    return total


def _cut(image, columns):
    """Leave out columns at the left, or at the right if they are negative."""
    end = image.shape[-2] + min(columns, 0)
    return image[..., max(columns, 0) : end, :]


def _landmarks(image):
    """Return slopes of the skyline; hue, edges and brightness of the ground at half size."""
    if image.shape[2] > LANDSCAPE_PX:
        image = ops.average_pool(image, image.shape[2] // LANDSCAPE_PX)
    ground = _ground(image)
    grey = ops.mean(image, axis=-1, keepdims=True)
    edges = ops.average_pool(_slopes(grey), 2)
    half = ops.average_pool(image, 2)
    half_ground = ops.average_pool(ground, 2)
    squares = ops.sum(edges**2, axis=-1, keepdims=True)
    lengths = ops.sqrt(squares + FAINT**2)
    brightness = half_ground * half
    total = ops.sum(half, axis=-1, keepdims=True)
    return {
        "skyline": _slopes(ground),
        "hue": brightness / (total + 0.1),
        "edges": edges / lengths * half_ground,
        "brightness": brightness,
    }


def _ground(image):
    """Return how sure each pixel is ground: not blue sky, or below such a pixel."""
    sky = ops.sigmoid(40 * (image[..., 2:] - image[..., :1]))
    sky = ops.max_pool(sky, 3, 1, "same")  # small clouds are sky, too
    above = ops.cumsum(ops.log(sky + 1e-4), axis=1)
    return 1 - ops.exp(above)


def _slopes(plane):
    """Return how much a pixel rises downwards and to the right, for each pixel."""
    edges = tf.image.sobel_edges(plane)
    return edges[..., 0, :] / 8


def distances(loss, images, others):
    """Compute a loss of every image against every other, to choose a loss by.

    Args:
        loss: function of (target, estimate) to (batch,), such as `landscape`.
        images, others: (batch, height, width, 3).

    Returns:
        float32 array (images, others).
    """
    rows = [loss(others, image[None]) for image in images]
    return np.stack(rows)


def energy_distance(target, estimate):
    """Compare two batches as distributions; 0 where they cannot be told apart.

    It is twice the mean distance between real and generated rows, minus the mean distances within
    both. A generator that draws one landscape again and again is far from the many real ones.

    Args:
        target, estimate: float32 (batch, numbers); each column is divided by its deviation in
            the target.

    Source: Szekely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018.
    """
    target, estimate = _standardised(target, estimate)
    rows = target.shape[0]
    others = rows / (rows - 1)  # a row is at no distance from itself
    within = _lengths(target[:, None] - target)
    within += _lengths(estimate[:, None] - estimate)
    between = _lengths(target[:, None] - estimate)
    return 2 * ops.mean(between) - others * ops.mean(within)


def paired_distance(target, estimate):
    """Return the mean distance of rows of the second half of a batch to their own targets.

    The generator drew these from numbers that the encoder saw in the target. Scaled as in
    `energy_distance`.
    """
    half = target.shape[0] // 2
    target, estimate = _standardised(target[half:], estimate[half:])
    return ops.mean(_lengths(target - estimate))


def _standardised(target, estimate):
    columns = target.shape[1]
    scale = (ops.std(target, axis=0) + 1e-3) * columns**0.5
    return target / scale, estimate / scale


def _lengths(differences):
    squares = ops.sum(differences**2, axis=-1)
    return ops.sqrt(squares + 1e-6)


def non_saturating(real, fake):
    """Return discriminator and generator loss of logits; log 2 each at even odds."""
    errors = ops.softplus(-real) + ops.softplus(fake)
    opinion = ops.softplus(-fake)
    return ops.mean(errors) / 2, ops.mean(opinion)


def least_squares(real, fake):
    """Return discriminator and generator loss of logits: squared distances to 1 and 0."""
    errors = (real - 1) ** 2 + fake**2
    opinion = (fake - 1) ** 2
    return ops.mean(errors) / 2, ops.mean(opinion)


def wasserstein(real, fake):
    """Return discriminator and generator loss of logits: their means; needs a penalty."""
    return ops.mean(fake - real), -ops.mean(fake)


def hinge(real, fake):
    """Return discriminator and generator loss of logits: nothing is gained beyond 1 and -1."""
    errors = ops.relu(1 - real) + ops.relu(1 + fake)
    return ops.mean(errors), -ops.mean(fake)


ADVERSARIES = {
    "non_saturating": non_saturating,
    "lsgan": least_squares,
    "wgan_gp": wasserstein,
    "hinge": hinge,
}


def gradient_penalty(
    discriminator,
    condition,
    real,
    fake,
    *,
    step=0,
):
    """Compute the gradient penalty of WGAN-GP: slopes between real and generated should be 1.

    Args:
        discriminator: keras.Model on the list `condition + images`.
        condition: list of tensors that both are judged with, may be empty.
        real, fake: lists of tensors.
        step: which draws the places between them, so that a training that goes on draws the same.

    Source: Gulrajani et al. 2017, arXiv:1704.00028.
    """
    share = tf.random.stateless_uniform(
        [ops.shape(real[0])[0], 1, 1, 1],
        seed=[0, ops.cast(step, "int32")],
    )
    between = []
    for one, other in zip(real, fake, strict=True):
        between.append(share * one + (1 - share) * other)
    with tf.GradientTape() as tape:
        tape.watch(between)
        logits = discriminator([*condition, *between], training=True)
        # of an image: mean over its patches
        means = ops.mean(logits, axis=(1, 2, 3))
        judged = ops.sum(means)
    slopes = tape.gradient(judged, between)
    squares = sum(ops.sum(slope**2, axis=(1, 2, 3)) for slope in slopes)
    lengths = ops.sqrt(squares + 1e-12)
    return ops.mean((lengths - 1) ** 2)
