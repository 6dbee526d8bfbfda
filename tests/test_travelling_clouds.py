"""Ground and clouds of all kinds, made of the ground at hand."""

import numpy as np
import pytest

from data.weights import travelling_clouds as surfaces
from helpers.backend import tf
from helpers.pairs import clouds
from helpers.scenes import Scene

BANDS = ("nir", "red", "green")
VISIBLE = ("blue", "green", "red")


def drawn(**changed):
    """Batches of pairs over ground that is noise."""
    pixels = np.random.default_rng(7).uniform(1000, 4000, (2, 40, 40, 3)).astype("float32")
    ground = [Scene(each, VISIBLE) for each in pixels]
    batches = surfaces.dataset(ground, patch_px=24, seed=3, steps=1, **changed)
    return [tuple(np.array(part) for part in batch) for batch in batches]


@pytest.fixture(scope="module")
def many():
    return drawn(batch_size=120)


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


def test_clouds_may_lie_outside_the_image_and_cast_their_shadow_on_it(many):
    draw = tf.function(lambda number: surfaces.far_shadow(24, [5, number]))  # ten times as fast as without a graph
    found = map(draw, tf.range(200))
    alone = np.mean([alone.numpy() and far.numpy().min() < 0.99 for far, alone in found])
    assert 0.08 < alone < 0.23  # half of the patches times 0.3: 0.15, and three deviations of 0.025
    (_, truth), *_ = many
    opacity, shadow = truth[..., 3], truth[..., 4]
    assert ((opacity.max(axis=(1, 2)) == 0) & (shadow.max(axis=(1, 2)) > 0.01)).mean() > 0.03


def test_ground_and_clouds_are_of_all_kinds(many):
    """Dark and bright, green and bare; a quarter stays clear; what is clear stays as it is."""
    (cloudy, truth), *_ = many
    clear, opacity = truth[..., :3], truth[..., 3]
    assert clear.min() >= 0 and clear.max() <= 1 + 1e-6 and cloudy.max() < 1.5
    means = clear.mean(axis=(1, 2, 3))
    assert means.min() < 0.08 and means.max() > 0.4
    untouched = (truth[..., 3:] == 0).all(axis=(1, 2, 3))
    assert untouched.mean() == pytest.approx(0.25, abs=0.12)
    assert np.array_equal(cloudy[untouched], clear[untouched])
    bright = [
        np.median(image[depth > 0.98]) for image, depth in zip(cloudy, opacity, strict=True) if (depth > 0.98).any()
    ]
    assert min(bright) < 0.4 and max(bright) > 0.7  # of 1.2


def test_cirrus_comes_in_streaks():
    power = np.mean([np.abs(np.fft.fft2(clouds.turbulence(64, 3, [5, n]))) ** 2 for n in range(40)], axis=0)
    assert power[2:20, 0].sum() > 20 * power[0, 2:20].sum()


def test_the_pictures_of_a_seed_stay_as_shipped_weights_know_them():
    ((cloudy, truth),) = drawn(batch_size=4)
    assert np.allclose(cloudy.mean(axis=(1, 2, 3)), [0.3845749, 0.5336966, 0.2069451, 0.0935811], atol=1e-4)
    taken = [[0.5032171, 0.1071763], [0.4138203, 0.2270691], [0, 0], [0.337801, 0.3857831]]
    assert np.allclose(truth[..., 3:].mean(axis=(1, 2)), taken, atol=1e-4)
    assert np.allclose(cloudy[3, 5, 7], [0.112674, 0.127394, 0.135829], atol=1e-4)
