"""STAC items as real catalogues give them: odd assets, offsets, classes, signing."""

# ruff: noqa: F811
import json
import math

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from helpers.acquire import download
from helpers.acquire import practice as loopback
from helpers.acquire.providers import stac
from tests.test_providers import ANY, BOX, FAST, connect, no_keys, serve  # noqa: F401
from tests.test_stac import CORNER, UTM, stac_routes


def write_file(path, pixels, crs=UTM, transform=None, nodata=0):
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": count, "dtype": pixels.dtype, "crs": crs}
    with rasterio.open(
        path, "w", **profile, nodata=nodata, transform=transform or from_origin(*CORNER, 10, 10)
    ) as file:
        file.write(pixels)


def item_of(name, assets, **facts):
    ring = [[-54.6, -25.5], [-54.5, -25.5], [-54.5, -25.4], [-54.6, -25.5]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    facts = {"datetime": "2023-05-20T00:00:00Z", **facts}
    return {"type": "Feature", "id": name, "geometry": geometry, "properties": facts, "assets": assets, "links": []}


def catalogue(serve, folder, items, *, collections=("sentinel-2-l2a",), name="earth_search", **options):
    """A provider over items; "BASE" in an href is the server's address."""
    landing, search, file = stac_routes(folder)

    def listed(request):
        text = json.dumps({"type": "FeatureCollection", "features": items, "links": []})
        return loopback.Response(text.replace("BASE", request.base).encode())

    known = {"collections": [{"id": one} for one in collections]}
    routes = (landing, (*search[:2], listed), file, ("GET", ".*/collections", known))
    routes = [(method, path.replace("earth_search", name), *rest) for method, path, *rest in routes]
    if name != "earth_search":
        routes[0] = (*routes[0][:2], lambda request: landing_of(request, name))
    return connect(name, serve(*routes), **options)


def landing_of(request, name):
    url = f"{request.base}/{name}"
    conforms = [f"https://api.stacspec.org/v1.0.0/{part}" for part in ("core", "item-search", "item-search#query")]
    links = [{"rel": "search", "href": f"{url}/search", "method": "POST", "type": "application/geo+json"}]
    head = {"type": "Catalog", "id": "x", "stac_version": "1.0.0", "description": "x"}
    return loopback.as_json(head | {"conformsTo": conforms, "links": links})


HREF = {"href": "BASE/files/red.tif"}


def test_items_that_cannot_be_had_are_skipped_by_reason_and_never_the_others(serve, tmp_path, monkeypatch):
    monkeypatch.setitem(stac.cog.GDAL, "GDAL_HTTP_MAX_RETRY", "1")
    monkeypatch.setitem(stac.cog.GDAL, "GDAL_HTTP_RETRY_DELAY", "0.01")
    write_file(tmp_path / "red.tif", np.full((1, 40, 60), 3000, "uint16"))
    items = [item_of("good", {"red": HREF}), item_of("null", {"red": None}), item_of("bare", {}),
             item_of("s3", {"red": {"href": "s3://bucket/B04.jp2"}}), item_of("s3too", {"red": {"href": "s3://b/c"}}),
             item_of("flat", {"red": HREF}) | {"geometry": None},
             item_of("void", {"red": HREF}) | {"geometry": {"type": "Polygon", "coordinates": []}},
             item_of("gone", {"red": {"href": "BASE/files/none.tif"}}),
             item_of("other", {"red": {"href": "s3://b/c", "alternate": {"https": HREF}}})]  # fmt: skip
    source = catalogue(serve, tmp_path, items)
    found = source.search(BOX)
    assert len(found) == len(items)
    summary = source.fetch(found, tmp_path / "out", bands=["red"])
    assert sorted(path.name for path in (tmp_path / "out/image").iterdir()) == ["good.tif", "other.tif"]
    reasons = {tuple(sorted(names)): reason for reason, names in summary.skipped.items()}
    assert "requester pays" in reasons["image/s3.tif", "image/s3too.tif"]
    assert "no band 'red'" in reasons["image/bare.tif", "image/null.tif"]
    assert "footprint is empty" in reasons["flat", "void"]
    assert "could not be read" in reasons["image/gone.tif",]


@pytest.mark.parametrize("assets, band", [
    ({"B04": HREF}, "red"), ({"B04_10m": HREF}, "red"), ({"RED": HREF}, "red"), ({"red": HREF}, "B04"),
    ({"x": {**HREF, "eo:bands": [{"name": "B04", "common_name": "red"}]}}, "red"),
    ({"x": {**HREF, "bands": [{"eo:common_name": "red"}]}}, "red"), ({"SCL_20m": HREF}, "scl"), ({"SCL": HREF}, "scl"),
])  # fmt: skip
def test_assets_are_found_by_key_alias_and_common_name(assets, band):
    text = json.dumps({"other": {"href": "y"}, "none": None, **assets}).replace("BASE", "http://here")
    assert stac.choose(json.loads(text), band)["links"] == ["http://here/files/red.tif"]
    with pytest.raises(download.Refused, match="no band 'swir22'"):
        stac.choose(assets, "swir22")


@pytest.mark.parametrize("band, sizes, chosen", [("red", "60 20 10", "B04_10m"), ("scl", "60 20", "SCL_20m")])
def test_of_one_band_in_several_sizes_the_finest_is_chosen(band, sizes, chosen):
    stem = chosen.partition("_")[0]
    assets = {f"{stem}_{size}m": {"href": f"http://{stem}_{size}m"} for size in sizes.split()}
    assert stac.choose(assets, band)["links"] == [f"http://{chosen}"]


def test_scale_and_offset_of_the_asset_count_where_the_flag_is_missing(serve, tmp_path):
    pixels = np.random.default_rng(0).integers(1001, 5000, (1, 40, 60)).astype("uint16")
    write_file(tmp_path / "red.tif", pixels)
    bands = [{"data_type": "uint16", "scale": 0.0001, "offset": -0.1}]
    items = [item_of("c1", {"red": {**HREF, "raster:bands": bands}}, **{"s2:processing_baseline": "05.10"})]
    source = catalogue(serve, tmp_path, items, collection="sentinel-2-c1-l2a")
    summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
    with rasterio.open(tmp_path / "out/image/c1.tif") as file:
        assert (file.read() == pixels - 1000).all(), summary
    assert "earth-search" in summary.frame().credit[0]


def test_an_offset_that_seems_applied_already_is_left_out_with_a_warning(serve, tmp_path, recwarn):
    pixels = np.random.default_rng(0).integers(200, 3400, (1, 40, 60)).astype("uint16")  # 23 % below 1000
    write_file(tmp_path / "red.tif", pixels)
    facts = {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.10"}
    source = catalogue(serve, tmp_path, [item_of("it", {"red": HREF}, **facts)])
    for offset, expected in ((None, pixels), (-1000, np.maximum(pixels, 1001) - 1000)):
        source.fetch(source.search(BOX), tmp_path / f"{offset}", bands=["red"], offset=offset)
        with rasterio.open(tmp_path / f"{offset}/image/it.tif") as file:
            assert (file.read() == expected).all()
    [warned] = [str(one.message) for one in recwarn if "below 1" in str(one.message)]
    assert "push 23%" in warned and "`offset=-1000`" in warned


@pytest.mark.parametrize("key, asset", [
    ("scl", {}), ("SCL", {}), ("SCL_20m", {}), 
    ("mask", {"roles": ["cloud-mask"], "raster:bands": [{"data_type": "uint8"}]}),
])  # fmt: skip
def test_classes_are_never_interpolated(serve, tmp_path, key, asset):
    write_file(tmp_path / "red.tif", np.ones((1, 40, 60), "uint16"))
    classes = np.random.default_rng(0).choice([1, 11], (1, 20, 30)).astype("uint8")
    write_file(tmp_path / "classes.tif", classes, transform=from_origin(*CORNER, 20, 20))
    items = [item_of("it", {"red": HREF, key: {"href": "BASE/files/classes.tif", **asset}})]
    source = catalogue(serve, tmp_path, items)
    source.fetch(source.search(BOX), tmp_path / "out", bands=["red", "scl" if key != "mask" else "mask"])
    with rasterio.open(tmp_path / "out/image/it.tif") as file:
        assert set(np.unique(file.read(2))) == {1, 11}


@pytest.mark.parametrize("gap", [False, True])
def test_a_class_is_not_taken_for_the_no_data_value_of_another_band(serve, tmp_path, gap):
    red = np.random.default_rng(0).integers(1, 5000, (1, 40, 60)).astype("uint16")
    red[0, :5] *= not gap
    classes = np.random.default_rng(0).choice([0, 1, 4], (1, 40, 60)).astype("uint8")
    write_file(tmp_path / "red.tif", red)
    write_file(tmp_path / "fmask.tif", classes, nodata=255)
    source = catalogue(serve, tmp_path, [item_of("it", {"red": HREF, "fmask": {"href": "BASE/files/fmask.tif"}})])
    source.fetch(source.search(BOX), tmp_path / "out", bands=["red", "fmask"])
    with rasterio.open(tmp_path / "out/image/it.tif") as file:
        assert (file.read(2) == classes[0]).all() and (file.read_masks(1) > 0).all(axis=1)[5:].all()
        assert (file.read_masks(1)[:5] == 0).all() == gap


def test_visual_gives_three_bands_and_a_dem_in_degrees_can_be_cut(serve, tmp_path):
    write_file(tmp_path / "tci.tif", np.random.default_rng(0).integers(1, 255, (3, 40, 60)).astype("uint8"))
    degrees = from_origin(-54.6, -25.4, 1 / 3600, 1 / 3600)
    heights = np.random.default_rng(0).uniform(0, 900, (1, 360, 360)).astype("float32")
    write_file(tmp_path / "dem.tif", heights, CRS.from_epsg(4326), degrees, nodata=None)
    items = [item_of("it", {"visual": {"href": "BASE/files/tci.tif"}, "data": {"href": "BASE/files/dem.tif"}})]
    source = catalogue(serve, tmp_path, items, collection="cop-dem-glo-30")
    source.fetch(source.search(BOX), tmp_path / "a", bands=["visual"])
    with rasterio.open(tmp_path / "a/image/it.tif") as file:
        assert file.descriptions == ("red", "green", "blue") and file.count == 3
    summary = source.fetch(source.search(BOX), tmp_path / "b", bands=["data"], bounds=(-54.58, -25.46, -54.55, -25.44))
    with rasterio.open(tmp_path / "b/image/it.tif") as file:
        assert file.shape == (72, 108) and (file.read() == heights[:, 144:216, 72:180]).all(), summary
        assert file.crs.to_epsg() == 4326 and "Copernicus DEM" in file.tags()["credit"]


def test_a_misspelt_collection_names_the_near_ones(serve, tmp_path):
    source = catalogue(serve, tmp_path, [], collections=("sentinel-2-l2a", "naip"), collection="sentinel2-l2a")
    with pytest.raises(ValueError, match="no collection 'sentinel2-l2a'; near are: .'sentinel-2-l2a'"):
        source.search(BOX)
    assert catalogue(serve, tmp_path, []).search(BOX) == []


def test_planetary_computer_signs_and_shows_its_token_nowhere(serve, tmp_path, monkeypatch):
    write_file(tmp_path / "red.tif", np.full((1, 40, 60), 3000, "uint16"))
    tokens, asked = [], []
    signing = ("GET", "/token/(?P<name>.*)", lambda request: tokens.append(request.groups["name"]) or
               loopback.as_json({"msft:expiry": "2030-01-01T00:00:00Z", "token": "sv=1&sig=geheimnis"}))  # fmt: skip
    server = serve(signing)

    def write(path, layers, **how):
        asked.append(layers)
        path.write_bytes(b"tif")
        return 0, 0, 1, 1

    monkeypatch.setattr(stac.cog, "write", write)
    href = {"href": "https://sentinel2l2a01.blob.core.windows.net/x/B04.tif"}
    items = [item_of(name, {"B04": href}) for name in ("a", "b")]
    source = catalogue(serve, tmp_path, items, name="planetary_computer", signing=f"{server.url}/token/{{}}")
    summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
    assert summary.fetched == 2 and set(tokens) == {"sentinel-2-l2a"}
    assert asked[0][0].address == f"{href['href']}?sv=1&sig=geheimnis"
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()] + [str(summary)]
    assert not [text for text in texts if "geheimnis" in text]
    assert summary.frame().credit[0].endswith("through planetarycomputer.microsoft.com")


def test_copernicus_data_space_says_that_an_account_is_needed(serve, tmp_path):
    assets = {"B04_10m": {"href": "s3://eodata/x.jp2", "alternate": {"https": {"href": "https://zipper/x"}}}}
    source = catalogue(serve, tmp_path, [item_of("it", assets)], name="cdse")
    summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
    assert "account of Copernicus Data Space" in next(iter(summary.skipped))


@pytest.mark.parametrize("override, offset", [(None, 0), (-1000, -1000), (0, 0)])
def test_an_override_counts_whatever_the_item_says_but_never_for_classes(override, offset):
    facts = {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.10"}
    asset = stac.ASSET.search(HREF)
    assert stac.calibration(asset, "red", facts, override) == (1, offset)
    assert stac.calibration(asset, "scl", facts, override) == (1, 0)


def test_a_baseline_is_read_in_all_its_spellings():
    spellings = {"05.10": 5.1, "N0510": 5.1, "0509": 5.09, "02.04": 2.04, "": 0, None: 0, "5.09": 5.09}
    for text, number in spellings.items():
        assert math.isclose(stac.baseline({"s2:processing_baseline": text}), number), text
