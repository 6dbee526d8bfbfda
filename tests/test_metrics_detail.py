"""What was found, left out and invented, and shifts: against values worked out by hand and known displacements."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as moved

from helpers import metrics


def pixels(*values):
    """One image of 1 row, one band."""
    return np.array(values, "float32").reshape(1, 1, -1, 1)


@pytest.mark.parametrize("estimate, improvement, omission, hallucination", [
    (5.0, 1, 0, 0),  # all that was missing is found
    (1.0, 0, 1, 0),  # the baseline itself
    (3.0, 0.5, 0.5, 0),  # half of it
    (7.0, 1, 0, 0.5),  # found, and half as much again invented
    (-1.0, 0, 1, 0.5),  # the wrong way: nothing found, and something invented
])  # fmt: skip
def test_one_pixel_by_hand(estimate, improvement, omission, hallucination):
    """The truth is 5, the baseline 1: 4 is missing."""
    parts = metrics.error_decomposition(pixels(5), pixels(estimate), pixels(1))
    assert {name: part.item() for name, part in parts.items()} == {
        "improvement": improvement, "omission": omission, "hallucination": hallucination,
    }  # fmt: skip


def test_the_parts_add_up_to_the_errors():
    truth, guess, base = np.random.default_rng(0).normal(size=(3, 2, 8, 9, 3))
    parts = {name: part.mean(axis=(1, 2)) for name, part in metrics.error_decomposition(truth, guess, base).items()}
    whole = metrics.mae(truth, base)
    np.testing.assert_allclose((parts["omission"] + parts["hallucination"]) * whole, metrics.mae(truth, guess))
    np.testing.assert_allclose(parts["improvement"] + parts["omission"], 1)


def test_pixels_without_data_stay_without():
    truth, guess, base = np.random.default_rng(0).normal(size=(3, 1, 8, 9, 3))
    truth[0, 2, 3, 1] = guess[0, 2, 3, 0] = np.nan
    parts = metrics.error_decomposition(truth, guess, base)
    assert all(np.isnan(part).sum() == 1 and np.isnan(part[0, 2, 3]) for part in parts.values())
    assert np.nanmean(parts["improvement"] + parts["omission"]) == pytest.approx(1)


def test_a_baseline_that_lacks_nothing_is_refused():
    with pytest.raises(ValueError, match="image 0: the baseline equals the reference"):
        metrics.error_decomposition(pixels(1, 2), pixels(3, 4), pixels(1, 2))


@pytest.mark.parametrize("down, right", [(0, 0), (0.5, 0), (-0.25, 1.4), (3, -2)])
def test_a_known_displacement_is_found(down, right):
    field = gaussian_filter(np.random.default_rng(0).normal(size=(96, 96, 2)), (2, 2, 0))
    other = moved(field, (down, right, 0), order=5, mode="mirror")
    found = metrics.shift_px(field[None], other[None])
    np.testing.assert_allclose(found, [[down, right]], atol=0.03)


def test_a_shift_needs_all_pixels():
    field = np.random.default_rng(0).normal(size=(1, 16, 16, 1))
    field[0, 3, 4] = np.nan
    with pytest.raises(ValueError, match="image 0 has no-data pixels"):
        metrics.shift_px(field, np.nan_to_num(field))
