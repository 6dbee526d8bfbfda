"""Find the network of `apply`, read its description, and compute its answers to windows."""

from itertools import product
from math import ceil
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.scenes import from_unit, to_unit

# what model.json must say; a receptive field of null means that every pixel sees the whole image
NEEDED = ("bands", "bands_out", "scale", "value_range", "credit", "receptive_field_px")
# and what it may say; `changed_above` is the opacity and the shadow from which a pixel is changed
DEFAULTS = {
    "size_multiple": 1, "classes": [], "masks": [], "changed_above": (0.06, 0.06),
    "unit": None, "value_range_out": None,
}  # fmt: skip
GLOBAL_FIELD_PX = 126  # what a window is shown where the field is the whole image


def model_path(model):
    """Find the `.keras` file of a model: a name in `data/weights`, or a path.

    A path counts from here, or from the project's root.

    Raises:
        ValueError: there is none, or no description beside it.
    """
    weights = paths.ROOT / "data" / "weights"
    for path in (weights / f"{model}.keras", Path(model), paths.ROOT / model):
        if path.is_file() and path.with_suffix(".json").exists():
            return path
    known = ", ".join(sorted(path.stem for path in weights.glob("*.keras")))
    raise ValueError(
        f"there is no model {model}: give the path of a .keras file, with a .json of that name "
        f"beside it, or a name in data/weights ({known})"
    )


def read_network(path):
    """Read the keras.Model in a `.keras` file; a ValueError if it cannot be read."""
    from helpers import models  # noqa: F401 - the layers of our own that a network may contain
    from helpers.backend import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        raise ValueError(
            f"{path} cannot be loaded ({error}). The file may be damaged, or a pointer "
            "of Git LFS: then `git lfs pull` fetches the file itself"
        ) from error


def load_model(model):
    """Load a network with what is needed to apply it.

    Args:
        model: path of a `.keras` file with its `model.json` (same name, suffix .json) beside it,
            or a name in `data/weights`.

    Returns:
        keras.Model, and the dict of its `model.json` with the defaults of what it does not say.

    Raises:
        ValueError: there is no such model, or no description beside it that says enough.
    """
    path = model_path(model)
    record = path.with_suffix(".json")
    about = DEFAULTS | paths.read_json(record, NEEDED)
    network = read_network(path)
    made = (about["classes"] or about["bands_out"]) + about["masks"]
    wanted = [(None, None, None, len(bands)) for bands in (about["bands"], made)]
    shapes = [network.input_shape, network.output_shape]
    if shapes != wanted:
        raise ValueError(
            f"{path.name} takes and gives {shapes}; windows need images of any size: {wanted}"
        )
    if about["classes"]:
        about["value_range_out"] = [(0, 1)] * len(made)  # how likely each is
    elif not about["value_range_out"] and about["bands_out"] != about["bands"]:
        raise ValueError(f"{record} does not say value_range_out")
    return network, about


class Predictor:
    """Compute what a network answers to windows, from the file's unit to the output's.

    Args:
        network, about: of `load_model`.
        ranges: (low, high) of each band of the file that the network sees as 0 to 1.
        tta: average the answers to all eight flips and turns.

    Attributes:
        margin_px: pixels of the file beside a window that have a part in the answer, rounded up
            to a multiple of what the network takes.
    """

    def __init__(self, network, about, ranges, tta=False):
        from helpers.backend import tf
        from helpers.pairs.resolution import upsample

        scale = about["scale"]
        multiple = about["size_multiple"]
        side = 64 * multiple
        height = network.compute_output_shape((1, side, side, len(ranges)))[1]
        if height not in (side, side * scale):
            raise ValueError(
                f"the network makes {height} pixels of {side}, unlike its .json says"
            )
        enlarge = height < side * scale  # by bicubic interpolation
        margin = (about["receptive_field_px"] or GLOBAL_FIELD_PX) // 2 + 1
        if enlarge:  # looks two pixels further
            margin = ceil(margin / scale) + 2
        self.margin_px = ceil(margin / multiple) * multiple
        self.views = list(product((1, -1), range(4)))[: 8 if tta else 1]
        ranges_out = [
            *(about["value_range_out"] or ranges),
            *[(0, 1)] * len(about["masks"]),
        ]

        @tf.function(autograph=False)  # one graph for one size: faster than `predict`
        def answer(pixels):
            values = to_unit(pixels, ranges)
            if enlarge:
                values = upsample(values, scale)
            return from_unit(
                tf.cast(network(values, training=False), "float32"), ranges_out
            )

        self.answer = answer

    def __call__(self, pixels):
        """Answer to one window.

        Args:
            pixels: float32 (side, side, bands) in the file's unit, without NaN.

        Returns:
            float32 (side x scale, side x scale, bands) in the output's unit.
        """
        answers = (
            np.rot90(self.answer(shown[None])[0], -turns)[:, ::step]
            for step, turns in self.views
            for shown in [np.rot90(pixels[:, ::step], turns)]
        )
        return sum(answers) / len(self.views)
