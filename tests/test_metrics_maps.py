"""Scores of maps against counting by hand, by brute force, and against SciPy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from helpers import metrics

LEGEND = {"sea": (0, 0, 255), "land": (0, 255, 0), "ice": (255, 255, 255)}


def classes(seed, batch=4, height=12, width=15, count=4):
    return np.random.default_rng(seed).integers(0, count, (batch, height, width))


# --- classes


def test_colours_become_the_nearest_class():
    picture = np.array([[[0, 0, 255], [10, 240, 30], [250, 250, 250]], [[0, 128, 127], [0, 127, 128], [255, 0, 255]]])
    expected = [[0, 1, 2], [1, 0, 0]]  # the last is 255 from sea and from ice: the first of the legend
    assert metrics.decode(picture.astype(np.uint8), LEGEND).tolist() == expected
    assert metrics.decode(picture[None] / 255, LEGEND).tolist() == [expected]
    assert metrics.decode(np.array([[[-0.2, 0.9, 1.4]]]), {"a": (0, 255, 255), "b": (0, 0, 0)}) == [[0]]


def test_what_has_no_colour_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 5, 4\)"):
        metrics.decode(np.zeros((4, 5, 4)), LEGEND)
    with pytest.raises(ValueError, match="2 values .* NaN"):
        metrics.decode(np.array([[[np.nan, 0, np.inf]]]), LEGEND)


def test_confusion_counts_every_pixel_once():
    truth, estimate = classes(0), classes(1)
    found = metrics.confusion(truth.astype(np.uint8), estimate.astype(np.uint8), 4)
    for image, true, guess in itertools.product(range(4), repeat=3):
        assert found[image, true, guess] == np.sum((truth[image] == true) & (estimate[image] == guess))
    assert found.shape == (4, 4, 4) and (found.sum(axis=(1, 2)) == 12 * 15).all()


def test_iou_and_accuracy_by_hand():
    # class 0: 3 hits, one more true, two more estimated: 3 / 6; class 1: 2 hits of 2 + 2 + 1; class 2: absent
    counts = metrics.confusion([[[0, 0, 0, 0, 1, 1, 1, 1]]], [[[0, 0, 0, 1, 1, 1, 0, 0]]], 3)
    assert metrics.iou(counts)[0, :2] == pytest.approx([3 / 6, 2 / 5]) and np.isnan(metrics.iou(counts)[0, 2])
    assert metrics.mean_iou(counts) == pytest.approx([(1 / 2 + 2 / 5) / 2])
    assert metrics.map_scores(counts, "012")["pixel_accuracy"] == 5 / 8


def test_a_class_that_is_only_estimated_counts_as_0():
    counts = metrics.confusion([[[0, 0, 0, 0]]], [[[0, 0, 0, 2]]], 3)
    assert metrics.iou(counts)[0, [0, 2]] == pytest.approx([3 / 4, 0])
    assert metrics.mean_iou(counts) == pytest.approx([3 / 8])


def test_pooled_iou_is_not_the_mean_of_images():
    counts = metrics.confusion([[[0, 0, 0, 1]], [[1, 1, 1, 1]]], [[[0, 0, 0, 0]], [[1, 1, 1, 1]]], 2)
    assert metrics.mean_iou(counts.sum(axis=0)) == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert metrics.mean_iou(counts).mean() == pytest.approx(((3 / 4 + 0) / 2 + 1) / 2)


@pytest.mark.parametrize("truth, estimate, message", [
    ([[0, 1]], [[0, 1]], r"classes\[None\]"),
    ([[[0, 1]]], [[[0, 1, 2]]], r"\(1, 1, 2\) and \(1, 1, 3\)"),
    ([[[0, 1]]], [[[0, 3]]], "truth and estimate hold classes 0 to 3, int64; expected whole numbers from 0 to 2"),
    ([[[-1, 1]]], [[[0, 1]]], "hold classes -1 to 1"),
    ([[[0, 1]]], [[[0.0, 1.0]]], "hold classes 0.0 to 1.0, float64"),
])  # fmt: skip
def test_wrong_classes(truth, estimate, message):
    with pytest.raises(ValueError, match=message):
        metrics.confusion(truth, estimate, 3)


# --- gains


@pytest.fixture
def counted():
    """Confusion of 30 images for a model and a baseline that errs more often; some images are harder than others."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, (30, 10, 10))
    share = rng.uniform(0.1, 0.5, (30, 1, 1))
    wrong = (truth + rng.integers(1, 3, truth.shape)) % 3
    draw = rng.random(truth.shape)
    return [metrics.confusion(truth, np.where(draw < share * worse, wrong, truth), 3) for worse in (1, 1.5)]


def test_pooled_gain_equals_scipy_bootstrap(counted):
    def statistic(images):
        return np.subtract(*(metrics.mean_iou(counts[images].sum(axis=0)) for counts in counted))

    oracle = stats.bootstrap(
        (np.arange(30),), statistic, vectorized=False, n_resamples=4000, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    gain, low, high = metrics.gain_pooled(*counted)
    assert gain == pytest.approx(statistic(np.arange(30))) and 0 < low < gain < high
    np.testing.assert_allclose([low, high], oracle, atol=0.06 * (high - low))


def test_pooled_gain_is_paired_and_seeded(counted):
    model, baseline = counted
    assert metrics.gain_pooled(model, model) == (0, 0, 0)
    assert metrics.gain_pooled(model, baseline, seed=1) == metrics.gain_pooled(model, baseline, seed=1)
    assert metrics.gain_pooled(model, baseline, seed=1) != metrics.gain_pooled(model, baseline, seed=2)
    _, low, high = metrics.gain_pooled(model, baseline)
    _, apart_low, apart_high = metrics.gain_pooled(model, baseline[::-1])
    assert high - low < apart_high - apart_low


def test_pooled_gain_on_wrong_input(counted):
    with pytest.raises(ValueError, match=r"\(30, 3, 3\) and \(29, 3, 3\)"):
        metrics.gain_pooled(counted[0], counted[1][1:])
    with pytest.raises(ValueError, match="at least two"):
        metrics.gain_pooled(counted[0][:1], counted[1][:1])


# --- looks


def test_kid_by_hand():
    # kernel (x y + 1) ** 3: within real k(0, 1) = 1, within fake k(1, 2) = 27, between (1 + 1 + 8 + 27) / 4 = 9.25
    assert metrics.kid([[0], [1]], [[1], [2]]) == pytest.approx(1 + 27 - 2 * 9.25)
    # two features: kernel (x . y / 2 + 1) ** 3: within 8, within 1, between (1 + 1 + 1 + 1) / 4 = 1
    assert metrics.kid([[1, 1], [1, 1]], [[0, 0], [0, 0]]) == pytest.approx(8 + 1 - 2)


def test_kid_is_unbiased():
    rng = np.random.default_rng(0)
    same = [metrics.kid(*rng.normal(size=(2, 8, 3))) for _ in range(2000)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    assert min(same) < 0  # the biased estimate never is
    assert metrics.kid(rng.normal(size=(200, 3)), rng.normal(1, 1, size=(300, 3))) > 10 * np.std(same) / 25


@pytest.mark.parametrize("real, fake, message", [
    ([[1.0, 2.0]], [[1.0, 2.0]] * 2, "at least two"),
    ([[1.0, 2.0]] * 2, [[1.0]] * 2, r"\(2, 2\) and \(2, 1\)"),
    ([[1.0, np.nan]] * 2, [[1.0, 2.0]] * 2, "NaN"),
])  # fmt: skip
def test_kid_on_wrong_input(real, fake, message):
    with pytest.raises(ValueError, match=message):
        metrics.kid(real, fake)
