"""The test bed of foreign ground for cloud removal: its clouds, its splits and its scores."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from helpers import paths
from helpers.apply.network import load_model
from tests.benchmarks import foreign_clouds

BANDS = ["nir", "red", "green"]
bed = cache(lambda split: foreign_clouds.bed(split, BANDS))


def test_its_clouds_are_thin_and_dim_short_waves_most():
    generator = np.random.default_rng(0)
    for _ in range(20):
        through, light = foreign_clouds.cloud(generator)
        assert through.shape == (48, 48, 4) and through.min() >= 0.3 and through.max() <= 1
        assert (np.diff(through, axis=-1) >= 0).all() and 0.4 <= light <= 0.9
        assert 0.3 < (through[..., 0] < 1).mean() < 0.95


def test_scores_by_hand():
    """What changes nothing keeps clear ground and gains nothing; half of an error is 6 dB."""
    generator = np.random.default_rng(1)
    clear = generator.uniform(0.1, 0.3, (5, 48, 48, 3))
    cloudy = clear + 0.02
    columns = ["kind", "clear", "cloudy", "thin"]
    table = pd.DataFrame([("field", *each, None) for each in zip(clear, cloudy, strict=True)], columns=columns)
    same = foreign_clouds.scored(table, lambda image: image).loc["field"]
    assert (same["clear dB"], same["at 35 dB"], same["moved"], same["gain dB"]) == (60, 1, 0, 0)
    halved = foreign_clouds.scored(table, lambda image: image - 0.01).loc["field"]
    assert halved["gain dB"] == pytest.approx(20 * np.log10(2), abs=0.4)  # a little is clipped
    assert halved["at 35 dB"] == 0 and halved["moved"] == 1


def test_a_network_is_shown_reflectance_on_its_own_scale_and_the_mirror_image():
    class Network:
        def predict(self, image, **_):
            self.seen = image
            return image * 2

    network = Network()
    image = np.full((1, 48, 48, 2), 0.2)
    image[:, 0] = 0.3
    answer = foreign_clouds.remover(network, [[1000, 3000], [0, 4000]])(image)
    assert network.seen.shape == (1, 112, 112, 2)
    np.testing.assert_allclose(network.seen[0, 31:34, 60], [[1.0, 0.75], [1.0, 0.75], [0.5, 0.5]], rtol=1e-5)
    np.testing.assert_allclose(answer[0, 5, 5], [0.3, 0.4], rtol=1e-5)


def test_validation_and_test_are_other_ground():
    found = {split: bed(split) for split in ("validation", "test")}
    for table in found.values():
        assert set(table.kind) >= {"Landsat, summer", "Itaipu, fields", "snow", "sand", "Brandenburg, winter"}
        assert all(each.shape == (48, 48, 3) and np.isfinite(each).all() for each in table.clear)
    one, other = ({each.tobytes() for each in table.clear} for table in found.values())
    assert not one & other


@pytest.mark.skipif(not (paths.DATA / "packs" / "landsat_timeseries").exists(), reason="needs the packs")
def test_the_shipped_remover_travels():
    network, about = load_model("cloud_remover_sentinel2")
    remove = foreign_clouds.remover(network, about["value_range"])
    assert about["bands"] == BANDS
    table = foreign_clouds.scored(bed("test"), remove)
    kept = np.average(table["at 35 dB"], weights=table.patches)
    assert kept >= foreign_clouds.MOST
    assert np.average(table["gain dB"], weights=table.patches) >= foreign_clouds.GAIN_DB
