"""Train a generator of landscapes on views alone, and fit its latent numbers to a view."""

from functools import cache

import numpy as np

from helpers import features, metrics
from helpers.backend import keras, tf
from helpers.training import losses
from helpers.training.adversarial import fit_adversarial
from helpers.training.augment import augment

ops = keras.ops
ENERGY_WEIGHT = (
    5.0  # of `losses.energy_distance` of features, which keeps landscapes diverse
)
PAIRED_WEIGHT = (
    5.0  # of the features' distance between a view and the landscape of its numbers
)
STRENGTHS = 3e3, 1e4, 3e4, 1e5  # penalties of a ridge regression to choose from
_eyes = cache(features.backbone)  # to build one takes a second


def draw_latents(count, latent_size, key):
    """Draw numbers to make landscapes of, float32 (count, latent_size), even from -1 to 1.

    Args:
        count: of landscapes.
        latent_size: numbers for each.
        key: two whole numbers; the same give the same.
    """
    return tf.random.stateless_uniform([count, latent_size], key, -1, 1)


def diversity(images, real):
    """Compare how much images differ from each other with how much real ones do, by features.

    Args:
        images, real: float (batch, height, width, 3), 0 to 1; neighbours in a batch unrelated.

    Returns:
        float: mean `features.feature_distance` of neighbours, generated over real. 1 is as diverse,
        0 all the same.

    Raises:
        ValueError: fewer than two images, or all real ones are the same.
    """
    if min(len(images), len(real)) < 2:
        raise ValueError("one image has nothing to differ from; expected two or more")
    apart = [
        features.feature_distance(each, np.roll(each, 1, axis=0)).mean()
        for each in (images, real)
    ]
    if not apart[1] > 0:
        raise ValueError(
            "the real images are all the same: there is no diversity to compare with"
        )
    return float(apart[0] / apart[1])


def fit_landscapes(
    generator, discriminator, make_dataset, *, encoder, steps, learning_rate, validation, seed=0,
    device, checkpoint, reports,
):  # fmt: skip
    """Train a generator of landscapes on views; end with the weights of the best `kid_imagenet`.

    The learning rate falls in a straight line to a tenth. At every report, `kid_imagenet` and
    `diversity` of the averaged generator are computed beside views of ground that it never saw.

    Args:
        generator: keras.Model from (batch, latent_size) to images: `models.landscape_generator`.
        discriminator: keras.Model on the list of one image: `models.projected_discriminator`.
        make_dataset: function from the first step to a tf.data.Dataset of batches from there on,
            tuples whose last member is the view.
        encoder: keras.Model from a view to its numbers, trained beside: `models.view_encoder`.
        steps: optimiser steps in all.
        learning_rate: of both optimizers, at first.
        validation: views of other ground, float32 (count, side, side, 3).
        seed: of what landscapes are made of.
        device, checkpoint, reports: as of `fit`.

    Returns:
        keras.Model, the averaged generator; and the history as of `fit_adversarial`, with
        kid_imagenet and diversity.

    Raises:
        ValueError: the checkpoint belongs to other settings.
    """
    size = generator.input_shape[-1]
    fixed, real = (
        draw_latents(len(validation), size, [seed, -1]),
        features.embed(validation),
    )

    def with_latents(step, batch):
        *_, view = batch
        return draw_latents(view.shape[0], size, tf.stack([seed, step])), view

    def watch(model):
        made = np.clip(model.predict(fixed, verbose=0), 0, 1)
        kid = metrics.kid(real, features.embed(made))
        return {"kid_imagenet": kid, "diversity": diversity(made, validation)}

    terms = {
        "energy": (ENERGY_WEIGHT, losses.energy_distance),
        "paired": (PAIRED_WEIGHT, _paired),
    }
    rate = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, learning_rate / 10
    )
    return fit_adversarial(
        generator, discriminator,
        lambda first: make_dataset(first).enumerate(first).map(with_latents),
        terms=terms, weight=1.0, kind="hinge", steps=steps, learning_rate=rate, betas=(0.0, 0.99),
        decay=0.99, augment=augment, encoder=encoder, reports=reports, validation=None,
        watch=watch, keep_best="kid_imagenet", device=device, checkpoint=checkpoint,
        settings={"seed": seed},
    )  # fmt: skip


def _paired(target, estimate):
    """Compare the second half of a batch, which was drawn again from its own numbers."""
    half = target.shape[0] // 2
    return losses.paired_distance(target[half:], estimate[half:])


def view_features(views):
    """Describe views to find them again among others: ImageNet features on 4 x 4 squares.

    Two renderings of one validation spot in different weather find each other among 16 at a rate
    of 1.00; features averaged over the whole view do so at 0.96, outlines and colors at 0.90.

    Args:
        views: float (batch, side, side, 3), 0 to 1; a side of 64 px or a multiple.

    Returns:
        float32 (batch, 1792) of length 1: the stage with 112 channels.
    """
    network = _eyes(("112",))
    parts = [views[start : start + 32] for start in range(0, len(views), 32)]
    return np.concatenate([_squares(network(part)) for part in parts])


def fit_latents(generator, views, latents, *, steps):
    """Find the latents whose landscapes are nearest to views, as a perfect encoder would.

    Gradient steps through the frozen generator move the numbers towards the view's features at
    three scales and on 4 x 4 squares.

    Args:
        generator: keras.Model from (batch, latent_size) to images.
        views: float32 (batch, side, side, 3), 0 to 1.
        latents: float32 (batch, latent_size), the numbers to begin with.
        steps: gradient steps (Adam).

    Returns:
        float32 (batch, latent_size), -1 to 1.
    """
    network, found = _eyes(("24", "40", "112")), []

    @tf.function
    def slope(numbers, targets):
        with tf.GradientTape() as tape:
            tape.watch(numbers)
            made = network(generator(numbers, training=False))
            alike = 2 * ops.sum(_squares(made[2]) * _squares(targets[2]))
            for one, other in zip(made, targets, strict=True):
                alike += ops.sum(_unit(one) * _unit(other)) / one.shape[1] ** 2 / 3
        return -tape.gradient(alike, numbers)

    for start in range(0, len(views), 20):
        targets = network(views[start : start + 20])
        numbers = tf.Variable(latents[start : start + 20])
        rate = keras.optimizers.schedules.PolynomialDecay(0.04, steps, 0.0)
        optimizer = keras.optimizers.Adam(rate, 0.9, 0.99)
        for _ in range(steps):
            optimizer.apply([slope(numbers.value(), targets)], [numbers])
            numbers.assign(ops.clip(numbers, -1, 1))
        found.append(numbers.numpy())
    return np.concatenate(found)


def square_loss():
    """Make a loss that compares views as `view_features` describes them.

    Returns:
        Function of (target, estimate), float (batch, side, side, 3), to (batch,): 0 for equal
        views, 2 for views that have nothing in common.
    """
    network = _eyes(("112",))

    def loss(target, estimate):
        one, other = (_squares(network(views)) for views in (target, estimate))
        return ops.sum((one - other) ** 2, axis=1)

    return loss


def fit_ridge(inputs, targets, validation):
    """Fit a linear layer by ridge regression, with more inputs than samples.

    Args:
        inputs, targets: float (samples, columns), of training ground.
        validation: (inputs, targets) of other ground, on which the strength of the penalty is
            chosen among `STRENGTHS`; inputs are standardised.

    Returns:
        tuple: kernel and bias of a Dense layer for the inputs as they are, and the strength.
    """
    mean, scale = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    rows, middle = (inputs - mean) / scale, targets.mean(axis=0)
    products, found = rows @ rows.T, {}  # as wide as there are samples
    for strength in STRENGTHS:
        ridge = products + strength * np.eye(len(rows))
        kernel = rows.T @ np.linalg.solve(ridge, targets - middle) / scale[:, None]
        bias = middle - mean @ kernel
        error = ((validation[0] @ kernel + bias - validation[1]) ** 2).mean()
        found[error] = kernel, bias, strength
    return found[min(found)]


def _squares(feature_map):
    means = ops.average_pool(feature_map, feature_map.shape[1] // 4)
    return _unit(keras.layers.Flatten()(means))


def _unit(vectors):
    return vectors / (ops.norm(vectors, axis=-1, keepdims=True) + 1e-6)
