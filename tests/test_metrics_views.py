"""Scores of predicted views against ranks, pairs and distances worked out by hand."""

import numpy as np
import pytest

from helpers import metrics

LINE = np.arange(6.0)[:, None]  # features of six spots, one number each: 0 to 5
FAR = np.array([[2000.0 * n, 0] for n in range(6)])  # every spot 2 km from the next


def test_ranks_by_hand():
    """Spot 0 is predicted as 0 exactly; spot 1 as 3.9, which 4, 3, 5, 2 are nearer to than 1; 0 is not."""
    predicted = LINE.copy()
    predicted[1] = 3.9
    ranks = metrics.retrieval(predicted, LINE, FAR, among=6, draws=3)
    assert ranks.shape == (6, 3) and (ranks[1] == 5).all() and (np.delete(ranks, 1, axis=0) == 1).all()


def test_a_tie_counts_against_the_prediction():
    """The mean view of all spots, and a view that is the same everywhere, are not told from any other."""
    same = np.full((6, 1), 2.5)
    assert (metrics.retrieval(same, same, FAR, among=4) == 4).all()


def test_by_chance_one_of_sixteen():
    random = np.random.default_rng(0)
    positions = random.permutation(400)[:, None] * [3000.0, 0]
    ranks = metrics.retrieval(random.normal(size=(400, 5)), random.normal(size=(400, 5)), positions, among=16, draws=20)
    assert (ranks == 1).mean() == pytest.approx(1 / 16, abs=0.03) and set(np.unique(ranks)) == set(range(1, 17))
    assert (ranks <= 5).mean() == pytest.approx(5 / 16, abs=0.05)


def test_only_spots_far_apart_are_ranked_together():
    """Spots 0 to 3 lie within 300 m; of them, at most one is ranked beside 4 and 5, whichever is looked at."""
    positions = np.array([[0, 0], [100, 0], [200, 0], [300, 0], [9000, 0], [18000, 0]])
    predicted = np.full((6, 1), -1.0)  # 0 is nearest to it, then 1, ...
    ranks = metrics.retrieval(predicted, LINE, positions, among=3, draws=40)
    assert (ranks[:4] == 1).all()  # only beside 4 and 5
    assert (ranks[4] == 2).all() and (ranks[5] == 3).all()
    with pytest.raises(ValueError, match="only 3 spots are 1000 m from spot 0 and from each other, expected 4"):
        metrics.retrieval(predicted, LINE, positions, among=4)
    assert (metrics.retrieval(predicted, LINE, positions, among=6, apart_m=50)[:, 0] == np.arange(1, 7)).all()


def test_draws_depend_on_the_seed_alone():
    one, two = (metrics.retrieval(LINE + shift, LINE[::-1], FAR, among=3, draws=30) for shift in (0, 0))
    assert np.array_equal(one, two)
    other = metrics.retrieval(LINE, LINE[::-1], FAR, among=3, draws=30, seed=1)
    assert not np.array_equal(one, other)


def test_retrieval_says_which_shapes_it_expects():
    with pytest.raises(ValueError, match=r"positions have shape \(5, 2\); expected \(6, 2\)"):
        metrics.retrieval(LINE, LINE, FAR[:5], among=3)
    with pytest.raises(ValueError, match=r"\(6, 1\) and \(5, 1\)"):
        metrics.retrieval(LINE, LINE[:5], FAR, among=2)
