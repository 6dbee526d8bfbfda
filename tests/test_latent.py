"""Landscapes from a few numbers: the trainer, what it is judged by, the encoder behind it, and the custom loss."""

import numpy as np
import pytest

from helpers import features, metrics, models, training
from helpers.acquire import packs
from helpers.backend import keras, tf
from helpers.training import latent, losses
from tests.trainings import kept_after, without_graphs

pytestmark = pytest.mark.skipif(bool(packs.missing("imagenet_features")), reason="needs: python -m helpers fetch")
SIDE = 32
VALIDATION = np.random.default_rng(9).random((6, SIDE, SIDE, 3)).astype("float32")


@pytest.fixture(scope="module")
def device():
    return training.prepare_device(precision="float32", seed=0)


def views(first):
    """A stream of pairs whose n-th batch depends on n alone."""

    def draw(number):
        pixels = tf.random.stateless_uniform([2, 4, SIDE, SIDE, 3], [1, number])
        return pixels[0], pixels[1]

    return tf.data.Dataset.range(first, 1000).map(draw)


def trained(device, folder, **options):
    """The averaged generator, the discriminator, and the history after some steps."""
    keras.utils.set_random_seed(0)
    generator = models.landscape_generator(3, image_px=SIDE, filters=4)
    discriminator = models.projected_discriminator(image_px=SIDE, channels=8)
    encoder = models.view_encoder(3, image_px=SIDE, filters=4)
    with without_graphs():  # the stability benchmark builds one
        averaged, history = training.fit_landscapes(
            generator, discriminator, views, steps=2, learning_rate=1e-3, device=device, validation=VALIDATION,
            checkpoint=folder / "state.npz", reports=2, encoder=encoder, **options,
        )  # fmt: skip
    return averaged, discriminator, history


@pytest.fixture(scope="module")
def whole(device, tmp_path_factory):
    """A training of two steps; the last is the folder of its state, beside that of the state after one."""
    folder = tmp_path_factory.mktemp("whole")
    with kept_after(1, folder / "one step"):
        return *trained(device, folder / "whole"), folder / "whole"


def test_a_training_that_was_stopped_ends_like_one_that_was_not(device, whole):
    """Latents, augmentation, the falling rate, spectral norms and the best weights go on where they were."""
    *networks, history, folder = whole
    *resumed, resumed_history = trained(device, folder.parent / "one step")
    for one, other in zip(networks, resumed, strict=True):
        for weight, again in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, again)
    assert history.drop(columns="seconds").equals(resumed_history.drop(columns="seconds"))


def test_the_history_says_how_it_goes_and_the_best_is_kept(whole):
    averaged, _, history, _ = whole
    assert list(history.step) == [1, 2] and np.isfinite(history).all(axis=None)
    assert {"energy", "paired", "latent", "discriminator", "kid_imagenet", "diversity"} <= set(history)
    assert "psnr_db" not in history  # there is no view that a landscape should equal
    made = averaged.predict(training.draw_latents(len(VALIDATION), 3, [0, -1]), verbose=0)
    found = [features.embed(np.clip(images, 0, 1)) for images in (VALIDATION, made)]
    assert metrics.kid(*found) == pytest.approx(history.kid_imagenet.min(), rel=1e-3)


def test_the_eyes_of_the_discriminator_stay_as_they_are(whole):
    *_, pretrained = (layer for layer in whole[1].layers if isinstance(layer, keras.Model))
    for weight, before in zip(pretrained.get_weights(), features.backbone().get_weights(), strict=True):
        np.testing.assert_array_equal(weight, before)


def test_other_settings_are_refused(device, whole):
    with pytest.raises(ValueError, match="other settings"):
        trained(device, whole[3], seed=1)


def test_latents_are_even_between_minus_one_and_one():
    drawn = np.asarray(training.draw_latents(5000, 2, [3, 4]))
    assert drawn.min() >= -1 and drawn.max() <= 1
    assert drawn.mean(axis=0) == pytest.approx(0, abs=0.03) and drawn.var(axis=0) == pytest.approx(1 / 3, abs=0.02)
    np.testing.assert_array_equal(drawn, training.draw_latents(5000, 2, [3, 4]))


def test_diversity_is_that_of_features():
    same = np.repeat(VALIDATION[:1], 4, axis=0)
    assert training.diversity(same, VALIDATION) == pytest.approx(0, abs=1e-5)
    assert training.diversity(VALIDATION, VALIDATION) == pytest.approx(1)
    with pytest.raises(ValueError, match="no diversity to compare"):
        training.diversity(VALIDATION, same)
    with pytest.raises(ValueError, match="no diversity to compare"):
        training.diversity(VALIDATION[:1], VALIDATION)


# --- augmentation


def test_augmentation_by_hand():
    """Brightness alone adds 0.15; saturation alone keeps each pixel's mean; a shift moves all pixels by an eighth."""
    draws = np.zeros((4, 5), "float32")
    draws[0, 0], draws[1, 1], draws[2, 2], draws[3, 3] = 1, -1, 1, 1
    image = VALIDATION[:1]
    brighter, paler, harder, moved = np.asarray(training.augment(np.repeat(image, 4, axis=0), draws))
    np.testing.assert_allclose(brighter, image[0] + 0.15, atol=1e-5)
    np.testing.assert_allclose(paler.mean(-1), image[0].mean(-1), atol=1e-5)
    assert paler.std(-1).mean() == pytest.approx(0.4 * image[0].std(-1).mean(), rel=1e-3)
    assert harder.std() == pytest.approx(1.3 * image[0].std(), rel=1e-3)
    np.testing.assert_allclose(moved[: -SIDE // 8], image[0, SIDE // 8 :], atol=1e-5)
    np.testing.assert_allclose(moved[-SIDE // 8 :], image[0, -2 : -SIDE // 8 - 2 : -1], atol=1e-5)  # mirrored


def test_the_generator_learns_through_augmentation():
    image = tf.Variable(tf.fill((8, SIDE, SIDE, 3), 0.4))
    draws = tf.random.stateless_uniform([8, 5], [1, 1], -1, 1)
    with tf.GradientTape() as tape:
        seen = tf.reduce_sum(training.augment(image, draws) ** 2)
    reached = np.abs(tape.gradient(seen, image)).max(axis=-1) > 0
    assert reached[:, 4:-4, 4:-4].all() and reached.mean() > 0.8


# --- the encoder behind a frozen generator


def test_the_encoder_learns_through_the_generator_which_stays_as_it_is(device, tmp_path):
    keras.utils.set_random_seed(0)
    generator = models.landscape_generator(3, image_px=SIDE, filters=4)
    seen = keras.Input((8,))
    encoder = keras.Model(seen, keras.layers.Dense(3)(seen))
    before = generator.get_weights(), encoder.get_weights()
    generator.trainable = False
    network = keras.Model(encoder.input, generator(encoder.output, training=False))

    def make(first):
        return views(first).map(lambda _, view: (tf.reduce_mean(view, axis=[1, 2])[:, :1] * tf.ones((1, 8)), view))

    training.fit(
        network, make, steps=3, learning_rate=1e-2, device=device, validation=None, reports=1,
        checkpoint=tmp_path / "state.npz",
    )  # fmt: skip
    assert len(network.trainable_variables) == len(encoder.trainable_variables)
    for one, other in zip(before[0], generator.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.abs(one - other).max() > 0 for one, other in zip(before[1], encoder.get_weights(), strict=True))


def test_ridge_finds_a_linear_law_and_chooses_its_strength_on_other_ground(monkeypatch):
    monkeypatch.setattr(latent, "STRENGTHS", (1e-3, 1e6))
    random = np.random.default_rng(0)
    law, shift = random.normal(size=(20, 2)) / 20, np.array([0.2, -0.1])
    inputs = random.normal(3, 2, (400, 20))
    targets, known = (inputs - 3) @ law + shift, slice(0, 300)
    other = inputs[300:], targets[300:]
    kernel, bias, strength = training.fit_ridge(inputs[known], targets[known], other)
    assert strength == 1e-3
    np.testing.assert_allclose(other[0] @ kernel + bias, other[1], atol=1e-3)
    noise = random.normal(size=(300, 2))
    assert training.fit_ridge(inputs[known], noise, (inputs[300:], np.zeros((100, 2))))[2] == 1e6


def test_fitted_numbers_find_their_own_landscape_again():
    """A picture that the generator drew itself is drawn again, nearer than from where it began."""
    keras.utils.set_random_seed(1)
    generator = models.landscape_generator(2, image_px=64, filters=4)
    for _ in range(20):  # statistics of the batch norms
        generator(training.draw_latents(32, 2, [0, 5]), training=True)
    true = np.array([[0.3, -0.6], [-0.8, 0.1]], "float32")
    target = np.asarray(generator(true))
    loss = training.square_loss
    begin = true + np.float32(0.4)
    fitted = training.fit_latents(generator, target, begin, steps=25)
    apart = [float(np.mean(loss(target, generator(numbers)))) for numbers in (begin, fitted)]
    assert apart[1] < 0.7 * apart[0] and np.abs(fitted).max() <= 1


def test_view_features_tell_places_apart():
    views = np.stack([drawn()[0], drawn(clouds=3)[0], drawn(slope=0.3)[0]])
    found = training.view_features(views)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-3)
    assert np.sum((found[0] - found[1]) ** 2) < np.sum((found[0] - found[2]) ** 2)
    np.testing.assert_allclose(
        training.square_loss(views[:1], views[2:])[0], np.sum((found[0] - found[2]) ** 2), rtol=1e-3
    )


# --- losses


def drawn(skyline=32, *, ground=(0.5, 0.45, 0.35), sky=(0.3, 0.5, 0.9), clouds=0, slope=0.0, right_px=0):
    """A view of 64 pixels: sky over ground, a skyline that rises to the right, white specks in the sky."""
    image = np.empty((64, 64, 3), "float32")
    image[:] = sky
    random = np.random.default_rng(clouds)
    for _ in range(6 if clouds else 0):
        row, column = random.integers(2, 14), random.integers(2, 60)
        image[row, column : column + 3] = 0.95
    columns = np.arange(64) - right_px
    heights = np.rint(skyline - slope * columns - 6 * np.exp(-(((columns - 30) / 5) ** 2))).astype(int)
    for column, top in enumerate(heights):
        image[top:, column] = ground
    return image[None]


def test_the_custom_loss_sees_ground_and_not_weather():
    here = drawn()
    assert float(losses.landscape(here, here)[0]) == 0
    other_sky = float(losses.landscape(here, drawn(sky=(0.35, 0.55, 0.85), clouds=3))[0])
    turned = float(losses.landscape(here, drawn(right_px=4))[0])  # 4 degrees
    far_turned = float(losses.landscape(here, drawn(right_px=20))[0])
    green, lower, sloping = (
        float(losses.landscape(here, drawn(**other))[0])
        for other in ({"ground": (0.3, 0.45, 0.2)}, {"skyline": 40}, {"slope": 0.3})
    )
    assert max(other_sky, turned) < min(green, lower, sloping, far_turned) / 2


def test_views_of_twice_the_size_are_as_far_apart():
    one, other = drawn(), drawn(slope=0.3)
    twice = (np.repeat(np.repeat(image, 2, axis=1), 2, axis=2) for image in (one, other))
    np.testing.assert_allclose(losses.landscape(*twice), losses.landscape(one, other), rtol=1e-5)


def test_the_custom_loss_can_be_learned_from():
    """Gradient descent on the pixels of a grey image comes nearer to a view."""
    view, image = drawn(slope=0.2), tf.Variable(tf.fill((1, 64, 64, 3), 0.5))
    found = []
    for _ in range(10):
        with tf.GradientTape() as tape:
            apart = losses.landscape(view, image)
        slope = tape.gradient(apart, image)
        assert np.isfinite(slope).all()
        found.append(float(apart[0]))
        image.assign_sub(0.01 * tf.sign(slope))
    assert found[-1] < 0.9 * found[0]


def test_ssim_loss_against_skimage():
    from skimage.metrics import structural_similarity

    found = np.asarray(losses.ssim_loss(VALIDATION[:2], VALIDATION[2:4]))
    for one, other, value in zip(VALIDATION[:2], VALIDATION[2:4], found, strict=True):
        ssim = structural_similarity(
            one, other, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            full=True,
        )[1][5:-5, 5:-5]  # fmt: skip
        assert value == pytest.approx(1 - ssim.mean(), abs=1e-4)


@pytest.mark.parametrize("loss", [losses.ssim_loss, losses.landscape])
def test_a_table_of_distances_holds_every_pair(loss):
    images = np.concatenate([drawn(), drawn(slope=0.2)])
    others = np.concatenate([drawn(clouds=1), drawn(skyline=40)] * 2)
    table = losses.distances(loss, images, others)
    assert table.shape == (2, 4)
    for row, column in np.ndindex(table.shape):
        pair = np.mean(loss(images[row : row + 1], others[column : column + 1]))
        assert table[row, column] == pytest.approx(pair, rel=1e-3)


def test_energy_distance_by_hand():
    """Real 0 and 2, deviation 1; generated 0 and 0: 2 x 1 - 2 (of the two real ones) - 0 = 0; 6 and 6: 10 - 2 = 8."""
    real = np.array([[0.0], [2.0]], "float32")
    for value, expected in ((0, 0), (2, 0), (6, 8)):
        fake = np.full((2, 1), value, "float32")
        assert float(losses.energy_distance(real, fake)) == pytest.approx(expected, abs=0.02)
    real = np.concatenate([real + 100, real])  # the second half alone counts
    fake = np.concatenate([real[:2], real[2:] + 3])
    assert float(losses.paired_distance(real, fake)) == pytest.approx(3, abs=0.01)


def test_hinge_by_hand():
    real, fake = np.array([[2.0], [0.5]], "float32"), np.array([[-3.0], [1.0]], "float32")
    against, opinion = losses.ADVERSARIES["hinge"](real, fake)
    assert float(against) == pytest.approx(0.25 + 1.0) and float(opinion) == pytest.approx(1.0)
