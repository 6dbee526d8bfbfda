"""Train the shipped landscape generator on a GPU with JAX: the models and losses of notebook 06.

The notebook trains the same networks with TensorFlow for two minutes (`training.fit_landscapes`).
This script goes on for longer. It needs keras, jax, Pillow and NumPy, neither TensorFlow nor the
packs: `--features` is an .npz of the arrays that `features._weights()` returns, in their order, and
`--views` one of the uint8 arrays `train` and `validation` of views from `pairs.views.render`.

    KERAS_BACKEND=jax python data/weights/train_landscapes.py --views views.npz \
        --features features.npz --out trained --steps 10000
"""

import argparse
import functools
import json
import sys
import time
import types
from pathlib import Path

import jax
import keras
import numpy as np
from keras import ops
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def stand_in(name, **content):
    """Put a small module in the place of one that would import TensorFlow or rasterio."""
    module = types.ModuleType(name)
    module.__dict__.update(content)
    sys.modules[name] = module
    return module


def load_house(features_file):
    """Import what the training shares with the notebook."""
    sys.path.insert(0, str(ROOT))
    stand_in("helpers.backend", keras=keras, tf=None)
    stand_in("helpers.acquire", packs=None, pytorch_file=None)
    stand_in("helpers.training", __path__=[str(ROOT / "helpers" / "training")])
    from helpers import features, metrics, models
    from helpers.training import augment, losses

    compiled = functools.cache(lambda taps, *_: jax.jit(features.backbone(taps)))
    features.shared_backbone = compiled
    with np.load(features_file) as saved:
        weights = [*saved.values()]
    features._weights = lambda: weights
    house = {"features": features, "metrics": metrics, "models": models}
    return types.SimpleNamespace(augment=augment.augment, losses=losses, **house)


def score(house, made, real):
    """Return KID by ImageNet features, and diversity by feature distance, generated over real."""
    distance, embed = house.features.feature_distance, house.features.embed
    spread = [distance(images, np.roll(images, 1, axis=0)).mean() for images in (made, real)]
    kid = house.metrics.kid(embed(real), embed(made))
    return {"kid_imagenet": float(kid), "diversity": float(spread[0] / spread[1])}


class Training:
    """Generator, view encoder and discriminator with their optimizers, as one compiled step.

    The state is a dict of lists of arrays: `drawing` (weights of generator, then encoder), `moving`
    (the generator's moving means), `judging`, `frozen` (the discriminator's), slots, averages.
    """

    def __init__(self, house, options):
        self.house, self.options = house, options
        models, size = house.models, {"image_px": options.image_px}
        keras.utils.set_random_seed(options.seed)
        self.generator = models.landscape_generator(options.latent_size, **size)
        self.encoder = models.view_encoder(options.latent_size, **size)
        self.discriminator = models.projected_discriminator(**size)
        self.step = jax.jit(self._step)
        self.generate = jax.jit(self.generator.stateless_call)

    def begin(self):
        """Return the state before the first step."""
        drawing = [*self.generator.trainable_variables, *self.encoder.trainable_variables]
        judging = self.discriminator.trainable_variables
        self.optimizers = [keras.optimizers.Adam(self.options.rate, 0.0, 0.99) for _ in range(2)]
        slots = []
        for optimizer, variables in zip(self.optimizers, (drawing, judging), strict=True):
            optimizer.build(variables)
            slots.append([variable.value for variable in optimizer.variables])
        state = {"drawing": drawing, "judging": judging, "averaged": drawing}
        state["moving"] = state["averaged_moving"] = self.generator.non_trainable_variables
        state["frozen"] = self.discriminator.non_trainable_variables
        copied = {name: [ops.copy(v.value) for v in each] for name, each in state.items()}
        return copied | {"slots": slots}

    def _losses(self, drawing, judging, state, batch):
        """Return what the generator and what the discriminator minimise; and the new state."""
        view, latents, draws = batch
        losses, options, half = self.house.losses, self.options, len(view) // 2
        count = len(self.generator.trainable_variables)
        encoded, _ = self.encoder.stateless_call(drawing[count:], [], view[half:])
        mixed = ops.concatenate([latents[:half], encoded])
        made, moving = self.generator.stateless_call(drawing[:count], state["moving"], mixed, training=True)
        shown = ops.concatenate([self.house.augment(image, draws) for image in (view, made)])
        (logits, *seen), frozen = self.discriminator.stateless_call(judging, state["frozen"], [shown], training=True)
        real, fake = ops.split(logits, 2)
        against, opinion = losses.ADVERSARIES["hinge"](real, fake)
        pairs = [ops.split(each, 2) for each in seen]
        parts = {
            "energy": sum(losses.energy_distance(*pair) for pair in pairs) / len(pairs),
            "paired": sum(losses.paired_distance(*pair) for pair in pairs) / len(pairs),
            "latent": losses.energy_distance(latents[half:], encoded),
        }
        drawn = opinion + sum(getattr(options, name) * part for name, part in parts.items())
        parts |= {"adversarial": opinion, "discriminator": against}
        return (drawn, against), {"moving": moving, "frozen": frozen, "parts": parts}

    def _step(self, state, views, number, rate):
        options, count = self.options, self.options.batch_size
        keys = jax.random.split(jax.random.fold_in(jax.random.key(options.seed), number), 4)
        view = views[jax.random.randint(keys[0], (count,), 0, len(views))] / 255.0
        mirrored = jax.random.bernoulli(keys[1], 0.5, (count, 1, 1, 1))
        view = ops.where(mirrored, view[:, :, ::-1], view)
        latents = jax.random.uniform(keys[2], (count, options.latent_size), minval=-1.0)
        draws = jax.random.uniform(keys[3], (count, 5), minval=-1.0)
        both, slopes, new = jax.vjp(
            lambda one, other: self._losses(one, other, state, (view, latents, draws)),
            state["drawing"], state["judging"], has_aux=True,
        )  # fmt: skip
        one, zero = ops.ones_like(both[0]), ops.zeros_like(both[0])
        gradients = slopes((one, zero))[0], slopes((zero, one))[1]
        new["slots"] = []
        for place, name in enumerate(("drawing", "judging")):
            iterations, _, *moments = state["slots"][place]
            new[name], slots = self.optimizers[place].stateless_apply(
                [iterations, rate, *moments], gradients[place], state[name]
            )
            new["slots"].append(slots)
        decay = ops.minimum(options.decay, (1 + number) / (10 + number))
        for name in ("drawing", "moving"):
            averaged = "averaged" + name.removeprefix("drawing").replace("moving", "_moving")
            pairs = zip(state[averaged], new[name], strict=True)
            new[averaged] = [decay * old + (1 - decay) * now for old, now in pairs]
        return new, new.pop("parts")

    def made(self, state, latents):
        """Return the averaged generator's images, 0 to 1."""
        weights = state["averaged"][: len(self.generator.trainable_variables)]
        images, _ = self.generate(weights, state["averaged_moving"], latents)
        return np.clip(np.asarray(images), 0, 1)

    def keep(self, state):
        """Give the averaged weights to the two Keras models, to be used and saved."""
        count = len(self.generator.trainable_variables)
        models = (self.generator, state["averaged"][:count], state["averaged_moving"]), (
            self.encoder, state["averaged"][count:], []
        )  # fmt: skip
        for model, weights, moving in models:
            for variables, values in (
                (model.trainable_variables, weights),
                (model.non_trainable_variables, moving),
            ):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(np.asarray(value))


def train(training, arrays, out):
    """Train, and at each report score the averaged generator and keep the best one in `out`."""
    options, history = training.options, []
    out.mkdir(parents=True, exist_ok=True)
    real = arrays["validation"][: options.scored] / np.float32(255)
    random = np.random.default_rng(options.seed)
    fixed = random.uniform(-1, 1, (len(real), options.latent_size)).astype("float32")
    state, views, started = training.begin(), jax.device_put(arrays["train"]), time.time()
    for number in range(1, options.steps + 1):
        rate = options.rate * (1 - 0.9 * number / options.steps)
        state, parts = training.step(state, views, np.float32(number), np.float32(rate))
        if number % max(1, options.steps // options.reports) and number not in (1, 20):
            continue
        made = training.made(state, fixed)
        row = {"step": number, **score(training.house, made, real)}
        row |= {name: float(part) for name, part in parts.items()}
        history.append(row | {"seconds": round(time.time() - started, 1)})
        print(json.dumps(history[-1]), flush=True)
        rows = (255 * made[:48]).round().astype("uint8").reshape(6, 8, *made.shape[1:])
        Image.fromarray(np.concatenate(np.concatenate(rows, axis=1), axis=1)).save(out / "sheet.jpg")
        if row["kid_imagenet"] == min(each["kid_imagenet"] for each in history):
            training.keep(state)
            training.generator.save(out / "generator.keras")
            training.encoder.save(out / "view_encoder.keras")
        (out / "history.json").write_text(json.dumps({"options": vars(options), "reports": history}))


def parse(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("views", "features", "out"):
        parser.add_argument(f"--{name}", required=True)
    numbers = {
        "steps": 10_000, "latent_size": 4, "image_px": 128, "batch_size": 64, "rate": 2e-4,
        "energy": 5.0, "paired": 5.0, "latent": 5.0, "decay": 0.998, "seed": 0, "reports": 10,
        "scored": 256,
    }  # fmt: skip
    for name, value in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen = parse()
    with np.load(chosen.views) as file:
        pixels = {name: file[name] for name in ("train", "validation")}
    train(Training(load_house(chosen.features), chosen), pixels, Path(chosen.out))
