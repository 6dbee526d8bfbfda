"""Clear ground for cloud removal: real clouds left out, and real pairs as examples."""

from dataclasses import replace

import numpy as np
import pytest

from helpers import scenes
from helpers.acquire import packs
from helpers.pairs import clouds, cloudy_pairs
from helpers.scenes import Scene


def scene(pixels, **facts):
    return Scene(np.asarray(pixels, "float32"), bands=tuple(f"band{n}" for n in range(np.shape(pixels)[-1])), **facts)


def test_only_wide_brightness_counts_as_cloud():
    """A cloud of 10 x 10 coarse pixels and its surroundings go; a single bright roof stays."""
    coastal = np.full((60, 80, 1), 1300.0)
    coastal[20:30, 20:30] = 3000
    coastal[50, 70] = 9000
    fine = scene(np.ones((360, 480, 2)))
    left = clouds.without_cloud(fine, scene(coastal)).valid
    assert not left[120:180, 120:180].any() and not left[120 - 40, 150]
    assert left[300:306, 420:426].all() and left[0, 0]
    # nothing further than the eight coarse pixels that are said
    assert left[: (20 - 8) * 6].all() and left[:, (30 + 8) * 6 :].all()


def test_real_ground_without_cloud_is_dark_in_coastal_blue():
    whole = packs.open_scene("sentinel2_brandenburg", "10m", ["blue"])
    coastal = packs.open_scene("sentinel2_brandenburg", "60m", ["coastal"])
    clear = clouds.without_cloud(whole, coastal)
    assert 0.4 < clear.valid.mean() < 0.9
    assert np.percentile(whole.pixels[~clear.valid], 95) > np.percentile(whole.pixels[clear.valid], 99.5)


def test_real_pairs_as_examples_know_no_depth():
    rng = np.random.default_rng(0)
    clear = scene(rng.uniform(100, 200, (16, 24, 2)))
    cloudy = replace(clear, pixels=clear.pixels + 50)
    holed = replace(clear, pixels=np.where(np.arange(24)[:, None] < 3, np.nan, clear.pixels))  # the first 8 x 8 patches
    pairs = [scenes.stack([cloudy, clear]), scenes.stack([cloudy, holed])]
    found = cloudy_pairs.examples(pairs, value_range=((100, 200),) * 2, patch_px=8)
    assert found.cloudy.shape == found.clear.shape == (6 + 4, 8, 8, 2)
    np.testing.assert_allclose(found.cloudy - found.clear, 0.5, atol=1e-6)
    assert np.isnan(found.transmittance).all() and np.isnan(found.shadow).all()
    with pytest.raises(ValueError, match="no patch of 32 x 32 pixels"):
        cloudy_pairs.examples(pairs[:1], value_range=((100, 200),) * 2, patch_px=32)
