"""Score maps by the classes of their pixels, and sets of images by how real they look.

Class scores are computed from counts that can be summed, because an image of one continent holds
too little of the rare classes: count image by image, sum, then score. `gain_pooled` draws the
images anew to tell how certain a gain is.
"""

import numpy as np

from helpers.metrics.images import RESAMPLES


def decode(picture, legend):
    """Find the class of every pixel of a map: the nearest colour of the legend, at any distance.

    Args:
        picture: (..., height, width, 3), uint8, or float with 0 to 1 for the same range.
        legend: dict from class to (red, green, blue), 0 to 255.

    Returns:
        uint8 (..., height, width), places in the legend; the first where two are equally near.

    Raises:
        ValueError: no colours, or a value is not finite.
    """
    picture = np.asarray(picture)
    if picture.shape[-1:] != (3,):
        told = f"the picture has shape {picture.shape}"
        raise ValueError(f"{told}; expected (..., height, width, 3): red, green and blue")
    if faulty := np.count_nonzero(~np.isfinite(picture)):
        raise ValueError(f"{faulty} values of the picture are NaN or infinite")
    colours = picture.astype(np.float32)
    if picture.dtype != np.uint8:
        colours *= 255
    distances = [
        ((colours - np.float32(colour)) ** 2).sum(axis=-1)  # squared
        for colour in legend.values()
    ]
    return np.argmin(distances, axis=0).astype(np.uint8)


def confusion(classes, estimate, count):
    """Count how many pixels of each class were taken for which.

    Args:
        classes, estimate: int (batch, height, width), the truth and the estimate.
        count: number of classes; both hold 0 to count - 1.

    Returns:
        int64 (batch, count, count): row true class, column estimated class. `.sum(axis=0)` pools
        the images.

    Raises:
        ValueError: shapes differ, or a class is none of these.
    """
    classes, estimate = np.asarray(classes), np.asarray(estimate)
    if classes.shape != estimate.shape or classes.ndim != 3 or not classes.size:
        raise ValueError(
            f"the truth has shape {classes.shape}, the estimate {estimate.shape}; expected the "
            "same (batch, height, width) for both, none of them 0; classes[None] makes a batch of one"
        )
    _check_classes("truth", classes, count)
    _check_classes("estimate", estimate, count)
    pairs = classes.astype(np.int64) * count + estimate
    counts = [np.bincount(image.ravel(), minlength=count**2) for image in pairs]
    return np.reshape(counts, (-1, count, count))


def _check_classes(name, classes, count):
    if not np.issubdtype(classes.dtype, np.integer):
        told = f"classes are whole numbers, not {classes.dtype}"
        raise ValueError(f"{told}; `decode` finds them in a picture")
    low, high = classes.min(), classes.max()
    if low < 0 or high >= count:
        raise ValueError(f"the {name} holds classes {low} to {high}; expected 0 to {count - 1}")


def iou(confusion):
    """Compute the intersection over union of each class.

    Args:
        confusion: (..., count, count), from `confusion`, pooled or not.

    Returns:
        float64 (..., count), 0 to 1; NaN for a class that is absent from both truth and estimate:
        it was not tested.
    """
    confusion = np.asarray(confusion, np.float64)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
    absent = np.full(union.shape, np.nan)
    return np.divide(hits, union, out=absent, where=union > 0)


def mean_iou(confusion):
    """Return the mean of `iou` over the classes that occur, (...); an invented class counts 0."""
    return np.nanmean(iou(confusion), axis=-1)


def pixel_accuracy(confusion):
    """Return the share of pixels whose class is right, float64 (...); blind to what is rare."""
    confusion = np.asarray(confusion, np.float64)
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    return hits / confusion.sum(axis=(-2, -1))


def map_scores(confusion, classes):
    """Return the scores of all images pooled, and the counts, as `Scoreboard.add` takes them.

    Args:
        confusion: (images, count, count), from `confusion`.
        classes: names of the classes.

    Returns:
        dict with `confusion`, `mean_iou`, `pixel_accuracy`, and `iou_<class>` of each class that
        occurs.
    """
    pooled = confusion.sum(axis=0)
    by_class = zip(classes, iou(pooled), strict=True)
    scores = {"mean_iou": mean_iou(pooled), "pixel_accuracy": pixel_accuracy(pooled)}
    scores |= {f"iou_{name}": value for name, value in by_class if np.isfinite(value)}
    return {"confusion": confusion} | scores


def gain_pooled(model_counts, baseline_counts, score=mean_iou, *, seed=0):
    """Compute how far a model beats a baseline in a pooled score, with a 95 % bootstrap interval.

    Images are drawn anew with replacement, the same for both; their counts are summed before they
    are scored. Images of one continent resemble each other, so the true uncertainty is rather
    larger than the interval.

    Args:
        model_counts, baseline_counts: (images, ...), of the same images, from `confusion`.
        score: function from summed counts, with any axes in front, to the score: `mean_iou`,
            `pixel_accuracy`, or one of a class, if no draw is without it.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        (gain, low, high), floats; positive is in favour of the model. The gain is that of all
        images, not the mean of the draws.

    Raises:
        ValueError: not two sets of counts of one shape, fewer than two images, or a draw without a
            score.

    Source: Efron 1979, percentile interval.
    """
    model = np.asarray(model_counts, np.float64)
    baseline = np.asarray(baseline_counts, np.float64)
    images = len(model)
    if model.shape != baseline.shape or images < 2:
        told = f"counts have shapes {model.shape} and {baseline.shape}"
        raise ValueError(f"{told}; expected those of the same images, at least two")
    random, chances = np.random.default_rng(seed), np.full(images, 1 / images)
    draws = random.multinomial(images, chances, size=RESAMPLES)
    gains = score(np.tensordot(draws, model, 1)) - score(np.tensordot(draws, baseline, 1))
    if not np.isfinite(gains).all():
        told = "some draws have no score, as a class is in too few images"
        raise ValueError(f"{told}: use a score of several classes")
    low, high = np.percentile(gains, [2.5, 97.5])
    gain = score(model.sum(axis=0)) - score(baseline.sum(axis=0))
    return float(gain), float(low), float(high)


def kid(real, fake):
    """Compute the kernel distance between two sets of images from features of each image.

    The unbiased estimate of the squared maximum mean discrepancy, with the kernel
    (x . y / features + 1) ** 3. It may be slightly below 0 for sets that do not differ. It does not
    ask whether a picture fits its place, and its size depends on the features: compare only numbers
    of the same ones.

    Args:
        real, fake: float (images, features); the numbers of images may differ.

    Raises:
        ValueError: other shapes, fewer than two images in a set, or a value that is not finite.

    Source: Binkowski et al. 2018, there with features of Inception; here `features.embed` gives
        them.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    alike = real.ndim == 2 and real.shape[1:] == fake.shape[1:]
    if not alike or min(len(real), len(fake)) < 2:
        told = f"features have shapes {real.shape} and {fake.shape}"
        raise ValueError(f"{told}; expected (images, features), at least two")
    if not np.isfinite(real).all() or not np.isfinite(fake).all():
        raise ValueError("some features are NaN or infinite")
    between = _kernel(real, fake).mean()
    return float(_mean_within(real) + _mean_within(fake) - 2 * between)


def _kernel(some, other):
    return (some @ other.T / some.shape[1] + 1) ** 3


def _mean_within(images):
    """Average the kernel over all pairs of different images of a set."""
    values, count = _kernel(images, images), len(images)
    return (values.sum() - np.trace(values)) / (count * (count - 1))
