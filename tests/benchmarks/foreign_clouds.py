"""`python -m tests.benchmarks.foreign_clouds MODEL`: does a cloud remover travel?

It is tried on ground that no training draws, clear and under thin cloud, by kind of ground: clear
Landsat dates from spring to autumn, fields and shores of Itaipu, snow and sand, and Brandenburg in
winter (real) and in summer (made from it). The clouds are made here, not by `helpers.pairs.clouds`.
Settings are chosen on `--split validation`: other ground of the same kinds; of Landsat, other dates
of the same site.
"""

import argparse
from datetime import date

import numpy as np
import pandas as pd
from scipy import ndimage

from helpers import metrics, scenes
from helpers.acquire import packs
from helpers.apply.network import load_model
from helpers.pairs import clouds

SIDE = 48  # pixels; the Landsat site has 61
PATCHES = 8  # of each kind
MARGIN = 32  # pixels of the mirror image that a network is shown beyond the edge
CLEAR_DB, GAIN_DB, MOST = 35, 3, 0.95
SEASONS = {"winter": (12, 1, 2, 3), "spring": (4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}
# reflectance in green, red, near and short-wave infrared, rounded: fresh and old snow after Wiscombe
# and Warren 1980, dune sand and pale gravel after the spectral libraries of USGS and ECOSTRESS
BRIGHT = {
    "snow": ((0.94, 0.93, 0.84, 0.12), (0.66, 0.64, 0.52, 0.06)),
    "sand": ((0.30, 0.40, 0.48, 0.56), (0.19, 0.26, 0.33, 0.41)),
}
BANDS = ("green", "red", "nir", "swir16")


def landsat(split):
    """Yield (kind, patch) of the clear dates of the Landsat site; green is worked out from red and near infrared."""
    clear = []
    for scene in packs.open_scenes("landsat_timeseries"):
        classes = scene.select(["fmask"]).pixels[..., 0]
        if scene.valid.all() and np.isin(classes, (2, 4, 255)).mean() < 0.01:
            clear.append(scene)
    for scene in clear[split == "test" :: 2]:
        day = date.fromisoformat(scene.name.split()[-1])
        season = next(name for name, months in SEASONS.items() if day.month in months)
        red, nir, swir = np.moveaxis(np.minimum(scene.select(["red", "nir", "swir16"]).pixels / 1e4, 1.1), -1, 0)
        bright = np.clip((red - 0.25) / 0.25, 0, 1)  # snow is as bright in green as in red
        green = (1 - bright) * (0.02 + 0.5 * red + 0.06 * nir) + bright * red
        ground = np.stack([green, red, nir, swir], axis=-1)
        for row, column in ((0, 0), (13, 13)):
            yield f"Landsat, {season}", ground[row : row + SIDE, column : column + SIDE]


def itaipu(split):
    """Yield (kind, patch) of Itaipu: red and green are real, infrared follows from how green it is."""
    name, rows = ("224077", slice(0, 340)) if split == "validation" else ("224078", slice(1200, None))
    pixels = packs.open_scene("landsat8_itaipu", name, ["green", "red"]).pixels[rows]
    green, red = np.moveaxis((pixels - 5000) * 2e-5 / 0.62, -1, 0)  # over the sine of the sun's elevation
    ground_red, ground_green = red - 0.03, green - 0.05
    leaves = np.clip((ground_green - ground_red + 0.015) / 0.04, 0, 1)
    smooth = ndimage.generic_gradient_magnitude(ndimage.uniform_filter(green, 3), ndimage.sobel) < 0.004
    water = ndimage.binary_opening(smooth & (ground_red < 0.03), iterations=4)
    nir = np.where(water, 0.02, (1.3 * ground_red + 0.07) * (1 - leaves) + (0.36 + 2 * ground_green) * leaves)
    swir = np.where(water, 0.01, (1.5 * ground_red + 0.10) * (1 - leaves) + (0.14 + 2 * ground_red) * leaves)
    whole = np.stack([green, red, nir, swir], axis=-1).astype("float32")
    for row in range(0, len(whole) - SIDE + 1, SIDE):
        for column in range(0, whole.shape[1] - SIDE + 1, SIDE):
            place = slice(row, row + SIDE), slice(column, column + SIDE)
            wet, leafy, patch = water[place].mean(), leaves[place].mean(), whole[place]
            if not np.isfinite(patch).all():
                continue
            if 0.15 < wet < 0.85:
                yield "Itaipu, shore", patch
            elif wet < 0.01:
                yield "Itaipu, forest" if leafy > 0.85 else "Itaipu, fields", patch
            if wet < 0.01 and leafy < 0.7:
                for kind, (high, low) in BRIGHT.items():
                    lit = patch[..., 0] / np.median(patch[..., 0])
                    share = np.clip(0.6 + 1.2 * (lit - 1), 0, 1)[..., None]  # of the brighter of the two
                    yield kind, (share * high + (1 - share) * low).astype("float32")


def brandenburg(split):
    """Yield (kind, patch) of Brandenburg's held-out blocks: as they are in February, and as they may be in June."""
    names = ["green", "red", "nir"]
    whole = packs.open_scene("sentinel2_brandenburg", "10m", names)
    clear = clouds.without_cloud(whole, packs.open_scene("sentinel2_brandenburg", "60m", ["coastal"]))
    for block in scenes.split_ground([clear], block_px=96, buffer_px=8, seed=0)[split]:
        for patch in block.patches(SIDE):
            green, red, nir = np.moveaxis(patch.pixels / 1e4, -1, 0)
            swir = 0.7 * nir + 0.5 * red
            yield "Brandenburg, winter", np.stack([green, red, nir, swir], axis=-1)
            leaves = np.clip((nir - red) / (nir + red) / 0.35, 0, 1)
            june = [green - 0.02 * leaves, red - (red - 0.04) * leaves, nir + 0.30 * leaves, swir + 0.06 * leaves]
            yield "Brandenburg, summer", np.stack(june, axis=-1)


def cloud(generator):
    """Return transmittance per band (side, side, 4) of one thin cloud, and its light."""
    rows, columns = np.fft.fftfreq(2 * SIDE)[:, None], np.fft.rfftfreq(2 * SIDE)
    length = np.hypot(rows, columns * generator.choice([1, 1, 3]))  # a third of them streaks, as cirrus
    length[0, 0] = np.inf
    waves = generator.normal(size=(2, *length.shape)) * length**-1.8
    field = np.fft.irfft2(waves[0] + 1j * waves[1])[:SIDE, :SIDE]
    edge = np.quantile(field, 1 - generator.uniform(0.4, 0.9))
    depth = generator.uniform(0.3, 1.2) * np.clip((field - edge) / (field.max() - edge), 0, 1) ** 0.8
    wavelength = np.array([0.56, 0.66, 0.84, 1.61]) / 0.56
    return np.exp(-depth[..., None] * wavelength ** -generator.uniform(0, 0.4)), generator.uniform(0.4, 0.9)


def bed(split, bands):
    """Return a table of patches: kind, clear, cloudy (reflectance in `bands`), thin (where there is cloud)."""
    take, found = [BANDS.index(band) for band in bands], {}
    for source in (landsat, itaipu, brandenburg):
        for kind, patch in source(split):
            found.setdefault(kind, []).append(patch[..., take])
    generator, rows = np.random.default_rng(17), []
    for kind, patches in found.items():
        for at in np.linspace(0, len(patches) - 1, min(PATCHES, len(patches))).astype(int):
            clear, (through, light) = patches[at], cloud(generator)
            through = through[..., take]
            cloudy = clear * through + light * (1 - through)
            rows.append((kind, clear, cloudy, through.min(axis=-1) < 0.98))
    return pd.DataFrame(rows, columns=["kind", "clear", "cloudy", "thin"])


def scored(table, remove):
    """Score a function of (patches, side, side, bands) reflectance by kind of ground.

    0 to 1 is the range of the kind's own clear ground, 0.5th to 99.5th percentile, values are clipped to it.
    """
    lines = []
    for kind, rows in table.groupby("kind", sort=False):
        clear, cloudy = (np.stack(rows[name]) for name in ("clear", "cloudy"))
        low, high = np.percentile(clear, (0.5, 99.5), axis=(0, 1, 2))

        def unit(image, low=low, high=high):
            return np.clip((image - low) / (high - low), 0, 1).astype("float32")

        kept, answer = remove(clear), remove(cloudy)
        kept_db = np.minimum(metrics.psnr(unit(clear), unit(kept), data_range=1), 60)
        before, after = (metrics.psnr(unit(clear), unit(image), data_range=1) for image in (cloudy, answer))
        moved = np.abs(kept - clear).max(axis=-1) > 0.005
        lines.append((kind, len(rows), kept_db.mean(), kept_db.min(), (kept_db >= CLEAR_DB).mean(), moved.mean(),
                      before.mean(), after.mean() - before.mean()))  # fmt: skip
    columns = ["kind", "patches", "clear dB", "worst", "at 35 dB", "moved", "cloudy dB", "gain dB"]
    return pd.DataFrame(lines, columns=columns).set_index("kind")


def remover(network, value_range):
    """Return the function of reflectance that a network is; `value_range` is of reflectance x 10,000."""
    low, high = np.array(value_range, "float32").T / 1e4

    def remove(image):
        shown = ((image - low) / (high - low)).astype("float32")
        # beyond the edge the mirror image, as in `apply`
        shown = np.pad(shown, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), "symmetric")
        answer = network.predict(shown, batch_size=8, verbose=0)[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        answer = answer[..., : len(low)]  # masks may follow
        return answer * (high - low) + low

    return remove


def main():
    """Print the scores of a model by kind of ground."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name in data/weights, or a .keras file")
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    options = parser.parse_args()
    network, about = load_model(options.model)
    table = scored(bed(options.split, about["bands"]), remover(network, about["value_range"]))
    print(table.round(2).to_string())
    kept, gained = (table["at 35 dB"] * table.patches).sum() / table.patches.sum(), table["gain dB"]
    print(f"clear patches at {CLEAR_DB} dB: {kept:.0%}; bar {MOST:.0%}")
    print(f"gain on thin cloud: {np.average(gained, weights=table.patches):+.2f} dB; bar {GAIN_DB:+} dB")


if __name__ == "__main__":
    main()
