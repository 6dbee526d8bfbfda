"""Compute how far one method is ahead of another, with a bootstrap interval."""

import numpy as np

from helpers.metrics.maps import mean_iou
from helpers.metrics.shapes import of_one_shape

RESAMPLES = 10_000  # how often patches or images are drawn anew for an interval
AT_ONCE = 50  # of them in memory at a time: 8 MB of indices for 20,000 patches


def gain(model_scores, baseline_scores, *, seed=0):
    """Compute how far a model beats a baseline on the same patches, with a 95 % bootstrap interval.

    The difference is taken patch by patch, as some ground is hard for every method. Patches of one
    block of ground resemble each other, so the true uncertainty is rather larger than the interval.

    Args:
        model_scores, baseline_scores: float (patches,), of the same patches in the same order.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        (mean, low, high), floats; positive where the model's scores are higher.

    Raises:
        ValueError: not two lists of one length, fewer than two patches, or a score that is not
            finite.

    Source: Efron 1979, percentile interval; cross-checked against scipy.stats.bootstrap.
    """
    from scipy.stats import bootstrap  # takes half a second to load

    model, baseline = of_one_shape(
        model_scores,
        baseline_scores,
        "one score per patch, the same patches in both, and at least two",
        axes=1,
        least=2,
    )
    ahead = np.subtract(model, baseline, dtype=float)
    if faulty := np.count_nonzero(~np.isfinite(ahead)):
        raise ValueError(
            f"{faulty} of {ahead.size} patches have a score that is not finite (PSNR is inf where "
            "the images are identical): leave those patches out of both, and say so"
        )
    draws = bootstrap(
        [ahead],
        np.mean,
        n_resamples=RESAMPLES,
        batch=AT_ONCE,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return float(ahead.mean()), *map(float, draws.confidence_interval)


def gain_pooled(model_counts, baseline_counts, *, seed=0):
    """Compute how far a model beats a baseline in mean IoU, with a 95 % bootstrap interval.

    Images are resampled with replacement, the same for both; their counts are summed before they
    are scored. Images of one continent resemble each other, so the true uncertainty is rather
    larger than the interval.

    Args:
        model_counts, baseline_counts: (images, count, count), of the same images, from `confusion`.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        (gain, low, high), floats; positive is in favour of the model. The gain is that of all
        images, not the mean of the draws.

    Raises:
        ValueError: not two sets of counts of one shape, or fewer than two images.

    Source: Efron 1979, percentile interval.
    """
    model, baseline = of_one_shape(
        model_counts,
        baseline_counts,
        "counts of the same images, at least two",
        axes=3,
        least=2,
    )
    images = len(model)
    draw = np.random.default_rng(seed).multinomial
    draws = draw(images, np.full(images, 1 / images), size=RESAMPLES)
    drawn_model = np.tensordot(draws, model, 1)
    drawn_baseline = np.tensordot(draws, baseline, 1)
    gains = mean_iou(drawn_model) - mean_iou(drawn_baseline)
    gain = mean_iou(model.sum(axis=0)) - mean_iou(baseline.sum(axis=0))
    return float(gain), *map(float, np.percentile(gains, [2.5, 97.5]))
