"""Read weights from an old PyTorch file, of before version 1.6, without PyTorch.

Such a file is a series of pickles, and a pickle may call any function. Here only the four names
that tensors need are known, and none of them runs code of the file.
"""

import math
import os
import pickle
from collections import OrderedDict

import numpy as np


def read(path):
    """Read the tensors of a PyTorch file of before version 1.6: dict from name to array.

    The file holds three pickles that say what it is, then one that says where in which storage each
    tensor lies, then the storages' keys, and for each key a count and its little-endian numbers.

    Raises:
        ValueError: the file is cut off, or names anything that plain tensors do not need.
    """
    try:
        with open(path, "rb") as file:
            *_, tensors, keys = (_Unpickler(file).load() for _ in range(5))
            kinds = {key: kind for (kind, key), *_ in tensors.values()}
            numbers, whole = {}, os.path.getsize(path)
            for key in keys:
                size = int.from_bytes(file.read(8), "little") * kinds[key].itemsize
                numbers[key] = np.frombuffer(file.read(min(size, whole)), kinds[key])
        return {name: _strided(numbers[key], *view) for name, ((_, key), *view) in tensors.items()}
    except Exception as error:  # of pickle, which raises whatever a damaged file leads to
        raise ValueError(
            f"{path} is damaged or no file of weights: {error}. Nothing in it was executed. Delete "
            "it, then fetch it again: python -m helpers fetch"
        ) from error


class _Unpickler(pickle.Unpickler):
    """Knows the four names that tensors need, and refuses all others."""

    KNOWN = {
        "collections.OrderedDict": OrderedDict,
        "torch._utils._rebuild_tensor_v2": lambda *described: described[:4],
        "torch.FloatStorage": np.dtype("<f4"),
        "torch.LongStorage": np.dtype("<i8"),
    }

    def find_class(self, module, name):
        """Return what a name in the file stands for, never a function of another package."""
        if f"{module}.{name}" not in self.KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no tensor needs")
        return self.KNOWN[f"{module}.{name}"]

    def persistent_load(self, pid):
        """Return data type and key of a storage."""
        return pid[1:3]


def _strided(numbers, offset, shape, strides):
    """Return the tensor that begins at `offset`; its numbers need not follow each other."""
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or max(last, math.prod(shape) - 1) >= len(numbers):
        raise ValueError("a tensor reaches beyond its numbers")  # NumPy itself overflows there
    strides = [stride * numbers.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(numbers[offset:], shape, strides).copy()
