"""Build every network of the series, in Keras layers and `keras.ops` only.

An image is float32 (batch, height, width, bands), values 0 to 1. The functions return a
`keras.Model`. Unless stated, it takes images of `bands` bands and returns images of that shape.

In this order: shared blocks, super-resolution, U-Nets, discriminators, maps, landscapes, and the
receptive field.
"""

import numpy as np

from helpers.backend import keras, tf
from helpers.features import backbone, shared_backbone

layers = keras.layers
ops = keras.ops
register = keras.saving.register_keras_serializable("helpers")

# --- shared blocks, from features (batch, height, width, channels) to features


def _input(bands, name):
    return keras.Input((None, None, bands), name=name)


def _centred(image):
    """Map 0 to 1 to -1 to 1, so that the zeros of padded borders are a middle grey."""
    return layers.Rescaling(2.0, -1.0)(image)


def _conv(features, filters, kernel_px=3, **options):
    """Convolve at the same size, then ReLU, unless `options` of Conv2D say otherwise."""
    usual = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
    return layers.Conv2D(filters, kernel_px, **usual | options)(features)


def _image(features, bands, start="zeros", kernel_px=3):
    """Turn features into an image in float32: zeros at first."""
    return _conv(
        features,
        bands,
        kernel_px,
        activation=None,
        kernel_initializer=start,
        dtype="float32",
    )


def _leaky(features):
    return layers.LeakyReLU(0.2)(features)


def _normalised(features):
    return layers.BatchNormalization(momentum=0.9)(features)


def _leaky_conv(
    features, filters, kernel_px=4, strides=2, start="glorot_uniform", norm=False
):
    """Convolve, normalise by batch if `norm`, then leaky ReLU; by default at half the size."""
    features = layers.Conv2D(
        filters,
        kernel_px,
        strides=strides,
        padding="same",
        kernel_initializer=start,
    )(features)
    return _leaky(_normalised(features) if norm else features)


# --- super-resolution


@register
class BicubicUpsampling(layers.Layer):
    """Enlarge by a fixed bicubic convolution of the small image: XLA has no bicubic resize.

    Each pixel becomes `scale` x `scale` phases of one 5 x 5 neighbourhood. At the border the
    weights inside are scaled to sum to one, as TensorFlow and Pillow do.

    Source: cubic convolution with a = -0.5 (Keys 1981).
    """

    def __init__(self, scale, *, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.scale = scale
        # enlarge images of one bright pixel: what arrives in the middle is the weight of that pixel
        pixels = np.eye(25, dtype="float32").reshape(25, 5, 5, 1)
        large = ops.image.resize(
            pixels,
            (5 * scale, 5 * scale),
            "bicubic",
            antialias=True,
        )
        middle = slice(2 * scale, 3 * scale)
        self.kernel = np.reshape(large[:, middle, middle], (5, 5, 1, scale**2))

    def call(self, images):
        """Return images `scale` times as high and wide."""
        bands = ops.split(images, images.shape[-1], axis=-1)
        inside = self._enlarge(ops.ones_like(bands[0][:1]))
        large = ops.concatenate(list(map(self._enlarge, bands)), axis=-1)
        return large / inside

    def _enlarge(self, band):
        phases = ops.conv(band, self.kernel, padding="same")
        return ops.depth_to_space(phases, self.scale)


@register
class Icnr(keras.initializers.HeNormal):
    """Start with equal weights for the sub-pixels that `depth_to_space` makes of one pixel."""

    def __init__(self, factor, seed=None):
        super().__init__(seed)
        self.factor = factor

    def __call__(self, shape, dtype=None):
        """Return weights of a convolution (height, width, channels in, factor ** 2 * out)."""
        *place, channels = shape
        one = super().__call__((*place, channels // self.factor**2), dtype)
        return ops.tile(one, (1, 1, 1, self.factor**2))

    def get_config(self):
        """Return what is needed to load it again."""
        return {"factor": self.factor, "seed": self.seed}


def srcnn(bands, *, residual=True, filters=(64, 32)):
    """Sharpen an image that was enlarged by bicubic interpolation: SRCNN 9-1-5.

    Args:
        residual: predict what to add to the input, instead of the whole image. The last layer is
            zero at first, so training begins at the bicubic image.
        filters: of the first and second layer.

    Source: Dong et al. 2014, arXiv:1501.00092; residual: Kim et al. 2016 (VDSR), arXiv:1511.04587.
    """
    enlarged = _input(bands, "enlarged")
    # Centring gains 0.06 dB. The plain network keeps the published 0 to 1: centring cost it 2 dB
    # in a short training, as it must first learn to undo the shift.
    features = _conv(_centred(enlarged) if residual else enlarged, filters[0], 9)
    features = _conv(features, filters[1], 1)
    start = "zeros" if residual else "he_normal"
    estimate = _image(features, bands, start, kernel_px=5)
    if residual:
        return keras.Model(enlarged, enlarged + estimate, name="srcnn_residual")
    return keras.Model(enlarged, estimate, name="srcnn")


def residual_upsampler(
    bands,
    *,
    scale,
    filters=32,
    blocks=4,
):
    """Enlarge an image with residual blocks at the small size: the generator of notebook 03.

    Pixels are enlarged by unfolding channels, twice for a scale of 4. The convolution before starts
    with equal weights for all sub-pixels of a pixel (ICNR), so that training begins without a
    checkerboard.

    Args:
        scale: enlargement of each side, 2, 3 or 4.
        filters: of every layer.
        blocks: number of residual blocks of two 3 x 3 convolutions.

    Returns:
        keras.Model; its answer is `scale` times as high and wide as its input.

    Source: Lim et al. 2017 (EDSR), arXiv:1707.02921; ICNR: Aitken et al. 2017, arXiv:1707.02937.
    """
    low_res = _input(bands, "low_res")
    features = first = _conv(_centred(low_res), filters, activation=None)
    for _ in range(blocks):
        inner = _conv(features, filters)
        features += _conv(
            inner,
            filters,
            activation=None,
            kernel_initializer="zeros",
        )
    features = first + _conv(features, filters, activation=None)
    factor, times = (2, 2) if scale == 4 else (scale, 1)
    for _ in range(times):
        features = _conv(
            features,
            filters * factor**2,
            activation=None,
            kernel_initializer=Icnr(factor),
        )
        features = layers.ReLU()(ops.depth_to_space(features, factor))
    bicubic = BicubicUpsampling(scale, name=f"bicubic_{scale}")(low_res)
    estimate = bicubic + _image(features, bands)
    return keras.Model(low_res, estimate, name="residual_upsampler")


# --- U-Nets


def unet_features(image, filters, depth):
    """Build the U of a U-Net: down to small features that see far, and up with skip connections.

    It enlarges before it convolves, which leaves no checkerboards, and does not normalise. Layers
    at full size would cost more than all others together: fine detail is left to the last ones.

    Args:
        image: (batch, height, width, channels).
        filters: of the first layer; doubled at each halving, up to eight times.
        depth: number of halvings; sides of images must be multiples of 2 ** depth.

    Returns:
        Features, (batch, height / 2, width / 2, filters).

    Source: Ronneberger et al. 2015, arXiv:1505.04597.
    """
    widths = [filters * min(2**level, 8) for level in range(depth)]
    features = _centred(image)
    passed = []
    for width in widths:
        features = _leaky_conv(features, width, start="he_normal")
        passed.append(features)
    passed.pop()
    for width in reversed(widths[:-1]):
        large = layers.UpSampling2D(2)(features)
        features = _conv(large, width)
        features = layers.concatenate([features, passed.pop()])
    return _conv(features, filters)


def root(reflectance):
    """Map reflectance to about its square root, so that dark ground counts; slope 10 at 0."""
    return reflectance / ops.sqrt(ops.abs(reflectance) + 0.01)


def cloud_remover(
    bands,
    *,
    filters=32,
    depth=4,
    unsure=(0.06, 0.06),
    reddened=(0.5, 1.5),
):
    """Build a U-Net that finds cloud and shadow, and solves the physics for the ground.

    Cloudy = ground x lit x t + light x (1 - t). The network estimates opacity (1 - t) and shadow
    (1 - lit) at full size. From coarse features it estimates how both differ by band, the light of
    the cloud, and what to paint where nothing can be seen. Where it finds neither cloud nor shadow,
    the answer *is* the input. Convolutions see the `root` of the image.

    Args:
        bands: of the image, as reflectance from 0 to 1.2 mapped to 0 to 1.
        filters, depth: as of `unet_features`.
        unsure: opacity and shadow below which the ground is left alone.
        reddened: limits of the exponent per band of the light in shadow.

    Returns:
        keras.Model from images to images with two more bands: opacity, the share of the ground's
        light that a cloud takes, and shadow, the share that does not reach the ground; 0 to 1.
        Train it with `losses.cleared`.

    Source: the formula of `pairs.clouds.composite_cloud`.
    """
    image = _input(bands, "image")
    seen = root(image)
    features = unet_features(seen, filters, depth)
    # features have half the size, at which the rims of clouds would blur
    large = _smooth(features, 8, start="he_normal")
    fine = layers.concatenate([large, _centred(seen)])
    near = _leaky_conv(fine, 16, 3, 1, "he_normal")
    coarse = _smooth(features, 2, -2.0)
    found = ops.sigmoid(_image(near, 2) + coarse)
    # below `unsure` next to nothing is done, but enough to go on learning
    gate = ops.clip(found / np.array(unsure, "float32") - 1, 0.02, 1)
    surely = ops.maximum(gate * (1.05 * found - 0.05), 0.001 * found)
    opacity, shadow = ops.split(surely, 2, axis=-1)
    by_band = 0.5 + ops.sigmoid(_smooth(features, bands))
    through = ops.maximum(1 - opacity, 0.05) ** by_band
    veil = (1 - through) * _smooth(features, bands, 0.5)
    unseen = opacity * ops.sigmoid(_smooth(features, 1, -1.0))
    paint = _smooth(features, bands, 0.15)
    least, most = reddened
    by_band = least + (most - least) * ops.sigmoid(_smooth(features, bands))
    lit = ops.maximum(1 - shadow, 0.03) ** by_band
    light = ops.maximum(through, 0.1) * ops.maximum(lit, 0.05)
    cleared = (image - veil) / light
    answer = cleared + unseen * (paint - cleared)
    answer = ops.concatenate([answer, found], axis=-1)
    return keras.Model(image, answer, name="cloud_remover")


def _smooth(features, channels, bias=0.0, start="zeros"):
    """Return smooth channels of twice the size; from zeros, `bias` until something is learned."""
    image = _image(features, channels, start)
    large = layers.UpSampling2D(2, dtype="float32")(image)
    return layers.AveragePooling2D(3, 1, "same", dtype="float32")(large) + bias


# --- discriminators

# side of a patch in pixels, after no halving, one, two ...
FIELDS_PX = 1, 16, 34, 70, 142, 286


def patch_discriminator(
    bands,
    *,
    condition,
    receptive_field_px=70,
    filters=64,
    batch_norm=False,
):
    """Judge every patch of an image by itself, beside the input that it was made from: PatchGAN.

    Args:
        bands: number of bands of the image.
        condition: number of bands of the input that it is shown with.
        receptive_field_px: side of a patch: 1, 16, 34, 70, 142 or 286 pixels.
        filters: of the first layer; doubled at each further one, up to eight times.
        batch_norm: normalise by batch, as published, behind all layers but the first.

    Returns:
        keras.Model, list of input and image to logits (batch, rows, columns, 1): positive where a
        patch looks real.

    Raises:
        ValueError: no whole number of layers has such a receptive field.

    Source: Isola et al. 2017 (pix2pix), arXiv:1611.07004.
    """
    if receptive_field_px not in FIELDS_PX:
        raise ValueError(
            f"no PatchGAN sees {receptive_field_px} pixels; expected one of {FIELDS_PX}"
        )
    images = [_input(condition, "image_0"), _input(bands, "image_1")]
    features = _centred(layers.concatenate(images))
    halvings = FIELDS_PX.index(receptive_field_px)
    kernel_px = 4 if halvings else 1
    for level in range(max(2, halvings + 1)):
        width = filters * min(2**level, 8)
        strides = 2 if level < halvings else 1
        norm = batch_norm and level > 0
        features = _leaky_conv(features, width, kernel_px, strides, norm=norm)
    logits = layers.Conv2D(1, kernel_px, padding="same", dtype="float32")(features)
    return keras.Model(images, logits, name="patch_discriminator")


def texture_discriminator(bands, *, filters=32):
    """Judge the texture of every patch of 14 x 14 pixels: the discriminator of notebook 03.

    It averages to half the size where others convolve in strides of two. Strides favour every
    second pixel, and the generator would learn a checkerboard from them.

    Args:
        bands: of the image.
        filters: of the layers at full size; four times as many at half the size.

    Returns:
        keras.Model, image to logits as of `patch_discriminator`.

    Source: averaging as in Karras et al. 2018, arXiv:1710.10196.
    """
    image = _input(bands, "image")
    features = _leaky_conv(_centred(image), filters, 3, 1)
    features = _leaky_conv(features, filters, 3, 1)
    features = layers.AveragePooling2D(2)(features)
    features = _leaky_conv(features, filters * 4, 3, 1)
    logits = layers.Conv2D(1, 3, padding="same", dtype="float32")(features)
    return keras.Model([image], logits, name="texture_discriminator")


# --- maps

# both chosen on validation ground
MAP_TAPS = "24", "40", "80", "112", "320"
MAP_ENLARGE = 3
SMOOTHING_PX = 5  # side of the squares over which the table's answers are averaged


@register
class PretrainedFeatures(layers.Layer):
    """Return feature maps of the network of `helpers.features`; its weights stay in their pack.

    A saved model holds the names of the taps alone. Loading it reads the pack again, and fails with
    the command that fetches it where it is missing.

    Args:
        taps: as of `features.backbone`.
        enlarge: factor by which the image is enlarged first, so that the features see finer detail.
    """

    def __init__(self, taps=MAP_TAPS, enlarge=MAP_ENLARGE, **kwargs):
        super().__init__(**kwargs)
        self.trainable = False
        self.taps = tuple(taps)
        self.enlarge = enlarge

    def build(self, shape):
        """Read the frozen network."""
        shared_backbone(self.taps, self.dtype_policy.name)

    def call(self, images):
        """Return a list of feature maps, one a tap, of images (batch, height, width, 3), 0 to 1."""
        size = [side * self.enlarge for side in ops.shape(images)[1:3]]
        images = ops.clip(ops.image.resize(images, size, "bicubic"), 0, 1)
        network = shared_backbone(self.taps, self.dtype_policy.name)
        return network(images, training=False)

    def compute_output_shape(self, shape):
        """Return the shapes of the feature maps, without computing them."""
        return [(shape[0], None, None, int(tap)) for tap in self.taps]


@register
class ResizeLike(layers.Layer):
    """Resize the first of two images, bilinearly, to the height and width of the second."""

    def call(self, images):
        """Return the resized image, (batch, height, width, channels of the first)."""
        image, like = images
        return ops.image.resize(image, ops.shape(like)[1:3], "bilinear")

    def compute_output_shape(self, shapes):
        """Return the shape of the answer."""
        image, like = shapes
        return (*like[:3], image[-1])


def map_decoder(
    table,
    *,
    classes=True,
    filters=64,
    dropout=0.2,
):
    """Decode frozen features into a map, as a correction to what the colour of a pixel says.

    From the smallest feature map to the largest, each is projected to `filters` channels, enlarged
    to the next one and added. Other layers look at one pixel at a time: the features see far.

    Args:
        table: float (steps ** 3, outputs): for each colour, red, green and blue in so many steps,
            the chances of each class, or the mean colour of the map.
        classes: the table holds chances; else colours.
        filters: of the decoder.
        dropout: share of the projected channels left out in training.

    Returns:
        keras.Model from a list, image (batch, height, width, 3) and feature maps, to chances or
        colours, float32 (batch, height, width, outputs): those of the averaged table at first.
        With `PretrainedFeatures` before it, it is a model of images, whose sides must be multiples
        of 32.

    Source: adding projected features of all levels: Lin et al. 2017 (FPN), arXiv:1612.03144.
    """
    colours, outputs = table.shape
    steps = round(colours ** (1 / 3))
    image = _input(3, "image")
    maps = [_input(int(tap), f"tap_{tap}") for tap in MAP_TAPS]
    total = None
    # in bfloat16 Keras clips each resized value, too: 0.27 s of processor time a step for 0.21
    resize = ResizeLike(dtype="float32")
    for each in reversed(maps):
        own = layers.SpatialDropout2D(dropout)(layers.Conv2D(filters, 1)(each))
        total = own if total is None else layers.add([resize([total, own]), own])
    total = _leaky_conv(_leaky(total), filters, 1, 1)
    context = resize([layers.Conv2D(filters // 2, 1)(total), image])
    place = ops.cast(ops.clip(image * steps, 0, steps - 1), "int32")
    place = ops.sum(place * np.array([steps**2, steps, 1], "int32"), axis=-1)
    alone = layers.Embedding(
        colours,
        outputs,
        weights=[table],
        trainable=False,
        dtype="float32",
        name="table",
    )(place)
    average = layers.AveragePooling2D(
        SMOOTHING_PX,
        1,
        "same",
        dtype="float32",
    )(alone)
    joined = layers.concatenate([context, image, alone, average])
    joined = _leaky_conv(joined, filters // 2, 1, 1)
    correction = layers.Conv2D(
        outputs,
        1,
        kernel_initializer="zeros",
        dtype="float32",
    )(joined)
    answer = average + correction
    if classes:
        answer = ops.softmax(ops.log(average + 1e-3) + correction)
    return keras.Model([image, *maps], answer, name="map_decoder")


# --- landscapes


@register
class FixedNoise(layers.Layer):
    """Add the same noise to every image, with a learned strength for each channel."""

    def build(self, shape):
        """Draw the noise of a feature map of this size."""
        draws = np.random.default_rng(shape[1]).standard_normal((1, *shape[1:3], 1))
        self.noise = draws.astype("float32")
        self.strength = self.add_weight(
            shape=(shape[-1],), initializer="zeros", name="strength"
        )

    def call(self, features):
        """Return the features with noise."""
        return features + self.strength * ops.cast(self.noise, features.dtype)


def landscape_generator(
    latent_size=4,
    *,
    image_px=128,
    filters=24,
):
    """Draw a landscape from a few numbers: start at 4 x 4 pixels, double the side at each stage.

    Each stage enlarges smoothly, adds fixed noise that becomes texture, and lets half of its
    channels gate the other half. Coarse stages also scale the channels of stages three doublings
    later (skip-layer excitation).

    Args:
        latent_size: numbers per landscape, each from -1 to 1, so that sliders reach all of them.
        image_px: side of the image: 16, 32, 64, 128, ...
        filters: of the last stage; doubled at each earlier one, up to six times.

    Returns:
        keras.Model from (batch, latent_size) to images, (batch, image_px, image_px, 3), 0 to 1.

    Source: Liu et al. 2021 (FastGAN), arXiv:2101.04775, smaller.
    """
    stages = image_px.bit_length() - 3
    widths = [filters * min(2**level, 6) for level in reversed(range(stages + 1))]
    features = latent = keras.Input((latent_size,), name="latent")
    # without random biases, all landscapes of small numbers would begin as the same grey one
    apart = keras.initializers.RandomNormal(stddev=1.0)
    for _ in range(2):
        features = layers.Dense(
            128,
            kernel_initializer="he_normal",
            bias_initializer=apart,
        )(features)
        features = _leaky(features)
    features = layers.Dense(32 * widths[0], use_bias=False)(features)
    sizes = [_gated(layers.Reshape((4, 4, 2 * widths[0]))(features))]
    for width in widths[1:]:
        features = layers.UpSampling2D(2, interpolation="bilinear")(sizes[-1])
        features = _mirrored_conv(features, 2 * width, use_bias=False)
        features = _gated(FixedNoise()(features))
        sizes.append(_excited(sizes[-3], features) if len(sizes) > 2 else features)
    image = _mirrored_conv(sizes[-1], 3, activation="sigmoid", dtype="float32")
    return keras.Model(latent, image, name="landscape_generator")


def _mirrored_conv(features, filters, **options):
    """Convolve beyond a mirrored border: zeros would frame every landscape."""
    features = ops.pad(features, [[0, 0], [1, 1], [1, 1], [0, 0]], "symmetric")
    return layers.Conv2D(filters, 3, **options)(features)


def _gated(features):
    """Normalise, then let half of the channels gate the other half."""
    kept, gate = ops.split(_normalised(features), 2, axis=-1)
    return kept * ops.sigmoid(gate)


def _excited(coarse, fine):
    """Scale the channels of a fine stage by what a coarse one holds."""
    width = fine.shape[-1]
    means = layers.GlobalAveragePooling2D(keepdims=True)(coarse)
    hidden = layers.LeakyReLU(0.1)(layers.Dense(width)(means))
    return fine * layers.Dense(width, "sigmoid")(hidden)


def projected_discriminator(*, image_px=128, channels=64):
    """Judge landscapes by frozen ImageNet features: a small discriminator at each of four scales.

    Frozen random convolutions mix the features across channels, then from coarse to fine scales,
    so that no discriminator can look at a few channels only.

    Args:
        image_px: side of the images: 64, 128, ...
        channels: of the mixed features.

    Returns:
        keras.Model, list of one image to a list: logits (batch, 64), positive where it looks real;
        then the mixed features of each scale on 4 x 4 squares, (batch, 16 * channels).

    Raises:
        FileNotFoundError: the pack of the features is not fetched (names the command).

    Source: Sauer et al. 2021 (projected GAN), arXiv:2111.01007.
    """
    image = keras.Input((image_px, image_px, 3), name="image")
    mixed = None
    logits = []
    squares = []
    for scale, tap in enumerate(reversed(backbone()(image))):
        own = _mixed(tap, channels, 1, scale)
        if scale:
            own += layers.UpSampling2D(2)(mixed)
        judged = mixed = _mixed(own, channels, 3, 9 + scale)
        width = channels
        while judged.shape[1] > 4:
            judged = _leaky(_spectral(judged, width, 4, strides=2))
            width = min(2 * width, 128)
        logits.append(layers.Flatten()(_spectral(judged, 1, 3)))
        side = max(1, mixed.shape[1] // 4)
        squares.append(layers.Flatten()(layers.AveragePooling2D(side)(mixed)))
    answer = [layers.concatenate(logits), *squares]
    return keras.Model([image], answer, name="discriminator")


def _mixed(features, filters, kernel_px, seed):
    """Mix the channels by a random convolution that is never trained."""
    return _conv(
        features,
        filters,
        kernel_px,
        activation=None,
        use_bias=False,
        trainable=False,
        kernel_initializer=keras.initializers.HeNormal(seed),
    )


class SpectralNormalization(layers.SpectralNormalization):
    """Keep the largest gain of a layer at one.

    Keras asks first if the kernel is zero. The branches of 20 such questions took half of the time
    until the first step of training.
    """

    def call(self, features, training=False):
        """Return the layer's answer; in training, normalise its kernel first."""
        if training:
            direction, kernel = self.normalized_weights()
            self.vector_u.assign(direction)
            self.kernel.assign(kernel)
        return self.layer(features)


def _spectral(features, *shape, **options):
    """Convolve, with the largest gain kept at one."""
    convolution = layers.Conv2D(*shape, padding="same", **options)
    return SpectralNormalization(convolution)(features)


def view_encoder(latent_size=4, *, image_px=128, filters=32):
    """Predict the latent of the landscape that resembles a view.

    It is trained together with the generator, so that the numbers describe what differs most
    between real views.

    Args:
        latent_size, image_px: as of `landscape_generator`.
        filters: of the first layer; doubled at each further one, up to four times.

    Returns:
        keras.Model from images to (batch, latent_size), -1 to 1.
    """
    view = keras.Input((image_px, image_px, 3), name="view")
    features = layers.AveragePooling2D(max(1, image_px // 64))(_centred(view))
    for factor in (1, 2, 4, 4):
        features = _leaky_conv(features, factor * filters, start="he_normal")
    features = layers.Flatten()(features)
    features = layers.Dense(128, "relu", kernel_initializer="he_normal")(features)
    answer = layers.Dense(latent_size, "softsign", dtype="float32")(features)
    return keras.Model(view, answer, name="view_encoder")


# --- the receptive field

GLOBAL_PX = 512  # a receptive field that is wider counts as the whole image


def receptive_field_px(model, multiple=1):
    """Measure how wide a square of input pixels one output pixel depends on.

    It measures how far gradients reach in a copy whose layers average, so that no two paths cancel
    and nothing saturates.

    Args:
        model: keras.Model with one input image and one output image.
        multiple: number that sides of images must be multiples of. The field is then that of a
            square of so many output pixels, minus their own width, as windows begin at multiples.

    Returns:
        int, pixels of the network's own input; None where it is wider than 512.
    """
    copy = keras.models.clone_model(model)
    for weight in copy.weights:
        if len(weight.shape) > 1:
            weight.assign(np.full(weight.shape, 1 / np.prod(weight.shape[:-1])))
    # a strip is enough, as no network here looks farther along one axis than along the other
    first = -(-GLOBAL_PX // multiple) * multiple
    side = 2 * first + multiple
    strip = tf.ones((1, multiple, side, model.input_shape[-1]))
    with tf.GradientTape() as tape:
        tape.watch(strip)
        answer = copy(strip)
        scale = answer.shape[2] // side
        centre = answer[:, :, first * scale : (first + multiple) * scale]
    slopes = tape.gradient(centre, strip)
    reached = np.flatnonzero(np.any(slopes, axis=(0, 1, 3)))
    beyond = max(first - reached[0], reached[-1] - first - multiple + 1)
    return 2 * int(beyond) + 1 if 2 * beyond < GLOBAL_PX else None
