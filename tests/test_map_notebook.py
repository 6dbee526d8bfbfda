"""What notebook 05 begins from, on a data set of notebook 01; tests/benchmarks/own_folders.py runs it on pictures."""

import numpy as np
import pytest
from PIL import Image

from helpers.acquire import download, packs
from helpers.pairs import folders, legends, maps

pytestmark = pytest.mark.skipif(
    any(packs.missing(name) for name in ("blue_marble", "land_cover", "imagenet_features")),
    reason="needs: python -m helpers fetch blue_marble land_cover imagenet_features",
)
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


def test_a_data_set_of_pairs_becomes_classes(data_set):
    """Its colours are those of the legend, and its credits are kept."""
    ground = folders.read_pairs(data_set, folders.MAPS, block_px=64, buffer_px=16)
    ground, legend = legends.classified(ground, data_set)
    assert {split: len(tiles) for split, tiles in ground.items()} == {"train": 7, "validation": 2, "test": 3}
    known = {f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in maps.LEGEND.values()}
    assert len(legend) > 3 and set(legend) <= known  # the colours of these maps are their legend
    credits = {pair.credit for pairs in ground.values() for pair in pairs}
    assert credits == {"Survey of satellites; Survey of maps"}
