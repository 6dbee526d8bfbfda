"""The practice server: addresses and answers in the providers' shapes, and imagery that lies where it says it lies."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mercantile
import numpy as np
import pystac_client
import pytest
import rasterio
import requests
from PIL import Image
from rasterio.transform import from_bounds
from rasterio.warp import Resampling, reproject
from skimage.registration import phase_cross_correlation

from helpers import paths
from helpers.acquire import packs, photos, practice
from helpers.acquire.practice import catalogue, imagery, shapes, views

NEEDED = ("landsat8_itaipu", "sentinel2_brandenburg", "landsat_timeseries", "blue_marble", "rocky_mountain")
BEARER = {"Authorization": "Bearer practice"}
AGENT = {"User-Agent": "satellite-notebooks tests (https://example.org)"}
TRAVELER = "/tellus/api/traveler/v1"
COMMONS = {"action": "query", "generator": "geosearch", "format": "json", "ggsnamespace": "6", "ggslimit": "500",
           "ggsradius": "10000", "prop": "coordinates|imageinfo",
           "iiprop": "url|extmetadata"}  # fmt: skip
VK = {"lat": 40.35, "long": -105.7, "radius": 50000, "v": "5.199", "access_token": "practice"}
SCENE = "PRACTICE-224077-09"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server whose files go to a temporary folder."""
    if absent := [name for name in NEEDED if packs.missing(name)]:
        pytest.skip(f"not fetched: {', '.join(absent)}")
    real = paths.DATA / "packs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs.Pack, "folder", property(lambda pack: real / pack.name))
        patch.setattr(paths, "DATA", tmp_path_factory.mktemp("data"))
        with practice.start() as running:
            assert not list(paths.DATA.iterdir())
            yield running


@pytest.fixture
def get(server):
    """Function that asks the server, and checks the status."""

    def ask(path, status=200, headers=AGENT, **parameters):
        answer = requests.get(
            server.url + path if path.startswith("/") else path, parameters, headers=headers, timeout=60
        )
        assert answer.status_code == status, answer.text[:300]
        return answer

    return ask


def pixels(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def warped(image, crs, transform, tile, size=(256, 256), bounds=None, how=Resampling.bilinear):
    """float (height, width, 3): what rasterio makes of the source on the ground of a tile; NaN = no data."""
    result = np.full((3, *size), np.nan, "float32")
    bounds = bounds or mercantile.xy_bounds(*tile)
    reproject(
        np.ascontiguousarray(np.moveaxis(image.astype("float32"), -1, 0)), result, src_crs=crs, src_transform=transform,
        src_nodata=np.nan, dst_nodata=np.nan, dst_crs="EPSG:3857", dst_transform=from_bounds(*bounds, *size[::-1]),
        resampling=how,
    )  # fmt: skip
    return np.moveaxis(result, 0, -1)


def landsat_colours(name):
    scene = packs.open_scene("landsat8_itaipu", name, ["red", "green", "blue"])
    low, high = np.array([imagery.STRETCH[band] for band in scene.bands]).T
    return np.clip((scene.pixels - low) / (high - low) * 254 + 1, 1, 255), scene.crs, scene.transform


def assert_same_place(seen, expected, most_different):
    """The mean difference is small, and the one is shifted against the other by less than a fifth of a pixel."""
    both = np.isfinite(expected).all(-1) & (seen[..., :3].any(-1))
    assert both.mean() > 0.25
    seen, expected = (np.where(both[..., None], image[..., :3], 0.0).astype(float) for image in (seen, expected))
    assert abs(seen - expected)[both].mean() < most_different
    shift, _, _ = phase_cross_correlation(expected.mean(-1), seen.mean(-1), upsample_factor=50)
    assert np.abs(shift).max() < 0.2


# --- starting


def test_starting_is_quick_and_loads_nothing_heavy():
    code = """if True:
        import sys, time
        from helpers.acquire import practice
        start = time.perf_counter()
        practice.start()
        print(time.perf_counter() - start, {"PIL.Image", "skimage", "requests", "pandas"} & set(sys.modules))"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(printed.split()[0]) < 2 and "set()" in printed


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="gremlin"):
        practice.start(faults={"gremlin": 1})


# --- the first Tellus


def test_scenes_of_the_first_tellus_overlap_and_are_listed_where_they_touch_the_box(get):
    whole = get(
        "/tellus_legacy/api/v1/asnaro1/scene", headers=BEARER, min_lat=-26, max_lat=-24, min_lon=-56, max_lon=-53
    )
    scenes = whole.json()
    assert len(scenes) >= 30 and len({scene["entityId"] for scene in scenes}) == len(scenes)
    for scene in scenes:
        width_km = (scene["max_lon"] - scene["min_lon"]) * 111.3 * np.cos(np.radians(25.3))
        assert 29 < width_km < 33
        others = [other for other in scenes if other is not scene
                  and other["min_lon"] < scene["max_lon"] and scene["min_lon"] < other["max_lon"]
                  and other["min_lat"] < scene["max_lat"] and scene["min_lat"] < other["max_lat"]]  # fmt: skip
        assert others
    north = get(
        "/tellus_legacy/api/v1/asnaro1/scene", headers=BEARER, min_lat=-25.0, max_lat=-24, min_lon=-56, max_lon=-53
    )
    assert 0 < len(north.json()) < len(scenes) and all(scene["max_lat"] >= -25.0 for scene in north.json())
    get("/tellus_legacy/api/v1/asnaro1/scene", 400, headers=BEARER, min_lat=1)


@pytest.mark.parametrize("zoom, most_different", [(12, 1.5), (11, 3), (10, 3)])
def test_a_tile_of_a_scene_lies_where_rasterio_puts_it(get, zoom, most_different):
    west, south, east, north = imagery.subscenes()[SCENE].bounds
    tile = mercantile.tile((west + east) / 2, (south + north) / 2, zoom)
    seen = pixels(get(f"/tellus_legacy/ASNARO-1/{SCENE}/{zoom}/{tile.x}/{tile.y}.png", headers=BEARER))
    assert seen.shape == (256, 256, 4)
    how = Resampling.bilinear if zoom == 12 else Resampling.average  # a pixel of 30 m is not far from one of zoom 12
    assert_same_place(seen, warped(*landsat_colours("224077"), tile, how=how), most_different)


def test_a_scene_is_transparent_beyond_its_own_ground(get):
    one = imagery.subscenes()[SCENE]
    tile = mercantile.tile(one.bounds[0], one.bounds[3], 12)
    alpha = pixels(get(f"/tellus_legacy/ASNARO-1/{SCENE}/12/{tile.x}/{tile.y}.png", headers=BEARER))[..., 3]
    colours, crs, transform = landsat_colours("224077")
    outside = np.full_like(colours, np.nan)
    outside[one.row : one.row + 1000, one.column : one.column + 1000] = 1
    inside = np.isfinite(warped(outside, crs, transform, tile)[..., 0])
    assert 0 < inside.mean() < 1 and ((alpha == 255) != inside).mean() < 0.02  # the rim may differ
    assert set(np.unique(alpha)) == {0, 255}


def test_there_is_no_tile_beyond_the_scene_its_zooms_or_without_a_key(get):
    west, south, east, north = imagery.subscenes()[SCENE].bounds
    inside = mercantile.tile((west + east) / 2, (south + north) / 2, 13)
    get(f"/tellus_legacy/ASNARO-1/{SCENE}/13/{inside.x}/{inside.y}.png", 404, headers=BEARER)
    get(f"/tellus_legacy/ASNARO-1/{SCENE}/12/5/5.png", 404, headers=BEARER)
    get("/tellus_legacy/ASNARO-1/NONE/12/5/5.png", 404, headers=BEARER)
    assert set(get(f"/tellus_legacy/ASNARO-1/{SCENE}/12/5/5.png", 401).json()) == {"code", "detail"}
    get("/tellus_legacy/api/v1/asnaro1/scene", 401, headers={"Authorization": "Bearer "})


# --- Tellus Traveler


def post(server, path, body, headers=BEARER):
    return requests.post(server.url + path, json=body, headers=headers, timeout=60)


def test_tellus_pages_with_the_condition_that_it_echoes(server, get):
    (dataset,) = get(f"{TRAVELER}/datasets/", headers=BEARER).json()["results"]
    body = {
        "datasets": [dataset["id"]], "query": {"start_datetime": {"gte": "2020-01-01T00:00:00Z"}},
        "sortby": [{"field": "properties.tellus:name", "direction": "desc"}], "paginate": {"size": 16, "cursor": None},
    }  # fmt: skip
    seen, sizes = [], []
    while body["paginate"]["cursor"] is not None or not seen:
        answer = post(server, f"{TRAVELER}/data-search/", body).json()
        seen += [feature["id"] for feature in answer["features"]]
        sizes.append(len(answer["features"]))
        body = answer["meta"]["search-condition"]
    assert answer["meta"]["total"] == len(seen) == len(set(seen)) >= 30 and sizes == [16, 16, len(seen) - 32]
    assert seen == sorted(seen, reverse=True)
    late = body | {"paginate": {"size": 10}, "query": {"start_datetime": {"gt": "2021"}}}
    assert post(server, f"{TRAVELER}/data-search/", late).json()["meta"]["total"] == 0
    far = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    assert post(server, f"{TRAVELER}/data-search/", {"intersects": far}).json()["features"] == []
    assert post(server, f"{TRAVELER}/data-search/", {"paginate": {"size": 9}}).status_code == 400
    assert post(server, f"{TRAVELER}/data-search/", {}, {}).status_code == 401


def test_a_file_of_tellus_is_had_through_an_address_that_expires(server, get, monkeypatch):
    feature = post(server, f"{TRAVELER}/data-search/", {}).json()["features"][0]
    files = f"{TRAVELER}/datasets/{feature['dataset_id']}/data/{feature['id']}/files/"
    (file,) = get(files, headers=BEARER).json()["results"]
    assert {"id", "name", "size_bytes", "mime_type", "status", "is_downloadable"} <= set(file)
    assert post(server, f"{files}{file['id']}/download-url/", {}, {}).status_code == 401
    url = post(server, f"{files}{file['id']}/download-url/", {}).json()["download_url"]
    content = get(url, headers={}).content
    assert len(content) == file["size_bytes"]
    get(url.replace("signature=", "signature=0"), 403)
    monkeypatch.setattr(shapes, "DOWNLOAD_S", -1)
    get(post(server, f"{files}{file['id']}/download-url/", {}).json()["download_url"], 403)
    one, scene = imagery.subscenes()[feature["id"]], packs.open_scene("landsat8_itaipu", "224077")
    with rasterio.MemoryFile(content) as memory, memory.open() as dataset:
        cut = scene.cut(one.row, one.column, 1000, 1000)
        assert dataset.dtypes == ("uint16",) * 3 and dataset.nodata == 0 and dataset.descriptions == scene.bands
        assert dataset.transform == cut.transform and dataset.crs == scene.crs
        np.testing.assert_array_equal(np.moveaxis(dataset.read(), 0, -1), np.nan_to_num(cut.pixels))


# --- tiles and images without scenes


@pytest.mark.parametrize("layer, file, suffix", [
    ("seamlessphoto", "bmng.jpg", "jpg"), ("std", "etopo1.jpg", "png"), ("pale", "shadedrelief.jpg", "png"),
])  # fmt: skip
def test_a_tile_of_the_world_lies_where_rasterio_puts_it(get, layer, file, suffix):
    with imagery.scenes.files.unplaced_is_fine(), rasterio.open(packs.member_path("blue_marble", file)) as dataset:
        image = np.moveaxis(dataset.read(), 0, -1)[900:2100, 4000:6400] if layer == "pale" else \
            np.moveaxis(dataset.read(), 0, -1)[450:1050, 2000:3200]  # fmt: skip
    degrees = 180 / (5400 if layer == "pale" else 2700)
    top, left = (900, 4000) if layer == "pale" else (450, 2000)
    grid = rasterio.Affine(degrees, 0, left * degrees - 180, 0, -degrees, 90 - top * degrees)
    seen = pixels(get(f"/gsi/xyz/{layer}/4/8/5.{suffix}"))
    assert seen.shape == (256, 256, 3)
    assert_same_place(seen, warped(image, "EPSG:4326", grid, (8, 5, 4)), 6)


def test_the_world_ends_at_zoom_4_and_at_its_edges(get):
    for path in ("seamlessphoto/5/0/0.jpg", "std/1/0/2.png", "std/1/2/0.png", "std/0/0/0.jpg", "hill/0/0/0.png"):
        get(f"/gsi/xyz/{path}", 404)
    assert pixels(get("/gsi/xyz/seamlessphoto/0/0/0.jpg")).shape == (256, 256, 3)


def test_a_tile_of_eox_has_y_before_x_and_lies_where_rasterio_puts_it(get):
    tile = mercantile.tile(-54.75, -25.2, 12)
    answer = get(f"/eox/wmts/1.0.0/s2cloudless-2020_3857/default/g/12/{tile.y}/{tile.x}.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert_same_place(pixels(answer), warped(*landsat_colours("224077"), tile), 6)
    get(f"/eox/wmts/1.0.0/s2cloudless-2020_3857/default/g/12/{tile.x}/{tile.y}.jpg", 404)


@pytest.mark.parametrize("lon, lat, zoom, size", [
    (-105.7013, 40.4011, 10, (205, 205)), (-54.7501, -25.2003, 12, (300, 200)),
])  # fmt: skip
def test_the_middle_of_a_static_map_is_the_place_that_was_asked_for(get, lon, lat, zoom, size):
    answer = get("/yandex_static/v1", apikey="practice", ll=f"{lon},{lat}", z=zoom, size=f"{size[0]},{size[1]}",
                 maptype="satellite")  # fmt: skip
    half_px = 20037508.342789244 / 2**zoom / 256
    x, y = mercantile.xy(lon, lat)
    bounds = (x - size[0] * half_px, y - size[1] * half_px, x + size[0] * half_px, y + size[1] * half_px)
    if lat > 0:
        scene = packs.open_scene("rocky_mountain", "image")
        source = np.nan_to_num(scene.pixels, nan=255), scene.crs, scene.transform
    else:
        source = landsat_colours("224077")
    assert_same_place(pixels(answer), warped(*source, None, size[::-1], bounds), 8)


def test_static_maps_refuse_what_the_service_refuses(get):
    asked = {"apikey": "practice", "ll": "-105.7,40.4", "z": 10, "size": "200,200"}
    get("/yandex_static/v1", 401, **asked | {"apikey": ""})
    for wrong in ({"size": "651,200"}, {"size": "200,451"}, {"z": "x"}, {"ll": "1"}, {"maptype": "map"}):
        get("/yandex_static/v1", 400, **asked | wrong)
    get("/yandex_static/v1", 404, **asked | {"ll": "0,0"})
    get("/yandex_static/v1", 404, **asked | {"z": 11})


def test_what_many_ask_for_at_once_is_drawn_once(server, monkeypatch):
    drawn = []
    monkeypatch.setattr(imagery, "encoded", lambda *_: drawn.append(1) or b"\x89PNG")
    tile = mercantile.tile(-54.7, -25.15, 11)
    url = f"{server.url}/eox/wmts/1.0.0/s2cloudless-2020_3857/default/g/11/{tile.y}/{tile.x}.jpg"
    with ThreadPoolExecutor(16) as pool:
        assert {answer.status_code for answer in pool.map(lambda _: requests.get(url, timeout=60), range(16))} == {200}
    assert len(drawn) == 1


# --- STAC


def test_pystac_client_finds_items_by_place_time_and_cloud(server):
    client = pystac_client.Client.open(f"{server.url}/earth_search/v1")
    search = client.search(collections=["landsat-c2-l2"], bbox=(-107, 40, -106, 41), limit=1, max_items=9)
    found = list(search.items())
    assert len(found) == search.matched() == len({item.id for item in found}) == 4  # four pages
    assert found == sorted(found, key=lambda item: item.datetime, reverse=True)
    clear = client.search(collections=["landsat-c2-l2"], datetime="2010-07", query={"eo:cloud_cover": {"lt": 10}})
    assert [item.datetime.date().isoformat() for item in clear.items()] == ["2010-07-14"]
    point = {"type": "Point", "coordinates": [12.6, 52.5]}
    (item,) = client.search(intersects=point).items()
    assert item.collection_id == "sentinel-2-l2a" and item.datetime.date().isoformat() == "2017-02-16"
    assert item.properties["earthsearch:boa_offset_applied"] is False and len(item.assets) == 13
    assert requests.get(item.get_self_href(), timeout=60).json()["id"] == item.id
    assert not list(client.search(bbox=(0, 0, 1, 1)).items())
    bad = requests.post(f"{server.url}/earth_search/v1/search", json={"limit": 0}, timeout=60)
    assert bad.status_code == 400


def test_cloud_cover_is_the_share_that_fmask_calls_cloud(server):
    items = [item.feature["properties"] for item in catalogue.items().values()]
    for item in items[1:]:
        fmask = packs.open_scene("landsat_timeseries", item["datetime"][:10], ["fmask"]).pixels
        assert item["eo:cloud_cover"] == pytest.approx(100 * (fmask == 4).mean(), abs=0.06)
    assert [item["eo:cloud_cover"] > 15 for item in items][1:] == [False, True, True, False]


@pytest.mark.parametrize("key, scene, band", [
    ("red", "10m", "red"), ("swir16", "20m", "swir16"), ("coastal", "60m", "coastal"), ("nir08", "2010-07-30", "nir"),
    ("fmask", "2010-07-30", "fmask"),
])  # fmt: skip
def test_a_cog_holds_the_pixels_of_the_pack_on_their_grid(server, get, key, scene, band):
    pack = "landsat_timeseries" if "-" in scene else "sentinel2_brandenburg"
    days = {item.feature["properties"]["datetime"][:10]: name for name, item in catalogue.items().items()}
    name = days[scene if "-" in scene else "2017-02-16"]
    collection = catalogue.items()[name].feature["collection"]
    item = get(f"/earth_search/v1/collections/{collection}/items/{name}").json()
    asset, source = item["assets"][key], packs.open_scene(pack, scene, [band])
    with rasterio.MemoryFile(get(asset["href"]).content) as memory, memory.open() as dataset:
        assert dataset.transform == source.transform and dataset.crs == source.crs and dataset.crs.to_epsg() == item[
            "properties"]["proj:epsg"]  # fmt: skip
        assert [*dataset.shape] == asset["proj:shape"] and asset["proj:transform"][:6] == [*dataset.transform][:6]
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and dataset.block_shapes == [(256, 256)]
        assert dataset.nodata == asset["raster:bands"][0]["nodata"] == (255 if key == "fmask" else 0)
        assert dataset.overviews(1) or max(dataset.shape) <= 256
        np.testing.assert_array_equal(dataset.read(1), source.pixels[..., 0])


def test_a_part_of_a_file_can_be_had(get):
    path = "/files/stac/S2A_33UUU_20170216_0_L1C/cirrus.tif"
    whole = get(path).content
    part = get(path, 206, headers={"Range": "bytes=100-299"})
    assert part.content == whole[100:300] and part.headers["Content-Range"] == f"bytes 100-299/{len(whole)}"
    get("/files/stac/S2A_33UUU_20170216_0_L1C/visual.tif", 404)


# --- photos


def exif_place(content):
    """(lon, lat, heading, description) that the EXIF of a JPEG tells; None where it tells no place."""
    exif = Image.open(io.BytesIO(content)).getexif()
    place = exif.get_ifd(0x8825)
    if not place:
        return None, None, None, exif[0x010E]
    lat, lon = (sum(float(part) / 60**i for i, part in enumerate(place[tag])) for tag in (2, 4))
    lat, lon = (-value if place[tag] in "SW" else value for value, tag in ((lat, 1), (lon, 3)))
    return lon, lat, float(place[17]), exif[0x010E]


def around(number):
    """Parameters of a search in Commons around a photo."""
    one = views.photos()[number - 1]
    return COMMONS | {"ggscoord": f"{one.lat}|{one.lon}"}


def test_photos_of_commons_come_with_licence_author_and_place(get):
    pages = {}
    for number in (1, 17, 59, 60):
        pages |= get("/commons/w/api.php", **around(number), colimit="max", iiurlwidth=320).json()["query"]["pages"]
    assert len(pages) > 20
    for page in pages.values():
        (info,) = page["imageinfo"]
        facts = {name: fact["value"] for name, fact in info["extmetadata"].items()}
        assert facts["LicenseShortName"] == "Public domain" and facts["Artist"].startswith("<a href=")
        assert info["thumbwidth"] in (320, 120) and info["thumburl"] and info["url"] and info["descriptionurl"]
        rendered = facts["ImageDescription"].startswith("<p>Rendered view, not a photograph")
        assert rendered == page["title"].startswith("File:Rendered view")
    assert sum("coordinates" not in page for page in pages.values()) == 1


def test_commons_gives_places_in_parts_and_says_where_to_go_on(get):
    asked = around(17)
    whole = get("/commons/w/api.php", **asked, colimit="max").json()
    assert "continue" not in whole and "batchcomplete" in whole
    places, more, count = {}, {}, 0
    while more is not None:
        answer = get("/commons/w/api.php", **asked, colimit=4, **more).json()
        for number, page in answer["query"]["pages"].items():
            if "coordinates" in page:
                assert number not in places
                places[number] = page["coordinates"]
            assert ("imageinfo" in page) == (count == 0)
        more, count = answer.get("continue"), count + 1
    pages = whole["query"]["pages"]
    assert count == -(-len(pages) // 4) > 2
    assert places == {number: page["coordinates"] for number, page in pages.items() if "coordinates" in page}


def test_commons_wants_a_user_agent_and_sensible_circles(get):
    get("/commons/w/api.php", 403, headers={"User-Agent": "python-requests/2"}, **around(17))
    assert get("/commons/w/api.php", **around(17) | {"ggsradius": "10001"}).json()["error"]["code"]
    assert get("/commons/w/api.php", **around(17) | {"ggscoord": "0|0"}).json() == {"batchcomplete": ""}
    counts = [
        len(get("/commons/w/api.php", **around(44) | {"ggsradius": str(radius)}).json()["query"]["pages"])
        for radius in (10, 500, 10_000)
    ]
    assert counts == sorted(counts) and counts[0] < counts[1] >= 6


def test_vk_lists_photos_by_circle_time_and_page_with_errors_of_its_own(get):
    first = get("/vk/method/photos.search", **VK, count=40).json()["response"]
    rest = get("/vk/method/photos.search", **VK, count=40, offset=40).json()["response"]
    items = first["items"] + rest["items"]
    assert first["count"] == len(items) == len({item["id"] for item in items}) == 60
    assert sum("lat" not in item for item in items) == 1
    assert all(len({size["type"] for size in item["sizes"]}) >= 2 for item in items)
    noon = sorted(item["date"] for item in items)[30]
    late = get("/vk/method/photos.search", **VK, start_time=noon).json()["response"]
    assert late["count"] == sum(item["date"] >= noon for item in items)
    for change, code in (({"access_token": ""}, 5), ({"v": ""}, 8), ({"lat": "north"}, 100)):
        assert get("/vk/method/photos.search", **VK | change).json()["error"]["error_code"] == code


def test_views_say_in_their_exif_that_they_are_rendered_and_from_where(get):
    pages = get("/commons/w/api.php", **around(17), colimit="max").json()["query"]["pages"]
    page = next(page for page in pages.values() if "coordinates" in page)
    content = get(page["imageinfo"][0]["url"]).content
    lon, lat, heading, description = exif_place(content)
    (place,) = page["coordinates"]
    assert (lon, lat) == pytest.approx((place["lon"], place["lat"]), abs=1e-7)
    assert f"heading {heading:.0f} degrees" in page["title"]
    assert description.startswith("Rendered view, not a photograph")
    assert Image.open(io.BytesIO(content)).size == views.PHOTO_PX
    small = get(page["imageinfo"][0]["url"].replace("photos/", "photos/130px-")).content
    assert Image.open(io.BytesIO(small)).width == 130
    assert exif_place(small) == (None, None, None, description)
    get("/files/photos/61.jpg", 404)


def test_each_defect_that_a_filter_should_find_is_really_there(server):
    number = {photo.defect: photo.number for photo in views.photos() if photo.defect}
    assert tuple(number) == views.DEFECTS
    opened = {defect: Image.open(views.photo_file(number[defect])).convert("L") for defect in number}
    opened["good"] = Image.open(views.photo_file(views.COPIED)).convert("L")
    light = {defect: np.asarray(picture, float) for defect, picture in opened.items()}
    sharpness = {defect: abs(np.diff(image)).mean() for defect, image in light.items()}
    assert light["night"].mean() < 25 < 80 < light["good"].mean()
    assert sharpness["blurred"] < sharpness["good"] / 3
    assert opened["tiny"].size == (120, 80)
    assert opened["copy"].tobytes() != opened["good"].tobytes() and abs(light["copy"] - light["good"]).mean() < 12
    assert exif_place(views.photo_file(number["unplaced"]).read_bytes())[0] is None
    assert "portrait" in exif_place(views.photo_file(number["face"]).read_bytes())[3]
    for photo in views.photos():
        listed = views.SIZES_PX.get(photo.defect, views.PHOTO_PX)
        assert photo.size_px == listed and -105.9125 < photo.lon < -105.4945 and 40.1592 < photo.lat < 40.5536


def test_the_rules_for_photos_find_each_defect_and_nothing_else(server, tmp_path):
    """Each bad photo is rejected for one reason, its own; the photo that one copies, and others, are kept."""
    defects = {photo.number: photo.defect for photo in views.photos() if photo.defect}
    for number in (views.COPIED, 20, 40, *defects):
        (tmp_path / f"{number:02}.jpg").write_bytes(views.photo_file(number).read_bytes())
    judged = photos.judge(photos.read_folder(tmp_path), tmp_path)
    reasons = {int(path[:2]): reason for path, reason in zip(judged.path, judged.reason, strict=True) if reason}
    words = {"night": "night", "blurred": "blurred", "tiny": "too small", "copy": "duplicate of 03.jpg",
             "unplaced": "no position", "face": "faces"}  # fmt: skip
    for number, defect in defects.items():
        if defect not in ("face",):  # the portrait has a position in the catalogue only
            assert reasons.pop(number).startswith(words[defect])
    assert {reason.split(":")[0].split(";")[0] for reason in reasons.values()} <= {"faces", "no position"}
    assert set(reasons) == {number for number, defect in defects.items() if defect == "face"}


def test_nothing_that_is_served_holds_the_key(server):
    answer = post(server, f"{TRAVELER}/data-search/", {}, {"Authorization": "Bearer planted-0815"})
    assert "planted-0815" not in json.dumps(answer.json())
