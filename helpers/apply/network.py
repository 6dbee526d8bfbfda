"""Find the network of `apply`, read its description, and compute its answers to windows."""

from pathlib import Path

import numpy as np

from helpers import paths
from helpers.scenes import from_unit, to_unit

# what model.json must say
DESCRIPTION = ("bands", "bands_out", "scale", "value_range", "credit")
FIELD = "receptive_field_px"


def model_path(model):
    """Find the `.keras` file of a model: a name in `data/weights`, or a path.

    A path counts from here, or from the project's root.

    Raises:
        ValueError: there is none, or no description beside it.
    """
    weights = paths.ROOT / "data" / "weights"
    for path in (weights / f"{model}.keras", Path(model), paths.ROOT / model):
        if path.is_file():
            break
    else:
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

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        told = " ".join(str(error).split())[-200:] or type(error).__name__
        if path.read_bytes()[:7] == b"version":
            told = "it is a pointer of Git LFS: fetch the file itself with `git lfs pull`"
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
    unsaid += [FIELD] * (FIELD not in about)  # where it is null, the context is global
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
        augment: average the answers to all eight flips and turns.
        spread: give the standard deviation of these eight, too; twice the `bands` then.

    Attributes:
        margin_px: pixels of the file beside an output pixel that have a part in it; None where
            all have.
        multiple_px: sides and corners of windows must be multiples of it, pixels of the file.
        enlarge_first: whether the network is given the image enlarged by bicubic interpolation.
    """

    def __init__(self, network, about, ranges, ranges_out, *, augment=False, spread=False):
        from helpers.backend import tf
        from helpers.pairs.resolution import upsample

        scale, field = about["scale"], about[FIELD]
        self.multiple_px = about.get("size_multiple") or 1
        side = 8 * scale * self.multiple_px
        made = network.compute_output_shape((1, side, side, len(ranges)))
        self.enlarge_first = enlarge_first = scale > 1 and made[1] == side
        self.margin_px = field and field // 2 + 1
        if field and enlarge_first:  # bicubic interpolation looks two pixels further
            self.margin_px = -(-self.margin_px // scale) + 2
        self.augment, self.spread = augment, spread
        ranges_out = [*ranges_out, *[(0, 1)] * len(about.get("masks", ()))]
        self.bands = len(ranges_out) * (1 + spread)

        @tf.function(autograph=False)  # one graph for the one size: faster than `predict`
        def answer(pixels):
            values = to_unit(pixels, ranges)
            values = network(upsample(values, scale) if enlarge_first else values, training=False)
            return from_unit(tf.cast(values, "float32"), ranges_out)

        self.answer = answer

    def __call__(self, pixels, crop_px):
        """Answer to one window.

        Args:
            pixels: float32 (height, width, bands) in the file's unit, without NaN.
            crop_px: to cut off from each side of the answer.

        Returns:
            float32 (height * scale - 2 crop_px, width * scale - 2 crop_px, bands) in the output's
            unit: the answer, then its spread where asked for.
        """
        inside = slice(crop_px, -crop_px or None)

        def answer(flip, turns):
            shown = np.rot90(pixels[:, ::-flip], turns)
            made = self.answer(np.ascontiguousarray(shown)[None])[0, inside, inside].numpy()
            return np.rot90(made, -turns)[:, ::-flip]

        plain = answer(-1, 0)
        if not (self.augment or self.spread):
            return plain
        views = [answer(flip, turns) for flip in (-1, 1) for turns in range(4)]
        made = np.mean(views, axis=0) if self.augment else plain
        return np.concatenate([made, np.std(views, axis=0)], axis=-1) if self.spread else made
