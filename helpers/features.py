"""A frozen network trained on ImageNet: features for losses, metrics, encoders and discriminators.

EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946) arrives as the pack `imagenet_features`. Its
file has the format of an old PyTorch: it is read without PyTorch, and nothing in it is executed.
"""

import pickle
from collections import OrderedDict
from functools import lru_cache

import numpy as np

from helpers import paths
from helpers.acquire import packs
from helpers.backend import keras

PACK, FILE = "imagenet_features", "efficientnet-lite0-57934424.pth"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue
STAGES = (  # expansion, channels, blocks, stride of the first block, kernel size
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip
TAPS = ("24", "40", "112", "320")  # stages, named by their channels
MIN_SIDE_PX = 32
ops = keras.ops


def backbone(taps=TAPS, classifier=False, dtype="float32"):
    """Build the frozen network.

    Args:
        taps: stages to return, named by their channels: 16, 24, 40, 80, 112, 192 and 320, at 1/2,
            1/4, 1/8, 1/16, 1/16, 1/32 and 1/32 of the image's size.
        classifier: return the probabilities of the 1,000 ImageNet classes instead.
        dtype: data type or Keras policy to compute in.

    Returns:
        keras.Model from float (batch, height, width, 3), red, green, blue, 0 to 1, to a list of
        feature maps, one a tap; with `classifier`, to float (batch, 1000).

    Raises:
        ValueError: an unknown tap, or a damaged file.
        FileNotFoundError: the pack is not fetched (names the command).
    """
    known = [str(channels) for _, channels, _, _, _ in STAGES]
    if unknown := set(taps) - set(known):
        raise ValueError(f"there is no tap {min(unknown)!r}; expected some of {', '.join(known)}")
    last = known[-1] if classifier else max(taps, key=known.index)
    image = keras.Input((None, None, 3))
    scale, offset = [1 / d for d in DEVIATION], [-m / d for m, d in zip(MEAN, DEVIATION, strict=True)]
    x = keras.layers.Rescaling(scale, offset, dtype=dtype)(image)
    x = _convolution(x, dtype, 32, 3, stride=2)
    maps = {}
    for expansion, channels, blocks, stride, kernel_px in STAGES[: known.index(last) + 1]:
        x = _block(x, dtype, expansion, channels, kernel_px, stride)
        for _ in range(blocks - 1):
            x = keras.layers.Add(dtype=dtype)([x, _block(x, dtype, expansion, channels, kernel_px, 1)])
        maps[str(channels)] = x
    if classifier:
        x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(_convolution(x, dtype, 1280, 1))
        outputs = keras.layers.Dense(1000, activation="softmax", dtype="float32")(x)
    else:
        outputs = [maps[tap] for tap in taps]
    model = keras.Model(image, outputs, trainable=False, name="imagenet_features")
    model.set_weights(_weights()[: len(model.weights)])  # both are in the order of the layers
    return model


def embed(images, batch_size=32):
    """Compute one feature vector for each image, as `metrics.kid` compares them.

    Args:
        images: float (batch, height, width, 3), red, green, blue, 0 to 1, at least 32 px.
        batch_size: images computed at a time.

    Returns:
        float32 (batch, 432): spatial means of the stages with 112 and 320 channels.

    Raises:
        ValueError: another shape or range (says what was found).
    """
    images = _checked(images)
    model = _kept(("112", "320"))
    maps = [model(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    pooled = [np.concatenate([np.mean(x, axis=(1, 2)) for x in batch], axis=1) for batch in maps]
    return np.concatenate(pooled)


def feature_distance(images, others, batch_size=32):
    """Compare images pair by pair by their features: 0 for equal images, larger is less alike.

    At each pixel of each tap, the channels are scaled to unit length; their squared differences are
    summed over channels, averaged over pixels, and averaged over taps. This is the form of LPIPS
    without its learned weights (Zhang et al. 2018, arXiv:1801.03924): the numbers of the two are
    not comparable.

    Args:
        images, others: float (batch, height, width, 3), red, green, blue, 0 to 1, at least 32 px.
        batch_size: pairs computed at a time.

    Returns:
        float32 (batch,).

    Raises:
        ValueError: shapes differ, or another shape or range (says what was found).
    """
    images, others = _checked(images), _checked(others)
    if images.shape != others.shape:
        raise ValueError(f"the images have shapes {images.shape} and {others.shape}; expected equal ones")
    starts = range(0, len(images), batch_size)
    pairs = [(images[i : i + batch_size], others[i : i + batch_size]) for i in starts]
    return np.concatenate([np.asarray(_distance(_kept(TAPS), *pair, [1] * len(TAPS))) for pair in pairs])


def perceptual_loss(taps=("24", "40", "112"), weights=None, *, names=("red", "green", "blue"),
                    bands=("red", "green", "blue"), dtype="float32"):  # fmt: skip
    """Make a loss that compares images by their features, as `feature_distance` does.

    Args:
        taps: as of `backbone`; early ones see texture, late ones see objects.
        weights: of the taps; default: all equal.
        names: names of the images' bands, in their order.
        bands: the three that stand for red, green and blue, such as ("nir", "red", "green").
        dtype: as of `backbone`; "mixed_bfloat16" is faster where the processor has it.

    Returns:
        Function of (target, estimate), float (batch, height, width, len(names)), 0 to 1, to a scalar.

    Raises:
        ValueError: not three bands, or a band that the images lack.
    """
    if len(bands) != 3 or not set(bands) <= set(names):
        raise ValueError(f"the features see three bands, not {list(bands)}; name three of {', '.join(names)}")
    model, order = backbone(taps, dtype=dtype), [list(names).index(band) for band in bands]

    def perceptual(target, estimate):
        pair = [ops.take(image, order, axis=-1) for image in (target, estimate)]
        return ops.mean(_distance(model, *pair, weights or [1] * len(taps)))

    return perceptual


def read_weights(path):
    """Read the tensors of a PyTorch file of before version 1.6, without PyTorch.

    The file holds three pickles (magic number, protocol, system), then the state dict, the list of
    storage keys, and for each key a count and its little-endian numbers.

    Args:
        path: the `.pth` file.

    Returns:
        dict from tensor name to array.

    Raises:
        ValueError: the file is truncated, or its pickles name anything but plain tensors; nothing
            of it has been executed then.
    """
    try:
        with open(path, "rb") as file:
            for _ in range(3):
                _Tensors(file).load()
            tensors, keys = _Tensors(file).load(), _Tensors(file).load()
            kinds = {key: kind for (kind, key), *_ in tensors.values()}
            numbers = {}
            for key in keys:
                (count,) = np.frombuffer(file.read(8), "<i8")
                numbers[key] = np.frombuffer(file.read(count * kinds[key].itemsize), kinds[key], count)
        return {name: _strided(numbers[key], *view) for name, ((_, key), *view) in tensors.items()}
    except (pickle.UnpicklingError, EOFError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is not the expected weights file ({error}). Nothing in it was executed. "
            f"Delete it and run: python -m helpers fetch {PACK}"
        ) from error


class _Tensors(pickle.Unpickler):
    """Unpickle tensors as descriptions of where their numbers lie; refuse every other name."""

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, size, stride, *_: (
            storage, offset, size, stride
        ),
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }  # fmt: skip

    def find_class(self, module, name):
        """Return what one of the four allowed names stands for."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights need")
        return self.ALLOWED[module, name]

    def persistent_load(self, storage):
        """Return (data type, key) of a storage."""
        _, kind, key, *_ = storage
        return kind, key


def _strided(numbers, offset, size, stride):
    """Return the tensor that begins at `offset`, with these strides in numbers."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset < 0 or min(stride, default=0) < 0 or last >= len(numbers):
        raise ValueError("a tensor reaches beyond its numbers")
    strides = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, strides).copy()


@lru_cache(1)
def _weights():
    """Return the weights in the order of Keras' layers, from the cache or else from the pack."""
    source = packs.member_path(PACK, FILE)
    cache = source.with_name("folded.npz")
    if not cache.exists():
        with paths.atomic(cache) as temporary:
            np.savez(temporary, *_folded(list(read_weights(source).values())))
    with np.load(cache) as saved:
        return [saved[name] for name in saved.files]


def _folded(tensors):
    """Fold each batch norm into the convolution before it; list of kernels and biases for Keras."""
    arrays, *dense = [], tensors[-2].T, tensors[-1]
    for i in range(0, len(tensors) - 2, 6):  # a kernel, then four tensors and a count of its norm
        kernel, gain, bias, mean, variance = tensors[i : i + 5]
        gain = gain / np.sqrt(variance + 1e-3)
        order = (2, 3, 0, 1) if kernel.shape[1] == 1 else (2, 3, 1, 0)  # depthwise, or not
        arrays += [(kernel * gain[:, None, None, None]).transpose(order), bias - mean * gain]
    return arrays + dense


def _convolution(x, dtype, channels, kernel_px, stride=1, activation=True):
    """Add a convolution and ReLU6; without a number of channels, a depthwise one."""
    options = {"strides": stride, "padding": "same", "dtype": dtype}
    if channels:
        x = keras.layers.Conv2D(channels, kernel_px, **options)(x)
    else:
        x = keras.layers.DepthwiseConv2D(kernel_px, **options)(x)
    return keras.layers.ReLU(6.0, dtype=dtype)(x) if activation else x


def _block(x, dtype, expansion, channels, kernel_px, stride):
    """Add an inverted residual block: expand, depthwise convolution, project."""
    if expansion > 1:
        x = _convolution(x, dtype, expansion * x.shape[-1], 1)
    x = _convolution(x, dtype, None, kernel_px, stride)
    return _convolution(x, dtype, channels, 1, activation=False)


@lru_cache(4)
def _kept(taps, classifier=False):
    return backbone(taps, classifier)


def _distance(model, images, others, weights):
    """Return the distance of each pair of images, tensor (batch,)."""
    total = 0.0
    for weight, one, other in zip(weights, model(images), model(others), strict=True):
        one, other = (ops.cast(x, "float32") for x in (one, other))
        one, other = (x / (ops.sqrt(ops.sum(x**2, -1, keepdims=True)) + 1e-6) for x in (one, other))
        total += weight * ops.mean(ops.sum((one - other) ** 2, axis=-1), axis=(1, 2))
    return total / sum(weights)


def _checked(images):
    """Return images as float32, or say what is wrong with them."""
    images = np.asarray(images)
    shape = f"images have shape {images.shape}"
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"{shape}; expected (batch, height, width, 3): pick three bands first")
    if min(images.shape[1:3]) < MIN_SIDE_PX or not len(images):
        raise ValueError(f"{shape}; expected one image or more, {MIN_SIDE_PX} px or larger")
    if not np.issubdtype(images.dtype, np.floating) or not (images.min() >= 0 and images.max() <= 1):
        found = f"{images.dtype} from {images.min()} to {images.max()}"
        raise ValueError(f"images are {found}; expected float, 0 to 1: divide by the largest possible value")
    return images.astype("float32")
