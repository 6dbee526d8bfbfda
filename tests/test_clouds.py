"""Clouds simulated over clear ground."""

import numpy as np
import pytest
from scipy import ndimage

from helpers import scenes
from helpers.backend import tf
from helpers.pairs import clouds, patches
from helpers.scenes import Scene

BANDS = ("blue", "green", "red")
RANGE, LIGHT = ((500, 4500),) * 3, (25_000, 24_000, 23_000)
SETTINGS = {"value_range": RANGE, "light": LIGHT}


def ground(count=2, side=40, low=1000, high=4000):
    pixels = np.random.default_rng(7).uniform(low, high, (count, side, side, 3)).astype("float32")
    return [Scene(each, BANDS, name=f"g{number}") for number, each in enumerate(pixels)]


def drawn(scenes=None, **changed):
    options = {"patch_px": 24, "batch_size": 4, "steps": 6, "seed": 3} | SETTINGS | changed
    return [tuple(np.array(part) for part in batch) for batch in clouds.dataset(scenes or ground(), **options)]


@pytest.fixture(scope="module")
def examples():
    return clouds.examples(ground(3, 192), patch_px=64, **SETTINGS)


def cloud(kind, number, size_px=48, difficulty=1.0):
    kind = clouds.KINDS.index(kind)
    return [np.array(part) for part in clouds.draw(size_px, kind, difficulty, [11, number])]


def test_a_pixel_worked_out_by_hand():
    one = {"optical_depth": np.full((1, 1), np.log(2), "float32"), "shadow": np.full((1, 1, 1), 0.5, "float32")}
    clear = np.array([[[0.2, 0.3]]], "float32")
    cloudy = clouds.composite_cloud(clear, **one, extinction=np.float32([1, 2]), light=[0.8, 0.6]).numpy()
    by_hand = 0.2 * 0.5 * 0.5 + 0.8 * 0.5, 0.3 * 0.5 * 0.25 + 0.6 * 0.75
    assert np.allclose(cloudy[0, 0], by_hand, atol=1e-6)


def test_no_cloud_changes_nothing_and_an_endless_one_leaves_its_light_alone():
    clear = ground(1)[0].pixels + np.float32(0.37)
    none, endless = np.zeros((40, 40), "float32"), np.full((40, 40), 1e4, "float32")
    shadow = np.full((40, 40, 1), 0.4, "float32")
    options = {"extinction": clouds.extinction(BANDS), "light": LIGHT}
    assert np.array_equal(clouds.composite_cloud(clear, none, 1.0, **options), clear)
    covered = clouds.composite_cloud(clear, endless, shadow, **options)
    assert np.array_equal(covered, np.broadcast_to(LIGHT, clear.shape))


def test_extinction_falls_with_the_wavelength_and_unknown_bands_are_grey():
    assert clouds.extinction(["blue", "band7"]).tolist() == [1.0, 1.0]
    order = ["coastal", "blue", "green", "red", "nir", "swir16", "swir22"]
    found = clouds.extinction(order).tolist()
    assert found == sorted(found, reverse=True)
    assert clouds.extinction(["swir16"])[0] == pytest.approx((0.49 / 1.61) ** 0.3)  # law of Angstrom


@pytest.mark.parametrize("kind", range(3))
def test_fields_have_the_spectrum_that_is_said_in_all_directions(kind):
    power = np.mean([np.abs(np.fft.fft2(clouds.turbulence(64, kind, [5, n]))) ** 2 for n in range(60)], axis=0)
    frequency = np.fft.fftfreq(128) * 128
    length = np.hypot(*np.meshgrid(frequency, frequency))
    used = (length >= 2) & (length < 60)
    slope = np.polyfit(np.log(length[used]), np.log(power[used]), 1)[0]
    assert slope == pytest.approx(-(11 / 3, 3, 11 / 3)[kind], abs=0.05)
    assert power[0, 2:40].sum() / power[2:40, 0].sum() == pytest.approx(1, abs=0.25)
    assert power[0, 0] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("kind, cover, depth", [
    ("thin", (0.4, 0.8), (0.4, 1.2)), ("broken", (0.25, 0.6), (2.5, 6)), ("opaque", (0.4, 0.8), (6, 15)),
])  # fmt: skip
def test_cover_and_depth_of_each_kind(kind, cover, depth):
    taus = np.array([cloud(kind, n)[0] for n in range(40)])
    share = (taus > 0).mean(axis=(1, 2))
    assert cover[0] - 0.03 <= share.min() < share.max() <= cover[1] + 0.03  # its edge is looked up in every 2nd pixel
    assert share.mean() == pytest.approx(np.mean(cover), abs=0.06)
    deepest = taus.max(axis=(1, 2))
    assert depth[0] * 0.999 <= deepest.min() and deepest.max() <= depth[1] * 1.001
    through = np.exp(-taus)
    assert (through >= 0.98).mean(axis=(1, 2)).min() > 0.15
    if kind == "thin":
        assert through.min() > 0.3
    else:  # soft rims
        assert ((through > 0.3) & (through < 0.98)).mean() > {"broken": 0.1, "opaque": 0.04}[kind]


def test_cover_and_depth_grow_with_the_difficulty():
    for number, kind in enumerate(clouds.KINDS):
        shares, depths = [], []
        for difficulty in (0.01, 0.1, 0.5, 1.0, 2.0):
            tau = cloud(kind, number, difficulty=difficulty)[0]
            shares.append((tau > 0).mean())
            depths.append(tau.max())
        assert shares == sorted(shares) and shares[0] < 0.03 and shares[1] < 0.2 and shares[-1] < 0.97
        assert np.allclose(np.array(depths) / depths[3], (0.01, 0.1, 0.5, 1, 2), rtol=0.01)
        assert not cloud(kind, number, difficulty=0)[0].any() and (cloud(kind, number, difficulty=0)[1] == 1).all()


def test_nothing_wraps_round_within_a_patch():
    taus = np.array([cloud("thin", n)[0] for n in range(20)])
    for axis in (1, 2):
        edges = [np.take(taus, place, axis=axis) for place in (0, 1, -1)]
        assert np.abs(edges[0] - edges[2]).mean() > 5 * np.abs(edges[0] - edges[1]).mean()


def test_the_shadow_is_the_cloud_shifted():
    size, found = 50, []
    for number in range(6):
        tau, shadow = cloud("broken", number, size)
        dark, opaque = 1 - shadow, 1 - np.exp(-tau)
        best = (np.inf, None)
        for rows in range(-13, 14):
            for columns in range(-13, 14):
                here = dark[max(0, -rows) : size - max(0, rows), max(0, -columns) : size - max(0, columns)]
                there = opaque[max(0, rows) : size + min(0, rows), max(0, columns) : size + min(0, columns)]
                depth = (here * there).sum() / max((there**2).sum(), 1e-6)
                best = min(best, (np.abs(here - depth * there).max(), (np.hypot(rows, columns) / size, depth)))
        assert best[0] < 1e-4  # one shift explains the shadow, pixel for pixel
        found.append(best[1])
    distances, depths = np.transpose(found)
    assert distances.min() > 0.06 - 0.02 and distances.max() < 0.24 + 0.02 and np.ptp(distances) > 0.03
    assert depths.min() >= 0.3 and depths.max() <= 0.8


def test_ground_below_zero_is_dimmed_like_any_other():
    options = {"value_range": ((0, 10_000),) * 3, "patch_px": 40}
    cloudy, truth = (np.concatenate(part) for part in zip(*drawn(ground(low=-200, high=-100), **options), strict=True))
    clear, opacity, shadow = truth[..., :3], truth[..., 3], truth[..., 4]
    shaded = (opacity == 0) & (shadow > 0.1)
    assert shaded.sum() > 100
    np.testing.assert_allclose(cloudy[shaded], clear[shaded] * (1 - shadow[shaded])[:, None], atol=1e-6)


def test_examples_follow_from_the_truth_they_carry(examples):
    cloudy, clear = (scenes.from_unit(part, RANGE) for part in (examples.cloudy, examples.clear))
    free = examples.transmittance == 1
    shaded = clear * examples.shadow[..., None]
    assert free.mean() > 0.3 and np.abs(cloudy - shaded)[free].max() < 0.05
    # the light of a cloud: what is given, up to 15 % brighter or darker with 2 % tint and 5 % texture
    dense = examples.transmittance < np.exp(-12)
    relative = cloudy[dense] / np.array(LIGHT)
    assert dense.any() and 0.85 * 0.98 * 0.95 < relative.min() < relative.max() < 1.15 * 1.02 * 1.05
    assert np.ptp(relative, axis=0).min() > 0.02 and np.ptp(relative, axis=1).max() < 0.05
    assert examples.cloudy.max() > 4 and examples.cloudy.dtype == np.float32  # not clipped


def test_examples_hold_clear_shaded_thin_and_opaque_pixels(examples):
    through, shaded = examples.transmittance, examples.shadow < 0.99
    clear, opaque = (through >= 0.98) & ~shaded, through < 0.3
    thin, shadow = (through >= 0.3) & (through < 0.98), (through >= 0.98) & shaded
    assert min(mask.mean() for mask in (clear, shadow, thin, opaque)) > 0.02
    change = np.abs(examples.cloudy - examples.clear).max(axis=-1)
    assert change[clear].max() < change[opaque].min()
    assert not opaque[examples.kind == "thin"].any()


def test_examples_hold_a_third_of_each_kind_in_another_order_for_another_seed(examples):
    assert len(examples.kind) == 27 and sorted(examples.kind) == sorted(clouds.SCORED * 9)
    again, other = (clouds.examples(ground(3, 192), patch_px=64, seed=seed, **SETTINGS) for seed in (0, 1))
    assert np.array_equal(again.cloudy, examples.cloudy) and list(again.kind) == list(examples.kind)
    assert list(other.kind) != list(examples.kind) and np.array_equal(other.clear, examples.clear)


def test_skewing_agrees_with_scipy():
    image = np.random.default_rng(0).random((20, 20, 2), dtype="float32")
    for shear in (-0.3, 0.0, 0.15):
        matrix, offset = [[1, 0], [shear, 1]], [0, -shear * 9.5]
        right = [ndimage.affine_transform(image[..., b], matrix, offset, order=1, mode="reflect") for b in range(2)]
        assert np.allclose(clouds.skewed(image, shear), np.stack(right, -1), atol=1e-4)
    assert np.array_equal(clouds.skewed(image, 0.0), image)


def test_cloudy_and_clear_share_place_turn_and_skew():
    without = drawn(difficulty=0.0)
    assert all(np.array_equal(cloudy, truth[..., :3]) for cloudy, truth in without)
    assert not any(truth[..., 3:].any() for _, truth in without)
    # the ground is the same whatever the cloud, and other with another skew
    ground_of = [batch[1][..., :3] for batch in drawn(difficulty=1.5)]
    assert all(np.array_equal(a[1][..., :3], b) for a, b in zip(without, ground_of, strict=True))
    assert not any(np.array_equal(a[1], b[1]) for a, b in zip(without, drawn(skew=0.0), strict=True))


def test_the_truth_says_what_the_cloud_takes():
    """Of black ground under a cloud only its light is left: a share of it, the opacity."""
    black = [Scene(np.zeros((48, 48, 3), "float32"), BANDS)]
    for cloudy, truth in drawn(black, skew=0.0, value_range=((0, 1),) * 3):
        opacity, shadow = truth[..., 3], truth[..., 4]
        assert opacity.min() >= 0 and opacity.max() <= 1 and 0 <= shadow.min() <= shadow.max() < 0.81
        light = cloudy[..., 0] / np.maximum(opacity, 1e-6)  # blue is dimmed as the opacity says
        inside = opacity > 0.05
        assert 0.8 * LIGHT[0] < light[inside].min() and light[inside].max() < 1.25 * LIGHT[0]
        assert not cloudy[opacity == 0].any()


def test_kinds_and_wholly_clear_patches_come_in_their_shares():
    """Over black ground, a cloud's colour tells its depth, whatever its brightness: 0.8 or less where it is thin."""
    black = [Scene(np.zeros((16, 16, 2), "float32"), ("blue", "swir22"))]
    stream = {"patch_px": 16, "batch_size": 400, "steps": 1, "value_range": ((0, 1),) * 2}
    cloudy = next(iter(clouds.dataset(black, light=(1, 1), **stream)))[0].numpy().reshape(400, -1, 2)
    deepest = np.take_along_axis(cloudy, cloudy[..., :1].argmax(axis=1)[:, None], axis=1)[:, 0]
    wholly_clear = deepest[:, 0] == 0
    thin = ~wholly_clear & (deepest[:, 1] < 0.83 * deepest[:, 0])
    assert wholly_clear.sum() == pytest.approx(25, abs=15) and thin.sum() == pytest.approx(125, abs=28)


def test_the_stream_is_the_same_whatever_the_threads_and_the_start():
    whole = drawn()
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    alone = clouds.dataset(ground(), patch_px=24, batch_size=4, steps=6, seed=3, **SETTINGS).with_options(options)
    for a, b in zip(whole, alone, strict=True):
        assert np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1])
    late = drawn(first_step=4)
    assert len(late) == 2 and all(
        np.array_equal(whole[4 + i][part], late[i][part]) for i in range(2) for part in range(2)
    )
    assert not np.array_equal(whole[0][0], drawn(seed=4)[0][0])


def test_copies_are_so_many_versions_and_no_more():
    alike = ground(1) * 2  # each with versions of its own

    def versions(**options):
        batches = drawn(alike, steps=18, **options)
        return {cloudy.tobytes() + clear.tobytes() for batch in batches for cloudy, clear in zip(*batch, strict=True)}

    assert len(versions(copies=3)) == 2 * 3
    assert len(versions()) == 18 * 4


def test_the_pictures_of_a_seed_stay_as_shipped_weights_know_them():
    ((cloudy, truth),) = drawn(steps=1)
    assert np.allclose(cloudy.mean(axis=(1, 2, 3)), [1.6098548, 1.564623, 1.9221766, 1.3888152], atol=1e-4)
    taken = [[0.1894395, 0.0571148], [0.2152187, 0.1346133], [0.2381589, 0.0924549], [0.1941064, 0.2260982]]
    assert np.allclose(truth[..., 3:].mean(axis=(1, 2)), taken, atol=1e-4)
    assert np.allclose(cloudy[3, 5, 7], [2.106147, 1.923319, 1.947166], atol=1e-4)


@pytest.mark.parametrize("changed, message", [
    ({"copies": -1}, "copies is -1"),
    ({"patch_px": 64}, "g0 has 40 x 40 pixels"),
])  # fmt: skip
def test_what_cannot_be_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        drawn(**changed)


def test_ground_without_patches_is_refused():
    with pytest.raises(ValueError, match="no patch of 64 x 64"):
        clouds.examples(ground(), patch_px=64, **SETTINGS)
    for empty in (patches.patches, lambda none, **how: patches.whole_patches(none, how["patch_px"])):
        with pytest.raises(ValueError, match="no patch of 16 x 16 pixels .* in 0 images: use smaller patches or more"):
            empty([], patch_px=16, batch_size=1, steps=1)
