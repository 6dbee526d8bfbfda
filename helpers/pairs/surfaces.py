"""Paint ground of all kinds: outlines of real ground, with published reflectance of surfaces."""

import numpy as np

from helpers.backend import tf

WAVELENGTH_UM = {
    "coastal": 0.443, "blue": 0.49, "green": 0.56, "red": 0.66, "rededge1": 0.705,
    "rededge2": 0.74, "rededge3": 0.783,
    "nir": 0.84, "nir08": 0.865, "nir09": 0.945, "cirrus": 1.375, "swir16": 1.61, "swir22": 2.19,
}  # fmt: skip
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
LIMIT = 1.2  # largest reflectance of anything


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
