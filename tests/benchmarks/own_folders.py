"""`pytest tests/benchmarks/own_folders.py`: notebooks 03, 05 and 06 from top to end on images of one's own, in smoke.

03 gets what two sensors saw; 05 gets pairs side by side, as the sets of pix2pix have them; 06 gets photos with a place
(rendered views as JPEG). Each takes about half a minute. How such folders are read is tested by
`make test`.
"""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers import paths, scenes
from helpers.acquire import download, packs
from helpers.pairs import maps, resolution, views
from tests.notebook_runs import run_apart
from tests.test_map_notebook import pictures

SMALL_05 = ("tile_px=64", "every=1", "steps=2", "pix2pix_steps=2", "painting_steps=2")
MODELS = ("pix2pix", "transfer", "pixel_loss", "transfer_pix2pix")
SMALL_06 = ("image_size=64", "batch_size=8", "gan_steps=2", "encoder_steps=2", "ceiling_steps=1", "landscapes_drawn=16")


@pytest.fixture
def side_by_side(tmp_path):
    """Pictures of 512 x 256 pixels, aerial photo left, map right, in train and val; too many colours for a legend."""
    earth, noise = maps.earth(), np.random.default_rng(0)
    for number, split in enumerate(("train", "train", "val")):
        (tmp_path / split).mkdir(exist_ok=True)
        satellite, drawn = pictures(earth.cut(300 + 620 * number, 2700, 256, 256))
        drawn = np.clip(drawn + noise.normal(0, 5, drawn.shape), 0, 255).astype("uint8")
        both = Image.fromarray(np.concatenate([satellite, drawn], axis=1))
        assert both.size == (512, 256)
        both.save(tmp_path / split / f"{number}.jpg", quality=90)
    return tmp_path


def scores_of(folder):
    return {row["method"]: row for row in paths.read_json(folder / "metrics.json")["scores"]}


def test_pictures_side_by_side_without_a_legend(side_by_side, tmp_path):
    folder = run_apart("05", tmp_path / "runs", f"source={side_by_side}", *SMALL_05)
    rows = scores_of(folder)
    assert rows["transfer"]["headline"] and set(rows) == {"colour", "colour_averaged", *MODELS}
    for row in rows.values():
        assert np.isfinite([row["mae"], row["psnr_db"], row["kid_imagenet"]]).all() and "mean_iou" not in row
    assert rows["transfer"]["gain_over"] in ("colour", "colour_averaged")
    translated = scenes.read(folder / "translated.tif")
    assert translated.dtype == "uint8" and translated.pixels.shape == (64, 64, 3)


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
def photos(tmp_path):
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


def test_landscapes_are_learned_from_photos_that_say_where_they_were_taken(photos):
    values = f"source={photos / 'photos'}", f"imagery={photos / 'imagery.tif'}"
    result = run_apart("06", photos / "runs", *values, *SMALL_06)
    rows = {row["method"]: row for row in paths.read_json(result / "metrics.json")["scores"]}
    assert set(rows) == {"random_view", "nearest_patch", "ceiling", "averaging_encoder", "matching_encoder"}
    assert rows["matching_encoder"]["headline"]
    assert np.isfinite([row["psnr_db"] for row in rows.values()]).all()
    executed = (result / "06_landscape_generation.ipynb").read_text(encoding="utf-8")
    assert int(re.search(r"(\d+) photos left out", executed)[1]) >= 2
    assert "no position" in executed and "outside the imagery" in executed
    assert (result / "walk.gif").stat().st_size > 10_000


def two_sensors(folder):
    """A folder with the roles low and high; the coarse images in another unit than the fine ones."""
    rows, fine = [], packs.open_scene("sentinel2_brandenburg").cut(400, 0, 256, 512)
    for number, tile in enumerate(fine.patches(64)):
        coarse = resolution.shrink_scene(tile, 2)
        for role, scene in (("high", tile), ("low", replace(coarse, pixels=coarse.pixels * 0.5 + 100))):
            scenes.write(scene, folder / f"{role}_{number:02}.tif")
            row = {"path": f"{role}_{number:02}.tif", "pair": f"{number:02}", "role": role, "crs": str(scene.crs)}
            rows.append(row | dict(zip(("west", "south", "east", "north"), scene.bounds, strict=True)))
    download.write_manifest(folder, rows)
    download.split_manifest(folder)
    return folder


def test_multispectral_super_resolution_learns_from_two_sensors(tmp_path):
    result = run_apart("03", tmp_path / "runs", f"source={two_sensors(tmp_path / 'sensors')}", "scale=2")
    (executed,) = result.glob("03*.ipynb")
    gain = re.search(r"gain \[([-. 0-9]*)\]", executed.read_text())
    assert [float(value) for value in gain[1].split()] == pytest.approx([2] * 4, abs=0.02)
