"""The decoder of pretrained features: where it begins, what its file holds, and what it needs to be loaded."""

import zipfile

import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from helpers import features, models, paths
from helpers.acquire import packs
from helpers.backend import keras
from tests.notebook_functions import defined_in

needs_pack = pytest.mark.skipif(
    bool(packs.missing("imagenet_features")), reason="needs: python -m helpers fetch imagenet_features"
)
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(2, 32, 32, 3)).astype("float32")
STEPS = 4


@pytest.fixture(autouse=True)
def single_precision():
    keras.config.set_dtype_policy("float32")


def table(outputs):
    chances = np.random.default_rng(1).uniform(0.1, 1, (STEPS**3, outputs))
    return (chances / chances.sum(axis=-1, keepdims=True)).astype("float32")


def with_features(decoder):
    """A model of images, as notebook 05 makes it."""
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, decoder([image, *models.PretrainedFeatures()(image)]), name="map")


def looked_up(images, table):
    place = np.minimum((images * STEPS).astype(int), STEPS - 1)
    return table[(place[..., 0] * STEPS + place[..., 1]) * STEPS + place[..., 2]]


@needs_pack
@pytest.mark.parametrize("classes", [True, False])
def test_a_new_decoder_says_what_the_averaged_table_says(classes):
    given = table(5)
    network = with_features(models.map_decoder(given, classes=classes, filters=8))
    averaged = uniform_filter(looked_up(IMAGES, given), (0, 5, 5, 0))[:, 2:-2, 2:-2]
    expected = averaged + 1e-3 if classes else averaged
    expected = expected / expected.sum(axis=-1, keepdims=True) if classes else expected
    answer = network.predict(IMAGES, verbose=0)
    assert answer.dtype == "float32" and answer.shape == (2, 32, 32, 5)
    np.testing.assert_allclose(answer[:, 2:-2, 2:-2], expected, atol=1e-5)


@needs_pack
def test_only_the_decoder_is_trained_and_stored(tmp_path):
    decoder = models.map_decoder(table(5), filters=8)
    network = with_features(decoder)
    assert len(network.weights) == len(decoder.weights) and network.trainable_weights == decoder.trainable_weights
    for weight in network.trainable_weights:
        weight.assign(np.random.default_rng(2).normal(size=weight.shape))
    network.save(tmp_path / "map.keras")
    assert zipfile.ZipFile(tmp_path / "map.keras").getinfo("model.weights.h5").file_size < 200_000
    again = keras.models.load_model(tmp_path / "map.keras")
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), network.predict(IMAGES, verbose=0))


@needs_pack
def test_the_features_are_those_of_the_enlarged_image():
    layer = models.PretrainedFeatures(("24", "320"), enlarge=2)
    found = layer(IMAGES)
    enlarged = np.clip(keras.ops.image.resize(IMAGES, (64, 64), "bicubic"), 0, 1)
    for one, other in zip(found, features.backbone(("24", "320"))(enlarged), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert [each.shape[-1] for each in layer.compute_output_spec(keras.KerasTensor((None, None, None, 3)))] == [24, 320]


@needs_pack
def test_loading_without_the_pack_names_the_command(tmp_path, monkeypatch):
    with_features(models.map_decoder(table(3), filters=4)).save(tmp_path / "map.keras")
    monkeypatch.setattr(paths, "DATA", tmp_path / "nothing")
    caches = features.shared_backbone, features._weights
    for cache in caches:
        cache.cache_clear()
    with pytest.raises(Exception, match="python -m helpers fetch imagenet_features"):
        keras.models.load_model(tmp_path / "map.keras")
    for cache in caches:
        cache.cache_clear()


balanced_cross_entropy = defined_in("05_", "balanced_cross_entropy")


def test_balanced_cross_entropy_by_hand():
    """Shares of 0.8 and 0.2, power 1/2: weights in the ratio 1 to 2, 5/6 and 5/3, so that their mean is 1."""
    classes = np.array([[[0, 1]], [[0, 0]]])
    chances = np.array([[[[0.9, 0.1], [0.5, 0.5]]], [[[0.9, 0.1], [0.25, 0.75]]]], "float32")
    found = balanced_cross_entropy(np.array([0.8, 0.2]), 0.5)(classes, chances)
    expected = [
        (5 / 6 * -np.log(0.9) + 5 / 3 * -np.log(0.5)) / 2,
        5 / 6 * -(np.log(0.9) + np.log(0.25)) / 2,
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_classes_count_as_their_share_asks():
    """At power 0 as Keras has it; at power 1 each class counts alike, however rare it is."""
    random = np.random.default_rng(3)
    classes = random.permutation(np.repeat([0, 1, 2], [70, 25, 5])).reshape(1, 10, 10)
    chances = random.dirichlet([1, 1, 1], (1, 10, 10)).astype("float32")
    share = np.bincount(classes.ravel()) / classes.size
    of_pixels = np.asarray(keras.losses.sparse_categorical_crossentropy(classes, chances))
    of_classes = [of_pixels[classes == number].mean() for number in range(3)]
    for power, expected in ((0, of_pixels.mean()), (1, np.mean(of_classes))):
        assert balanced_cross_entropy(share, power)(classes, chances).numpy()[0] == pytest.approx(expected, rel=1e-3)
