"""Landscapes from a few numbers: a generator that learns from views alone, and what few images need."""

from helpers import metrics
from helpers.backend import keras, tf
from helpers.training.adversarial import fit_adversarial
from helpers.training.losses import energy_distance

# of augmentation: 1 shifts by up to an eighth of the side and cuts a hole of half of it; 0 changes nothing. The short
# trainings of a workshop see each image some twenty times: there, strong changes cost more than they save
STRENGTH = 0.3


def draw_latents(count, latent_size, key):
    """Numbers to make landscapes of, float32 (count, latent_size): even between -1 and 1, as in training.

    Args:
        count: of landscapes.
        latent_size: numbers for each.
        key: two whole numbers; the same give the same.
    """
    return tf.random.stateless_uniform([count, latent_size], key, -1, 1)


def augment_differentiably(images, key):
    """Change brightness, contrast and colour, shift, and cut a hole: so that few images are not learned by heart.

    Real and generated images are changed alike before they are judged, and the generator learns through the change;
    what it makes stays unchanged.

    Args:
        images: float32 (batch, side, side, bands), 0 to 1.
        key: two whole numbers to draw by; the same give the same.

    Returns:
        Tensor of the same shape; a little below 0 or above 1 here and there, edges repeated, grey in the hole.

    Source: Zhao et al. 2020 (differentiable augmentation), arXiv:2006.10738.
    """
    count, side = tf.shape(images)[0], images.shape[1]
    brightness, contrast, colour, *places = tf.unstack(tf.random.stateless_uniform([7, count, 1, 1, 1], key, -1, 1))
    images = images - 0.5 + 0.25 * STRENGTH * brightness
    for amount, axes in ((0.5 * contrast, [1, 2, 3]), (colour, [3])):
        mean = tf.reduce_mean(images, axis=axes, keepdims=True)
        images = (images - mean) * (1 + STRENGTH * amount) + mean
    shifts = [tf.cast(tf.round(place[:, 0, 0] * STRENGTH * side / 8), tf.int32) for place in places[:2]]
    rows, columns = (tf.one_hot(tf.clip_by_value(tf.range(side) + by, 0, side - 1), side) for by in shifts)
    images = tf.einsum("byxc,bny,bmx->bnmc", images, rows, columns)  # as products, whose gradient is cheap
    away = [tf.abs(tf.range(side, dtype="float32") - (place[:, 0, 0] + 1) / 2 * side) for place in places[2:]]
    hole = (away[0][:, :, None] < STRENGTH * side / 4) & (away[1][:, None] < STRENGTH * side / 4)
    return images * tf.cast(~hole, tf.float32)[..., None] + 0.5


def fit_latent_gan(
    generator, discriminator, make_dataset, *, steps, learning_rate, validation, seed=0, spread=20.0, steepness=0.1,
    device, checkpoint, reports=10, settings=None,
):  # fmt: skip
    """Train a generator of landscapes on views, and end with the weights whose landscapes resemble unseen views most.

    The learning rate falls in a straight line to a tenth. At every report, `kid_random` and `diversity` of the averaged
    generator are computed beside views of ground that it never saw. Measured with views from 2 m above the ground: an
    adversary alone took 300 steps to find sky and ground, and diversity was 0.5; with the energy distance it is 0.9
    after 100. Without the penalty on the discriminator's slope landscapes stay blurred; ten times as much of it, and
    their colours go wild.

    Args:
        generator: keras.Model from (batch, latent_size) to images, such as `models.landscape_generator`.
        discriminator: keras.Model on the list of one image, such as `models.landscape_discriminator`.
        make_dataset: function from the first step to a tf.data.Dataset of batches from there on; of tuples, the last
            member is the view.
        steps: optimiser steps in all.
        learning_rate: of both optimizers, at first.
        validation: views of other ground, float32 (count, side, side, 3).
        seed: of what landscapes are made of.
        spread: weight of `losses.energy_distance` beside the adversary.
        steepness: as of `Adversarial`.
        device, checkpoint, reports, settings: as of `fit`.

    Returns:
        keras.Model, the averaged generator; and the history as of `fit_adversarial`, with kid_random and diversity.

    Raises:
        ValueError: the checkpoint belongs to other settings.
    """
    size = generator.input_shape[-1]
    fixed, real = draw_latents(len(validation), size, [seed, -1]), metrics.random_features(validation)

    def with_latents(first):
        def draw(step, batch):
            view = batch[-1] if isinstance(batch, tuple) else batch
            return draw_latents(tf.shape(view)[0], size, tf.stack([tf.cast(seed, tf.int64), step])), view

        return make_dataset(first).enumerate(first).map(draw)

    def watch(model):
        made = model.predict(fixed, verbose=0)
        return {"kid_random": metrics.kid(real, metrics.random_features(made)),
                "diversity": metrics.diversity(made, validation)}  # fmt: skip

    return fit_adversarial(
        generator, discriminator, with_latents, terms={"spread": (spread, energy_distance)}, weight=1.0, steps=steps,
        learning_rate=keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, learning_rate / 10), decay=0.99,
        change=augment_differentiably, steepness=steepness, reports=reports, validation=None, watch=watch,
        keep_best="kid_random", settings={"seed": seed, "steepness": steepness} | (settings or {}),
        device=device, checkpoint=checkpoint,
    )  # fmt: skip
