"""Read weights from an old PyTorch file, of before version 1.6, without PyTorch.

Such a file is a series of pickles, and a pickle may call any function. So the file's SHA-256 is
checked first, and only the four names that tensors need are known.
"""

import pickle
from collections import OrderedDict

import numpy as np
from numpy.lib.stride_tricks import as_strided

from helpers import paths

KNOWN = {
    "_rebuild_tensor_v2": lambda storage, offset, shape, strides, *_: (*storage, shape, strides),
    "OrderedDict": OrderedDict,
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


def read(path, sha256):
    """Read the tensors of a PyTorch file of before version 1.6: dict from name to array.

    The file holds three pickles that say what it is, then one that says in which storage each
    tensor lies, then the storages' keys, and for each key a count and its little-endian numbers.
    Each tensor must begin where its storage begins.

    Raises:
        ValueError: the file has another SHA-256.
    """
    if paths.sha256(path) != sha256:
        raise ValueError(
            f"{path} is damaged, or not the file that data/packs.toml lists. Delete it, then fetch "
            "it again: python -m helpers fetch"
        )
    numbers, arrays = {}, {}
    with open(path, "rb") as file:
        *_, tensors, keys = (_Unpickler(file).load() for _ in range(5))
        kinds = {key: kind for kind, key, *_ in tensors.values()}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            numbers[key] = np.fromfile(file, kinds[key], count)
    for name, (kind, key, shape, strides) in tensors.items():
        arrays[name] = as_strided(numbers[key], shape, np.multiply(strides, kind.itemsize))
    return arrays


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        """Resolve one of four names in the file; any other, as of a function, is a KeyError."""
        return KNOWN[name]

    def persistent_load(self, pid):
        """Return data type and key of a storage."""
        return pid[1:3]
