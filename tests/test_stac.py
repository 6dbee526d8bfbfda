"""STAC catalogues: items in the shapes that real ones have, and windows of their files on one grid."""

# ruff: noqa: F811
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import from_origin

from helpers.acquire import practice as loopback
from helpers.acquire.providers import stac
from tests.test_providers import ANY, BOX, FAST, connect, no_keys, serve  # noqa: F401

UTM, CORNER = CRS.from_epsg(32721), (743_000, 7_180_000)
BANDS = {"red": (10, "uint16"), "swir16": (20, "uint16"), "scl": (20, "uint8")}


def write_bands(folder, seed=0):
    """Three bands of 600 x 400 m on two grids, 0 = no data in the first columns; dict of their arrays."""
    arrays, random = {}, np.random.default_rng(seed)
    for name, (pixel, dtype) in BANDS.items():
        shape = 400 // pixel, 600 // pixel
        values = random.integers(1, 12, shape) if name == "scl" else random.integers(1001, 5000, shape)
        values[:, : 40 // pixel] = 0
        arrays[name] = values.astype(dtype)
        profile = {"driver": "GTiff", "width": shape[1], "height": shape[0], "count": 1, "dtype": dtype, "crs": UTM,
                   "transform": from_origin(*CORNER, pixel, pixel), "nodata": 0, "tiled": True}  # fmt: skip
        with rasterio.open(folder / f"{name}.tif", "w", **profile, blockxsize=16, blockysize=16) as dataset:
            dataset.write(arrays[name], 1)
    return arrays


def stac_routes(folder, count=1, *, next_of=lambda number: number + 1, **facts):
    """A STAC API with one item a page; pages follow by POST."""

    def page(request):
        asked = json.loads(request.body)
        number = asked.get("page", 0)
        assets = {name: {"href": f"{request.base}/files/{name}.tif"} for name in BANDS}
        ring = [[-54.6, -25.5], [-54.5, -25.5], [-54.5, -25.4], [-54.6, -25.5]]
        item = {"type": "Feature", "stac_version": "1.0.0", "id": f"S2_{number}", "bbox": [-54.6, -25.5, -54.5, -25.4],
                "geometry": {"type": "Polygon", "coordinates": [ring]}, "links": [], "assets": assets,
                "properties": {"datetime": f"2020-05-{20 - number}T00:00:00Z", "asked": asked, **facts}}  # fmt: skip
        more = {"rel": "next", "method": "POST", "href": f"{request.base}/earth_search/v1/search",
                "body": {**asked, "page": next_of(number)}}  # fmt: skip
        links = [more] if number + 1 < count else []
        return loopback.as_json({"type": "FeatureCollection", "features": [item], "links": links})

    def landing(request):
        url = f"{request.base}/earth_search/v1"
        conforms = ["core", "item-search", "item-search#query"]
        return loopback.as_json({
            "type": "Catalog", "id": "x", "stac_version": "1.0.0", "description": "x",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in conforms],
            "links": [{"rel": "self", "href": url}, {"rel": "root", "href": url},
                      {"rel": "search", "href": f"{url}/search", "method": "POST", "type": "application/geo+json"}],
        })  # fmt: skip

    def file(request):
        return loopback.Response((folder / request.groups["name"]).read_bytes(), "image/tiff")

    return (("GET", "/earth_search/v1/?", landing), ("POST", "/earth_search/v1/search", page),
            ("GET", r"/files/(?P<name>\w+\.tif)", file))  # fmt: skip


def test_a_stac_search_filters_and_pages(serve, tmp_path):
    search = connect("earth_search", serve(*stac_routes(tmp_path, 3))).search
    found = search(BOX, date="2020-05", cloud_cover_below=20)
    assert [one.id for one in found] == ["S2_2", "S2_1", "S2_0"] and found[0].bounds == (-54.6, -25.5, -54.5, -25.4)
    server = serve(*stac_routes(tmp_path, 3))
    assert len(connect("earth_search", server).search(BOX, limit=2)) == 2
    assert server.requests == 3  # the landing page, and two of three pages
    with pytest.raises(ValueError, match="paging of earth_search repeats itself after 2"):
        connect("earth_search", serve(*stac_routes(tmp_path, 3, next_of=lambda number: 1))).search(BOX)
    routes = stac_routes(tmp_path)
    server = serve(routes[0], ("POST", ANY, {"message": "moved"}))
    with pytest.raises(ValueError, match="earth_search answers in another form .*features.*: its API may have changed"):
        connect("earth_search", server).search(BOX)


def test_a_stac_search_asks_on_both_sides_of_the_antimeridian(serve, tmp_path):
    asked = []
    routes = stac_routes(tmp_path)

    def note(request):
        asked.append(json.loads(request.body))
        return routes[1][2](request)

    connect("earth_search", serve(routes[0], (*routes[1][:2], note))).search((179, -17, -179, -16), cloud_cover_below=5)
    assert [body["bbox"] for body in asked] == [[179, -17, 180, -16], [-180, -17, -179, -16]]
    assert asked[0]["query"] == {"eo:cloud_cover": {"lt": 5}} and asked[0]["collections"] == ["sentinel-2-l2a"]


def fetch_bands(serve, folder, target, *, bounds=None, bands=("red", "scl", "swir16"), **facts):
    source = connect("earth_search", serve(*stac_routes(folder, **facts)))
    summary = source.fetch(source.search(BOX), target, bands=bands, bounds=bounds)
    assert not summary.skipped, summary
    with rasterio.open(target / "image" / "S2_0.tif") as dataset:
        return dataset.read(), dataset.profile, dataset.descriptions, dataset.tags()


def test_bands_come_on_one_grid_with_values_and_place_unchanged(serve, tmp_path):
    arrays = write_bands(tmp_path)
    pixels, profile, names, tags = fetch_bands(serve, tmp_path, tmp_path / "out")
    assert names == ("red", "scl", "swir16") and profile["dtype"] == "uint16" and profile["nodata"] == 0
    assert profile["transform"] == from_origin(*CORNER, 10, 10) and profile["crs"] == UTM
    assert (pixels[0] == arrays["red"]).all()
    assert (pixels[1] == arrays["scl"].repeat(2, axis=0).repeat(2, axis=1)).all()
    smooth = np.asarray(Image.fromarray(arrays["swir16"].astype("float32")).resize((60, 40), Image.Resampling.BILINEAR))
    assert np.abs(pixels[2][10:30, 20:50] - smooth[10:30, 20:50]).max() <= 0.51
    assert tags["swir16_made"] == "bilinear, from 20 m, scale 1, offset 0" and "Copernicus" in tags["credit"]


def test_a_window_is_read_without_the_rest(serve, tmp_path):
    arrays = write_bands(tmp_path)
    box = rasterio.warp.transform_bounds(
        UTM, "EPSG:4326", CORNER[0] + 205, CORNER[1] - 295, CORNER[0] + 395, CORNER[1] - 105
    )
    pixels, profile, *_ = fetch_bands(serve, tmp_path, tmp_path / "fine", bounds=box, bands=("red",))
    column, row = round((profile["transform"].c - CORNER[0]) / 10), round((CORNER[1] - profile["transform"].f) / 10)
    assert 18 <= column <= 20 and 8 <= row <= 10 and profile["width"] <= 24
    assert (pixels[0] == arrays["red"][row : row + profile["height"], column : column + profile["width"]]).all()


@pytest.mark.parametrize(
    "applied, baseline, offset",
    [
        (False, "05.09", -1000),
        (True, "05.09", 0),
        (False, "03.01", 0),
        (None, "05.09", -1000),
        (None, "N0510", -1000),
        (None, "02.04", 0),
    ],
)
def test_the_offset_is_subtracted_only_where_it_is_still_in(serve, tmp_path, applied, baseline, offset):
    arrays = write_bands(tmp_path)
    facts = {"earthsearch:boa_offset_applied": applied, "s2:processing_baseline": baseline}
    pixels, *_ = fetch_bands(serve, tmp_path, tmp_path / "out", **facts)
    red = arrays["red"].astype(int)
    assert (pixels[0] == np.where(red == 0, 0, np.maximum(red + offset, 1))).all()  # 0 stays "no data"
    assert (pixels[1][::2, ::2] == arrays["scl"]).all()  # classes carry no offset


def test_a_window_over_the_antimeridian_and_one_outside(serve, tmp_path):
    zone, corner = CRS.from_epsg(32760), (820_000, 8_180_000)
    for name, (pixel, dtype) in BANDS.items():
        profile = {"driver": "GTiff", "width": 600, "height": 400, "count": 1, "dtype": dtype, "crs": zone,
                   "transform": from_origin(*corner, pixel, pixel), "nodata": 0}  # fmt: skip
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as dataset:
            dataset.write(np.ones((400, 600), dtype), 1)
    west, south, east, north = rasterio.warp.transform_bounds(zone, "EPSG:4326", 821_000, 8_177_000, 825_000, 8_179_000)
    box = (west, south, east, north) if west > east else (179.999, -16.48, -179.98, -16.46)
    pixels, profile, *_ = fetch_bands(serve, tmp_path, tmp_path / "over", bounds=box, bands=("red",))
    assert 100 < profile["width"] < 500 and (pixels == 1).all()
    source = connect("earth_search", serve(*stac_routes(tmp_path)))
    summary = source.fetch(source.search(BOX), tmp_path / "none", bounds=(10, 50, 10.1, 50.1), bands=["red"])
    assert list(summary.skipped) == ["the scene does not reach into the bounds"]
    summary = source.fetch(source.search(BOX), tmp_path / "none", bands=["B09"])
    assert list(summary.skipped) == ["it has no band 'B09'"]


def test_a_busy_file_server_is_asked_again_and_a_broken_file_is_said(tmp_path):
    arrays = write_bands(tmp_path)
    with loopback.serve(list(stac_routes(tmp_path)), faults={"503": 1.0}) as server:
        source = connect("earth_search", server, policy=replace(FAST, tries=3))
        summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
        assert summary.fetched == 1
        with rasterio.open(tmp_path / "out/image/S2_0.tif") as dataset:
            assert (dataset.read(1) == arrays["red"]).all()
        whole = (tmp_path / "swir16.tif").read_bytes()
        (tmp_path / "swir16.tif").write_bytes(b"no picture")
        summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["swir16"])
        assert "could not be read" in next(iter(summary.skipped))
        (tmp_path / "swir16.tif").write_bytes(whole)
        assert source.fetch(source.search(BOX), tmp_path / "out", bands=["swir16"]).fetched == 1


# --- items as real catalogues give them


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
    url = f"{request.base}/{name}/v1"
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
    assert stac.choose({"other": {"href": "y"}, "none": None, **assets}, band)["href"] == HREF["href"]
    assert stac.choose(assets, "swir22") is None


@pytest.mark.parametrize("band, sizes, chosen", [("red", "60 20 10", "B04_10m"), ("scl", "60 20", "SCL_20m")])
def test_of_one_band_in_several_sizes_the_finest_is_chosen(band, sizes, chosen):
    stem = chosen.partition("_")[0]
    assets = {f"{stem}_{size}m": {"href": f"{stem}_{size}m"} for size in sizes.split()}
    assert stac.choose(assets, band)["href"] == chosen


def test_scale_and_offset_of_the_asset_count_where_the_flag_is_missing(serve, tmp_path):
    pixels = np.random.default_rng(0).integers(1001, 5000, (1, 40, 60)).astype("uint16")
    write_file(tmp_path / "red.tif", pixels)
    bands = [{"data_type": "uint16", "scale": 0.0001, "offset": -0.1}]
    items = [item_of("c1", {"red": {**HREF, "raster:bands": bands}}, **{"s2:processing_baseline": "05.10"})]
    source = catalogue(serve, tmp_path, items, collection="sentinel-2-c1-l2a")
    summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
    with rasterio.open(tmp_path / "out/image/c1.tif") as file:
        assert (file.read() == pixels - 1000).all() and "offset -1000" in file.tags()["red_made"], summary
    assert "Earth Search" in summary.frame().credit[0]


def test_an_offset_that_seems_applied_already_is_left_out_with_a_warning(serve, tmp_path, recwarn):
    pixels = np.random.default_rng(0).integers(200, 3400, (1, 40, 60)).astype("uint16")  # 23 % below 1000
    write_file(tmp_path / "red.tif", pixels)
    facts = {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "05.10"}
    source = catalogue(serve, tmp_path, [item_of("it", {"red": HREF}, **facts)])
    for offset, expected, words in ((None, pixels, "implausible"), (-1000, np.maximum(pixels, 1001) - 1000, "-1000")):
        source.fetch(source.search(BOX), tmp_path / f"{offset}", bands=["red"], offset=offset)
        with rasterio.open(tmp_path / f"{offset}/image/it.tif") as file:
            assert (file.read() == expected).all() and words in file.tags()["red_made"]
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
    with pytest.raises(ValueError, match="no collection 'sentinel2-l2a'; near are: sentinel-2-l2a"):
        source.search(BOX)
    assert catalogue(serve, tmp_path, []).search(BOX) == []


def test_planetary_computer_signs_and_shows_its_token_nowhere(serve, tmp_path, monkeypatch):
    write_file(tmp_path / "red.tif", np.full((1, 40, 60), 3000, "uint16"))
    tokens, asked = [], []
    signing = ("GET", "/token/(?P<name>.*)", lambda request: tokens.append(request.groups["name"]) or
               loopback.as_json({"msft:expiry": "2030-01-01T00:00:00Z", "token": "sv=1&sig=geheimnis"}))  # fmt: skip
    server = serve(signing)
    monkeypatch.setattr(stac, "SIGNING", f"{server.url}/token/{{}}")

    def write(path, layers, **how):
        asked.append(layers)
        path.write_bytes(b"tif")
        return 0, 0, 1, 1

    monkeypatch.setattr(stac.cog, "write", write)
    href = {"href": "https://sentinel2l2a01.blob.core.windows.net/x/B04.tif"}
    items = [item_of(name, {"B04": href}) for name in ("a", "b")]
    source = catalogue(serve, tmp_path, items, name="planetary_computer")
    summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
    assert summary.fetched == 2 and set(tokens) == {"sentinel-2-l2a"}
    assert asked[0][0].address == f"{href['href']}?sv=1&sig=geheimnis"
    texts = [path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()] + [str(summary)]
    assert not [text for text in texts if "geheimnis" in text]
    assert summary.frame().credit[0].endswith("through Microsoft Planetary Computer")


def test_copernicus_data_space_says_that_an_account_is_needed(serve, tmp_path):
    assets = {"B04_10m": {"href": "s3://eodata/x.jp2", "alternate": {"https": {"href": "https://zipper/x"}}}}
    source = catalogue(serve, tmp_path, [item_of("it", assets)], name="cdse")
    summary = source.fetch(source.search(BOX), tmp_path / "out", bands=["red"])
    assert "account of Copernicus Data Space" in next(iter(summary.skipped))


@pytest.mark.parametrize("override, offset", [(None, 0), (-1000, -1000), (0, 0)])
def test_an_override_counts_whatever_the_item_says_but_never_for_classes(override, offset):
    facts = {"earthsearch:boa_offset_applied": True, "s2:processing_baseline": "05.10"}
    assert stac.calibration({}, "red", facts, override) == (1, offset)
    assert stac.calibration({}, "scl", facts, override) == (1, 0)


def test_a_baseline_is_read_in_all_its_spellings():
    spellings = {"05.10": 5.1, "N0510": 5.1, "0509": 5.09, "02.04": 2.04, "": 0, None: 0, "5.09": 5.09}
    for text, number in spellings.items():
        assert math.isclose(stac.baseline({"s2:processing_baseline": text}), number), text
