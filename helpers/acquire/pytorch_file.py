"""Read weights from an old PyTorch file, of before version 1.6, without PyTorch.

Such a file is a series of pickles, and a pickle may call any function. So the file's SHA-256 is
checked first, and only the four names that tensors need are known.
"""

import pickle
from collections import OrderedDict

import numpy as np

from helpers.acquire.packs import file_sha256

KNOWN = {
    "_rebuild_tensor_v2": lambda storage, *shape_and_strides: storage,
    "OrderedDict": OrderedDict,
    "FloatStorage": np.dtype("<f4"),
    "LongStorage": np.dtype("<i8"),
}


def read(path, sha256):
    """Read the numbers of each tensor: list of flat arrays, in the order in which they are stored.

    The weights of our pack came from TensorFlow. They are stored in its order of axes, which is
    that of Keras: a kernel's height, width, inputs, outputs.

    The file holds three pickles that say what it is, then one that names the storage of each
    tensor, then the storages' keys, and for each key a count and its little-endian numbers.

    Raises:
        ValueError: the file has another SHA-256.
    """
    if file_sha256(path) != sha256:
        raise ValueError(
            f"{path} is damaged, or not the file that data/packs.toml lists. Delete it, then fetch "
            "it again: python -m helpers fetch"
        )
    numbers = {}
    with open(path, "rb") as file:
        *_, tensors, keys = (_Unpickler(file).load() for _ in range(5))
        kinds = {key: kind for kind, key in tensors.values()}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            numbers[key] = np.fromfile(file, kinds[key], count)
    return [numbers[key] for _, key in tensors.values()]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        """Resolve one of four names in the file; any other, as of a function, is a KeyError."""
        return KNOWN[name]

    def persistent_load(self, pid):
        """Return data type and key of a storage."""
        return pid[1:3]
