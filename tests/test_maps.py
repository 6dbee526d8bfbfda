"""Maps: drawn from surveyed lines over the real Blue Marble, and pairs of any folder."""

import csv
import hashlib

import numpy as np
import pytest
from PIL import Image

from helpers import metrics, scenes
from helpers.acquire import packs
from helpers.pairs import map_drawing, maps

needs_pack = pytest.mark.skipif(bool(packs.missing("blue_marble")), reason="needs: python -m helpers fetch blue_marble")
OCEAN, LAKE, RIVER, LOWLAND, UPLAND, MOUNTAIN = range(6)


def sha256(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


@pytest.fixture(scope="module")
def world():
    return map_drawing.world()


@pytest.fixture(scope="module")
def ground():
    return maps.open_maps(tile_px=128)


def around(raster, lat, lon, px):
    row, column = int((90 - lat) * 15), int((lon + 180) * 15)
    return raster[row - px : row + px + 1, column - px : column + px + 1]


# --- the map of the whole Earth


def test_colours_of_the_legend_are_far_apart_for_everyone():
    from skimage.color import deltaE_ciede2000, rgb2lab

    # what red-, green- and blue-blind people see of linear RGB: Machado et al. 2009, complete loss
    seen = [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
    colours = np.array(list(maps.LEGEND.values())) / 255
    assert len(colours) >= 6
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    one, other = np.triu_indices(len(colours), 1)
    for matrix in seen:
        light = np.clip(linear @ np.transpose(matrix), 0, 1)
        lab = rgb2lab(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)[None])[0]
        assert deltaE_ciede2000(lab[one], lab[other]).min() > 14


@needs_pack
def test_drawn_again_the_map_is_the_same(world):
    again = map_drawing.draw()
    assert sha256(*again) == sha256(*world)
    assert [part.shape for part in world] == [(2700, 5400)] * 2 and {part.dtype.name for part in world} == {"uint8"}


@needs_pack
def test_a_tile_drawn_twice_is_the_same(ground):
    again = maps.open_maps(tile_px=128)
    for split in scenes.SPLITS:
        for one, other in zip(ground[split], again[split], strict=True):
            assert one.name == other.name
            assert sha256(one.satellite, one.map, one.classes) == sha256(other.satellite, other.map, other.classes)
            assert np.array_equal(metrics.decode(one.map, maps.LEGEND), one.classes)


@needs_pack
def test_the_map_is_drawn_once(monkeypatch, world):
    monkeypatch.setattr(map_drawing, "draw", lambda: pytest.fail("drawn again"))
    assert np.array_equal(map_drawing.world().classes, world.classes)


WATER = [  # places that are far from a shore
    ("Mediterranean", 35, 18, OCEAN), ("Hudson Bay", 60, -86, OCEAN), ("Black Sea", 43, 34, OCEAN),
    ("Red Sea", 20, 38.5, OCEAN), ("Persian Gulf", 27, 51.5, OCEAN), ("Caspian Sea", 42, 50.5, LAKE),
    ("Lake Victoria", -1, 33, LAKE), ("Lake Superior", 47.7, -87.5, LAKE), ("Lake Baikal", 53.5, 108.2, LAKE),
    ("Lake Tanganyika", -6.5, 29.6, LAKE), ("Lake Titicaca", -15.8, -69.4, LAKE), ("Lake Ladoga", 60.8, 31.5, LAKE),
]  # fmt: skip
HEIGHTS = [  # surroundings of a place: mostly below 300 m, between, or above 1500 m
    ("Moscow, 150 m", 55.75, 37.6, LOWLAND), ("Winnipeg, 240 m", 49.9, -97.5, LOWLAND),
    ("Baghdad, 34 m", 33.3, 44.4, LOWLAND), ("Houston, 15 m", 29.8, -95.9, LOWLAND),
    ("Timbuktu, 260 m", 16.8, -3.5, LOWLAND), ("Iquitos, 106 m", -4.5, -74.0, LOWLAND),
    ("Delhi, 216 m", 28.6, 77.5, LOWLAND), ("Omsk, 90 m", 55.0, 73.4, LOWLAND),
    ("Santa Fe of Argentina, 25 m", -30.9, -61.0, LOWLAND), ("Paris, 35 m", 48.6, 2.3, LOWLAND),
    ("Madrid, 650 m", 40.4, -4.0, UPLAND), ("Bangalore, 920 m", 13.0, 77.6, UPLAND),
    ("Brasilia, 1100 m", -15.8, -47.9, UPLAND), ("Alice Springs, 545 m", -23.7, 133.5, UPLAND),
    ("Kansas at Oakley, 930 m", 39.1, -100.9, UPLAND), ("Maun, 940 m", -20.0, 23.4, UPLAND),
    ("Agadez, 500 m", 17.0, 8.0, UPLAND), ("Kananga, 610 m", -5.9, 22.4, UPLAND),
    ("Munich, 520 m", 48.1, 11.6, UPLAND), ("Riyadh, 610 m", 24.7, 46.7, UPLAND),
    ("Lhasa, 3650 m", 29.7, 90.9, MOUNTAIN), ("Tibetan plateau, 5000 m", 33.0, 88.0, MOUNTAIN),
    ("Altiplano, 3800 m", -18.5, -67.9, MOUNTAIN), ("Ethiopian highlands, 2400 m", 9.5, 38.5, MOUNTAIN),
    ("Mexico City, 2240 m", 19.4, -99.5, MOUNTAIN), ("Lesotho, 2500 m", -29.5, 28.6, MOUNTAIN),
    ("Leadville, 3100 m", 39.2, -106.3, MOUNTAIN), ("Kabul, 1800 m", 34.6, 69.0, MOUNTAIN),
    ("Pamir, 4000 m", 38.3, 73.3, MOUNTAIN), ("Yellowstone, 2400 m", 44.6, -110.5, MOUNTAIN),
]  # fmt: skip
RIVERS = [
    ("Nile at Luxor", 25.70, 32.64), ("Amazon at Manaus", -3.13, -59.90), ("Mississippi at Memphis", 35.14, -90.07),
    ("Congo at Lisala", 2.14, 21.51), ("Ganges at Varanasi", 25.31, 83.02), ("Lena at Yakutsk", 62.03, 129.80),
    ("Danube at Budapest", 47.50, 19.05), ("Niger at Niamey", 13.51, 2.11), ("Orange at Upington", -28.46, 21.24),
    ("Yangtze at Chongqing", 29.57, 106.58), ("Parana at Posadas", -27.36, -55.90),
]  # fmt: skip


@needs_pack
@pytest.mark.parametrize("lat, lon, expected", [pytest.param(*place, id=name) for name, *place in WATER])
def test_seas_and_lakes_lie_where_they_are(world, lat, lon, expected):
    assert (around(world.classes, lat, lon, 1) == expected).all()


@needs_pack
@pytest.mark.parametrize("lat, lon, expected", [pytest.param(*place, id=name) for name, *place in HEIGHTS])
def test_heights_of_known_places(world, lat, lon, expected):
    found = around(world.classes, lat, lon, 4)
    found = found[np.isin(found, (LOWLAND, UPLAND, MOUNTAIN))]
    assert np.mean(found == expected) > 0.7


@needs_pack
@pytest.mark.parametrize("lat, lon", [pytest.param(*place, id=name) for name, *place in RIVERS])
def test_rivers_lie_where_they_are(world, lat, lon):
    assert (around(world.classes, lat, lon, 2) == RIVER).any()


@needs_pack
def test_no_river_in_a_desert_or_an_ocean(world):
    for lat, lon in ((23, 5), (20, 22), (-25, 130), (19, 50)):  # Sahara, Libyan Desert, Australia, Empty Quarter
        assert not (around(world.classes, lat, lon, 40) == RIVER).any()
    coast = around(world.classes, -33.9, 19, 60)
    assert (coast == OCEAN).any() and not (coast == map_drawing.NO_CLASS).any()


@needs_pack
@pytest.mark.parametrize("lat, lon, px", [(46, -84, 90), (62, 27, 40), (60, 75, 110), (50, -97, 60), (-5, -63, 90)])
def test_no_mountain_where_there_is_none(world, lat, lon, px):
    """Great Lakes, Finland, western Siberia, Manitoba, Amazon: what the blue of lakes stains in the tints is none."""
    assert np.mean(around(world.classes, lat, lon, px) == MOUNTAIN) < 1e-3


def edges(image):
    return np.hypot(*np.gradient(image.astype(float)))


@needs_pack
def test_coasts_of_map_and_image_lie_on_each_other(ground):
    """Open water is much bluer than red; where that begins, the map has its coast, to less than a pixel."""
    coastal = [t for tiles in ground.values() for t in tiles if 0.2 < np.mean(t.classes == OCEAN) < 0.6][::4]
    assert len(coastal) > 20
    blue = [np.clip(t.satellite[..., 2] - 1.25 * t.satellite[..., 0].astype(float) + 20, 0, 40) for t in coastal]
    image, drawn = (
        np.array([edges(part) for part in parts]) for parts in (blue, [t.classes == OCEAN for t in coastal])
    )
    shifts = [(row, column) for row in range(-3, 4) for column in range(-3, 4)]

    def correlation(shift):
        return np.corrcoef(image[:, 4:-4, 4:-4].ravel(), np.roll(drawn, shift, (1, 2))[:, 4:-4, 4:-4].ravel())[0, 1]

    found = np.reshape([correlation(shift) for shift in shifts], (7, 7))
    assert np.unravel_index(found.argmax(), found.shape) == (3, 3) and found.max() > 0.5
    for line in (found[:, 3], found[3]):  # the top of a parabola through the best three
        peak = (line[2] - line[4]) / (2 * (line[2] - 2 * line[3] + line[4]))
        assert abs(peak) < 0.5
    offsets = metrics.shift_px(image[..., None], drawn[..., None])
    assert np.abs(np.median(offsets, axis=0)).max() < 0.5
    moved = metrics.shift_px(image[..., None], np.roll(drawn, (2, -3), (1, 2))[..., None])
    assert np.median(moved, axis=0) == pytest.approx([2, -3], abs=0.5)  # such a fault would be seen


# --- tiles


@needs_pack
@pytest.mark.parametrize("tile_px", [128, 256])
def test_continents_are_kept_apart(tile_px, world):
    ground = maps.open_maps(tile_px=tile_px)
    seen = {split: np.zeros(world.classes.shape, bool) for split in scenes.SPLITS}
    for split, tiles in ground.items():
        for tile in tiles:
            row, column = round((90 - tile.north) * 15), round((tile.west + 180) * 15)
            window = np.s_[row : row + tile_px, column : column + tile_px]
            assert np.array_equal(tile.classes, world.classes[window])
            assert tile.east - tile.west == pytest.approx(tile_px / 15) and tile.north <= 75 and tile.south >= -60
            assert np.mean(tile.classes != OCEAN) > 0.3 and tile.classes.max() < 6
            if split != "train":
                assert not seen[split][window].any()  # no ground counts twice
            seen[split][window] = True
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        grown = np.zeros_like(seen[one])
        for row, column in np.ndindex(3, 3):
            grown |= np.roll(seen[one], ((row - 1) * 15, (column - 1) * 15), (0, 1))
        assert not (grown & seen[other]).any()
    land = world.classes != OCEAN
    africa = around(world.continents, 0, 25, 0)[0, 0]
    assert set(world.continents[seen["test"] & land]) == {africa}
    assert africa not in world.continents[seen["train"] & land]


@needs_pack
@pytest.mark.parametrize("lat, lon, continent", [
    (0, 25, "africa"), (30.5, 32.0, "africa"), (30, 34, "eurasia"), (-20, 46, "africa"), (8.6, -80.2, "north_america"),
    (8.9, -79.0, "south_america"), (28.3, -16.6, "africa"), (37.5, 14, "eurasia"), (54, -2, "eurasia"),
    (65, -175, "eurasia"), (-42, 146.5, "australia"), (-6, 145, "australia"), (22, -79, "north_america"),
])  # fmt: skip
def test_what_belongs_to_which_continent(world, lat, lon, continent):
    assert map_drawing.CONTINENTS[around(world.continents, lat, lon, 0)[0, 0]] == continent


@needs_pack
def test_every_split_has_every_class(ground):
    for tiles in ground.values():
        counts = sum(np.bincount(tile.classes.ravel(), minlength=6) for tile in tiles)
        assert (counts / counts.sum() > 0.001).all()
    assert len(ground["train"]) > 400 and len(ground["validation"]) > 20 and len(ground["test"]) > 30


@needs_pack
def test_the_image_is_the_blue_marble_of_that_place(ground):
    image = packs.open_scene("blue_marble").pixels
    for tile in ground["test"][::10]:
        row, column = round((90 - tile.north) * 15), round((tile.west + 180) * 15)
        # GDAL and Pillow decode a JPEG alike but for a few units
        assert np.abs(tile.satellite - image[row : row + 128, column : column + 128]).mean() < 2


@needs_pack
def test_tiles_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="no tile of 1024 px"):
        maps.open_maps(tile_px=1024)
    with pytest.raises(ValueError, match="multiple of 8"):
        maps.open_maps(tile_px=100)
    for two in ({"test": "atlantis"}, {"test": "eurasia", "validation": "eurasia"}, {"validation": "antarctica"}):
        with pytest.raises(ValueError, match="expected two of africa, australia, eurasia"):
            maps.open_maps(tile_px=128, **two)


@needs_pack
def test_other_continents_can_be_held_out():
    ground = maps.open_maps(tile_px=128, test="australia", validation="africa")
    found = {split: {tile.continent for tile in tiles} for split, tiles in ground.items()}
    assert found["test"] == {"australia"} and found["validation"] == {"africa"}
    assert found["train"] >= {"eurasia", "north_america", "south_america"} and not found["train"] & {
        "australia",
        "africa",
    }


# --- batches


def tile(seed=0, size=24, **changes):
    """A tile whose map is the negative of its image, and whose classes are its red in quarters."""
    satellite = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    values = {"map": 255 - satellite, "classes": satellite[..., 0] // 64} | changes
    return maps.MapTile(satellite, values["map"], values["classes"], "", None, None, None, None, f"tile {seed}")


STREAM = {"patch_px": 8, "batch_size": 4, "steps": 5, "seed": 3}


def test_image_and_map_are_turned_alike():
    tiles = [tile(seed) for seed in range(3)]
    pictures, classes = (list(maps.dataset(tiles, target=target, **STREAM)) for target in ("map", "classes"))
    for (satellite, drawn), (same, cls) in zip(pictures, classes, strict=True):
        assert satellite.dtype == drawn.dtype == "float32" and cls.dtype == "int32"
        assert np.allclose(satellite + drawn, 1) and np.array_equal(satellite, same)
        assert np.array_equal(cls, np.rint(satellite[..., 0] * 255) // 64)
    straight = {tile.satellite[r : r + 8, c : c + 8].tobytes() for tile in tiles for r in range(17) for c in range(17)}
    patches = [np.rint(patch * 255).astype(np.uint8) for satellite, _ in pictures for patch in satellite.numpy()]
    there = [patch.tobytes() in straight for patch in patches]
    assert 0 < sum(there) < len(there)  # some are turned, some are not


def test_an_interrupted_stream_continues():
    whole = list(maps.dataset([tile()], **STREAM))
    late = list(maps.dataset([tile()], first_step=3, **STREAM))
    assert len(late) == 2
    for (satellite, drawn), (same, likewise) in zip(whole[3:], late, strict=True):
        assert np.array_equal(satellite, same) and np.array_equal(drawn, likewise)


def test_a_target_that_is_not_there_is_refused():
    for target, tiles in (("classes", [tile(), tile(classes=None)]), ("roads", [tile()])):
        with pytest.raises(ValueError, match=repr(target)):
            maps.dataset(tiles, target=target, **STREAM)


# --- folders

COLOURS = np.array([(0, 0, 200), (0, 160, 0), (250, 230, 120)], np.uint8)


def pair(seed, size=16):
    """Satellite image and map of three colours."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (size, size, 3), dtype=np.uint8), COLOURS[rng.integers(0, 3, (size, size))]


def save(pixels, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)


@pytest.fixture
def two_folders(tmp_path):
    for seed in range(10):
        for role, pixels in zip(("satellite", "map"), pair(seed), strict=True):
            save(pixels, tmp_path / role / f"{seed:02}.png")
    return tmp_path


@pytest.fixture
def legend_csv(two_folders):
    rows = [("class", "red", "green", "blue"), *((name, *c) for name, c in zip("abc", COLOURS.tolist(), strict=True))]
    (two_folders / "legend.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    return two_folders


by_name = pytest.mark.filterwarnings("ignore:the pairs do not say where they lie", "ignore:a split is missing")


def read(folder, **options):
    ground, legend = maps.read_map_pairs(folder, **options)
    return [tile for split in scenes.SPLITS for tile in ground[split]], legend


@by_name
def test_two_folders(legend_csv):
    tiles, legend = read(legend_csv)
    assert legend == {name: tuple(colour) for name, colour in zip("abc", COLOURS.tolist(), strict=True)}
    assert len(tiles) == 10
    for seed, one in enumerate(tiles):
        satellite, drawn = pair(seed)
        assert np.array_equal(one.satellite, satellite) and np.array_equal(one.map, drawn) and one.name == f"{seed:02}"
        assert np.array_equal(COLOURS[one.classes], drawn) and one.west is None


def test_pairs_without_a_place_are_split_by_name_which_is_said(two_folders):
    with pytest.warns(UserWarning, match="split by name"):
        ground, _ = maps.read_map_pairs(two_folders)
    assert [[one.name for one in ground[split]] for split in scenes.SPLITS] == [
        ["00", "01", "02", "03", "04", "05", "06"], ["07"], ["08", "09"],
    ]  # fmt: skip


@by_name
def test_maps_of_few_colours_are_their_own_legend(two_folders):
    tiles, legend = read(two_folders)
    assert legend == {"#0000c8": (0, 0, 200), "#00a000": (0, 160, 0), "#fae678": (250, 230, 120)}
    assert np.array_equal(COLOURS[tiles[4].classes], tiles[4].map)


@by_name
def test_maps_of_many_colours_have_no_classes_which_is_said(two_folders):
    save(pair(3)[0], two_folders / "map" / "03.png")
    with pytest.warns(UserWarning, match="more than 16 colours"):
        tiles, legend = read(two_folders)
    assert legend is None and all(one.classes is None for one in tiles)


@by_name
@pytest.mark.parametrize("direction", ["satellite_map", "map_satellite"])
def test_side_by_side(tmp_path, direction):
    for seed in range(5):
        both = pair(seed) if direction == "satellite_map" else pair(seed)[::-1]
        save(np.concatenate(both, axis=1), tmp_path / f"{seed}.png")
    tiles, _ = read(tmp_path, direction=direction)
    for seed, one in enumerate(tiles):
        assert np.array_equal(one.satellite, pair(seed)[0]) and np.array_equal(one.map, pair(seed)[1])


def test_folders_of_splits_as_pix2pix_has_them(tmp_path):
    for split, seeds in {"train": range(20), "val": range(20, 26)}.items():
        for seed in seeds:
            save(np.concatenate(pair(seed), axis=1), tmp_path / split / f"{seed:02}.jpg", quality=95)
    with pytest.warns(UserWarning) as said:
        ground, legend = maps.read_map_pairs(tmp_path)
    assert {split: len(tiles) for split, tiles in ground.items()} == {"train": 18, "validation": 2, "test": 6}
    assert any("last 2 training pairs" in str(one.message) for one in said) and legend is None
    assert ground["test"][0].name == "20" and ground["validation"][0].name == "18"


def write_manifest(folder, change=lambda row: row, crs="EPSG:3857"):
    rows = []
    for seed in range(10):
        for role in ("satellite", "map"):
            split = "train" if seed < 6 else "validation" if seed < 8 else "test"
            row = {"path": f"{role}/{seed:02}.png", "pair": f"p{seed}", "role": role, "split": split, "crs": crs}
            row |= {"west": seed * 160, "south": 0, "east": seed * 160 + 160, "north": 160}
            rows += [row] if (row := change(row)) else []
    with open(folder / "manifest.csv", "w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_manifest_keeps_its_split_and_places(two_folders):
    write_manifest(two_folders)
    ground, _ = maps.read_map_pairs(two_folders)
    assert [len(ground[split]) for split in scenes.SPLITS] == [6, 2, 2]
    one = ground["test"][1]
    assert (one.name, one.west, one.south, one.east, one.north, str(one.crs)) == ("p9", 1440, 0, 1600, 160, "EPSG:3857")
    assert np.array_equal(one.map, pair(9)[1])
    write_manifest(two_folders, lambda row: row | ({"split": "guard"} if row["pair"] == "p2" else {}))
    assert len(maps.read_map_pairs(two_folders)[0]["train"]) == 5


def test_a_manifest_that_cannot_be_used(two_folders):
    write_manifest(two_folders, lambda row: None if row["path"] == "map/03.png" else row)
    with pytest.raises(ValueError, match="1 pairs .* lack .* p3.*split_manifest"):
        maps.read_map_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"role": "photo"})
    with pytest.raises(ValueError, match="it has photo"):
        maps.read_map_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"split": ""})
    with pytest.raises(ValueError, match="gives no split.*split_manifest"):
        maps.read_map_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"split": "" if row["pair"] == "p1" else row["split"]})
    with pytest.raises(ValueError, match="p1 has the split ''"):
        maps.read_map_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"west": 0, "east": 160})
    with pytest.raises(ValueError, match="same ground"):
        maps.read_map_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"path": row["path"].replace("05", "missing")})
    with pytest.raises(ValueError, match="missing.png cannot be read"):
        maps.read_map_pairs(two_folders)


@by_name
def test_palettes_grey_and_opaque_alpha_become_colours(legend_csv):
    for seed, mode in ((0, "P"), (1, "RGBA"), (2, "L")):
        satellite, drawn = (Image.fromarray(pixels) for pixels in pair(seed))
        save(satellite.convert("L" if mode == "L" else "RGB"), legend_csv / "satellite" / f"{seed:02}.png")
        save(drawn.convert("RGBA") if mode == "RGBA" else drawn.quantize(8), legend_csv / "map" / f"{seed:02}.png")
    with Image.open(legend_csv / "map" / "00.png") as stored:
        assert stored.mode == "P"
    tiles, _ = read(legend_csv)
    for seed in range(3):
        assert np.array_equal(tiles[seed].map, pair(seed)[1])
    grey = np.asarray(Image.fromarray(pair(2)[0]).convert("L"))
    assert np.array_equal(tiles[2].satellite, np.repeat(grey[..., None], 3, axis=2))


@by_name
def test_transparent_pairs_are_left_out_which_is_said(two_folders):
    holed = Image.fromarray(pair(4)[0]).convert("RGBA")
    holed.putpixel((3, 3), (9, 9, 9, 0))
    save(holed, two_folders / "satellite" / "04.png")
    with pytest.warns(UserWarning, match="1 pairs with transparent pixels are left out: 04"):
        tiles, _ = read(two_folders)
    assert [one.name for one in tiles] == ["00", "01", "02", "03", "05", "06", "07", "08", "09"]


def test_a_missing_partner_is_named(two_folders):
    (two_folders / "map" / "07.png").unlink()
    (two_folders / "satellite" / "02.png").unlink()
    with pytest.raises(ValueError, match="2 pictures .* no partner .* 02, 07"):
        maps.read_map_pairs(two_folders)


def test_pairs_of_two_sizes_are_refused(two_folders):
    save(pair(3, size=18)[1], two_folders / "map" / "03.png")
    with pytest.raises(ValueError, match="03.png and .*03.png have 16 x 16 and 18 x 18"):
        maps.read_map_pairs(two_folders)


@by_name
def test_an_unknown_colour_is_named_and_counted(legend_csv):
    _, drawn = pair(3)
    drawn[2, 3:6] = (255, 0, 255)
    drawn[9, 9] = (1, 0, 200)
    save(drawn, legend_csv / "map" / "03.png")
    with pytest.raises(ValueError, match=r"2 colours in 1 maps \(03\).*\(255, 0, 255\) 3 px, \(1, 0, 200\) 1 px"):
        maps.read_map_pairs(legend_csv)
    with pytest.raises(ValueError, match=r"1 colours .* \(255, 0, 255\) 3 px\. Add"):
        maps.read_map_pairs(legend_csv, tolerance=1)
    more = {name: tuple(colour) for name, colour in zip("abc", COLOURS.tolist(), strict=True)} | {"d": (255, 0, 255)}
    tiles, legend = read(legend_csv, tolerance=1, legend=more)
    assert legend == more and (tiles[3].classes == 3).sum() == 3 and tiles[3].classes[9, 9] == 0


@pytest.mark.parametrize("text", [
    "name,r,g,b\na,1,2,3", "class,red,green,blue", "class,red,green,blue\na,1,2,3\nb,1,2,3",
    "class,red,green,blue\na,1,2,300", "class,red,green,blue\na,1,2,blue", "class,red,green,blue\na,1,2",
])  # fmt: skip
def test_a_legend_that_cannot_be_read(two_folders, text):
    (two_folders / "legend.csv").write_text(text)
    with pytest.raises(ValueError, match="legend.csv.* expected "):
        maps.read_map_pairs(two_folders)


def test_one_giant_image_is_cut_into_tiles_that_are_split_by_ground(tmp_path):
    satellite, drawn = pair(0, size=200)
    save(np.concatenate([satellite, drawn], axis=1), tmp_path / "giant.png")
    ground, legend = maps.read_map_pairs(tmp_path, tile_px=32, guard_px=8)
    assert len(legend) == 3 and [len(ground[split]) > 0 for split in scenes.SPLITS] == [True] * 3
    tiles = [one for split in scenes.SPLITS for one in ground[split]]
    assert len(tiles) == 25  # 5 x 5 with 8 px between
    for one in tiles:
        places = [
            (row, column) for row in range(0, 169, 40) for column in range(0, 169, 40)
            if np.array_equal(satellite[row : row + 32, column : column + 32], one.satellite)
        ]  # fmt: skip
        ((row, column),) = places
        assert np.array_equal(drawn[row : row + 32, column : column + 32], one.map)


def test_an_image_that_declares_too_much_is_not_decoded(two_folders, monkeypatch):
    Image.new("P", (8000, 7000)).save(two_folders / "satellite" / "00.png")  # a file of 6 kB
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="00.png cannot be read: it declares 8000 x 7000 pixels, more than 50 million"):
        maps.read_map_pairs(two_folders)


def test_more_than_memory_holds_is_refused(two_folders, monkeypatch):
    monkeypatch.setattr(maps, "MAX_READ_BYTES", 10_000)
    with pytest.raises(ValueError, match="`limit`"):
        maps.read_map_pairs(two_folders)


@by_name
def test_a_limit_takes_the_first_of_each_split(two_folders):
    assert [one.name for one in read(two_folders, limit=4)[0]] == ["00", "01", "02", "03"]
    write_manifest(two_folders)
    assert [one.name for one in read(two_folders, limit=1)[0]] == ["p0", "p6", "p8"]


@pytest.mark.parametrize("prepare, message", [
    (lambda folder: None, "holds no pairs.*It holds: nothing"),
    (lambda folder: save(pair(0)[0], folder / "a.png"), "a.png has 16 x 16 pixels.*twice as wide"),
    (lambda folder: save(pair(0)[0], folder / "map" / "a.png"), "holds no pairs.*It holds: map"),
    (lambda folder: save(np.concatenate(pair(0), axis=1), folder / "a.png"), "expected some in each split"),
    (lambda folder: (folder / "a.png").write_text("no picture"), "a.png cannot be read: it is no picture"),
])  # fmt: skip
@by_name
def test_folders_without_pairs(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(ValueError, match=message):
        maps.read_map_pairs(tmp_path)


def test_wrong_words(two_folders):
    with pytest.raises(ValueError, match="'AtoB'.*satellite_map or map_satellite"):
        maps.read_map_pairs(two_folders, direction="AtoB")
    with pytest.raises(ValueError, match="is no folder"):
        maps.read_map_pairs(two_folders / "nowhere")
