"""Notebooks on folders of images of other kinds, run end to end by papermill in profile smoke."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers import models, paths, scenes, show, training
from helpers.acquire import packs, sources
from helpers.pairs import resolution
from tests.notebook_runs import run_apart

pytestmark = pytest.mark.skipif(
    any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched: python -m helpers fetch"
)


def test_grey_pictures_without_a_place_are_ground_for_super_resolution(tmp_path):
    """A folder without a manifest, as notebook 02 opens it; the tiles of notebook 01 are one in colour."""
    image = packs.open_scene("blue_marble", "image").cut(500, 2600, 256, 512).pixels.astype("uint8")
    for number in range(8):
        tile = image[number // 4 * 128 :, number % 4 * 128 :][:128, :128]
        Image.fromarray(tile[..., 0]).save(tmp_path / f"{number}.png")
    ground = sources.open_ground(str(tmp_path), block_px=128, buffer_px=16, seed=0)
    settings = {"value_range": scenes.value_range(ground["train"]), "scale": 4, "patch_px": 32}
    low_res, high_res = resolution.arrays(ground["test"], **settings)
    assert low_res.shape == (len(high_res), 8, 8, 1) and not any(scene.crs for scene in ground["train"])
    made = training.predict(models.srcnn(1), resolution.upsample(low_res, 4).numpy())
    assert made.shape == high_res.shape and np.isfinite(made).all()
    assert show.grid([low_res[0], made[0], high_res[0]], credit="NASA").axes


def two_days(folder):
    """A folder of cloudy and clear images: every third row of ground under a veil that is brighter than it."""
    ground = packs.open_scene("sentinel2_brandenburg", "10m", ["nir", "red", "green"]).cut(368, 0, 384, 384)
    for number, clear in enumerate(ground.patches(64, stride=80)):
        veiled = np.where(np.arange(64)[:, None, None] % 3 == 0, clear.pixels * 0.5 + 2000, clear.pixels)
        for role, scene in (("clear", clear), ("cloudy", replace(clear, pixels=veiled))):
            scenes.write(scene, folder / role / f"{number}.tif")
    return folder


def test_cloud_removal_learns_from_a_folder_of_two_days(tmp_path):
    """All scores but those of thin and opaque pixels, which nobody knows; the veil counts in the baseline's."""
    result = run_apart("04", tmp_path / "runs", f"source={two_days(tmp_path / 'days')}")
    rows = paths.read_json(result / "metrics.json")["scores"]
    rows = {row["method"]: row for row in rows if row["split"] == "test"}
    assert set(rows) == {"cloudy", "dark_object", "mean_ground", "pixel_loss", "conditional_gan"}
    assert 0 < rows["cloudy"]["psnr_db"] < 25 and "gain_psnr_db_low" in rows["conditional_gan"]
    assert not any("thin" in name or "opaque" in name for row in rows.values() for name in row)
