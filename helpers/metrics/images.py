"""Score estimates image by image.

Every metric takes `reference` and `estimate`, both float (batch, height, width, bands) in one unit,
and returns one score per image, float64 (batch,). NaN in the reference means "no data there" and
leaves out that pixel in all bands; no score is ever NaN. A ValueError tells of shapes that differ,
of an image without a valid pixel, and of an estimate that is NaN or infinite where the reference
has data (which band, how many): that is a fault of the method.
"""

import numpy as np

from helpers.metrics.shapes import of_one_shape

SSIM_WINDOW_PX = 7  # the default of skimage.metrics.structural_similarity


def psnr(reference, estimate, *, data_range):
    """Compute the peak signal-to-noise ratio of each image, over all bands.

    The mean over images is not the ratio of the mean error: average the scores, never the errors.

    Args:
        data_range: largest minus smallest possible value, in the same unit; no default, as a wrong
            one is silent.

    Returns:
        float64 (batch,), dB; inf where identical.

    Raises:
        ValueError: as of every metric, or `data_range` is not positive.

    Source: ITU-T J.340; cross-checked against skimage.metrics.peak_signal_noise_ratio.
    """
    _check_positive("data_range", data_range)
    error = _per_image(_squared_error, reference, estimate)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(data_range**2 / error)


def ssim(reference, estimate, *, data_range):
    """Compute the structural similarity of each image, mean over bands.

    scikit-image's defaults: a uniform window of 7 x 7 pixels, sample covariance, K1 = 0.01, K2 =
    0.03. Only windows that lie whole inside the image and touch no no-data pixel count. Wang's
    Gaussian window gives other numbers.

    Returns:
        float64 (batch,), at most 1, which means identical.

    Raises:
        ValueError: as of `psnr`, or an image has no whole window with data.

    Source: Wang et al. 2004; the map is skimage.metrics.structural_similarity's.
    """
    from scipy.ndimage import minimum_filter
    from skimage.metrics import structural_similarity

    _check_positive("data_range", data_range)
    inner = slice(3, -3)
    scores = []
    for index, (truth, guess, valid) in enumerate(_images(reference, estimate)):
        # centres of windows without a no-data pixel
        windows = minimum_filter(valid, SSIM_WINDOW_PX)[inner, inner]
        if not windows.any():
            raise ValueError(
                f"image {index} of {valid.shape} pixels has no window of 7 x 7 valid pixels, and "
                "SSIM needs one: leave it out, or use larger images"
            )
        truth[~valid] = guess[~valid] = 0  # NaN would spread in the filter
        _, similarity = structural_similarity(
            truth,
            guess,
            channel_axis=-1,
            full=True,
            data_range=data_range,
        )
        scores.append(similarity[inner, inner][windows].mean())
    return np.array(scores)


def mae(reference, estimate):
    """Compute the mean absolute error of each image, over all bands, in the unit of the images."""
    return _per_image(_absolute_error, reference, estimate)


def rmse(reference, estimate):
    """Compute the root mean square error of each image, over all bands, in the unit of the images.

    Source: cross-checked against skimage.metrics.mean_squared_error.
    """
    return np.sqrt(_per_image(_squared_error, reference, estimate))


def spectral_angle_deg(reference, estimate):
    """Compute the angle between the two spectra of a pixel, mean over the pixels of each image.

    It is an error of colour, not of brightness. Give reflectance or digital numbers, not values
    mapped to 0 to 1: an offset changes the angle. A black pixel has no direction: beside another
    black one it counts 0, beside any other 90 degrees. One band is no spectrum: non-negative values
    always give 0.

    Returns:
        float64 (batch,), degrees, 0 to 180.

    Source: Kruse et al. 1993, by Kahan's formula, as an arc cosine loses small angles to rounding.
    """
    return _per_image(_mean_angle_deg, reference, estimate)


def ergas(reference, estimate, *, scale):
    """Compute the relative error of each image over all bands, divided by the scale.

    Every band counts by its error relative to its own mean, so that a dark band weighs as much as a
    bright one ("erreur relative globale").

    Args:
        reference, estimate: not mapped to 0 to 1: an offset changes the means.
        scale: pixel width of the low-resolution image over that of the high-resolution one; 4 for
            x4, 1 where the size is kept. Published code disagrees on this factor: compare only
            numbers that were computed in the same way.

    Returns:
        float64 (batch,), per cent.

    Raises:
        ValueError: as of every metric, `scale` is not positive, or a band's mean is 0.

    Source: Wald 2002, "Data Fusion", equation for ERGAS.
    """
    _check_positive("scale", scale)
    scores = []
    for index, (truth, guess) in enumerate(_valid_pixels(reference, estimate)):
        mean = truth.mean(axis=0)
        if not mean.all():
            raise ValueError(
                f"the mean of band {np.argmin(mean != 0)} of image {index} is 0, and ERGAS divides "
                "by it: give reflectance or digital numbers, and leave out empty images"
            )
        relative = np.mean((truth - guess) ** 2, axis=0) / mean**2
        scores.append(100 / scale * np.sqrt(relative.mean()))
    return np.array(scores)


def pearson(reference, estimate):
    """Compute the linear correlation of each band of each image, blind to offset and gain.

    Returns:
        float64 (batch, bands), -1 to 1; 0 where a band of either image is constant: it shows no
        relation, even if both are equal.

    Source: cross-checked against scipy.stats.pearsonr.
    """
    return _per_image(_correlation, reference, estimate)


def shift_px(reference, estimate):
    """Compute the subpixel misregistration of each image by phase correlation.

    Returns:
        float64 (batch, 2), rows and columns that the estimate's content, its mean over bands, lies
        too far down and right, to a hundredth of a pixel.

    Raises:
        ValueError: as of every metric, or there is a no-data pixel.

    Source: Guizar-Sicairos et al. 2008, as skimage.registration.phase_cross_correlation has it.
    """
    from skimage.registration import phase_cross_correlation

    found = []
    for index, (truth, guess, valid) in enumerate(_images(reference, estimate)):
        if not valid.all():
            raise ValueError(
                f"image {index} has no-data pixels: cut them off to measure a shift"
            )
        height, width = valid.shape
        # unmoved edges would pull to zero
        fade = np.outer(
            np.hanning(height),
            np.hanning(width),
        )
        truth = truth.mean(axis=-1) - truth.mean()
        guess = guess.mean(axis=-1) - guess.mean()
        shift, *_ = phase_cross_correlation(
            fade * truth,
            fade * guess,
            upsample_factor=100,
            normalization=None,
        )
        found.append(-shift)
    return np.array(found)


def error_decomposition(reference, estimate, baseline):
    """Split the error of an estimate into detail that it finds, leaves out and invents.

    Missing is what the reference has and the baseline has not; added is what the estimate has
    beyond the baseline. Where both have the same sign, the smaller of the two is improvement; the
    rest of what is missing is omission, and the rest of what is added is hallucination. So omission
    + hallucination is the estimate's absolute error, and improvement + omission the baseline's.

    Returns:
        dict from "improvement", "omission", "hallucination" to maps, float64 (batch, height,
        width), mean over bands, in shares of the image's mean missing detail; NaN without data. The
        mean of a map is its score; those of improvement and omission sum to 1.

    Raises:
        ValueError: as of every metric, or the baseline lacks nothing.

    Source: the idea of opensr-test (Aybar et al. 2024), with a split of our own that adds up.
    """
    maps = []
    images = zip(
        _images(reference, estimate),
        _images(reference, baseline),
        strict=True,
    )
    for index, ((truth, guess, valid), (_, base, _)) in enumerate(images):
        truth[~valid] = np.nan
        missing = truth - base
        added = guess - base
        absent = np.abs(missing)
        whole = np.nanmean(absent)
        if not whole:
            raise ValueError(
                f"image {index}: the baseline equals the reference, nothing is missing"
            )
        found = np.clip(added * np.sign(missing), 0, absent)
        omitted = absent - found
        invented = np.abs(added) - found
        parts = np.stack([found, omitted, invented])
        maps.append(parts.mean(axis=-1) / whole)
    found, omitted, invented = np.swapaxes(maps, 0, 1)
    return {
        "improvement": found,
        "omission": omitted,
        "hallucination": invented,
    }


def _per_image(score, reference, estimate):
    """Apply a function of valid pixels, twice (pixels, bands), to each image."""
    return np.array([score(*pair) for pair in _valid_pixels(reference, estimate)])


def _absolute_error(truth, guess):
    return np.mean(np.abs(truth - guess))


def _squared_error(truth, guess):
    return np.mean((truth - guess) ** 2)


def _mean_angle_deg(truth, guess):
    u = _unit_length(truth)
    v = _unit_length(guess)
    across = np.linalg.norm(u - v, axis=1)
    along = np.linalg.norm(u + v, axis=1)
    return np.rad2deg(2 * np.arctan2(across, along)).mean()


def _unit_length(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, 1, lengths)


def _correlation(truth, guess):
    varies = np.ptp(truth, axis=0) * np.ptp(guess, axis=0) > 0
    u, v = (_unit_length((bands - bands.mean(axis=0)).T) for bands in (truth, guess))
    return np.where(varies, np.clip((u * v).sum(axis=1), -1, 1), 0)


def _check_positive(name, value):
    if not 0 < value < np.inf:
        raise ValueError(f"{name} is {value}; expected a number above 0")


def _images(reference, estimate):
    """Check a batch, then yield each image: reference, estimate and where it is valid.

    One image at a time becomes float64, so that a large batch is not held twice.
    """
    reference, estimate = of_one_shape(
        reference,
        estimate,
        "the same shape (batch, height, width, bands) for reference and estimate, none of them 0; "
        "image[None] makes a batch of one",
        axes=4,
    )
    valid = ~np.isnan(reference).any(axis=-1)
    for name, images in (("reference", reference), ("estimate", estimate)):
        wrong = np.count_nonzero(~np.isfinite(images)[valid], axis=0)
        if wrong.any():
            raise ValueError(
                f"the {name} has values that are NaN or infinite where there is data: in each "
                f"band {wrong.tolist()}"
            )
    empty = np.flatnonzero(~valid.any(axis=(1, 2)))
    if empty.size:
        raise ValueError(
            f"no valid pixel in images {empty}: leave out images without data"
        )
    for truth, guess, where in zip(reference, estimate, valid, strict=True):
        yield truth.astype(float), guess.astype(float), where


def _valid_pixels(reference, estimate):
    """Yield the valid pixels of each image: reference, estimate (pixels, bands)."""
    for truth, guess, valid in _images(reference, estimate):
        yield truth[valid], guess[valid]
