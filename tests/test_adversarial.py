"""The adversarial trainer: its losses by hand, every adversary, and going on as if never stopped."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import models, training
from helpers.backend import keras, tf
from helpers.training import losses
from tests.trainings import kept_after, without_graphs

RANGE = ((0.0, 2.0), (0.0, 1.0), (0.0, 4.0))
VALIDATION = tuple(np.random.default_rng(9).random((2, side, side, 3)).astype("float32") for side in (8, 32))


@pytest.fixture(scope="module")
def device():
    return training.prepare_device(precision="float32", seed=0)


def batches(first):
    """A stream whose n-th batch depends on n alone."""

    def draw(number):
        target = tf.random.stateless_uniform([2, 32, 32, 3], [1, number])
        return tf.nn.avg_pool2d(target, 4, 4, "VALID"), target

    return tf.data.Dataset.range(first, 1000).map(draw)


def trained(device, folder, *, steps=4, **options):
    """The averaged generator, the discriminator, and the history after some steps."""
    keras.utils.set_random_seed(0)
    generator = models.residual_upsampler(3, scale=4, filters=8, blocks=1)
    discriminator = models.texture_discriminator(3, filters=8)
    settings = dict(terms={"l1": (1.0, losses.l1)}, weight=0.1, learning_rate=1e-3, reports=4) | options

    with without_graphs():  # the test of XLA builds one
        averaged, history = training.fit_adversarial(
            generator, discriminator, batches, steps=steps, device=device, validation=VALIDATION,
            checkpoint=folder / "state.npz", **settings,
        )  # fmt: skip
    return averaged, discriminator, history


WHOLE = {"kind": "wgan_gp", "ramp_steps": 3}


@pytest.fixture(scope="module")
def whole(device, tmp_path_factory):
    """A training of four steps, and a folder with what it kept after two."""
    folder = tmp_path_factory.mktemp("whole")
    with kept_after(2, folder / "two steps"):
        return *trained(device, folder / "whole", board=folder / "board", **WHOLE), folder


def test_the_history_says_how_it_goes(whole):
    _, _, history, _ = whole
    assert list(history.step) == [1, 2, 3, 4] and np.isfinite(history).all(axis=None)
    parts = {"loss", "l1", "adversarial", "discriminator", "accuracy", "gradient_norm", "psnr_db"}
    assert parts <= set(history) and history.accuracy.between(0, 1).all() and (history.gradient_norm > 0).all()


def test_the_adversary_enters_slowly(device, tmp_path):
    """In the first step its weight is 0, and at the end of the ramp it is whole."""
    _, _, history = trained(device, tmp_path, steps=3, ramp_steps=2, weight=0.5)
    share = (history.loss - history.l1) / history.adversarial
    np.testing.assert_allclose(share, [0, 0.25, 0.5], atol=1e-6)


def test_losses_against_values_worked_out_by_hand():
    one, other = np.zeros((1, 1, 1, 2), "float32"), np.array([3.0, 1.0], "float32").reshape(1, 1, 1, 2)
    assert float(losses.l1(one, other)) == 2 and float(losses.l2(one, other)) == 5
    right_angle = losses.spectral_angle(((0, 1), (0, 1)))
    east, north = (np.array(v, "float32").reshape(1, 1, 1, 2) for v in ([2, 0], [0, 3]))
    assert float(right_angle(east, north)) == pytest.approx(np.pi / 2)
    assert float(right_angle(north, north * 2)) == pytest.approx(0, abs=2e-3)
    logits = np.zeros((2, 3, 3, 1), "float32")  # the discriminator cannot tell
    against, opinion = losses.ADVERSARIES["non_saturating"](logits, logits)
    assert float(against) == pytest.approx(np.log(2)) and float(opinion) == pytest.approx(np.log(2))
    assert [float(v) for v in losses.ADVERSARIES["lsgan"](logits + 1, logits)] == [0, 1]
    assert [float(v) for v in losses.ADVERSARIES["wgan_gp"](logits + 3, logits + 1)] == [-2, -1]


def test_the_spectral_angle_is_that_of_measured_values():
    """It agrees with the score of the same name once the images are mapped back."""
    from helpers import metrics, scenes

    first, second = VALIDATION[1][:1], VALIDATION[1][1:]
    degrees = np.degrees(float(losses.spectral_angle(RANGE)(first, second)))
    measured = metrics.spectral_angle_deg(scenes.from_unit(first, RANGE), scenes.from_unit(second, RANGE))
    assert degrees == pytest.approx(measured.mean(), rel=1e-4)


def test_a_grid_costs_what_it_brightens_and_other_errors_nothing():
    """One pixel of 4 x 4 that is 1.6 too bright is 0.1 on average, one column of 4 by 0.4, too; a wave is free."""
    target = np.random.default_rng(0).random((2, 16, 24, 3)).astype("float32")
    loss = losses.grid(4)
    dots, stripes, wave = np.zeros((3, 16, 24, 1), "float32")
    dots[1::4, 2::4], stripes[:, 3::4] = 1.6, 0.4
    wave[:] = np.sin(2 * np.pi * np.arange(16) / 16)[:, None, None]
    assert float(loss(target, target + dots)) == pytest.approx(0.1, abs=1e-5)
    assert float(loss(target, target + stripes)) == pytest.approx(0.1, abs=1e-5)
    assert float(loss(target, target + wave)) == pytest.approx(0, abs=1e-5)


def test_the_texture_discriminator_favours_no_second_pixel():
    """On a plain image each pixel inside moves the logits alike; with strides, neighbours differ."""
    keras.utils.set_random_seed(0)

    def unevenness(discriminator, images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            opinion = tf.reduce_sum(discriminator(images))
        inside = tape.gradient(opinion, images)[-1][:, 24:40, 24:40]
        return float(tf.reduce_max(tf.math.reduce_std(inside, axis=(1, 2)) / tf.reduce_mean(tf.abs(inside))))

    plain = tf.fill((1, 64, 64, 3), 0.3)
    assert unevenness(models.texture_discriminator(3, filters=8), [plain]) < 1e-4
    strided = models.patch_discriminator(3, condition=3, receptive_field_px=16, filters=8)
    assert unevenness(strided, [plain, plain]) > 0.1


def test_the_gradient_penalty_of_a_plane_is_known():
    """A discriminator that sums all pixels of a 2 x 2 x 1 image has a slope of length 2 everywhere: (2 - 1) ** 2."""
    image = keras.Input((2, 2, 1))
    plane = keras.Model([image], 4 * keras.layers.AveragePooling2D(2)(image))
    real, fake = (np.random.default_rng(n).random((3, 2, 2, 1)).astype("float32") for n in (1, 2))
    assert float(losses.gradient_penalty(plane, [], [real], [fake])) == pytest.approx(1, abs=1e-5)


def test_a_training_that_was_stopped_ends_like_one_that_was_not(device, whole):
    """Both optimizers with their slots, the averaged weights, the ramp and what is drawn are part of the state."""
    *networks, history, folder = whole
    *resumed, resumed_history = trained(device, folder / "two steps", **WHOLE)
    for one, other in zip(networks, resumed, strict=True):
        for weight, again in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, again)
    assert history.drop(columns="seconds").equals(resumed_history.drop(columns="seconds"))


def test_tensorboard_gets_scalars_and_pictures(whole):
    (log,) = (whole[-1] / "board").iterdir()
    records = b"".join(record.numpy() for record in tf.data.TFRecordDataset(str(log)))
    assert b"psnr_db" in records and b"gradient_norm" in records and b"PNG" in records


def test_a_step_under_xla_gives_the_same(device, tmp_path):
    """Two steps, the second after an update of both networks; no random draw, which XLA makes otherwise.

    Networks of one layer each: XLA compiles for seconds.
    """
    found = []
    for xla in (False, True):
        keras.utils.set_random_seed(0)
        image, judged = keras.Input((16, 16, 3)), keras.Input((16, 16, 3))
        generator = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
        discriminator = keras.Model([judged], keras.layers.Conv2D(1, 3, strides=2)(judged))
        pairs = tf.data.Dataset.from_tensors((VALIDATION[1][:, :16, :16], VALIDATION[1][:, 16:, 16:])).repeat()
        _, history = training.fit_adversarial(
            generator, discriminator, lambda first, pairs=pairs: pairs, terms={"l1": (1.0, losses.l1)}, weight=0.1,
            steps=2, learning_rate=1e-3, reports=2, kind="lsgan", validation=None, device=replace(device, xla=xla),
            checkpoint=tmp_path / f"{xla}.npz",
        )  # fmt: skip
        found.append(history.drop(columns="seconds"))
    np.testing.assert_allclose(*found, rtol=1e-3)


def test_pixels_that_do_not_count_teach_nothing(device, tmp_path):
    """Wrong targets where the weight is 0 change neither the loss nor, without an adversary, the weights."""
    half = tf.cast(tf.range(32) < 16, tf.float32)[None, :, None] * tf.ones((2, 1, 32))

    def spoiled(shift):
        def make(first):
            return batches(first).map(lambda low, target: (low, target + shift * (1 - half[..., None]), half))

        keras.utils.set_random_seed(0)
        generator = models.residual_upsampler(3, scale=4, filters=8, blocks=1)
        with without_graphs():
            _, history = training.fit_adversarial(
                generator, models.texture_discriminator(3, filters=8), make, steps=2, device=device,
                terms={"l1": (1.0, losses.l1)}, weight=0.0, learning_rate=1e-3, reports=2, validation=VALIDATION,
                checkpoint=tmp_path / f"{shift}.npz",
            )  # fmt: skip
        return history.l1

    np.testing.assert_allclose(spoiled(0.0), spoiled(5.0), rtol=1e-6)


def test_further_scores_and_the_best_weights_are_kept(device, tmp_path):
    """`watch` adds columns; `keep_best` ends with the weights of the report that scored best."""
    seen = []

    def watch(model):
        answer = model.predict(VALIDATION[0], verbose=0)
        seen.append(answer)
        return {"mean_answer": answer.mean()}

    averaged, _, history = trained(
        device, tmp_path, steps=3, learning_rate=1.0, watch=watch, keep_best="psnr_db", decay=0.0
    )
    assert history.mean_answer.tolist() == pytest.approx([answer.mean() for answer in seen])
    best = int(history.psnr_db.argmax())
    assert best < len(history) - 1, "the rate of learning is meant to be so high that the last is not the best"
    np.testing.assert_allclose(averaged.predict(VALIDATION[0], verbose=0), seen[best], atol=1e-6)


def test_a_generator_of_several_inputs_is_judged_beside_the_first(device, tmp_path):
    image, maps = keras.Input((None, None, 3)), keras.Input((None, None, 5))
    generator = keras.Model([image, maps], keras.layers.Conv2D(3, 1)(keras.layers.Concatenate()([image, maps])))
    seen = []
    judge = models.patch_discriminator(3, condition=3, receptive_field_px=16, filters=4)
    inner = judge.call
    judge.call = lambda images, **options: seen.append([each.shape[-1] for each in images]) or inner(images, **options)
    draw = np.random.default_rng(0).random

    def pairs(first):
        inputs = draw((2, 16, 16, 3), "float32"), draw((2, 16, 16, 5), "float32")
        return tf.data.Dataset.from_tensors((inputs, 1 - inputs[0])).repeat()

    _, history = training.fit_adversarial(
        generator, judge, pairs, terms={"l1": (1.0, losses.l1)}, weight=1.0, steps=2, learning_rate=1e-3, reports=1,
        conditional=True, device=device, validation=None, checkpoint=tmp_path / "state.npz",
    )  # fmt: skip
    assert np.isfinite(history.loss).all() and seen and all(shapes == [3, 3] for shapes in seen)
