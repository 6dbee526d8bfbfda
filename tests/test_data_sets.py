"""Data set folders: the split by ground that a manifest keeps."""

import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rasterio.warp import transform as to_crs

from helpers import scenes
from helpers.acquire import download, sources

READ = {"block_px": 16, "buffer_px": 4}
EDGES = ["west", "south", "east", "north"]


@pytest.fixture
def pairs(tmp_path, make_scene):
    """A folder with 12 x 12 pairs of tiles, 20 px wide, side by side: roles `satellite` and `map`."""
    rows = []
    for number, tile in enumerate(make_scene(240, 240, dtype="uint8").patches(20)):
        for role in ("satellite", "map"):
            path = f"{role}/{number:03}.png"
            (tmp_path / role).mkdir(exist_ok=True)
            Image.fromarray(tile.pixels.astype(np.uint8)).save(tmp_path / path)
            place = dict(zip(EDGES, tile.bounds, strict=True), crs="EPSG:32621")
            rows.append({"path": path, "role": role, "pair": f"{number:03}", "split": "", **place})
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path


def change(folder, function):
    table = pd.read_csv(folder / "manifest.csv", dtype={"pair": str, "split": str}, keep_default_na=False)
    function(table).to_csv(folder / "manifest.csv", index=False)


def test_pairs_stay_together_and_splits_apart(pairs):
    counts = download.split_manifest(pairs)
    assert {type(name) for name in counts} == {str}  # a notebook prints them
    assert sum(counts.values()) == 288 and set(counts) == {*scenes.SPLITS, "guard"}
    ground = {role: sources.open_ground(pairs, role=role, **READ) for role in ("satellite", "map")}
    for split in scenes.SPLITS:
        there, partner = (ground[role][split] for role in ("satellite", "map"))
        assert [one.bounds for one in there] == [one.bounds for one in partner] and 2 * len(there) == counts[split]
    for one, other in itertools.product(ground["map"]["train"], ground["satellite"]["test"]):
        (west, south, east, north), (left, bottom, right, top) = one.bounds, other.bounds
        assert max(left - east, west - right, bottom - north, south - top) >= (east - west) / 16


def test_the_same_seed_gives_the_same_split(pairs):
    found = []
    for seed in (0, 0, 1):
        download.split_manifest(pairs, seed=seed)
        found.append((pairs / "manifest.csv").read_bytes())
    assert found[0] == found[1] != found[2]


def test_ground_that_overlapping_scenes_show_twice_counts_once(pairs):
    once = download.split_manifest(pairs)

    def with_copies(table):
        again = table[:60].assign(path="zz/" + table.path[:60], pair="b" + table.pair[:60])
        return pd.concat([table, again])

    change(pairs, with_copies)
    assert download.split_manifest(pairs) == once | {"copy": 60}
    assert set(pd.read_csv(pairs / "manifest.csv").query("split == 'copy'").path.str[:2]) == {"zz"}


def test_images_of_one_place_that_share_a_pair_count_once(pairs):
    """As where the tiles of overlapping scenes are named after their place."""
    once = download.split_manifest(pairs)
    change(pairs, lambda table: pd.concat([table, table[:60].assign(path="zz/" + table.path[:60])]))
    assert download.split_manifest(pairs) == once | {"copy": 60}


def test_an_image_without_its_partner_is_left_out(pairs):
    """Else the images of two roles, which are read one by one, would be out of step."""
    change(pairs, lambda table: table[(table.path != "map/003.png") & (table.path != "satellite/040.png")])
    assert download.split_manifest(pairs)["unpaired"] == 2
    for split in scenes.SPLITS:
        one, other = (sources.open_ground(pairs, role=role, **READ)[split] for role in ("satellite", "map"))
        assert [scene.name for scene in one] == [scene.name for scene in other]


def test_a_photo_is_a_point_in_degrees_and_its_patch_has_map_coordinates(pairs):
    expected = download.split_manifest(pairs)

    def as_points(table):
        photos = table.role == "map"
        x, y = table.west + 300, table.south + 300
        lon, lat = to_crs("EPSG:32621", "EPSG:4326", x, y)
        for edge, values in zip(EDGES, (lon, lat, lon, lat), strict=True):
            table[edge] = table[edge].where(~photos, values)
        table["crs"] = table.crs.where(~photos, "EPSG:4326")
        return table

    change(pairs, as_points)
    assert download.split_manifest(pairs) == expected


def test_what_cannot_be_split_is_refused_and_left_as_it_was(pairs):
    change(pairs, lambda table: table.assign(crs=table.crs.where(table.pair != "003", "")))
    before = (pairs / "manifest.csv").read_bytes()
    with pytest.raises(ValueError, match="does not say where 003 lies"):
        download.split_manifest(pairs)
    assert (pairs / "manifest.csv").read_bytes() == before
    change(pairs, lambda table: table[:6])
    with pytest.raises(ValueError, match="the 3 tiles lie so close together.*acquire a larger area"):
        download.split_manifest(pairs)


@pytest.mark.parametrize("tiles", [0, 1, 2])
def test_a_manifest_of_fewer_tiles_than_splits_is_refused_and_left_as_it_was(pairs, tiles):
    change(pairs, lambda table: table[: 2 * tiles])
    before = (pairs / "manifest.csv").read_bytes()
    with pytest.raises(ValueError, match=f"only {tiles} tiles were found; at least 3 are needed.*Acquire more"):
        download.split_manifest(pairs)
    assert (pairs / "manifest.csv").read_bytes() == before
    change(pairs, lambda table: table[:0])
    with pytest.raises(ValueError, match="holds no image; expected .* a manifest.csv with the role map"):
        sources.open_ground(pairs, role="map", **READ)


def test_only_measured_pixels_are_looked_at_for_gaps(pairs, recwarn):
    """A map has plain colours: white ice on its edges is no missing data."""
    for path in pairs.glob("*/*.png"):
        tile = np.array(Image.open(path))
        tile[:4] = 226
        Image.fromarray(tile).save(path)
    sources.open_ground(pairs, role="map", **READ)
    assert not [w for w in recwarn if "in all bands" in str(w.message)]
    with pytest.warns(UserWarning, match="226 in all bands"):
        sources.open_ground(pairs, role="satellite", **READ)


def test_a_role_that_no_row_has(pairs):
    with pytest.raises(ValueError, match="holds no image; .*manifest.csv with the role image"):
        sources.open_ground(pairs, **READ)
