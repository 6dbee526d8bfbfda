"""The sample packs: fetching them from an index, a folder or a cache, with faults, and what the real ones hold."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import types
import zipfile
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np
import pytest

from helpers import paths
from helpers.acquire import package_index, packs

RANDOM = np.random.default_rng(0)
MEMBERS = {"red.bin": RANDOM.bytes(30_000), "blue.bin": RANDOM.bytes(20_000), "deep/notes.txt": b"clear sky"}
CREDIT = "Drawn by a random generator"


# --- a tiny pack, and an index on loopback that can misbehave


def wheel_of(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"tiny/data/{name}", content)
        archive.writestr("tiny/not_listed.py", b"raise SystemExit")
    return buffer.getvalue()


def source_of(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {**members, "not_listed.py": b"raise SystemExit"}.items():
            entry = tarfile.TarInfo(f"tiny/data/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


WHEEL = wheel_of(MEMBERS)
WHEEL_FILE = "tiny-1.0-py3-none-any.whl"


def write_catalogue(root, content=WHEEL, file=WHEEL_FILE, members=MEMBERS, **changes):
    """A packs.toml with two packs from one archive: "tiny" with all members but the last, "notes" with the last."""
    listed = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in members.items()}
    archive = {"requirement": "tiny==1.0", "file": file, "bytes": len(content), "sha256": sha256(content)} | changes
    lines = ["[archives.tiny]", *(f"{key} = {json.dumps(value)}" for key, value in archive.items())]
    for pack, names in (("tiny", list(listed)[:-1]), ("notes", list(listed)[-1:])):
        lines += [f"[packs.{pack}]", 'archive = "tiny"', 'prefix = "tiny/data/"']
        lines += [f'description = "{pack}"', 'licence = "CC0"', f'credit = "{CREDIT}"']
        lines += [f"[packs.{pack}.scenes.only]", f"files = {json.dumps(names)}", f"bands = {json.dumps(names)}"]
        lines += [f"[packs.{pack}.members]", *(f"{json.dumps(name)} = {json.dumps(listed[name])}" for name in names)]
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "data" / "packs.toml").write_text("\n".join(lines))
    packs.catalogue.cache_clear()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty project with the tiny packs listed; the machine's own pip configuration and cache are out of sight."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    for name in [name for name in os.environ if name.startswith("PIP_") or name == packs.CACHE]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv(packs.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.core.time", types.SimpleNamespace(sleep=lambda seconds: None))
    write_catalogue(tmp_path)
    yield tmp_path
    packs.catalogue.cache_clear()


Request = namedtuple("Request", "path status")


class Index(BaseHTTPRequestHandler):
    """A simple index with one project; `server.faults` are taken one for each request of the file."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, fault = self.server, None
        self.path = urlsplit(self.path).path  # a proxy is asked for the whole address
        if server.password and self.headers.get("Authorization") != server.password:
            return self.answer(401, b"who are you?")
        if not self.path.endswith((".whl", ".tar.gz")):
            if server.page_faults:
                return self.answer(server.page_faults.pop(0), b"")
            listed = self.path == "/simple/tiny/"
            page = f'<a href="../../files/{server.file}">{server.file}</a>'.encode()
            return self.answer(200 if listed else 404, page if listed else b"", "text/html")
        if server.faults:
            fault = server.faults.pop(0)
        if isinstance(fault, int):
            return self.answer(fault, b"")
        if fault in ("log-in page", "log-in page without length"):
            return self.answer(200, b"<html>Welcome to the hotel</html>", "text/html", length=fault == "log-in page")
        content = server.content
        if fault == "more":  # and no length, so that only counting helps
            return self.answer(200, content + bytes(50_000), length=False)
        if fault == "longer":
            return self.answer(200, content + bytes(50_000))
        keep = {"break": 20_000, "break at once": 0, "end early": 20_000, "end at once": 0}.get(fault)
        length, slow = fault not in ("end early", "end at once"), fault == "slow"
        self.answer(200, content, keep=keep, length=length, slow=slow)

    def answer(self, status, body, kind="application/octet-stream", length=True, keep=None, slow=False):
        self.server.log.append(Request(self.path, status))
        self.send_response(status)
        if length:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        body = body[:keep]
        step = len(body) // 40 + 1
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(0.02 if slow else 0)

    def log_message(self, *ignored):
        pass


@pytest.fixture
def index(root, monkeypatch):
    """The index, running, and pip configured for it without asking pip (which takes half a second)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.handle_error = lambda *ignored: None  # a killed client is part of the test
    server.content, server.file, server.password = WHEEL, WHEEL_FILE, None
    server.log, server.faults, server.page_faults = [], [], []
    server.url = f"http://127.0.0.1:{server.server_port}/simple"
    monkeypatch.setattr(package_index, "_pip_settings", lambda: {"index-url": server.url})
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def downloads(index):
    return [request for request in index.log if request.path.startswith("/files/")]


def unpacked(root):
    """All files in data/packs but the locks: dict from path to content."""
    base = root / "data" / "packs"
    files = [path for path in base.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in files}


WHOLE = {("notes/" if name.endswith(".txt") else "tiny/") + name: content for name, content in MEMBERS.items()}


# --- fetching


def test_only_listed_members_are_unpacked_and_the_archive_is_fetched_once(root, index, capsys):
    packs.fetch()
    assert unpacked(root) == WHOLE
    assert len(downloads(index)) == 1  # for two packs
    assert capsys.readouterr().out.splitlines() == [
        f"tiny: complete, 2 of 2 files are new. {CREDIT}",
        f"notes: complete, 1 of 1 files are new. {CREDIT}",
    ]


def test_source_archives_work_too(root, index):
    index.content, index.file = source_of(MEMBERS), "tiny-1.0.tar.gz"
    write_catalogue(root, index.content, index.file)
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_a_complete_pack_makes_no_request(root, index, capsys):
    packs.fetch()
    index.log.clear()
    packs.fetch()
    packs.fetch(["tiny"])
    assert index.log == []
    assert "tiny: complete, 0 of 2 files are new" in capsys.readouterr().out


def test_one_pack_only(root, index):
    packs.fetch(["notes"])
    assert set(unpacked(root)) == {"notes/deep/notes.txt"}
    assert packs.missing("tiny") == ["red.bin", "blue.bin"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(root, index, status):
    index.faults = [status]
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_a_busy_index_page_is_asked_again(root, index):
    index.page_faults = [503, 503]
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_no_network(root, index):
    index.shutdown()
    index.server_close()
    with pytest.raises(OSError, match="failed .*--from-folder"):
        packs.fetch()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("log-in page", "SHA256 hash"),
        ("log-in page without length", "SHA256 hash"),
        ("longer", f"more than its {len(WHEEL)} bytes"),
        ("more", f"more than its {len(WHEEL)} bytes"),
        (403, "403"),
    ],
)
def test_what_is_not_the_archive_is_refused(root, index, fault, message):
    index.faults = [fault] * 9
    with pytest.raises((OSError, ValueError), match=message):
        packs.fetch()
    assert not any(unpacked(root).values()) and not list((root / "cache").iterdir())
    index.faults = []
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_another_archive_of_the_same_size_is_refused_and_deleted(root, index):
    index.content = WHEEL[:-1] + b"!"
    with pytest.raises(ValueError) as error:
        packs.fetch()
    assert sha256(WHEEL) in str(error.value) and sha256(index.content) in str(error.value)
    assert unpacked(root) == {} and not list((root / "cache").iterdir())
    index.content = WHEEL
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_a_member_that_differs_from_the_list_is_not_unpacked(root, index):
    index.content = wheel_of(MEMBERS | {"blue.bin": bytes(20_000)})
    write_catalogue(root, index.content)
    with pytest.raises(ValueError, match="holds no blue.bin with the pinned size and SHA-256"):
        packs.fetch()
    assert "tiny/blue.bin" not in unpacked(root)


def test_a_listed_member_that_the_archive_lacks_is_named(root, index):
    index.content = wheel_of({"red.bin": MEMBERS["red.bin"], "deep/notes.txt": MEMBERS["deep/notes.txt"]})
    write_catalogue(root, index.content)
    with pytest.raises(KeyError, match="blue.bin"):
        packs.fetch()


def test_damage_is_found_and_mended(root, index, capsys):
    packs.fetch()
    red = packs.member_path("tiny", "red.bin")
    red.write_bytes(bytes(30_000))
    assert packs.missing("tiny") == [] and packs.missing("tiny", verify=True) == ["red.bin"]
    packs.fetch()
    assert unpacked(root) == WHOLE
    red.write_bytes(MEMBERS["red.bin"][:-1])
    with pytest.raises(FileNotFoundError, match="is missing or damaged.*python -m helpers fetch tiny"):
        packs.member_path("tiny", "red.bin")
    packs.fetch()
    assert unpacked(root) == WHOLE
    assert "tiny: complete, 1 of 2 files are new" in capsys.readouterr().out


# --- folders, cache, disk


def test_from_a_folder_without_network(root, index, tmp_path):
    folder = tmp_path / "usb"
    folder.mkdir()
    for content in (None, WHEEL[:-1], WHEEL[:-1] + b"!"):
        if content:
            (folder / WHEEL_FILE).write_bytes(content)
        with pytest.raises(FileNotFoundError, match=f"a whole {WHEEL_FILE} is not in .*usb. Copy it there"):
            packs.fetch(from_folder=folder)
    assert (folder / WHEEL_FILE).exists()
    (folder / WHEEL_FILE).write_bytes(WHEEL)
    packs.fetch(from_folder=str(folder))
    assert unpacked(root) == WHOLE and index.log == []
    assert (folder / WHEEL_FILE).read_bytes() == WHEEL


def test_the_cache_keeps_the_archive_for_others(root, index, tmp_path, monkeypatch):
    packs.fetch()
    assert (tmp_path / "cache" / WHEEL_FILE).read_bytes() == WHEEL
    shutil.rmtree(root / "data" / "packs")
    index.log.clear()
    packs.fetch()
    assert unpacked(root) == WHOLE and index.log == []
    (tmp_path / "cache" / WHEEL_FILE).write_bytes(b"damaged")
    shutil.rmtree(root / "data" / "packs")
    packs.fetch()
    assert unpacked(root) == WHOLE and len(downloads(index)) == 1


def test_a_full_disk_is_noticed_before_the_first_request(root, index, monkeypatch):
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=60_000))
    with pytest.raises(OSError, match="0 MB are needed .* Make room"):
        packs.fetch()
    assert index.log == []


# --- the catalogue


def test_unknown_names_get_the_nearest(root):
    with pytest.raises(ValueError, match="no pack 'tinny'; the nearest is 'tiny'"):
        packs.fetch(["tinny"])
    with pytest.raises(ValueError, match="no scene of tiny 'onyl'; the nearest is 'only'"):
        packs.open_scene("tiny", "onyl")
    with pytest.raises(ValueError, match="no file of tiny 'green.bin'; the nearest is 'red.bin'"):
        packs.member_path("tiny", "green.bin")


def test_a_pack_that_is_not_fetched_says_the_command(root):
    with pytest.raises(FileNotFoundError, match="python -m helpers fetch tiny"):
        packs.open_scene("tiny")


def test_a_pack_of_other_things_than_imagery_has_a_folder(root, index):
    text = (root / "data" / "packs.toml").read_text().replace("[packs.notes.scenes.only]", "scenes = {}\n[extra]")
    (root / "data" / "packs.toml").write_text(text)
    packs.catalogue.cache_clear()
    packs.fetch(["notes"])
    assert packs.member_path("notes", "deep/notes.txt").read_bytes() == b"clear sky"
    assert packs.open_scenes("notes") == []
    with pytest.raises(ValueError, match="notes holds no imagery: notes"):
        packs.open_scene("notes")


def test_credits_come_once_and_in_order():
    names = ["landsat8_itaipu", "blue_marble", "landsat8_itaipu"]
    assert packs.credits(names) == [packs.catalogue()[name].credit for name in names[:2]]


def test_importing_loads_neither_network_nor_training_libraries():
    code = "import sys; from helpers.acquire import packs; packs.catalogue(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "requests", "unearth", "tqdm"} & set(loaded)
