"""Score how well predicted views fit their places: retrieval among other spots."""

import numpy as np

from helpers.metrics.shapes import of_one_shape


def retrieval(
    predicted,
    true,
    positions_m,
    *,
    among,
    apart_m=1000,
    draws=100,
    seed=0,
):
    """Rank the true view of each spot among others by likeness to the predicted view.

    For each spot, `among` - 1 others are drawn, all of them far from it and from each other, again
    and again.

    Args:
        predicted, true: float (spots, features) of the predicted views and of the true ones, in the
            same order.
        positions_m: (spots, 2), metres.
        among: number of views to choose from, the true one included.
        apart_m: least distance between any two spots that are ranked together.
        draws: how often others are drawn for each spot.
        seed: of the draws; they depend on it and the positions alone, so that methods are compared
            on the same ones.

    Returns:
        int64 (spots, draws): rank of the true view, 1 is the top; a tie counts against it.
        `(ranks <= 5).mean(axis=1)` is a hit rate for each spot, to be compared by `gain`. By chance
        a rank of up to k comes at a rate of k / among.

    Raises:
        ValueError: shapes differ, or too few spots are so far from each other.
    """
    from scipy.spatial.distance import cdist

    predicted, true = of_one_shape(
        predicted,
        true,
        "the same (spots, features) for both",
        axes=2,
    )
    count = len(true)
    if positions_m.shape != (count, 2):
        raise ValueError(
            f"positions have shape {positions_m.shape}; expected ({count}, 2)"
        )
    near = cdist(positions_m, positions_m) < apart_m
    spots = np.repeat(np.arange(count), draws)
    random = np.random.default_rng(seed)
    orders = np.array([random.permutation(count) for _ in spots])
    chosen = _far_apart(near, spots, orders, among - 1)
    found = 1 + chosen.sum(axis=1)
    if found.min() < among:
        raise ValueError(
            f"only {found.min()} spots are {apart_m} m from spot {spots[found.argmin()]} and from "
            f"each other, expected {among}: choose among fewer, or predict more spots"
        )
    distance = cdist(predicted, true)
    nearer = distance[spots] <= np.diag(distance)[spots, None]
    ranks = 1 + np.count_nonzero(chosen & nearer, axis=1)
    return ranks.reshape(count, draws)


def _far_apart(near, spots, orders, count):
    """Choose the first `count` of each order that are far from the row's spot and from each other.

    Returns bool, a row for each order of all spots.
    """
    taken = near[spots]
    chosen = np.zeros(orders.shape, bool)
    missing = np.full(len(spots), count)
    every = np.arange(len(spots))
    for others in orders.T:
        free = ~taken[every, others]
        rows = np.flatnonzero(free & (missing > 0))
        chosen[rows, others[rows]] = True
        taken[rows] |= near[others[rows]]
        missing[rows] -= 1
    return chosen
