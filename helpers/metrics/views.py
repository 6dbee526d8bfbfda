"""How well predicted views fit their places: retrieval among other spots, identification, diversity."""

import numpy as np


def view_features(views):
    """Features to retrieve views by, which no network was trained with: outlines and colours.

    Histograms of oriented gradients in 4 x 4 cells, and of 12 x 12 x 12 colours in the upper and the lower half; each
    makes up half of a distance. Two renderings of one training spot, from the tower, find each other among 16 at a rate
    of 0.99 in the same range of weather, of 0.92 in the wider one of `pairs.views.render(again=True)`. They are neither
    those of `losses.landscape` nor those of `kid_random`.

    Args:
        views: (batch, height, width, 3), uint8, or float with 0 to 1 for the same range; 16 pixels or more wide.

    Returns:
        float64 (batch, features); `retrieval` compares them by their distance.

    Raises:
        ValueError: other shapes, or views that are too small.

    Source: Dalal and Triggs 2005, as in skimage.feature.hog.
    """
    from skimage.feature import hog

    views = np.asarray(views)
    if views.ndim != 4 or views.shape[3] != 3 or min(views.shape[1:3]) < 16:
        raise ValueError(f"views have shape {views.shape}; expected (batch, height, width, 3), 16 px or more wide")
    views = views / (255 if views.dtype == np.uint8 else 1)
    cell = tuple(side // 4 for side in views.shape[1:3])
    found = []
    for view in views:
        outlines = hog(view, pixels_per_cell=cell, cells_per_block=(2, 2), channel_axis=-1)
        colours = [
            np.histogramdd(half.reshape(-1, 3), bins=12, range=[(0, 1)] * 3)[0].ravel()
            for half in np.array_split(np.clip(view, 0, 1), 2)
        ]
        colours = np.sqrt(np.concatenate(colours) / sum(part.sum() for part in colours))
        found.append(np.concatenate([outlines / max(np.linalg.norm(outlines), 1e-9), colours]))  # both of length 1
    return np.array(found)


def retrieval(predicted, true, positions_m, *, among, apart_m=1000, draws=100, seed=0):
    """How near the top the true view of a spot comes when others are ranked by likeness to the predicted one.

    For each spot, `among` - 1 others are drawn, all of them far from it and from each other, again and again.

    Args:
        predicted, true: float (spots, features) of the predicted views and of the true ones, in the same order.
        positions_m: (spots, 2), metres.
        among: number of views to choose from, the true one included.
        apart_m: least distance between any two spots that are ranked together.
        draws: how often others are drawn for each spot.
        seed: of the draws; they depend on it and the positions alone, so that methods are compared on the same ones.

    Returns:
        int64 (spots, draws): rank of the true view, 1 is the top; a tie counts against it. `(ranks <= 5).mean(axis=1)`
        is a hit rate for each spot, to be compared by `gain`. By chance a rank of up to k comes at a rate of k / among.

    Raises:
        ValueError: shapes differ, or too few spots are so far from each other.
    """
    predicted, true, positions_m = (np.asarray(each, np.float64) for each in (predicted, true, positions_m))
    if predicted.shape != true.shape or predicted.ndim != 2 or positions_m.shape != (len(true), 2):
        raise ValueError(
            f"features have shapes {predicted.shape} and {true.shape}, positions {positions_m.shape}; expected "
            "(spots, features) twice, and (spots, 2)"
        )
    near = np.hypot(*(positions_m[:, None] - positions_m).T) < apart_m
    distance = ((predicted**2).sum(1)[:, None] + (true**2).sum(1) - 2 * predicted @ true.T).round(12)
    random, spots = np.random.default_rng(seed), np.repeat(np.arange(len(true)), draws)
    chosen = _far_apart(near, spots, np.array([random.permutation(len(true)) for _ in spots]), among - 1)
    if (few := np.flatnonzero(chosen.sum(axis=1) < among - 1)).size:
        raise ValueError(
            f"only {chosen[few[0]].sum() + 1} spots are {apart_m} m from spot {spots[few[0]]} and from each other, "
            f"expected {among}: choose among fewer, or predict more spots"
        )
    nearer = distance[spots] <= np.diag(distance)[spots, None]
    return 1 + np.count_nonzero(chosen & nearer, axis=1).reshape(len(true), draws)


def _far_apart(near, spots, orders, count):
    """bool, a row for each order of all spots: its first `count` that are far from the row's spot and each other."""
    taken, chosen, missing = near[spots], np.zeros(orders.shape, bool), np.full(len(spots), count)
    for others in orders.T:
        rows = np.flatnonzero(~taken[np.arange(len(spots)), others] & (missing > 0))
        chosen[rows, others[rows]] = True
        taken[rows] |= near[others[rows]]
        missing[rows] -= 1
    return chosen


def identification(distances):
    """Whether each view is nearer to the other view of its own spot than to those of all other spots.

    Args:
        distances: (views, views), row by row: of view i to the other view of spot j, such as `losses.distances` gives.

    Returns:
        bool (views,): the mean is `identification_rate`; by chance 1 / views. A tie counts against it.

    Raises:
        ValueError: not a square, fewer than two views, or a value that is not finite.
    """
    distances = np.asarray(distances)
    if distances.ndim != 2 or len(distances) != distances.shape[1] or len(distances) < 2:
        raise ValueError(f"distances have shape {distances.shape}; expected (views, views), at least two")
    if not np.isfinite(distances).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(distances))} distances are NaN or infinite")
    return (distances <= np.diag(distances)[:, None]).sum(axis=1) == 1


def diversity(images, real):
    """How much images differ from each other, over how much real ones do: 1 is as diverse, 0 all the same.

    Args:
        images: (batch, height, width, bands), two or more.
        real: (other batch, height, width, bands), in the same unit.

    Returns:
        float: mean distance (root of the mean squared difference) of all pairs, generated over real.

    Raises:
        ValueError: fewer than two images, or all real ones are the same.
    """
    found = [_mean_distance(each) for each in (images, real)]
    if not found[1] > 0:
        raise ValueError("the real images are all the same: there is no diversity to compare with")
    return float(found[0] / found[1])


def _mean_distance(images):
    if len(images) < 2:
        raise ValueError(f"{len(images)} image has nothing to differ from; expected two or more")
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    squares = (flat**2).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) / flat.shape[1]
    return np.sqrt(apart[np.triu_indices(len(flat), 1)]).mean()
