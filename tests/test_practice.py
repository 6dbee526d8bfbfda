"""The practice server: answers in the providers' shapes, and imagery that lies where it says it lies."""

import io
import re
import subprocess
import sys

import mercantile
import numpy as np
import pystac_client
import pytest
import rasterio
import requests
from PIL import Image
from rasterio import warp
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject
from skimage.registration import phase_cross_correlation

from helpers import relief
from helpers.acquire import packs, practice, providers
from helpers.acquire.practice import services
from helpers.acquire.providers.cog import GDAL
from tests.test_photos import judged

NEEDED = ("landsat8_itaipu", "sentinel2_brandenburg", "landsat_timeseries", "blue_marble", "rocky_mountain")
EDGES = ("min_lon", "min_lat", "max_lon", "max_lat")
BEARER = {"Authorization": "Bearer practice"}
AGENT = {"User-Agent": "tests (https://example.org)"}


@pytest.fixture(scope="module")
def server():
    if absent := [name for name in NEEDED if packs.missing(name)]:
        pytest.skip(f"not fetched: {', '.join(absent)}")
    with practice.start() as running:
        yield running


def get(server, path, status=200, headers=AGENT, **parameters):
    answer = requests.get(server.url + path, parameters, headers=headers, timeout=60)
    assert answer.status_code == status, answer.text[:300]
    return answer


def pixels(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def assert_same_place(seen, name, tile, most_different):
    """A tile shows what rasterio makes of the source there: alike, and shifted by less than a fifth of a pixel."""
    about = services.LAYERS[name]
    scene = packs.open_scene(about["pack"], about["scene"], ["red", "green", "blue"])
    low, high = np.array(about["range"]).T
    colours = np.clip((scene.pixels - low) / (high - low) * 254 + 1, 1, 255)
    expected, where = np.full((3, 256, 256), np.nan, "float32"), mercantile.xy_bounds(*tile)
    reproject(
        np.ascontiguousarray(np.moveaxis(colours, -1, 0)), expected, src_crs=scene.crs, src_transform=scene.transform,
        src_nodata=np.nan, dst_nodata=np.nan, dst_crs="EPSG:3857", dst_transform=from_bounds(*where, 256, 256),
        resampling=Resampling.average,
    )  # fmt: skip
    expected = np.moveaxis(expected, 0, -1)
    both = np.isfinite(expected).all(-1) & seen[..., :3].any(-1)
    assert both.mean() > 0.25
    seen, expected = (np.where(both[..., None], image[..., :3], 0.0).astype(float) for image in (seen, expected))
    assert abs(seen - expected)[both].mean() < most_different
    shift, _, _ = phase_cross_correlation(expected.mean(-1), seen.mean(-1), upsample_factor=50)
    assert np.abs(shift).max() < 0.2


def test_starting_is_quick_and_draws_nothing():
    code = """if True:
        import time
        from helpers.acquire import practice
        from helpers.acquire.practice import services
        start = time.process_time()  # of the processor, which may be busy with something else
        practice.start()
        print(time.process_time() - start)"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(printed) < 2


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="gremlin"):
        practice.start(faults={"gremlin": 1})


def test_scenes_of_the_first_tellus_overlap_and_are_listed_where_they_touch_the_box(server):
    path, box = "/tellus_legacy/api/v1/asnaro1/scene", {"min_lat": -26, "max_lat": -24, "min_lon": -56, "max_lon": -53}
    whole = get(server, path, headers=BEARER, **box).json()
    assert len(whole) == len({one["entityId"] for one in whole}) == 36
    part = get(server, path, headers=BEARER, **box | {"min_lon": -54.5}).json()
    assert 0 < len(part) < 36 and all(one["max_lon"] >= -54.5 for one in part)


def test_a_tile_of_a_scene_lies_where_rasterio_puts_it_and_ends_with_the_scene(server):
    one = services.listed()["scenes"][8]
    name, source, box = one["entityId"], one["entityId"].split("-")[1], [one[edge] for edge in EDGES]
    tile = mercantile.tile((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 11)
    seen = pixels(get(server, f"/tellus_legacy/ASNARO-1/{name}/11/{tile.x}/{tile.y}.png"))
    assert_same_place(seen, source, tile, 3)
    edge = mercantile.tile(box[0], (box[1] + box[3]) / 2, 12)
    seen = pixels(get(server, f"/tellus_legacy/ASNARO-1/{name}/12/{edge.x}/{edge.y}.png"))
    scene, (row, column) = services.layer(source), map(int, name.split("-")[2:])
    corners = [scene.transform @ (column, row + down) for down in (0, 1000)]  # of the part's western edge
    (left, right), _ = warp.transform(scene.crs, "EPSG:4326", *zip(*corners, strict=True))
    columns = [(lon - mercantile.bounds(edge).west) / (360 / 2**12) * 256 for lon in sorted((left, right))]
    first = [opaque[0] for opaque in (line.nonzero()[0] for line in seen[..., 3]) if len(opaque)]
    assert columns[0] - 2 <= min(first) <= max(first) <= columns[1] + 2
    get(server, f"/tellus_legacy/ASNARO-1/{name}/13/{2 * tile.x}/{2 * tile.y}.png", 404)
    get(server, f"/tellus_legacy/ASNARO-1/nobody/12/{edge.x}/{edge.y}.png", 404)


@pytest.mark.parametrize("layer, suffix", [("seamlessphoto", "jpg"), ("pale", "png")])
def test_a_tile_of_the_world_lies_where_rasterio_puts_it(server, layer, suffix):
    seen = pixels(get(server, f"/gsi/xyz/{layer}/3/4/2.{suffix}"))
    assert_same_place(seen, layer, (4, 2, 3), 6)
    get(server, f"/gsi/xyz/{layer}/5/8/8.{suffix}", 404)
    get(server, f"/gsi/xyz/{layer}/3/8/2.{suffix}", 404)


def test_a_tile_of_eox_has_y_before_x(server):
    tile = mercantile.tile(-105.7, 40.3, 9)
    seen = pixels(get(server, f"/eox/wmts/1.0.0/s2cloudless-2020_3857/default/g/9/{tile.y}/{tile.x}.jpg"))
    assert_same_place(seen, "eox", tile, 9)


def test_pystac_client_finds_items_by_place_time_and_cloud(server):
    catalogue = pystac_client.Client.open(f"{server.url}/earth_search")

    def ids(**how):
        how = {"bbox": (-107, 40, -106, 41), "collections": ["landsat-c2-l2"]} | how
        return [item.id for item in catalogue.search(**how).items()]

    assert len(ids()) == 4 and ids()[0].endswith("2011-08-18")
    assert ids(datetime="2010-01-01/2010-12-31") == ["landsat-c2-l2-2010-07-30", "landsat-c2-l2-2010-07-14"]
    assert len(ids(query={"eo:cloud_cover": {"lt": 5}})) == 2
    assert ids(bbox=(0, 0, 1, 1)) == [] == ids(collections=["none"])


def test_cloud_cover_is_the_share_that_fmask_calls_cloud():
    for item in services.listed()["items"]:
        if item["collection"] == "landsat-c2-l2":
            day, cover = item["properties"]["datetime"][:10], item["properties"]["eo:cloud_cover"]
            [mask] = packs.open_scene("landsat_timeseries", day, ["fmask"]).pixels.transpose(2, 0, 1)
            assert 100 * (mask[np.isfinite(mask) & (mask != 255)] == 4).mean() == pytest.approx(cover, abs=0.06)


def test_the_answers_say_of_the_packs_what_is_so():
    answers = services.listed()
    for item in answers["items"]:
        pack, file = re.fullmatch(r"/files/(\w+)/(.+)\.tif", item["assets"]["red"]["href"]).groups()
        with rasterio.open(packs.member_path(pack, file)) as image:
            box = warp.transform_bounds(image.crs, "EPSG:4326", *image.bounds)
        assert np.allclose(item["bbox"], box, atol=1e-5) and [item["properties"]["credit"]] == packs.credits([pack])
        assert item["bbox"] == [
            *np.min(item["geometry"]["coordinates"][0], 0),
            *np.max(item["geometry"]["coordinates"][0], 0),
        ]
    for one in answers["scenes"]:
        _, name, row, column = one["entityId"].split("-")
        part = services.layer(name).cut(int(row), int(column), 1000, 1000)
        box = warp.transform_bounds(part.crs, "EPSG:4326", *part.bounds)
        assert np.allclose([one[edge] for edge in EDGES], box, atol=1e-5)
    dem, colours = (packs.open_scene("rocky_mountain", name) for name in ("dem", "image"))
    transform = relief.aligned(dem, colours)[1]
    for number, (page, view) in enumerate(zip(answers["photos"], answers["views"], strict=True)):
        [place] = page["coordinates"]
        if number != 3:  # which shows the same as 2
            assert np.allclose(transform @ (view["column"], view["row"]), (place["lon"], place["lat"]), atol=1e-5)
        [info] = page["imageinfo"]
        author = info["extmetadata"]["Artist"]["value"]
        assert author == (
            "NASA" if number == 28 else f"rendered, no photograph, from {packs.credits(['rocky_mountain'])[0]}"
        )
        assert info["url"] == f"/files/photos/{number}.jpg" and page["pageid"] == 90_000 + number


@pytest.mark.parametrize("day, key, member", [("2017-02-16", "red", "B04.jp2"), ("2010-07-30", "fmask", "")])
def test_a_raster_holds_the_pixels_of_the_pack_and_is_read_by_parts(server, day, key, member):
    [item] = [item for item in services.listed(server.url)["items"] if day in item["id"]]
    address = item["assets"][key]["href"]
    path = packs.member_path(*address.removeprefix(f"{server.url}/files/").removesuffix(".tif").split("/", 1))
    assert path.name.endswith(member)
    before = server.requests
    with rasterio.Env(**GDAL), rasterio.open(f"/vsicurl/{address}") as cog, rasterio.open(path) as file:
        assert cog.transform == file.transform and cog.crs == file.crs
        assert (cog.read(1) == file.read(1)).all()
    assert server.requests > before


def test_photos_of_commons_come_with_licence_author_and_place(server):
    asked = {"ggscoord": "40.35|-105.7", "ggsradius": 10_000, "ggslimit": 500}
    pages = get(server, "/commons/w/api.php", **asked).json()["query"]["pages"]
    for page in pages.values():
        facts = page["imageinfo"][0]["extmetadata"]
        assert "rendered" in facts["Artist"]["value"] or facts["Artist"]["value"] == "NASA"
        assert page["imageinfo"][0]["mime"] == "image/jpeg"
    wide = get(server, "/commons/w/api.php", **asked | {"ggsradius": 90_000}).json()["query"]["pages"]
    assert 3 < len(pages) < len(wide) == 36
    assert len(get(server, "/commons/w/api.php", **asked | {"ggslimit": 3}).json()["query"]["pages"]) == 3


def test_the_rules_for_photos_find_each_defect_and_nothing_else(server, tmp_path):
    commons = providers.connect("commons", server)
    found = commons.search((-105.91, 40.16, -105.5, 40.55))
    few = [one for one in found if int(one.id) - 90_000 in (2, 8, 20, 3, 14, 21, 28)]
    assert len(found) == 36 and commons.fetch(few, tmp_path).fetched == 7
    table = judged(tmp_path).set_index("path")
    found = {int(path[-6:-4]): reason for path, reason in table.reason.items() if reason}
    words = {3: "duplicate", 14: "night", 21: "blurred", 28: "faces"}
    assert found.keys() == words.keys() and all(words[number] in found[number] for number in words), found
