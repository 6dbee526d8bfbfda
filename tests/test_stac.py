"""STAC catalogues: items in the shapes that real ones have, and windows of their files on one grid."""

# ruff: noqa: F811
import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import from_origin

from helpers.acquire import practice as loopback
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
        asked = json.loads(request.data)
        number = asked.get("page", 0)
        assets = {name: {"href": f"{request.base}/files/{name}.tif"} for name in BANDS}
        ring = [[-54.6, -25.5], [-54.5, -25.5], [-54.5, -25.4], [-54.6, -25.5]]
        item = {"type": "Feature", "stac_version": "1.0.0", "id": f"S2_{number}", "bbox": [-54.6, -25.5, -54.5, -25.4],
                "geometry": {"type": "Polygon", "coordinates": [ring]}, "links": [], "assets": assets,
                "properties": {"datetime": f"2020-05-{20 - number}T00:00:00Z", "asked": asked, **facts}}  # fmt: skip
        more = {"rel": "next", "method": "POST", "href": f"{request.base}/earth_search/search",
                "body": {**asked, "page": next_of(number)}}  # fmt: skip
        links = [more] if number + 1 < count else []
        return loopback.as_json({"type": "FeatureCollection", "features": [item], "links": links})

    def landing(request):
        url = f"{request.base}/earth_search"
        conforms = ["core", "item-search", "item-search#query"]
        return loopback.as_json({
            "type": "Catalog", "id": "x", "stac_version": "1.0.0", "description": "x",
            "conformsTo": [f"https://api.stacspec.org/v1.0.0/{name}" for name in conforms],
            "links": [{"rel": "self", "href": url}, {"rel": "root", "href": url},
                      {"rel": "search", "href": f"{url}/search", "method": "POST", "type": "application/geo+json"}],
        })  # fmt: skip

    def file(request):
        return loopback.Response((folder / request.groups["name"]).read_bytes(), "image/tiff")

    return (("GET", "/earth_search/?", landing), ("POST", "/earth_search/search", page),
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
        asked.append(json.loads(request.data))
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
    assert "Copernicus" in tags["credit"]


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
