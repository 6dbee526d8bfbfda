"""U-Nets and patch discriminators: sizes, what they begin as, how far they see, and that they can be saved."""

import numpy as np
import pytest

from helpers import models
from helpers.acquire import packs
from helpers.backend import keras, tf
from tests.notebook_functions import defined_in, unet

needs_features = pytest.mark.skipif(bool(packs.missing("imagenet_features")), reason="needs: python -m helpers fetch")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((2, 32, 48, 3)).astype("float32")


def test_a_unet_answers_at_the_size_of_its_input(image):
    answer = np.asarray(unet(3, 4, 8, 3)(image))
    assert answer.shape == (2, 32, 48, 4) and answer.dtype == "float32"


@pytest.mark.parametrize("notebook, bands_out", [("05_", 3), ("04b", 5)])
def test_the_published_unet_normalises_by_batch_and_drops_out(image, notebook, bands_out):
    network = defined_in(notebook, "pix2pix_unet")(8, 5)
    kinds = {type(layer).__name__ for layer in network.layers}
    assert {"BatchNormalization", "Conv2DTranspose", "Dropout"} <= kinds
    answer = np.asarray(network(image[:, :, :32]))
    assert answer.shape == (2, 32, 32, bands_out) and answer.min() >= 0 and answer.max() <= 1  # squeezed by tanh


def test_a_cloud_remover_loads_again_and_answers_the_same(image, tmp_path):
    network = models.cloud_remover(3, filters=8, depth=3)
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    network.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(image), network(image))


def test_a_cloud_remover_leaves_ground_without_cloud_or_shadow(image):
    """Its answer is the input, but for a hundredth, where both are found to be almost 0."""
    network = models.cloud_remover(3, filters=8, depth=3)
    for layer in network.layers:  # the last layers of what finds them
        if isinstance(layer, keras.layers.Conv2D) and layer.filters == 2:
            layer.bias.assign([-2.0, -2.0])
    answer = np.asarray(network(image))
    assert answer.shape[-1] == 5 and answer[..., 3:].max() < 0.01
    np.testing.assert_allclose(answer[..., :3], image, atol=0.01)


def test_the_root_is_steep_for_dark_ground_and_keeps_the_order():
    values = np.array([-0.2, 0, 0.01, 0.04, 0.25, 1.0], "float32")
    mapped = np.asarray(models.root(values))
    assert mapped[1] == 0 and mapped[-1] == pytest.approx(1, abs=0.01) and mapped[4] == pytest.approx(0.5, abs=0.02)
    assert (np.diff(mapped) > 0).all() and (mapped[2] - mapped[1]) / 0.01 > 5


def test_no_part_of_a_cloud_remover_is_dead_at_first(image):
    """Every weight but those behind layers that begin as zero gets a gradient in the first step or the second."""
    keras.utils.set_random_seed(0)
    network = models.cloud_remover(3, filters=8, depth=3)
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(2):
        with tf.GradientTape() as tape:
            answer = network(image * 2)
            loss = tf.reduce_mean(tf.abs(answer[..., :-2] - image)) + tf.reduce_mean(answer[..., -2:] ** 2)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_receptive_field_of_a_unet_is_what_windows_need(depth):
    """Cut with that margin at multiples, a part equals the whole; with less, it does not."""
    keras.utils.set_random_seed(1)
    network, multiple = unet(1, 1, 4, depth), 2**depth
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
    network = models.patch_discriminator(1, condition=1, receptive_field_px=field, filters=2)
    weights = [np.full_like(w, 1 / max(1, w.size)) if w.ndim > 1 else np.zeros_like(w) for w in network.get_weights()]
    network.set_weights(weights)
    image = tf.Variable(tf.ones((1, 512, 512, 1)))
    with tf.GradientTape() as tape:
        logits = network([tf.ones_like(image), image])
        one = logits[0, logits.shape[1] // 2, logits.shape[2] // 2, 0]
    reached = np.flatnonzero(np.abs(tape.gradient(one, image)[0, ..., 0]).max(axis=0) > 0)
    assert np.ptp(reached) + 1 == field


def test_a_conditional_discriminator_takes_the_input_first(image):
    network = models.patch_discriminator(1, condition=3, receptive_field_px=16, filters=4)
    assert [tensor.shape[-1] for tensor in network.inputs] == [3, 1]
    assert network([image, image[..., :1]]).shape[-1] == 1


def test_an_impossible_receptive_field_names_the_possible_ones():
    with pytest.raises(ValueError, match="50 pixels; expected one of .1, 16, 34, 70, 142, 286"):
        models.patch_discriminator(3, condition=3, receptive_field_px=50)


# --- landscapes


@pytest.mark.parametrize("image_px, stages", [(16, 2), (64, 4), (128, 5)])
def test_landscapes_come_in_doublings_of_four(image_px, stages):
    latents = np.random.default_rng(0).uniform(-1, 1, (2, 3)).astype("float32")
    generator = models.landscape_generator(3, image_px=image_px, filters=4)
    answer = np.asarray(generator(latents))
    assert answer.shape == (2, image_px, image_px, 3) and answer.min() >= 0 and answer.max() <= 1
    assert sum(isinstance(layer, keras.layers.UpSampling2D) for layer in generator.layers) == stages


def test_every_number_changes_a_landscape_from_the_beginning():
    """Even where all numbers are 0, there is no dead point: statistics of a batch are not yet learned."""
    keras.utils.set_random_seed(0)
    generator = models.landscape_generator(filters=4)
    numbers = np.concatenate([np.zeros((1, 4)), 0.5 * np.eye(4)]).astype("float32")
    zero, *others = np.asarray(generator(numbers, training=True))
    assert zero.std() > 0.02 and all(np.abs(zero - other).mean() > 0.01 for other in others)


def test_noise_is_the_same_in_every_image_and_as_strong_as_learned():
    layer, zeros = models.FixedNoise(), np.zeros((3, 8, 8, 2), "float32")
    assert not np.asarray(layer(zeros)).any()  # at first
    layer.strength.assign([1.0, 2.0])
    noisy = np.asarray(layer(zeros))
    np.testing.assert_array_equal(noisy[0], noisy[2])
    np.testing.assert_allclose(noisy[..., 1], 2 * noisy[..., 0])
    assert noisy[0, ..., 0].std() == pytest.approx(1, abs=0.2)
    np.testing.assert_array_equal(models.FixedNoise()(zeros), 0 * noisy)


@needs_features
@pytest.mark.parametrize("image_px, judged", [(64, 52), (128, 64)])
def test_the_projected_discriminator_learns_a_fifth_of_its_weights(image_px, judged):
    network = models.projected_discriminator(image_px=image_px)
    logits, *seen = network([np.random.default_rng(0).random((2, image_px, image_px, 3), "float32")])
    assert logits.shape == (2, judged) and len(seen) == 4
    learned = sum(weight.shape.num_elements() for weight in network.trainable_variables)
    assert 0 < learned < network.count_params() / 5  # the eyes are frozen
    assert not [weight for weight in network.trainable_variables if "spectral" not in weight.path]


@needs_features
def test_the_encoder_sees_the_patch_at_two_scales():
    see = defined_in("06_", "patch_features")(128)
    patch = np.full((1, 128, 128, 3), 0.5, "float32")
    edge, middle = patch.copy(), patch.copy()
    edge[:, :20], middle[:, 60:68, 60:68] = 0, 0
    plain, of_edge, of_middle = (np.asarray(see(each))[0] for each in (patch, edge, middle))
    assert plain.shape == (4864,) and not see.trainable_variables
    near = slice(2432, None)  # the second half sees the middle third alone
    np.testing.assert_array_equal(plain[near], of_edge[near])
    assert np.abs(plain - of_edge).max() > 0 and np.abs(plain - of_middle)[near].max() > 0


def test_the_matching_encoder_chooses_by_direction(tmp_path):
    """A cell of notebook 06. Expected looks are (1, 0.1) and (0, -2): nearest in direction are (9, 0) and (0.5, -7)."""
    looks = np.array([[9, 0], [1, 1.5], [0.5, -7], [-1, 0]], "float32")
    numbers = np.arange(8, dtype="float32").reshape(4, 2)
    kernel, bias = np.array([[1, 0.1], [0, -2], [0, 0]], "float32"), np.zeros(2, "float32")
    encoder = defined_in("06_", "matching_encoder")(kernel, bias, looks, numbers)
    np.testing.assert_array_equal(encoder(np.eye(3, dtype="float32")[:2]), numbers[[0, 2]])
    encoder.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(np.eye(3, dtype="float32")[:2]), numbers[[0, 2]])


def test_landscape_networks_can_be_saved(tmp_path):
    numbers = np.random.default_rng(0).uniform(-1, 1, (2, 4)).astype("float32")
    generator = models.landscape_generator(filters=4, image_px=32)
    generator.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(generator(numbers), again(numbers), atol=1e-6)
