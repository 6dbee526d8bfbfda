"""Pretrained features: the file, the network against an independent one, and what its distances tell apart."""

import io
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter
from skimage.transform import resize

from helpers import features, metrics, paths
from helpers.acquire import packs, pytorch_file
from helpers.backend import keras, tf

pytestmark = pytest.mark.skipif(bool(packs.missing(features.PACK)), reason="python -m helpers fetch")

# The network of the package efficientnet-lite-pytorch 0.1.0 on torch 2.13.0 (CPU), with the same
# file: its stages' outputs for `waves`, at row 1, column 1, channels 0 and 1, and at the last place.
EXPECTED = {
    "24": (15.844004, 11.09078, 7.971332), "40": (-0.656687, 1.2308422, 0.20466495),
    "112": (14.981292, -0.05755067, -0.38789898), "320": (1.5843767, 2.7391608, -5.636656),
}  # fmt: skip
RNG = np.random.default_rng(0)


def waves():
    y, x, c = np.mgrid[:64, :96, :3]
    return (0.5 + 0.5 * np.sin(0.3 * x + 0.17 * y * (c + 1))).astype("float32")[None]


def photo(name):
    """One of scikit-image's photographs as the network was trained on them: 224 px."""
    return resize(getattr(skimage.data, name)()[..., :3] / 255, (224, 224), anti_aliasing=True)[None]


@pytest.mark.parametrize("name, classes, chance", [("coffee", [967], 0.7), ("cat", range(281, 286), 0.0)])
def test_photographs_are_recognised(name, classes, chance):
    found = np.asarray(features.backbone(classifier=True)(photo(name)))[0]
    assert found.argmax() in classes and found.max() >= chance
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_features_are_those_of_an_independent_implementation():
    maps = features.backbone(list(EXPECTED))(waves())
    for expected, found in zip(EXPECTED.values(), maps, strict=True):
        found = np.asarray(found)[0]
        np.testing.assert_allclose([*found[1, 1, :2], found[-1, -1, -1]], expected, atol=1e-4)
    assert [found.shape[1:3] for found in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_backbone_is_frozen_and_only_as_deep_as_its_taps():
    short = features.backbone(("24",))
    inside = keras.Model(short.input, short(short.input))
    assert not short.trainable_variables and not inside.trainable_variables
    assert len(short.weights) < len(features.backbone(("24", "320")).weights) == 2 * 48
    with pytest.raises(KeyError, match="32"):
        features.backbone(("24", "32"))


def test_a_network_that_a_graph_is_the_first_to_need_has_its_weights():
    """What a graph assigns while it creates variables is lost: TensorFlow traces it once more."""
    found = tf.function(lambda images: features.shared_backbone(("16",))(images))(waves())
    np.testing.assert_allclose(found, features.backbone(("16",))(waves()), atol=1e-4)


def test_embed_gives_pooled_stages_whatever_the_batch(monkeypatch):
    monkeypatch.setattr(features, "in_batches", partial(features.in_batches, size=2))
    images = RNG.random((5, 48, 64, 3)).astype("float32")
    pooled = [np.asarray(found).mean(axis=(1, 2)) for found in features.backbone(("112", "320"))(images)]
    np.testing.assert_allclose(features.embed(images), np.concatenate(pooled, 1), atol=1e-4)


def test_feature_distance_by_hand(monkeypatch):
    """The same in NumPy."""
    monkeypatch.setattr(features, "in_batches", partial(features.in_batches, size=2))
    images, others = RNG.random((2, 3, 40, 40, 3)).astype("float32")
    total = np.zeros(3)
    for one, other in zip(*(features.backbone()(pair) for pair in (images, others)), strict=True):
        one, other = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in map(np.asarray, (one, other)))
        total += ((one - other) ** 2).sum(axis=-1).mean(axis=(1, 2)) / 4
    np.testing.assert_allclose(features.feature_distance(images, others), total, rtol=1e-4)
    assert not features.feature_distance(images, images).any()


def test_feature_distance_prefers_the_sharp_image_that_psnr_does_not():
    """An image moved by a pixel looks the same; a blurred one does not."""
    image = resize(skimage.data.coffee() / 255, (128, 192))[None]
    moved, blurred = np.roll(image, 1, axis=2), gaussian_filter(image, (0, 1, 1, 0))
    psnr = [metrics.psnr(image, other, data_range=1)[0] for other in (moved, blurred)]
    apart = [features.feature_distance(image, other)[0] for other in (moved, blurred)]
    assert psnr[0] < psnr[1] and apart[0] < apart[1]


def test_the_perceptual_loss_sees_three_named_bands():
    image = RNG.random((2, 32, 32, 4)).astype("float32")
    bands = {"names": ["blue", "green", "red", "nir"], "bands": ["nir", "red", "green"]}
    loss, without_blue = features.perceptual_loss(**bands), image * np.float32([0, 1, 1, 1])
    assert float(loss(image, image)) == float(loss(image, without_blue)) == 0 < float(loss(image, 1 - image))
    three = image[..., [3, 2, 1]]
    picked = features.perceptual_loss()(three, 1 - three)
    assert float(picked) == pytest.approx(float(loss(image, 1 - image)))
    with pytest.raises(ValueError, match="images have 4 bands; their names are .'red', 'green', 'blue'"):
        features.perceptual_loss()(image, image)
    for names, bands in ((["red"], None), (["red", "green", "blue"], ["red", "green", "nir"])):
        with pytest.raises(ValueError, match="the features see three bands; .* are not three of .'red'"):
            features.perceptual_loss(names=names, bands=bands)


@pytest.mark.parametrize(
    "images, expected",
    [
        (np.zeros((1, 64, 64, 1)), r"\(1, 64, 64, 1\); expected \(batch, height, width, 3\).*three bands"),
        (np.zeros((1, 64, 64, 13)), "pick three bands"),
        (np.zeros((64, 64, 3)), "expected .batch, height, width, 3"),
        (np.zeros((1, 31, 64, 3)), "32 px a side"),
        (np.zeros((0, 64, 64, 3)), "shape"),
        (np.full((1, 64, 64, 3), 9000, "uint16"), "uint16, 9000 to 9000; expected floats from 0 to 1"),
        (np.full((1, 64, 64, 3), 1.5), "float64, 1.5 to 1.5"),
        (np.full((1, 64, 64, 3), np.nan), "without NaN"),
    ],
)
def test_other_images_are_refused(images, expected):
    for function in (features.embed, lambda images: features.feature_distance(images, images)):
        with pytest.raises(ValueError, match=expected):
            function(images)


# --- the file


class Runs:
    def __reduce__(self):
        return exec, ("open('was_here', 'w').write('x')",)


def test_a_file_that_calls_anything_is_refused_before_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match="exec"):
        pytorch_file._Unpickler(io.BytesIO(pickle.dumps(Runs()))).load()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 20_000, 10_000_000, 18_826_031])
def test_another_or_a_truncated_file_is_refused(tmp_path, monkeypatch, kept):
    (tmp_path / "weights.pth").write_bytes(packs.member_path(features.PACK, features.FILE).read_bytes()[:kept])
    monkeypatch.setattr(packs, "member_path", lambda *_: tmp_path / "weights.pth")
    features._weights.cache_clear()
    with pytest.raises(ValueError, match="weights.pth is damaged, or not the file"):
        features._weights()


def test_a_pack_that_is_not_fetched_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    features._weights.cache_clear()
    with pytest.raises(FileNotFoundError, match="Get it with: python -m helpers fetch imagenet_features"):
        features.backbone()


def test_a_pack_without_imagery_says_so():
    with pytest.raises(ValueError, match="imagenet_features holds no imagery: Trained weights"):
        packs.open_scene(features.PACK)


# --- KID


@pytest.fixture(scope="module")
def views():
    from helpers.pairs.views import render

    return render("train", 120, image_size=64).views.astype("float32") / 255


def test_kid_sees_a_faint_grid(views):
    """Two halves of real views are alike; one with a grid of 4 px and 2 % contrast is not."""
    first, second = views[::2], views[1::2]
    grid = np.zeros((64, 64, 1), "float32")
    grid[::4], grid[:, ::4] = 1, 1
    spoiled = np.clip(second + 0.02 * (grid - grid.mean()), 0, 1)
    embedded = [features.embed(images) for images in (first, second, spoiled)]
    halves = []
    for seed in range(20):  # how much KID changes from split to split of views that are alike
        order = np.random.default_rng(seed).permutation(len(views))
        both = np.concatenate(embedded[:2])[order]
        halves.append(metrics.kid(both[:60], both[60:]))
    error = np.std(halves)
    assert abs(metrics.kid(embedded[0], embedded[1])) < 3 * error
    assert metrics.kid(embedded[0], embedded[2]) > 10 * error


def test_nothing_of_the_data_side_loads_tensorflow():
    code = "import sys; from helpers import scenes, metrics, show; from helpers.acquire import packs, pytorch_file"
    done = subprocess.run([sys.executable, "-c", f"{code}; assert 'tensorflow' not in sys.modules"])
    assert done.returncode == 0
