"""Train a generator of landscapes on views alone, and fit its latent numbers to a view."""

import numpy as np

from helpers import features, metrics
from helpers.backend import keras, tf
from helpers.training import losses
from helpers.training.adversarial import fit_adversarial
from helpers.training.augment import augment

ops = keras.ops
STRENGTHS = 3e3, 1e4, 3e4, 1e5  # penalties of a ridge regression to choose from


def draw_latents(count, latent_size, key):
    """Draw latents, float32 (count, latent_size), uniform from -1 to 1.

    Args:
        count: of landscapes.
        latent_size: numbers for each.
        key: two whole numbers; the same give the same.
    """
    return tf.random.stateless_uniform([count, latent_size], key, -1, 1)


def diversity(images, real):
    """Compute how much images differ from each other, divided by the same for real ones.

    Args:
        images, real: float (batch, height, width, 3), 0 to 1; neighbours in a batch unrelated.

    Returns:
        float: mean `features.neighbour_distance`, generated over real. 1 is as diverse,
        0 all the same.

    Raises:
        ValueError: fewer than two images, or all real ones are the same.
    """
    made, true = (np.mean(features.neighbour_distance(each)) for each in (images, real))
    if len(images) < 2 or not true > 0:
        raise ValueError(
            "no diversity to compare: expected two images or more, and different real ones"
        )
    return float(made / true)


def fit_landscapes(
    generator, discriminator, make_dataset, *, encoder, steps, learning_rate, validation, seed=0,
    **options,
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
        options: `device`, `checkpoint`, `reports`, as of `fit`.

    Returns:
        keras.Model, the averaged generator; and the history as of `fit_adversarial`, with
        kid_imagenet and diversity.

    Raises:
        ValueError: the checkpoint belongs to other settings.
    """
    size = generator.input_shape[-1]
    fixed = draw_latents(len(validation), size, [seed, -1])
    real = features.embed(validation)

    def with_latents(step, batch):
        *_, view = batch
        return draw_latents(view.shape[0], size, tf.stack([seed, step])), view

    def make_numbered(first):
        return make_dataset(first).enumerate(first).map(with_latents)

    def watch(model):
        made = np.clip(model.predict(fixed, verbose=0), 0, 1)
        kid = metrics.kid(real, features.embed(made))
        return {"kid_imagenet": kid, "diversity": diversity(made, validation)}

    rate = keras.optimizers.schedules.PolynomialDecay(
        learning_rate, steps, learning_rate / 10
    )
    return fit_adversarial(
        generator,
        discriminator,
        make_numbered,
        encoder=encoder,
        terms={
            "energy": (5.0, losses.energy_distance),  # keeps landscapes diverse
            "paired": (5.0, losses.paired_distance),
        },
        weight=1.0,
        kind="hinge",
        augment=augment,
        steps=steps,
        learning_rate=rate,
        betas=(0.0, 0.99),
        decay=0.99,
        validation=None,
        watch=watch,
        keep_best="kid_imagenet",
        settings={"seed": seed},
        **options,
    )


def view_features(views):
    """Describe views to find them again among others: ImageNet features on 4 x 4 squares.

    Two renderings of one validation spot in different weather find each other among 16 at a rate
    of 1.00; features averaged over the whole view do so at 0.96, outlines and colors at 0.90.

    Args:
        views: float (batch, side, side, 3), 0 to 1; a side of 64 px or a multiple.

    Returns:
        float32 (batch, 1792) of length 1: the stage with 112 channels.
    """
    network = features.shared_backbone(("112",))

    def described(batch):
        return _squares(network.predict_on_batch(batch))

    return features.in_batches(described, views)


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
    network = features.shared_backbone(("24", "40", "112"))

    @tf.function
    def slope(numbers, targets):
        with tf.GradientTape() as tape:
            tape.watch(numbers)
            made = network(generator(numbers, training=False))
            alike = 2 * ops.sum(_squares(made[2]) * _squares(targets[2]))
            for one, other in zip(made, targets, strict=True):
                pixels = one.shape[1] ** 2
                alike += ops.sum(_unit(one) * _unit(other)) / pixels / 3
        return -tape.gradient(alike, numbers)

    def fitted(some, begin):
        targets = network.predict_on_batch(some)
        numbers = tf.Variable(begin)
        rate = keras.optimizers.schedules.PolynomialDecay(0.04, steps, 0.0)
        optimizer = keras.optimizers.Adam(rate, 0.9, 0.99)
        for _ in range(steps):
            optimizer.apply([slope(numbers.value(), targets)], [numbers])
            numbers.assign(ops.clip(numbers, -1, 1))
        return numbers.numpy()

    return features.in_batches(fitted, views, latents, size=20)


def square_loss(target, estimate):
    """Compare views as `view_features` describes them.

    Args:
        target, estimate: float (batch, side, side, 3), 0 to 1.

    Returns:
        float32 (batch,): 0 for equal views, 2 for views that have nothing in common.
    """
    return ops.sum((_described(target) - _described(estimate)) ** 2, axis=1)


def fit_ridge(inputs, targets, validation):
    """Fit a linear layer by ridge regression, with more inputs than samples.

    Args:
        inputs, targets: float (samples, columns), of training ground.
        validation: (inputs, targets) of other ground, on which the strength of the penalty is
            chosen among `STRENGTHS`; inputs are standardised.

    Returns:
        tuple: kernel and bias of a Dense layer for the inputs as they are, and the strength.
    """
    from scipy.linalg import solve

    mean = inputs.mean(axis=0)
    scale = inputs.std(axis=0) + 1e-3
    rows = (inputs - mean) / scale
    middle = targets.mean(axis=0)
    products = rows @ rows.T  # as wide as there are samples
    found = {}
    for strength in STRENGTHS:
        ridge = products + strength * np.eye(len(rows))
        kernel = rows.T @ solve(ridge, targets - middle, assume_a="pos")
        kernel /= scale[:, None]
        bias = middle - mean @ kernel
        error = ((validation[0] @ kernel + bias - validation[1]) ** 2).mean()
        found[error] = kernel, bias, strength
    return found[min(found)]


def _described(views):
    """Return features of length 1, (batch, 1792), on 4 x 4 squares."""
    return _squares(features.shared_backbone(("112",))(views))


def _squares(feature_map):
    means = ops.average_pool(feature_map, feature_map.shape[1] // 4)
    return _unit(keras.layers.Flatten()(means))


def _unit(vectors):
    return vectors / (ops.norm(vectors, axis=-1, keepdims=True) + 1e-6)
