"""Ground of all kinds, made of the ground at hand."""

import numpy as np
import pytest

from helpers.pairs import surfaces

BANDS = ("nir", "red", "green")


@pytest.fixture
def patch():
    """Two fields with a border, and some texture."""
    generator = np.random.default_rng(0)
    fields = np.where(np.arange(48)[:, None, None] < 20, [0.2, 0.05, 0.08], [0.15, 0.12, 0.11])
    return (fields + generator.normal(0, 0.004, (48, 48, 3))).astype("float32")


def test_spectra_are_those_of_the_table_and_lie_between_them():
    table = surfaces.spectra(["green", "nir", "rededge2"])
    names = list(surfaces.SURFACES)
    meadow = surfaces.SURFACES["meadow"]
    assert table[names.index("meadow"), :2] == pytest.approx([meadow[1], meadow[3]])
    assert meadow[2] < table[names.index("meadow"), 2] < meadow[3]
    snow, leaves = (surfaces.spectra(["red", "nir", "swir16"])[names.index(n)] for n in ("snow", "broad leaves"))
    assert snow[2] < 0.2 < snow[1] and leaves[1] > 5 * leaves[0]  # as physics has it


def test_the_same_key_gives_the_same_ground_and_others_all_kinds(patch):
    made = [surfaces.varied(patch, BANDS, [1, n]).numpy() for n in range(80)]
    assert np.array_equal(made[3], surfaces.varied(patch, BANDS, [1, 3]).numpy())
    assert all(each.min() >= 0 and each.max() <= surfaces.LIMIT for each in made)
    stays = np.mean([np.array_equal(each, patch) for each in made])
    assert stays == pytest.approx(0.25, abs=0.12)
    nir, red, _ = np.mean(made, axis=(1, 2)).T
    assert ((nir - red) / (nir + red)).max() > 0.6 and red.max() > 0.4 and nir.min() < 0.12


def test_outlines_stay_where_they_are(patch):
    """The border between the fields is the strongest edge of the made ground, too, in most draws."""
    at = []
    for n in range(40):
        rows = surfaces.varied(patch, BANDS, [2, n]).numpy().mean(axis=(1, 2))
        at.append(np.abs(np.diff(rows)).argmax())
    assert np.mean(np.array(at) == 19) > 0.7
