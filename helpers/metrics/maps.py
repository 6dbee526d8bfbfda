"""How close a map comes to the true one: its classes, and whether it looks like a map at all.

Class scores are computed from counts that can be summed, because an image of one continent holds too little of the rare
classes: count image by image, sum, then score. `gain_pooled` draws the images anew to say how certain a gain is.
"""

import numpy as np

from helpers.metrics.images import RESAMPLES


def decode(picture, legend):
    """Class of every pixel of a map: the nearest colour of the legend, whatever the distance.

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
        raise ValueError(f"the picture has shape {picture.shape}; expected (..., height, width, 3): red, green, blue")
    if not np.isfinite(picture).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(picture))} values of the picture are NaN or infinite")
    colours = picture.astype(np.float32) * (1 if picture.dtype == np.uint8 else 255)
    classes, least = np.zeros(picture.shape[:-1], np.uint8), np.full(picture.shape[:-1], np.inf, np.float32)
    for number, colour in enumerate(legend.values()):
        distance = ((colours - np.float32(colour)) ** 2).sum(axis=-1)
        classes[distance < least] = number
        least = np.minimum(least, distance)
    return classes


def confusion(classes, estimate, count):
    """How many pixels of each class were taken for which.

    Args:
        classes, estimate: int (batch, height, width), the truth and what was found.
        count: number of classes; both hold 0 to count - 1.

    Returns:
        int64 (batch, count, count): row true class, column estimated class. `.sum(axis=0)` pools the images.

    Raises:
        ValueError: shapes differ, or a class is none of these.
    """
    classes, estimate = _class_images(classes, estimate)
    for name, images in (("truth", classes), ("estimate", estimate)):
        if images.min() < 0 or images.max() >= count:
            raise ValueError(f"the {name} holds classes {images.min()} to {images.max()}; expected 0 to {count - 1}")
    both = classes.reshape(len(classes), -1) * count + estimate.reshape(len(classes), -1)
    return np.array([np.bincount(image, minlength=count**2).reshape(count, count) for image in both])


def iou(confusion):
    """Intersection over union of each class.

    Args:
        confusion: (..., count, count), from `confusion`, pooled or not.

    Returns:
        float64 (..., count), 0 to 1; NaN for a class that is absent from both truth and estimate: it was not tested.
    """
    confusion = np.asarray(confusion, np.float64)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
    return np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0)


def mean_iou(confusion):
    """Mean of `iou` over the classes that occur in truth or estimate, (...); one that is only estimated counts as 0."""
    return np.nanmean(iou(confusion), axis=-1)


def pixel_accuracy(confusion):
    """Share of pixels whose class is right, float64 (...), from `confusion`; blind to what is rare."""
    confusion = np.asarray(confusion, np.float64)
    return np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1))


def map_scores(confusion, classes):
    """Return the scores of all images pooled, and the counts, as `Scoreboard.add` takes them.

    Args:
        confusion: (images, count, count), from `confusion`.
        classes: names of the classes.

    Returns:
        dict with `confusion`, `mean_iou`, `pixel_accuracy`, and `iou_<class>` of each class that occurs.
    """
    pooled = confusion.sum(axis=0)
    by_class = zip(classes, iou(pooled), strict=True)
    scores = {"mean_iou": mean_iou(pooled), "pixel_accuracy": pixel_accuracy(pooled)}
    scores |= {f"iou_{name}": value for name, value in by_class if np.isfinite(value)}
    return {"confusion": confusion} | scores


def gain_pooled(model_counts, baseline_counts, score=mean_iou, *, seed=0):
    """By how much a model beats a baseline in a pooled score, with a 95 % bootstrap interval over the images.

    Images are drawn anew with replacement, the same for both; their counts are summed before they are scored. Images of
    one continent resemble each other, so the true uncertainty is rather larger than the interval.

    Args:
        model_counts, baseline_counts: (images, ...), of the same images, from `confusion`.
        score: function from summed counts, with any axes in front, to the score: `mean_iou`,
            `pixel_accuracy`, or `lambda counts: iou(counts)[..., 2]` for one class, if no draw is without it.
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        (gain, low, high), floats; positive is in favour of the model. The gain is that of all images, not the mean of
        the draws.

    Raises:
        ValueError: not two sets of counts of one shape, fewer than two images, or a draw without a score.

    Source: Efron 1979, percentile interval.
    """
    both = [np.asarray(counts, np.float64) for counts in (model_counts, baseline_counts)]
    if both[0].shape != both[1].shape or len(both[0]) < 2:
        raise ValueError(
            f"counts have shapes {both[0].shape} and {both[1].shape}; expected those of the same images, at least two"
        )
    images = len(both[0])
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    model, baseline = (score(np.tensordot(draws, counts, 1)) for counts in both)
    if not np.isfinite(model - baseline).all():
        raise ValueError("some draws have no score, as a class is in too few images: use a score of several classes")
    low, high = np.percentile(model - baseline, [2.5, 97.5])
    model, baseline = (score(counts.sum(axis=0)) for counts in both)
    return float(model - baseline), float(low), float(high)


def kid(real, fake):
    """Kernel distance between two sets of images, from features of each image: do they look as if drawn by one hand?

    The unbiased estimate of the squared maximum mean discrepancy, with the kernel (x . y / features + 1) ** 3. It may
    be slightly below 0 for sets that do not differ. It says nothing of whether a map fits its image, and its size
    depends on the features: compare only numbers of the same ones.

    Args:
        real, fake: float (images, features); the numbers of images may differ.

    Raises:
        ValueError: other shapes, fewer than two images in a set, or a value that is not finite.

    Source: Binkowski et al. 2018, there with features of Inception; here `features.embed` gives them.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1] or min(len(real), len(fake)) < 2:
        raise ValueError(
            f"features have shapes {real.shape} and {fake.shape}; expected (images, features), at least two"
        )
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise ValueError("some features are NaN or infinite")

    def kernel(some, other):
        return (some @ other.T / real.shape[1] + 1) ** 3

    def between_two(images):
        values = kernel(images, images)
        return (values.sum() - np.trace(values)) / (len(images) * (len(images) - 1))

    return float(between_two(real) + between_two(fake) - 2 * kernel(real, fake).mean())


def _class_images(classes, estimate):
    classes, estimate = np.asarray(classes), np.asarray(estimate)
    if classes.shape != estimate.shape or classes.ndim != 3 or not classes.size:
        raise ValueError(
            f"the truth has shape {classes.shape}, the estimate {estimate.shape}; expected the same (batch, height, "
            "width) for both, none of them 0; classes[None] makes a batch of one"
        )
    for images in (classes, estimate):
        if not np.issubdtype(images.dtype, np.integer):
            raise ValueError(f"classes are whole numbers, not {images.dtype}; `decode` finds them in a picture")
    return classes.astype(np.int64), estimate.astype(np.int64)
