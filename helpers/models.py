"""Build every network of the series, in Keras layers and `keras.ops` only.

An image is float32 (batch, height, width, bands), values 0 to 1. The functions return a
`keras.Model`. Unless stated, it takes images of `bands` bands and returns images of that shape.

In this order: shared blocks, super-resolution, U-Nets, discriminators, maps, landscapes, and the
receptive field.
"""

import numpy as np

from helpers.backend import keras, tf
from helpers.features import backbone, shared_backbone

layers, ops = keras.layers, keras.ops
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


def _image(features, bands, start="zeros"):
    """Turn features into an image in float32: zeros at first."""
    options = {"kernel_initializer": start, "dtype": "float32"}
    return _conv(features, bands, activation=None, **options)


def _leaky(features):
    return layers.LeakyReLU(0.2)(features)


def _normalised(features):
    return layers.BatchNormalization(momentum=0.9)(features)


def _leaky_conv(
    features, filters, kernel_px=4, strides=2, start="glorot_uniform", norm=False
):
    """Convolve, normalise by batch if `norm`, then leaky ReLU; by default at half the size."""
    options = {"strides": strides, "padding": "same", "kernel_initializer": start}
    features = layers.Conv2D(filters, kernel_px, **options)(features)
    return _leaky(_normalised(features) if norm else features)


# --- super-resolution


@register
class BicubicUpsampling(layers.Layer):
    """Enlarge by a fixed bicubic convolution of the small image: XLA has no bicubic resize.

    Each pixel becomes `scale` x `scale` phases of one 5 x 5 neighbourhood. At the border the
    weights inside are scaled to sum to one, as TensorFlow and Pillow do.

    Source: cubic convolution with a = -0.5 (Keys 1981).
    """

    def __init__(self, scale, *, dtype="float32", **options):
        super().__init__(dtype=dtype, **options)
        self.scale = scale
        # enlarge images of one bright pixel: what arrives in the middle is the weight of that pixel
        pixels = np.eye(25, dtype="float32").reshape(25, 5, 5, 1)
        large = ops.image.resize(pixels, [5 * scale] * 2, "bicubic", antialias=True)
        middle = slice(2 * scale, 3 * scale)
        self.kernel = np.reshape(large[:, middle, middle], (5, 5, 1, scale**2))

    def call(self, images):
        """Return images `scale` times as high and wide."""
        planes = ops.split(images, images.shape[-1], axis=-1)
        inside = self._enlarged(ops.ones_like(planes[0][:1]))
        return (
            ops.concatenate([self._enlarged(plane) for plane in planes], axis=-1)
            / inside
        )

    def _enlarged(self, plane):
        return ops.depth_to_space(
            ops.conv(plane, self.kernel, padding="same"), self.scale
        )

    def get_config(self):
        """Return what is needed to load it again."""
        return {**super().get_config(), "scale": self.scale}


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
    # Centring brings +0.06 dB. The plain network keeps the published 0 to 1: having to undo the
    # shift cost it 2 dB in a short training.
    features = _conv(_centred(enlarged) if residual else enlarged, filters[0], 9)
    features = _conv(features, filters[1], 1)
    last = {
        "kernel_initializer": "zeros" if residual else "he_normal",
        "dtype": "float32",
    }
    estimate = _conv(features, bands, 5, activation=None, **last)
    if residual:
        return keras.Model(enlarged, enlarged + estimate, name="srcnn_residual")
    return keras.Model(enlarged, estimate, name="srcnn")


def espcn(bands, *, scale, filters=(64, 32), depth=3):
    """Enlarge an image: compute at the small size, unfold channels into pixels at the end (ESPCN).

    Args:
        scale: enlargement of each side.
        filters: of the first layer, and of the `depth` layers after it.
        depth: number of 3 x 3 layers between the first and the last.

    Returns:
        keras.Model; its answer is `scale` times as high and wide as its input.

    Source: Shi et al. 2016, arXiv:1609.05158; here the bicubic image is added to a residual that
    starts at zero.
    """
    low_res = _input(bands, "low_res")
    features = _conv(_centred(low_res), filters[0], 5)
    for _ in range(depth):
        features = _conv(features, filters[1])
    detail = ops.depth_to_space(_image(features, bands * scale**2), scale)
    bicubic = BicubicUpsampling(scale, name="bicubic")(low_res)
    return keras.Model(low_res, bicubic + detail, name="espcn")


def residual_upsampler(bands, *, scale, filters=32, blocks=4, multi_scale=False):
    """Enlarge an image with residual blocks at the small size: the generator of notebook 03.

    Pixels are enlarged by unfolding channels, twice for a scale of 4. The convolution before starts
    with equal weights for all sub-pixels of a pixel (ICNR), so that no checkerboard is there to be
    unlearned.

    Args:
        scale: enlargement of each side, 2, 3 or 4.
        filters: of every layer.
        blocks: number of residual blocks of two 3 x 3 convolutions.
        multi_scale: answer with a list, largest first: also at every smaller size, down to that of
            the input, for a multi-scale discriminator.

    Returns:
        keras.Model; its answer is `scale` times as high and wide as its input.

    Source: Lim et al. 2017 (EDSR), arXiv:1707.02921; ICNR: Aitken et al. 2017, arXiv:1707.02937;
    several sizes: Karnewar and Wang 2020 (MSG-GAN), arXiv:1903.06048.
    """
    low_res = _input(bands, "low_res")
    features = first = _conv(_centred(low_res), filters, activation=None)
    for _ in range(blocks):
        inner = _conv(features, filters)
        inner = _conv(inner, filters, activation=None, kernel_initializer="zeros")
        features = layers.Add()([features, inner])
    features = layers.Add()([first, _conv(features, filters, activation=None)])
    estimates = [low_res + _image(features, bands)]
    factor, sizes = (2, (2, 4)) if scale == 4 else (scale, (scale,))
    for size in sizes:
        start = {"activation": None, "kernel_initializer": Icnr(factor)}
        unfolded = _conv(features, filters * factor**2, **start)
        features = layers.ReLU()(ops.depth_to_space(unfolded, factor))
        bicubic = BicubicUpsampling(size, name=f"bicubic_{size}")(low_res)
        estimates.insert(0, bicubic + _image(features, bands))
    answer = estimates if multi_scale else estimates[0]
    return keras.Model(low_res, answer, name="residual_upsampler")


# --- U-Nets


def unet(bands, *, bands_out=None, filters=32, depth=4, variant="plain"):
    """Build a U-Net: down to small features that see far, and up again with skip connections.

    Args:
        bands: number of bands in.
        bands_out: number of bands of the answer; default: as many.
        filters: of the first layer; doubled at each halving, up to eight times.
        depth: number of halvings; sides of images must be multiples of 2 ** depth.
        variant: "pix2pix" as published, with batch normalisation, dropout, transposed convolutions
            and tanh; or "plain", which needs fewer steps here and leaves no checkerboards: no
            normalisation, and enlarging before convolving.

    Source: Ronneberger et al. 2015, arXiv:1505.04597; as a generator: Isola et al. 2017 (pix2pix),
    arXiv:1611.07004.
    """
    image, bands = _input(bands, "image"), bands_out or bands
    features = unet_features(image, filters, depth, variant)
    if variant == "pix2pix":
        folded = _image(features, 4 * bands, "glorot_uniform")
        answer = ops.tanh(ops.depth_to_space(folded, 2)) / 2
    else:  # channels unfolded into pixels would leave a pattern of squares
        answer = _image(layers.UpSampling2D(2)(features), bands, "glorot_uniform")
    return keras.Model(image, answer + 0.5, name="unet")


def unet_features(image, filters, depth, variant="plain"):
    """Build the U of a U-Net; arguments as of `unet`.

    Layers at full size would cost more than all others together: fine detail is left to the last
    ones.

    Returns:
        Features, (batch, height / 2, width / 2, channels).
    """
    is_pix2pix, passed = variant == "pix2pix", []
    widths = [filters * min(2**level, 8) for level in range(depth)]
    features = _leaky_conv(_centred(image), filters, start="he_normal")
    for width in widths[1:]:
        passed.append(features)
        features = _leaky_conv(features, width, start="he_normal", norm=is_pix2pix)
    for width in reversed(widths[:-1]):
        if is_pix2pix:
            enlarge = layers.Conv2DTranspose(width, 4, strides=2, padding="same")
            features = _normalised(enlarge(features))
            deep = width == 8 * filters
            features = layers.ReLU()(
                layers.Dropout(0.5)(features) if deep else features
            )
        else:
            features = _conv(layers.UpSampling2D(2)(features), width)
        features = layers.Concatenate()([features, passed.pop()])
    return features if is_pix2pix else _conv(features, filters)


def root(reflectance):
    """Map reflectance to about its square root, so that dark ground counts; slope 10 at 0."""
    return reflectance / ops.sqrt(ops.abs(reflectance) + 0.01)


def cloud_remover(
    bands, *, filters=32, depth=4, unsure=(0.06, 0.06), reddened=(0.5, 1.5)
):
    """Build a U-Net that finds cloud and shadow, and solves the physics for the ground.

    Cloudy = ground x lit x t + light x (1 - t). The network estimates opacity (1 - t) and shadow
    (1 - lit) at full size. From coarse features it estimates how both differ by band, the light of
    the cloud, and what to paint where nothing can be seen. Where it finds neither cloud nor shadow,
    the answer *is* the input. Convolutions see the `root` of the image.

    Args:
        bands: of the image, as reflectance from 0 to 1.2 mapped to 0 to 1.
        filters, depth: as of `unet`.
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
    fine = layers.Concatenate()(
        [_smooth(features, 8, start="he_normal"), _centred(seen)]
    )
    near = _leaky_conv(fine, 16, 3, 1, "he_normal")
    coarse = _smooth(features, 2, -2.0)
    found = ops.sigmoid(_image(near, 2) + coarse)
    # below `unsure` next to nothing is done, but enough to go on learning
    gate = ops.clip(found / np.array(unsure, "float32") - 1, 0.02, 1)
    found_surely = ops.maximum(gate * (1.05 * found - 0.05), 0.001 * found)
    opacity, shadow = ops.split(found_surely, 2, axis=-1)
    by_band = 0.5 + ops.sigmoid(_smooth(features, bands))
    through = ops.maximum(1 - opacity, 0.05) ** by_band
    veil = (1 - through) * _smooth(features, bands, 0.5)
    unseen = opacity * ops.sigmoid(_smooth(features, 1, -1.0))
    paint = _smooth(features, bands, 0.15)
    least, most = reddened
    by_band = least + (most - least) * ops.sigmoid(_smooth(features, bands))
    lit = ops.maximum(1 - shadow, 0.03) ** by_band
    cleared = (image - veil) / (ops.maximum(through, 0.1) * ops.maximum(lit, 0.05))
    answer = cleared + unseen * (paint - cleared)
    answer = ops.concatenate([answer, found], axis=-1)
    return keras.Model(image, answer, name="cloud_remover")


def _smooth(features, channels, bias=0.0, start="zeros"):
    """Return smooth channels of twice the size; from zeros, `bias` until something is learned."""
    large = layers.UpSampling2D(2, dtype="float32")(_image(features, channels, start))
    smooth = layers.AveragePooling2D(3, 1, "same", dtype="float32")(large)
    return smooth + bias


# --- discriminators

HALVINGS = {
    1: 0,
    16: 1,
    34: 2,
    70: 3,
    142: 4,
    286: 5,
}  # by the side of a patch in pixels


def patch_discriminator(
    bands, *, condition=0, receptive_field_px=70, filters=64, variant="plain"
):  # fmt: skip
    """Judge every patch of an image by itself, beside the input that it was made from: PatchGAN.

    Args:
        bands: number of bands of the image.
        condition: number of bands of the input that it is shown with; 0 = none.
        receptive_field_px: side of a patch: 1, 16, 34, 70, 142 or 286 pixels.
        filters: of the first layer; doubled at each further one, up to eight times.
        variant: "pix2pix" has batch normalisation; "plain" has none.

    Returns:
        keras.Model, list of images (the condition first, if any) to logits (batch, rows, columns,
        1): positive where a patch looks real.

    Raises:
        ValueError: no whole number of layers has such a receptive field.

    Source: Isola et al. 2017 (pix2pix), arXiv:1611.07004.
    """
    if receptive_field_px not in HALVINGS:
        known = ", ".join(map(str, HALVINGS))
        raise ValueError(
            f"no PatchGAN sees {receptive_field_px} pixels; expected {known}"
        )
    images = _images([condition, bands] if condition else [bands])
    features = _centred(layers.Concatenate()(images) if condition else images[0])
    halvings = HALVINGS[receptive_field_px]
    kernel_px = 4 if halvings else 1
    for level in range(max(2, halvings + 1)):
        width, strides = filters * min(2**level, 8), 2 if level < halvings else 1
        norm = variant == "pix2pix" and level > 0
        features = _leaky_conv(features, width, kernel_px, strides, norm=norm)
    logits = layers.Conv2D(1, kernel_px, padding="same", dtype="float32")(features)
    return keras.Model(images, logits, name="patch_discriminator")


def multi_scale_discriminator(bands, *, sizes=3, filters=32):
    """Judge an image at several sizes at once, patch by patch: the discriminator of notebook 03.

    Args:
        bands: number of bands of each image.
        sizes: number of images, each half as wide as the one before.
        filters: of the first layer; later ones have more.

    Returns:
        keras.Model, list of images, largest first, to logits as of `patch_discriminator`.

    Source: MSG-GAN, arXiv:1903.06048; minibatch deviation: Karras et al. 2018, arXiv:1710.10196.
    """
    images, features = _images([bands] * sizes), None
    for number, image in enumerate(images):
        seen, width = _centred(image), filters * 2 ** min(number, 2)
        features = layers.Concatenate()([features, seen]) if number else seen
        features = _leaky_conv(_leaky_conv(features, width, 3, 1), width)
    features = _leaky_conv(MinibatchDeviation()(features), filters * 4, 3, 1)
    logits = layers.Conv2D(1, 3, padding="same", dtype="float32")(features)
    return keras.Model(images, logits, name="discriminator")


def _images(bands):
    return [_input(count, f"image_{number}") for number, count in enumerate(bands)]


@register
class MinibatchDeviation(layers.Layer):
    """Append how much the images of the batch differ, so that equal images show."""

    def call(self, features):
        """Return the features, and one channel more."""
        variance = ops.var(ops.cast(features, "float32"), axis=0)
        deviation = ops.mean(ops.sqrt(variance + 1e-8))
        channel = ops.cast(deviation, features.dtype) * ops.ones_like(features[..., :1])
        return ops.concatenate([features, channel], axis=-1)


# --- maps

MAP_TAPS, MAP_ENLARGE = (
    ("24", "40", "80", "112", "320"),
    3,
)  # chosen on validation ground
SMOOTHING_PX = 5  # side of the squares over which the table's answers are averaged


@register
class PretrainedFeatures(layers.Layer):
    """Feature maps of the frozen network of `helpers.features`, whose weights stay in their pack.

    A saved model holds the names of the taps alone. Loading it reads the pack again, and fails with
    the command that fetches it where it is missing.

    Args:
        taps: as of `features.backbone`.
        enlarge: factor by which the image is enlarged first, so that the features see finer detail.
    """

    def __init__(self, taps=MAP_TAPS, enlarge=MAP_ENLARGE, **options):
        super().__init__(**options)
        self.trainable, self.taps, self.enlarge = False, tuple(taps), enlarge

    def build(self, shape):
        """Read the frozen network."""
        shared_backbone(self.taps, self.dtype_policy.name)

    def call(self, images):
        """Return a list of feature maps, one a tap, of images (batch, height, width, 3), 0 to 1."""
        size = [side * self.enlarge for side in ops.shape(images)[1:3]]
        images = ops.clip(ops.image.resize(images, size, "bicubic"), 0, 1)
        return shared_backbone(self.taps, self.dtype_policy.name)(
            images, training=False
        )

    def compute_output_shape(self, shape):
        """Return the shapes of the feature maps, without computing them."""
        return [(shape[0], None, None, int(tap)) for tap in self.taps]

    def get_config(self):
        """Return what is needed to load it again."""
        return {**super().get_config(), "taps": self.taps, "enlarge": self.enlarge}


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


def _resized(image, like):
    # in bfloat16 Keras clips each value, too: 0.27 s of processor time a training step for 0.21
    return ResizeLike(dtype="float32")([image, like])


def map_decoder(table, *, classes=True, filters=64, dropout=0.2):
    """Decode frozen features into a map, as a correction to what the colour of a pixel says.

    From the smallest feature map to the largest, each is projected to `filters` channels, enlarged
    to the next one and added. All else looks at one pixel at a time: the features already see far.

    Args:
        table: float (steps ** 3, outputs): for each colour, red, green and blue in so many steps,
            the chances of each class, or the mean colour of the map.
        classes: the table holds chances; else colours.
        filters: of the decoder.
        dropout: share of the projected channels left out in training.

    Returns:
        keras.Model from a list, image (batch, height, width, 3) and feature maps, to chances or
        colours, float32 (batch, height, width, outputs): those of the averaged table at first.
        `with_features` makes a model of images of it.

    Source: adding projected features of all levels: Lin et al. 2017 (FPN), arXiv:1612.03144.
    """
    colours, outputs = table.shape
    steps = round(colours ** (1 / 3))
    image = _input(3, "image")
    maps = [_input(int(tap), f"tap_{tap}") for tap in MAP_TAPS]
    total = None
    for each in reversed(maps):
        own = layers.SpatialDropout2D(dropout)(layers.Conv2D(filters, 1)(each))
        total = own if total is None else layers.Add()([_resized(total, own), own])
    total = _leaky_conv(_leaky(total), filters, 1, 1)
    context = _resized(layers.Conv2D(filters // 2, 1)(total), image)
    place = ops.cast(ops.clip(image * steps, 0, steps - 1), "int32")
    place = ops.sum(place * np.array([steps**2, steps, 1], "int32"), axis=-1)
    frozen = {"trainable": False, "dtype": "float32", "name": "table"}
    alone = layers.Embedding(colours, outputs, weights=[table], **frozen)(place)
    average = layers.AveragePooling2D(SMOOTHING_PX, 1, "same", dtype="float32")(alone)
    joined = layers.Concatenate()([context, image, alone, average])
    joined = _leaky_conv(joined, filters // 2, 1, 1)
    correction = layers.Conv2D(outputs, 1, kernel_initializer="zeros", dtype="float32")(
        joined
    )
    answer = average + correction
    if classes:
        answer = ops.softmax(ops.log(average + 1e-3) + correction)
    return keras.Model([image, *maps], answer, name="map_decoder")


def with_features(decoder):
    """Put the frozen features before a decoder of them: a model of images of any size.

    Args:
        decoder: as of `map_decoder`.

    Returns:
        keras.Model; sides of images must be multiples of 32. Its file holds the decoder only.
    """
    image = _input(3, "image")
    return keras.Model(
        image, decoder([image, *PretrainedFeatures()(image)]), name="map"
    )


def feature_maps(images):
    """Compute the frozen features of images once, to train a decoder of them on.

    Args:
        images: float32 (batch, height, width, 3), 0 to 1.

    Returns:
        list: the images, and a float16 array (batch, height, width, channels) for each tap, as
        `map_decoder` takes them.
    """
    image = keras.Input(images.shape[1:])
    found = keras.Model(image, PretrainedFeatures()(image))
    maps = found.predict(images, batch_size=16, verbose=0)
    return [images, *(each.astype("float16") for each in maps)]


def map_painter(decoder, colours):
    """Copy a decoder that names chances; the copy answers with their mean colour, a picture.

    Args:
        decoder: as of `map_decoder`.
        colours: float (classes, 3), 0 to 1, of the legend.
    """
    copy = keras.models.clone_model(decoder)
    copy.set_weights(decoder.get_weights())
    legend = ops.convert_to_tensor(colours, "float32")
    return keras.Model(copy.inputs, copy.output @ legend, name="painter")


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


def landscape_generator(latent_size=4, *, image_px=128, filters=24):
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

    Raises:
        ValueError: a side that doubling 4 does not reach.

    Source: Liu et al. 2021 (FastGAN), arXiv:2101.04775, smaller.
    """
    stages = int(image_px).bit_length() - 3
    if stages < 1 or image_px != 4 << stages:
        raise ValueError(
            f"image_px is {image_px}; expected 4, doubled: 8, 16, 32, 64, 128 ..."
        )
    widths = [filters * min(2**level, 6) for level in reversed(range(stages + 1))]
    features = latent = keras.Input((latent_size,), name="latent")
    # without random biases, all landscapes of small numbers would begin as the same grey one
    apart = keras.initializers.RandomNormal(stddev=1.0)
    for _ in range(2):
        dense = layers.Dense(
            128, kernel_initializer="he_normal", bias_initializer=apart
        )
        features = _leaky(dense(features))
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
    mixed, logits, squares = None, [], []
    for scale, tap in enumerate(reversed(backbone()(image))):
        own = _mixed(tap, channels, 1, scale)
        if scale:
            own = layers.Add()([layers.UpSampling2D(2)(mixed), own])
        judged = mixed = _mixed(own, channels, 3, 9 + scale)
        width = channels
        while judged.shape[1] > 4:
            judged = _leaky(_spectral(judged, width, 4, strides=2))
            width = min(2 * width, 128)
        logits.append(layers.Flatten()(_spectral(judged, 1, 3)))
        squares.append(_squares(mixed))
    return keras.Model(
        [image], [layers.Concatenate()(logits), *squares], name="discriminator"
    )


def _mixed(features, filters, kernel_px, seed):
    """Mix the channels by a random convolution that is never trained."""
    frozen = {"activation": None, "use_bias": False, "trainable": False}
    start = keras.initializers.HeNormal(seed)
    return _conv(features, filters, kernel_px, kernel_initializer=start, **frozen)


def _spectral(features, *shape, **options):
    """Convolve, with the largest gain kept at one."""
    convolution = layers.Conv2D(*shape, padding="same", **options)
    return layers.SpectralNormalization(convolution)(features)


def _squares(features):
    """Average features on 4 x 4 squares, one row an image."""
    side = max(1, features.shape[1] // 4)
    return layers.Flatten()(layers.AveragePooling2D(side)(features))


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
    for width in (filters, 2 * filters, 4 * filters, 4 * filters):
        features = _leaky_conv(features, width, start="he_normal")
    features = layers.Dense(128, "relu", kernel_initializer="he_normal")(
        layers.Flatten()(features)
    )
    answer = layers.Dense(latent_size, "softsign", dtype="float32")(features)
    return keras.Model(view, answer, name="view_encoder")


def patch_features(*, image_px=128):
    """Compute ImageNet features of a patch: all of it, and its middle third, enlarged.

    A patch of 6 km then tells of the 2 km around the observer, too. Nothing here is trained.

    Args:
        image_px: side of the patch: 96 or more.

    Returns:
        keras.Model from images to (batch, 4864): two stages of both looks, means of 4 x 4 squares.

    Raises:
        FileNotFoundError: the pack of the features is not fetched (names the command).
    """
    patch = keras.Input((image_px, image_px, 3), name="patch")
    middle = layers.CenterCrop(image_px // 3, image_px // 3)(patch)
    pretrained = backbone(("40", "112"))
    maps = [*pretrained(patch), *pretrained(layers.Resizing(64, 64)(middle))]
    found = layers.Concatenate()([_squares(each) for each in maps])
    return keras.Model(patch, found, trainable=False, name="patch_features")


# --- the receptive field

GLOBAL_PX = 512  # a receptive field that is wider counts as the whole image


def receptive_field_px(model, multiple=1):
    """Measure how wide a square of input pixels one output pixel depends on.

    It is as far as the gradient of a copy reaches, whose layers average: no two paths cancel, and
    nothing is saturated.

    Args:
        model: keras.Model with one input image and one output image.
        multiple: sides of images must be multiples of it; the field is then that of a square of so
            many output pixels, less their own width, as windows that begin at multiples need it.

    Returns:
        int, pixels of the network's own input; None where it is wider than 512.
    """
    copy = keras.models.clone_model(model)
    for weight in copy.weights:
        if len(weight.shape) > 1:
            weight.assign(np.full(weight.shape, 1 / np.prod(weight.shape[:-1])))
    # a strip is enough, as no network here looks farther along one axis than along the other
    side = (2 * GLOBAL_PX // multiple | 1) * multiple
    first = (side - multiple) // 2
    strip = tf.Variable(tf.ones((1, multiple, side, model.input_shape[-1])))
    with tf.GradientTape() as tape:
        answer = copy(strip)
        scale = answer.shape[2] // side
        centre = tf.reduce_sum(answer[:, :, first * scale : (first + multiple) * scale])
    slopes = np.abs(tape.gradient(centre, strip))
    reached = np.flatnonzero(slopes.max(axis=(0, 1, 3)))
    beyond = max(first - reached[0], reached[-1] - first - multiple + 1)
    return 2 * int(beyond) + 1 if 2 * beyond < GLOBAL_PX else None
