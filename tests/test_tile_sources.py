"""Tiles, and patches that notebook 01b cuts from them: templates that are refused, places, limits, over loopback."""

# ruff: noqa: F811
import io
import math

import mercantile
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.crs import CRS

from helpers.acquire import download, providers, tiles
from helpers.acquire import practice as loopback
from tests.test_photos import lesson
from tests.test_providers import BOX, XYZ, connect, no_keys, numbered_tile, png, serve, xyz  # noqa: F401

HOSTS = ["tile.openstreetmap.org", "a.tile.openstreetmap.org", "B.Tile.osm.org", "{s}.tile.osm.org",
         "tile.openstreetmap.org.", "me@c.tile.openstreetmap.org:443"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_openstreetmaps_tile_servers_are_refused_by_name(host):
    with pytest.raises(ValueError, match="OpenStreetMap's Tile Usage Policy forbids bulk download"):
        xyz(None, template=f"https://{host}/{{z}}/{{x}}/{{y}}.png")
    assert "openstreetmap" not in xyz(None, template="https://tiles.example.org/{z}/{x}/{y}.png").template


@pytest.mark.parametrize("template", ["https://a.example/{z}/{x}.png", "ftp://a.example/{z}/{x}/{y}", "/{z}/{x}/{y}"])
def test_a_template_that_cannot_be_filled_is_refused(template):
    with pytest.raises(ValueError, match="expected an http address with"):
        xyz(None, template=template)
    with pytest.raises(ValueError, match="holds a key.*key_name"):
        xyz(None, template="https://a.example/{z}/{x}/{y}.png?access_token=abc")


def test_too_many_tiles_are_refused_with_their_number_and_size(serve, tmp_path):
    server = serve(XYZ)
    [world] = xyz(server).search((-180, -85.0511, 180, 85.0511))
    with pytest.raises(ValueError, match=r"16,777,216 tiles at zoom 12, about 419,430 MB: give a `limit`"):
        xyz(server).fetch([world], tmp_path, zoom=12)
    with pytest.raises(ValueError, match=r"4,096 tiles at zoom 6, about 102 MB"):
        xyz(server).fetch([world], tmp_path, zoom=6)
    with pytest.raises(ValueError, match="zoom 0 to 19, not 20"):
        xyz(server).fetch([world], tmp_path, zoom=20)
    assert server.requests == 0


def test_tiles_come_with_their_place_and_can_be_thinned(serve, tmp_path):
    source = xyz(serve(XYZ))
    found = source.search(BOX)
    assert found[0].bounds == BOX and found[0].credit == "Drawn"
    source.fetch(found, tmp_path / "all", zoom=12, role="satellite")
    table = download.read_manifest(tmp_path / "all")
    assert len(table) == tiles.count(BOX, 12) == len(set(table.path))
    for row in table.itertuples():
        z, x, y = map(int, row.tile.split("/"))
        assert np.allclose((row.west, row.south, row.east, row.north), mercantile.xy_bounds(x, y, z))
        assert (row.crs, row.pair, row.role, row.licence) == ("EPSG:3857", row.tile, "satellite", "CC0")
        assert np.asarray(Image.open(tmp_path / "all" / row.path))[0, 0].tolist() == [x % 256, y % 256, 7]
    few = [
        source.fetch(found, tmp_path / name, zoom=12, limit=3, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    a, b, c = (set(download.read_manifest(one.folder).tile) for one in few)
    assert len(a) == 3 and a == b != c and a < set(table.tile)


def test_tiles_follow_the_bounds_over_the_antimeridian(serve, tmp_path):
    source = xyz(serve(XYZ))
    source.fetch(source.search((179, -17, -179, -16)), tmp_path, zoom=6)
    assert {tile.split("/")[1] for tile in download.read_manifest(tmp_path).tile} == {"63", "0"}


def test_tiles_with_too_little_data_are_skipped_with_the_reason(serve, tmp_path):
    def half(request):
        image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
        image.paste((9, 9, 9, 255), (0, 0, 256, 128 if int(request.groups["x"]) % 2 else 64))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return loopback.Response(buffer.getvalue(), "image/png")

    source = xyz(serve((*XYZ[:2], half)))
    summary = source.fetch(source.search(BOX), tmp_path, zoom=12, filled=0.4)
    assert list(summary.skipped) == ["less than 40% of the tile holds data"]
    assert {int(tile.split("/")[1]) % 2 for tile in download.read_manifest(tmp_path).tile} == {1}


def test_scenes_that_differ_in_unsafe_letters_only_do_not_overwrite_each_other(serve, tmp_path):
    scene = {"min_lat": -25.5, "max_lat": -25.3, "min_lon": -54.6, "max_lon": -54.4}
    listed = [scene | {"entityId": name} for name in ("a b", "a:b", "../a")]
    tile = ("GET", r"/tellus_legacy/ASNARO-1/.*\.png", lambda request: png())
    legacy = connect("tellus_legacy", serve(("GET", "/tellus_legacy/api/v1/asnaro1/scene", listed), tile))
    legacy.fetch(legacy.search(BOX), tmp_path, zoom=9)
    assert len(list(tmp_path.glob("image/*/*.png"))) == 3 * tiles.count(BOX, 9)


def patch(source, lon, lat, **size):
    return lesson().patch_item({"path": "a.jpg", "lon": lon, "lat": lat}, source, **size)


def test_a_patch_is_cut_around_its_centre(serve, tmp_path):
    def ramp(request):  # red and green are the position on the map in tiles, over the 8 tiles of zoom 3
        x, y = (int(request.groups[axis]) + (np.arange(256) + 0.5) / 256 for axis in "xy")
        pixels = np.stack([*np.meshgrid(x * 30, y * 30), np.full((256, 256), 5)], axis=-1)
        buffer = io.BytesIO()
        Image.fromarray(np.rint(pixels).astype("uint8")).save(buffer, "PNG")
        return loopback.Response(buffer.getvalue(), "image/png")

    source = xyz(serve((*XYZ[:2], ramp)), zooms=(3, 3))
    item = patch(source, 10.0, 45.0, width_m=2_000_000, size_px=64)
    download.fetch([item], tmp_path, source.client, total=1)
    image = np.asarray(Image.open(tmp_path / item.name)).astype(float)
    assert image.shape == (64, 64, 4)
    x, y = (10 + 180) / 360 * 8, (1 - math.asinh(math.tan(math.radians(45))) / math.pi) / 2 * 8
    assert np.abs(image[31:33, 31:33].mean(axis=(0, 1))[:2] / 30 - (x, y)).max() < 0.02
    side = 2_000_000 / (156_543.03 * math.cos(math.radians(45)) / 2**3) / 256  # metres in a pixel of zoom 0
    assert abs((image[:, -1, 0] - image[:, 0, 0]).mean() / 30 - side * 63 / 64) < 0.03
    row = download.read_manifest(tmp_path).iloc[0]
    place = CRS.from_epsg(4326), CRS.from_epsg(3857)
    centre = np.ravel(rasterio.warp.transform(*place, [10.0], [45.0]))
    assert np.allclose(centre, ((row.west + row.east) / 2, (row.south + row.north) / 2), atol=1)
    with pytest.raises(ValueError, match="choose another width"):
        patch(source, 10.0, 84.9, width_m=2_000_000, size_px=64)


@pytest.mark.parametrize("width_m", [0, -100, float("nan")])
def test_a_patch_without_a_width_is_refused(serve, width_m):
    source = xyz(serve(XYZ), zooms=(3, 3))
    with pytest.raises(ValueError, match="choose another width"):
        patch(source, 10.0, 45.0, width_m=width_m, size_px=64)


def test_a_patch_reaches_over_the_antimeridian_and_takes_no_tile_of_another_size(serve, tmp_path):
    def small_in_the_north(request):
        return numbered_tile(request) if int(request.groups["y"]) >= 4 else png(size=10)

    source = xyz(serve((*XYZ[:2], small_in_the_north)), zooms=(3, 3))
    item = patch(source, 179.999, -17, width_m=200_000, size_px=64)
    assert not download.fetch([item], tmp_path, source.client).skipped
    assert np.asarray(Image.open(tmp_path / item.name))[32, [5, -5], 0].tolist() == [7, 0]
    summary = download.fetch([patch(source, 100, 17, width_m=200_000, size_px=64)], tmp_path, source.client)
    assert "(10, 10) px, expected (256, 256)" in next(iter(summary.skipped))


@pytest.mark.parametrize("query", ["appid=1", "sig=x", "access_token=y", "password=z"])
def test_a_template_that_holds_a_key_is_refused(query):
    with pytest.raises(ValueError, match="holds a key"):
        providers.connect("xyz", template="https://tiles.example.org/{z}/{x}/{y}.png?" + query, credit="c", licence="l")
