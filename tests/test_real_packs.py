"""The real sample packs, where they are fetched: scenes, hashes, and that the list says all of them."""

import numpy as np
import pytest

from helpers.acquire import packs


def fetched(name):
    return pytest.mark.skipif(bool(packs.missing(name)), reason=f"needs: python -m helpers fetch {name}")


RGB = ("red", "green", "blue")
SCENES = [  # pack, scene, bands, height, width, CRS, data type, share of pixels with data
    ("landsat8_itaipu", "224077", ("blue", "green", "red"), 1515, 2006, 32621, "uint16", 0.9764),
    ("landsat8_itaipu", "224078", ("blue", "green", "red"), 1860, 2041, 32621, "uint16", 0.8348),
    ("sentinel2_brandenburg", "10m", ("blue", "green", "red", "nir"), 768, 1536, 32633, "uint16", 1),
    ("sentinel2_brandenburg", "20m", ("rededge1", "rededge2", "rededge3", "nir08", "swir16", "swir22"),
     384, 768, 32633, "uint16", 1),
    ("sentinel2_brandenburg", "60m", ("coastal", "nir09", "cirrus"), 128, 256, 32633, "uint16", 1),
    ("landsat_timeseries", "2008-04-19", ("red", "nir", "swir16", "fmask"), 61, 61, 32613, "int16", 1),
    ("landsat_timeseries", "2008-04-27", ("red", "nir", "swir16", "fmask"), 61, 61, 32613, "int16", 0.8175),
    ("blue_marble", "image", RGB, 2700, 5400, 4326, "uint8", 1),
    ("blue_marble", "relief", RGB, 2700, 5400, 4326, "uint8", 1),
    ("rocky_mountain", "image", RGB, 373, 485, 4326, "uint8", 0.9376),
    ("rocky_mountain", "dem", ("elevation_m",), 187, 152, 4326, "uint16", 1),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("pack", "name", "bands", "height", "width", "epsg", "dtype", "valid"),
    [pytest.param(*row, marks=fetched(row[0]), id=f"{row[0]} {row[1]}") for row in SCENES],
)
def test_real_scenes(pack, name, bands, height, width, epsg, dtype, valid):
    scene = packs.open_scene(pack, name)
    assert (scene.height, scene.width, scene.bands) == (height, width, bands)
    assert scene.crs.to_epsg() == epsg and scene.transform is not None
    assert scene.dtype == dtype and scene.pixels.dtype == np.float32
    assert scene.valid.mean() == pytest.approx(valid, abs=1e-4)
    assert scene.name == f"{pack} {name}" and scene.credit == packs.catalogue()[pack].credit


@pytest.mark.parametrize("name", [pytest.param(name, marks=fetched(name)) for name in packs.catalogue()])
def test_real_files_have_the_listed_hashes(name):
    assert packs.missing(name, verify=True) == []


@pytest.mark.parametrize("name", packs.catalogue())
def test_every_scene_file_is_listed_and_every_pack_says_what_it_is(name):
    pack = packs.catalogue()[name]
    assert pack.description and pack.licence and pack.credit and "==" in pack.archive.requirement
    assert set(pack.main) <= set(pack.scenes)
    for scene in pack.scenes.values():
        assert set(scene["files"]) <= set(pack.members)
        assert len(scene["files"]) in (1, len(scene["bands"]))


@fetched("landsat8_itaipu")
def test_landsat_scenes_share_a_grid_and_overlap():
    first, second = packs.open_scenes("landsat8_itaipu", bands=("red", "blue"))
    assert first.bands == ("red", "blue") and first.nodata == 0
    shift = [(second.transform[i] - first.transform[i]) / 30 for i in (2, 5)]  # columns, rows
    assert shift == np.round(shift).tolist()
    whole = packs.open_scene("landsat8_itaipu", "224077")
    np.testing.assert_array_equal(first.pixels[..., 1], whole.pixels[..., 0])


@fetched("landsat_timeseries")
def test_time_series_is_in_order_of_date_and_on_one_grid():
    series = packs.open_scenes("landsat_timeseries")
    names = [scene.name.split()[1] for scene in series]
    assert len(series) == 105 and names == sorted(set(names)) and names[-1] == "2013-05-27"
    assert len({(scene.transform, str(scene.crs)) for scene in series}) == 1
    assert sum(not scene.valid.all() for scene in series) == 61  # Landsat 7 without its scan-line corrector
    codes = np.unique([scene.select(["fmask"]).pixels for scene in series])
    assert codes.tolist() == [0, 1, 2, 3, 4, 255]
