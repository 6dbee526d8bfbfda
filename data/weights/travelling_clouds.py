"""Simulate ground and clouds of all kinds, to train cloud removers that travel.

Outlines and texture are those of real ground; its reflectance becomes that of published surfaces.
Clouds are those of `helpers.pairs.clouds` with wider limits, and cast shadows from outside the image.
"""

import numpy as np

from helpers.backend import tf
from helpers.pairs import clouds
from helpers.pairs.clouds import LIMIT, WAVELENGTH_UM, between, levels, uniform
from helpers.pairs.patches import patches

MEASURED_UM = (0.49, 0.56, 0.66, 0.84, 1.61, 2.19)
# From frequent to rare. Typical reflectance at these wavelengths, rounded, of plants, soils, stone,
# water and ice as in the spectral libraries of USGS (Kokaly et al. 2017, doi:10.3133/ds1035) and
# ECOSTRESS (Meerdink et al. 2019).
SURFACES = {
    "meadow": (0.04, 0.09, 0.05, 0.45, 0.23, 0.11),
    "wheat": (0.03, 0.06, 0.03, 0.36, 0.16, 0.07),
    "broad leaves": (0.03, 0.06, 0.03, 0.30, 0.15, 0.06),
    "needles": (0.02, 0.03, 0.02, 0.18, 0.08, 0.03),
    "dry grass": (0.08, 0.13, 0.18, 0.30, 0.36, 0.26),
    "wet soil": (0.04, 0.06, 0.08, 0.13, 0.17, 0.13),
    "dry soil": (0.11, 0.17, 0.24, 0.32, 0.42, 0.38),
    "sand": (0.18, 0.27, 0.36, 0.45, 0.54, 0.52),
    "concrete": (0.21, 0.25, 0.28, 0.31, 0.34, 0.32),
    "asphalt": (0.07, 0.08, 0.09, 0.11, 0.14, 0.14),
    "tiles": (0.06, 0.09, 0.21, 0.28, 0.34, 0.30),
    "water": (0.04, 0.03, 0.02, 0.01, 0.005, 0.003),
    "turbid water": (0.07, 0.09, 0.09, 0.04, 0.01, 0.005),
    "salt": (0.45, 0.52, 0.57, 0.61, 0.52, 0.40),
    "old snow": (0.68, 0.67, 0.64, 0.53, 0.07, 0.05),
    "snow": (0.93, 0.93, 0.92, 0.83, 0.13, 0.08),
    "burnt": (0.03, 0.04, 0.05, 0.08, 0.15, 0.15),
}

# Shadows may lie further off and be darker than at home, most of all at long waves, which the sky does not
# light; rims may be five times as sharp; one cloud in ten has no gap.
DISTANCE, DARKEST = (0.06, 0.45), (0.3, 0.95)
RIM_WIDTH, NO_GAP = (0.2, 1.0), 0.1
LIGHT = (0.25, 1.0)  # reflectance of opaque clouds: low winter sun, top of a thunderstorm
SLOPE = 1.0  # largest exponent of the wavelength for the light of clouds
# Clouds outside the image: how often, over which share of the patch, how deep the cloud is, and how often
# there is no other cloud.
FAR, FAR_COVER, FAR_DEPTH, FAR_ALONE = 0.5, (0.3, 1.4), (0.7, 6.0), 0.3
# The sky lights a shadow: its share of all light at 0.56 um, and how fast that falls with wavelength. No
# shadow dims the air before it: its largest reflectance at 0.56 um.
SKY, SKY_SLOPE, AIR = (0.0, 0.45), (0.5, 2.0), 0.03


def dataset(scenes, *, value_range=clouds.UNIT, skew=0.15, **stream):
    """Stream training pairs as `clouds.dataset`, of ground and clouds of all kinds.

    A quarter of the patches stay clear. Pixels are reflectance x 10,000.
    """
    bands = scenes[0].bands

    def pair(patch, key):
        return simulate(patch, key, bands=bands, value_range=value_range, skew=skew)

    return patches(scenes, augment=pair, **stream)


def simulate(patch, key, *, bands, value_range, skew):
    """Turn one patch of clear ground into a training pair; see `dataset` and `clouds.simulate`."""
    draws = uniform(key, 3, 7)
    clear = clouds.skewed(patch, skew * (2 * draws[0] - 1))
    clear = 1e4 * varied(clear / 1e4, bands, key)
    relative_um = np.array([WAVELENGTH_UM[band] / 0.56 for band in bands], "float32")
    # the cloud, its own shadow, and that of a cloud outside the image
    kind = tf.cast(draws[1] * len(clouds.KINDS), tf.int32)
    more, size_px = uniform(key, 5, 2), clear.shape[0]
    optical_depth, shadow = clouds.draw(
        size_px, kind, between(0.1, 2.0, draws[4]), key, distance=DISTANCE, darkest=DARKEST,
        no_gap=more[0] < NO_GAP, rim_width=between(*RIM_WIDTH, more[1]),
    )  # fmt: skip
    far, alone = far_shadow(size_px, key)
    stays_clear = draws[2] < 1 / 4
    shadow = tf.where(stays_clear, 1.0, tf.minimum(shadow, far))
    optical_depth = tf.where(alone | stays_clear, 0.0, optical_depth)
    # the side of a cloud that faces the sun is brighter; it is thin where its shadow comes from
    light = 1e4 * between(*LIGHT, draws[3]) * relative_um ** (SLOPE * (2 * draws[5] - 1))
    relief = 0.3 * draws[3] * (shadow - tf.exp(-optical_depth))
    light = clouds.cloud_light(light, optical_depth, key, relief)
    # sky and air brighten the shadow
    share, slope, haze = tf.unstack(uniform(key, 9, 3))
    sky = between(*SKY, share) * relative_um ** -between(*SKY_SLOPE, slope)
    lit = shadow[..., None] + (1 - shadow[..., None]) * sky
    darkest = tf.maximum(tf.reduce_min(clear, axis=(0, 1)), 0.0)  # less than 0 by an offset
    air = tf.minimum(1e4 * AIR * haze * relative_um**-2, 0.8 * darkest)
    dimmed = lit + (1 - lit) * air / tf.maximum(clear, 1.0)
    cloudy = clouds.composite_cloud(clear, optical_depth, dimmed, clouds.extinction(bands), light)
    return clouds.training_pair(clear, cloudy, optical_depth, tf.reduce_mean(lit, axis=-1), value_range)


def far_shadow(size_px, key):
    """Draw the light that a cloud outside the image leaves, and whether there is no other cloud."""
    draws = uniform(key, 8, 5)
    kind = clouds.KINDS.index("opaque")
    field = clouds.turbulence(size_px, kind, tf.random.fold_in(key, 7))[:size_px, :size_px]
    clear = tf.maximum(1 - between(*FAR_COVER, draws[0]), 0)
    edge, top = levels(field, clear, 1.0)
    inside = (field - edge) / (0.4 * tf.maximum(top - edge, 1e-9))
    inside = tf.clip_by_value(inside, tf.where(clear > 0, 0.0, 0.4), 1)  # no rim without a gap
    taken = between(*DARKEST, draws[2]) * (1 - tf.exp(-between(*FAR_DEPTH, draws[1]) * inside))
    is_far = draws[3] < FAR
    return tf.where(is_far, 1 - taken, 1.0), is_far & (draws[4] < FAR_ALONE)


def spectra(bands):
    """Interpolate the reflectance of SURFACES to bands: float32 (surfaces, bands)."""
    at = [WAVELENGTH_UM[band] for band in bands]
    return np.array([np.interp(at, MEASURED_UM, each) for each in SURFACES.values()], "float32")


def varied(patch, bands, key):
    """Give a patch other ground.

    A quarter of the patches stay, a quarter get brighter or darker by band, half get other
    surfaces: three of SURFACES, mixed by two random planes through the patch's own bands, so that
    outlines and texture stay those of real ground. Sun and haze are drawn, too.

    Args:
        patch: float32 (height, width, bands), reflectance.
        bands: their names, of WAVELENGTH_UM.
        key: int64 (2,); the same key gives the same ground.

    Returns:
        float32 tensor of the same shape, 0 to 1.2.
    """
    count = len(bands)
    draws = tf.random.stateless_uniform([11 + 6 * count], tf.random.fold_in(key, 6))
    own, draws = draws[:11], tf.reshape(draws[11:], (6, count))
    mean, deviation = (part[0, 0] for part in tf.nn.moments(patch, (0, 1), keepdims=True))
    normal = (patch - mean) / tf.sqrt(deviation + 1e-8)
    planes = tf.tensordot(normal, 2 * tf.transpose(draws[:2]) - 1, 1)
    planes /= tf.math.reduce_std(planes, (0, 1)) + 1e-4
    # how sharp the border between two surfaces is, and how much of the third there is
    shares = tf.sigmoid((0.5 + 2.5 * own[0]) * (planes - tf.stack([0.0, 3 * own[1]])))[..., None]
    chosen = tf.gather(spectra(bands), tf.cast(own[2:5] ** 1.5 * len(SURFACES), tf.int32))
    chosen *= (0.92 + 0.16 * draws[2:5]) * (0.7 + 0.6 * own[8:, None])
    first, second, third = tf.unstack(chosen)
    mixed = first + shares[..., 0, :] * (second - first)
    mixed += shares[..., 1, :] * (third - mixed)
    scaled = patch * (0.7 + 1.3 * own[5]) * (0.9 + 0.2 * draws[5])
    relative_um = np.array([WAVELENGTH_UM[band] for band in bands], "float32") / 0.56
    haze = 0.05 * own[6] * relative_um**-2
    ground = tf.where(own[7] < 0.25, scaled, mixed)
    ground = tf.clip_by_value(ground + haze, 0, LIMIT)
    return tf.where(own[7] > 0.75, patch, ground)
