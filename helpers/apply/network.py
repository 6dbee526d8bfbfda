"""Find the network of `apply`, read its description, and compute its answers to windows."""

from itertools import product
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.scenes import from_unit, to_unit

# what model.json must say; a field of null means that every pixel sees the whole image
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
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = ", ".join(sorted(path.stem for path in weights.glob("*.keras"))) or "none yet"
        raise ValueError(
            f"there is no model {model}: give the path of a .keras file, or a name in data/weights "
            f"({known})"
        )
    if not path.with_suffix(".json").exists():
        raise ValueError(
            f"{path.stem}.json is missing beside {path}: it says which bands it expects"
        )
    return path


def read_network(path):
    """Read the keras.Model in a `.keras` file; a ValueError if it cannot be read."""
    from helpers import models  # noqa: F401 - the layers of our own that a network may contain
    from helpers.backend import keras

    if path.read_bytes()[:7] == b"version":
        raise ValueError(f"{path} is a pointer of Git LFS: fetch the file with `git lfs pull`")
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        told = " ".join(str(error).split())[-200:] or type(error).__name__
        raise ValueError(f"{path} cannot be loaded ({told})") from error


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
    about = paths.read_record(path.with_suffix(".json"))
    unsaid = [name for name in DESCRIPTION if about.get(name) is None]
    unsaid += [FIELD] * (FIELD not in about)
    if unsaid:
        raise ValueError(
            f"{path.with_suffix('.json')} does not say {', '.join(unsaid)}, which windows cannot "
            "do without"
        )
    network = read_network(path)
    made = [*(about.get("classes") or about["bands_out"]), *about.get("masks", ())]
    wanted = [(None, None, None, len(bands)) for bands in (about["bands"], made)]
    if [network.input_shape, network.output_shape] != wanted:
        raise ValueError(
            f"{path.name} takes {network.input_shape} and gives {network.output_shape}; a model "
            "that is applied window by window takes images of any size: "
            f"{wanted[0]} to {wanted[1]}"
        )
    return network, about


class Predictor:
    """Compute what a network answers to windows, from the file's unit to the output's.

    Args:
        network, about: of `load_model`.
        ranges: (low, high) of each band of the file that the network sees as 0 to 1.
        ranges_out: the same of each band of the output; masks, which follow, have 0 to 1.
        tta: average the answers to all eight flips and turns.

    Attributes:
        multiple_px: sides and corners of windows must be multiples of it, pixels of the file.
        margin_px: pixels of the file beside a window that have a part in the answer, rounded up
            to such a multiple.
        enlarge_first: whether the network is given the image enlarged by bicubic interpolation.
    """

    def __init__(self, network, about, ranges, ranges_out, *, tta=False):
        from helpers.backend import tf
        from helpers.pairs.resolution import upsample

        scale, field = about["scale"], about[FIELD]
        self.multiple_px = about.get("size_multiple") or 1
        side = 8 * scale * self.multiple_px
        made = network.compute_output_shape((1, side, side, len(ranges)))
        self.enlarge_first = enlarge = scale > 1 and made[1] == side
        margin = field // 2 + 1 if field else GLOBAL_MARGIN_PX
        if enlarge:  # bicubic interpolation looks two pixels further
            margin = -(-margin // scale) + 2
        self.margin_px = rounded_up(margin, self.multiple_px)
        self.crop_px = self.margin_px * scale
        self.views = list(product((1, -1), range(4))) if tta else [(1, 0)]
        ranges_out = [*ranges_out, *[(0, 1)] * len(about.get("masks", ()))]

        @tf.function(autograph=False)  # one graph for the one size: faster than `predict`
        def answer(pixels):
            values = to_unit(pixels, ranges)
            values = network(upsample(values, scale) if enlarge else values, training=False)
            return from_unit(tf.cast(values, "float32"), ranges_out)

        self.answer = answer

    def __call__(self, pixels):
        """Answer to one window, without its margin.

        Args:
            pixels: float32 (height, width, bands) in the file's unit, without NaN.

        Returns:
            float32 (height, width, bands) in the output's unit, times `scale` and less the margin.
        """
        inside, made = slice(self.crop_px, -self.crop_px), []
        for step, turns in self.views:
            shown = np.ascontiguousarray(np.rot90(pixels[:, ::step], turns))
            answer = self.answer(shown[None])[0, inside, inside].numpy()
            made.append(np.rot90(answer, -turns)[:, ::step])
        return made[0] if len(made) == 1 else np.mean(made, axis=0)


def rounded_up(size, multiple):
    """Return the next multiple."""
    return -(-size // multiple) * multiple
