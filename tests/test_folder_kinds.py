"""A folder is one data set only if it is one; tables and palettes as people save them."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image

from helpers import scenes
from helpers.__main__ import main
from helpers.acquire import sources
from helpers.acquire.manifest import placed, read_table
from helpers.scenes.bands import find_bands
from helpers.scenes.files import files_behind

SMALL = {"block_px": 16, "buffer_px": 4}


@pytest.fixture
def tiles(tmp_path, make_scene):
    """Twelve tiles side by side."""
    for number in range(12):
        west = 500_000 + 30 * 50 * number
        scenes.write(make_scene(seed=number, west=west), tmp_path / f"t{number:02}.tif")
    return tmp_path


def refused(folder, told):
    with pytest.raises(ValueError, match=told):
        sources.open_ground(folder, **SMALL)


@pytest.mark.parametrize("change, told", [
    ({"dtype": "uint8"}, r"1 of bands red green blue, uint8, .*: other; 12 of bands red green blue, uint16, "
     r"pixels 30 x 30 \(metre\).*: t00, t01, .*\. Keep those of one kind"),
    ({"pixel": 60}, "1 of .*pixels 60 x 60 .*; 12 of .*pixels 30 x 30"),
    ({"pixel": 30.4}, r"1 of .*pixels 30\.4 .*; 12 of .*pixels 30 x 30"),
    ({"crs": None}, "1 of .*pixels 30 x 30 .no CRS"),
    ({"crs": "EPSG:2277"}, "1 of .*pixels 30 x 30 .US survey foot"),
    ({"transform": rasterio.Affine(30, 0, 900_000, 0, -60, 7_000_000)}, "1 of .*pixels 30 x 60"),
    ({"transform": None, "crs": None}, "1 of .*no CRS"),
    ({"bands": ("red", "green", "nir")}, "1 of bands red green nir"),
])  # fmt: skip
def test_a_mixture_is_refused_with_its_kinds(tiles, make_scene, change, told):
    scenes.write(make_scene(west=900_000, seed=99, **change), tiles / "other.tif")
    refused(tiles, told)


def test_files_of_another_scale_or_offset_are_refused(tiles):
    """Half a folder of Sentinel-2 from before baseline 04.00 is 1000 darker, as its tags say."""
    for path in sorted(tiles.glob("*.tif"))[7:]:
        with rasterio.open(path, "r+") as image:
            image.scales, image.offsets = [0.0001] * image.count, [-0.1] * image.count
    refused(tiles, r"7 of .*offsets \(1\.0, .*: t00.*; 5 of .*offsets \(0\.0001, .*, -0\.1\): t07")


def test_one_kind_is_read(tiles, make_scene):
    scene = make_scene(west=900_000, seed=99, pixel=30.0001)  # as files of one sensor differ
    scenes.write(replace(scene, crs=rasterio.crs.CRS.from_epsg(32622)), tiles / "other_zone.tif")
    for name in (".DS_Store", "._t00.tif", "t00.tif.aux.xml", "t00.tfw", "Thumbs.db"):
        (tiles / name).write_bytes(b"junk")
    (tiles / "folder.tif").mkdir()
    assert sum(map(len, sources.open_ground(tiles, **SMALL).values())) >= 3


def test_pixel_sizes_within_a_hundredth_are_one_kind(tmp_path, make_scene):
    """Also where rounding would part them."""
    for number, pixel in enumerate((9.949, 9.951, 9.96)):
        scene = make_scene(seed=number, west=500_000 + 5_000 * number, pixel=pixel)
        scenes.write(scene, tmp_path / f"{number}.tif")
    assert sum(map(len, sources.open_ground(tmp_path, **SMALL).values())) >= 3


@pytest.mark.parametrize("header", ["path,role,Split", "PATH, Role ,split"])
def test_an_image_without_a_place_in_two_splits(tmp_path, header):
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), "uint8")
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    rows = ["0.png,image,train", "1.png,image,validation", "2.png,image,test"]
    (tmp_path / "manifest.csv").write_text("\n".join([header, *rows]))
    ground = sources.open_ground(tmp_path, **SMALL)
    assert [[one.name for one in ground[split]] for split in scenes.SPLITS] == [["0"], ["1"], ["2"]]
    (tmp_path / "2.png").write_bytes((tmp_path / "0.png").read_bytes())
    refused(tmp_path, r"0 \(train\) and 2 \(test\) show the same ground")


def test_rows_with_more_cells_than_the_header(tiles):
    (tiles / "manifest.csv").write_text("path,role\nt00.tif,image,NASA, ESA\n")
    refused(tiles, "is no table with commas")


def test_a_quick_look_beside_its_image(tiles):
    quick_look = Image.fromarray(np.zeros((40, 50, 3), "uint8"))
    quick_look.save(tiles / "t00_browse.jpg")
    refused(tiles, r"1 of bands red green blue, uint8, pixels 1 x 1 \(no CRS\).*: t00_browse")
    quick_look.save(tiles / "t00.jpg")
    refused(tiles, r"holds t00\.jpg and t00\.tif for pair t00: keep one")


def test_a_copy_counts_once(tiles):
    """Or not at all: none of its ground is on two sides of the split."""
    (tiles / "t11 - Copy.tif").write_bytes((tiles / "t11.tif").read_bytes())
    ground = sources.open_ground(tiles, **SMALL)
    shown = [{one.bounds for one in ground[split]} for split in scenes.SPLITS]
    assert not shown[0] & shown[1] and not shown[0] & shown[2] and not shown[1] & shown[2]


def test_a_link_to_nowhere(tiles):
    (tiles / "t97.tif").symlink_to(tiles / "gone.tif")
    refused(tiles, "t97.tif is no readable image")


@pytest.mark.parametrize("usual, odd", [((0.05, 0.95), (1, 180)), ((1, 6000), (0.01, 0.9))])
def test_an_image_of_another_kind(tmp_path, make_scene, usual, odd):
    for number in range(12):
        low, high = odd if number == 11 else usual
        scene = make_scene(seed=number, west=500_000 + 1500 * number, dtype="float32")
        scene = replace(scene, pixels=low + (high - low) * scene.pixels)
        scenes.write(scene, tmp_path / f"t{number:02}.tif")
    refused(tmp_path, "float32 reflectance, .*float32, pixels|float32, pixels .*float32 reflectance")


def test_dark_water_beside_bright_ground_is_no_other_scale(tiles, make_scene):
    scene = make_scene(west=900_000, seed=99)
    scenes.write(replace(scene, pixels=np.rint(scene.pixels / 100 + 1)), tiles / "water.tif")
    assert sum(map(len, sources.open_ground(tiles, **SMALL).values())) > 3


def test_collars_of_a_folder_are_named(tiles, make_scene):
    scene = make_scene(west=900_000, seed=99)
    scene.pixels[:, :20] = 0
    scenes.write(scene, tiles / "other.tif")
    with pytest.warns(UserWarning, match="images of .* have pixels along the edges or inside that are 0 in all bands"):
        sources.open_ground(tiles, **SMALL)


def test_an_undeclared_value_of_no_data_is_refused(tiles, make_scene):
    scene = make_scene(west=900_000, seed=99, dtype="float32", nodata=7)
    for number in range(12):
        scenes.write(
            make_scene(seed=number, west=500_000 + 1500 * number, dtype="float32"), tiles / f"t{number:02}.tif"
        )
    scene.pixels[4:9, 4:9], scene.pixels[20, 20] = -9999, np.nan
    scenes.write(scene, tiles / "other.tif")
    refused(tiles, "other: .* inside that are -9999 in all bands.*--nodata -9999")


# --- palettes


def test_a_picture_with_a_palette_is_read_as_colours(tmp_path):
    colours = np.random.default_rng(1).integers(0, 255, (4, 6, 3), "uint8").repeat(10, axis=0).repeat(10, axis=1)
    picture = Image.fromarray(colours).quantize(64)
    picture.save(tmp_path / "a & b.png")
    scene = scenes.read(tmp_path / "a & b.png")
    assert scene.bands == ("red", "green", "blue")
    assert np.array_equal(scene.pixels, np.asarray(picture.convert("RGB"))) and scene.transform is None
    picture.save(tmp_path / "why?.png")
    with pytest.raises(ValueError, match="why..png is no readable image.*a picture with a palette must hold no ."):
        scenes.read(tmp_path / "why?.png")


def test_a_palette_with_transparency(tmp_path):
    picture = Image.fromarray(np.arange(12, dtype="uint8").reshape(3, 4) % 3, "P")
    picture.putpalette([0, 0, 0, 200, 10, 20, 30, 40, 50])
    picture.save(tmp_path / "a.png", transparency=0)
    scene = scenes.read(tmp_path / "a.png")
    assert np.array_equal(scene.valid, np.arange(12).reshape(3, 4) % 3 > 0)
    assert np.array_equal(scene.pixels[0, 1:3], [[200, 10, 20], [30, 40, 50]])


def test_a_map_of_classes_is_no_imagery(tiles, tmp_path):
    with rasterio.open(
        tiles / "map.tif", "w", driver="GTiff", height=40, width=50, count=1, dtype="uint8", photometric="palette"
    ) as file:
        file.write(np.ones((1, 40, 50), "uint8"))
        file.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    refused(tiles, "map.tif has a palette: its numbers are classes, not brightness.*gdal_translate -expand rgb")
    assert np.all(scenes.read(tiles / "map.tif").pixels == 1)  # as classes it can be read
    rasterio.shutil.copy(tiles / "map.tif", tiles / "map.vrt", driver="VRT")
    with pytest.raises(ValueError, match="map.vrt has a palette"):
        scenes.read(tiles / "map.vrt", classes=False)


def test_a_dark_picture_is_no_reflectance(tiles, make_scene):
    dark = make_scene(west=900_000, dtype="uint8")
    for number in range(12):
        bright = make_scene(seed=number, west=500_000 + 30 * 50 * number, dtype="uint8")
        scenes.write(bright, tiles / f"t{number:02}.tif")
    scenes.write(replace(dark, pixels=dark.pixels % 3), tiles / "night.tif")
    assert sum(map(len, sources.open_ground(tiles, **SMALL).values())) >= 3


@pytest.mark.parametrize("west", ["nan", "inf", "here"])
def test_a_place_that_is_no_number_is_refused(west):
    row = {"path": "a.png", "crs": "EPSG:4326", "west": west, "south": "0", "east": "1", "north": "1"}
    with pytest.raises(ValueError, match="gives a.png no place that can be read.*expected numbers"):
        placed(scenes.Scene(np.zeros((2, 2, 1), "float32"), ("grey",)), row)


def test_a_changed_mask_is_another_source(tmp_path):
    image, mask = tmp_path / "a.tif", tmp_path / "a.tif.msk"
    image.write_bytes(b"image")
    alone = files_behind(image)
    mask.write_bytes(b"mask")
    assert [name for name, *_ in files_behind(image)] == [str(image), str(mask)] != [alone[0][0]]
    (tmp_path / "a.tif.aux.xml").write_bytes(b"statistics")  # viewers write them
    assert len(files_behind(image)) == 2


def test_a_single_map_is_no_source(tiles):
    test_a_map_of_classes_is_no_imagery(tiles, tiles)
    with pytest.raises(ValueError, match="has a palette"):
        sources.open_ground(str(tiles / "map.tif"), block_px=16)


# --- tables


TABLE = "path,role,pair,split\na.tif,image,1,train\nb c.tif,image,2,test\n"


@pytest.mark.parametrize("text", [
    TABLE.encode(), TABLE.encode("utf-8-sig"), TABLE.replace("\n", "\r\n").encode(),
    TABLE.replace(",", ", ").encode(), TABLE.replace(",", " , ").replace("\n", " \r\n").encode("utf-8-sig"),
])  # fmt: skip
def test_tables_as_people_save_them(tmp_path, text):
    (tmp_path / "manifest.csv").write_bytes(text)
    rows = read_table(tmp_path / "manifest.csv")
    assert rows.to_dict("records") == [
        {"path": "a.tif", "role": "image", "pair": "1", "split": "train"},
        {"path": "b c.tif", "role": "image", "pair": "2", "split": "test"},
    ]


def test_a_cell_may_say_na_and_the_last_cells_may_be_missing(tmp_path):
    (tmp_path / "manifest.csv").write_text('path, role, pair\na.tif, "image, map", NA\nb.tif\n\n')
    assert read_table(tmp_path / "manifest.csv").to_numpy().tolist() == [
        ["a.tif", "image, map", "NA"],
        ["b.tif", "", ""],
    ]


# --- names of bands


def test_names_of_bands():
    assert find_bands(["B1", "B2", "B3", "B4", "B5", "B6", "B7"], ["blue", "green", "red"]) == [1, 2, 3]
    assert find_bands(["B04", "B8A", "B11", "swir2"], ["red", "nir08", "swir16", "swir22"]) == [0, 1, 2, 3]
    assert find_bands(["B4, central wavelength 665 nm", "B8_10m"], ["nir", "red"]) == [1, 0]
    with pytest.raises(ValueError, match="no bands match nir"):  # Landsat 8: nobody can say what its B5 is here
        find_bands(["B2", "B3", "B4", "B5", "B6", "B7"], ["red", "nir"])
    with pytest.raises(ValueError, match="2 bands match red; the image has 3: 1 R, 2 B4, 3 blue"):
        find_bands(["R", "B4", "blue"], ["red"])


# --- records


@pytest.mark.parametrize("content", ["[]", "null", '{"scores": []}', "{", "\udcff"])
def test_a_record_that_is_none(project, write_notebook, capsys, content):
    write_notebook("02_a")
    folder = project / "runs" / "mine" / "02_a"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_bytes(content.encode(errors="surrogateescape"))
    for command in (["compare"], ["run", "02", "--run-id", "mine", "--resume"]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and all(told in error for told in ("metrics.json", "delete it", "run again"))


def test_a_collar_of_a_single_source_is_named(tmp_path, make_scene):
    scene = make_scene(80, 90)
    scene.pixels[:, :20] = 0
    scenes.write(scene, tmp_path / "a.tif")
    with pytest.warns(UserWarning, match="along the edges or inside that are 0 in all bands"):
        sources.open_ground(str(tmp_path / "a.tif"), block_px=16)
