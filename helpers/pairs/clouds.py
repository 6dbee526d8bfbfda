"""Simulate clouds over clear ground, with the share of light that each lets through."""

from collections import namedtuple
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import ndimage

from helpers.backend import keras, tf
from helpers.pairs.patches import patches, whole_patches
from helpers.scenes import to_unit

KINDS = ("thin", "broken", "opaque", "cirrus")
SCORED = KINDS[:3]  # of pairs and examples; only `travelling_clouds` draws cirrus
# A row for each kind, at difficulty 1: limits of the share of a patch under cloud, and of the
# largest optical depth; the part of the field's range over which depth rises from the rim to the
# largest; and how fast it rises at the rim itself.
SHAPES = np.array(
    [
        (0.4, 0.8, 0.4, 1.2, 1.0, 1.0),
        (0.25, 0.6, 2.5, 6.0, 0.8, 0.3),
        (0.4, 0.8, 6.0, 15.0, 0.6, 0.6),
        (0.4, 0.8, 0.2, 1.0, 1.0, 1.0),
    ],
    "float32",
)
# Exponent of the power spectrum of a field in two dimensions: turbulent air shows 8/3 in a slice,
# 11/3 summed up through a deep layer; cumulus, a shallow one, is ragged.
SPECTRUM = np.reshape([11, 9, 11, 11], (-1, 1, 1)) / 3
STREAKS = np.reshape([1, 1, 1, 4], (-1, 1, 1))  # how much longer than wide
DISTANCE = (0.06, 0.24)  # from a cloud to its shadow, in sides of a patch
DARKEST = (0.3, 0.8)  # share of light that opaque cloud takes; the sky gives the rest
WAVELENGTH_UM = {
    "coastal": 0.443,
    "blue": 0.49,
    "green": 0.56,
    "red": 0.66,
    "rededge1": 0.705,
    "rededge2": 0.74,
    "rededge3": 0.783,
    "nir": 0.84,
    "nir08": 0.865,
    "nir09": 0.945,
    "cirrus": 1.375,
    "swir16": 1.61,
    "swir22": 2.19,
}
# 0 for cloud drops, 1.3 for fine haze (Angstrom 1929); rims have both
ANGSTROM_EXPONENT = 0.3
LIMIT = 1.2  # largest reflectance of anything
REFLECTANCE = (0, 10_000 * LIMIT)  # networks see this as 0 to 1: reflectance x 10,000
UNIT = (REFLECTANCE,)  # of all bands
# Patches with simulated clouds, and the truth about them; see `examples`.
Examples = namedtuple("Examples", "cloudy clear transmittance shadow kind")


def draw(
    size_px,
    kind,
    difficulty,
    key,
    *,
    distance=DISTANCE,
    darkest=DARKEST,
    no_gap=False,
    rim_width=1,
):
    """Draw one cloud, and its shadow on the ground.

    A random field has the power-law spectrum of turbulent air, and twice the size of the patch so
    that nothing wraps round. It is cut off where the clear share of the sky ends. What remains is
    optical depth. The shadow is the same field, shifted.

    Args:
        size_px: side of the patch, pixels.
        kind: place in KINDS.
        difficulty: 0 no cloud, 1 as in SHAPES, 2 twice as deep; cover grows so that the clear share
            is squared.
        key: int64 (2,); the same key gives the same cloud.
        distance, darkest: limits of the way to the shadow, and of the light that it takes.
        no_gap: True for a cloud over all of the patch.
        rim_width: factor of the width of rims.

    Returns:
        optical_depth, shadow: float32 tensors (size_px, size_px); shadow is the share of light
        left, 1 = none.
    """
    draws = uniform(key, 1, 7)
    least, most, shallow, deep, rise, rim = tf.unstack(tf.gather(SHAPES, kind))
    cover = 1 - (1 - between(least, most, draws[0])) ** difficulty
    cover = tf.where(no_gap, 1.0, cover)
    depth = between(shallow, deep, draws[1]) * difficulty
    field = turbulence(size_px, kind, tf.random.fold_in(key, 2))
    # the cloud's place, and its shadow's: cloud height times tangent of the sun's zenith angle
    reach = int(np.ceil(distance[1] * size_px))
    start = reach + tf.cast(draws[2:4] * (size_px - 2 * reach), tf.int32)
    length = between(*distance, draws[4]) * size_px
    angle = 2 * np.pi * draws[5]
    away = tf.round(length * tf.stack([tf.sin(angle), tf.cos(angle)]))
    size = [size_px, size_px]
    here = tf.slice(field, start, size)
    there = tf.slice(field, start + tf.cast(away, tf.int32), size)
    edge, top = levels(here, 1 - cover, 1 - 0.02 * cover)
    # not 0 where a cloud has a pixel or two
    rise = rise * rim_width * tf.maximum(top - edge, 1e-9)

    def depth_of(part):
        inside = tf.clip_by_value((part - edge) / rise, 0, 1)
        return depth * inside * (rim + (1 - rim) * inside)

    taken = between(*darkest, draws[6]) * (1 - tf.exp(-depth_of(there)))
    return depth_of(here), 1 - taken


def uniform(key, number, count):
    """Draw numbers from 0 to 1; each purpose has a number of its own."""
    return tf.random.stateless_uniform([count], tf.random.fold_in(key, number))


def between(low, high, share):
    """Interpolate between two limits."""
    return low + (high - low) * share


def levels(field, *shares):
    """Return the values below which these shares of a field lie."""
    values = tf.sort(tf.reshape(field[::2, ::2], [-1]))
    last = tf.cast(tf.size(values) - 1, tf.float32)
    return [tf.gather(values, tf.cast(share * last, tf.int32)) for share in shares]


def turbulence(size_px, kind, key):
    """Draw a field (2 size_px, 2 size_px) with the power-law spectrum of a kind of cloud."""
    side = 2 * size_px
    rows = np.fft.fftfreq(side)[:, None] * side
    columns = np.fft.rfftfreq(side) * side
    # turned and skewed later, with the ground
    wavenumber = np.hypot(rows, columns * STREAKS)
    wavenumber[:, 0, 0] = np.inf
    amplitude = np.float32(wavenumber ** (-SPECTRUM / 2))
    # these waves are counted once, all others twice
    amplitude[:, :, [0, -1]] *= 2**0.5
    # a sum of so many waves is as good as normal, and uniform numbers take half the time
    waves = tf.random.stateless_uniform([2, side, size_px + 1], key, -1, 1)
    waves *= tf.gather(amplitude, kind)
    return tf.signal.irfft2d(tf.complex(waves[0], waves[1]))


def composite_cloud(clear, optical_depth, shadow, extinction, light):
    """Put a cloud between ground and satellite: it dims the ground's light, and adds its own.

    Args:
        clear: float32 (..., height, width, bands), in any unit that is linear in reflectance and 0
            where nothing is reflected.
        optical_depth: float32 (..., height, width), at a wavelength where `extinction` is 1.
        shadow: float32 (..., height, width, bands or 1): share of light that reaches the ground.
        extinction: float32 (bands,), relative to `optical_depth`.
        light: what an opaque cloud measures, per band, or for every pixel; unit of `clear`.

    Returns:
        float32 tensor of the shape and unit of `clear`.
    """
    transmitted = tf.exp(-optical_depth[..., None] * extinction)
    return clear * shadow * transmitted + light * (1 - transmitted)


def skewed(image, shear):
    """Shift each row sideways in proportion to its distance from the middle; bilinear, mirrored.

    Args:
        image: float32 (height, width, bands); stack two images as bands to skew both equally.
        shear: shift in pixels per row; 0 changes nothing.

    Returns:
        float32 tensor of the same shape.
    """
    middle = (image.shape[0] - 1) / 2
    transform = tf.stack([1.0, shear, -shear * middle, 0.0, 1.0, 0.0, 0.0, 0.0])
    return keras.ops.image.affine_transform(image, transform, fill_mode="reflect")


def dataset(
    scenes,
    *,
    light,
    value_range=UNIT,
    difficulty=1.0,
    skew=0.15,
    **stream,
):
    """Stream training pairs: patches of clear ground, turned, skewed, and put under a random cloud.

    The n-th sample depends on the seed and n alone. One patch in sixteen stays clear.

    Args:
        scenes: list of Scene of clear training ground.
        light: what an opaque cloud measures, per band, unit of the pixels; each cloud's own differs
            by up to 15 %.
        value_range: (low, high) per band that networks see as 0 to 1, or one for all.
        difficulty: of `draw`.
        skew: largest shear; see `skewed`.
        **stream: as of `patches.patches`. With few `copies`, networks memorise the pairs.

    Returns:
        tf.data.Dataset of (cloudy, truth): float32 (batch, patch, patch, bands), 0 to 1 within the
        value range, not clipped. The truth is the clear ground, and as two more bands the opacity
        of the cloud and the shadow, shares of light that they take.
    """
    augment = partial(
        simulate,
        bands=scenes[0].bands,
        light=light,
        value_range=value_range,
        difficulty=difficulty,
        skew=skew,
    )
    return patches(scenes, augment=augment, **stream)


def simulate(
    patch,
    key,
    *,
    bands,
    light,
    value_range,
    difficulty,
    skew,
):
    """Turn one patch of clear ground into a training pair; arguments and result as of `dataset`.

    Args:
        patch: float32 (height, width, bands), unit of the pixels.
        key: int64 (2,); the same key gives the same pair.
    """
    draws = uniform(key, 3, 7)
    clear = skewed(patch, skew * (2 * draws[0] - 1))
    kind = tf.cast(draws[1] * len(SCORED), tf.int32)
    difficulty = tf.where(draws[2] < 1 / 16, 0.0, difficulty)  # some stay clear
    made = _clouded(clear, kind, key, bands, light, difficulty)
    return training_pair(clear, *made, value_range)


def training_pair(clear, cloudy, optical_depth, shadow, value_range):
    """Return the cloudy patch and the truth about it, as of `dataset`."""
    taken = 1 - tf.stack([tf.exp(-optical_depth), shadow], axis=-1)
    truth = tf.concat([to_unit(clear, value_range), taken], axis=-1)
    return to_unit(cloudy, value_range), truth


def _clouded(clear, kind, key, bands, light, difficulty):
    """Return the cloudy patch, its optical depth and its shadow."""
    optical_depth, shadow = draw(clear.shape[0], kind, difficulty, key)
    light = cloud_light(light, optical_depth, key)
    # in full, else TensorFlow multiplies in another order, and last digits change
    lit = tf.broadcast_to(shadow[..., None], clear.shape)
    cloudy = composite_cloud(clear, optical_depth, lit, extinction(bands), light)
    return cloudy, optical_depth, shadow


def cloud_light(light, optical_depth, key, relief=0.0):
    """Draw what a cloud measures: brightness, tint, and texture.

    Args:
        light: of an opaque cloud, per band.
        optical_depth: float32 (height, width).
        key: int64 (2,).
        relief: added to the brightness, which is about 1.

    Returns:
        float32 (height, width, bands), unit of `light`.
    """
    draws = 2 * uniform(key, 4, len(light) + 1) - 1
    colour = light * (1 + 0.15 * draws[0]) * (1 + 0.02 * draws[1:])
    texture = 0.95 + 0.1 * optical_depth / (tf.reduce_max(optical_depth) + 1e-6)
    return colour * (texture + relief)[..., None]


def examples(
    scenes,
    *,
    light,
    value_range=UNIT,
    difficulty=1.0,
    patch_px,
    seed=0,
):
    """Cut ground into patches, and put a third each under thin, broken and opaque cloud.

    Args:
        scenes, light, value_range, difficulty: as of `dataset`.
        patch_px: side of a patch.
        seed: of the clouds, and of which patch gets which kind.

    Returns:
        Examples:
        - cloudy, clear: float32 (patches, height, width, bands), as of `dataset`
        - transmittance: float32 (patches, height, width), least share of light let through
        - shadow: float32, same shape, light left by shadows; 1 = no shadow
        - kind: str (patches,), of KINDS

    Raises:
        ValueError: there is not one whole patch without no-data pixels.
    """
    bands = scenes[0].bands
    clear = np.float32([cut.pixels for cut in whole_patches(scenes, patch_px)])
    kinds = np.arange(len(clear)) % len(SCORED)
    kinds = np.random.default_rng(seed).permutation(kinds)

    def cloud(number, patch_and_kind):
        # training counts upwards: no cloud comes in both
        key = tf.stack([seed, -1 - number])
        return _clouded(*patch_and_kind, key, bands, light, difficulty)

    data = tf.data.Dataset.from_tensor_slices((clear, kinds)).enumerate()
    made = data.map(cloud).batch(len(clear)).get_single_element()
    cloudy, optical_depth, shadow = map(np.array, made)
    return Examples(
        cloudy=to_unit(cloudy, value_range),
        clear=to_unit(clear, value_range),
        transmittance=np.exp(-optical_depth * extinction(bands).max()),
        shadow=shadow,
        kind=np.array(KINDS)[kinds],
    )


def without_cloud(scene, coastal, level=2000):
    """Leave out ground under real cloud: where coastal blue is bright on more than a roof.

    Args:
        scene: Scene, Sentinel-2, reflectance x 10,000.
        coastal: Scene of the coastal-blue band, 60 m, of the same ground.
        level: what is brighter there counts as cloud, and so does what lies within 480 m.

    Returns:
        Scene with no data under and around clouds.
    """
    bright = ndimage.binary_opening(coastal.pixels[..., 0] > level, iterations=2)
    near = ndimage.binary_dilation(bright, iterations=8)
    size = scene.height // coastal.height
    clouded = near.repeat(size, 0).repeat(size, 1)
    return replace(scene, pixels=np.where(clouded[..., None], np.nan, scene.pixels))


def extinction(bands):
    """Return the optical depth of each band, relative to blue; 1 for names that are not known."""
    relative_um = np.array([WAVELENGTH_UM.get(band, 0.49) / 0.49 for band in bands])
    return np.float32(relative_um**-ANGSTROM_EXPONENT)
