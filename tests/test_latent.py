"""Landscapes from a few numbers: the trainer, what it is judged by, the encoder behind it, and the custom loss."""

import numpy as np
import pytest

from helpers import metrics, models, training
from helpers.backend import keras, tf
from helpers.training import losses

SIDE = 32
VALIDATION = np.random.default_rng(9).random((6, SIDE, SIDE, 3)).astype("float32")


@pytest.fixture(scope="module")
def device():
    return training.prepare_device(precision="float32", seed=0)


def views(first, *, stop_at=None, batch_size=4):
    """A stream of pairs whose n-th batch depends on n alone; it breaks off at batch `stop_at`."""

    def draw(number):
        if stop_at is not None:
            tf.debugging.assert_less(number, tf.cast(stop_at, tf.int64), "the power went")
        pixels = tf.random.stateless_uniform([2, batch_size, SIDE, SIDE, 3], [1, number])
        return pixels[0], pixels[1]

    return tf.data.Dataset.range(first, 1000).map(draw)


def trained(device, folder, *, steps=4, stop_at=None, make=views, **options):
    """The averaged generator, the discriminator, and the history after some steps."""
    keras.utils.set_random_seed(0)
    generator = models.landscape_generator(3, image_px=SIDE, filters=4)
    discriminator = models.landscape_discriminator(image_px=SIDE, filters=4)
    averaged, history = training.fit_latent_gan(
        generator, discriminator, lambda first: make(first, stop_at=stop_at), steps=steps, learning_rate=1e-3,
        device=device, validation=VALIDATION, checkpoint=folder / "state.npz", reports=4, **options,
    )  # fmt: skip
    return averaged, discriminator, history


@pytest.fixture(scope="module")
def whole(device, tmp_path_factory):
    return trained(device, tmp_path_factory.mktemp("whole"))


def test_a_training_that_was_stopped_ends_like_one_that_was_not(device, tmp_path, whole):
    """What landscapes are made of, augmentation, the falling rate and the best weights go on where they were."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="the power went"):
        trained(device, tmp_path / "cut", stop_at=3)
    resumed = trained(device, tmp_path / "cut")
    for one, other in zip(whole[:2], resumed[:2], strict=True):
        for weight, again in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, again)
    assert whole[2].drop(columns="seconds").equals(resumed[2].drop(columns="seconds"))


def test_the_history_says_how_it_goes_and_the_best_is_kept(whole):
    averaged, _, history = whole
    assert list(history.step) == [1, 2, 3, 4] and np.isfinite(history).all(axis=None)
    assert {"spread", "adversarial", "discriminator", "kid_random", "diversity"} <= set(history)
    assert "psnr_db" not in history  # there is no view that a landscape should equal
    made = averaged.predict(training.draw_latents(len(VALIDATION), 3, [0, -1]), verbose=0)
    features = [metrics.random_features(images) for images in (VALIDATION, made)]
    assert metrics.kid(*features) == pytest.approx(history.kid_random.min(), rel=1e-4)


def test_the_slope_penalty_counts_and_other_settings_are_refused(device, tmp_path, whole):
    *_, history = trained(device, tmp_path, steps=1, steepness=0.0)
    assert history.loss[0] == pytest.approx(whole[2].loss[0], rel=1e-5)  # that of the generator, before any step
    assert history.discriminator[0] < whole[2].discriminator[0]
    for other in ({"seed": 1}, {"steepness": 2.0}, {"spread": 3.0}):
        with pytest.raises(ValueError, match="other settings"):
            trained(device, tmp_path, steps=1, **{"steepness": 0.0} | other)


def test_latents_are_even_between_minus_one_and_one():
    drawn = np.asarray(training.draw_latents(5000, 2, [3, 4]))
    assert drawn.min() >= -1 and drawn.max() <= 1
    assert drawn.mean(axis=0) == pytest.approx(0, abs=0.03) and drawn.var(axis=0) == pytest.approx(1 / 3, abs=0.02)
    np.testing.assert_array_equal(drawn, training.draw_latents(5000, 2, [3, 4]))


# --- augmentation


def test_augmentation_is_the_same_for_a_key_and_other_for_each_image():
    same = np.repeat(VALIDATION[:1], 4, axis=0)
    one, again, other = (np.asarray(training.augment_differentiably(same, key)) for key in ([1, 2], [1, 2], [2, 2]))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.05 and np.abs(one[0] - one[1]).max() > 0.05


def test_the_generator_learns_through_augmentation():
    """All of a smooth image's pixels get a gradient, but for those that a shift moved out of sight."""
    image = tf.Variable(tf.fill((8, SIDE, SIDE, 3), 0.4))
    with tf.GradientTape() as tape:
        seen = tf.reduce_sum(training.augment_differentiably(image, [1, 1]) ** 2)
    reached = np.abs(tape.gradient(seen, image)).max(axis=-1) > 0
    assert reached[:, 4:-4, 4:-4].all() and reached.mean() > 0.8


# --- the encoder behind a frozen generator


def test_the_encoder_learns_through_the_generator_which_stays_as_it_is(device, tmp_path):
    keras.utils.set_random_seed(0)
    generator = models.landscape_generator(3, image_px=SIDE, filters=4)
    encoder = models.patch_encoder(3, image_px=SIDE, filters=4)
    before = generator.get_weights(), encoder.get_weights()
    generator.trainable = False
    network = keras.Model(encoder.input, generator(encoder.output))

    def watch(model):
        return {"view_distance": float(losses.l2(VALIDATION, model.predict(VALIDATION, verbose=0)))}

    history = training.fit(
        network, views, steps=6, learning_rate=1e-3, device=device, validation=(VALIDATION, VALIDATION), reports=3,
        checkpoint=tmp_path / "state.npz", watch=watch, keep_best="view_distance",
    )  # fmt: skip
    assert len(network.trainable_variables) == len(encoder.trainable_variables)
    for one, other in zip(before[0], generator.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.abs(one - other).max() > 0 for one, other in zip(before[1], encoder.get_weights(), strict=True))
    assert watch(network)["view_distance"] == pytest.approx(history.view_distance.min(), rel=1e-4)


def test_a_score_to_keep_the_best_by_must_exist(device, tmp_path):
    keras.utils.set_random_seed(0)
    with pytest.raises(ValueError, match="keep_best is 'fid'; the scores are loss, psnr_db, view_distance"):
        training.fit(
            models.srcnn(3, filters=(4, 4)), views, steps=1, learning_rate=1e-3, device=device, reports=1,
            validation=(VALIDATION, VALIDATION), checkpoint=tmp_path / "state.npz", keep_best="fid",
            watch=lambda model: {"view_distance": 1.0},
        )  # fmt: skip


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


def test_exaggerated_by_hand(monkeypatch):
    """Usual is 2, so that a view of 3 becomes an aim of 4: an estimate of 5 is 1 from it, and 2 from the view."""
    monkeypatch.setattr(losses, "EXAGGERATED_PARTS", {"hue": 1.0})
    monkeypatch.setattr(losses, "_outlook", lambda image: [tf.convert_to_tensor(image)])
    usual, view, estimate = (np.full((2, 16, 16, 3), value, "float32") for value in (2, 3, 5))
    found = {by: float(losses.exaggerated(usual, by)(view, estimate)) for by in (1.0, 2.0)}
    assert found == pytest.approx({1.0: 2 + 100 * 2**2, 2.0: 1 + 100 * 1**2}, rel=1e-5)


def test_the_best_answer_lies_farther_from_the_usual_view_than_the_mean_of_what_may_be_seen():
    """Three places of the training ground; at the last, one of two views is seen, nobody knows which."""
    views = [drawn(ground=ground) for ground in ((0.3, 0.4, 0.2), (0.8, 0.8, 0.8), (0.5, 0.3, 0.2), (0.6, 0.4, 0.3))]
    views = np.concatenate(views)
    usual, mean = views.mean(axis=0, keepdims=True), views[2:].mean(axis=0, keepdims=True)
    answers = {by: (usual + by * (mean - usual)).repeat(2, axis=0) for by in (0.0, 1.0, 2.0)}
    for by in (1.0, 2.0):
        loss = losses.exaggerated(views, by)
        found = {answer: float(loss(views[2:], made)) for answer, made in answers.items()}
        assert min(found, key=found.get) == by, found


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


@pytest.mark.parametrize("loss", [losses.ssim_loss, losses.landscape, keras.losses.mean_squared_error])
def test_a_table_of_distances_holds_every_pair(loss):
    images = np.concatenate([drawn(), drawn(slope=0.2)])
    others = np.concatenate([drawn(clouds=1), drawn(skyline=40)] * 2)
    table = losses.distances(loss, images, others)
    assert table.shape == (2, 4)
    for row, column in np.ndindex(table.shape):
        pair = np.mean(loss(images[row : row + 1], others[column : column + 1]))
        assert table[row, column] == pytest.approx(pair, rel=1e-3)


def test_energy_distance_by_hand():
    """One pixel, real 0 and 1, generated 0 and 0: 2 x 1/2 - 1 (of two different real ones) - 0 = 0; of 1 and 1 as well;
    generated 3 and 3: 2 x 2.5 - 1 - 0 = 4."""
    plain = [np.full((1, 16, 16, 3), value, "float32") for value in (0, 1, 3)]
    real = np.concatenate(plain[:2])
    for value, expected in ((0, 0), (1, 0), (2, 4)):
        fake = np.repeat(plain[value], 2, axis=0)
        assert float(losses.energy_distance(real, fake)) == pytest.approx(expected, abs=0.01)


def test_the_slope_penalty_of_a_plane_is_known():
    """A discriminator that sums the pixels of a 2 x 2 x 1 image, twice: a slope of 2 at each of 4, 16 squared."""
    image = keras.Input((2, 2, 1))
    plane = keras.Model([image], 8 * keras.layers.Flatten()(keras.layers.AveragePooling2D(2)(image)))
    real = [np.random.default_rng(0).random((3, 2, 2, 1)).astype("float32")]
    assert float(losses.slope_penalty(plane, [tf.constant(real[0])])) == pytest.approx(16, rel=1e-5)
