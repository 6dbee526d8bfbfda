"""Find the network of `apply`, read its description, and compute its answers to windows."""

from itertools import product
from math import ceil
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.scenes import from_unit, to_unit

# what model.json must say; a receptive field of null means that every pixel sees the whole image
DESCRIPTION = ("bands", "bands_out", "scale", "value_range", "credit")
FIELD = "receptive_field_px"
GLOBAL_MARGIN_PX = 64  # shown around a window where the field is the whole image


def model_path(model):
    """Find the `.keras` file of a model: a name in `data/weights`, or a path.

    A path counts from here, or from the project's root.

    Raises:
        ValueError: there is none, or no description beside it.
    """
    weights = paths.ROOT / "data" / "weights"
    places = (weights / f"{model}.keras", Path(model), paths.ROOT / model)
    path = next(filter(Path.is_file, places), None)
    if path is None:
        known = ", ".join(sorted(path.stem for path in weights.glob("*.keras")))
        told = "give the path of a .keras file, or a name in data/weights"
        raise ValueError(f"there is no model {model}: {told} ({known})")
    if not path.with_suffix(".json").exists():
        raise ValueError(
            f"{path.stem}.json is missing beside {path}: it names the bands"
        )
    return path


def read_network(path):
    """Read the keras.Model in a `.keras` file; a ValueError if it cannot be read."""
    from helpers import models  # noqa: F401 - the layers of our own that a network may contain
    from helpers.backend import keras

    if path.read_bytes()[:7] == b"version":
        raise ValueError(
            f"{path} is a pointer of Git LFS: fetch the file with `git lfs pull`"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        raise ValueError(f"{path} cannot be loaded ({str(error)[-200:]})") from error


def load_model(model):
    """Load a network with what is needed to apply it.

    Args:
        model: path of a `.keras` file with its `model.json` (same name, suffix .json) beside it,
            or a name in `data/weights`.

    Returns:
        keras.Model, and the dict of its `model.json`.

    Raises:
        ValueError: there is no such model, or no description beside it that says enough.
    """
    path = model_path(model)
    about = {"classes": [], "masks": []} | paths.read_record(path.with_suffix(".json"))
    unsaid = [name for name in DESCRIPTION if about.get(name) is None]
    unsaid += [FIELD] * (FIELD not in about)
    if unsaid:
        raise ValueError(
            f"{path.with_suffix('.json')} does not say {', '.join(unsaid)}"
        )
    network = read_network(path)
    made = [*(about["classes"] or about["bands_out"]), *about["masks"]]
    wanted = [(None, None, None, len(bands)) for bands in (about["bands"], made)]
    if [network.input_shape, network.output_shape] != wanted:
        raise ValueError(
            f"{path.name} takes {network.input_shape} and gives {network.output_shape}; windows "
            f"need images of any size: {wanted}"
        )
    return network, about


class Predictor:
    """Compute what a network answers to windows, from the file's unit to the output's.

    Args:
        network, about: of `load_model`.
        ranges: (low, high) of each band of the file that the network sees as 0 to 1.
        tta: average the answers to all eight flips and turns.

    Attributes:
        multiple_px: sides and corners of windows must be multiples of it, pixels of the file.
        margin_px: pixels of the file beside a window that have a part in the answer, rounded up
            to such a multiple.
        enlarge_first: whether the network is given the image enlarged by bicubic interpolation.

    Raises:
        ValueError: the description does not say the values of what is made.
    """

    def __init__(self, network, about, ranges, *, tta=False):
        from helpers.backend import tf
        from helpers.pairs.resolution import upsample

        scale, field = about["scale"], about[FIELD]
        self.multiple_px = multiple = about.get("size_multiple", 1)
        side = 8 * scale * multiple
        _, height, *_ = network.compute_output_shape((1, side, side, len(ranges)))
        self.enlarge_first = enlarge = scale > 1 and height == side
        margin = field // 2 + 1 if field else GLOBAL_MARGIN_PX
        if enlarge:  # bicubic interpolation looks two pixels further
            margin = ceil(margin / scale) + 2
        self.margin_px = ceil(margin / multiple) * multiple
        self.views = list(product((1, -1), range(4))) if tta else [(1, 0)]
        taken = dict(zip(about["bands"], ranges, strict=True))
        made = about.get("value_range_out") or [
            taken.get(band) for band in about["bands_out"]
        ]
        if about["classes"]:
            made = [(0, 1)] * len(about["classes"])
        if None in made:
            raise ValueError("value_range_out is missing in the model's description")
        ranges_out = [*made, *[(0, 1)] * len(about["masks"])]

        @tf.function(
            autograph=False
        )  # one graph for the one size: faster than `predict`
        def answer(pixels):
            values = to_unit(pixels, ranges)
            values = network(
                upsample(values, scale) if enlarge else values, training=False
            )
            return from_unit(tf.cast(values, "float32"), ranges_out)

        self.answer = answer

    def __call__(self, pixels):
        """Answer to one window.

        Args:
            pixels: float32 (side, side, bands) in the file's unit, without NaN.

        Returns:
            float32 (side x scale, side x scale, bands) in the output's unit.
        """
        made = 0
        for step, turns in self.views:
            shown = np.rot90(pixels[:, ::step], turns)
            answer = self.answer(shown[None])[0].numpy()
            made = made + np.rot90(answer, -turns)[:, ::step]
        return made / len(self.views)
