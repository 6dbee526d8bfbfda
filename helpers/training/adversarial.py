"""The one adversarial trainer: a generator matches a target and convinces a discriminator."""

from types import SimpleNamespace

from helpers.backend import keras, tf
from helpers.training.fit import State, train
from helpers.training.losses import ADVERSARIES, energy_distance, gradient_penalty

ops = keras.ops
flatten = keras.tree.flatten
LATENT_WEIGHT = 5.0  # of the distance of encoded latents to drawn ones
PENALTY_WEIGHT = 10.0  # of the gradient penalty of "wgan_gp"


class Adversarial(keras.Model):
    """Train both networks in one step; called, answer with the averaged generator.

    Args:
        generator: keras.Model from the input to an image.
        discriminator: keras.Model from a list of the image (after the input, if `conditional`) to
            logits; or to a list of logits and of features, which `terms` then compare.
        encoder: keras.Model from a target to an input of the generator, trained with it; it gives
            the second half of each batch of inputs, and is held to their distribution. Or None.
        terms: dict from name to (weight, function of (target, estimate)).
        optimizers: of the generator, and of the discriminator.
        options: namespace of `weight`, `kind`, `conditional`, `ramp_steps`, `decay` and `augment`,
            as of `fit_adversarial`.
    """

    def __init__(self, generator, discriminator, encoder, terms, optimizers, options):
        super().__init__(name=generator.name)
        self.generator = generator
        self.discriminator = discriminator
        self.encoder = encoder
        self.terms = terms
        self.options = options
        self.averaged = keras.models.clone_model(generator)
        self.averaged.set_weights(generator.get_weights())
        self.averaged.trainable = False
        names = ["loss", *terms, "adversarial", "discriminator", "accuracy"]
        names += ["gradient_norm", "latent"] if encoder else ["gradient_norm"]
        self.means = {name: keras.metrics.Mean(name) for name in names}
        self.optimizers = optimizers
        for optimizer, variables in zip(optimizers, self.trained(), strict=True):
            optimizer.build(variables)  # later, it would not be restored

    def call(self, inputs, training=False):
        """Return the image of the averaged generator."""
        return self.averaged(inputs, training=False)

    @property
    def metrics(self):
        """Return the metrics, which each report shows and then resets."""
        return list(self.means.values())

    def trained(self):
        """Return the variables that each optimizer moves; the encoder learns with the generator."""
        drawing = self.generator.trainable_variables
        if self.encoder:
            drawing += self.encoder.trainable_variables
        return drawing, self.discriminator.trainable_variables

    def train_step(self, batch):
        """Take one step of both networks; the discriminator judges what was just generated."""
        inputs, target, *counts = batch
        options = self.options
        step = ops.cast(self.optimizers[0].iterations, "float32")
        with tf.GradientTape(persistent=True) as tape:
            inputs, latent_loss = self.encode(inputs, target)
            fakes, reals = [self.generator(inputs, training=True)], [target]
            condition = flatten(inputs)[:1] if options.conditional else []
            real, *real_features = self.judge(condition, reals, step)
            fake, *fake_features = self.judge(condition, fakes, step)
            discriminator_loss, opinion = ADVERSARIES[options.kind](real, fake)
            if options.kind == "wgan_gp":
                shown = self.discriminator, condition, reals, fakes
                penalty = gradient_penalty(*shown, step=step)
                discriminator_loss += PENALTY_WEIGHT * penalty
            parts = self.compare(real_features or reals, fake_features or fakes, counts)
            loss = sum(weight * parts[name] for name, (weight, _) in self.terms.items())
            ramp = step / options.ramp_steps if options.ramp_steps else 1.0
            weight = ops.minimum(1.0, ramp) * options.weight
            loss += weight * opinion + LATENT_WEIGHT * latent_loss
            scaled = self.scale([loss, discriminator_loss])
        norms = self.update(tape, scaled)
        self.average(step)
        parts |= {
            "loss": loss,
            "adversarial": opinion,
            "discriminator": discriminator_loss,
            "latent": latent_loss,
            "accuracy": ops.mean(ops.cast(real > fake, "float32")),
            "gradient_norm": norms[0],
        }
        for name, mean in self.means.items():
            mean.update_state(parts[name])
        return self.get_metrics_result()

    def encode(self, inputs, target):
        """Replace the second half of the inputs by encoded targets; return their distance, too."""
        if not self.encoder:
            return inputs, 0.0
        half = inputs.shape[0] // 2
        encoded = self.encoder(target[half:], training=True)
        distance = energy_distance(inputs[half:], encoded)
        return ops.concatenate([inputs[:half], encoded]), distance

    def judge(self, condition, images, step):
        """Return the discriminator's answer to images: logits, and features if it has some."""
        if self.options.augment:
            size = [images[0].shape[0], 5]
            key = [ops.cast(step, "int32"), 0]
            draws = tf.random.stateless_uniform(size, key, -1, 1)
            images = [self.options.augment(image, draws) for image in images]
        return flatten(self.discriminator([*condition, *images], training=True))

    def compare(self, reals, fakes, counts):
        """Return each term, the mean over all features; pixels may count differently."""
        for count in counts:
            reals = [real * shrink(count[..., None], real) for real in reals]
            fakes = [fake * shrink(count[..., None], fake) for fake in fakes]
        return {
            name: sum(map(term, reals, fakes)) / len(reals)
            for name, (_, term) in self.terms.items()
        }

    def scale(self, losses):
        """Share the losses out among several GPUs, and scale them where float16 needs it."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return [
            optimizer.scale_loss(loss / replicas)
            for optimizer, loss in zip(self.optimizers, losses, strict=True)
        ]

    def update(self, tape, losses):
        """Take one step of each optimizer; return the lengths of the gradients."""
        norms = []
        for optimizer, loss, variables in zip(
            self.optimizers, losses, self.trained(), strict=True
        ):
            gradients = tape.gradient(loss, variables)
            optimizer.apply(gradients, variables)
            norms.append(tf.linalg.global_norm(gradients))
        return norms

    def average(self, step):
        """Move the averaged generator towards the present one, over few steps early on."""
        decay = ops.minimum(self.options.decay, (1 + step) / (10 + step))
        for average, weight in zip(
            self.averaged.variables, self.generator.variables, strict=True
        ):
            average.assign(decay * average + (1 - decay) * weight)


def shrink(image, like):
    """Average the image to the size of a smaller one."""
    return ops.average_pool(image, image.shape[1] // like.shape[1])


def fit_adversarial(
    generator,
    discriminator,
    make_dataset,
    *,
    terms,
    weight,
    steps,
    learning_rate,
    device,
    checkpoint,
    kind="non_saturating",
    conditional=False,
    ramp_steps=0,
    decay=0.999,
    augment=None,
    encoder=None,
    betas=(0.5, 0.999),
    settings=None,
    **reporting,
):
    """Train a generator against a discriminator; report and save the whole state as `fit` does.

    Args:
        generator, discriminator, encoder, terms: as of `Adversarial`.
        make_dataset: as of `fit`; its weights of pixels are for `terms` that are sums over pixels.
        weight: of the discriminator's opinion.
        kind: "non_saturating", "lsgan", "wgan_gp" or "hinge".
        conditional: the discriminator sees the generator's input, too; the first, where there are
            several.
        ramp_steps: steps over which `weight` grows from 0, while the discriminator already learns.
        decay: of the exponential moving average (EMA) of the generator's weights.
        augment: such as `training.augment`, applied to images before they are judged; target and
            estimate get the same changes. Or None.
        learning_rate: of both optimizers; a number or a schedule of Keras.
        betas: of both Adam optimizers.
        steps, device, checkpoint, settings, reporting: as of `fit`; the averaged generator is
            scored.

    Returns:
        keras.Model, the averaged generator; and the history as a pandas.DataFrame: step, seconds,
        loss, one column for each term, adversarial, discriminator (losses), accuracy (how often
        the real image gets the higher logit), gradient_norm, psnr_db unless `validation` is None,
        and what `watch` adds.

    Raises:
        ValueError: the checkpoint belongs to other settings.
    """
    shaped = {"kind": kind, "weight": weight, "decay": decay, "ramp_steps": ramp_steps}
    with device.scope():
        optimizers = [keras.optimizers.Adam(learning_rate, *betas) for _ in range(2)]
        shaped["learning_rate"] = optimizers[0].get_config()["learning_rate"]
        if device.precision == "mixed_float16":
            optimizers = list(map(keras.optimizers.LossScaleOptimizer, optimizers))
        options = SimpleNamespace(conditional=conditional, augment=augment, **shaped)
        networks = generator, discriminator, encoder
        model = Adversarial(*networks, terms, optimizers, options)
        model.compile(jit_compile=device.xla)
    weights = {name: share for name, (share, _) in terms.items()}
    shaped |= {"steps": steps, "terms": weights}
    state = State(checkpoint, model, shaped | (settings or {}), optimizers)
    return model.averaged, train(model, make_dataset, state, steps=steps, **reporting)
