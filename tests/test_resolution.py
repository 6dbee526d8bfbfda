"""Pairs for super-resolution, and the stream of patches below them."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers import models
from helpers.backend import keras, tf
from helpers.pairs import patches, resolution
from helpers.scenes import Scene
from tests.notebook_functions import espcn

BANDS = ("red", "green", "blue")


def scene(height=48, width=48, seed=0, dtype="float32"):
    pixels = np.random.default_rng(seed).integers(1, 60000, (height, width, 3)).astype("float32")
    return Scene(pixels, BANDS, dtype=dtype, name=f"scene {seed}")


def pillow(pixels, size):
    bands = [Image.fromarray(band).resize(size, Image.Resampling.BICUBIC) for band in np.moveaxis(pixels, -1, 0)]
    return np.stack([np.asarray(band) for band in bands], axis=-1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_and_enlarging_agree_with_pillow(scale):
    high_res = np.random.default_rng(scale).random((1, 12 * scale, 10 * scale, 3), dtype="float32")
    low_res = resolution.degrade(high_res, scale).numpy()
    assert np.allclose(low_res[0], pillow(high_res[0], (10, 12)), atol=1e-5)
    enlarged = resolution.upsample(low_res, scale).numpy()
    # TensorFlow looks the bicubic weights up in a table of 1,024 places, which thirds do not fall on
    right = pillow(low_res[0], (10 * scale, 12 * scale))
    assert np.allclose(enlarged[0], right, atol=2e-4 if scale == 3 else 1e-5)
    assert np.allclose(models.BicubicUpsampling(scale)(low_res)[0], right, atol=1e-5)


def test_shrinking_refuses_sides_that_are_no_multiple():
    with pytest.raises(ValueError, match="30 x 32.*multiples of 4"):
        resolution.degrade(np.zeros((1, 30, 32, 1), "float32"), 4)


def test_pairs_show_the_same_ground():
    stream = {"patch_px": 16, "batch_size": 4, "steps": 3, "seed": 1}
    for low, high in resolution.dataset([scene()], value_range=((0, 60000),) * 3, scale=4, enlarged=False, **stream):
        assert low.shape == (4, 4, 4, 3) and high.shape == (4, 16, 16, 3)
        assert np.allclose(resolution.degrade(high, 4), low, atol=1e-6)
        assert high.numpy().min() >= 0 and high.numpy().max() <= 1


def test_patches_are_pieces_of_the_scenes_in_some_turn():
    two = [scene(seed=1), scene(seed=2)]
    pieces = {
        np.rot90(turned, k).tobytes()
        for s in two for r in range(41) for c in range(41)
        for piece in [s.pixels[r : r + 8, c : c + 8]] for turned in (piece, piece[:, ::-1]) for k in range(4)
    }  # fmt: skip
    for batch in patches.patches(two, patch_px=8, batch_size=4, steps=5):
        assert all(patch.tobytes() in pieces for patch in batch.numpy())


def test_every_scene_comes_once_a_pass():
    flat = [Scene(np.full((8, 8, 1), i, "float32"), ("grey",)) for i in range(10)]
    drawn = np.concatenate([b[:, 0, 0, 0] for b in patches.patches(flat, patch_px=8, batch_size=5, steps=6, seed=4)])
    passes = drawn.reshape(3, 10)
    assert all(sorted(each) == list(range(10)) for each in passes.tolist())
    assert not np.array_equal(passes[0], passes[1])


def test_a_stream_begun_later_continues_the_same_stream():
    options = {"patch_px": 8, "batch_size": 3, "steps": 6, "seed": 9}
    whole = [b.numpy() for b in patches.patches([scene()], **options)]
    late = [b.numpy() for b in patches.patches([scene()], first_step=4, **options)]
    assert len(whole) == 6 and len(late) == 2
    assert np.array_equal(whole[4:], late)
    other = next(iter(patches.patches([scene()], **options | {"seed": 10}))).numpy()
    assert not np.array_equal(whole[0], other)


def test_the_eight_turns_are_different_and_shared():
    patch = tf.constant(np.arange(16, dtype="float32").reshape(4, 4, 1))
    turns = {patches.turned(patch, tf.constant(turn)).numpy().tobytes() for turn in range(8)}
    assert len(turns) == 8


def test_pixels_are_kept_in_their_own_type_without_loss():
    sixteen_bit = scene(dtype="uint16")
    kept = patches._stacked([sixteen_bit], 8)
    assert kept.dtype == np.uint16 and np.array_equal(kept[0], sixteen_bit.pixels)


def test_an_image_smaller_than_a_patch_is_named():
    with pytest.raises(ValueError, match="scene 0 has 48 x 20 pixels.*patch of 32"):
        patches.patches([scene(width=20)], patch_px=32, batch_size=1, steps=1)


def test_test_patches_leave_no_data_out():
    holed = scene()
    holed.pixels[3, 3] = np.nan
    low, high = resolution.arrays([holed], value_range=((0, 60000),) * 3, scale=2, patch_px=24)
    assert len(high) == 3 and np.isfinite(low).all()


def test_a_shrunken_scene_keeps_its_corners():
    from rasterio.crs import CRS
    from rasterio.transform import Affine

    placed = Scene(scene().pixels, BANDS, Affine(30, 0, 500_000, 0, -30, 7_000_000), CRS.from_epsg(32621))
    coarse = resolution.shrink_scene(placed, 4)
    assert coarse.bounds == placed.bounds and coarse.ground_sample_distance_m == 120


def test_networks_start_at_the_bicubic_image():
    low_res = np.random.default_rng(0).random((2, 12, 12, 3), dtype="float32")
    enlarged = resolution.upsample(low_res, 4).numpy()
    assert np.allclose(models.srcnn(3).predict(enlarged, verbose=0), enlarged, atol=1e-6)
    assert np.allclose(espcn(3, scale=4).predict(low_res, verbose=0), enlarged, atol=1e-6)


def test_parameters_of_the_published_network():
    by_hand = (81 * 3 + 1) * 64 + (64 + 1) * 32 + (25 * 32 + 1) * 3
    assert models.srcnn(3, residual=False).count_params() == models.srcnn(3).count_params() == by_hand


@pytest.mark.parametrize("build, expected", [
    (lambda: models.srcnn(1), 1 + 8 + 4),
    (lambda: espcn(1, scale=2), 1 + 4 + 3 * 2 + 2),
    # first, two for the block, last and the one that unfolds; and the one after looks a fine pixel, so a coarse one, on
    (lambda: models.residual_upsampler(1, scale=2, filters=4, blocks=1), 1 + 5 * 2 + 2),
    (lambda: keras.Sequential([keras.Input((None, None, 1)), keras.layers.GroupNormalization(1)]), None),
])  # fmt: skip
def test_receptive_fields_worked_out_by_hand(build, expected):
    assert models.receptive_field_px(build()) == expected


def test_a_new_upsampler_makes_no_checkerboard():
    """With weights at random, a transposed convolution does: neighbours alternate more than pixels two apart."""

    def unevenness(layer):
        flat = np.asarray(layer(np.ones((1, 16, 16, 8), "float32")))[0, 8:-8, 8:-8]
        return np.abs(flat[1:] - flat[:-1]).mean()

    keras.utils.set_random_seed(0)
    unfolded = keras.layers.Conv2D(4 * 8, 3, padding="same", kernel_initializer=models.Icnr(2))
    assert unevenness(lambda x: keras.ops.depth_to_space(unfolded(x), 2)) < 1e-6
    assert unevenness(keras.layers.Conv2DTranspose(8, 3, strides=2, padding="same")) > 0.1


@pytest.mark.parametrize("scale", [2, 4])
def test_an_upsampler_starts_at_the_bicubic_image(scale, tmp_path):
    low_res = np.random.default_rng(0).random((2, 12, 12, 3), dtype="float32")
    models.residual_upsampler(3, scale=scale, filters=4, blocks=1).save(tmp_path / "model.keras")
    image = keras.models.load_model(tmp_path / "model.keras").predict(low_res, verbose=0)
    assert np.allclose(image, resolution.upsample(low_res, scale), atol=1e-5)


def test_pairs_of_two_sensors_show_the_same_ground():
    both = []
    for seed in range(4):
        high = scene(seed=seed)
        low = resolution.degrade(high.pixels[None], 2)[0].numpy().repeat(2, axis=0).repeat(2, axis=1)
        both.append(replace(high, pixels=np.concatenate([high.pixels, low], axis=-1), bands=("b",) * 6))
    settings = {"value_range": ((0, 60000),) * 3, "scale": 2}
    stream = resolution.dataset(both, enlarged=False, patch_px=16, batch_size=4, steps=3, **settings)
    pairs = [*stream, resolution.arrays(both, patch_px=24, **settings)]
    for small, large in pairs:
        assert np.abs(resolution.degrade(large, 2) - small)[:, 2:-2, 2:-2].max() < 0.01
        assert large.shape[-1] == small.shape[-1] == 3
