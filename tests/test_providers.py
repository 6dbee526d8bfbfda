"""Providers: what their searches find and refuse, keys, tiles, patches and files, over loopback."""

import io
import json
import math
import sys
import warnings

import mercantile
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.crs import CRS

from helpers.acquire import download, packs, practice, providers, tiles
from helpers.acquire import practice as loopback
from helpers.acquire.providers import photos, provider

BOX = (-54.6, -25.5, -54.4, -25.3)
FAST = download.Policy(connections=8, requests_per_s=math.inf, tries=2, longest_wait_s=0.1)
PATIENT = download.Policy(requests_per_s=math.inf, tries=3, longest_wait_s=0.01)
TOKEN = "planted-4711-token"
KEYS = {"tellus_legacy": "TELLUS_TOKEN", "tellus": "TELLUS_TOKEN", "yandex_static": "YANDEX_MAPS_KEY", "vk": "VK_TOKEN"}
ANY = r".*"


@pytest.fixture(autouse=True)
def no_keys(folders, monkeypatch):
    for name in KEYS.values():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve():
    """Function from (method, path, answer) triples to a server; an answer is JSON, or a function of the request."""
    running = []

    def start(*routes):
        def route(answer):
            return answer if callable(answer) else lambda request: loopback.as_json(answer)

        running.append(loopback.serve([(method, path, route(answer)) for method, path, answer in routes]))
        return running[-1]

    yield start
    for server in running:
        server.stop()


def connect(name, server, **options):
    options = {"policy": FAST, **({"maptype": "sat"} if name == "yandex_static" else {}), **options}
    with warnings.catch_warnings(action="ignore"):
        return providers.connect(name, server, **options)


def png(colour=(10, 200, 30), size=256, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (size, size), colour).save(buffer, "PNG")
    return loopback.Response(buffer.getvalue(), "image/png")


def numbered_tile(request):
    """A tile whose colour tells its column and row."""
    return png((int(request.groups["x"]) % 256, int(request.groups["y"]) % 256, 7))


XYZ = ("GET", r"/tiles/(?P<z>\d+)/(?P<x>\d+)/(?P<y>\d+)\.png", numbered_tile)


def xyz(server, **options):
    template = options.pop("template", "/tiles/{z}/{x}/{y}.png")
    template = server.url + template if server and template[0] == "/" else template
    options = {"template": template, "credit": "Drawn", "licence": "CC0", **options}
    return connect("xyz", server, **options)


# --- connecting


def test_an_unknown_provider_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"'earthsearch'.*tellus_legacy.*Did you mean 'earth_search'"):
        providers.connect("earthsearch")
    assert set(providers.names()) >= {*KEYS, "xyz", "gsi", "eox", "commons", "earth_search"}


@pytest.mark.parametrize("name", KEYS)
def test_a_missing_key_is_named_before_any_request_with_where_to_get_one(name, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(PermissionError, match=rf"{name} wants a key.*{KEYS[name]}.*https://"):
        connect(name, None)


def test_a_key_is_asked_for_where_a_person_sits_and_never_shown(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f" {TOKEN}\n")
    tellus = providers.connect("tellus")
    assert TOKEN not in repr(tellus) and TOKEN not in repr(vars(tellus))

    def nobody(prompt):
        raise EOFError

    monkeypatch.setattr("getpass.getpass", nobody)
    with pytest.raises(PermissionError, match="TELLUS_TOKEN"):
        providers.connect("tellus")


def test_a_notebook_that_papermill_runs_gets_the_same_clear_error(write_notebook):
    papermill = pytest.importorskip("papermill")
    path = write_notebook("keyless", "from helpers.acquire import providers\nproviders.connect('vk')")
    with pytest.raises(papermill.PapermillExecutionError, match="set the environment variable VK_TOKEN"):
        papermill.execute_notebook(path, None, progress_bar=False)


HOSTS = ["tile.openstreetmap.org", "a.tile.openstreetmap.org", "B.Tile.osm.org", "{s}.tile.osm.org",
         "tile.openstreetmap.org.", "me@c.tile.openstreetmap.org:443"]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_openstreetmaps_tile_servers_are_refused_by_name(host):
    with pytest.raises(ValueError, match="OpenStreetMap's Tile Usage Policy forbids bulk download"):
        xyz(None, template=f"https://{host}/{{z}}/{{x}}/{{y}}.png")
    assert "openstreetmap" not in xyz(None, template="https://tiles.example.org/{z}/{x}/{y}.png").base


@pytest.mark.parametrize("template", ["https://a.example/{z}/{x}.png", "ftp://a.example/{z}/{x}/{y}", "/{z}/{x}/{y}"])
def test_a_template_that_cannot_be_filled_is_refused(template):
    with pytest.raises(ValueError, match="expected an http address with"):
        xyz(None, template=template)
    with pytest.raises(ValueError, match="holds a key.*key_name"):
        xyz(None, template="https://a.example/{z}/{x}/{y}.png?access_token=abc")


def test_every_provider_is_gentle_by_default():
    for one in providers.PROVIDERS.values():
        assert one.policy.connections <= 4 and one.policy.requests_per_s <= 4
    assert providers.PROVIDERS["commons"].policy.connections == 1
    assert providers.PROVIDERS["vk"].policy.requests_per_s <= 3


# --- bounds and tiles


def test_bounds_are_checked_before_any_request(serve):
    server = serve(("GET", ANY, []), ("POST", ANY, {}))
    for name in set(providers.names()) - {"xyz"}:
        with pytest.raises(ValueError, match="swapped|west, south, east, north"):
            connect(name, server).search((-25.5, -154.6, -25.3, -154.4))
    assert server.requests == 0


def test_fetching_nothing_says_what_to_try(serve, tmp_path):
    server = serve(("GET", ANY, []))
    legacy = connect("tellus_legacy", server)
    found = legacy.search(BOX)
    assert found == []
    with pytest.raises(ValueError, match="wider bounds.*west, south, east, north"):
        legacy.fetch(found, tmp_path, zoom=12)
    for name in ("tellus", "earth_search", "vk", "commons"):
        with pytest.raises(ValueError, match="wider bounds"):
            connect(name, server).fetch([], tmp_path)


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


def test_a_patch_is_cut_around_its_centre(serve, tmp_path):
    def ramp(request):  # red and green are the position on the map in tiles, over the 8 tiles of zoom 3
        x, y = (int(request.groups[axis]) + (np.arange(256) + 0.5) / 256 for axis in "xy")
        pixels = np.stack([*np.meshgrid(x * 30, y * 30), np.full((256, 256), 5)], axis=-1)
        buffer = io.BytesIO()
        Image.fromarray(np.rint(pixels).astype("uint8")).save(buffer, "PNG")
        return loopback.Response(buffer.getvalue(), "image/png")

    source = xyz(serve((*XYZ[:2], ramp)), zooms=(3, 3))
    item = source.patch(10.0, 45.0, width_m=2_000_000, size_px=64)
    download.fetch([item], tmp_path, source.client, total=1)
    image = np.asarray(Image.open(tmp_path / item.name)).astype(float)
    assert image.shape == (64, 64, 3)
    x, y = (10 + 180) / 360 * 8, (1 - math.asinh(math.tan(math.radians(45))) / math.pi) / 2 * 8
    assert np.abs(image[31:33, 31:33].mean(axis=(0, 1))[:2] / 30 - (x, y)).max() < 0.02
    side = 2_000_000 / tiles.ground_resolution_m(45, 3) / 256
    assert abs((image[:, -1, 0] - image[:, 0, 0]).mean() / 30 - side * 63 / 64) < 0.03
    row = download.read_manifest(tmp_path).iloc[0]
    place = CRS.from_epsg(4326), CRS.from_epsg(3857)
    centre = np.ravel(rasterio.warp.transform(*place, [10.0], [45.0]))
    assert np.allclose(centre, ((row.west + row.east) / 2, (row.south + row.north) / 2), atol=1)
    with pytest.raises(ValueError, match="choose another width"):
        source.patch(10.0, 84.9, width_m=2_000_000, size_px=64)


@pytest.mark.parametrize("width_m", [0, -100, float("nan")])
def test_a_patch_without_a_width_is_refused(serve, width_m):
    source = xyz(serve(XYZ), zooms=(3, 3))
    with pytest.raises(ValueError, match="choose another width"):
        source.patch(10.0, 45.0, width_m=width_m, size_px=64)


def test_a_patch_takes_a_lower_zoom_where_there_are_no_tiles(serve, tmp_path):
    def low_only(request):
        return numbered_tile(request) if int(request.groups["z"]) <= 8 else loopback.Response(b"", "text/plain", 404)

    source = xyz(serve((*XYZ[:2], low_only)))
    summary = download.fetch([source.patch(10, 45, width_m=20_000, size_px=64)], tmp_path, source.client)
    assert not summary.skipped
    summary = download.fetch([source.patch(11, 45, width_m=2_000, size_px=64)], tmp_path, source.client)
    assert len(summary.skipped) == 1


def test_a_patch_reaches_over_the_antimeridian_and_takes_no_tile_of_another_size(serve, tmp_path):
    def small_in_the_north(request):
        return numbered_tile(request) if int(request.groups["y"]) >= 4 else png(size=10)

    source = xyz(serve((*XYZ[:2], small_in_the_north)), zooms=(3, 3))
    item = source.patch(179.999, -17, width_m=200_000, size_px=64)
    assert not download.fetch([item], tmp_path, source.client).skipped
    assert np.asarray(Image.open(tmp_path / item.name))[32, [5, -5], 0].tolist() == [7, 0]
    summary = download.fetch([source.patch(100, 17, width_m=200_000, size_px=64)], tmp_path, source.client)
    assert "(10, 10) px, expected (256, 256)" in next(iter(summary.skipped))


# --- catalogues


def tellus_routes(pages, seen, *, total=None):
    """A Tellus with one feature on each page, whose cursors are `pages`."""
    square = {"type": "Polygon", "coordinates": [[[179, -17], [181, -17], [181, -16], [179, -16], [179, -17]]]}

    def find(request):
        body = json.loads(request.body)
        seen.append(body)
        number = pages.index(body["paginate"]["cursor"])
        feature = {
            "id": f"scene {number}",
            "dataset_id": "d",
            "geometry": square,
            "properties": {"start_datetime": f"202{number}"},
        }
        follow = body | {"paginate": {"size": 100, "cursor": pages[(number + 1) % len(pages)]}}
        return loopback.as_json(
            {"features": [feature], "meta": {"total": total or len(pages), "search-condition": follow}}
        )

    def address(request):
        return loopback.as_json(
            {"download_url": f"{request.base.replace('127.0.0.1', 'localhost')}/store/a?sig={len(seen)}"}
        )

    def stored(request):
        seen.append({"authorization": request.headers.get("Authorization")})
        return loopback.Response(b"whole scene", "application/octet-stream")

    api = "/tellus/api/traveler/v1"
    hidden = {"id": "g", "name": "x.txt", "is_downloadable": False}
    files = {"results": [{"id": "f", "name": "scene.tif", "is_downloadable": True}, hidden]}
    sets = {"results": [{"id": "d", "copyright": "© METI"}]}
    found, files = ("POST", f"{api}/data-search/", find), ("GET", f"{api}/datasets/d/data/.*/files/", files)
    granted, stored = ("POST", f"{api}/.*/download-url/", address), ("GET", "/store/a", stored)
    return ("GET", f"{api}/datasets/", sets), found, files, granted, stored


def test_tellus_pages_by_cursor_and_downloads_without_its_token(serve, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TELLUS_TOKEN", TOKEN)
    seen = []
    server = serve(*tellus_routes([None, "b", "c"], seen))
    tellus = connect("tellus", server)
    found = tellus.search((179.5, -17, -179.5, -16), since="2019-01-01")
    assert [one.id for one in found] == ["scene 0", "scene 1", "scene 2"]
    assert found[0].bounds == (179, -17, -179, -16) and found[0].credit == "© METI"
    assert len(seen) == 6 and seen[0]["query"] == {"start_datetime": {"gte": "2019-01-01T00:00:00Z"}}
    summary = tellus.fetch(found, tmp_path)
    assert [path.read_bytes() for path in tmp_path.glob("image/*/*.tif")] == [b"whole scene"] * 3
    assert seen[6:] == [{"authorization": None}] * 3
    before = server.requests
    tellus.fetch(found, tmp_path)
    assert server.requests == before
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    shown = f"{written}{summary}{summary!r}{tellus!r}{found}{vars(tellus)}{''.join(capfd.readouterr())}"
    assert TOKEN not in shown and "sig=" not in written


def test_tellus_shows_its_own_words_where_it_refuses(serve):
    error = loopback.as_json({"code": "E1234", "detail": "size must be 10 or more"}, 400)
    server = serve(tellus_routes([None], [])[0], ("POST", ANY, lambda request: error))
    with pytest.raises(Exception, match="size must be 10 or more"):
        connect("tellus", server).search(BOX)


@pytest.mark.parametrize("pages", [[None, "b", "b"], [None, "b"]])
def test_paging_that_repeats_is_refused(serve, pages):
    server = serve(*tellus_routes(pages, [], total=99))
    with pytest.raises(ValueError, match="paging of tellus repeats itself after"):
        connect("tellus", server).search(BOX)


def test_a_page_without_what_was_announced_is_refused(serve):
    empty = {"features": [], "meta": {"total": 5, "search-condition": {"paginate": {"cursor": "b"}}}}
    server = serve(tellus_routes([None], [])[0], ("POST", ANY, empty))
    with pytest.raises(ValueError, match="paging of tellus repeats itself after 0"):
        connect("tellus", server).search(BOX)


def test_an_answer_without_the_promised_field_says_that_the_api_may_have_changed(serve):
    server = serve(("GET", ANY, {"odd": "x" * 500, "results": []}), ("POST", ANY, {"odd": "x" * 500}))
    fields = {"tellus_legacy": "string indices", "tellus": "features", "vk": "response", "commons": "query"}
    for name, field in fields.items():
        with pytest.raises(ValueError, match=rf"{name} answers in another form .*{field}.*: its API may have changed"):
            connect(name, server).search(BOX)


@pytest.mark.parametrize(
    "lons", [(179, 181, 181, 179, 179), (179, -179, -179, 179, 179), (-181, -179, -179, -181, -181)]
)
def test_a_geometry_over_180_degrees_gives_bounds_that_cross_it(lons):
    ring = [[lon, lat, 5.0] for lon, lat in zip(lons, (-17, -17, -16, -16, -17), strict=True)]
    assert provider.footprint({"type": "Polygon", "coordinates": [ring]}) == (179, -17, -179, -16)
    split = [[ring], [[[-180, -17], [-179, -16]]]]
    assert provider.footprint({"type": "MultiPolygon", "coordinates": split}) == (179, -17, -179, -16)
    cut = [[[[179, -17], [180, -16]]], [[[-180, -17], [-179, -16]]]]
    assert provider.footprint({"type": "MultiPolygon", "coordinates": cut}) == (179, -17, -179, -16)
    assert provider.footprint({"coordinates": [[[-180, -90], [180, 90]]]}) == (-180, -90, 180, 90)
    assert provider.footprint({"coordinates": [[[-180, -90], [0, 0], [180, 90]]]}) == (-180, -90, 180, 90)


def test_a_footprint_around_a_pole_reaches_to_it_on_all_longitudes():
    lons = (-170, -80, 10, 100, -170)
    for lat, south, north in ((75, 75, 90), (-75, -90, -75)):
        ring = [[lon, lat] for lon in lons]
        assert provider.footprint({"coordinates": [ring]}) == (-180, south, 180, north)
    polar = [[170, 84], [-150, 86], [-160, 84], [170, 84]]
    assert provider.footprint({"coordinates": [polar]}) == (170, 84, -150, 86)
    west_of_the_line = [[170, 1], [180, 1], [180, 2], [170, 1]]
    assert provider.footprint({"coordinates": [west_of_the_line]}) == (170, 1, 180, 2)


# --- photos


def jpeg(request):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 100, int(request.groups["name"]) % 256)).save(buffer, "JPEG")
    return loopback.Response(buffer.getvalue(), "image/jpeg")


JPEG = ("GET", r"/files/(?P<name>\d+)\.jpg", jpeg)


def vk_photos(count, base):
    widths = {"s": 75, "w": 1200, "x": 604}

    def sizes(url):
        return [{"type": kind, "width": width, "height": width, "url": url if kind == "w" else f"{url}x"}
                for kind, width in widths.items()]  # fmt: skip

    return [{"id": number, "owner_id": -5, "date": 1_590_000_000 + number, "lat": -25.5 + 0.002 * number, "long": -54.5,
             "sizes": sizes(f"{base}/files/{number}.jpg")} for number in range(count)]  # fmt: skip


def vk_route(asked, *, busy=0, photos=150, stuck=False):
    def search(request):
        asked.append(request.query)
        if len(asked) <= busy:
            return loopback.as_json({"error": {"error_code": 6, "error_msg": "Too many requests per second"}})
        offset, count = 0 if stuck else int(request.query["offset"]), int(request.query["count"])
        items = vk_photos(photos, request.base)
        return loopback.as_json({"response": {"count": photos, "items": items[offset : offset + count]}})

    return ("GET", "/vk/method/photos.search", search)


def test_vk_pages_waits_where_it_is_throttled_and_takes_the_largest_size(serve, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    monkeypatch.setattr(photos.Vk, "page_size", 40)
    vk = connect("vk", serve(vk_route(asked, busy=2), JPEG), policy=PATIENT)
    found = vk.search((-54.6, -25.45, -54.4, -25.3), since="2020-01-01")
    assert len(found) == 76 and all(-25.45 <= one.bounds[1] <= -25.3 for one in found)  # of 150, inside the bounds
    assert [query["offset"] for query in asked] == ["0", "0", "0", "40", "80", "120"]
    assert asked[0]["radius"] == "50000" and asked[0]["start_time"] == "1577836800" and asked[0]["v"] == "5.199"
    assert found[0].time == "2020-05-20T18:40:25Z"
    vk.search((-54.502, -25.502, -54.498, -25.498))
    assert asked[-1]["radius"] == "800"
    summary = vk.fetch(found[:3], tmp_path)
    row = summary.frame().iloc[0]
    assert (row.role, row.scene, row.west, row.east, row.crs) == ("photo", "-5_25", -54.5, -54.5, "EPSG:4326")
    assert Image.open(tmp_path / row.path).size == (64, 48) and "Rocky" not in row.licence
    assert TOKEN not in (tmp_path / "manifest.csv").read_text() + str(found)


def test_vk_tells_other_errors_in_its_words_without_the_token(serve, monkeypatch):
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    for code, kind in ((5, PermissionError), (100, RuntimeError), (6, ConnectionError)):
        error = {"error": {"error_code": code, "error_msg": f"User authorization failed: {TOKEN}"}}
        with pytest.raises(kind, match=rf"vk answers: .*{code}.*User authorization failed") as caught:
            connect("vk", serve(("GET", ANY, error))).search(BOX)
        assert TOKEN not in str(caught.value)


def test_vk_has_many_photos_where_a_limit_is_given(serve, monkeypatch):
    monkeypatch.setattr(provider, "MOST_LISTED", 1)
    monkeypatch.setenv("VK_TOKEN", TOKEN)
    vk = connect("vk", serve(vk_route([], photos=7000)))
    with pytest.raises(ValueError, match="vk has more than 1 results there: give a `limit`"):
        vk.search((-54.502, -25.502, -54.498, -25.498))
    assert len(vk.search((-54.502, -25.502, -54.498, -25.498), limit=2)) == 2


def test_vk_pages_that_repeat_are_refused(serve, monkeypatch):
    monkeypatch.setattr(photos.Vk, "page_size", 40)
    with pytest.raises(ValueError, match="paging of vk repeats itself after 40"):
        connect("vk", serve(vk_route([], stuck=True))).search((-54.6, -25.5, -54.4, -25.3))


ARTIST = '<style>a{color:red}</style><a href="//x" title="U">Jo &amp;\n <b>Ann</b></a>'


def commons_route(asked, places, *, busy=0, stuck=False):
    """Commons with files at `places`: coordinates come for two files in an answer, the rest by `continue`."""

    def search(request):
        asked.append(request.query)
        if len(asked) <= busy:
            return loopback.as_json(
                {"error": {"code": "maxlag", "info": "Waiting for a database server: 7 seconds lagged"}}
            )
        lat, lon = map(float, request.query["ggscoord"].split("|"))
        radius, east = int(request.query["ggsradius"]), math.cos(math.radians(lat))
        near = [math.hypot(place[1] - lat, (place[0] - lon) * east) * 111_000 <= radius for place in places]
        near = np.flatnonzero(near).tolist()
        near = near[: int(request.query["ggslimit"])]
        if not near:
            return loopback.as_json({"batchcomplete": ""})
        start = 0 if stuck else int(request.query.get("cocontinue", 0))
        pages = {}
        for number in near:
            facts = {"Artist": {"value": ARTIST}, "LicenseShortName": {"value": "CC BY-SA 4.0"},
                     "LicenseUrl": {"value": "https://cc/4.0"},
                     "DateTimeOriginal": {"value": "2021-07-01 10:11:12"}}  # fmt: skip
            info = {
                "thumburl": f"{request.base}/files/{number}.jpg",
                "mime": "image/jpeg",
                "descriptionurl": f"https://c/File:{number}",
                "extmetadata": facts,
            }
            pages[str(number)] = {"pageid": number, "title": f"File:View {number}.jpg", "imageinfo": [info]}
            pages["77"] = {
                "pageid": 77,
                "title": "File:Plan.svg",
                "imageinfo": [{"thumburl": "https://c/Plan.svg.png"}],
            }
            if number in near[start : start + 2]:
                pages[str(number)]["coordinates"] = [{"lat": places[number][1], "lon": places[number][0]}]
        answer = {"query": {"pages": pages}}
        more = start + 2 < len(near)
        return loopback.as_json(answer | ({"continue": {"cocontinue": start + 2}} if more else {"batchcomplete": ""}))

    return ("GET", "/commons/w/api.php", search)


def test_commons_gives_photos_with_author_and_licence(serve, tmp_path):
    asked, places = [], [(-54.5 + 0.01 * step, -25.4) for step in range(5)] + [(-54.5, -25.29)]
    commons = connect("commons", serve(commons_route(asked, places, busy=1), JPEG))
    found = commons.search((-54.55, -25.45, -54.4, -25.35))
    assert [one.bounds[:2] for one in found] == places[:5]  # the sixth lies outside the bounds
    assert found[0].credit == "Jo & Ann, View 0.jpg, https://c/File:0" and found[0].time == "2021-07-01T10:11:12"
    assert found[0].licence == "CC BY-SA 4.0 https://cc/4.0"
    assert asked[0]["maxlag"] == "5" and int(asked[0]["ggsradius"]) <= 10_000 and asked[0]["ggsnamespace"] == "6"
    row = commons.fetch(found, tmp_path).frame().iloc[0]
    assert row.credit == found[0].credit and (row.west, row.north) == places[0] and row.source == "practice commons"


def test_commons_covers_larger_bounds_by_circles_and_full_circles_by_smaller_ones(serve, monkeypatch):
    asked, random = [], np.random.default_rng(0)
    places = list(zip(random.uniform(-54.7, -54.3, 60), random.uniform(-25.6, -25.2, 60), strict=True))
    commons = connect("commons", serve(commons_route(asked, places)))
    assert len(commons.search((-54.7, -25.6, -54.3, -25.2))) == 60
    assert all(int(query["ggsradius"]) <= 10_000 for query in asked)
    monkeypatch.setattr(photos.Commons, "page_size", 7)
    assert len(commons.search((-54.7, -25.6, -54.3, -25.2))) == 60
    before = len(asked)
    assert len(commons.search((-54.7, -25.6, -54.3, -25.2), limit=10)) == 10 and len(asked) - before < 20 < before
    with pytest.raises(ValueError, match="200 are allowed: give smaller bounds"):
        commons.search((-60, -30, -50, -20))


def test_commons_repeating_continue_is_refused(serve):
    server = serve(commons_route([], [(-54.5, -25.4)] * 5, stuck=True))
    with pytest.raises(ValueError, match=r"paging of commons repeats itself after \d"):
        connect("commons", server).search((-54.55, -25.45, -54.45, -25.35))


def test_circles_cover_their_box_also_over_the_antimeridian():
    for box in ((-54.7, -25.6, -54.3, -25.2), (179.8, 70, -179.9, 70.2), (-180, -85, 180, 85)):
        for part in (box, *photos.cut(box, 3)):
            lon, lat, radius = photos.circle(part)
            for corner in ((part[0], part[1]), (part[0], part[3]), (part[2], part[1]), (part[2], part[3])):
                a, b = np.radians(corner), np.radians((lon, lat))
                cosine = np.sin(a[1]) * np.sin(b[1]) + np.cos(a[1]) * np.cos(b[1]) * np.cos(a[0] - b[0])
                assert 6_371_000 * math.acos(min(1, cosine)) <= radius * 1.0001
    assert photos.circle((179.8, 70, -179.9, 70.2))[0] == pytest.approx(179.95)
    assert photos.circle((-180, -10, 180, 10))[2] > 20e6


@pytest.mark.parametrize("name", ["earth_search"])
def test_a_search_that_would_list_an_archive_asks_for_a_limit(practice_server, monkeypatch, name):
    monkeypatch.setattr(providers.provider, "MOST_LISTED", 0)
    box = BRANDENBURG
    with pytest.raises(ValueError, match=r"has more than 0 results there: give a `limit`, smaller bounds, or filters"):
        connect(name, practice_server).search(box)
    assert len(connect(name, practice_server).search(box, limit=1)) == 1


@pytest.mark.parametrize("query", ["appid=1", "sig=x", "access_token=y", "password=z"])
def test_a_template_that_holds_a_key_is_refused(query):
    with pytest.raises(ValueError, match="holds a key"):
        providers.connect("xyz", template="https://tiles.example.org/{z}/{x}/{y}.png?" + query, credit="c", licence="l")


# --- the practice server


ITAIPU, ROCKIES, BRANDENBURG = (-54.9, -25.6, -54.2, -24.9), (-106.2, 39.7, -105.2, 40.7), (12, 51.5, 15, 53.5)


@pytest.fixture(scope="module")
def practice_server():
    """The whole practice server, in a data folder of its own but for the packs."""
    if any(packs.missing(name) for name in packs.catalogue()):
        pytest.skip("the packs are not fetched: python -m helpers fetch")
    folders, real = {name: pack.folder for name, pack in packs.catalogue().items()}, packs.Pack.folder
    packs.Pack.folder = property(lambda pack: folders[pack.name])
    with practice.start() as server:
        yield server
    packs.Pack.folder = real


CASES = [
    ("tellus_legacy", ITAIPU, 36, "Landsat", {"zoom": 12, "limit": 2}),
    ("gsi", (-10, 40, 10, 60), 1, "Blue Marble", {"zoom": 4}),
    ("eox", (-105.7, 40.3, -105.5, 40.4), 1, "Landsat", {"zoom": 9, "limit": 4}),
    ("commons", ROCKIES, 36, "rendered", {}),
    ("earth_search", BRANDENBURG, 1, "Copernicus", {"bounds": (12.55, 52.46, 12.6, 52.5)}),
]


@pytest.mark.parametrize("name, bounds, number, credit, how", CASES)
def test_search_and_fetch_work_over_the_practice_server(practice_server, tmp_path, name, bounds, number, credit, how):
    source = connect(name, practice_server)
    found = source.search(bounds)
    assert len(found) == number and credit in found[0].credit and found[0].licence
    summary = source.fetch(found[:3], tmp_path, **how)
    table = summary.frame()
    assert not summary.skipped and summary.fetched == len(table) >= min(3, number), summary
    assert set(table.source) == {f"practice {name}"} and (table.credit != "").all() and (table.licence != "").all()
    before = practice_server.requests
    assert source.fetch(found[:3], tmp_path, **how).kept == len(table)
    assert practice_server.requests == before
