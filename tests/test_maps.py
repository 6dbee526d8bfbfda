"""Maps: the Blue Marble with its land cover, split by ground; and pairs of any folder."""

import csv

import numpy as np
import pytest
from PIL import Image

from helpers import scenes
from helpers.acquire import packs
from helpers.pairs import folders, legends, maps
from helpers.pairs.folders import COLOURS as SATELLITE

PICTURE = ("map_red", "map_green", "map_blue")
needs_packs = pytest.mark.skipif(
    bool(packs.missing("blue_marble") or packs.missing("land_cover")),
    reason="needs: python -m helpers fetch blue_marble land_cover",
)


@pytest.fixture(scope="module")
def earth():
    return maps.earth()


@pytest.fixture(scope="module")
def ground(earth):
    return maps.land_cover(earth)


# --- the Earth


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
    assert len(colours) == 9 and sorted(set(maps.IGBP)) == list(range(9))
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    one, other = np.triu_indices(len(colours), 1)
    for matrix in seen:
        light = np.clip(linear @ np.transpose(matrix), 0, 1)
        lab = rgb2lab(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)[None])[0]
        assert deltaE_ciede2000(lab[one], lab[other]).min() > 12


# (latitude, longitude, class) of places whose cover is no question
PLACES = {
    "Atlantic": (0, -25, "water"), "Lake Victoria": (-1, 33, "water"), "Sahara": (23, 5, "barren"),
    "Greenland": (72, -40, "ice"), "Amazon": (-5, -66, "rainforest"), "Congo": (-1, 22, "rainforest"),
    "Iowa": (42.5, -94, "crops"), "Ukraine": (49.5, 32, "crops"), "Kazakhstan": (48.5, 68, "grass and wetland"),
    "Virginia": (38, -80, "forest"),
}  # fmt: skip


@needs_packs
@pytest.mark.parametrize("latitude, longitude, expected", PLACES.values(), ids=PLACES)
def test_land_cover_of_known_places(earth, latitude, longitude, expected):
    column, row = ~earth.transform @ (longitude, latitude)
    around = earth.pixels[round(row) - 3 : round(row) + 4, round(column) - 3 : round(column) + 4, 3].astype(int)
    assert list(maps.LEGEND)[np.bincount(around.ravel()).argmax()] == expected


@needs_packs
def test_coasts_of_map_and_image_lie_on_each_other(earth):
    """Shifted by a pixel in any direction, the map fits the dark blue of the seas less well."""
    rows, columns = slice(700, 1500), slice(2300, 3500)
    red, _, blue, classes = np.moveaxis(earth.pixels[rows, columns], -1, 0)
    sea, water = blue > 1.5 * red + 10, classes == 0

    def agreement(down, right):
        return (np.roll(water, (down, right), (0, 1)) == sea)[2:-2, 2:-2].mean()

    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    assert max(shifts, key=lambda shift: agreement(*shift)) == (0, 0)
    assert agreement(0, 0) > 0.97


def near(box, other, pixel, buffer_px):
    west, south, east, north = np.array(box) + np.array([-1, -1, 1, 1]) * (buffer_px - 0.5) * pixel
    return west < other[2] and other[0] < east and south < other[3] and other[1] < north


@needs_packs
def test_training_ground_keeps_its_distance(earth, ground):
    held_out, pixel = ground["validation"] + ground["test"], earth.transform.a
    assert len(ground["train"]) > 300 and len(ground["test"]) > 25
    for block in ground["train"]:
        assert not any(near(block.bounds, other.bounds, pixel, 16) for other in held_out)
    for block in ground["validation"]:
        assert not any(near(block.bounds, other.bounds, pixel, 16) for other in ground["test"])
    assert any(near(block.bounds, ground["test"][0].bounds, pixel, 64) for block in ground["train"])


@needs_packs
def test_every_class_is_trained_and_tested(ground):
    for split in ("train", "test"):
        found = np.unique([np.unique(block.pixels[..., 3]) for block in ground[split]][0])
        for block in ground[split]:
            found = np.union1d(found, block.pixels[..., 3])
        assert found.tolist() == list(range(9))
    assert all((block.pixels[..., 3] > 0).mean() >= 0.3 for blocks in ground.values() for block in blocks)


@needs_packs
def test_another_seed_gives_another_split(earth, ground):
    other = maps.land_cover(earth, seed=1)
    assert {block.bounds for block in other["test"]} != {block.bounds for block in ground["test"]}


# --- batches

LEGEND = {"a": (0, 0, 200), "b": (0, 160, 0), "c": (250, 230, 120)}


def tile(seed=0, size=24, picture=False):
    """A pair whose class is its red in thirds, or whose map is the negative of its image."""
    satellite = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    drawn = 255 - satellite if picture else satellite[..., :1] // 86
    bands = (*SATELLITE, *(PICTURE if picture else ("class",)))
    return scenes.Scene(np.concatenate([satellite, drawn], axis=-1), bands, name=f"tile {seed}", dtype="uint8")


STREAM = {"patch_px": 8, "batch_size": 4, "steps": 5, "seed": 3}


def test_image_and_map_are_turned_alike():
    classes, drawn = (list(maps.dataset([tile(n) for n in range(3)], legend=LEGEND, target=target, **STREAM))
                      for target in ("class", "map"))  # fmt: skip
    for (satellite, cls), (same, picture) in zip(classes, drawn, strict=True):
        assert satellite.dtype == picture.dtype == "float32" and cls.dtype == "int32"
        assert np.array_equal(satellite, same) and np.array_equal(cls, np.rint(satellite[..., 0] * 255) // 86)
        assert np.allclose(picture, (np.array(list(LEGEND.values())) / 255)[cls])
    tiles = [tile(n, picture=True) for n in range(3)]
    pictures = list(maps.dataset(tiles, target="map", **STREAM))
    assert all(np.allclose(satellite + picture, 1) for satellite, picture in pictures)
    straight = {one.pixels[r : r + 8, c : c + 8, :3].tobytes() for one in tiles for r in range(17) for c in range(17)}
    patches = [np.rint(patch * 255).astype(np.uint8) for satellite, _ in pictures for patch in satellite.numpy()]
    there = [patch.tobytes() in straight for patch in patches]
    assert 0 < sum(there) < len(there)  # some are turned, some are not


def test_an_interrupted_stream_continues():
    whole = list(maps.dataset([tile()], legend=LEGEND, **STREAM))
    late = list(maps.dataset([tile()], legend=LEGEND, first_step=3, **STREAM))
    assert len(late) == 2
    for (satellite, drawn), (same, likewise) in zip(whole[3:], late, strict=True):
        assert np.array_equal(satellite, same) and np.array_equal(drawn, likewise)


def test_arrays_of_pairs():
    satellite, drawn, classes = maps.arrays([tile(0), tile(1)], LEGEND)
    assert satellite.shape == drawn.shape == (2, 24, 24, 3) and classes.dtype == "uint8"
    assert np.array_equal(np.rint(drawn * 255), np.array(list(LEGEND.values()))[classes])
    satellite, drawn, classes = maps.arrays([tile(0, picture=True)])
    assert classes is None and np.allclose(satellite + drawn, 1)


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


by_name = pytest.mark.filterwarnings("ignore:the tiles do not say where they lie", "ignore:a split is missing")


def image_of(one):
    return one.pixels[..., :3]


def map_of(one):
    """The map of a pair: its picture, or its classes in the three colours, which come in this order."""
    return COLOURS[one.pixels[..., 3]] if len(one.bands) == 4 else one.pixels[..., 3:]


def read_pairs(folder, tile_px=256, buffer_px=16, tolerance=0, **options):
    """Read a folder as notebook 05 does."""
    ground = folders.read_pairs(folder, folders.MAPS, block_px=tile_px, buffer_px=buffer_px, **options)
    return legends.classified(ground, folder, tolerance)


def read(folder, **options):
    ground, legend = read_pairs(folder, **options)
    return [tile for split in scenes.SPLITS for tile in ground[split]], legend


@by_name
def test_two_folders(legend_csv):
    tiles, legend = read(legend_csv)
    assert legend == {name: tuple(colour) for name, colour in zip("abc", COLOURS.tolist(), strict=True)}
    assert len(tiles) == 10
    for seed, one in enumerate(tiles):
        satellite, drawn = pair(seed)
        assert np.array_equal(image_of(one), satellite) and np.array_equal(map_of(one), drawn)
        assert one.name == f"{seed:02}" and one.bounds is None


def test_pairs_without_a_place_are_split_by_name_which_is_said(two_folders):
    with pytest.warns(UserWarning, match="split by name"):
        ground, _ = read_pairs(two_folders)
    assert [[one.name for one in ground[split]] for split in scenes.SPLITS] == [
        ["00", "01", "02", "03", "04", "05", "06"], ["07"], ["08", "09"],
    ]  # fmt: skip


@by_name
def test_maps_of_few_colours_are_their_own_legend(two_folders):
    tiles, legend = read(two_folders)
    assert legend == {"#0000c8": (0, 0, 200), "#00a000": (0, 160, 0), "#fae678": (250, 230, 120)}
    assert np.array_equal(map_of(tiles[4]), pair(4)[1])


@by_name
def test_maps_of_many_colours_have_no_classes_which_is_said(two_folders):
    save(pair(3)[0], two_folders / "map" / "03.png")
    with pytest.warns(UserWarning, match="more than 16 colours"):
        tiles, legend = read(two_folders)
    assert legend is None and all(one.bands[3:] == PICTURE for one in tiles)
    assert np.array_equal(map_of(tiles[3]), pair(3)[0])


@by_name
@pytest.mark.parametrize("left", ["satellite", "map"])
def test_side_by_side(tmp_path, left):
    for seed in range(5):
        both = pair(seed) if left == "satellite" else pair(seed)[::-1]
        save(np.concatenate(both, axis=1), tmp_path / f"{seed}.png")
    tiles, _ = read(tmp_path, left=left)
    for seed, one in enumerate(tiles):
        assert np.array_equal(image_of(one), pair(seed)[0]) and np.array_equal(map_of(one), pair(seed)[1])


def test_two_pictures_of_one_name_are_refused(tmp_path):
    for suffix in ("png", "jpg"):
        save(np.concatenate(pair(0), axis=1), tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match="a.jpg and a.png"):
        read_pairs(tmp_path)


def test_folders_of_splits_as_pix2pix_has_them(tmp_path):
    for split, seeds in {"train": range(20), "val": range(20, 26)}.items():
        for seed in seeds:
            save(np.concatenate(pair(seed), axis=1), tmp_path / split / f"{seed:02}.jpg", quality=95)
    with pytest.warns(UserWarning) as said:
        ground, legend = read_pairs(tmp_path)
    assert {split: len(tiles) for split, tiles in ground.items()} == {"train": 18, "validation": 2, "test": 6}
    assert any("last 2 training pairs" in str(one.message) for one in said) and legend is None
    (tmp_path / "val").rename(tmp_path / "validation")
    (tmp_path / "validation" / "25.jpg").rename(tmp_path / "25.jpg")
    with pytest.warns(UserWarning):  # another usual name, and one picture less
        assert len(read_pairs(tmp_path)[0]["test"]) == 5
    assert ground["test"][0].name == "val/20" and ground["validation"][0].name == "train/18"


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
    ground, _ = read_pairs(two_folders)
    assert [len(ground[split]) for split in scenes.SPLITS] == [6, 2, 2]
    one = ground["test"][1]
    assert (one.name, one.bounds, str(one.crs)) == ("p9", (1440, 0, 1600, 160), "EPSG:3857")
    assert np.array_equal(map_of(one), pair(9)[1])
    write_manifest(two_folders, lambda row: row | ({"split": "guard"} if row["pair"] == "p2" else {}))
    assert len(read_pairs(two_folders)[0]["train"]) == 5


def test_a_manifest_without_a_split_is_split_by_place(two_folders):
    write_manifest(two_folders, lambda row: row | {"split": ""})
    ground, _ = read_pairs(two_folders, buffer_px=8)
    west = {split: [one.bounds[0] for one in ground[split]] for split in scenes.SPLITS}
    between = [abs(one - other) for one in west["train"] for other in west["validation"] + west["test"]]
    assert min(between) > 160 and min(map(len, west.values())) > 0


def test_a_manifest_that_cannot_be_used(two_folders):
    write_manifest(two_folders, lambda row: None if row["path"] == "map/03.png" else row)
    with pytest.warns(UserWarning, match=r"left out p3 \(satellite only\)"):
        assert len(read_pairs(two_folders)[0]["train"]) == 5
    write_manifest(two_folders, lambda row: row | {"role": "photo"})
    with pytest.raises(ValueError, match="holds no pairs"):
        read_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"split": "" if row["pair"] == "p1" else row["split"]})
    with pytest.raises(ValueError, match="give the splits .'', 'test', 'train', 'validation'.; expected"):
        read_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"west": 0, "east": 160})
    with pytest.raises(ValueError, match="same ground"):
        read_pairs(two_folders)
    write_manifest(two_folders, lambda row: row | {"path": row["path"].replace("05", "missing")})
    with pytest.raises(ValueError, match="missing.png cannot be read"):
        read_pairs(two_folders)


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
        assert np.array_equal(map_of(tiles[seed]), pair(seed)[1])
    grey = np.asarray(Image.fromarray(pair(2)[0]).convert("L"))
    assert np.array_equal(image_of(tiles[2]), np.repeat(grey[..., None], 3, axis=2))


@by_name
def test_transparent_pairs_are_left_out_which_is_said(two_folders):
    holed = Image.fromarray(pair(4)[0]).convert("RGBA")
    holed.putpixel((3, 3), (9, 9, 9, 0))
    save(holed, two_folders / "satellite" / "04.png")
    with pytest.warns(UserWarning, match=r"left out 04 \(transparent pixels\)"):
        tiles, _ = read(two_folders)
    assert [one.name for one in tiles] == ["00", "01", "02", "03", "05", "06", "07", "08", "09"]


@by_name
def test_whole_blocks_of_a_picture_with_a_transparent_pixel_are_used(tmp_path):
    holed = np.concatenate(pair(0, size=200), axis=1)
    holed = np.dstack([holed, np.full(holed.shape[:2], 255, np.uint8)])
    holed[3, 3, 3] = 0
    save(holed, tmp_path / "giant.png")
    tiles, legend = read(tmp_path, tile_px=32, buffer_px=8)
    assert len(tiles) == 24 and len(legend) == 3 and tiles[0].pixels.dtype == "uint8"


@by_name
def test_a_missing_partner_is_named(two_folders):
    (two_folders / "map" / "07.png").unlink()
    (two_folders / "satellite" / "02.png").unlink()
    with pytest.warns(UserWarning, match=r"left out 02 \(map only\), 07 \(satellite only\)"):
        tiles, _ = read(two_folders)
    assert [one.name for one in tiles] == ["00", "01", "03", "04", "05", "06", "08", "09"]


def test_pairs_of_two_sizes_are_refused(two_folders):
    save(pair(3, size=18)[1], two_folders / "map" / "03.png")
    with pytest.raises(ValueError, match="pair '03' differ: 16 x 16 pixels .*, and 18 x 18 pixels"):
        read_pairs(two_folders)


@by_name
def test_a_few_undecided_pixels_are_reported(legend_csv):
    _, drawn = pair(3)
    drawn[2, 3:6] = (255, 0, 255)
    drawn[9, 9] = (1, 0, 200)
    save(drawn, legend_csv / "map" / "03.png")
    with pytest.warns(UserWarning, match=r"0\.2% .* further than .* \(255, 0, 255\) 3 px, \(1, 0, 200\) 1 px"):
        read_pairs(legend_csv)
    with pytest.warns(UserWarning, match=r"0\.1% .* \(255, 0, 255\) 3 px\. They get the nearest"):
        read_pairs(legend_csv, tolerance=1)
    more = {name: tuple(colour) for name, colour in zip("abc", COLOURS.tolist(), strict=True)} | {"d": (255, 0, 255)}
    with open(legend_csv / "legend.csv", "a") as file:
        file.write("\nd,255,0,255")
    tiles, legend = read(legend_csv, tolerance=1)
    assert legend == more and (tiles[3].pixels[..., 3] == 3).sum() == 3 and tiles[3].pixels[9, 9, 3] == 0


@by_name
def test_noise_of_jpeg_needs_a_tolerance(legend_csv):
    for seed in range(10):
        (legend_csv / "map" / f"{seed:02}.png").unlink()
        blocks = np.kron(pair(seed, size=4)[1], np.ones((8, 8, 1), np.uint8))
        save(blocks, legend_csv / "map" / f"{seed:02}.jpg", quality=95, subsampling=0)
        save(pair(seed, size=32)[0], legend_csv / "satellite" / f"{seed:02}.png")
    with pytest.raises(ValueError, match=r"% of the map pixels are undecided.*give a larger tolerance"):
        read_pairs(legend_csv)
    with pytest.warns(UserWarning):
        tiles, _ = read(legend_csv, tolerance=30)
    right = [np.array_equal(map_of(one)[4::8, 4::8], pair(n, size=4)[1]) for n, one in enumerate(tiles)]
    assert all(right)


@by_name
def test_a_legend_with_colours_that_no_map_has_is_reported(legend_csv):
    with open(legend_csv / "legend.csv", "a") as file:
        file.write("\nroads,255,0,0\nparks,9,99,9")
    with pytest.warns(UserWarning, match="no training pair holds roads, parks: .* Correct its colour"):
        read_pairs(legend_csv)


@by_name
def test_a_class_that_no_training_pair_holds_is_reported(legend_csv):
    for seed in range(10):
        _, drawn = pair(seed)
        if seed < 8:
            drawn[(drawn == COLOURS[1]).all(axis=-1)] = COLOURS[0]
        save(drawn, legend_csv / "map" / f"{seed:02}.png")
    with pytest.warns(UserWarning, match="no training pair holds b: it cannot be learned"):
        read_pairs(legend_csv)


@pytest.mark.parametrize("text", [
    "name,r,g,b\na,1,2,3", "class,red,green,blue", "class,red,green,blue\na,1,2,3\nb,1,2,3",
    "class,red,green,blue\na,1,2,300", "class,red,green,blue\na,1,2,blue", "class,red,green,blue\na,1,2",
])  # fmt: skip
def test_a_legend_that_cannot_be_read(two_folders, text):
    (two_folders / "legend.csv").write_text(text)
    with pytest.raises(ValueError, match="legend.csv"):
        read_pairs(two_folders)


def test_one_giant_image_is_cut_into_tiles_that_are_split_by_ground(tmp_path):
    satellite, drawn = pair(0, size=200)
    save(np.concatenate([satellite, drawn], axis=1), tmp_path / "giant.png")
    ground, legend = read_pairs(tmp_path, tile_px=32, buffer_px=8)
    assert len(legend) == 3 and [len(ground[split]) > 0 for split in scenes.SPLITS] == [True] * 3
    tiles = [one for split in scenes.SPLITS for one in ground[split]]
    assert len(tiles) == 25  # 5 x 5 with 8 px between
    for one in tiles:
        places = [
            (row, column) for row in range(0, 169, 40) for column in range(0, 169, 40)
            if np.array_equal(satellite[row : row + 32, column : column + 32], image_of(one))
        ]  # fmt: skip
        ((row, column),) = places
        assert np.array_equal(drawn[row : row + 32, column : column + 32], map_of(one))


def test_an_image_that_declares_too_much_is_not_decoded(two_folders, monkeypatch):
    Image.new("1", (14000, 13500)).save(two_folders / "satellite" / "00.png")  # a file of 25 kB
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ValueError, match="00.png cannot be read: Image size .189000000 pixels. exceeds limit"):
        read_pairs(two_folders)


def one_a_split(folder, *parts):
    """Folders `train` and `val`, with a single pair in some."""
    for part in ("train", "val"):
        (folder / part).mkdir()
    for number, part in enumerate(parts):
        save(np.concatenate(pair(number), axis=1), folder / part / "a.png")


@pytest.mark.parametrize("prepare, message", [
    (lambda folder: None, "holds no pairs: expected"),
    (lambda folder: save(pair(0)[0], folder / "a.png"), "a.png has 16 x 16 pixels.*twice as wide"),
    (lambda folder: save(pair(0)[0][:, :15], folder / "a.png"), "a.png has 15 x 16 pixels.*twice as wide"),
    (lambda folder: save(pair(0)[0], folder / "map" / "a.png"), r"holds no pairs: .*Left out: a \(map only\)"),
    (lambda folder: save(np.concatenate(pair(0), axis=1), folder / "a.png"), "only 0 whole blocks"),
    (lambda folder: (folder / "a.png").write_text("no picture"), "a.png cannot be read"),
    (lambda folder: [(folder / part).mkdir() for part in ("train", "val")], "holds no pairs"),
    (lambda folder: one_a_split(folder, "train"), r"give the splits \['train'\]; expected"),
    (lambda folder: one_a_split(folder, "train", "val"), r"give the splits \['train', 'validation'\]; expected"),
])  # fmt: skip
@by_name
def test_folders_without_pairs(tmp_path, prepare, message):
    prepare(tmp_path)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="holds no pairs"):
        read_pairs(tmp_path / "nowhere")
