"""The one adversarial trainer: a generator that has to come near its target *and* to convince a discriminator."""

from helpers.backend import keras, tf
from helpers.training.fit import State, train
from helpers.training.losses import ADVERSARIES, gradient_penalty, slope_penalty

ops = keras.ops
PENALTY = 10.0  # weight of the gradient penalty of "wgan_gp"
BORDER = {"non_saturating": 0.0, "lsgan": 0.5}  # logits above it mean "real"


class Adversarial(keras.Model):
    """Both networks and both optimizers in one training step; called, it answers with the averaged generator.

    Args:
        generator: keras.Model from the input to an image, or to a list of images, largest first.
        discriminator: keras.Model from the list of images (after the input, if `conditional`) to logits.
        terms: dict from name to (weight, function of (target, estimate)): what is compared with the target.
        weight: of the adversary's opinion.
        kind: "non_saturating", "lsgan" or "wgan_gp".
        conditional: the discriminator sees the generator's input, too; the first, where there are several.
        ramp_steps: steps over which `weight` grows from 0, while the discriminator already learns.
        decay: of the exponential average of the generator's weights.
        change: what becomes of images before they are judged, function of (image, two whole numbers to draw by), or
            None.
        steepness: weight of `losses.slope_penalty`, which is computed at every eighth step, as it is slow; 0 = never.
    """

    def __init__(
        self, generator, discriminator, terms, *, weight, kind, conditional, ramp_steps, decay, change, steepness
    ):
        super().__init__(name=f"{generator.name}_adversarial")
        if kind not in ADVERSARIES:
            raise ValueError(f"there is no adversary {kind!r}; there are {', '.join(ADVERSARIES)}")
        self.generator, self.discriminator, self.terms = generator, discriminator, terms
        self.averaged = keras.models.clone_model(generator)
        self.averaged.set_weights(generator.get_weights())
        self.averaged.trainable = False
        self.weight, self.kind, self.conditional = weight, kind, conditional
        self.ramp_steps, self.decay = ramp_steps, decay
        self.change, self.steepness = change or (lambda image, key: image), steepness
        names = ["loss", *terms, "adversarial", "discriminator", "accuracy", "gradient_norm", "discriminator_norm"]
        self.means = {name: keras.metrics.Mean(name) for name in names}

    def call(self, inputs, training=False):
        """The image, at full size, of the averaged generator."""
        return tf.nest.flatten(self.averaged(inputs, training=False))[0]

    @property
    def metrics(self):
        """What every report shows, and then begins anew."""
        return list(self.means.values())

    def compile(self, generator_optimizer, discriminator_optimizer, **options):
        """Build both optimizers now: one that is built in the first step would not be restored."""
        super().compile(**options)
        self.optimizers = {"generator": generator_optimizer, "discriminator": discriminator_optimizer}
        for name, optimizer in self.optimizers.items():
            optimizer.build(getattr(self, name).trainable_variables)

    def train_step(self, batch):
        """One step of both networks; from the second, what the first has just answered is judged."""
        inputs, target, *counts = batch
        step = ops.cast(self.optimizers["generator"].iterations, "float32")
        condition = tf.nest.flatten(inputs)[:1] if self.conditional else []
        with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
            estimates = tf.nest.flatten(self.generator(inputs, training=True))
            targets = [_shrunk(target, estimate) for estimate in estimates]
            number = ops.cast(step, "int32")
            shown = [self.change(image, [2 * number, n]) for n, image in enumerate(targets)]
            made = [self.change(image, [2 * number + 1, n]) for n, image in enumerate(estimates)]
            real = self.discriminator([*condition, *shown], training=True)
            fake = self.discriminator([*condition, *made], training=True)
            against, opinion = ADVERSARIES[self.kind](real, fake)
            if self.kind == "wgan_gp":
                against += PENALTY * gradient_penalty(self.discriminator, condition, targets, estimates, step=step)
            if self.steepness:
                against += tf.cond(
                    number % 8 == 0, lambda: 8 * self.steepness * slope_penalty(self.discriminator, shown), lambda: 0.0
                )
            pairs = list(zip(targets, estimates, strict=True))
            if counts:
                shares = [_shrunk(counts[0][..., None], estimate) for estimate in estimates]
                pairs = [(share * one, share * other) for share, (one, other) in zip(shares, pairs, strict=True)]
            parts = {name: sum(f(*pair) for pair in pairs) / len(pairs) for name, (_, f) in self.terms.items()}
            ramp = ops.minimum(1.0, step / self.ramp_steps) if self.ramp_steps else 1.0
            loss = sum(weight * parts[name] for name, (weight, _) in self.terms.items()) + ramp * self.weight * opinion
            scaled = self._scaled("generator", loss), self._scaled("discriminator", against)
        norm = self._update("generator", generator_tape, scaled[0])
        against_norm = self._update("discriminator", discriminator_tape, scaled[1])
        decay = ops.minimum(self.decay, (1 + step) / (10 + step))  # early on, an average over few steps
        for average, weight in zip(self.averaged.variables, self.generator.variables, strict=True):
            average.assign(decay * average + (1 - decay) * weight)
        if self.kind == "wgan_gp":
            right = _share(real > fake)
        else:
            right = _share(real > BORDER[self.kind]) / 2 + _share(fake < BORDER[self.kind]) / 2
        seen = {"loss": loss, **parts, "adversarial": opinion, "discriminator": against}
        seen |= {"accuracy": right, "gradient_norm": norm, "discriminator_norm": against_norm}
        for name, value in seen.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    def _scaled(self, name, loss):
        """The loss shared out among several GPUs, and enlarged where float16 needs it."""
        return self.optimizers[name].scale_loss(loss / tf.distribute.get_strategy().num_replicas_in_sync)

    def _update(self, name, tape, loss):
        """Take one step; returns the length of the gradient."""
        variables = getattr(self, name).trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizers[name].apply(gradients, variables)
        return tf.linalg.global_norm(gradients)


def _share(true):
    return ops.mean(ops.cast(true, "float32"))


def _shrunk(image, like):
    """The image at the size of a smaller one, if it is smaller: each pixel the mean of those it covers."""
    factor = image.shape[1] // like.shape[1]
    return image if factor == 1 else ops.average_pool(image, factor)


def fit_adversarial(
    generator, discriminator, make_dataset, *, terms, weight, steps, learning_rate, device, checkpoint,
    kind="non_saturating", conditional=False, ramp_steps=0, decay=0.999, change=None, steepness=0.0, settings=None,
    **reporting,
):  # fmt: skip
    """Train a generator against a discriminator, reporting and saving the whole state at regular steps.

    Args:
        generator, discriminator, terms, weight, kind, conditional, ramp_steps, decay, change, steepness: as of
            `Adversarial`.
        make_dataset: as of `fit`; how much a pixel counts is for `terms` that are sums over pixels.
        learning_rate: of both optimizers; a number or a schedule of Keras.
        steps, device, checkpoint, settings, reporting: as of `fit`; scored is the averaged generator.

    Returns:
        keras.Model, the averaged generator; and the history as a pandas.DataFrame with the columns step, seconds,
        loss, one for each term, adversarial, discriminator (losses), accuracy, gradient_norm, discriminator_norm,
        psnr_db unless `validation` is None, and what `watch` adds.

    Raises:
        ValueError: unknown kind, or the checkpoint belongs to other settings.
    """
    with device.scope():
        model = Adversarial(
            generator, discriminator, terms, weight=weight, kind=kind, conditional=conditional, ramp_steps=ramp_steps,
            decay=decay, change=change, steepness=steepness,
        )  # fmt: skip
        optimizers = [keras.optimizers.Adam(learning_rate, 0.5, 0.999) for _ in range(2)]
        if device.precision == "mixed_float16":
            optimizers = [keras.optimizers.LossScaleOptimizer(optimizer) for optimizer in optimizers]
        model.compile(*optimizers, jit_compile=device.xla)
    rate = getattr(learning_rate, "get_config", lambda: learning_rate)()
    shaped = {"steps": steps, "learning_rate": rate, "kind": kind, "weight": weight, "decay": decay}
    shaped |= {"ramp_steps": ramp_steps, "terms": {name: share for name, (share, _) in terms.items()}}
    state = State(checkpoint, model, shaped | (settings or {}), optimizers)
    return model.averaged, train(model, make_dataset, state, steps=steps, **reporting)
