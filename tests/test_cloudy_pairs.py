"""Folders of cloudy and clear images, and what is trained on them."""

import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from helpers import scenes
from helpers.acquire import download, sources
from helpers.pairs import cloudy_pairs, folders

READ = {"block_px": 16, "buffer_px": 4}
EDGES = ("west", "south", "east", "north")
ADDED = 0.5  # what the cloudy image of a test has more than the clear one, in every pixel


@pytest.fixture(scope="module")
def written(tmp_path_factory, make_scene):
    """A folder of 12 x 2 pairs of tiles, 20 pixels wide, side by side."""
    place, rows = tmp_path_factory.mktemp("pairs"), []
    for number, tile in enumerate(make_scene(40, 240, dtype="float32").patches(20)):
        for role, more in (("cloudy", ADDED), ("clear", 0)):
            path = f"{role}/{number:02}.tif"
            (place / role).mkdir(exist_ok=True)
            scenes.write(replace(tile, pixels=tile.pixels + np.float32(more)), place / path)
            row = {"path": path, "role": role, "pair": f"{number:02}", "split": "", "credit": f"the {role} agency"}
            rows.append(row | dict(zip(EDGES, tile.bounds, strict=True), crs="EPSG:32621"))
    pd.DataFrame(rows).to_csv(place / "manifest.csv", index=False)
    return place


@pytest.fixture
def folder(written, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(written, tmp_path, dirs_exist_ok=True)


def table(folder, function):
    """Change the manifest."""
    rows = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    function(rows).to_csv(folder / "manifest.csv", index=False)


def images(folder, path, function):
    """Change one image."""
    scenes.write(function(scenes.read(folder / path)), folder / path)


def times(factor):
    """Function for `images` that multiplies all pixels."""
    return lambda scene: replace(scene, pixels=scene.pixels * np.float32(factor))


def quietly(folder, **options):
    """Read a folder; a warning fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return days(folders.read_pairs(folder, folders.CLOUDY, **READ | options))


def days(ground):
    """Pairs as (cloudy, clear)."""
    return {split: [cloudy_pairs.days(pair) for pair in pairs] for split, pairs in ground.items()}


def names(ground):
    return sorted(cloudy.name for pairs in ground.values() for cloudy, _ in pairs)


def test_pairs_are_split_by_ground_and_stay_together(folder):
    ground = quietly(folder)
    assert set(ground) == set(scenes.SPLITS) and min(map(len, ground.values())) > 0
    scenes.check_disjoint({split: [cloudy for cloudy, _ in pairs] for split, pairs in ground.items()})
    for cloudy, clear in sum(ground.values(), []):
        assert np.allclose(cloudy.pixels - clear.pixels, ADDED, atol=1e-5) and cloudy.bounds == clear.bounds
        assert cloudy.bands == clear.bands == ("red", "green", "blue")
        assert cloudy.name == clear.name
        assert cloudy.credit == clear.credit == "the cloudy agency; the clear agency"
    alone = sources.open_ground(folder, role="clear", **READ)
    for split in scenes.SPLITS:  # as they are split without their partners
        assert [clear.bounds for _, clear in ground[split]] == [scene.bounds for scene in alone[split]]


def test_a_split_of_the_manifest_is_kept(folder):
    download.split_manifest(folder)
    expected, ground = sources.open_ground(folder, role="clear", **READ), quietly(folder)
    for split in scenes.SPLITS:
        assert [clear.bounds for _, clear in ground[split]] == [scene.bounds for scene in expected[split]]
    assert len(names(ground)) < 24  # what lies between the splits is left out
    again = str(ground["test"][0][0].name)
    table(folder, lambda rows: pd.concat([rows, rows[rows.pair == again].assign(pair="copy", split="train")]))
    with pytest.raises(ValueError, match="show the same ground"):
        quietly(folder)
    table(folder, lambda rows: rows.assign(split=rows.split.replace("test", "later")))
    with pytest.raises(ValueError, match="the splits .'later', 'train', 'validation'.; expected train, validation"):
        quietly(folder)


def test_two_folders_of_equal_names_need_no_manifest(folder):
    expected = quietly(folder)
    (folder / "manifest.csv").unlink()
    (folder / "cloudy" / ".DS_Store").touch()
    found = quietly(folder)
    assert names(found) == names(expected)
    assert np.array_equal(found["test"][0][0].pixels, expected["test"][0][0].pixels)


def test_large_images_are_split_into_blocks_that_show_the_same_ground(tmp_path, make_scene):
    clear = make_scene(90, 90, dtype="float32")
    cloudy = replace(clear, pixels=clear.pixels + np.float32(ADDED))
    cloudy.pixels[:30, :30], clear.pixels[70:, 70:] = np.nan, np.nan
    for role, scene in (("cloudy", cloudy), ("clear", clear)):
        (tmp_path / role).mkdir()
        scenes.write(scene, tmp_path / role / "1.tif")
    ground = quietly(tmp_path)
    pairs = sum(ground.values(), [])
    assert 8 <= len(pairs) < 16 and all(np.isfinite(cloudy.pixels).all() for cloudy, _ in pairs)
    assert all(np.allclose(cloudy.pixels - clear.pixels, ADDED, atol=1e-5) for cloudy, clear in pairs)


def test_gaps_of_either_image_are_gaps_of_both_and_are_filled_for_networks(folder):
    def with_gap(rows, columns):
        def change(scene):
            scene.pixels[rows, columns] = np.nan
            return scene

        return change

    images(folder, "cloudy/00.tif", with_gap(slice(2, 5), slice(None)))
    images(folder, "clear/00.tif", with_gap(slice(None), slice(0, 1)))
    both = next(pair for pairs in folders.read_pairs(folder, folders.CLOUDY, **READ).values()
                for pair in pairs if pair.name == "00")  # fmt: skip
    pair = cloudy_pairs.days(both)
    gaps = np.zeros((20, 20), bool)
    gaps[2:5], gaps[:, 0] = True, True
    assert all(np.array_equal(~scene.valid, gaps) and np.isnan(scene.pixels[gaps]).all() for scene in pair)
    full = scenes.fill_nodata(pair[0].pixels)
    assert np.array_equal(full[~gaps], pair[0].pixels[~gaps]) and np.isfinite(full).all()
    assert np.array_equal(full[2, 1:], pair[0].pixels[1, 1:])  # the nearest with data
    stream = cloudy_pairs.dataset([both], value_range=((0, 1),) * 3, patch_px=16, batch_size=4, steps=3)
    for cloudy, truth in stream:
        assert np.allclose(
            cloudy - truth[..., :3], ADDED, atol=1e-5
        )  # NaN would fail; both are filled from the same place


@pytest.mark.parametrize("function, message", [
    (lambda s: s.cut(0, 0, 20, 19), "differ: 19 x 20 pixels .*, and 20 x 20 pixels"),
    (lambda s: s.select(["blue", "green", "red"]), "differ: .* of blue, green, red .* of red, green, blue"),
    (lambda s: replace(s, dtype="float64"), "differ: .* as float64 .* as float32 "),
    (lambda s: replace(s, crs=CRS.from_epsg(32622)), "differ: .*EPSG:32622.* and .*EPSG:32621"),
    (lambda s: replace(s, transform=s.transform @ Affine.translation(0.5, 0)), "differ: .* at .* and .* at "),
    (lambda s: replace(s, transform=s.transform @ Affine.scale(1.01)), "differ: .* at .* and .* at "),
])  # fmt: skip
def test_images_that_do_not_fit_are_refused(folder, function, message):
    images(folder, "cloudy/03.tif", function)
    with pytest.raises(ValueError, match=f"pair '03' {message}"):
        quietly(folder)


def test_numbers_that_mean_no_data_are_refused(folder):
    images(folder, "clear/03.tif", lambda s: replace(s, pixels=np.where(np.arange(20)[:, None] < 3, -9999, s.pixels)))
    with pytest.raises(ValueError, match="-9999 in all bands"):
        quietly(folder)


def test_a_pair_has_one_split(folder):
    download.split_manifest(folder)
    table(folder, lambda rows: rows.assign(split=rows.split.where(rows.role == "cloudy", "test")))
    with pytest.raises(ValueError, match="the splits .*'testtrain'.*; expected train, validation"):
        quietly(folder)


def test_the_manifest_places_an_image_that_does_not_say_where_it_lies(folder):
    images(folder, "cloudy/04.tif", lambda scene: replace(scene, transform=None, crs=None))
    assert "04" in names(quietly(folder))
    (folder / "manifest.csv").unlink()
    with pytest.raises(ValueError, match="pair '04' differ: .*None.* and .*EPSG:32621"):
        quietly(folder)


def test_what_is_of_no_use_is_left_out_and_said(folder):
    def saturated(scene):  # but for a pixel that is broken
        scene.pixels[:] = 1.6
        scene.pixels[3, 3] = 0.2
        return scene

    images(folder, "cloudy/05.tif", saturated)
    images(folder, "clear/06.tif", times(np.nan))
    table(folder, lambda rows: rows[rows.path != "cloudy/07.tif"])
    with pytest.warns(UserWarning) as said:
        ground = days(folders.read_pairs(folder, folders.CLOUDY, **READ))
    assert len(said) == 2 and "1.6 in all bands" in str(said[0].message)  # what a sensor's limit looks like, too
    for words in ("05 (its cloudy image shows one value only)", "06 (no pixel with data", "07 (clear only)"):
        assert words in str(said[1].message)
    assert not {"05", "06", "07"} & set(names(ground)) and len(names(ground)) > 15


def test_a_split_without_a_pair_and_a_folder_without_any_are_refused(folder):
    def by_hand(rows):
        return rows.assign(split=rows.pair.map({"00": "test", "23": "validation"}).fillna("train"))

    table(folder, by_hand)
    images(folder, "cloudy/00.tif", times(0))
    with pytest.raises(ValueError, match=r"no pair for test.*00 \(its cloudy image shows one value"):
        quietly(folder)
    table(folder, lambda rows: rows[rows.role == "clear"])
    with pytest.raises(ValueError, match=r"holds no pair.*`pair`.*Left out: 00 \(clear only\).* …"):
        quietly(folder)
    table(folder, lambda rows: rows.drop(columns="pair"))
    with pytest.raises(ValueError, match="holds no pair"):
        quietly(folder)
    with pytest.raises(ValueError, match="holds no pairs: expected a manifest.csv .* Left out: none"):
        quietly(folder / "clear")


def test_two_images_of_one_role_are_refused(folder):
    table(folder, lambda rows: rows.assign(pair=rows.pair.replace("01", "00")))
    with pytest.raises(ValueError, match="holds cloudy/00.tif and cloudy/01.tif for pair 00: keep one"):
        quietly(folder)


@pytest.mark.parametrize("columns, apart", [
    ({"time": ("2020-05-18T13:30:00Z", "2020-07-18T13:31:00.5Z")}, True),
    ({"scene": ("S2B_33UUU_20170216_0_L1C", "S2A_33UUU_20160911_1_L1C")}, True),
    ({"scene": ("LC08_L1TP_224077_20200518_20201231_01_RT", "LC08_L1TP_224077_20200603_20200610_01_RT")}, False),
    ({"scene": ("PRACTICE-2010-07-14", "PRACTICE-2011-07-14")}, True),
    ({"scene": ("T33UUU_20171399", "a tile")}, False),
    ({"time": ("2020-05-18", "")}, False),
    ({"time": ("2020-05-18T23:00:00Z", "2020-07-17T01:00:00Z")}, False),
    ({"time": ("2020-07-18T01:00:00Z", "2020-05-18T23:00:00Z")}, True),
])  # fmt: skip
def test_days_that_lie_months_apart_are_told(folder, columns, apart):
    def with_days(rows):
        for column, (cloudy, clear) in columns.items():
            rows[column] = np.where(rows.pair != "04", "", np.where(rows.role == "cloudy", cloudy, clear))
        return rows

    table(folder, with_days)
    if apart:
        with pytest.warns(UserWarning, match=r"more than 60 days between the images of 04;"):
            folders.read_pairs(folder, folders.CLOUDY, **READ)
    else:
        quietly(folder)


def test_streams_of_real_pairs_share_place_turn_and_skew_and_keep_what_lies_beyond_the_range(folder):
    pairs = folders.read_pairs(folder, folders.CLOUDY, **READ)["train"]
    options = {"value_range": ((0.4, 0.6),) * 3, "patch_px": 16, "batch_size": 4, "steps": 5, "seed": 2}
    whole = list(cloudy_pairs.dataset(pairs, **options))
    for cloudy, truth in whole:
        assert cloudy.shape == (4, 16, 16, 3) and truth.shape == (4, 16, 16, 5)
        clear, taken = truth[..., :3], truth[..., 3:].numpy()
        assert np.allclose(cloudy - clear, ADDED / 0.2, atol=1e-4)
        assert taken.min() >= 0 and taken[..., 0].max() > 0.9 and taken[..., 1].max() < taken[..., 0].max() + 1e-6
        assert clear.numpy().min() < -0.5 and cloudy.numpy().max() > 3
    late = list(cloudy_pairs.dataset(pairs, first_step=4, **options))
    assert len(late) == 1 and np.array_equal(late[0][0], whole[4][0])
    few = cloudy_pairs.dataset(pairs[:1], copies=2, **options | {"steps": 6})
    assert len({patch.numpy().tobytes() for cloudy, _ in few for patch in cloudy}) == 2
