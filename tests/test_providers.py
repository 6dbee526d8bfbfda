"""Providers: what their searches find and refuse, keys, tiles, patches and files, over loopback."""

import io
import json
import math
import sys
import warnings

import pytest
from PIL import Image

from helpers.acquire import download, packs, practice, providers
from helpers.acquire import practice as loopback
from helpers.acquire.providers import provider

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
    options = {"policy": FAST, **({"layer": "sat"} if name == "yandex_static" else {}), **options}
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


def test_an_unknown_provider_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"no provider 'earthsearch'.*known are .*earth_search"):
        providers.connect("earthsearch")
    assert set(providers.services()) >= {*KEYS, "xyz", "gsi", "eox", "commons", "earth_search"}


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


def test_every_provider_is_gentle_by_default():
    limits = {name: download.Policy(**one["limits"]) for name, one in providers.services().items()}
    assert all(one.connections <= 4 and one.requests_per_s <= 4 for one in limits.values())
    assert limits["commons"].connections == 1 and limits["vk"].requests_per_s <= 3


# --- bounds and tiles


def test_bounds_are_checked_before_any_request(serve):
    server = serve(("GET", ANY, []), ("POST", ANY, {}))
    for name in set(providers.services()) - {"xyz"}:
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


# --- catalogues


def tellus_routes(pages, seen, *, total=None):
    """A Tellus with one feature on each page, whose cursors are `pages`."""
    square = {"type": "Polygon", "coordinates": [[[179, -17], [181, -17], [181, -16], [179, -16], [179, -17]]]}

    def find(request):
        body = json.loads(request.data)
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

    api = "/tellus"
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
    fields = {"tellus_legacy": r"without \[\]", "tellus": "features", "vk": "response", "commons": "query"}
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


def test_footprints_near_the_antimeridian_and_of_nothing():
    polar = [[170, 84], [-150, 86], [-160, 84], [170, 84]]
    assert provider.footprint({"coordinates": [polar]}) == (170, 84, -150, 86)
    west_of_the_line = [[170, 1], [180, 1], [180, 2], [170, 1]]
    assert provider.footprint({"coordinates": [west_of_the_line]}) == (170, 1, 180, 2)
    assert all(map(math.isnan, provider.footprint({"coordinates": []}) + provider.footprint(None)))


# --- photos


def jpeg(request):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 100, int(request.groups["name"]) % 256)).save(buffer, "JPEG")
    return loopback.Response(buffer.getvalue(), "image/jpeg")


JPEG = ("GET", r"/files/(?P<name>\d+)\.jpg", jpeg)


# --- the practice server


ITAIPU, ROCKIES, BRANDENBURG = (-54.9, -25.6, -54.2, -24.9), (-106.2, 39.7, -105.2, 40.7), (12, 51.5, 15, 53.5)


@pytest.fixture(scope="module")
def practice_server():
    """The whole practice server, in a data folder of its own but for the packs."""
    if any(packs.missing(name) for name in packs.catalogue()):
        pytest.skip("the packs are not fetched: python -m helpers fetch")
    folders, real = {name: packs.folder(name) for name in packs.catalogue()}, packs.folder
    packs.folder = folders.get
    with practice.start() as server:
        yield server
    packs.folder = real


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
