"""Answers in the shapes that real services gave (recorded shapes, invented content): tiles, photos, Tellus."""

# ruff: noqa: F811
import io
import json
import math

import mercantile
import numpy as np
import pytest
from PIL import Image

from helpers.acquire import practice as loopback
from helpers.acquire import providers
from helpers.acquire.providers import provider, tellus
from tests.test_providers import ANY, BOX, FAST, JPEG, PATIENT, TOKEN, connect, no_keys, serve, xyz  # noqa: F401

# --- templates of tiles


def tile_of(kind, size=256):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (10, 200, 30)).save(buffer, kind)
    return loopback.Response(buffer.getvalue(), f"image/{kind.lower()}")


def fetched(serve, folder, template, kind="PNG", size=256, **options):
    """Paths that arrived at a server that has every tile, and the manifest."""
    asked = []
    server = serve(("GET", ANY, lambda request: asked.append(request.path) or tile_of(kind, size)))
    source = xyz(server, template=template, **options)
    summary = source.fetch(source.search(BOX), folder, zoom=9)
    assert not summary.skipped, summary
    return asked, summary.frame(), source


@pytest.mark.parametrize("template, expected", [
    ("/{z}/{x}/{-y}.png", lambda x, y: {f"/9/{x}/{511 - y}.png"}),
    ("/t/{q}.png", lambda x, y: {f"/t/{mercantile.quadkey(x, y, 9)}.png"}),
    ("/{s}/{z}/{x}/{y}.png", lambda x, y: {f"/{s}/9/{x}/{y}.png" for s in "abc"}),
    ("/{z}/{x}/{y}{r}.png", lambda x, y: {f"/9/{x}/{y}.png"}),
])  # fmt: skip
def test_fields_of_templates_are_filled(serve, tmp_path, template, expected):
    asked, table, _ = fetched(serve, tmp_path, template)
    for path, tile in zip(sorted(asked), sorted(table.tile), strict=False):
        assert path.endswith(".png") and tile
    tiles = [tuple(map(int, tile.split("/"))) for tile in table.tile]
    assert len(asked) == len(tiles) and set(asked) <= set().union(*(expected(x, y) for _, x, y in tiles))


@pytest.mark.parametrize("template", ["/{z}/{x}/{y}{r}.png", "/{z}/{x}/{y}@2x.png"])
def test_tiles_of_512_pixels(serve, tmp_path, template):
    asked, table, _ = fetched(serve, tmp_path, template, size=512, tile_px=512)
    assert all(path.endswith("@2x.png") for path in asked) and len(table)


def test_a_jpeg_without_suffix_is_stored_as_jpg_and_kept(serve, tmp_path):
    asked, table, source = fetched(serve, tmp_path, "/{z}/{x}/{y}", kind="JPEG")
    assert all(path.endswith(".jpg") for path in table.path) and (tmp_path / table.path[0]).exists()
    again = source.fetch(source.search(BOX), tmp_path, zoom=9)
    assert (again.kept, again.requests) == (len(table), 0)


def test_a_key_in_the_path_is_sent_and_stands_nowhere(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TILES_KEY", TOKEN)
    asked, table, source = fetched(serve, tmp_path, "/{key}/{z}/{x}/{y}.png", key_name="MY_TILES_KEY")
    assert all(path.startswith(f"/{TOKEN}/") for path in asked)
    assert TOKEN not in (tmp_path / "manifest.csv").read_text() + repr(vars(source)) and "{key}" in table.url[0]
    with pytest.raises(ValueError, match="{key} in the template needs a `key_name`"):
        xyz(None, template="https://a.example/{z}/{x}/{y}.png", key_name="MY_TILES_KEY")
    with pytest.raises(ValueError, match="{key} in the template.*`key_name`"):
        xyz(None, template="https://a.example/{key}/{z}/{x}/{y}.png")


def test_a_refusal_names_the_field():
    with pytest.raises(ValueError, match=r"fields .*\{-y\}.* not \{time\}"):
        xyz(None, template="https://a.example/{time}/{z}/{x}/{y}.png")
    with pytest.raises(ValueError, match="holds a key.*write {key} behind .apikey="):
        xyz(None, template="https://a.example/{z}/{x}/{y}.png?apikey=abc")
    with pytest.raises(ValueError, match="holds a key.*write {key} behind //$") as caught:
        xyz(None, template="https://ada:s3cret@a.example/{z}/{x}.png")
    assert "s3cret" not in str(caught.value)
    with pytest.raises(ValueError, match="give `credit` and `licence`"):
        providers.connect("xyz", template="https://a.example/{z}/{x}/{y}.png")
    with pytest.raises(TypeError, match="zoom"):
        xyz(None, template="https://a.example/{z}/{x}/{y}.png", zoom=(0, 5))


def test_names_of_xyzservices_are_known_and_openstreetmap_is_refused():
    pytest.importorskip("xyzservices")
    esri = providers.connect("Esri.WorldImagery")
    assert esri.layer == "Esri.WorldImagery" and "arcgisonline" in esri.template and esri.credit and esri.zooms[1] >= 18
    assert esri.tile_url((1, 2, 3), esri.layer).endswith("/3/2/1")  # z, y, x there
    with pytest.raises(ValueError, match="is refused: OpenStreetMap's"):
        providers.connect("OpenStreetMap.Mapnik")
    with pytest.raises(ValueError, match="xyzservices knows no source 'No.Such'"):
        providers.connect("No.Such")
    with pytest.raises(ValueError, match="that needs no key .*Give its address to xyz, as `template`"):
        providers.connect("Thunderforest.OpenCycleMap")


def test_yandex_is_refused_unless_a_map_type_is_named(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("YANDEX_MAPS_KEY", "my-Own-key")
    with pytest.raises(ValueError, match="lists no satellite imagery.*`layer`"):
        providers.connect("yandex_static")
    asked = []

    def image(request):
        asked.append(request.args)
        return tile_of("PNG", int(request.args["size"].split(",")[0]))

    server = serve(("GET", "/yandex_static/v1", image))
    yandex = providers.connect("yandex_static", server, policy=FAST, layer="map")
    summary = yandex.fetch(yandex.search((-105.75, 40.25, -105.65, 40.35)), tmp_path, zoom=12)
    assert summary.fetched >= 4 and not summary.skipped
    for query in asked:
        lon, lat = map(float, query["ll"].split(","))
        assert abs(lon + 105.7) < 0.2 and abs(lat - 40.3) < 0.2 and query["maptype"] == "map"
    assert asked[0]["apikey"] == "my-Own-key" and "my-Own-key" not in (tmp_path / "manifest.csv").read_text()


# --- Commons

ARTIST = (
    '<bdi><a href="https://en.wikipedia.org/wiki/en:Ann">Ann Other</a></bdi>'
    '<span style="display: none;">Ann Other</span>'
)


def commons_page(number, *, lon=-54.5, lat=-25.4, **changes):
    facts = {"Artist": ARTIST, "LicenseShortName": "CC BY-SA 4.0", "DateTimeOriginal": "2021-07-01 10:11:12"}
    info = {
        "thumburl": f"BASE/files/{number}.jpg", "url": f"BASE/files/{number}.jpg", "mime": "image/jpeg",
        "descriptionurl": f"https://c/File:{number}", "metadata": [],
        "extmetadata": {key: {"value": value} for key, value in facts.items()},
    }  # fmt: skip
    page = {"pageid": number, "ns": 6, "title": f"File:View {number}.jpg", "imagerepository": "local"}
    return page | {"coordinates": [{"lat": lat, "lon": lon}], "imageinfo": [info | changes]}


def commons(serve, pages, asked=None):
    def answer(request):
        (asked if asked is not None else []).append({**request.args.to_dict(), "agent": request.headers["User-Agent"]})
        text = json.dumps({"batchcomplete": "", "query": {"pages": {str(page["pageid"]): page for page in pages}}})
        return loopback.Response(text.replace("BASE", request.base).encode())

    return connect("commons", serve(("GET", "/commons/w/api.php", answer), JPEG))


def test_commons_passes_over_what_is_hidden_missing_or_no_photo(serve, tmp_path):
    pages = [
        commons_page(1), commons_page(2, filehidden=""), commons_page(3, filemissing=True),
        commons_page(4, extmetadata=[]), commons_page(5, mime="video/webm", thumburl="BASE/files/5.webm.jpg"),
        commons_page(6, mime="application/pdf"), commons_page(7, mime="image/vnd.djvu"),
        {"pageid": 8, "ns": 6, "title": "File:None.jpg", "missing": "", "imagerepository": ""},
    ]  # fmt: skip
    source = commons(serve, pages)
    found = {one.id: one for one in source.search(BOX)}
    assert set(found) == {"1", "4"}
    assert found["1"].credit == "Ann Other, File:View 1.jpg, https://c/File:1"
    assert found["4"].credit.startswith("unknown author") and found["4"].licence == "see the page of the file"
    assert source.fetch(list(found.values()), tmp_path).fetched == 2


def test_commons_takes_the_attribution_where_there_is_no_artist(serve):
    facts = {"Attribution": {"value": "Photo: Bob"}, "LicenseShortName": {"value": "CC BY 4.0"}}
    [one] = commons(serve, [commons_page(1, extmetadata=facts)]).search(BOX)
    assert one.credit.startswith("Photo: Bob, ")
    [odd] = commons(serve, [commons_page(1, extmetadata={"Artist": {"value": 7}})]).search(BOX)
    assert odd.credit.startswith("7, File:View 1.jpg")


@pytest.mark.parametrize("changes, place", [
    ({"metadata": [{"name": "GPSLatitude", "value": -25.4}, {"name": "GPSLongitude", "value": -54.5}]}, (-54.5, -25.4)),
    ({"extmetadata": {"GPSLatitude": {"value": "-25.42"}, "GPSLongitude": {"value": "-54.52"}}}, (-54.52, -25.42)),
    ({"metadata": [{"name": "GPSLatitude", "value": 0}, {"name": "GPSLongitude", "value": 0}]}, None),
    ({"metadata": [{"name": "GPSLatitude", "value": "?"}]}, None), ({"metadata": None}, None),
])  # fmt: skip
def test_commons_takes_the_cameras_position_where_coordinates_are_missing(serve, changes, place):
    page = commons_page(1, **changes)
    del page["coordinates"]
    [one] = commons(serve, [page]).search(BOX)
    assert one.bounds[:2] == place if place else math.isnan(one.bounds[0])


def test_commons_asks_for_no_more_than_the_limit_and_names_a_contact(serve, monkeypatch):
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_CONTACT", "ada@example.org")
    asked = []
    source = commons(serve, [commons_page(1)], asked)
    source.search(BOX, limit=7)
    source.search(BOX)
    assert asked[0]["ggslimit"] == "7" and asked[-1]["ggslimit"] == "50" and "mime" in asked[0]["iiprop"]
    assert "(ada@example.org;" in asked[0]["agent"]
    monkeypatch.delenv("SATELLITE_NOTEBOOKS_CONTACT")
    nobody = connect("commons", None).client.headers["User-Agent"]
    assert nobody.startswith("satellite-notebooks/") and "no contact given" in nobody and "://" not in nobody


# --- VK


def vk_item(number, **changes):
    item = {
        "id": number,
        "album_id": -7,
        "owner_id": -99,
        "date": 1_590_000_000 + number,
        "text": "",
        "has_tags": False,
    }
    return item | {"lat": -25.4, "long": -54.5} | changes


def vk(serve, monkeypatch, items, errors=()):
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    waiting = list(errors)

    def answer(request):
        if waiting:
            return loopback.as_json({"error": {"error_code": waiting.pop(0), "error_msg": "Flood control"}})
        text = json.dumps({"response": {"count": len(items), "items": items}})
        return loopback.Response(text.replace("BASE", request.base).encode())

    route = ("GET", "/vk/method/photos.search", answer)
    return connect("vk", serve(route, JPEG), policy=PATIENT)


def size(name, width, height):
    return {"type": "x", "url": f"BASE/files/{name}.jpg", "width": width, "height": height}


def test_vk_takes_the_largest_size_and_passes_over_items_without_a_file(serve, monkeypatch):
    items = [
        vk_item(1, sizes=[size(1, 130, 87), size(11, 807, 538)]), vk_item(2), vk_item(3, sizes=[]),
        vk_item(4, sizes=[size(4, 0, 0)], orig_photo=size(44, 2000, 1500)), vk_item(5, sizes=[size(5, 0, 0)]),
        vk_item(6, sizes=None, orig_photo=size(66, 900, 600)), vk_item(7, sizes=[{"type": "x", "width": 5}]),
    ]  # fmt: skip
    found = {one.id: one.about["url"].rpartition("/")[2] for one in vk(serve, monkeypatch, items).search(BOX)}
    assert found == {"-99_1": "11.jpg", "-99_4": "44.jpg", "-99_5": "5.jpg", "-99_6": "66.jpg"}


@pytest.mark.parametrize("code", [1, 6, 9, 10, 29])
def test_vk_errors_that_pass_are_asked_again(serve, monkeypatch, code):
    assert len(vk(serve, monkeypatch, [vk_item(1, sizes=[size(1, 5, 5)])], errors=[code, code]).search(BOX)) == 1


# --- Tellus


def traveler(serve, monkeypatch, *, forbidden=(), datasets=None):
    """Two scenes with one file each; the files of `forbidden` scenes answer 403."""
    monkeypatch.setenv("TELLUS_TOKEN", TOKEN)
    api = "/tellus"
    own = {
        "id": "d",
        "copyright": "© METI",
        "terms_of_use": "/terms/d/",
        "permission": {"allow_network_type": "global"},
    }
    square = {"type": "Polygon", "coordinates": [[[-54.6, -25.5], [-54.5, -25.5], [-54.5, -25.4], [-54.6, -25.5]]]}
    scene = {"dataset_id": "d", "geometry": square, "properties": {"start_datetime": "2020-01-01T00:00:00Z"}}
    listed = [scene | {"id": name} for name in ("a", "b")]

    def files(request):
        if request.groups["scene"] in forbidden:
            return loopback.as_json({"code": "permission_denied", "detail": "no contract"}, 403)
        return loopback.as_json({"results": [{"id": 17, "name": "scene.tif", "is_downloadable": True}]})

    def address(request):
        return loopback.as_json({"download_url": f"{request.base}/store/it"})

    routes = [
        ("GET", f"{api}/datasets/", {"results": [own | (datasets or {})]}),
        ("POST", f"{api}/data-search/", {"features": listed, "meta": {"total": 2, "search-condition": {}}}),
        ("GET", f"{api}/datasets/d/data/(?P<scene>.*)/files/", files),
        ("POST", f"{api}/datasets/d/data/.*/files/17/download-url/", address),
        ("GET", "/store/it", lambda request: loopback.Response(b"whole scene", "image/tiff")),
    ]
    return connect("tellus", serve(*routes))


def test_tellus_terms_and_a_scene_that_is_forbidden(serve, monkeypatch, tmp_path):
    source = traveler(serve, monkeypatch, forbidden=("a",))
    found = source.search(BOX, since="2019-01-01")
    assert found[0].licence.endswith("/tellus/terms/d/") and found[0].credit == "© METI"
    summary = source.fetch(found, tmp_path)
    assert summary.fetched == 1 and (tmp_path / "image/b/scene.tif").read_bytes() == b"whole scene"
    [(reason, names)] = summary.skipped.items()
    assert "403 FORBIDDEN" in reason and "no contract" in reason and names == ["a"]


def test_tellus_data_sets_that_stay_inside_are_skipped(serve, monkeypatch, tmp_path):
    source = traveler(serve, monkeypatch, datasets={"permission": {"allow_network_type": "tellus"}})
    summary = source.fetch(source.search(BOX), tmp_path)
    assert list(summary.skipped) == ["its data set may be used inside Tellus only (tellus)"]


def test_tellus_times_are_full_rfc_3339():
    assert tellus.utc("2020-01-01") == "2020-01-01T00:00:00Z"
    assert tellus.utc("2020-01-01T12:00:00+09:00") == "2020-01-01T03:00:00Z"
    with pytest.raises(ValueError, match="last week"):
        tellus.utc("last week")


def test_times_are_read_in_whatever_form():
    for text in ("2016-08-19T01:02:03Z", "2016/08/19 01:02:03", "19 Aug 2016 01:02:03 GMT", 1_471_568_523):
        assert provider.iso(text).startswith("2016-08-19T01:02:03"), text
    assert provider.iso("2016") == "2016-01-01T00:00:00" and provider.iso("unknown") == provider.iso(None) == ""


def test_legacy_scenes_have_dates_in_whatever_form(serve, monkeypatch):
    monkeypatch.setenv("TELLUS_TOKEN", TOKEN)
    scene = {"entityId": "20181223065028419_AS1", "acquisitionDate": "Sun, 23 Dec 2018 06:50:28 GMT"}
    scene |= {"min_lat": -25.5, "max_lat": -25.3, "min_lon": -54.6, "max_lon": -54.4}
    source = connect("tellus_legacy", serve(("GET", "/tellus_legacy/api/v1/asnaro1/scene", [scene])))
    [one] = source.search(BOX)
    assert one.time.startswith("2018-12-23T06:50:28") and np.allclose(one.bounds, BOX)
