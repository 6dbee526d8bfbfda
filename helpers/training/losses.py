"""Compute generator and discriminator losses.

Images are float32 (batch, height, width, bands), 0 to 1. Unless stated, a loss is one number for
a batch.
"""

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
        ground = ops.mean(
            ops.abs(root(target[..., :-2]) - root(estimate[..., :-2])), axis=-1
        )
        is_clear = ops.max(target[..., -2:], axis=-1) < 0.01
        weights = ops.where(
            is_clear, clear_weight, ops.maximum(1 - target[..., -2], cloud_weight)
        )
        found = ops.mean(
            ops.binary_crossentropy(target[..., -2:], estimate[..., -2:]), axis=-1
        )
        return ops.mean(weights * ground + 0.3 * found)

    return loss


def balanced_cross_entropy(share, power):
    """Return a cross-entropy of (classes, chances) in which rare classes count more.

    Args:
        share: float (classes,), of the ground, above 0.
        power: a class counts as its share to minus this power; at 0, all pixels count alike.

    Returns:
        Function of int (batch, height, width) and float (batch, height, width, classes) to
        (batch,).
    """
    weight = share**-power / (share**-power @ share)

    def loss(classes, chances):
        classes = ops.cast(classes, "int32")
        chance = tf.gather(chances, classes, batch_dims=3)
        weights = tf.gather(ops.cast(weight, "float32"), classes)
        return -ops.mean(weights * ops.log(chance + 1e-6), axis=(1, 2))

    return loss


def spectral_angle(value_range):
    """Return a loss of (target, estimate): the mean angle between spectra, in radians.

    It is blind to brightness.

    Args:
        value_range: (low, high) per band that became 0 to 1; angles are those of measured values.
    """
    low, high = ops.transpose(ops.convert_to_tensor(value_range, "float32"))

    def angle(target, estimate):
        one, other = (image * (high - low) + low for image in (target, estimate))
        # keras.losses.cosine_similarity rounds otherwise: near 1 the slopes differ by 0.3 %
        lengths = ops.sqrt(ops.sum(one**2, -1) * ops.sum(other**2, -1)) + 1e-6
        cosine = ops.sum(one * other, -1) / lengths
        # the slope of arccos is endless at 1
        return ops.mean(ops.arccos(ops.clip(cosine, -1 + 1e-6, 1 - 1e-6)))

    return angle


def ssim_loss(target, estimate):
    """Return 1 - SSIM of each image, float32 (batch,), 0 to 2; zero where they are the same.

    Args:
        target, estimate: one may hold a single image for all of the other's.

    Source: Wang et al. 2004, as in tf.image.
    """
    return 1 - tf.image.ssim(target, estimate, max_val=1.0)


# Scale of each part of `landscape`: the median difference of two places on training ground for
# edge directions, ten times it for skyline and hue, twenty times for brightness, which weather
# changes most. Measured on 140 training spots, each rendered twice: the rate at which the other
# view of a spot is found is 0.81 by skyline, 0.88 by hue, 0.86 by brightness and 1.00 by edge
# directions or by all four. With all four, another spot is never nearer than 1.1 times the own
# spot, and half the time 3.3 times as far.
LANDSCAPE_PARTS = {"skyline": 0.027, "hue": 0.29, "edges": 0.38, "brightness": 2.5}
LANDSCAPE_PX = 64
LANDSCAPE_SHIFTS = range(-2, 3)  # of two pixels each, as a compass is some degrees off
SOBEL = [
    [[-1, -1], [0, -2], [1, -1]],
    [[-2, 0], [0, 0], [2, 0]],
    [[-1, 1], [0, 2], [1, 1]],
]
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
    one, other = _landmarks(target), _landmarks(estimate)
    apart = [_difference(one, other, shift) for shift in LANDSCAPE_SHIFTS]
    return ops.min(ops.stack(apart), axis=0)


def _difference(one, other, shift):
    """Sum the differences of the parts of two shifted views, each over its scale."""
    total = 0.0
    for name, scale in LANDSCAPE_PARTS.items():
        width = one[name].shape[-2]
        by = shift * width * 2 // LANDSCAPE_PX
        difference = _cut(one[name], by, width) - _cut(other[name], -by, width)
        compare = ops.square if name in ("skyline", "edges") else ops.abs
        total += ops.mean(compare(difference), axis=(-3, -2, -1)) / scale
    return total


def _cut(image, by, width):
    return image[..., max(by, 0) : width + min(by, 0), :]


def _landmarks(image):
    """Return the skyline's slopes; and at half size hue, direction of edges and brightness.

    The latter three are of the ground only.
    """
    if image.shape[2] > LANDSCAPE_PX:
        image = ops.average_pool(image, image.shape[2] // LANDSCAPE_PX)
    half, ground = ops.average_pool(image, 2), _ground(image)
    half_ground = ops.average_pool(ground, 2)
    brightness = half_ground * half
    edges = ops.average_pool(_slopes(ops.mean(image, axis=-1, keepdims=True)), 2)
    length = ops.sqrt(ops.sum(ops.square(edges), axis=-1, keepdims=True) + FAINT**2)
    return {
        "skyline": _slopes(ground),
        "hue": brightness / (ops.sum(half, axis=-1, keepdims=True) + 0.1),
        "edges": edges / length * half_ground,
        "brightness": brightness,
    }


def _ground(image):
    """Return how much a pixel is ground: all from the first one down that is not blue sky."""
    blue = ops.sigmoid(40 * (image[..., 2:] - image[..., :1]))
    blue = ops.max_pool(blue, 3, 1, "same")  # small clouds are sky, too
    return 1 - ops.exp(ops.cumsum(ops.log(blue + 1e-4), axis=1))


def _slopes(plane):
    """Return how much a pixel rises to the right and down (Sobel)."""
    edge = ops.pad(plane, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="reflect")
    return ops.conv(edge, ops.array(SOBEL, "float32")[:, :, None] / 8)


def distances(loss, images, others):
    """Compute a loss of every image against every other, to choose a loss by.

    Args:
        loss: function of (target, estimate) to (batch,), such as `landscape` or one of Keras.
        images, others: (batch, height, width, 3).

    Returns:
        float32 array (images, others).
    """

    @tf.function
    def row(image):
        apart = loss(tf.convert_to_tensor(others), image[None])
        pixels = range(1, len(apart.shape))  # which losses of Keras keep apart
        return tf.reduce_mean(apart, axis=pixels)

    return tf.map_fn(row, tf.convert_to_tensor(images)).numpy()


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
    count = ops.cast(ops.shape(target)[0], "float32")
    others = count / (count - 1)  # a row is at no distance from itself
    within = _lengths(target, target) + _lengths(estimate, estimate)
    return 2 * ops.mean(_lengths(target, estimate)) - others * ops.mean(within)


def paired_distance(target, estimate):
    """Return the mean distance of each row to its own target, scaled as in `energy_distance`."""
    target, estimate = _standardised(target, estimate)
    return ops.mean(ops.sqrt(ops.sum((target - estimate) ** 2, axis=1) + 1e-6))


def _standardised(target, estimate):
    scale = (ops.std(target, axis=0) + 1e-3) * target.shape[1] ** 0.5
    return target / scale, estimate / scale


def _lengths(some, others):
    """Return the distance of every row of one batch to every row of another."""
    return ops.sqrt(ops.sum((some[:, None] - others) ** 2, axis=-1) + 1e-6)


def non_saturating(real, fake):
    """Return discriminator and generator loss of logits; log 2 each if it is undecided."""
    judge_loss = ops.mean(ops.softplus(-real) + ops.softplus(fake)) / 2
    return judge_loss, ops.mean(ops.softplus(-fake))


def least_squares(real, fake):
    """Return discriminator and generator loss of logits: squared distances to 1 and 0."""
    judge_loss = ops.mean((real - 1) ** 2 + fake**2) / 2
    return judge_loss, ops.mean((fake - 1) ** 2)


def wasserstein(real, fake):
    """Return discriminator and generator loss of logits: their means; needs a penalty."""
    return ops.mean(fake - real), -ops.mean(fake)


def hinge(real, fake):
    """Return discriminator and generator loss of logits: nothing is gained beyond 1 and -1."""
    judge_loss = ops.mean(ops.relu(1 - real) + ops.relu(1 + fake))
    return judge_loss, -ops.mean(fake)


ADVERSARIES = {
    "non_saturating": non_saturating,
    "lsgan": least_squares,
    "wgan_gp": wasserstein,
    "hinge": hinge,
}


def gradient_penalty(discriminator, condition, real, fake, *, step=0):
    """Compute the gradient penalty of WGAN-GP: slopes between real and generated should be 1.

    Args:
        discriminator: keras.Model on the list `condition + images`.
        condition: list of tensors that both are judged with, may be empty.
        real, fake: lists of tensors.
        step: which draws the places between them, so that a training that goes on draws the same.

    Source: Gulrajani et al. 2017, arXiv:1704.00028.
    """
    size, key = [tf.shape(real[0])[0], 1, 1, 1], [0, tf.cast(step, tf.int32)]
    share = tf.random.stateless_uniform(size, key)
    between = [
        share * one + (1 - share) * other for one, other in zip(real, fake, strict=True)
    ]
    with tf.GradientTape() as tape:
        tape.watch(between)
        logits = discriminator([*condition, *between], training=True)
        judged = ops.sum(
            ops.mean(logits, axis=(1, 2, 3))
        )  # of an image: mean over its patches
    slopes = tape.gradient(judged, between)
    squares = sum(ops.sum(slope**2, axis=(1, 2, 3)) for slope in slopes)
    return ops.mean((ops.sqrt(squares + 1e-12) - 1) ** 2)
