"""Score how well predicted views fit their places: retrieval among other spots, identification."""

import numpy as np


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
