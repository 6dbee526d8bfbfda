"""Notebook 06 on photos of one's own: a small folder of pictures that say where they were taken."""

import re

import numpy as np
import pytest
from PIL import Image

from helpers import paths, scenes
from helpers.acquire import packs
from tests.notebook_runs import run_apart

pytestmark = pytest.mark.skipif(
    bool(packs.missing("rocky_mountain")), reason="the pack rocky_mountain is not fetched: python -m helpers fetch"
)
SMALL = ("image_size=64", "batch_size=8", "gan_steps=2", "encoder_steps=2", "ceiling_steps=1")


def photo(path, lon, lat, heading_deg, seed):
    """A picture of noise below a sky; its EXIF says where it was taken, if that is known."""
    pixels = np.random.default_rng(seed).integers(0, 255, (72, 96, 3), dtype="uint8")
    pixels[: 20 + seed] = (90, 140, 230)
    exif = Image.Exif()
    if lon is not None:
        place = exif.get_ifd(0x8825)
        for tag, value, signs in ((1, lat, "NS"), (3, lon, "EW")):
            minutes, seconds = divmod(round(abs(value) * 3600, 4), 60)
            place[tag], place[tag + 1] = signs[value < 0], (*map(float, divmod(minutes, 60)), seconds)
        place[16], place[17] = "T", float(heading_deg)
    Image.fromarray(pixels).save(path, exif=exif)


@pytest.fixture
def folder(tmp_path):
    """Thirty photos over the Rocky Mountains in three places, one without a position, one far away; and the imagery."""
    image = packs.open_scene("rocky_mountain", "image")
    scenes.write(image.cut(0, 0, 373, 485), tmp_path / "imagery.tif")
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(30):
        lat = 40.15 + 0.15 * (number % 3) + random.uniform(-0.01, 0.01)
        photo(tmp_path / "photos" / f"{number:02}.jpg", -105.85 + 0.012 * number, lat, 10 * number, number)
    photo(tmp_path / "photos" / "nowhere.jpg", None, None, 0, 1)
    photo(tmp_path / "photos" / "far.jpg", 12.5, 41.9, 0, 2)
    return tmp_path


def test_landscapes_are_learned_from_photos_that_say_where_they_were_taken(folder):
    values = f"source={folder / 'photos'}", f"imagery={folder / 'imagery.tif'}"
    result = run_apart("06", folder / "runs", *values, *SMALL)
    rows = {row["method"]: row for row in paths.read_json(result / "metrics.json")["scores"]}
    assert set(rows) == {"random_view", "nearest_patch", "ceiling", "ridge", "encoder"}
    assert rows["encoder"]["headline"] and not [name for name in rows["encoder"] if "identification" in name]
    assert np.isfinite([row["psnr_db"] for row in rows.values()]).all()
    executed = (result / "06_landscape_generation.ipynb").read_text(encoding="utf-8")
    assert int(re.search(r"(\d+) photos left out", executed)[1]) >= 2
    assert "no position" in executed and "outside the imagery" in executed
    assert (result / "walk.gif").stat().st_size > 10_000
