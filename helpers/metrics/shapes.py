"""Check that two arrays can be compared."""

import numpy as np


def of_one_shape(
    one,
    other,
    expected,
    *,
    axes,
    least=1,
):
    """Return two arrays of one shape.

    Args:
        one, other: anything that NumPy makes arrays of.
        expected: what they should be, for the message.
        axes: number of axes that they must have; none of them may be empty.
        least: least length of the first axis.

    Raises:
        ValueError: they are otherwise (says both shapes, and what is expected).
    """
    one = np.asarray(one)
    other = np.asarray(other)
    fits = one.shape == other.shape and one.ndim == axes
    if not fits or not one.size or len(one) < least:
        raise ValueError(
            f"found shapes {one.shape} and {other.shape}; expected {expected}"
        )
    return one, other
