"""Downloads that go well: what is asked for, what is not asked for again, the manifest, and the practice server."""

import functools
import gzip
import io
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import requests
from PIL import Image

from helpers import paths
from helpers.acquire import checks, download, pace
from helpers.acquire.download import Client, Item, Policy
from helpers.acquire.practice import Response, as_json
from tests.test_download_faults import ROUTES, assert_whole, contents, png, serve, tiles

QUICK = Policy(connections=4, requests_per_s=None, tries=2, longest_wait_s=0.1)


@pytest.fixture
def server():
    with serve(ROUTES) as server:
        yield server


def test_a_finished_job_makes_no_request(folders, server):
    first = download.fetch(tiles(server, 30), folders / "set", Client(QUICK))
    assert (first.fetched, first.requests, server.requests) == (30, 30, 30)
    before = contents(folders / "set")
    second = download.fetch(tiles(server, 30), folders / "set", Client(QUICK))
    assert (second.kept, second.requests, server.requests) == (30, 0, 30)
    assert contents(folders / "set") == before
    assert_whole(folders / "set", 30)


def test_a_refusal_is_remembered_and_a_failure_is_not(folders):
    answers = {"/lost": 404, "/gone": 410, "/busy": 503}
    routes = [("GET", path, lambda request: as_json({"detail": "no"}, answers[request.path])) for path in answers]
    with serve(routes) as server:
        items = [Item(f"{path[1:]}.png", server.url + path) for path in answers]
        first = download.fetch(items, folders / "set", Client(QUICK))
        assert first.requests == 2 + QUICK.tries
        assert '404 NOT FOUND: {"detail": "no"}' in first.skipped
        second = download.fetch(items, folders / "set", Client(QUICK))
        assert second.requests == QUICK.tries and second.skipped == first.skipped
    assert sorted(contents(folders / "set")) == ["manifest.csv", "missing.csv"]
    (folders / "set/missing.csv").unlink()
    with serve(routes) as server:
        items = [Item(f"{path[1:]}.png", server.url + path) for path in ("/lost", "/gone")]
        assert download.fetch(items, folders / "set", Client(QUICK)).requests == 2


def test_what_is_not_accepted_stays_out_and_is_not_asked_for_again_by_the_same_rule(folders, server):
    def dark(data):
        if data != png(2):
            raise download.Refused("too dark")
        return data

    counts = [(dark, "a", 1, 0, 4), (dark, "a", 0, 1, 4), (checks.image, "", 4, 0, 8)]
    for check, rule, fetched, kept, requests_ in counts:
        items = [replace(item, url=f"{item.url}#{rule}") for item in tiles(server, 4, check=check)]
        summary = download.fetch(items, folders / "set", Client(QUICK))
        assert (summary.fetched, summary.kept, server.requests) == (fetched, kept, requests_)
        assert summary.skipped.keys() == ({"too dark"} if rule else set())
    assert_whole(folders / "set", 4)


def test_a_file_can_be_made_of_several_answers(folders, server):
    def mosaic(client, path):
        both = [Image.open(io.BytesIO(client.get_bytes(f"{server.url}/tile/{number}.png"))) for number in (1, 2)]
        Image.fromarray(np.concatenate(both, axis=1)).save(path)

    wide = functools.partial(checks.image, size_px=(128, 64))

    def broken(client, path):
        client.get_bytes(f"{server.url}/lost")

    named = Item("named.png", f"{server.url}/mosaic#1,2", make=mosaic, check=wide)
    others = [Item("nameless.png", make=mosaic), Item("no.png", "made:no", make=broken)]
    summary = download.fetch([named, *others], folders / "set", Client(QUICK))
    assert (summary.fetched, summary.requests) == (2, 5) and "404" in str(summary)
    assert (folders / "set/named.png").read_bytes() == (folders / "set/nameless.png").read_bytes()
    again = download.fetch([named, *others], folders / "set", Client(QUICK))
    assert (again.kept, again.requests) == (2, 0)
    with pytest.raises(ZeroDivisionError):  # a mistake in `make` is not hidden among the skipped
        download.fetch([Item("bug.png", make=lambda client, path: 1 / 0)], folders / "set", Client(QUICK))


def test_only_images_are_opened(folders, monkeypatch):
    buffer = io.BytesIO()
    Image.new("L", (70, 50)).save(buffer, "GIF")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    bodies = {"a.gif": buffer.getvalue(), "script.eps": script}
    routes = [("GET", "/(?P<name>.+)", lambda request: Response(bodies[request.groups["name"]], "x"))]
    with serve(routes) as server:
        items = [Item(name, f"{server.url}/{name}") for name in bodies]
        summary = download.fetch(items, folders / "set", Client(QUICK))
        monkeypatch.setattr(checks, "MAX_PIXELS", 3000)
        large = download.fetch([Item("l.gif", f"{server.url}/a.gif")], folders / "b", Client(QUICK))
    assert sorted(contents(folders / "set")) == ["a.gif", "manifest.csv"]
    assert "damaged image, or none" in str(summary) and "more than 3000 pixels" in str(large)


def test_the_manifest_keeps_rows_of_other_jobs_and_a_split(folders, server):
    client, row = Client(QUICK), {"scene": "A, B", "credit": 'says "hello"\nand more', "west": np.float64(0.1)}
    download.fetch([Item("b.png", f"{server.url}/tile/1.png", row)], folders / "set", client)
    [known] = download.read_manifest(folders / "set").to_dict("records")
    download.write_manifest(folders / "set", [{"path": "c.png", "split": "train"}, known | {"split": "test"}])
    download.fetch([Item("a.png", f"{server.url}/tile/2.png", row)], folders / "set", client)
    table = download.read_manifest(folders / "set").set_index("path")
    assert list(table.index) == ["a.png", "b.png", "c.png"] and list(table["split"]) == ["", "test", "train"]
    assert table.loc["a.png", "credit"] == 'says "hello" and more' and table.loc["a.png", "west"] == 0.1
    assert np.isnan(table.loc["c.png", "west"]) and table["tile"].eq("").all()
    # a row that says more now is taken over without a request; the split stays
    download.fetch([Item("b.png", f"{server.url}/tile/1.png", {"role": "map"})], folders / "set", client)
    table = download.read_manifest(folders / "set").set_index("path")
    assert tuple(table.loc["b.png", ["role", "split"]]) == ("map", "test") and server.requests == 2
    with pytest.raises(TypeError, match="no columns .'colour'"):
        download.fetch([Item("d.png", f"{server.url}/tile/3.png", {"colour": 1})], folders / "set", client)


def test_an_unsorted_manifest_is_sorted_and_a_strange_one_refused(folders):
    names = ["c", "a", "d", "b"]
    lines = [",".join(download.COLUMNS), *(f"{name}{',' * 16}" for name in names)]
    paths.write_text(folders / "manifest.csv", "\n".join(lines) + "\n")
    download.write_manifest(folders, [{"path": "aa"}])
    assert list(download.read_manifest(folders)["path"]) == ["a", "aa", "b", "c", "d"]
    paths.write_text(folders / "manifest.csv", "path,mood\na,good\n")
    with pytest.raises(ValueError, match="mood.*move it away"):
        download.write_manifest(folders, [{"path": "aa"}])
    assert "mood" in (folders / "manifest.csv").read_text()
    for read in (download.read_manifest, download.split_manifest):
        with pytest.raises(FileNotFoundError, match="^there is no .*nowhere.manifest.csv: give a folder that"):
            read(folders / "nowhere")


def test_a_name_twice_in_a_job_overwrites_nothing(folders, server):
    items = [Item(name, f"{server.url}/tile/{number}.png") for number, name in enumerate(("a.png", "A.png", "a.png"))]
    summary = download.fetch(items, folders / "set", Client(QUICK))
    assert list(map(sorted, summary.skipped.values())) == [["A.png", "a.png"]] and "differs in case" in str(summary)
    assert (folders / "set/a.png").read_bytes() == png(0) and server.requests == 1


def test_a_generator_is_drawn_from_only_as_needed(folders):
    drawn = []
    with serve(ROUTES, latency_s=0.02) as server:

        def draw():
            for number, item in enumerate(tiles(server, 100)):
                drawn.append(number - server.requests)
                yield item

        summary = download.fetch(draw(), folders / "set", Client(QUICK))
    assert summary.fetched == 100 and max(drawn) <= 4 * QUICK.connections


def test_an_error_of_the_generator_keeps_what_is_done(folders, server):
    def draw():
        yield from tiles(server, 100)
        raise RuntimeError("the next page is lost")

    with pytest.raises(RuntimeError, match="next page"):
        download.fetch(draw(), folders / "set", Client(QUICK))
    assert len(download.read_manifest(folders / "set")) >= 100 - 4 * QUICK.connections


def test_no_more_connections_than_allowed_are_open_and_they_are_kept(folders):
    under_way, most = [], []

    def watched(request):
        under_way.append(1)
        most.append(len(under_way))
        time.sleep(0.01)
        under_way.pop()
        return ROUTES[0][2](request)

    with serve([("GET", ROUTES[0][1], watched)]) as server:
        client = Client(Policy(connections=3, requests_per_s=None))
        jobs = [
            threading.Thread(target=download.fetch, args=(tiles(server, 30 + job), folders / f"{job}", client))
            for job in range(2)
        ]
        [job.start() for job in jobs]
        [job.join() for job in jobs]
        assert max(most) == 3


def test_the_rate_limit_holds_for_all_threads_together():
    moments = []
    with serve([("GET", "/it", lambda request: (moments.append(time.perf_counter()), as_json(1))[1])]) as server:
        client = Client(Policy(connections=4, requests_per_s=40))

        def ask():
            for _ in range(8):
                client.get_json(f"{server.url}/it")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert len(moments) == 32
    assert moments[-1] - moments[0] > 31 / 40 * 0.95  # a busy machine may be late, never early


def test_clients_of_one_host_share_its_rate():
    moments = []
    with serve([("GET", "/it", lambda request: (moments.append(time.perf_counter()), as_json(1))[1])]) as server:
        clients = [Client(Policy(connections=2, requests_per_s=40)) for _ in range(3)]
        threads = [
            threading.Thread(target=lambda client=client: [client.get_json(f"{server.url}/it") for _ in range(8)])
            for client in clients
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert len(moments) == 24 and moments[-1] - moments[0] > 23 / 40 * 0.95


def test_subdomains_of_one_service_share_its_rate():
    template = "https://{}.tiles.example.org/1.png"
    assert pace.of(template.format("a")) is pace.of(template.format("b")) is not pace.of("https://example.com/1.png")


def test_parameters_headers_and_bodies_arrive(server):
    told = (
        "GET",
        "/told",
        lambda request: as_json({**request.args.to_dict(), "by": request.headers["User-Agent"][:19]}),
    )
    packed = Response(gzip.compress(b"[1, 2]"), headers={"Content-Encoding": "gzip"})
    plain = ("GET", "/plain", lambda request: Response(b"not one", "text/plain"))
    with serve([told, plain, ("GET", "/packed", lambda request: packed), *ROUTES]) as server:
        client = Client(QUICK)
        assert client.get_json(f"{server.url}/told", {"a b": "ü&="}) == {"a b": "ü&=", "by": "satellite-notebooks"}
        assert client.get_json(f"{server.url}/packed") == [1, 2]
        assert client.post_json(f"{server.url}/search", {"limit": 3}) == {"limit": 3}
        with pytest.raises(download.Refused, match=r"/told: sends more than 5 bytes"):
            Client(Policy(max_bytes=5)).get_bytes(f"{server.url}/told")
        with pytest.raises(download.Unreachable, match="InvalidSchema"):
            client.get_bytes("file:///etc/passwd")
        with pytest.raises(download.Unreachable, match="not JSON, it begins with 'not"):
            client.get_json(f"{server.url}/plain")
    with pytest.raises(download.Unreachable, match="the connection broke .*tried 2 times"):
        client.get_json(server.url)


def test_no_proxy_is_asked_for_what_is_on_this_computer(folders, server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert download.fetch(tiles(server, 3), folders / "set", Client(QUICK)).fetched == 3


def test_a_summary_is_short(folders, server):
    summary = download.fetch(tiles(server, 3), folders / "set", Client(QUICK), total=3)
    for number in range(2000):
        summary.skip(f"{number}.png", f"reason {number % 50}")
    reasons = str(summary).splitlines()[1:]
    assert len(reasons) == 6 and all(line.startswith("40 skipped: reason ") for line in reasons)
    assert str(summary).startswith(f"{folders / 'set'}: 3 fetched, 0 already there, 3 requests")
    assert len(summary.frame()) == 3


def test_the_practice_server_serves_ranges_and_counts():
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", width=9, height=9, count=1, dtype="uint8") as image:
            image.write(np.arange(81, dtype="uint8").reshape(1, 9, 9))
        whole = bytes(memory.getbuffer())
    with serve([("GET", "/it.tif", lambda request: Response(whole, "image/tiff"))]) as server:
        address = f"{server.url}/it.tif"
        for asked, status, body in (
            ("bytes=10-19", 206, whole[10:20]), ("bytes=95-", 206, whole[95:]), ("bytes=90-9999", 206, whole[90:]),
        ):  # fmt: skip
            answer = requests.get(address, headers={"Range": asked})
            assert (answer.status_code, answer.content) == (status, body)
        head = requests.head(address, headers={"Authorization": "Bearer abc"})
        assert head.headers["Content-Length"] == str(len(whole))
        assert requests.get(f"{server.url}/none", {"apikey": "def"}).status_code == 404
        assert server.requests == 5
        assert server.keys_seen == {"abc", "def"}
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(f"/vsicurl/{address}") as image:
            assert image.read(1)[8, 8] == 80
    with pytest.raises(requests.ConnectionError):
        requests.get(address)


def test_which_addresses_suffer_depends_on_the_seed_only():
    def failing(seed, key):
        with serve(ROUTES, faults={"500": 0.5}, seed=seed) as server:
            urls = [f"{server.url}/notes/{number}.json?apikey={key}" for number in range(20)]
            return [requests.get(url).status_code for url in urls]

    assert failing(1, "a") == failing(1, "b") != failing(2, "a")
    assert json.dumps(failing(1, "a")).count("500") in range(5, 16)
