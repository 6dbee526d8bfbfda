"""Downloads from a server that misbehaves: what is retried, what is skipped, what is never shown, and sudden death."""

import contextlib
import functools
import gzip
import hashlib
import io
import json
import logging
import re
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from helpers.acquire import checks, download, pace
from helpers.acquire.download import Client, Item, Policy
from helpers.acquire.practice import FAULTS, Response, as_json
from helpers.acquire.practice import serve as serve_quietly

FAST = Policy(connections=4, requests_per_s=None, timeout_s=0.4, longest_wait_s=0.1)
TOKEN = "Geheim/Wort+xyz"
SMALL = functools.partial(checks.image, size_px=(64, 64))
CLIENT = {"key": TOKEN, "key_name": "PLANTED_KEY"}


def png(number, size_px=64):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (size_px, size_px, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def square(side_px):
    buffer = io.BytesIO()
    Image.new("1", (side_px, side_px)).save(buffer, "PNG")
    return buffer.getvalue()


class Stalled:
    """A body that begins, and then does not go on."""

    def __len__(self):
        return 9_999

    def __iter__(self):
        yield b"begun"
        time.sleep(2)


FAULTS.update(
    {"429": {"status": 429}, "500": {"status": 500}},
    stall={"body": Stalled(), "headers": {"Content-Length": "9999"}},
    wrong_length={"headers": {"Content-Length": "100"}},
    wrong_size={"body": square(10)},
    bomb={"body": square(9_000)},
    expired={"status": 401, "body": b"expired"},
)
KEY = re.compile(r"\b(?:apikey|access_token|key)=([^&]*)")


def serve(routes, *, lasting=False, **how):
    """A practice server that notes the keys it is sent; lasting: not only the first request suffers."""
    server = serve_quietly(routes, **how)
    server.keys_seen, fault = set(), server.fault

    def noted(request):
        server.keys_seen |= {unquote(key) for key in KEY.findall(request.url)}
        server.keys_seen |= set(request.headers.get("Authorization", "").split()[-1:])
        if lasting:
            server.suffered.clear()
        return fault(request)

    server.fault = noted
    return server


ROUTES = [
    ("GET", r"/tile/(?P<number>\d+)\.png", lambda request: Response(png(int(request.groups["number"])), "image/png")),
    ("GET", r"/notes/(?P<number>\d+)\.json", lambda request: as_json({"number": request.groups["number"]})),
    ("POST", r"/search", lambda request: as_json(json.loads(request.body))),
]


def tiles(server, count, **others):
    return [
        Item(f"image/{number}.png", f"{server.url}/tile/{number}.png", {"role": "image"}, **{"check": SMALL, **others})
        for number in range(count)
    ]


def contents(folder):
    """dict from path to content of all that lies in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def assert_whole(folder, count):
    """All tiles are there with the right bytes, the manifest lists them with their SHA-256, nothing else is left."""
    found = contents(folder)
    found.pop("missing.csv", None)
    table = download.read_manifest(folder)
    assert set(found) == {f"image/{number}.png" for number in range(count)} | {"manifest.csv"}
    assert all(found[f"image/{number}.png"] == png(number) for number in range(count))
    assert list(table.columns) == download.COLUMNS and list(table["path"]) == sorted(set(found) - {"manifest.csv"})
    assert all(hashlib.sha256(found[row.path]).hexdigest() == row.sha256 for row in table.itertuples())


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"expired"}))
def test_one_fault_at_each_address_is_got_over(folders, fault):
    with serve(ROUTES, faults={fault: 1.0}) as server:
        summary = download.fetch(tiles(server, 4), folders / "set", Client(FAST))
        assert (summary.fetched, summary.skipped) == (4, {}), summary
        assert summary.requests == server.requests == 8
    assert_whole(folders / "set", 4)


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"expired", "429_retry_after"}))
def test_a_fault_that_stays_skips_the_file_with_its_reason(folders, fault):
    policy = Policy(connections=4, requests_per_s=None, tries=2, timeout_s=0.3, longest_wait_s=0.1)
    with serve(ROUTES, faults={fault: 0.5}, seed=2, lasting=True) as server:
        summary = download.fetch(tiles(server, 8), folders / "set", Client(policy))
    (reason, names), count = *summary.skipped.items(), len(contents(folders / "set")) - 1
    expected = {
        "429": "429 TOO MANY", "500": "500 INTERNAL", "503": "503 SERVICE", "reset": "broke", "stall": "broke",
        "truncated": "broke", "wrong_length": "damaged", "html": "an HTML page",
        "wrong_size": "an image of (10, 10) px, expected (64, 64)", "corrupt": "damaged", "bomb": "more than 50000000",
    }  # fmt: skip
    assert expected[fault] in reason and "tried 2 times" in reason
    assert 0 < len(names) < 8 and count == summary.fetched == 8 - len(names)
    assert f"{len(names)} skipped: {reason}" in str(summary)


def test_only_a_first_request_out_of_some_addresses_suffers(folders):
    with serve(ROUTES, faults={"503": 0.3, "truncated": 0.3}, seed=3) as server:
        summary = download.fetch(tiles(server, 40), folders / "set", Client(FAST))
        assert 50 < summary.requests < 80 and summary.fetched == 40
    with pytest.raises(ValueError, match="no faults .'hail'.*truncated"):
        serve(ROUTES, faults={"hail": 1.0})


@pytest.mark.parametrize("check", [checks.image, checks.file])
def test_an_html_page_is_never_taken_for_the_file(folders, check):
    policy = Policy(requests_per_s=None, tries=1)
    with serve(ROUTES, faults={"html": 1.0}, lasting=True) as server:
        summary = download.fetch(
            [Item("it", f"{server.url}/notes/1.json", check=check)], folders / "set", Client(policy)
        )
    assert len(summary.skipped) == 1 and contents(folders / "set").keys() == {"manifest.csv"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_cut_off_body_without_a_length_is_noticed(folders, kind):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(1))).save(buffer, kind)
    broken = Response(buffer.getvalue()[:-900], "image")
    with serve([("GET", "/it", lambda request: broken)]) as server:
        client = Client(Policy(requests_per_s=None, tries=1))
        summary = download.fetch([Item("it", f"{server.url}/it")], folders / "set", client)
    assert "damaged" in str(summary)


def test_a_wrong_bit_is_noticed_that_decoding_passes_over(folders):
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(1))).quantize(32).save(buffer, "PNG")
    whole, wrong = buffer.getvalue(), []
    for bit in range(8 * (len(whole) - 100), 8 * len(whole)):  # Pillow has all rows before it meets the checksum
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(OSError, SyntaxError), Image.open(io.BytesIO(flipped)) as image:
            if image.tobytes() != Image.open(io.BytesIO(whole)).tobytes():
                wrong.append(Response(bytes(flipped), "image/png"))
    with serve([("GET", "/(?P<number>.*)", lambda request: wrong[int(request.groups["number"])])]) as server:
        items = [Item(f"{number}.png", f"{server.url}/{number}") for number in range(len(wrong))]
        summary = download.fetch(items, folders / "set", Client(Policy(requests_per_s=None, tries=1)))
    assert len(wrong) > 3 and summary.fetched == 0


def test_retry_after_holds_all_threads_back():
    """Only the first request is told to wait; those that begin meanwhile in other threads wait, too."""
    moments = []

    def busy_at_first(request):
        moments.append(time.perf_counter())
        return as_json(1) if moments[1:] else Response(b"", status=429, headers={"Retry-After": "3600"})

    with serve([("GET", "/it", busy_at_first)]) as server, ThreadPoolExecutor(4) as threads:
        client, shared = Client(Policy(requests_per_s=None, longest_wait_s=1)), pace.of(server.url)
        before = shared.held_until
        answers = [threads.submit(client.get_json, f"{server.url}/it")]
        while shared.held_until == before:
            time.sleep(0.001)
        answers += [threads.submit(client.get_json, f"{server.url}/it") for _ in range(3)]
        assert [answer.result() for answer in answers] == [1] * 4
    assert len(moments) == 5 and min(moments[1:]) >= shared.held_until


def test_a_longer_wait_than_allowed_is_cut_short(folders):
    def busy(request):
        return Response(b"", status=503, headers={"Retry-After": "3600"}) if not asked else as_json(1)

    asked = []
    with serve([("GET", "/it", lambda request: (busy(request), asked.append(1))[0])]) as server:
        start = time.monotonic()
        assert Client(Policy(longest_wait_s=0.3)).get_json(f"{server.url}/it") == 1
    assert 0.3 <= time.monotonic() - start < 60  # an hour was asked for


def test_an_expired_key_stops_the_job_and_what_is_done_stays(folders):
    policy = Policy(connections=1, requests_per_s=None)
    with serve(ROUTES) as server:
        served = server.fault
        server.fault = lambda request: "expired" if server.requests > 5 else served(request)
        with pytest.raises(PermissionError, match="401 UNAUTHORIZED.*PLANTED_KEY.*expired"):
            download.fetch(tiles(server, 200), folders / "set", Client(policy, **CLIENT))
        assert server.requests < 10
        done = len(download.read_manifest(folders / "set"))
        assert 3 <= done <= 5 and len(contents(folders / "set")) == done + 1
        server.fault = served
        summary = download.fetch(tiles(server, 20), folders / "set", Client(FAST, **CLIENT))
        assert summary.kept == done and summary.requests == 20 - done
    assert_whole(folders / "set", 20)


def elsewhere(other):
    """A route that leads to the tile of the same name on another host."""
    there = other.url.replace("127.0.0.1", "localhost")
    return ("GET", "/tile/.*", lambda request: Response(b"", status=302, headers={"Location": there + request.path}))


@pytest.mark.parametrize("query", ["", "?apikey={key}"])
def test_the_key_does_not_follow_a_redirect_to_another_host(folders, query):
    with serve(ROUTES) as other, serve([elsewhere(other)]) as server:
        items = [replace(item, url=item.url + query) for item in tiles(server, 3)]
        summary = download.fetch(items, folders / "set", Client(FAST, key=TOKEN))
        assert summary.fetched == 3 and other.requests == 3 and summary.requests == 6
        assert not other.keys_seen
        assert server.keys_seen == {TOKEN}
    assert_whole(folders / "set", 3)


def test_redirects_end(folders):
    around = Response(b"", status=302, headers={"Location": "/it"})
    refused = pytest.raises(download.Unreachable, match="TooManyRedirects")
    with serve([("GET", "/it", lambda request: around)]) as server, refused:
        Client(FAST).get_bytes(f"{server.url}/it")


def test_a_gzip_that_ends_early_inside_a_whole_chunked_body_is_noticed():
    packed = gzip.compress(json.dumps(list(range(5000))).encode())

    def chunked(content):
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:900], content[900:], b""))
        return Response(body, headers={"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"})

    for content, words in ((packed, ""), (packed[:-700], "EOFError"), (b"x" + packed, "BadGzipFile")):
        with serve([("GET", "/it", lambda request, content=content: chunked(content))]) as server:
            client = Client(Policy(requests_per_s=None, tries=2, longest_wait_s=0))
            if not words:
                assert client.get_json(f"{server.url}/it") == list(range(5000))
                continue
            with pytest.raises(download.Unreachable, match=f"{words}.*tried 2 times"):
                client.get_json(f"{server.url}/it")
            assert server.requests == 2
    bomb = Response(gzip.compress(bytes(9_000_000)), headers={"Content-Encoding": "gzip"})
    refused = pytest.raises(download.Refused, match="more than 1000000 bytes")
    with serve([("GET", "/it", lambda request: bomb)]) as server, refused:
        Client(Policy(max_bytes=1_000_000)).get_bytes(f"{server.url}/it")


def test_a_redirect_that_carries_the_key_away_is_refused():
    with serve([]) as other:
        there = f"{other.url}/it?copied={TOKEN}"
        away = Response(b"", status=302, headers={"Location": there})
        with serve([("GET", "/it", lambda request: away)]) as server, pytest.raises(download.Unreachable, match="Leak"):
            Client(FAST, **CLIENT).get_bytes(f"{server.url}/it")
        assert other.requests == 0


def test_the_key_goes_only_where_it_belongs():
    with serve([("GET", "/it", lambda request: as_json(1))]) as server, serve([]) as other:
        for origin in (f"{other.url}/", f"{server.url}/deeper/"):
            Client(FAST, **CLIENT, key_origin=origin).get_json(f"{server.url}/it")
        assert not server.keys_seen
        Client(FAST, **CLIENT).get_json(f"{server.url}/it")
        assert server.keys_seen


@pytest.mark.parametrize("query", ["", "?key={key}"])
def test_a_planted_token_shows_nowhere(folders, query, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    policy = Policy(connections=4, requests_per_s=None, tries=2, timeout_s=0.2, longest_wait_s=0.05)
    client = Client(policy, key=f" {TOKEN}\n", key_name="PLANTED_KEY")
    echo = ("GET", "/echo/(?P<status>.*)", lambda request: as_json({"you sent": TOKEN}, int(request.groups["status"])))
    texts = [repr(client), str(vars(client))]
    share = {fault: 0.12 for fault in FAULTS if fault != "expired"}
    with serve([echo, *ROUTES], faults=share, lasting=True) as server:
        items = [replace(item, url=item.url + query) for item in tiles(server, 40)]
        summary = download.fetch(items, folders / "set", client)
        assert len(summary.skipped) > 5 and summary.fetched > 2
        texts += [str(summary), repr(summary), repr(server)]
        wrong = ["/echo/400", "/echo/401", "/echo/403", "/echo/404", "/echo/500", "/tile/x", "/tile/1.png?a="]
        for address in [server.url + path for path in wrong] + ["http://127.0.0.1:9/x", "http://[bad/x", "ftp://x/y"]:
            try:
                client.get_json(address + query)
            except Exception as error:
                texts += ["".join(traceback.format_exception(error)), repr(error), str(error.args)]
                while error := error.__cause__ or error.__context__:
                    texts.append(repr(error))
        assert TOKEN in server.keys_seen
    assert len(texts) > 30 and "DEBUG" in caplog.text
    texts += [caplog.text, *capsys.readouterr()]
    files = [path for path in folders.rglob("*") if path.is_file()]
    assert len(files) > 3
    for secret in (TOKEN, "Geheim", "Wort%2B", "Wort+xyz"):
        assert not [text for text in texts if secret in text]
        assert not [path for path in files if secret.encode() in path.read_bytes() or secret in path.name]


def test_a_key_that_cannot_be_one_is_refused_without_showing_it():
    with pytest.raises(ValueError, match="the key in PLANTED_KEY holds blanks") as error:
        Client(FAST, **CLIENT | {"key": "two words"})
    assert "words" not in "".join(traceback.format_exception(error.value)).replace('"two words"', "")


@pytest.mark.parametrize("name", [
    "../out.png", "a/../../out.png", "/etc/out.png", "\\out.png", "a\\..\\out.png", "C:/out.png", "C:out.png", "",
    "con", "a/NUL.png", "lpt1.txt", "a//b.png", "end./b.png", "dot.png.", "blank ", "a\0b", "what?.png", "./a.png",
    ".parts", "manifest.csv", "missing.csv", "Manifest.CSV", "x" * 201, "a/" + "ü" * 101,
])  # fmt: skip
def test_a_name_that_leads_out_of_the_folder_or_fits_no_system_is_skipped(folders, name):
    with serve(ROUTES) as server:
        summary = download.fetch([Item(name, f"{server.url}/tile/1.png")], folders / "set", Client(FAST))
        assert server.requests == 0
    assert list(summary.skipped.values()) == [[name]] and "the name" in str(summary)
    assert contents(folders).keys() == {"set/manifest.csv"}


def test_safe_names_are_safe():
    for text in ("a/b", "..", "con", "C:\\x", "Ünïcode", "x" * 500, "", "LC08_224077-05.tif", ".hidden", "nul.tif"):
        name = download.safe_name(text)
        assert download.safe_name(name) == name and "/" not in name and len(name) < 200
    assert download.safe_name("LC08_224077-05.tif") == "LC08_224077-05.tif"
