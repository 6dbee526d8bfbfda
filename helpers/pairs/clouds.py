"""Simulate clouds over clear ground, with the share of light that each lets through."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from helpers.backend import tf
from helpers.pairs.patches import patches, whole_patches
from helpers.pairs.surfaces import LIMIT, WAVELENGTH_UM, varied
from helpers.scenes import to_unit

KINDS = ("thin", "broken", "opaque", "cirrus")
SCORED = KINDS[:3]  # of examples; cirrus is another thin cloud
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
SPECTRUM = np.reshape((11 / 3, 3.0, 11 / 3, 11 / 3), (-1, 1, 1))
STREAKS = np.reshape((1.0, 1.0, 1.0, 4.0), (-1, 1, 1))  # how much longer than wide
# Limits of the way from a cloud to its shadow, in sides of a patch, and of the share of light that
# an opaque cloud takes; the blue sky gives the rest.
SHADOW = (0.06, 0.24), (0.3, 0.8)
# Clouds of any place, for networks that travel: shadows may lie further off and be darker, most of
# all at long waves, which the sky does not light; rims may be five times as sharp; one cloud in ten
# has no gap.
ANY_SHADOW = (0.06, 0.45), (0.3, 0.95)
ANY_RIM, NO_GAP = (0.2, 1.0), 0.1
ANY_SLOPE = 1.0  # largest exponent of the wavelength for the light of clouds
# Clouds outside the image cast shadows, too: how often, over which share of the patch, how deep the
# cloud is, and how often there is no other cloud.
FAR, FAR_COVER, FAR_DEPTH, FAR_ALONE = 0.5, (0.3, 1.4), (0.7, 6.0), 0.3
# The sky lights a shadow: its share of all light at 0.56 um, and how fast that falls with
# wavelength. No shadow dims the air before it: its largest reflectance at 0.56 um.
SKY, SKY_SLOPE, AIR = (0.0, 0.45), (0.5, 2.0), 0.03
LIGHT = (0.25, 1.0)  # reflectance of opaque clouds: low winter sun, top of a thunderstorm
ANGSTROM_EXPONENT = 0.3  # 0 for cloud drops, 1.3 for fine haze (Angstrom 1929); rims have both
EXTINCTION = {band: (um / 0.49) ** -ANGSTROM_EXPONENT for band, um in WAVELENGTH_UM.items()}
REFLECTANCE = (0, 10_000 * LIMIT)  # networks see this as 0 to 1: reflectance x 10,000
CLEAR, THIN = 0.98, 0.3  # smallest transmittance of a clear pixel, and of thin cloud
UNSHADED = 0.99  # smallest share of direct light that counts as no shadow


@dataclass(frozen=True)
class Examples:
    """Patches with simulated clouds, and the truth about them.

    Attributes:
        cloudy, clear: float32 (patches, height, width, bands), 0 to 1 within the value range, not
            clipped.
        optical_depth: float32 (patches, height, width), at 0.49 um.
        transmittance: float32, same shape: share of light let through, smallest over the bands.
        shadow: float32, same shape: light left by shadows; 1 = no shadow.
        kind: str (patches,), of KINDS.
        cover: float32 (patches,), share of pixels with a transmittance below 0.98.
    """

    cloudy: np.ndarray
    clear: np.ndarray
    optical_depth: np.ndarray
    transmittance: np.ndarray
    shadow: np.ndarray
    kind: np.ndarray
    cover: np.ndarray

    def subsets(self):
        """Return which pixels are clear, in shadow, under thin and under opaque cloud.

        Returns:
            dict from "clear", "shadow", "thin", "opaque" to bool (patches, height, width); each
            pixel is in one of them.
        """
        through, shaded = self.transmittance, self.shadow < UNSHADED
        return {  # where the transmittance is unknown, no pixel is in any
            "clear": (through >= CLEAR) & ~shaded,
            "shadow": (through >= CLEAR) & shaded,
            "thin": (through >= THIN) & (through < CLEAR),
            "opaque": through < THIN,
        }


def draw(size_px, kind, difficulty, key, *, anywhere=False):
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
        anywhere: draw rims, cover and shadows from the wider limits of ANY_SHIFT and the following.

    Returns:
        optical_depth, shadow: float32 tensors (size_px, size_px); shadow is the share of light
        left, 1 = none.
    """
    draws = _uniform(key, 1, 7)
    *limits, rise, rim = tf.unstack(tf.gather(SHAPES, kind))
    cover = 1 - (1 - _between(limits[:2], draws[0])) ** difficulty
    depth = _between(limits[2:], draws[1]) * difficulty
    distances, darkest = SHADOW
    if anywhere:
        distances, darkest = ANY_SHADOW
        more = _uniform(key, 5, 2)
        cover = tf.where(more[0] < NO_GAP, 1.0, cover)
        rise *= _between(ANY_RIM, more[1])
    field = _field(size_px, kind, tf.random.fold_in(key, 2))
    # the cloud's place, and its shadow's: cloud height times tangent of the sun's zenith angle
    reach = int(np.ceil(distances[1] * size_px))
    start = reach + tf.cast(draws[2:4] * (size_px - 2 * reach), tf.int32)
    distance, angle = _between(distances, draws[4]) * size_px, 2 * np.pi * draws[5]
    away = tf.round(distance * tf.stack([tf.sin(angle), tf.cos(angle)]))
    starts = start, start + tf.cast(away, tf.int32)
    here, there = (tf.slice(field, at, [size_px, size_px]) for at in starts)
    edge, top = _levels(here, 1 - cover, 1 - 0.02 * cover)
    rise *= tf.maximum(top - edge, 1e-9)  # not 0 where a cloud has a pixel or two
    inside = [tf.clip_by_value((part - edge) / rise, 0, 1) for part in (here, there)]
    optical_depth, towards_sun = (depth * part * (rim + (1 - rim) * part) for part in inside)
    taken = _between(darkest, draws[6]) * (1 - tf.exp(-towards_sun))
    if anywhere:
        far, alone = _far_shadow(size_px, darkest, key)
        taken = tf.maximum(taken, far)
        optical_depth = tf.where(alone, 0.0, optical_depth)
    return optical_depth, 1 - taken


def _far_shadow(size_px, darkest, key):
    """Draw the light that a cloud outside the image takes, and whether there is no other cloud."""
    draws = _uniform(key, 8, 5)
    field = _field(size_px, KINDS.index("opaque"), tf.random.fold_in(key, 7))[:size_px, :size_px]
    clear = tf.maximum(1 - _between(FAR_COVER, draws[0]), 0)
    edge, top = _levels(field, clear, 1.0)
    inside = (field - edge) / (0.4 * tf.maximum(top - edge, 1e-9))
    inside = tf.clip_by_value(inside, tf.where(clear > 0, 0.0, 0.4), 1)  # no rim without a gap
    taken = _between(darkest, draws[2]) * (1 - tf.exp(-_between(FAR_DEPTH, draws[1]) * inside))
    is_far = draws[3] < FAR
    return tf.where(is_far, taken, 0.0), is_far & (draws[4] < FAR_ALONE)


def _uniform(key, number, count):
    """Draw numbers from 0 to 1; each purpose has a number of its own."""
    return tf.random.stateless_uniform([count], tf.random.fold_in(key, number))


def _between(limits, share):
    """Interpolate between two limits."""
    return limits[0] + (limits[1] - limits[0]) * share


def _levels(field, *shares):
    """Return the values below which these shares of a field lie."""
    values = tf.sort(tf.reshape(field[::2, ::2], [-1]))
    last = tf.cast(tf.size(values) - 1, tf.float32)
    return [tf.gather(values, tf.cast(share * last, tf.int32)) for share in shares]


def _field(size_px, kind, key):
    """Draw a field (2 size_px, 2 size_px) with the power-law spectrum of a kind of cloud."""
    side = 2 * size_px
    rows, columns = np.fft.fftfreq(side)[:, None] * side, np.fft.rfftfreq(side) * side
    wavenumber = np.hypot(rows, columns * STREAKS)  # turned and skewed later, with the ground
    wavenumber[:, 0, 0] = np.inf
    amplitude = (wavenumber ** (-SPECTRUM / 2)).astype("float32")
    amplitude[:, :, [0, -1]] *= 2**0.5  # these waves are counted once, all others twice
    # a sum of so many waves is as good as normal, and uniform numbers take half the time
    waves = tf.random.stateless_uniform([2, side, size_px + 1], key, -1, 1)
    waves *= tf.gather(amplitude, kind)
    return tf.signal.irfft2d(tf.complex(waves[0], waves[1]))


def composite_cloud(clear, optical_depth, shadow, *, extinction, light):
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
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform[None],
        output_shape=image.shape[:2],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )[0]


def dataset(scenes, *, light=None, value_range=None, difficulty=1.0, skew=0.15, **stream):
    """Stream training pairs: patches of clear ground, turned, skewed, and put under a random cloud.

    The n-th sample depends on the seed and n alone. Without `light`, for networks that travel, the
    ground becomes ground of all kinds (`surfaces.varied`) under clouds of all brightness, with a
    difficulty between a tenth and twice of what is given; a quarter of the patches stay clear. With
    `light`, one in sixteen does.

    Args:
        scenes: list of Scene of clear training ground.
        light: what an opaque cloud measures, per band, unit of the pixels; each cloud's own differs
            by up to 15 %. Default: all that clouds measure; pixels are reflectance x 10,000 then.
        value_range: (low, high) per band that networks see as 0 to 1; default: REFLECTANCE.
        difficulty: of `draw`.
        skew: largest shear; see `skewed`.
        **stream: as of `patches.patches`. Where `copies` are few, as where pairs are multiplied on
            disk, networks memorise them.

    Returns:
        tf.data.Dataset of (cloudy, truth): float32 (batch, patch, patch, bands), 0 to 1 within the
        value range, not clipped. The truth is the clear ground, and as two more bands the opacity
        of the cloud and the shadow, shares of light that they take.

    Raises:
        ValueError: numbers of bands that differ, a difficulty outside 0 to 2, negative copies, or a
            scene smaller than a patch.
    """
    bands = scenes[0].bands
    value_range = _checked(bands, difficulty, value_range, light)
    looks = {"light": light, "value_range": value_range, "difficulty": difficulty, "skew": skew}

    def pair(patch, key):
        return simulate(patch, key, bands=bands, **looks)

    return patches(scenes, augment=pair, **stream)


def simulate(patch, key, *, bands, light, value_range, difficulty, skew):
    """Turn one patch of clear ground into a training pair; arguments and result as of `dataset`.

    Args:
        patch: float32 (height, width, bands), unit of the pixels.
        key: int64 (2,); the same key gives the same pair.
    """
    draws = _uniform(key, 3, 7)
    clear = skewed(patch, skew * (2 * draws[0] - 1))
    kinds, clear_share, looks = len(SCORED), 1 / 16, {}
    if light is None:
        kinds, clear_share = len(KINDS), 1 / 4
        clear = 1e4 * varied(clear / 1e4, bands, key)
        relative_um = np.array([WAVELENGTH_UM[band] / 0.56 for band in bands], "float32")
        tint = relative_um ** (ANY_SLOPE * (2 * draws[5] - 1))
        light = 1e4 * _between(LIGHT, draws[3]) * tint
        difficulty = difficulty * _between((0.1, 2.0), draws[4])
        share, slope, haze = tf.unstack(_uniform(key, 9, 3))
        sky = _between(SKY, share) * relative_um ** -_between(SKY_SLOPE, slope)
        air = 1e4 * AIR * haze * relative_um**-2
        looks = {"anywhere": True, "relief": 0.3 * draws[3], "sky": sky, "air": air}
    kind = tf.cast(draws[1] * kinds, tf.int32)
    cloudy, optical_depth, lit = _clouded(
        clear, bands, kind, key, light=light, difficulty=difficulty, **looks
    )
    stays_clear = draws[2] < clear_share
    taken = 1 - tf.stack([tf.exp(-optical_depth), lit], axis=-1)
    truth = [to_unit(clear, value_range), tf.where(stays_clear, 0.0, taken)]
    cloudy = tf.where(stays_clear, clear, cloudy)
    return to_unit(cloudy, value_range), tf.concat(truth, axis=-1)


def _clouded(
    clear, bands, kind, key, *, light, difficulty, anywhere=False, relief=0.0, sky=0.0, air=0.0
):  # fmt: skip
    """Return the cloudy patch, its optical depth and its shadow; draw brightness and tint, too.

    With `relief`, the side of a cloud that faces the sun is brighter by up to this share. In the
    shadow, `sky` is the share of light that comes from the sky, per band, and `air` what the air
    adds, in the unit of `clear`.
    """
    optical_depth, shadow = draw(clear.shape[0], kind, difficulty, key, anywhere=anywhere)
    draws = 2 * _uniform(key, 4, len(bands) + 1) - 1
    colour = light * (1 + 0.15 * draws[0]) * (1 + 0.02 * draws[1:])
    texture = 0.95 + 0.1 * optical_depth / (tf.reduce_max(optical_depth) + 1e-6)
    texture += relief * (shadow - tf.exp(-optical_depth))  # thin where its shadow comes from
    colour = colour * texture[..., None]
    shadow = shadow[..., None]
    lit = shadow + (1 - shadow) * sky
    darkest = tf.maximum(tf.reduce_min(clear, axis=(0, 1)), 0.0)  # less than 0 by an offset
    air = tf.minimum(air, 0.8 * darkest)
    dimmed = lit + (1 - lit) * air / tf.maximum(clear, 1.0)
    cloudy = composite_cloud(
        clear, optical_depth, dimmed, extinction=extinction(bands), light=colour
    )
    return cloudy, optical_depth, tf.reduce_mean(lit, axis=-1)


def examples(scenes, *, light, value_range=None, difficulty=1.0, patch_px, seed=0):
    """Cut ground into patches, and put a third each under thin, broken and opaque cloud.

    Args:
        scenes, light, value_range, difficulty: as of `dataset`.
        patch_px: side of a patch.
        seed: of the clouds, and of which patch gets which kind.

    Returns:
        Examples.

    Raises:
        ValueError: as of `dataset`, or there is not one whole patch without no-data pixels.
    """
    bands = scenes[0].bands
    value_range = _checked(bands, difficulty, value_range, light)
    clear = np.stack([patch.pixels for patch in whole_patches(scenes, patch_px)]).astype("float32")
    kinds = np.random.default_rng(seed).permutation(np.arange(len(clear)) % len(SCORED))
    numbers = -1 - np.arange(len(clear))  # training counts upwards: no cloud comes in both

    def cloud(clear, kind, number):
        key = tf.stack([seed, number])
        return _clouded(clear, bands, kind, key, light=light, difficulty=difficulty)

    parts = tf.data.Dataset.from_tensor_slices((clear, kinds, numbers)).map(cloud)
    cloudy, optical_depth, shadow = map(np.stack, zip(*parts.as_numpy_iterator(), strict=True))
    transmittance = np.exp(-optical_depth * extinction(bands).max())
    return Examples(
        cloudy=to_unit(cloudy, value_range),
        clear=to_unit(clear, value_range),
        optical_depth=optical_depth,
        transmittance=transmittance,
        shadow=shadow,
        kind=np.array(KINDS)[kinds],
        cover=(transmittance < CLEAR).mean(axis=(1, 2), dtype="float32"),
    )


def without_cloud(scene, coastal, level=2000):
    """Leave out ground under real cloud: where coastal blue is bright over more than a few pixels.

    Args:
        scene: Scene, Sentinel-2, reflectance x 10,000.
        coastal: Scene of the coastal-blue band, 60 m, of the same ground.
        level: what is brighter there counts as cloud, and so does what lies within 480 m.

    Returns:
        Scene with no data under and around clouds.
    """
    # a roof is bright, too, but small
    bright = ndimage.binary_opening(coastal.pixels[..., 0] > level, iterations=2)
    size = scene.height // coastal.height
    clouded = np.kron(ndimage.binary_dilation(bright, iterations=8), np.ones((size, size))) > 0
    return replace(scene, pixels=np.where(clouded[..., None], np.nan, scene.pixels))


def extinction(bands):
    """Return EXTINCTION of each band, float32 (bands,); 1 for names that it does not know."""
    return np.array([EXTINCTION.get(band, 1.0) for band in bands], "float32")


def dark_object(cloudy, dark):
    """Subtract from each band the excess of its darkest pixels: a baseline without learning.

    Args:
        cloudy: float (..., height, width, bands).
        dark: per band, the first percentile of clear training ground, same unit; the darkest pixels
            of a patch are their first percentile, too.

    Returns:
        float32 array, same shape and unit.

    Source: dark-object subtraction, Chavez 1988.
    """
    haze = np.percentile(cloudy, 1, axis=(-3, -2), keepdims=True) - np.asarray(dark)
    return (cloudy - np.maximum(haze, 0)).astype("float32")


def _checked(bands, difficulty, value_range, light):
    """Return the value range; a ValueError tells of values that do not fit the bands."""
    if not 0 <= difficulty <= 2:
        raise ValueError(f"difficulty is {difficulty}; expected 0 (no cloud) to 2")
    value_range = value_range or [REFLECTANCE] * len(bands)
    if {len(value_range), len(bands if light is None else light)} != {len(bands)}:
        told = f"value range {value_range} and light {light} do not fit"
        raise ValueError(f"{told}: expected one entry for each of the bands {', '.join(bands)}")
    return value_range
