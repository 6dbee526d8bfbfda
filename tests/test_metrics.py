"""Each metric against an independent oracle, with no data and on wrong input."""

import numpy as np
import pytest
from scipy import stats
from skimage import metrics as oracle

from helpers import metrics

ALL = {
    "psnr": lambda reference, estimate: metrics.psnr(reference, estimate, data_range=1),
    "ssim": lambda reference, estimate: metrics.ssim(reference, estimate, data_range=1),
    "mae": metrics.mae,
    "rmse": metrics.rmse,
    "spectral_angle_deg": metrics.spectral_angle_deg,
    "ergas": lambda reference, estimate: metrics.ergas(reference, estimate, scale=4),
    "pearson": metrics.pearson,
}
every_metric = pytest.mark.parametrize("metric", ALL.values(), ids=ALL)


def image(*spectra):
    """A batch of one image, one pixel high."""
    return np.array([[spectra]], dtype=float)


@pytest.fixture
def pair():
    """Four smooth random images with three bands of unlike brightness, and estimates of unlike quality."""
    rng = np.random.default_rng(0)
    reference = rng.random((4, 20, 24, 3)).cumsum(axis=1).cumsum(axis=2) / 500 * [0.3, 0.6, 1.0]
    noise = rng.normal(size=reference.shape) * np.array([0.01, 0.02, 0.05, 0.2])[:, None, None, None]
    return reference.astype("float32"), (reference + noise).astype("float32")


def test_psnr_equals_skimage(pair):
    reference, estimate = (images.astype(float) for images in pair)
    for data_range in (1, 65535):
        expected = [
            oracle.peak_signal_noise_ratio(*images, data_range=data_range)
            for images in zip(reference, estimate, strict=True)
        ]
        np.testing.assert_allclose(metrics.psnr(reference, estimate, data_range=data_range), expected, rtol=1e-12)


def test_psnr_of_known_error():
    # an error of 0.1 everywhere, in values of 0..1: 10 log10(1 / 0.01) = 20 dB
    assert metrics.psnr(np.full((1, 8, 8, 3), 0.5), np.full((1, 8, 8, 3), 0.6), data_range=1) == pytest.approx([20])


def test_identical_images(pair):
    reference, _ = pair
    assert (metrics.psnr(reference, reference, data_range=1) == np.inf).all()
    assert (metrics.ssim(reference, reference, data_range=1) == 1).all()
    for metric in ("mae", "rmse", "spectral_angle_deg", "ergas"):
        assert (ALL[metric](reference, reference) == 0).all()
    np.testing.assert_allclose(metrics.pearson(reference, reference), 1)


def test_psnr_averaged_over_images_is_not_that_of_the_mean_error(pair):
    """PITFALLS 12."""
    per_image = metrics.psnr(*pair, data_range=1)
    of_the_mean_error = 10 * np.log10(1 / np.mean(metrics.rmse(*pair) ** 2))
    assert per_image.mean() > of_the_mean_error + 3
    # errors of 0.1 and 0.01: 20 and 40 dB, 30 dB on average; their mean squared error, 0.00505, is 22.97 dB
    reference, estimate = np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8, 1))
    estimate[0], estimate[1] = 0.1, 0.01
    assert metrics.psnr(reference, estimate, data_range=1).mean() == pytest.approx(30)
    assert 10 * np.log10(1 / np.mean((reference - estimate) ** 2)) == pytest.approx(22.967, abs=1e-3)


def test_ssim_equals_skimage(pair):
    reference, estimate = (images.astype(float) for images in pair)
    for data_range in (1, 4):
        expected = [
            oracle.structural_similarity(*images, data_range=data_range, channel_axis=-1)
            for images in zip(reference, estimate, strict=True)
        ]
        np.testing.assert_allclose(metrics.ssim(reference, estimate, data_range=data_range), expected, rtol=1e-12)


def test_ssim_needs_its_range_and_bands(pair):
    """PITFALLS 13: a wrong range, or bands taken for a third dimension of space, gives other numbers."""
    reference, estimate = (images.astype(float) for images in pair)
    right = metrics.ssim(reference, estimate, data_range=1)
    assert (np.abs(metrics.ssim(reference, estimate, data_range=255) - right) > 1e-3).all()
    wide = [np.repeat(images[3], 3, axis=-1) for images in (reference, estimate)]
    assert abs(oracle.structural_similarity(*wide, data_range=1) - right[3]) > 1e-3
    with pytest.raises(TypeError, match="data_range"):
        metrics.ssim(reference, estimate)


def test_mae_and_rmse(pair):
    reference, estimate = (images.astype(float) for images in pair)
    squared = [oracle.mean_squared_error(*images) for images in zip(reference, estimate, strict=True)]
    np.testing.assert_allclose(metrics.rmse(reference, estimate), np.sqrt(squared), rtol=1e-12)
    # errors 3 and -4: (3 + 4) / 2 = 3.5 and sqrt((9 + 16) / 2) = 3.5355
    assert metrics.mae(image([0, 0]), image([3, -4])) == pytest.approx([3.5])
    assert metrics.rmse(image([0, 0]), image([3, -4])) == pytest.approx([3.535534])


def test_unsigned_integers_do_not_wrap_around():
    reference, estimate = np.full((1, 8, 8, 1), 10, "uint16"), np.full((1, 8, 8, 1), 12, "uint16")
    assert metrics.mae(reference, estimate) == metrics.rmse(reference, estimate) == 2


@pytest.mark.parametrize(
    ("reference", "estimate", "angle_deg"),
    [
        ([1, 0], [1, 1], 45),
        ([1, 2, 3], [10, 20, 30], 0),  # brightness alone: no angle
        ([1, 0, 0], [0, 5, 0], 90),
        ([1, 0], [-2, 0], 180),
        ([1, 1], [1, 1.0001], 0.0028646),  # 0.0001 / 2 rad; the plain arc cosine of float32 values is NaN
        ([3, 4], [4, 3], 16.260205),  # cos = (12 + 12) / 25 = 0.96
        ([1, 2], [0, 0], 90),
        ([0, 0], [0, 0], 0),
    ],
)
def test_spectral_angle_of_one_pixel(reference, estimate, angle_deg):
    assert metrics.spectral_angle_deg(image(reference), image(estimate)) == pytest.approx([angle_deg], rel=1e-4)


def test_spectral_angle_is_the_mean_over_pixels():
    reference, estimate = image([1, 0], [1, 0], [2, 2]), image([1, 1], [0, 3], [1, 1])
    assert metrics.spectral_angle_deg(reference, estimate) == pytest.approx([(45 + 90 + 0) / 3])


def test_ergas_by_hand():
    # band 0: mean 10, errors 1 and -1, RMSE 1, relative 0.1; band 1: mean 200, errors 0 and 20, RMSE 14.142136,
    # relative 0.0707107. sqrt((0.01 + 0.005) / 2) = 0.0866025; times 100 / 4 = 2.165064
    reference, estimate = image([8, 100], [12, 300]), image([9, 100], [11, 320])
    assert metrics.ergas(reference, estimate, scale=4) == pytest.approx([2.165064], rel=1e-6)
    assert metrics.ergas(reference, estimate, scale=1) == pytest.approx([8.660254], rel=1e-6)


def test_pearson_equals_scipy(pair):
    scores = metrics.pearson(*pair)
    assert scores.shape == (4, 3)
    for index, band in np.ndindex(scores.shape):
        reference, estimate = (images[index, ..., band].ravel().astype(float) for images in pair)
        assert scores[index, band] == pytest.approx(stats.pearsonr(reference, estimate).statistic, rel=1e-10)


def test_pearson_of_a_constant_band_is_0():
    ramp = np.linspace(0, 1, 63).reshape(1, 7, 9, 1)
    constant = np.full((1, 7, 9, 1), 0.1)
    assert constant.mean() != 0.1  # rounding: the deviations from the mean are tiny, but not 0
    assert metrics.pearson(ramp, constant) == metrics.pearson(constant, ramp) == 0
    assert metrics.pearson(constant, constant) == 0
    assert metrics.pearson(ramp, 5 - 2 * ramp) == pytest.approx(-1)


@pytest.mark.parametrize("name", [name for name in ALL if name != "ssim"])
def test_no_data_is_left_out(name, pair):
    """The score is that of the valid pixels alone, whatever the estimate holds elsewhere."""
    reference, estimate = pair
    valid = np.random.default_rng(1).random(reference.shape[1:3]) > 0.3
    alone = ALL[name](reference[:, valid][:, None], estimate[:, valid][:, None])
    reference, estimate = reference.copy(), estimate.copy()
    reference[:, ~valid, 1] = np.nan  # one band without data leaves out the pixel
    estimate[:, ~valid] = [np.nan, np.inf, 1e30]
    np.testing.assert_allclose(ALL[name](reference, estimate), alone, rtol=1e-12)


def test_ssim_leaves_out_every_window_that_touches_no_data(pair):
    reference, estimate = (images.astype(float) for images in pair)
    left = metrics.ssim(reference[:, :, :15], estimate[:, :, :15], data_range=1)
    reference[:, :, 15:, 0] = np.nan
    estimate[:, :, 15:] = np.nan
    np.testing.assert_allclose(metrics.ssim(reference, estimate, data_range=1), left, rtol=1e-12)


def test_ssim_around_a_single_missing_pixel(pair):
    reference, estimate = (images[:1].astype(float) for images in pair)
    _, similarity = oracle.structural_similarity(reference[0], estimate[0], data_range=1, channel_axis=-1, full=True)
    centres = [
        (row, column)
        for row in range(3, 17)
        for column in range(3, 21)
        if max(abs(row - 9), abs(column - 11)) > 3  # no window of 7 x 7 around it holds (9, 11)
    ]
    reference[0, 9, 11] = np.nan
    expected = np.mean([similarity[centre] for centre in centres])
    assert metrics.ssim(reference, estimate, data_range=1) == pytest.approx([expected], rel=1e-12)


@every_metric
def test_one_score_an_image(metric, pair):
    scores = metric(*pair)
    assert scores.dtype == np.float64 and len(scores) == 4
    each = [metric(reference[None], estimate[None])[0] for reference, estimate in zip(*pair, strict=True)]
    np.testing.assert_array_equal(scores, each)


@every_metric
@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_estimate_that_is_not_finite(metric, fault, pair):
    reference, estimate = pair
    estimate[1, 2:4, 5, 2] = fault
    estimate[3, 0, 0, 0] = fault
    with pytest.raises(ValueError, match=r"the estimate .* in each band \[1, 0, 2\]$"):
        metric(reference, estimate)


@every_metric
def test_wrong_input(metric, pair):
    reference, estimate = pair
    with pytest.raises(ValueError, match=r"\(4, 20, 24, 3\).*\(4, 19, 24, 3\)"):
        metric(reference, estimate[:, 1:])
    with pytest.raises(ValueError, match=r"image\[None\]"):
        metric(reference[0], estimate[0])
    with pytest.raises(ValueError, match="none of them 0"):
        metric(reference[:0], estimate[:0])
    reference[0, 0, 0, 1] = np.inf
    with pytest.raises(ValueError, match=r"the reference .* in each band \[0, 1, 0\]"):
        metric(reference, estimate)
    reference[[1, 3]] = np.nan
    reference[0] = 0.5
    with pytest.raises(ValueError, match="no valid pixel in images .1 3."):
        metric(reference, estimate)


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_ranges_and_scales_are_positive(value, pair):
    for metric in (metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match="data_range is"):
            metric(*pair, data_range=value)
    with pytest.raises(ValueError, match="scale is"):
        metrics.ergas(*pair, scale=value)


def test_ssim_needs_a_whole_window(pair):
    reference, estimate = pair
    with pytest.raises(ValueError, match=r"image 0 of \(6, 24\) pixels has no window of 7 x 7"):
        metrics.ssim(reference[:, :6], estimate[:, :6], data_range=1)
    reference[2, ::5] = np.nan
    with pytest.raises(ValueError, match="image 2 "):
        metrics.ssim(reference, estimate, data_range=1)


def test_ergas_of_an_empty_band(pair):
    reference, estimate = pair
    reference[3, ..., 1] = 0
    with pytest.raises(ValueError, match="band 1 of image 3 is 0"):
        metrics.ergas(reference, estimate, scale=4)


def test_gain_equals_scipy_bootstrap():
    rng = np.random.default_rng(0)
    baseline = rng.normal(24, 3, size=60)
    model = baseline + rng.gamma(2, 0.4, size=60)
    mean, low, high = metrics.gain(model, baseline)
    interval = stats.bootstrap(
        ((model - baseline),), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert mean == pytest.approx(np.mean(model - baseline)) and low < mean < high
    # two bootstraps of 10,000 differ by chance: about 1 % of the interval's width
    np.testing.assert_allclose([low, high], interval, atol=0.05 * (high - low))


def test_gain_by_hand():
    # differences 0 and 1: a resample has the mean 0 (1/4), 1/2 (1/2) or 1 (1/4), so the middle 95 % reach from 0 to 1
    assert metrics.gain([5, 6], [5, 5]) == (0.5, 0, 1)
    assert metrics.gain([3, 4, 5], [1, 2, 3]) == (2, 2, 2)


def test_gain_is_paired_and_seeded():
    rng = np.random.default_rng(0)
    baseline = rng.normal(24, 10, size=50)
    model = baseline + rng.normal(0.5, 0.1, size=50)
    _, low, high = metrics.gain(model, baseline)
    assert 0.4 < low < 0.5 < high < 0.6  # the spread between patches is no part of it
    assert metrics.gain(model, baseline, seed=1) == metrics.gain(model, baseline, seed=1)
    assert metrics.gain(model, baseline, seed=1) != metrics.gain(model, baseline, seed=2)


def test_gain_is_bounded_in_memory(monkeypatch):
    import tracemalloc

    monkeypatch.setattr("helpers.metrics.gains.RESAMPLES", 500)
    rng = np.random.default_rng(0)
    model, baseline = rng.random((2, 20_000))
    tracemalloc.start()
    metrics.gain(model, baseline)  # at once: 500 x 20,000 indices and values, 160 MB
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6


@pytest.mark.parametrize(
    ("model", "baseline", "message"),
    [
        ([1, 2], [1, 2, 3], r"shapes \(2,\) and \(3,\)"),
        ([[1, 2]], [[1, 2]], "one score per patch"),
        ([1], [2], "at least two"),
        ([1, np.inf, 2], [1, 1, np.nan], "2 of 3 patches"),
    ],
)
def test_gain_on_wrong_input(model, baseline, message):
    with pytest.raises(ValueError, match=message):
        metrics.gain(model, baseline)
