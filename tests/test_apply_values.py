"""Values, bands and places that other tools write: the right result, or a refusal that names the way out."""

import os
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC
from rasterio.transform import Affine, from_gcps

from helpers import models, paths, scenes
from helpers.__main__ import main
from helpers.apply import apply
from helpers.apply.network import Predictor
from helpers.backend import keras
from tests.notebook_functions import espcn
from tests.test_apply_windows import save  # noqa: F401 - fixture

BANDS = ["blue", "green", "red", "nir"]
RANGE = [(1200, 1700), (850, 1500), (600, 1700), (400, 2700)]
LOW, HIGH = np.array(RANGE, "float64").T
NUMBERS = {"driver": "GTiff", "crs": "EPSG:32633", "photometric": "minisblack"}
TO_NORTH = Affine(10, 0, 400_000, 0, -10, 5_800_000)


@pytest.fixture
def model(save):  # noqa: F811
    """A network whose answer depends on the order of the bands: 1.1 x + 0.01, 0.02, 0.03, 0.04 in unit values."""
    image = keras.Input((None, None, 4))
    layer = keras.layers.Conv2D(4, 1)
    network = keras.Model(image, layer(image))
    layer.set_weights([1.1 * np.eye(4, dtype="float32")[None, None], np.arange(1, 5, dtype="float32") / 100])
    return save(network, BANDS, value_range=RANGE, receptive_field_px=1)


@pytest.fixture
def ground():
    """Digital numbers (bands, height, width) within the range of the model."""
    values = np.random.default_rng(3).uniform(size=(40, 50, 4)) * (HIGH - LOW) + LOW
    return np.rint(values).astype("uint16").transpose(2, 0, 1)


def put(path, values, names=BANDS, **options):
    profile = NUMBERS | {"transform": TO_NORTH, "dtype": values.dtype} | options
    count, height, width = values.shape
    with warnings.catch_warnings(action="ignore"), rasterio.open(
        path, "w", count=count, height=height, width=width, **profile
    ) as file:  # fmt: skip
        file.write(values)
        if names:
            file.descriptions = names
    return path


def answered(model, values, folder, names=BANDS, profile=(), **options):
    put(folder / "in.tif", values, names, **dict(profile))
    apply(model, folder / "in.tif", folder / "out.tif", progress=False, **options)
    with rasterio.open(folder / "out.tif") as out:
        return out.read(masked=True)


def by_hand(values, order=(0, 1, 2, 3), scale=1, offset=0):
    """What the network makes of values in the order of the file."""
    low, high = (np.array(end)[list(order)][:, None, None] for end in (LOW, HIGH))
    unit = (values * scale + offset - low) / (high - low)
    made = 1.1 * unit + (np.array(order)[:, None, None] + 1) / 100
    return (made * (high - low) + low - offset) / scale


# --- bands


@pytest.mark.parametrize("names, order", [
    (["B2", "B3", "B4", "B8"], [0, 1, 2, 3]),
    (["B02_10m", "B03_10m", "B04_10m", "B08_10m"], [0, 1, 2, 3]),
    (["Blue", "GREEN ", "red", "NIR"], [0, 1, 2, 3]),
    (["nir", "red", "green", "blue"], [3, 2, 1, 0]),
    (["B8", "B2", "SR_B4", "b03"], [3, 0, 2, 1]),
])  # fmt: skip
def test_bands_come_back_in_the_order_of_the_file(tmp_path, model, ground, names, order):
    values = ground[order]
    made = answered(model, values, tmp_path, names)
    assert np.abs(made - by_hand(values, order)).max() <= 0.51
    with rasterio.open(tmp_path / "out.tif") as out:
        assert [name.strip() for name in out.descriptions] == [name.strip() for name in names]


def test_bands_that_the_model_does_not_take_are_left_out(tmp_path, model, ground):
    made = answered(model, ground[[3, 3, 2, 1, 0]], tmp_path, ["swir16", "nir", "red", "green", "blue"])
    assert np.abs(made - by_hand(ground[::-1], [3, 2, 1, 0])).max() <= 0.51


def test_bands_by_hand(tmp_path, model, ground):
    names = ["b", "nir", "red", "green", "blue"]
    made = answered(model, ground[[0, 1, 2, 3, 0]], tmp_path, names, bands=(1, 2, 3, 4))
    assert np.abs(made - by_hand(ground)).max() <= 0.51
    for bands in [(1, 2, 3), (1, 1, 2, 3), (1, 2, 3, 6)]:
        with pytest.raises(ValueError, match=r"--bands should name 4 bands.* the file has the bands \[1, 2, 3, 4, 5\]"):
            answered(model, ground[[0, 1, 2, 3, 0]], tmp_path, names, bands=bands)


@pytest.mark.parametrize("names, told", [
    (["Band 1", "Band 2", "Band 3", "Band 4"], "no bands match blue; the image has 4: 1 Band 1, .*--bands 3,2,1"),
    (["red", "green", "blue", ""], "no bands match nir; the image has 4: 1 red, .* 4 band4.*--bands"),
    (["blue", "green", "red", "red"], "2 bands match red"),
    (["blue", "pan", "red", "nir"], "no bands match green"),
    (["blue", "B2", "red", "nir"], "2 bands match blue"),
    (["B1", "B2", "B5", "B7"], "no bands match blue"),  # Landsat 7, whose B2 is green
])  # fmt: skip
def test_bands_that_are_not_clear_are_refused_with_the_way_out(tmp_path, model, ground, names, told):
    with pytest.raises(ValueError, match=told):
        answered(model, ground, tmp_path, names)
    assert os.listdir(tmp_path) == ["in.tif", "run"] or set(os.listdir(tmp_path)) == {"in.tif", "run"}


def test_colours_stay_where_they_were(tmp_path, save):  # noqa: F811
    """A file of blue, green, red keeps its colours, and a picture its own."""
    model = save(models.srcnn(3, filters=(4, 4)), ["red", "green", "blue"], value_range=[(0, 255)] * 3)
    values = np.random.default_rng(2).integers(0, 255, (3, 20, 30), "uint8")
    colours = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    put(tmp_path / "in.tif", values, None)
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.colorinterp = colours
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.colorinterp == colours and np.array_equal(out.read(), values)


# --- values


@pytest.mark.parametrize("scale, offset, dtype, told", [
    (1e-4, 0, "float32", r"blue 0.12.* model 1200 to 1700.*looks like reflectance.*--scale-offset 10000,0"),
    (1, 1000, "uint16", r"looks like an offset of 1000.*--scale-offset 1,-1000.*give --value-range model"),
    (0.05, 0, "uint8", "8-bit pixels or percent where the model expects digital numbers.*--value-range auto"),
    (30, 0, "float32", "looks like another scale: give --scale-offset"),
    (1, 20_000, "uint16", "looks like another scale"),
    (1, -3000, "int16", "looks like another scale"),
])  # fmt: skip
def test_values_of_another_scale_are_refused(tmp_path, model, ground, monkeypatch, scale, offset, dtype, told):
    values = (ground.astype("float64") * scale + offset).astype(dtype)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=told):
        patch.setattr(Predictor, "__call__", lambda *_: pytest.fail("computed"))
        answered(model, values, tmp_path)
    assert not (tmp_path / "out.tif").exists()
    answered(model, values, tmp_path, value_range="model")


def test_an_offset_is_found_on_dark_ground_and_not_on_a_desert(tmp_path, model, ground):
    """Water and forest stay far below the brightest ground of the training, with the offset as well."""
    dark = (ground - LOW[:, None, None]) * 0.2 + LOW[:, None, None]
    answered(model, dark.round().astype("uint16"), tmp_path)
    with pytest.raises(ValueError, match="looks like an offset of 1000.*--scale-offset 1,-1000"):
        answered(model, (dark + 1000).round().astype("uint16"), tmp_path)
    sand = np.array([2000, 2200, 2700, 3300])[:, None, None] + (ground - LOW[:, None, None]) * 0.2
    with pytest.warns(UserWarning, match="all of the image is brighter"):
        answered(model, sand.round().astype("uint16"), tmp_path)


def test_digital_numbers_for_a_model_of_pictures(tmp_path, save, ground):  # noqa: F811
    model = save(models.srcnn(4, filters=(4, 4)), BANDS, value_range=[(10, 240)] * 4)
    told = r"digital numbers where the model expects 8-bit pixels or percent.*or --value-range auto"
    with pytest.raises(ValueError, match=told):
        answered(model, ground, tmp_path)
    # the factor from reflectance to percent would leave a picture too dark, in silence
    with pytest.raises(ValueError, match="looks like reflectance where the model expects 8-bit [^:]*$"):
        answered(model, (ground / 1e4).astype("float32"), tmp_path)


@pytest.mark.parametrize("scale, offset, dtype", [(1e-4, 0, "float32"), (1, 1000, "uint16"), (1e-4, -0.1, "float64")])
def test_scale_and_offset_mend_it(tmp_path, model, ground, scale, offset, dtype):
    values = (ground * scale + offset).astype(dtype)
    made = answered(model, values, tmp_path, scale_offset=(1 / scale, -offset / scale))
    expected = by_hand(values.astype("float64"), scale=1 / scale, offset=-offset / scale)
    assert np.abs(made - expected).max() <= 0.51 * max(scale, 1e-3)
    assert np.abs(made * (1 / scale) - offset / scale - by_hand(ground.astype("float64"))).max() < 1


@pytest.mark.parametrize("given", [(0, 1), (-1, 0), (float("nan"), 0), (1, float("inf"))])
def test_a_scale_that_is_none(tmp_path, model, ground, given):
    refused = pytest.raises(ValueError, match="--scale-offset with a scale above 0")
    with warnings.catch_warnings(action="error"), refused:
        answered(model, ground, tmp_path, scale_offset=given)


def test_the_tags_of_the_file_count_for_a_model_of_reflectance(tmp_path, save, ground):  # noqa: F811
    model = save(models.srcnn(4, filters=(4, 4)), BANDS, value_range=(np.array(RANGE) / 1e4).tolist())
    put(tmp_path / "in.tif", ground)
    with pytest.raises(ValueError, match="digital numbers where the model expects reflectance"):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.scales, file.offsets = (1e-4,) * 4, (0.01, 0, 0, 0)
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert np.abs(out.read().astype(float) - ground).max() <= 1 and out.scales == (1e-4,) * 4


@pytest.mark.parametrize("tags, mend", [((2.75e-5, -0.2), "0.275,-2000"), ((1e-4, -0.1), "1,-1000")])
def test_tags_of_other_digital_numbers_are_asked_about(tmp_path, model, ground, tags, mend):
    """Landsat of collection 2, and Sentinel-2 since 2022: whether the model knows them, nobody can see."""
    put(tmp_path / "in.tif", ground)
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.scales, file.offsets = (tags[0],) * 4, (tags[1],) * 4
    files = model, tmp_path / "in.tif", tmp_path / "out.tif"
    told = f"declares scale {tags[0]:g} and offset {tags[1]:g}.*--scale-offset {mend} .*--value-range model takes"
    with pytest.raises(ValueError, match=told):
        apply(*files, progress=False)
    apply(*files, progress=False, value_range="model")
    with rasterio.open(tmp_path / "out.tif") as out:
        assert np.abs(out.read() - by_hand(ground)).max() <= 0.51 and out.scales == (tags[0],) * 4


def test_numbers_that_lie_above_the_range_are_named(tmp_path, model, ground):
    """Landsat of collection 2 without tags: dark ground has 8,000, which could be cloud, too."""
    values = ((ground / 1e4 + 0.2) / 2.75e-5).astype("uint16")
    with pytest.warns(UserWarning, match="all of the image is brighter.*--scale-offset 0.275,-2000"):
        answered(model, values, tmp_path)
    made = answered(model, values, tmp_path, scale_offset=(0.275, -2000))
    assert np.abs(made * 0.275 - 2000 - by_hand(ground.astype("float64"))).max() < 0.6


@pytest.mark.parametrize("cloud", [0.3, 0.9, 1])
def test_cloudy_and_dark_ground_is_no_misfit(tmp_path, model, ground, cloud):
    """Cloud over most of an image, and water in the rest of it, are not refused."""
    values = ground.copy()
    values[:, : int(40 * cloud)] = 10_000
    if cloud < 1:
        values[:, 38:] = (LOW * 0.9)[:, None, None]
    answered(model, values, tmp_path)


@pytest.mark.parametrize("value, dtype", [
    (np.inf, "float32"), (-np.inf, "float32"), (np.nan, "float64"), (np.finfo("float32").min, "float32"),
    (np.iinfo("int16").min, "int16"), (np.iinfo("int32").min, "int32"),
])  # fmt: skip
def test_what_is_no_number_is_no_data(tmp_path, model, ground, value, dtype):
    values = ground.astype(dtype)
    values[2, 10:12, 20] = value
    made = answered(model, values, tmp_path)
    gaps = np.ma.getmaskarray(made)
    assert gaps.sum() == 8 and gaps[:, 10:12, 20].all() and np.isfinite(made.compressed()).all()
    assert np.abs(made - by_hand(ground)).max() <= 0.51
    assert scenes.read(tmp_path / "in.tif").valid.sum() == 40 * 50 - 2
    assert scenes.read(tmp_path / "in.tif", nodata=-9999).valid.sum() == 40 * 50 - 2


def test_a_value_that_looks_like_no_data_is_refused_by_name(tmp_path, model, ground):
    values = ground.astype("float32")
    values[:, 10:15, 10:15] = -9999
    framed = values.copy()
    framed[:, :, :15] = -9999
    for each in (values, framed):
        with pytest.raises(ValueError, match="-9999 in all bands, which looks like no data.*--nodata -9999"):
            answered(model, each, tmp_path)
    made = answered(model, values, tmp_path, nodata=-9999)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.nodata == -9999
    assert np.ma.getmaskarray(made).sum() == 4 * 25 and np.abs(made - by_hand(ground)).max() <= 0.51


@pytest.mark.parametrize("gap, profile", [(np.nan, {}), (-1, {"nodata": -1})])
def test_a_second_value_of_no_data_is_refused_too(tmp_path, model, ground, gap, profile):
    """Also where the file declares another one."""
    values = ground.astype("float32")
    values[:, 10:15, 10:15], values[:, 20, 20] = -9999, gap
    with pytest.raises(ValueError, match="--nodata -9999"):
        answered(model, values, tmp_path, profile=profile)
    made = answered(model, values, tmp_path, profile=profile, nodata=-9999)
    assert np.ma.getmaskarray(made).sum() == 4 * 26 and made.min() > 0


@pytest.mark.parametrize("value", [0, 65_535])
def test_a_collar_is_named_and_treated(tmp_path, model, ground, value):
    values = ground.copy()
    values[:, :, :15] = value
    named = f"pixels along the edges or inside that are {value} in all bands.*--nodata {value}"
    with pytest.warns(UserWarning, match=named):
        answered(model, values, tmp_path)
    holed = values.copy()
    holed[:, 30, 30] = 7  # another value, which is declared
    with pytest.warns(UserWarning, match=named):
        answered(model, holed, tmp_path, profile={"nodata": 7})
    made = answered(model, values, tmp_path, nodata=value)
    assert np.ma.getmaskarray(made)[:, :, :15].all() and np.abs(made - by_hand(ground))[:, :, 15:].max() <= 0.51


def test_missing_blocks_inside_are_named(tmp_path, model, ground):
    values = ground.copy()
    values[:, 10:20, 10:20] = 0
    with pytest.warns(UserWarning, match="pixels along the edges or inside that are 0 in all bands.*--nodata 0"):
        answered(model, values, tmp_path)


@pytest.mark.filterwarnings("error:.*along the edges")
def test_clear_edges_are_no_collar(tmp_path, model, ground):
    answered(model, ground, tmp_path)
    values = ground.copy()
    values[:, :, :15] = 0
    answered(model, values, tmp_path, profile={"nodata": 0})


# --- kinds of numbers and files


@pytest.mark.parametrize("kind, told", [
    ("complex64", "complex numbers or several images"), ("palette", "numbers are classes, not brightness.*expand"),
])  # fmt: skip
def test_numbers_that_are_no_brightness(tmp_path, model, ground, kind, told):
    if kind == "palette":
        put(tmp_path / "in.tif", ground[:1].astype("uint8"), None, photometric="palette")
        with rasterio.open(tmp_path / "in.tif", "r+") as file:
            file.write_colormap(1, {at: (at, 0, 0, 255) for at in range(256)})
    else:
        put(tmp_path / "in.tif", ground.astype(kind))
    with pytest.raises(ValueError, match=told):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)


@pytest.mark.parametrize("beside", ["four bands", "no-data value", "mask"])
def test_an_alpha_channel_counts_wherever_it_stands(tmp_path, model, ground, beside, recwarn):
    """GDAL forgets it beside four bands, beside a mask, and beside a no-data value."""
    values = np.concatenate([np.full((1, 40, 50), 255, "uint16"), ground])
    values[0, 7:9, 20:30] = 0
    inside = np.full((40, 50), True)
    colours = [ColorInterp.alpha] + [ColorInterp.undefined] * 4
    if beside == "no-data value":
        values[1:, 30, 3] = 5
        inside[30, 3] = False
    path = put(tmp_path / "in.tif", values, names=None, nodata=5 if beside == "no-data value" else None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.colorinterp, file.descriptions = colours, ["alpha", *BANDS]
        if beside == "mask":
            inside[20:22] = False
            file.write_mask(inside)
    inside[7:9, 20:30] = False
    apply(model, path, tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        assert out.descriptions == tuple(BANDS) and np.array_equal(out.dataset_mask() > 0, inside)
    read = scenes.read(path)
    assert read.bands == tuple(BANDS) and np.array_equal(read.valid, inside)
    assert not [each for each in recwarn if "alpha" in str(each.message)]


def test_gaps_stay_gaps_where_the_type_cannot_hold_the_value_given(tmp_path, model, ground):
    pixels = ground.astype("int16")
    pixels[:, :, :9] = -(2**15)
    put(tmp_path / "in.tif", pixels)
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", nodata=float("nan"), progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        gaps = np.ma.getmaskarray(out.read(masked=True))
    assert (gaps == (pixels == -(2**15))).all()


def test_bands_of_several_types_take_the_widest(tmp_path, model, ground):
    """The lowest number of each band's own type is no data."""
    low = ground[3:].astype("int16")
    low[0, 0, 0] = -(2**15)
    put(tmp_path / "low.tif", low, None)
    put(tmp_path / "high.tif", ground[:3].astype("float32"), None)
    sources = [*(("high.tif", number, "Float32") for number in (1, 2, 3)), ("low.tif", 1, "Int16")]
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{at}"><Description>{BANDS[at - 1]}</Description><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{band}</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for at, (name, band, kind) in enumerate(sources, 1)
    )
    (tmp_path / "in.vrt").write_text(
        '<VRTDataset rasterXSize="50" rasterYSize="40"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>400000,10,0,5800000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    apply(model, tmp_path / "in.vrt", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        off = np.abs(out.read() - by_hand(ground))
    assert out.dtypes == ("float32",) * 4 and np.isnan(off[:, 0, 0]).all() and off[..., 25:].max() < 0.01


# --- place


def points():
    corners = [(row, column) for row in (0, 40) for column in (0, 50)]
    return [GroundControlPoint(row, column, 400_000 + 10 * column, 5_800_000 - 10 * row) for row, column in corners]


@pytest.mark.filterwarnings("error:.*no coordinate reference")
def test_ground_control_points_are_kept_and_scaled(tmp_path, save, ground):  # noqa: F811
    model = save(espcn(4, scale=2, filters=(4, 4), depth=1), BANDS, scale=2, value_range=RANGE)
    put(tmp_path / "in.tif", ground, crs=None, transform=None)
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.gcps = (points(), CRS.from_epsg(32633))
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", window=(4, 6, 30, 20), progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        found, crs = out.gcps
        assert crs == CRS.from_epsg(32633)
        place = from_gcps(found)  # the oracle: an affine map through the points
    assert np.allclose(place @ (0, 0), (400_040, 5_799_940)) and np.allclose(place @ (60, 40), (400_340, 5_799_740))


@pytest.mark.filterwarnings("error:.*no coordinate reference")
def test_rpcs_are_kept_and_scaled(tmp_path, save, ground):  # noqa: F811
    model = save(espcn(4, scale=2, filters=(4, 4), depth=1), BANDS, scale=2, value_range=RANGE)
    one, zeros = [1.0], [0.0]
    rpcs = RPC(
        height_off=100, height_scale=500, lat_off=52, lat_scale=0.1, long_off=13, long_scale=0.1, line_off=20,
        line_scale=20, samp_off=25, samp_scale=25, line_den_coeff=one + 19 * zeros, samp_den_coeff=one + 19 * zeros,
        line_num_coeff=[0, 0, -1.0] + 17 * zeros, samp_num_coeff=[0, 1.0] + 18 * zeros,
    )  # fmt: skip
    put(tmp_path / "in.tif", ground, crs=None, transform=None)
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.rpcs = rpcs
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)

    def pixel(path, lon, lat):
        with rasterio.open(path) as image:
            found = image.rpcs
        line = -(lat - found.lat_off) / found.lat_scale * found.line_scale + found.line_off
        sample = (lon - found.long_off) / found.long_scale * found.samp_scale + found.samp_off
        return np.array([line, sample]) + 0.5  # RPCs count from the centre of a pixel

    for lon, lat in [(13, 52), (12.95, 52.03), (13.08, 51.93)]:
        expected = 2 * pixel(tmp_path / "in.tif", lon, lat)
        assert np.allclose(pixel(tmp_path / "out.tif", lon, lat), expected, atol=1e-6)


def test_a_scene_says_that_control_points_are_not_read(tmp_path, ground):
    put(tmp_path / "in.tif", ground, crs=None, transform=None)
    with rasterio.open(tmp_path / "in.tif", "r+") as file:
        file.gcps = (points(), CRS.from_epsg(32633))
    with pytest.warns(UserWarning, match="ground control points or RPCs, which are not read"):
        assert scenes.read(tmp_path / "in.tif").transform is None


# --- files that are replaced


def test_what_belonged_to_the_old_file_goes(tmp_path, model, ground):
    put(tmp_path / "out.tif", np.full((4, 40, 50), 7, "uint16"))
    statistics = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
    (tmp_path / "out.tif.aux.xml").write_text(statistics)
    put(tmp_path / "out.tif.msk", np.zeros((1, 40, 50), "uint8"), None)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(tmp_path / "out.tif", "r+") as file:
        file.build_overviews([2])
    made = answered(model, ground, tmp_path)
    assert not np.ma.getmaskarray(made).any()
    assert {path.name for path in tmp_path.glob("out*")} == {"out.tif"}


def test_targets_that_cannot_be_replaced(tmp_path, model, ground, capsys):
    put(tmp_path / "in.tif", ground)
    (tmp_path / "out.tif").write_text("old")
    (tmp_path / "out.tif").chmod(0o444)
    with pytest.raises(ValueError, match="out.tif is read-only: choose another name"):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif")
    with pytest.raises(ValueError, match="no name of a GeoTIFF"):
        apply(model, tmp_path / "in.tif", "")
    (tmp_path / "there").mkdir()
    (tmp_path / "link.tif").symlink_to(tmp_path / "there" / "real.tif")
    apply(model, tmp_path / "in.tif", tmp_path / "link.tif", progress=False)
    assert "link.tif is a link: " in capsys.readouterr().out
    assert (tmp_path / "link.tif").is_symlink() and (tmp_path / "there" / "real.tif").is_file()
    work = tmp_path / ".third.tif.work"
    work.mkdir()
    (work / "mine.txt").write_text("mine")
    apply(model, tmp_path / "in.tif", tmp_path / "third.tif", progress=False)
    assert os.listdir(work) == ["mine.txt"] and (work / "mine.txt").read_text() == "mine"


def test_two_at_once_on_one_target(tmp_path, model, ground):
    put(tmp_path / "in.tif", ground)
    told = "out.tif is being written already"
    with (
        paths.claimed(tmp_path / ".out.tif.work.lock", "out.tif is being written already"),
        pytest.raises(ValueError, match=told),
    ):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif")
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    assert not list(tmp_path.glob(".*"))


# --- models that cannot be read


@pytest.mark.parametrize("content, told", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "pointer of Git LFS.*git lfs pull"),
    (b"", "cannot be loaded"), (b"PK\x03\x04 half", "cannot be loaded"),
])  # fmt: skip
def test_a_model_that_is_none(tmp_path, model, ground, capsys, content, told):
    put(tmp_path / "in.tif", ground)
    model.write_bytes(content)
    with pytest.raises(ValueError, match=told):
        apply(model, tmp_path / "in.tif", tmp_path / "out.tif")
    for wrong in (b"[1, 2]", b"\xff\xfe{", b"null"):
        model.with_suffix(".json").write_bytes(wrong)
        assert main(["apply", str(model), str(tmp_path / "in.tif"), str(tmp_path / "out.tif")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and "Traceback" not in error and "model.json" in error


# --- classes


CLASSES = [{"name": "water", "colour": [0, 0, 255]}, {"name": "forest", "colour": [0, 128, 0]},
           {"name": "ice & snow", "colour": [255, 255, 255]}]  # fmt: skip


def test_a_map_of_classes_has_its_palette_and_names(tmp_path, save):  # noqa: F811
    """The network says how likely each class is: here, how bright each band."""
    image = keras.Input((None, None, 3))
    network = keras.Model(image, keras.layers.Softmax()(image))
    bands = ["red", "green", "blue"]
    model = save(network, bands, value_range=[(0, 255)] * 3, bands_out=["class"], classes=CLASSES, receptive_field_px=1)
    values = np.random.default_rng(4).permuted(np.arange(3 * 600 * 700).reshape(3, 600, 700) % 251, axis=0)
    values = values.astype("uint8")
    put(tmp_path / "in.tif", values, bands, nodata=250)
    with rasterio.open(tmp_path / "in.tif") as file:
        valid = file.dataset_mask() > 0
    apply(model, tmp_path / "in.tif", tmp_path / "out.tif", progress=False)
    with rasterio.open(tmp_path / "out.tif") as out:
        made, coarse = out.read(1), out.read(1, out_shape=(300, 350))
        assert (out.count, out.dtypes, out.nodata) == (1, ("uint8",), 255)
        assert [out.colormap(1)[at][:3] for at in range(3)] == [tuple(each["colour"]) for each in CLASSES]
        assert out.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    # a VRT holds all that GDAL reads, and QGIS with it
    rasterio.shutil.copy(tmp_path / "out.tif", tmp_path / "out.vrt", driver="VRT")
    band = ElementTree.parse(tmp_path / "out.vrt").find("VRTRasterBand")
    assert [each.text for each in band.iter("Category")] == ["water", "forest", "ice & snow"]
    entries = [[int(entry.get(f"c{n}")) for n in (1, 2, 3)] for entry in band.iter("Entry")]
    assert entries[:3] == [each["colour"] for each in CLASSES] and band.find("ColorInterp").text == "Palette"
    anywhere = np.all(values != 250, axis=0)
    assert np.array_equal(made != 255, anywhere) and valid.any()
    assert np.array_equal(made[anywhere], values.argmax(axis=0)[anywhere])
    assert set(np.unique(coarse)) <= {0, 1, 2, 255}  # overviews hold classes, not their means
