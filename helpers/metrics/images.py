"""How close an estimate comes to the truth, image by image, and how far one method is ahead of another.

Every metric takes `reference` and `estimate`, both float (batch, height, width, bands) in one unit, and gives one score
per image, float64 (batch,). NaN in the reference means "no data there", and leaves out that pixel in all bands; no
score is ever NaN. A ValueError tells of shapes that differ, of an image without a valid pixel, and of an estimate that
is NaN or infinite where the reference has data (which band, how many): that is a fault of the method.
"""

import numpy as np

SSIM_WINDOW_PX = 7  # the default of skimage.metrics.structural_similarity
RESAMPLES = 10_000  # how often patches or images are drawn anew for an interval


def psnr(reference, estimate, *, data_range):
    """Peak signal-to-noise ratio of each image, over all bands.

    The mean over images is not the ratio of the mean error: average the scores, never the errors.

    Args:
        data_range: largest minus smallest possible value, in the same unit; no default, as a wrong one is silent.

    Returns:
        float64 (batch,), dB; inf where identical.

    Raises:
        ValueError: as of every metric, or `data_range` is not positive.

    Source: ITU-T J.340; cross-checked against skimage.metrics.peak_signal_noise_ratio.
    """
    pairs = _valid_pixels(reference, estimate, data_range=data_range)
    error = np.array([np.mean((truth - guess) ** 2) for truth, guess in pairs])
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / error)


def ssim(reference, estimate, *, data_range):
    """Structural similarity of each image, mean over bands.

    scikit-image's defaults: a uniform window of 7 x 7 pixels, sample covariance, K1 = 0.01, K2 = 0.03. Only windows
    that lie whole inside the image and touch no no-data pixel count. Wang's Gaussian window gives other numbers.

    Returns:
        float64 (batch,), at most 1, which means identical.

    Raises:
        ValueError: as of `psnr`, or an image has no whole window with data.

    Source: Wang et al. 2004; the map is skimage.metrics.structural_similarity's.
    """
    from skimage.metrics import structural_similarity

    scores, margin = [], SSIM_WINDOW_PX // 2
    for index, (truth, guess, valid) in enumerate(_images(reference, estimate, data_range=data_range)):
        windows = min(valid.shape) >= SSIM_WINDOW_PX and np.lib.stride_tricks.sliding_window_view(
            valid, (SSIM_WINDOW_PX, SSIM_WINDOW_PX)
        ).all(axis=(2, 3))
        if not np.any(windows):
            raise ValueError(
                f"image {index} ({valid.shape[0]} x {valid.shape[1]} pixels) has no window of {SSIM_WINDOW_PX} x "
                f"{SSIM_WINDOW_PX} pixels that are all valid, and SSIM needs one: leave it out, or use larger images"
            )
        filled = [np.where(valid[..., None], image, 0) for image in (truth, guess)]  # NaN would spread in the filter
        _, similarity = structural_similarity(
            *filled, win_size=SSIM_WINDOW_PX, data_range=data_range, channel_axis=-1, full=True
        )
        scores.append(similarity[margin:-margin, margin:-margin][windows].mean())
    return np.array(scores)


def mae(reference, estimate):
    """Mean absolute error of each image, over all bands, in the unit of the images."""
    return np.array([np.mean(np.abs(truth - guess)) for truth, guess in _valid_pixels(reference, estimate)])


def rmse(reference, estimate):
    """Root mean square error of each image, over all bands, in the unit of the images.

    Source: cross-checked against skimage.metrics.mean_squared_error.
    """
    return np.array([np.sqrt(np.mean((truth - guess) ** 2)) for truth, guess in _valid_pixels(reference, estimate)])


def spectral_angle_deg(reference, estimate):
    """Angle between the two spectra of a pixel, mean over the pixels of each image: error of colour, not of brightness.

    Give reflectance or digital numbers, not values mapped to 0 to 1: an offset changes the angle. A black pixel has no
    direction: beside another black one it counts 0, beside any other 90 degrees. One band is no spectrum: non-negative
    values always give 0.

    Returns:
        float64 (batch,), degrees, 0 to 180.

    Source: Kruse et al. 1993, computed by Kahan's formula, as an arc cosine loses small angles to rounding.
    """

    scores = []
    for pair in _valid_pixels(reference, estimate):
        u, v = (spectra / _nonzero(np.linalg.norm(spectra, axis=1, keepdims=True)) for spectra in pair)
        half = np.arctan2(np.linalg.norm(u - v, axis=1), np.linalg.norm(u + v, axis=1))
        scores.append(np.rad2deg(2 * half).mean())
    return np.array(scores)


def ergas(reference, estimate, *, scale):
    """Relative error of each image over all bands, in per cent, divided by the scale ("erreur relative globale").

    Every band counts by its error relative to its own mean, so that a dark band weighs as much as a bright one.

    Args:
        reference, estimate: not mapped to 0 to 1: an offset changes the means.
        scale: pixel width of the low-resolution image over that of the high-resolution one; 4 for x4, 1 where the
            size is kept. Published code disagrees on this factor: compare only numbers that were computed alike.

    Returns:
        float64 (batch,), per cent.

    Raises:
        ValueError: as of every metric, `scale` is not positive, or a band's mean is 0.

    Source: Wald 2002, "Data Fusion", equation for ERGAS.
    """
    scores = []
    for index, (truth, guess) in enumerate(_valid_pixels(reference, estimate, scale=scale)):
        mean = truth.mean(axis=0)
        if not mean.all():
            raise ValueError(
                f"the mean of band {np.argmin(mean != 0)} of image {index} is 0, and ERGAS divides by it: give "
                "reflectance or digital numbers, and leave out empty images"
            )
        relative = np.mean((truth - guess) ** 2, axis=0) / mean**2
        scores.append(100 / scale * np.sqrt(relative.mean()))
    return np.array(scores)


def pearson(reference, estimate):
    """Linear correlation of each band of each image, blind to offset and gain.

    Returns:
        float64 (batch, bands), -1 to 1; 0 where a band of either image is constant: it shows no relation, even if
        both are equal.

    Source: cross-checked against scipy.stats.pearsonr.
    """
    scores = []
    for truth, guess in _valid_pixels(reference, estimate):
        constant = (np.ptp(truth, axis=0) == 0) | (np.ptp(guess, axis=0) == 0)
        truth, guess = (values - values.mean(axis=0) for values in (truth, guess))
        lengths = np.linalg.norm(truth, axis=0) * np.linalg.norm(guess, axis=0)
        scores.append(np.where(constant, 0, np.clip((truth * guess).sum(axis=0) / _nonzero(lengths), -1, 1)))
    return np.array(scores)


def shift_px(reference, estimate):
    """By how much each image lies beside its reference, to a hundredth of a pixel: phase correlation.

    Returns:
        float64 (batch, 2), rows and columns that the estimate's content, its mean over bands, lies too far down and
        right.

    Raises:
        ValueError: as of every metric, or there is a no-data pixel.

    Source: Guizar-Sicairos et al. 2008, as skimage.registration.phase_cross_correlation has it.
    """
    from skimage.registration import phase_cross_correlation

    found = []
    for index, (truth, guess, valid) in enumerate(_images(reference, estimate)):
        if not valid.all():
            raise ValueError(f"image {index} has {(~valid).sum()} no-data pixels: cut them off to measure a shift")
        fade = np.outer(*map(np.hanning, truth.shape[:2]))  # else the edges, which do not move, pull towards zero
        means = [fade * (image.mean(axis=-1) - image.mean()) for image in (truth, guess)]
        found.append(-phase_cross_correlation(*means, upsample_factor=100, normalization=None)[0])
    return np.array(found)


def detail(reference, estimate, baseline):
    """What an estimate does with the detail that a baseline lacks: finds it, leaves it out, or invents other detail.

    Missing is what the reference has and the baseline has not; added is what the estimate has beyond the baseline.
    Where both have the same sign, the smaller of the two is improvement; the rest of what is missing is omission, and
    the rest of what is added is hallucination. So omission + hallucination is the estimate's absolute error, and
    improvement + omission the baseline's.

    Returns:
        dict from "improvement", "omission", "hallucination" to maps, float64 (batch, height, width), mean over bands,
        in shares of the image's mean missing detail; NaN without data. The mean of a map is its score; those of
        improvement and omission sum to 1.

    Raises:
        ValueError: as of every metric, or the baseline lacks nothing.

    Source: the idea of opensr-test (Aybar et al. 2024), with a split of the error of our own that adds up.
    """
    maps = {"improvement": [], "omission": [], "hallucination": []}
    images = zip(_images(reference, estimate), _images(reference, baseline), strict=True)
    for index, ((truth, guess, valid), (_, base, _)) in enumerate(images):
        missing, added = np.where(valid[..., None], truth - base, np.nan), guess - base
        whole = np.nanmean(np.abs(missing))
        if not whole:
            raise ValueError(f"image {index}: the baseline equals the reference, nothing is missing")
        found = np.where(missing * added > 0, np.minimum(np.abs(missing), np.abs(added)), 0 * missing)
        for name, part in zip(maps, (found, np.abs(missing) - found, np.abs(added) - found), strict=True):
            maps[name].append(part.mean(axis=-1) / whole)
    return {name: np.array(found) for name, found in maps.items()}


def gain(model_scores, baseline_scores, *, seed=0, better="higher"):
    """By how much a model beats a baseline on the same patches, with a 95 % bootstrap interval.

    The difference is taken patch by patch, as some ground is hard for every method. Patches of one block of ground
    resemble each other, so the true uncertainty is rather larger than the interval.

    Args:
        model_scores, baseline_scores: float (patches,), of the same patches in the same order.
        seed: of the resampling; the same seed gives the same interval.
        better: "higher" (PSNR, SSIM, …) or "lower" (errors).

    Returns:
        (mean, low, high), floats; positive is in favour of the model.

    Raises:
        ValueError: not two lists of one length, fewer than two patches, a score that is not finite, or another word
            for `better`.

    Source: Efron 1979, percentile interval; cross-checked against scipy.stats.bootstrap.
    """
    model, baseline = np.asarray(model_scores, np.float64), np.asarray(baseline_scores, np.float64)
    if model.shape != baseline.shape or model.ndim != 1 or model.size < 2:
        raise ValueError(
            f"scores have shapes {model.shape} and {baseline.shape}; expected one score per patch, the same patches "
            "in both, and at least two"
        )
    if better not in {"higher", "lower"}:
        raise ValueError(f'better is {better!r}; expected "higher" or "lower"')
    if faulty := np.count_nonzero(~np.isfinite(model) | ~np.isfinite(baseline)):
        raise ValueError(
            f"{faulty} of {model.size} patches have a score that is not finite (PSNR is inf where the images are "
            "identical): leave those patches out of both, and say so"
        )
    better_by = model - baseline if better == "higher" else baseline - model
    draw, patches = np.random.default_rng(seed).integers, better_by.size
    at_once = max(1, 1_000_000 // patches)  # resamples in memory at a time: 8 MB of indices
    counts = [min(at_once, RESAMPLES - done) for done in range(0, RESAMPLES, at_once)]
    means = np.concatenate([better_by[draw(patches, size=(count, patches))].mean(axis=1) for count in counts])
    low, high = np.percentile(means, [2.5, 97.5])
    return float(better_by.mean()), float(low), float(high)


def _images(reference, estimate, **positive):
    """Check a batch, then yield each image: reference, estimate (height, width, bands), valid (height, width).

    One image at a time becomes float64, so that a large batch is not held twice.
    """
    for name, value in positive.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} is {value}; expected a number above 0")
    reference, estimate = np.asarray(reference), np.asarray(estimate)
    if reference.shape != estimate.shape or reference.ndim != 4 or not reference.size:
        raise ValueError(
            f"reference has shape {reference.shape}, estimate {estimate.shape}; expected the same shape "
            "(batch, height, width, bands) for both, none of them 0; image[None] makes a batch of one image"
        )
    valid = ~np.isnan(reference).any(axis=-1)
    for name, images in (("reference", reference), ("estimate", estimate)):
        faulty = np.count_nonzero(~np.isfinite(images) & valid[..., None], axis=(0, 1, 2))
        if faulty.any():
            bands = ", ".join(f"{count} in band {band}" for band, count in enumerate(faulty) if count)
            raise ValueError(f"the {name} has values that are NaN or infinite where there is data: {bands}")
    if empty := np.flatnonzero(~valid.any(axis=(1, 2))).tolist():
        raise ValueError(f"no valid pixel in image {', '.join(map(str, empty))}: leave out images without data")
    for truth, guess, where in zip(reference, estimate, valid, strict=True):
        yield truth.astype(np.float64), guess.astype(np.float64), where


def _valid_pixels(reference, estimate, **positive):
    """The same, as lists of the valid pixels: reference, estimate (pixels, bands)."""
    for truth, guess, valid in _images(reference, estimate, **positive):
        yield truth[valid], guess[valid]


def _nonzero(lengths):
    return np.where(lengths == 0, 1, lengths)
