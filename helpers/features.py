"""A frozen network trained on ImageNet: features for losses, metrics, encoders and discriminators.

EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946) arrives as the pack `imagenet_features`.
Images are float (batch, height, width, 3): red, green, blue, 0 to 1, at least 32 px a side.
"""

from functools import lru_cache

import numpy as np

from helpers.acquire import packs, pytorch_file
from helpers.backend import keras, tf

PACK = "imagenet_features"
FILE = "efficientnet-lite0-57934424.pth"
# The network expects colors of mean 0 and deviation 1 over ImageNet.
SCALE = [1 / 0.229, 1 / 0.224, 1 / 0.225]
OFFSET = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
STAGES = {  # channels: expansion, blocks, stride of the first block, kernel size
    "16": (1, 1, 1, 3),
    "24": (6, 2, 2, 3),
    "40": (6, 2, 2, 5),
    "80": (6, 3, 2, 3),
    "112": (6, 3, 1, 5),
    "192": (6, 4, 2, 5),
    "320": (6, 1, 1, 3),
}
TAPS = ("24", "40", "112", "320")
ops = keras.ops
layers = keras.layers


def backbone(taps=TAPS, dtype="float32", classifier=False):
    """Build the frozen network.

    Args:
        taps: stages to return, named by their channels: 16, 24, 40, 80, 112, 192 and 320, at 1/2,
            1/4, 1/8, 1/16, 1/16, 1/32 and 1/32 of the image's size.
        dtype: data type or Keras policy to compute in; on CPUs gradients are slower in bfloat16.
        classifier: return the probabilities of the 1,000 classes of ImageNet instead.

    Returns:
        keras.Model from images to a list of maps (one map for one tap), or to float (batch, 1000).

    Raises:
        KeyError: an unknown tap.
        ValueError: a damaged file.
        FileNotFoundError: the pack is not fetched (names the command).
    """
    image = keras.Input((None, None, 3))
    x = layers.Rescaling(SCALE, OFFSET, dtype=dtype)(image)
    x = _convolution(x, dtype, 32, 3, stride=2)
    maps = {}
    for channels, (expansion, blocks, stride, kernel_px) in STAGES.items():
        x = _block(x, dtype, expansion, int(channels), kernel_px, stride)
        for _ in range(blocks - 1):
            y = _block(x, dtype, expansion, int(channels), kernel_px)
            x = layers.Add(dtype=dtype)([x, y])
        maps[channels] = x
        if set(taps) <= set(maps):
            break  # no tap is left
    if classifier:
        x = _convolution(x, dtype, 1280, 1)
        x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
        outputs = layers.Dense(1000, activation="softmax", dtype="float32")(x)
    else:
        outputs = [maps[tap] for tap in taps]
    model = keras.Model(image, outputs, name=PACK)
    model.trainable = False  # each layer is frozen, also inside another model
    # both are in the order of the layers
    pairs = zip(model.weights, _weights(), strict=False)
    with tf.init_scope():  # now, even if a graph is being traced
        model.set_weights([values.reshape(weight.shape) for weight, values in pairs])
    return model


# The network of `backbone`, built once and kept. Its `predict_on_batch` is compiled: the same maps
# in half the time.
shared_backbone = lru_cache(4)(backbone)


def embed(images):
    """Compute a feature vector for each image: float32 (batch, 432), as `metrics.kid` takes them.

    It holds the means over all pixels of the stages with 112 and 320 channels. A ValueError says
    which other shape, type or range of images was found.
    """
    compute = shared_backbone().predict_on_batch

    def pooled(batch):
        maps = compute(batch)
        return np.concatenate([found.mean((1, 2)) for found in maps[2:]], 1)

    return in_batches(pooled, _checked(images))


def feature_distance(images, others):
    """Compare images pair by pair by their features: float32 (batch,), 0 for equal images.

    At each pixel of each tap the channels are scaled to unit length; their squared differences are
    summed over channels and averaged over pixels and taps. This is the form of LPIPS without its
    learned weights (Zhang et al. 2018, arXiv:1801.03924); do not compare it with LPIPS values.
    A ValueError says where shapes differ, or what is wrong with the images.
    """
    images = _checked(images)
    others = _checked(others)
    if images.shape != others.shape:
        raise ValueError(
            f"shapes are {images.shape} and {others.shape}; expected equal ones"
        )
    compute = shared_backbone().predict_on_batch

    def distance(*batches):
        return _apart(*(_unit_maps(compute, batch) for batch in batches))

    return in_batches(distance, images, others)


def neighbour_distance(images):
    """Compare each image with the one before it, as `feature_distance` does: float32 (batch,)."""
    maps = _unit_maps(shared_backbone().predict_on_batch, _checked(images))
    return _apart(maps, [ops.roll(found, 1, 0) for found in maps])


def in_batches(compute, *arrays, size=48):
    """Compute so many rows at a time, and join the answers; a call takes 0.1 s at least."""
    starts = range(0, len(arrays[0]), size)
    return np.concatenate(
        [compute(*(each[at : at + size] for each in arrays)) for at in starts]
    )


def perceptual_loss(*, names=None, bands=None):
    """Make a loss of the form of `feature_distance`, on the first three of its four taps.

    Args:
        names: of the images' bands, in their order; default: red, green, blue.
        bands: three of them, to be taken for red, green and blue, such as ("nir", "red", "green").

    Returns:
        Function of (target, estimate), float (batch, height, width, bands), 0 to 1, to a scalar. A
        ValueError says where there are not three bands.
    """
    names = names or ("red", "green", "blue")
    bands = bands or names
    if len(set(bands)) != 3 or not set(bands) <= set(names):
        raise ValueError(
            f"the features see three bands; {bands} are not three of {names}"
        )
    model = backbone(TAPS[:3])
    order = [names.index(band) for band in bands]

    def perceptual(target, estimate):
        seen = []
        for image in (target, estimate):
            if image.shape[-1] != len(names):
                raise ValueError(
                    f"images have {image.shape[-1]} bands; their names are {names}"
                )
            seen.append(_unit_maps(model, ops.take(image, order, -1)))
        return ops.mean(_apart(*seen))

    return perceptual


@lru_cache(1)
def _weights():
    """Return kernels and biases in the order of Keras' layers; channels are their last axis.

    Each batch norm of the file is folded into the convolution before it.
    """
    _, sha256 = packs.catalogue()[PACK].members[FILE]
    tensors = pytorch_file.read(packs.member_path(PACK, FILE), sha256)
    arrays = []
    # a kernel, then four vectors and the count of its norm
    for i in range(0, len(tensors) - 2, 6):
        kernel, gain, bias, mean, variance = tensors[i : i + 5]
        gain = gain / np.sqrt(variance + 1e-3)
        arrays += [kernel.reshape(-1, len(gain)) * gain, bias - mean * gain]
    return arrays + tensors[-2:]


def _convolution(x, dtype, channels, kernel_px, stride=1, activation=True):
    """Add a convolution, a depthwise one if `channels` is None, and ReLU6."""
    options = {"strides": stride, "padding": "same", "dtype": dtype}
    if channels:
        x = layers.Conv2D(channels, kernel_px, **options)(x)
    else:
        x = layers.DepthwiseConv2D(kernel_px, **options)(x)
    return layers.ReLU(6.0, dtype=dtype)(x) if activation else x


def _block(x, dtype, expansion, channels, kernel_px, stride=1):
    """Add an inverted residual block, without its shortcut: expand, filter, project."""
    if expansion > 1:
        x = _convolution(x, dtype, expansion * x.shape[-1], 1)
    x = _convolution(x, dtype, None, kernel_px, stride)
    return _convolution(x, dtype, channels, 1, activation=False)


def _unit_maps(compute, images):
    """Return the maps of the taps, the channels of each pixel scaled to unit length."""
    maps = []
    for found in keras.tree.flatten(compute(images)):
        found = ops.cast(found, "float32")
        squares = ops.sum(found**2, -1, keepdims=True)
        maps.append(found / (ops.sqrt(squares) + 1e-6))
    return maps


def _apart(maps, others):
    """Return the feature distance of unit maps, mean over the taps, (batch,)."""
    distances = []
    for one, other in zip(maps, others, strict=True):
        squares = ops.sum((one - other) ** 2, -1)
        distances.append(ops.mean(squares, axis=(1, 2)))
    return sum(distances) / len(distances)


def _checked(images):
    images = np.asarray(images)
    pictures = images.ndim == 4 and images.shape[-1] == 3 and len(images)
    if not pictures or min(images.shape[1:3]) < 32:
        raise ValueError(
            f"images have shape {images.shape}; expected (batch, height, width, 3) with 32 px a "
            "side or more: pick three bands, or enlarge the images"
        )
    if images.dtype.kind != "f" or not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images are {images.dtype}, {images.min()} to {images.max()}; expected floats from 0 "
            "to 1, without NaN: divide by the largest possible value"
        )
    return images.astype("float32")
