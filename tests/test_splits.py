"""The one split policy: blocks of an image, tiles of a folder, a manifest; and what a folder may hold."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio.transform import Affine
from rasterio.warp import transform_bounds

from helpers import scenes
from helpers.acquire import sources
from tests.test_scenes import SLANTED, raw_file, same

SMALL = {"block_px": 16, "buffer_px": 4}


# --- splits by ground


def gap_px(one, other):
    """How many pixels lie between two blocks of one grid of 30 m; 0 where they touch, less where they overlap."""
    a, b = one.bounds, other.bounds
    return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3]) / 30


def places(ground):
    return {split: sorted(block.bounds for block in blocks) for split, blocks in ground.items()}


def test_blocks_of_different_splits_keep_their_distance(make_scene):
    scene = make_scene(200, 230, west=500_010)
    scene.pixels[100, 100] = np.nan
    ground = scenes.split_ground([scene], block_px=16, buffer_px=5, seed=1)
    blocks = [(split, block) for split, found in ground.items() for block in found]
    assert len(blocks) > 80 and all(block.valid.all() and block.pixels.shape == (16, 16, 3) for _, block in blocks)
    for (split, one), (other_split, other) in itertools.combinations(blocks, 2):
        assert gap_px(one, other) >= 5, (split, other_split)
    for _, block in blocks:  # each shows the ground that it says
        row, column = (7_000_000 - block.transform.f) / 30, (block.transform.c - 500_010) / 30
        assert np.array_equal(block.pixels, scene.cut(int(row), int(column), 16, 16).pixels)


def test_shares_and_seeds(make_scene):
    def split(**options):
        return scenes.split_ground([make_scene(200, 200)], **SMALL, **options)

    ground = split(seed=3)
    counts = [len(ground[name]) for name in scenes.SPLITS]
    assert list(ground) == ["train", "validation", "test"] and sum(counts) >= 81
    assert np.allclose(np.array(counts) / sum(counts), (0.7, 0.1, 0.2), atol=1 / sum(counts))
    assert places(ground) == places(split(seed=3)) != places(split(seed=4))


def test_scenes_that_overlap_share_their_ground_once(make_scene):
    """Two rows of a satellite's path: the second begins 37 rows and 20 columns later, so that 63 x 80 px are common."""
    first = make_scene(100, 100, seed=1)
    second = make_scene(100, 100, seed=2, west=500_000 + 20 * 30, north=7_000_000 - 37 * 30)
    ground = scenes.split_ground([first, second], block_px=10, buffer_px=3, seed=0)
    blocks = [block for found in ground.values() for block in found]
    assert {block.name for block in blocks} == {"scene1", "scene2"}
    for one, other in itertools.combinations(blocks, 2):
        assert gap_px(one, other) >= 3
    both = [b for b in blocks if b.bounds[0] >= second.bounds[0] and b.bounds[1] >= first.bounds[1]
            and b.bounds[2] <= first.bounds[2] and b.bounds[3] <= second.bounds[3]]  # fmt: skip
    assert both and {block.name for block in both} == {"scene1"}
    other_order = scenes.split_ground([second, first], block_px=10, buffer_px=3, seed=0)
    assert places(other_order) == places(ground)  # the split hangs on the map, not on the files


def test_no_data_in_the_first_scene_is_filled_by_the_second(make_scene):
    first, second = make_scene(80, 80, seed=1), make_scene(80, 80, seed=2)
    whole = scenes.split_ground([second], **SMALL)
    first.pixels[:, :40] = np.nan
    assert places(scenes.split_ground([first, second], **SMALL)) == places(whole)


def test_too_little_ground(make_scene):
    sizes = [(33, 40), (70, 40), (30, 70)]
    images = [make_scene(*size, seed=seed, transform=None) for seed, size in enumerate(sizes)]
    with pytest.raises(ValueError, match="only 2 whole blocks of 32.*smaller blocks"):
        scenes.split_ground(images, block_px=32, buffer_px=60)
    ground = scenes.split_ground([make_scene(100, 32, transform=None)], block_px=32, buffer_px=2)
    assert [len(ground[split]) for split in scenes.SPLITS] == [1, 1, 1]


def test_scenes_without_a_place_are_split_each_on_its_own_grid(make_scene):
    unplaced = [make_scene(40, 60, seed=seed, transform=None, crs=None) for seed in (1, 2)]
    ground = scenes.split_ground(unplaced, **SMALL)
    blocks = [block for found in ground.values() for block in found]
    assert sorted(block.name for block in blocks) == ["scene1"] * 6 + ["scene2"] * 6
    assert len({block.pixels.tobytes() for block in blocks}) == 12


def test_a_slanted_scene_can_be_split(make_scene):
    """Its blocks do not overlap, though the upright boxes around them do."""
    ground = scenes.split_ground([make_scene(100, 100, transform=SLANTED)], block_px=16, buffer_px=2)
    assert sum(map(len, ground.values())) == 25


def test_an_image_without_a_place_that_is_there_twice_is_found(make_scene):
    scene = make_scene(100, 100, transform=None)
    with pytest.raises(ValueError, match="same ground"):
        scenes.split_ground([scene, replace(scene, name="copy")], **SMALL)


def test_overlap_of_scenes_in_coordinates_without_a_name(make_scene):
    scene = make_scene(crs=None)
    with pytest.raises(ValueError, match="scene0 .train. and east .test. show the same ground"):
        scenes.check_disjoint({"train": [scene], "test": [make_scene(crs=None, west=500_030, seed=1, name="east")]})
    scenes.check_disjoint({"train": [scene], "test": [make_scene(seed=1)]})
    tiles = [scene, *(make_scene(west=500_000 + 3000 * at, seed=at) for at in range(1, 6))]
    with pytest.raises(ValueError, match="some images have a CRS and others have none"):
        scenes.split_scenes(tiles, [""] * 6, block_px=64, buffer_px=4)


def test_scenes_that_touch_in_two_zones_do_not_overlap(make_scene):
    """In the coordinates of the other zone, the boxes around them are larger."""
    west = make_scene(300, 300, west=690_000)
    left, _, _, top = transform_bounds(west.crs, "EPSG:32622", *west.bounds)
    east = [make_scene(300, 300, crs="EPSG:32622", west=left + (400 + 300 * at) * 30, north=top) for at in range(2)]
    scenes.check_disjoint({"train": [west, east[0]], "test": [east[1]]})


def test_scenes_of_other_pixel_sizes_lose_no_ground(make_scene):
    """Their grids differ, so that blocks of the same number are not the same ground."""
    fine, coarse = make_scene(100, 100, pixel=10, west=0, north=1e4), make_scene(100, 100, west=0, north=3e4)
    fine_blocks, coarse_blocks, together = (
        sum(map(len, scenes.split_ground(each, **SMALL).values())) for each in ([fine], [coarse], [fine, coarse])
    )
    assert together == fine_blocks + coarse_blocks


@pytest.mark.parametrize("crs", ["EPSG:32621", "EPSG:32622", "EPSG:4326", "EPSG:3857"])
def test_overlap_is_found_in_any_coordinates(make_scene, crs):
    train = make_scene(100, 100, west=740_000, name="west")
    around = transform_bounds(train.crs, crs, *train.bounds)
    pixel = (around[2] - around[0]) / 100

    def near(columns, **options):
        return make_scene(100, 100, crs=crs, pixel=pixel, west=around[0] + columns * pixel, north=around[3], **options)

    scenes.check_disjoint({"train": [train], "test": [near(105)]})
    scenes.check_disjoint({"train": [train, near(90)], "test": []})
    with pytest.raises(ValueError, match=r"\((train|validation)\).*\((train|validation)\) show the same ground"):
        scenes.check_disjoint({"train": [train], "validation": [near(90, name="east")]})


def test_overlap_of_scenes_whose_rows_run_northwards(make_scene):
    upwards = make_scene(transform=Affine(30, 0, 500_000, 0, 30, 7_000_000 - 1200))
    with pytest.raises(ValueError, match="same ground"):
        scenes.check_disjoint({"train": [make_scene()], "test": [upwards]})


def test_touching_is_not_overlapping(make_scene):
    scenes.check_disjoint({"train": [make_scene()], "test": [make_scene(west=500_000 + 50 * 30)]})
    nearer = make_scene(west=500_000 + 49 * 30)
    with pytest.raises(ValueError, match="same ground"):
        scenes.check_disjoint({"train": [make_scene()], "test": [nearer]})
    slanted = [make_scene(transform=SLANTED @ Affine.translation(49 * i, 0)) for i in range(2)]
    with pytest.raises(ValueError, match="same ground"):
        scenes.check_disjoint({"train": slanted[:1], "test": slanted[1:]})


# --- folders


def tiles_of(scene, size):
    return [replace(patch, name=f"tile_{i:03d}") for i, patch in enumerate(scene.patches(size))]


def save_picture(scene, path):
    Image.fromarray(scene.pixels.astype("uint8")).save(path)


def save_placed(scene, folder):
    values = np.moveaxis(scene.pixels, -1, 0).astype(scene.dtype)
    raw_file(folder / f"{scene.name}.tif", values, crs=scene.crs, transform=scene.transform)


def manifest(folder, rows):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [",".join(columns), *(",".join(str(row.get(column, "")) for column in columns) for row in rows)]
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")


def place_of(scene):
    return dict(zip(("west", "south", "east", "north"), scene.bounds, strict=True)) | {"crs": str(scene.crs)}


def named(ground):
    return {split: [scene.name for scene in found] for split, found in ground.items()}


def test_a_folder_with_a_manifest(tmp_path, make_scene):
    """Pictures get the place that the manifest gives, and its split is kept."""
    tiles = tiles_of(make_scene(40, 60, dtype="uint8"), 20)
    splits = ["train", "test", "train", "validation", "test", "train"]
    for tile in tiles:
        save_picture(tile, tmp_path / f"{tile.name}.png")
    save_picture(tiles[0], tmp_path / "not_listed.png")
    rows = [
        {"path": f"{tile.name}.png", "role": "image", "split": split, "credit": f"©{tile.name}"} | place_of(tile)
        for tile, split in zip(tiles, splits, strict=True)
    ]
    manifest(tmp_path, rows[::-1] + [{"path": "absent.png", "role": "map", "split": "train"}])
    ground = sources.open_ground(tmp_path, **SMALL)
    assert named(ground) == {
        split: [tile.name for tile, of in zip(tiles, splits, strict=True) if of == split] for split in scenes.SPLITS
    }
    first = ground["train"][0]
    assert same(first, replace(tiles[0], credit="©tile_000")) and first.ground_sample_distance_m == 30


def test_a_split_that_shows_ground_twice_is_refused(tmp_path, make_scene):
    scene = make_scene(60, 60)
    rows = []
    for row, split in ((0, "train"), (20, "validation"), (39, "test")):
        scenes.write(scene.cut(row, 0, 20, 60), tmp_path / f"{split}.tif")
        rows.append({"path": f"{split}.tif", "role": "image", "split": split})
    manifest(tmp_path, rows)
    with pytest.raises(ValueError, match=r"(test|validation) \((test|validation)\).* show the same ground"):
        sources.open_ground(tmp_path, **SMALL)


@pytest.mark.parametrize("splits", [("train", "train", "test"), ("train", "val", "test"), ("train", "validation", "")])
def test_a_split_that_is_not_whole_is_told(tmp_path, make_scene, splits):
    """Splitting anew in silence would train on ground that somebody has set apart."""
    rows = []
    for i, split in enumerate(splits):
        scenes.write(make_scene(seed=i, west=500_000 + 3000 * i), tmp_path / f"{i}.tif")
        rows.append({"path": f"{i}.tif", "role": "image", "split": split})
    manifest(tmp_path, rows)
    with pytest.raises(ValueError, match="give the splits .*'train'.*expected train, validation and test"):
        sources.open_ground(tmp_path, **SMALL)


def test_a_manifest_without_split_is_split_by_ground(tmp_path, make_scene):
    scenes.write(make_scene(100, 100), tmp_path / "a.tif")
    manifest(tmp_path, [{"path": "a.tif", "role": "image"}])
    assert places(sources.open_ground(tmp_path, **SMALL)) == places(
        scenes.split_ground([make_scene(100, 100)], **SMALL)
    )


@pytest.mark.parametrize("rows, message", [
    ([{"path": "a.png", "role": "map"}], "holds no image.*manifest.csv with the role image"),
    ([{"file": "a.png", "role": "image"}], "has no columns {'path'}; it has .'file', 'role'"),
    ([{"path": "a.png", "role": "image", "west": 1, "south": 1, "east": "x", "north": 2, "crs": "EPSG:4326"}],
     "gives a.png no place"),
    ([{"path": "a.png", "role": "image", "west": 1, "south": 1, "east": 2, "north": 2, "crs": "EPSG:x"}],
     "gives a.png no place"),
    ([{"path": "b.png", "role": "image"}], "b.png is no readable image"),
])  # fmt: skip
def test_a_manifest_that_is_wrong(tmp_path, make_scene, rows, message):
    save_picture(make_scene(dtype="uint8"), tmp_path / "a.png")
    manifest(tmp_path, rows)
    with pytest.raises(ValueError, match=message):
        sources.open_ground(tmp_path, **SMALL)


def test_a_manifest_that_is_no_table(tmp_path):
    (tmp_path / "manifest.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(ValueError, match="manifest.csv is no table"):
        sources.open_ground(tmp_path, **SMALL)


def test_a_folder_of_large_images_is_split_by_blocks(tmp_path, make_scene):
    scene = make_scene(100, 120)
    scenes.write(scene, tmp_path / "scene0.tif")
    assert places(sources.open_ground(tmp_path, **SMALL)) == places(scenes.split_ground([scene], **SMALL))


@pytest.mark.parametrize("size", [12, 16, 20])
def test_a_folder_of_tiles_with_a_place(tmp_path, make_scene, size):
    """Whole tiles, also where one is as large as a block: hardly any of the grid's blocks would fit into one."""
    for tile in tiles_of(make_scene(12 * size, 12 * size, ["grey"]), size):
        save_placed(tile, tmp_path)
    ground = sources.open_ground(tmp_path, **SMALL, seed=1)
    tiles = [(split, tile) for split, found in ground.items() for tile in found]
    assert len(tiles) > 70 and all(tile.pixels.shape == (size, size, 1) for _, tile in tiles)
    for (split, one), (other_split, other) in itertools.combinations(tiles, 2):
        assert split == other_split or gap_px(one, other) >= 4
    counts = [len(ground[split]) for split in scenes.SPLITS]
    assert counts[0] > counts[2] >= 9 and counts[1] >= 4
    assert named(ground) == named(sources.open_ground(tmp_path, **SMALL, seed=1))
    assert named(ground) != named(sources.open_ground(tmp_path, **SMALL, seed=2))


def test_tiles_in_two_coordinate_systems(tmp_path, make_scene):
    """Where two zones meet, equal ground has different numbers, and different ground may have equal ones."""
    west = make_scene(80, 160, west=740_000, north=7_200_000)
    left, _, _, top = transform_bounds(west.crs, "EPSG:32622", *west.bounds)
    east = make_scene(80, 160, seed=1, crs="EPSG:32622", west=left + 80 * 30, north=top)
    for tile in tiles_of(west, 16) + [replace(tile, name=f"east_{tile.name}") for tile in tiles_of(east, 16)]:
        save_placed(tile, tmp_path)
    ground = sources.open_ground(tmp_path, **SMALL)
    scenes.check_disjoint(ground)
    assert all(ground.values())
    assert {scene.crs for found in ground.values() for scene in found} == {west.crs, east.crs}


def test_plain_tiles_are_split_by_name_and_that_is_said(tmp_path, make_scene):
    for number in range(20):
        save_picture(make_scene(20, 20, seed=number, dtype="uint8"), tmp_path / f"{number:02d}.png")
    with pytest.warns(UserWarning, match="split by name.*manifest.csv with bounds"):
        ground = sources.open_ground(tmp_path, **SMALL)
    assert named(ground) == {
        "train": [f"{i:02d}" for i in range(14)], "validation": ["14", "15"], "test": ["16", "17", "18", "19"],
    }  # fmt: skip


def test_pictures_with_world_files_have_a_place(tmp_path, make_scene):
    for tile in tiles_of(make_scene(160, 160, dtype="uint8"), 20):
        save_picture(tile, tmp_path / f"{tile.name}.png")
        a, b, c, d, e, f = tile.transform[:6]
        (tmp_path / f"{tile.name}.pgw").write_text("\n".join(map(str, (a, d, b, e, c + a / 2, f + e / 2))))
    ground = sources.open_ground(tmp_path, **SMALL)
    for one, other in itertools.product(ground["train"], ground["test"]):
        assert gap_px(one, other) >= 4


@pytest.mark.parametrize("across", [2, 3, 4, 5, 6, 7, 8, 9])
def test_few_tiles_are_split_or_refused_with_advice(tmp_path, make_scene, across):
    for tile in tiles_of(make_scene(across * 12, across * 12, ["grey"]), 12):
        save_placed(tile, tmp_path)
    try:
        ground = sources.open_ground(tmp_path, **SMALL)
    except ValueError as error:
        assert across <= 4 and "acquire a larger area" in str(error)
    else:
        assert all(ground.values())


def test_the_order_of_a_folder_does_not_matter(tmp_path, make_scene, monkeypatch):
    for number in range(9):
        save_picture(make_scene(20, 20, seed=number, dtype="uint8"), tmp_path / f"{number}.png")
    read = {}
    for reverse in (False, True):
        listed = sorted(tmp_path.iterdir(), reverse=reverse)
        with monkeypatch.context() as patched, pytest.warns(UserWarning):
            patched.setattr(Path, "glob", lambda self, pattern, listed=listed: iter(listed))
            read[reverse] = named(sources.open_ground(tmp_path, **SMALL))
    assert read[False] == read[True]


@pytest.mark.parametrize("content, message", [
    ([], "holds no image; expected .*PNG.* or a manifest.csv"),
    (["notes.txt", "table.csv"], "holds no image; expected "),
    (["notes.tif"], "notes.tif is no readable image"),
])  # fmt: skip
def test_a_folder_without_images(tmp_path, content, message):
    for name in content:
        (tmp_path / name).write_text("hello")
    with pytest.raises(ValueError, match=message):
        sources.open_ground(tmp_path, **SMALL)
    with pytest.raises(ValueError, match="absent.* is neither a pack .* nor a path that exists"):
        sources.open_ground(tmp_path / "absent", **SMALL)


def test_hidden_files_are_left_alone(tmp_path, make_scene):
    """What macOS leaves on memory sticks, and an interrupted download."""
    scenes.write(make_scene(100, 100), tmp_path / "a.tif")
    for name in ("._a.tif", ".b.123.part.tif"):
        (tmp_path / name).write_bytes(b"half of an image")
    assert sources.open_ground(tmp_path, **SMALL)["train"]


def test_images_with_different_bands(tmp_path, make_scene):
    for number, bands in enumerate([("red", "green"), ("red", "nir"), ("red", "green")]):
        scenes.write(make_scene(bands=bands, seed=number), tmp_path / f"{number}.tif")
    with pytest.raises(ValueError, match="several kinds of images: 2 of bands red green.*; 1 of bands red nir"):
        sources.open_ground(tmp_path, **SMALL)


def test_a_bands_list_without_bands_is_refused(tmp_path, make_scene):
    for number in range(3):
        scenes.write(
            make_scene(bands=("red", "nir"), seed=number, west=500_000 + 3000 * number), tmp_path / f"{number}.tif"
        )
    with pytest.raises(ValueError, match="no band is named; the image has red, nir"):
        sources.open_ground(tmp_path, bands=[], **SMALL)
    assert sources.open_ground(tmp_path, **SMALL)["train"][0].bands == ("red", "nir")


def test_no_image_and_an_image_of_one_pixel_are_too_little_ground(tmp_path, make_scene):
    scenes.write(make_scene(1, 1), tmp_path / "a.tif")
    assert scenes.read(tmp_path / "a.tif").pixels.shape[:2] == (1, 1)
    with pytest.raises(ValueError, match="only 0 whole blocks of 16"):
        sources.open_ground(tmp_path, **SMALL)
    for split in (scenes.split_ground, lambda none, **how: scenes.split_scenes(none, [], **how)):
        with pytest.raises(ValueError, match="only 0 whole blocks of 16 .* were found; at least 3 are needed"):
            split([], block_px=16, buffer_px=4)


def test_images_that_are_too_small_or_too_few(tmp_path, make_scene):
    scenes.write(make_scene(15, 90), tmp_path / "a.tif")
    scenes.write(make_scene(90, 15, west=600_000), tmp_path / "b.tif")
    with pytest.raises(ValueError, match="only 0 whole blocks of 16.*smaller blocks"):
        sources.open_ground(tmp_path, **SMALL)
