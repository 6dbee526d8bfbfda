"""Notebook 05 on pairs of one's own, and in the other direction; what it promises on the embedded pair."""

import numpy as np
import pytest
from PIL import Image

from helpers import paths, scenes
from helpers.acquire import download, packs
from helpers.pairs import maps
from tests.notebook_runs import run_apart

pytestmark = pytest.mark.skipif(bool(packs.missing("blue_marble")), reason="the pack blue_marble is not fetched")
SMALL = ("tile_px=64", "patch_px=64", "steps=2", "pixel_steps=2", "adversarial_steps=2")


EDGES = ("west", "south", "east", "north")


@pytest.fixture(scope="module")
def tiles():
    """Six tiles of each split of the embedded pair, those with most classes; they do not overlap."""
    ground = maps.open_maps(tile_px=64, stride_px=64)
    return {split: sorted(found, key=lambda tile: -len(np.unique(tile.classes)))[:6] for split, found in ground.items()}


@pytest.fixture
def data_set(tmp_path, tiles):
    """A data set folder as notebook 01 writes it: a manifest with the roles satellite and map, and credits."""
    rows = []
    for split, found in tiles.items():
        for number, tile in enumerate(found):
            for role in ("satellite", "map"):
                path = f"{role}_{split}_{number}.png"
                Image.fromarray(getattr(tile, role)).save(tmp_path / path)
                row = {"path": path, "pair": f"{split}{number}", "role": role, "split": split, "crs": "EPSG:4326"}
                rows.append(row | {edge: getattr(tile, edge) for edge in EDGES} | {"credit": f"Survey of {role}s"})
    download.write_manifest(tmp_path, rows)
    return tmp_path


@pytest.fixture
def side_by_side(tmp_path, tiles):
    """A folder as the public sets of pix2pix have them, but with the map on the left; too many colours for a legend."""
    noise = np.random.default_rng(0)
    for number, tile in enumerate(sum(tiles.values(), [])):
        drawn = np.clip(tile.map + noise.normal(0, 5, tile.map.shape), 0, 255).astype("uint8")
        Image.fromarray(np.concatenate([drawn, tile.satellite], axis=1)).save(tmp_path / f"{number:02}.png")
    return tmp_path


def scores_of(folder):
    return {row["method"]: row for row in paths.read_json(folder / "metrics.json")["scores"]}


def test_a_data_set_of_pairs_becomes_classes(data_set, tmp_path):
    folder = run_apart("05", tmp_path / "runs", f"source={data_set}", *SMALL)
    rows = scores_of(folder)
    assert rows["classes"]["headline"] and set(rows) == {
        "colour_balanced",
        "colour",
        "colour_weighted",
        "colour_voted",
        "classes",
        "pixel_loss",
        "pix2pix",
    }
    colours = {name.removeprefix("iou_") for row in rows.values() for name in row if name.startswith("iou_")}
    known = {f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in maps.LEGEND.values()}
    assert len(colours) > 3 and colours <= known  # the colours of these maps are their legend
    assert paths.read_json(folder / "credits.json") == ["Survey of maps", "Survey of satellites"]


def test_the_other_direction_paints_satellite_images(side_by_side, tmp_path):
    folder = run_apart("05", tmp_path / "runs", f"source={side_by_side}", "left=map", "direction=map_satellite", *SMALL)
    rows = scores_of(folder)
    assert rows["pixel_loss"]["headline"] and set(rows) == {"colour", "pixel_loss", "pix2pix"}
    for row in rows.values():
        assert np.isfinite([row["mae"], row["psnr_db"], row["kid_random"]]).all() and "mean_iou" not in row
    assert rows["pix2pix"]["gain_over"] == "colour"
    assert paths.read_json(folder / "model.json")["task"] == "map to satellite"
    translated = scenes.read(folder / "translated.tif")
    assert translated.dtype == "uint8" and translated.pixels.shape == (64, 64, 3)
