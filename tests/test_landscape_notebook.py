"""Notebook 06 on a folder of photos that say where they were taken: rendered views as JPEG."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers import paths, scenes
from helpers.acquire import packs
from helpers.pairs import views
from tests.notebook_runs import run_apart

pytestmark = pytest.mark.skipif(
    bool(packs.missing("rocky_mountain")), reason="the pack rocky_mountain is not fetched: python -m helpers fetch"
)
SMALL = ("image_size=64", "batch_size=8", "gan_steps=2", "encoder_steps=2", "ceiling_steps=1", "landscapes_drawn=16")


def photo(path, pixels, lon, lat, heading_deg):
    """Save a picture whose EXIF says where it was taken, if that is known."""
    exif = Image.Exif()
    if lon is not None:
        place = exif.get_ifd(0x8825)
        for tag, value, signs in ((1, lat, "NS"), (3, lon, "EW")):
            minutes, seconds = divmod(round(abs(value) * 3600, 4), 60)
            place[tag], place[tag + 1] = signs[value < 0], (*map(float, divmod(minutes, 60)), seconds)
        place[16], place[17] = "T", float(heading_deg)
    Image.fromarray(pixels).save(path, quality=92, exif=exif)


@pytest.fixture
def folder(tmp_path):
    """Thirty rendered views as photos, one without a position, one far away; and the imagery."""
    image = packs.open_scene("rocky_mountain", "image")
    white = replace(image, pixels=np.nan_to_num(image.pixels, nan=255))  # as the views show it
    scenes.write(white.cut(0, 0, 373, 485), tmp_path / "imagery.tif")
    (tmp_path / "photos").mkdir()
    for split, count, northern in (("test", 20, True), ("validation", 32, True), ("train", 40, False)):
        pairs = views.render(split, count)  # which the smoke run of the lesson renders, too
        apart = pairs.table.sort_values("y_m", ascending=northern)[:10]  # three places, far apart
        for row in apart.itertuples():
            name = tmp_path / "photos" / f"{split}_{row.Index}.jpg"
            photo(name, pairs.views[row.Index], row.lon, row.lat, row.heading_deg)
    photo(tmp_path / "photos" / "nowhere.jpg", pairs.views[0], None, None, 0)
    photo(tmp_path / "photos" / "far.jpg", pairs.views[1], 12.5, 41.9, 0)
    return tmp_path


def test_landscapes_are_learned_from_photos_that_say_where_they_were_taken(folder):
    values = f"source={folder / 'photos'}", f"imagery={folder / 'imagery.tif'}"
    result = run_apart("06", folder / "runs", *values, *SMALL)
    rows = {row["method"]: row for row in paths.read_json(result / "metrics.json")["scores"]}
    assert set(rows) == {"random_view", "nearest_patch", "ceiling", "averaging_encoder", "matching_encoder"}
    assert rows["matching_encoder"]["headline"]
    assert np.isfinite([row["psnr_db"] for row in rows.values()]).all()
    executed = (result / "06_landscape_generation.ipynb").read_text(encoding="utf-8")
    assert int(re.search(r"(\d+) photos left out", executed)[1]) >= 2
    assert "no position" in executed and "outside the imagery" in executed
    assert (result / "walk.gif").stat().st_size > 10_000
