"""Notebook 05 on pairs of one's own: a data set of notebook 01, and pictures as the sets of pix2pix have them."""

import numpy as np
import pytest
from PIL import Image

from helpers import paths, scenes
from helpers.acquire import download, packs
from helpers.pairs import maps
from tests.notebook_runs import run_apart

pytestmark = pytest.mark.skipif(
    any(packs.missing(name) for name in ("blue_marble", "land_cover", "imagenet_features")),
    reason="needs: python -m helpers fetch blue_marble land_cover imagenet_features",
)
SMALL = ("tile_px=64", "steps=2", "unet_steps=2", "pix2pix_steps=2", "painting_steps=2")
EDGES = ("west", "south", "east", "north")
ROLES = ("satellite", "map")


@pytest.fixture(scope="module")
def earth():
    return maps.earth()


def pictures(pair):
    """Satellite image and map of a pair, uint8."""
    satellite, drawn, _ = maps.arrays([pair], maps.LEGEND)
    return [np.rint(255 * each[0]).astype("uint8") for each in (satellite, drawn)]


@pytest.fixture
def data_set(tmp_path, earth):
    """A data set folder as notebook 01 writes it: a manifest with the roles satellite and map, and credits."""
    rows = []
    for number in range(12):
        pair = earth.cut(500 + 80 * number, 2980, 64, 64)  # from Poland to the Congo
        split = "train" if number < 7 else "validation" if number < 9 else "test"
        for role, pixels in zip(ROLES, pictures(pair), strict=True):
            path = f"{role}_{number}.png"
            Image.fromarray(pixels).save(tmp_path / path)
            row = {"path": path, "pair": f"p{number}", "role": role, "split": split, "crs": "EPSG:4326"}
            rows.append(row | dict(zip(EDGES, pair.bounds, strict=True)) | {"credit": f"Survey of {role}s"})
    download.write_manifest(tmp_path, rows)
    return tmp_path


@pytest.fixture
def side_by_side(tmp_path, earth):
    """Pictures of 512 x 256 pixels, aerial photo left, map right, in train and val; too many colours for a legend."""
    noise = np.random.default_rng(0)
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


MODELS = {"unet", "pix2pix", "transfer", "pixel_loss", "transfer_pix2pix"}


def test_a_data_set_of_pairs_becomes_classes(data_set):
    """What the notebook begins from; the run below is of pictures without classes."""
    ground, legend, credits, whole = maps.open_pairs(data_set, tile_px=64)
    assert {split: len(tiles) for split, tiles in ground.items()} == {"train": 7, "validation": 2, "test": 3}
    known = {f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in maps.LEGEND.values()}
    assert len(legend) > 3 and set(legend) <= known  # the colours of these maps are their legend
    assert credits == ["Survey of satellites; Survey of maps"] and whole is None


def test_pictures_side_by_side_without_a_legend(side_by_side, tmp_path):
    folder = run_apart("05", tmp_path / "runs", f"source={side_by_side}", *SMALL)
    rows = scores_of(folder)
    assert rows["transfer"]["headline"] and set(rows) - MODELS == {"colour", "colour_averaged"}
    for row in rows.values():
        assert np.isfinite([row["mae"], row["psnr_db"], row["kid_imagenet"]]).all() and "mean_iou" not in row
    assert rows["transfer"]["gain_over"] in ("colour", "colour_averaged")
    translated = scenes.read(folder / "translated.tif")
    assert translated.dtype == "uint8" and translated.pixels.shape == (64, 64, 3)
