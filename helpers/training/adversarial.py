"""The one adversarial trainer: a generator matches a target and convinces a discriminator."""

from helpers.backend import keras, tf
from helpers.training.fit import State, train
from helpers.training.losses import ADVERSARIES, energy_distance, gradient_penalty

ops = keras.ops
LATENT_WEIGHT = 5.0  # of the distance of encoded latents to drawn ones
PENALTY = 10.0  # weight of the gradient penalty of "wgan_gp"


class Adversarial(keras.Model):
    """Train both networks in one step; called, answer with the averaged generator.

    Args:
        generator: keras.Model from the input to an image, or to a list of images, largest first.
        discriminator: keras.Model from the list of images (after the input, if `conditional`) to
            logits; or to a list of logits and of features, which `terms` then compare.
        encoder: keras.Model from a target to an input of the generator, trained with it; it gives
            the second half of each batch of inputs, and is held to their distribution. Or None.
        terms: dict from name to (weight, function of (target, estimate)).
        weight: of the discriminator's opinion.
        kind: "non_saturating", "lsgan", "wgan_gp" or "hinge".
        conditional: the discriminator sees the generator's input, too; the first, where there are
            several.
        ramp_steps: steps over which `weight` grows from 0, while the discriminator already learns.
        decay: of the exponential moving average (EMA) of the generator's weights.
        augment: such as `training.augment`, applied to images before they are judged; all sizes of
            target and estimate get the same changes. Or None.
    """

    def __init__(
        self, generator, discriminator, encoder, terms, *, weight, kind, conditional, ramp_steps,
        decay, augment,
    ):  # fmt: skip
        super().__init__(name=f"{generator.name}_adversarial")
        if kind not in ADVERSARIES:
            raise ValueError(
                f"there is no adversary {kind!r}; there are {', '.join(ADVERSARIES)}"
            )
        self.generator, self.discriminator, self.terms = generator, discriminator, terms
        # a copy of the layers, not of how it was compiled
        self.averaged = generator.__class__.from_config(generator.get_config())
        self.averaged.set_weights(generator.get_weights())
        self.averaged.trainable = False
        self.weight, self.kind, self.conditional = weight, kind, conditional
        self.ramp_steps, self.decay, self.encoder = ramp_steps, decay, encoder
        self.augment = augment
        names = [
            "loss",
            *terms,
            "adversarial",
            "discriminator",
            "accuracy",
            "gradient_norm",
        ]
        names += ["latent"] if encoder else []
        self.means = {name: keras.metrics.Mean(name) for name in names}

    def call(self, inputs, training=False):
        """Return the image of the averaged generator, at full size."""
        return tf.nest.flatten(self.averaged(inputs, training=False))[0]

    @property
    def metrics(self):
        """Return what every report shows, and then resets."""
        return list(self.means.values())

    def compile(self, generator_optimizer, discriminator_optimizer, **options):
        """Build both optimizers now: one that is built in the first step would not be restored."""
        super().compile(**options)
        self.optimizers = {
            "generator": generator_optimizer,
            "discriminator": discriminator_optimizer,
        }
        for name, optimizer in self.optimizers.items():
            optimizer.build(self._trained(name))

    def train_step(self, batch):
        """Take one step of both networks; the second judges what the first has just drawn."""
        inputs, target, *counts = batch
        step = ops.cast(self.optimizers["generator"].iterations, "float32")
        with tf.GradientTape() as tape, tf.GradientTape() as other_tape:
            inputs, latent = self._encoded(inputs, target)
            estimates = tf.nest.flatten(self.generator(inputs, training=True))
            targets = [_shrunk(target, estimate) for estimate in estimates]
            condition = tf.nest.flatten(inputs)[:1] if self.conditional else []
            real, *real_features = self._judged(condition, targets, step)
            fake, *fake_features = self._judged(condition, estimates, step)
            judge_loss, opinion = ADVERSARIES[self.kind](real, fake)
            if self.kind == "wgan_gp":
                shown = self.discriminator, condition, targets, estimates
                judge_loss += PENALTY * gradient_penalty(*shown, step=step)
            parts = self._compared(
                real_features or targets, fake_features or estimates, *counts
            )
            ramp = ops.minimum(1.0, step / self.ramp_steps) if self.ramp_steps else 1.0
            loss = sum(weight * parts[name] for name, (weight, _) in self.terms.items())
            loss += ramp * self.weight * opinion + LATENT_WEIGHT * latent
            scaled_loss = self._scaled("generator", loss)
            scaled_judge_loss = self._scaled("discriminator", judge_loss)
        gradient_norm = self._update("generator", tape, scaled_loss)
        self._update("discriminator", other_tape, scaled_judge_loss)
        self._average(step)
        found = parts | {
            "loss": loss, "adversarial": opinion, "discriminator": judge_loss, "latent": latent,
            "accuracy": ops.mean(ops.cast(real > fake, "float32")), "gradient_norm": gradient_norm,
        }  # fmt: skip
        for name, mean in self.means.items():
            mean.update_state(found[name])
        return {name: mean.result() for name, mean in self.means.items()}

    def _encoded(self, inputs, target):
        """Put encoded targets in the second half of the inputs; their distance to the inputs."""
        if not self.encoder:
            return inputs, 0.0
        half = inputs.shape[0] // 2
        encoded = self.encoder(target[half:], training=True)
        return ops.concatenate([inputs[:half], encoded]), energy_distance(
            inputs[half:], encoded
        )

    def _judged(self, condition, images, step):
        """Return the discriminator's answer to images: logits, and features if it has some."""
        if self.augment:
            size, key = [images[0].shape[0], 5], [ops.cast(step, "int32"), 0]
            draws = tf.random.stateless_uniform(size, key, -1, 1)
            images = [self.augment(image, draws) for image in images]
        return tf.nest.flatten(self.discriminator([*condition, *images], training=True))

    def _compared(self, targets, estimates, counts=None):
        """Return each term, the mean over the sizes of the image; pixels may count differently."""
        pairs = list(zip(targets, estimates, strict=True))
        if counts is not None:
            counted = [_shrunk(counts[..., None], target) for target in targets]
            pairs = [
                [share * each for each in pair]
                for share, pair in zip(counted, pairs, strict=True)
            ]
        return {
            name: sum(compare(*pair) for pair in pairs) / len(pairs)
            for name, (_, compare) in self.terms.items()
        }

    def _average(self, step):
        """Move the averaged generator towards the present one, over few steps early on."""
        decay = ops.minimum(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(
            self.averaged.variables, self.generator.variables, strict=True
        ):
            average.assign(decay * average + (1 - decay) * weight)

    def _trained(self, name):
        """Return the variables that an optimizer moves."""
        variables = getattr(self, name).trainable_variables
        if name == "generator" and self.encoder:
            variables = variables + self.encoder.trainable_variables
        return variables

    def _scaled(self, name, loss):
        """Share the loss out among several GPUs, and scale it where float16 needs it."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self.optimizers[name].scale_loss(loss / replicas)

    def _update(self, name, tape, loss):
        """Take one step; return the length of the gradient."""
        variables = self._trained(name)
        gradients = tape.gradient(loss, variables)
        self.optimizers[name].apply(gradients, variables)
        return tf.linalg.global_norm(gradients)


def _shrunk(image, like):
    """Average the image to the size of a smaller one."""
    return ops.average_pool(image, image.shape[1] // like.shape[1])


def fit_adversarial(
    generator, discriminator, make_dataset, *, terms, weight, steps, learning_rate, device,
    checkpoint, kind="non_saturating", conditional=False, ramp_steps=0, decay=0.999, augment=None,
    encoder=None, betas=(0.5, 0.999), settings=None, **reporting,
):  # fmt: skip
    """Train a generator against a discriminator; report and save the whole state as `fit` does.

    Args:
        generator, discriminator, terms, weight, kind, conditional, ramp_steps, decay, augment,
            encoder: as of `Adversarial`.
        make_dataset: as of `fit`; how much a pixel counts is for `terms` that are sums over
            pixels.
        learning_rate: of both optimizers; a number or a schedule of Keras.
        betas: of both Adam optimizers.
        steps, device, checkpoint, settings, reporting: as of `fit`; the averaged generator is
            scored.

    Returns:
        keras.Model, the averaged generator; and the history as a pandas.DataFrame: step, seconds,
        loss, one column for each term, adversarial, discriminator (losses), accuracy (how often
        the real image gets the higher logit),
        gradient_norm, psnr_db unless `validation` is None, and what `watch`
        adds.

    Raises:
        ValueError: unknown kind, or the checkpoint belongs to other settings.
    """
    shaped = {"kind": kind, "weight": weight, "decay": decay, "ramp_steps": ramp_steps}
    with device.scope():
        networks = generator, discriminator, encoder
        model = Adversarial(
            *networks, terms, conditional=conditional, augment=augment, **shaped
        )
        optimizers = [keras.optimizers.Adam(learning_rate, *betas) for _ in range(2)]
        shaped["learning_rate"] = optimizers[0].get_config()["learning_rate"]
        if device.precision == "mixed_float16":
            optimizers = list(map(keras.optimizers.LossScaleOptimizer, optimizers))
        model.compile(*optimizers, jit_compile=device.xla)
    shaped |= {
        "steps": steps,
        "terms": {name: share for name, (share, _) in terms.items()},
    }
    state = State(checkpoint, model, shaped | (settings or {}), optimizers)
    return model.averaged, train(model, make_dataset, state, steps=steps, **reporting)
