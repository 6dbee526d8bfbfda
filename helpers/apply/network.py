"""The network of `apply`: finding it, what its description says, and what it answers to a batch of windows."""

from pathlib import Path

import numpy as np

from helpers import paths

DESCRIPTION = ("bands", "bands_out", "scale", "value_range", "receptive_field_px", "credit")  # what model.json must say


def model_path(model):
    """The `.keras` file of a model: a name in `data/weights`, or a path, from here or from the project's root.

    Raises:
        ValueError: there is none, or no description beside it.
    """
    named = paths.ROOT / "data" / "weights" / f"{model}.keras"
    path = next((place for place in (named, Path(model), paths.ROOT / model) if place.is_file()), None)
    if path is None:
        known = ", ".join(sorted(p.stem for p in named.parent.glob("*.keras"))) or "none yet"
        raise ValueError(
            f"there is no model {model}: give the path of a .keras file, or a name in data/weights ({known})"
        )
    if not path.with_suffix(".json").exists():
        raise ValueError(f"{path.with_suffix('.json')} is missing: it says which bands and values {path.name} expects")
    return path


def read_network(path):
    """The keras.Model in a `.keras` file; a ValueError if it cannot be read."""
    from helpers import models  # noqa: F401 - the layers of our own that a network may contain
    from helpers.backend import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        if path.read_bytes()[:7] == b"version":
            told = "it is a pointer of Git LFS: fetch the file itself with `git lfs pull`"
        else:
            told = str(error).strip().splitlines()[-1][:200] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} cannot be loaded ({told})") from error


def load_model(model):
    """A network with what is needed to apply it.

    Args:
        model: path of a `.keras` file with its `model.json` (same name, suffix .json) beside it, or a name in
            `data/weights`.

    Returns:
        keras.Model, and the dict of its `model.json`.

    Raises:
        ValueError: there is no such model, no description beside it, or one that does not say enough.
    """
    path = model_path(model)
    about = paths.read_record(path.with_suffix(".json"))
    may_be_null = {"receptive_field_px"}  # it says that the context is global
    unsaid = [name for name in DESCRIPTION if about.get(name) is None and name not in may_be_null & about.keys()]
    if unsaid:
        told = ", ".join(unsaid)
        raise ValueError(f"{path.with_suffix('.json')} does not say {told}, which windows cannot do without")
    network = read_network(path)
    made = [*(about.get("classes") or about["bands_out"]), *about.get("masks", ())]
    bands, bands_out = len(about["bands"]), len(made)
    expected = [(None, None, None, bands), (None, None, None, bands_out)]
    if [network.input_shape, network.output_shape] != expected:
        raise ValueError(
            f"{path.name} takes {network.input_shape} and gives {network.output_shape}; a model that is applied window "
            f"by window takes images of any size: (None, None, None, {bands}) to (None, None, None, {bands_out})"
        )
    return network, about


class Predictor:
    """What a network answers to windows, from the file's unit to the output's.

    Args:
        network, about: of `load_model`.
        ranges: (low, high) of each band of the file that the network sees as 0 to 1.
        ranges_out: the same of each band of the output.
        take: for each band of the network, its place in the file.
        give: for each band of the output, its place among the network's.
        augment: average the answers to all eight flips and turns.
        spread: give the standard deviation of these eight, too; an answer has twice the `bands` then.

    Attributes:
        margin_px: how many pixels of the file beside an output pixel have a part in it; None where all have.
        multiple_px: sides and corners of windows must be multiples of it, pixels of the file.
        enlarge_first: whether the network is given the image enlarged by bicubic interpolation.
    """

    def __init__(self, network, about, ranges, ranges_out, *, take=None, give=None, augment=False, spread=False):
        from helpers.backend import tf
        from helpers.pairs.resolution import upsample

        scale, field, self.multiple_px = about["scale"], about["receptive_field_px"], about.get("size_multiple") or 1
        shape = (1, *[8 * scale * self.multiple_px] * 2, len(ranges))
        self.enlarge_first = enlarge_first = scale > 1 and network.compute_output_shape(shape)[1] == shape[1]
        self.margin_px = field and field // 2 + 1
        if field and enlarge_first:
            self.margin_px = -(-self.margin_px // scale) + 2  # bicubic interpolation looks two pixels further
        self.augment, self.spread = augment, spread
        self.bands = len(ranges_out) * (1 + spread)
        low, high = np.asarray(ranges, "float32").T
        low_out, high_out = np.asarray(ranges_out, "float32").T

        @tf.function(autograph=False)  # one graph for the one size; 1.5 to 2 times the rate of `predict` measured
        def answer(pixels):
            values = (pixels - low) / (high - low)
            if take is not None:
                values = tf.gather(values, take, axis=-1)
            values = network(upsample(values, scale) if enlarge_first else values, training=False)
            if give is not None:
                values = tf.gather(values, give, axis=-1)
            return tf.cast(values, "float32") * (high_out - low_out) + low_out

        self.answer = answer

    def __call__(self, pixels, crop_px):
        """Answer to float32 (batch, height, width, bands) in the file's unit, without NaN.

        Returns:
            float32 (batch, height * scale - 2 crop_px, width * scale - 2 crop_px, bands): the answer in the output's
            unit, then its spread where asked for.
        """
        from helpers.backend import tf

        pixels, inside = tf.constant(pixels), slice(crop_px, -crop_px or None)
        if not (self.augment or self.spread):
            return self.answer(pixels)[:, inside, inside].numpy()
        plain = mean = self.answer(pixels)[:, inside, inside]
        squares = tf.zeros_like(mean)
        for count in range(2, 9):  # Welford's running mean and sum of squares: eight answers need not be kept
            turns, flipped = (count - 1) % 4, count > 4
            turned = tf.image.rot90(tf.reverse(pixels, [2]) if flipped else pixels, turns)
            answer = tf.image.rot90(self.answer(turned)[:, inside, inside], -turns % 4)
            difference = (tf.reverse(answer, [2]) if flipped else answer) - mean
            mean += difference / count
            squares += difference * difference * ((count - 1) / count)
        estimate = mean if self.augment else plain
        return (tf.concat([estimate, tf.sqrt(squares / 8)], axis=-1) if self.spread else estimate).numpy()
