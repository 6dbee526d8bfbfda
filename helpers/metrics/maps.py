"""Score maps by the classes of their pixels, and sets of images by how real they look.

Class scores are computed from counts that can be summed, because an image of one continent holds
too little of the rare classes: count image by image, sum, then score.
"""

import numpy as np

from helpers.metrics.shapes import of_one_shape


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
        raise ValueError(
            f"the picture has shape {picture.shape}; expected (..., height, width, 3): red, green "
            "and blue"
        )
    if faulty := np.count_nonzero(~np.isfinite(picture)):
        raise ValueError(f"{faulty} values of the picture are NaN or infinite")
    colours = picture.astype("float32")
    if picture.dtype != "uint8":
        colours *= 255
    palette = np.transpose([*legend.values()])
    # half the squared distance, but for what all colours share: 6 times faster than distances
    nearness = colours @ palette - (palette**2).sum(0) / 2
    return nearness.argmax(axis=-1).astype("uint8")


def confusion(classes, estimate, count):
    """Count the pixels of each true class by the class that was estimated.

    Args:
        classes, estimate: int (batch, height, width), the truth and the estimate.
        count: number of classes; both hold 0 to count - 1.

    Returns:
        int64 (batch, count, count): row true class, column estimated class. `.sum(axis=0)` pools
        the images.

    Raises:
        ValueError: shapes differ, or a class is none of these.
    """
    classes, estimate = of_one_shape(
        classes,
        estimate,
        "the same (batch, height, width) for truth and estimate, none of them 0; classes[None] "
        "makes a batch of one",
        axes=3,
    )
    both = np.stack([classes, estimate])
    low = both.min()
    high = both.max()
    if both.dtype.kind not in "iu" or low < 0 or high >= count:
        raise ValueError(
            f"truth and estimate hold classes {low} to {high}, {both.dtype}; expected whole "
            f"numbers from 0 to {count - 1}"
        )
    pairs = classes.astype(int) * count + estimate
    counts = [np.bincount(image.ravel(), minlength=count**2) for image in pairs]
    return np.reshape(counts, (-1, count, count))


def iou(confusion):
    """Compute the intersection over union of each class.

    Args:
        confusion: (..., count, count), from `confusion`, pooled or not.

    Returns:
        float64 (..., count), 0 to 1; NaN for a class that is absent from both truth and estimate:
        it was not tested.
    """
    confusion = np.asarray(confusion, float)
    hits = np.einsum("...ii->...i", confusion)  # the diagonal
    true = confusion.sum(axis=-1)
    estimated = confusion.sum(axis=-2)
    union = true + estimated - hits
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
        return hits / union


def mean_iou(confusion):
    """Return the mean of `iou` over the classes that occur, (...); an invented class counts 0."""
    return np.nanmean(iou(confusion), axis=-1)


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
    scores = {
        "confusion": confusion,
        "mean_iou": mean_iou(pooled),
        # the share of pixels whose class is right: blind to what is rare
        "pixel_accuracy": pooled.trace() / pooled.sum(),
    }
    for name, value in zip(classes, iou(pooled), strict=True):
        if np.isfinite(value):
            scores[f"iou_{name}"] = value
    return scores


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
    real = np.asarray(real, float)
    fake = np.asarray(fake, float)
    counts = len(real), len(fake)
    if real.ndim != 2 or real.shape[1:] != fake.shape[1:] or min(counts) < 2:
        raise ValueError(
            f"features have shapes {real.shape} and {fake.shape}; expected (images, features), at "
            "least two"
        )
    between = _kernel(real, fake).mean()
    distance = _mean_within(real) + _mean_within(fake) - 2 * between
    if not np.isfinite(distance):
        raise ValueError("some features are NaN or infinite")
    return float(distance)


def _kernel(some, other):
    return (some @ other.T / some.shape[1] + 1) ** 3


def _mean_within(images):
    """Average the kernel over all pairs of different images of a set."""
    values = _kernel(images, images)
    pairs = len(images) * (len(images) - 1)
    return (values.sum() - np.trace(values)) / pairs
