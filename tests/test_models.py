"""U-Nets and patch discriminators: sizes, what they begin as, how far they see, and that they can be saved."""

import numpy as np
import pytest

from helpers import models
from helpers.backend import keras, tf

LIGHT = [1.5, 2.3, 2.9]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((2, 32, 48, 3)).astype("float32")


@pytest.mark.parametrize("published", [False, True])
def test_a_unet_answers_at_the_size_of_its_input(image, published):
    network = models.unet(3, bands_out=4, filters=8, depth=3, published=published)
    answer = np.asarray(network(image))
    assert answer.shape == (2, 32, 48, 4) and answer.dtype == "float32"
    if published:  # squeezed by tanh
        assert answer.min() >= 0 and answer.max() <= 1


def test_the_published_unet_normalises_by_batch_and_drops_out():
    kinds = {type(layer).__name__ for layer in models.unet(3, filters=8, depth=5, published=True).layers}
    assert {"BatchNormalization", "Conv2DTranspose", "Dropout"} <= kinds
    kinds = {type(layer).__name__ for layer in models.unet(3, filters=8, depth=5).layers}
    assert not kinds & {"BatchNormalization", "Conv2DTranspose", "Dropout"}


def test_a_cloud_remover_loads_again_and_answers_the_same(image, tmp_path):
    network = models.cloud_remover(3, light=LIGHT, filters=8, depth=3)
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(image), network(image))


def test_no_part_of_a_cloud_remover_is_dead_at_first(image):
    """Every weight but those behind layers that begin as zero gets a gradient in the first step or the second."""
    keras.utils.set_random_seed(0)
    network = models.cloud_remover(3, light=LIGHT, filters=8, depth=3)
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(network(image * 2) - image))
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_receptive_field_of_a_unet_is_what_windows_need(depth):
    """Cut with that margin at multiples, a part equals the whole; with less, it does not."""
    keras.utils.set_random_seed(1)
    network, multiple = models.unet(1, filters=4, depth=depth), 2**depth
    field = models.receptive_field_px(network, multiple=multiple)
    margin = -(-(field // 2) // multiple) * multiple
    side = multiple * 2 + 2 * margin
    big = np.random.default_rng(2).random((1, side + 2 * multiple, side + 2 * multiple, 1)).astype("float32")
    whole = np.asarray(network(big))
    start = multiple + margin
    expected = whole[:, start : start + 2 * multiple, start : start + 2 * multiple]
    part = np.asarray(network(big[:, multiple:-multiple, multiple:-multiple]))[:, margin:-margin, margin:-margin]
    np.testing.assert_allclose(part, expected, atol=1e-5)
    less = margin - multiple
    cut = slice(2 * multiple, -2 * multiple)
    part = np.asarray(network(big[:, cut, cut]))[:, less : less + 2 * multiple, less : less + 2 * multiple]
    assert np.abs(part - expected).max() > 1e-5


@pytest.mark.parametrize("field", [1, 16, 34, 70, 142])
def test_a_patch_discriminator_sees_what_it_says(field):
    """Measured by the gradient of one logit of a network without padding effects."""
    network = models.patch_discriminator(1, receptive_field_px=field, filters=2)
    weights = [np.full_like(w, 1 / max(1, w.size)) if w.ndim > 1 else np.zeros_like(w) for w in network.get_weights()]
    network.set_weights(weights)
    image = tf.Variable(tf.ones((1, 512, 512, 1)))
    with tf.GradientTape() as tape:
        logits = network(image)
        one = logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]
    reached = np.flatnonzero(np.abs(tape.gradient(one, image)[0, ..., 0]).max(axis=0) > 0)
    assert np.ptp(reached) + 1 == field


def test_a_conditional_discriminator_takes_the_input_first(image):
    network = models.patch_discriminator(1, condition=3, receptive_field_px=16, filters=4)
    assert [tensor.shape[-1] for tensor in network.inputs] == [3, 1]
    assert network([image, image[..., :1]]).shape[-1] == 1


def test_an_impossible_receptive_field_names_the_possible_ones():
    with pytest.raises(ValueError, match="50 pixels; expected 1, 16, 34, 70, 142, 286"):
        models.patch_discriminator(3, receptive_field_px=50)


# --- landscapes


def grid_strength(transposed):
    """How much of a new generator's detail is a pattern of single pixels: the share of the highest frequencies."""
    keras.utils.set_random_seed(0)
    network = models.landscape_generator(filters=4, transposed=transposed)
    images = np.asarray(network(np.random.default_rng(0).uniform(-1, 1, (32, 4)).astype("float32")))[:, 8:-8, 8:-8]
    power = np.abs(np.fft.fft2(images - images.mean(axis=(1, 2), keepdims=True), axes=(1, 2))).mean(axis=(0, 3)) ** 2
    half = len(power) // 2  # where every other pixel is brighter
    return (power[half, :3].sum() + power[:3, half].sum()) / np.sort(power.ravel())[-100:].sum()


def test_enlarging_before_convolving_leaves_no_checkerboard():
    assert grid_strength(transposed=True) > 10 * grid_strength(transposed=False)


@pytest.mark.parametrize("image_px, stages", [(16, 2), (64, 4), (128, 5)])
def test_landscapes_come_in_doublings_of_four(image_px, stages):
    generator = models.landscape_generator(3, image_px=image_px, filters=4)
    answer = np.asarray(generator(np.random.default_rng(0).uniform(-1, 1, (2, 3)).astype("float32")))
    assert answer.shape == (2, image_px, image_px, 3) and answer.min() >= 0 and answer.max() <= 1
    assert sum(isinstance(layer, keras.layers.UpSampling2D) for layer in generator.layers) == stages
    transposed = models.landscape_generator(3, image_px=image_px, filters=4, transposed=True)
    assert sum(isinstance(layer, keras.layers.Conv2DTranspose) for layer in transposed.layers) == stages
    discriminator = models.landscape_discriminator(image_px=image_px, filters=4)
    assert discriminator([answer]).shape == (2, 1)
    assert sum(layer.strides == (2, 2) for layer in discriminator.layers if hasattr(layer, "strides")) == stages


def test_every_number_changes_a_landscape_from_the_beginning():
    """Even where all numbers are 0, the landscape is not plain grey."""
    keras.utils.set_random_seed(0)
    generator = models.landscape_generator(filters=4)
    numbers = np.concatenate([np.zeros((1, 4)), 0.5 * np.eye(4)]).astype("float32")
    zero, *others = np.asarray(generator(numbers))
    assert zero.std() > 0.02 and all(np.abs(zero - other).mean() > 0.01 for other in others)


def test_the_encoder_stays_where_the_generator_was_trained_and_looks_at_the_middle():
    keras.utils.set_random_seed(0)
    encoder = models.patch_encoder(4, image_px=64, filters=4)
    patches = np.random.default_rng(0).random((64, 64, 64, 3)).astype("float32")
    assert np.abs(encoder(patches)).max() < 0.5  # not in a corner at first
    middle, edge = patches.copy(), patches.copy()
    middle[:, 28:36, 28:36], edge[:, :8, 28:36] = 0, 0
    moved = [np.abs(encoder(patches) - encoder(other)).mean() for other in (middle, edge)]
    assert moved[0] > 2 * moved[1] > 0
    encoder.set_weights([100 * weight for weight in encoder.get_weights()])
    latent = np.asarray(encoder(patches))
    assert latent.shape == (64, 4) and 0.99 < np.abs(latent).max() <= 1


@pytest.mark.parametrize("build, message", [
    (lambda: models.landscape_generator(0), "latent_size is 0"),
    (lambda: models.patch_encoder(-1), "latent_size is -1"),
    (lambda: models.landscape_generator(image_px=96), "image_px is 96; expected 4 doubled"),
    (lambda: models.landscape_discriminator(image_px=4), "image_px is 4"),
    (lambda: models.patch_encoder(image_px=16), "image_px is 16; expected 32"),
])  # fmt: skip
def test_impossible_landscapes_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_landscape_networks_can_be_saved(tmp_path):
    numbers = np.random.default_rng(0).uniform(-1, 1, (2, 4)).astype("float32")
    encoder, generator = models.patch_encoder(filters=4), models.landscape_generator(filters=4)
    for network, given in ((generator, numbers), (keras.Model(encoder.input, generator(encoder.output)), None)):
        given = np.random.default_rng(1).random((2, 64, 64, 3)).astype("float32") if given is None else given
        network.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(network(given), again(given), atol=1e-6)
