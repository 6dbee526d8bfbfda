"""The sample packs: fetching them from an index, a folder or a cache, with faults, and what the real ones hold."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import ssl
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
    packs._read_catalogue.cache_clear()


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
    packs._read_catalogue.cache_clear()


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
        f"tiny: unpacked 2 of 2 files, 0.1 MB. {CREDIT}",
        f"notes: unpacked 1 of 1 files, 0.0 MB. {CREDIT}",
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
    packs.fetch("tiny")
    assert index.log == []
    assert "tiny: complete, 2 files" in capsys.readouterr().out


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
    with pytest.raises(OSError, match="cannot be reached.*--from-folder"):
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
    with pytest.raises(ValueError, match="holds no blue.bin with the pinned"):
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
    assert "tiny: unpacked 1 of 2 files" in capsys.readouterr().out


# --- folders, cache, disk


def test_from_a_folder_without_network(root, index, tmp_path):
    folder = tmp_path / "usb"
    folder.mkdir()
    for content in (None, WHEEL[:-1], WHEEL[:-1] + b"!"):
        if content:
            (folder / WHEEL_FILE).write_bytes(content)
        with pytest.raises(FileNotFoundError, match=f"a whole {WHEEL_FILE} of 0 MB is not in .*usb. Copy it there"):
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


# --- interruptions


def test_interrupted_while_unpacking(root, index, monkeypatch):
    replace, done = os.replace, []

    def interrupt_the_second(source, target):
        if done:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupt_the_second)
    with pytest.raises(KeyboardInterrupt):
        packs.fetch()
    assert unpacked(root) == {"tiny/red.bin": MEMBERS["red.bin"]}
    monkeypatch.setattr(os, "replace", replace)
    index.log.clear()
    packs.fetch()
    assert index.log == [] and unpacked(root) == WHOLE


@pytest.mark.parametrize("fault", ["break", "end early", "break at once"])
def test_a_broken_download_is_fetched_again_whole(root, index, fault):
    index.faults = [fault]
    packs.fetch()
    assert [request.status for request in downloads(index)] == [200, 200]
    assert unpacked(root) == WHOLE


def test_it_gives_up_after_some_tries_and_leaves_nothing_half_done(root, index):
    index.faults = ["break"] * 9
    with pytest.raises(OSError, match="did not arrive: .*--from-folder"):
        packs.fetch()
    assert len(downloads(index)) == 4 and unpacked(root) == {}
    index.faults = []
    packs.fetch()
    assert unpacked(root) == WHOLE


FETCH = "from helpers.acquire import packs; packs.fetch()"


def fetch_elsewhere(root, index):
    """`fetch` in a process of its own, with pip configured by the environment."""
    environment = os.environ | {
        "SATELLITE_NOTEBOOKS_ROOT": str(root),
        "SATELLITE_NOTEBOOKS_DATA": str(root / "data"),
        "PIP_INDEX_URL": index.url,
    }
    return subprocess.Popen(
        [sys.executable, "-c", FETCH], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_killed_while_downloading(root, index):
    members = MEMBERS | {"red.bin": RANDOM.bytes(2_000_000)}
    index.content, index.faults = wheel_of(members), ["slow"]
    write_catalogue(root, index.content, members=members)
    process = fetch_elsewhere(root, index)
    deadline = time.monotonic() + 60
    while not downloads(index) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    assert unpacked(root) == {}
    packs.fetch()
    assert unpacked(root) == WHOLE | {"tiny/red.bin": members["red.bin"]}


def test_two_processes_at_once_end_with_whole_packs(root, index):
    index.faults = ["slow"]
    processes = [fetch_elsewhere(root, index) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert unpacked(root) == WHOLE


# --- pip's configuration


def settings_of(tmp_path, monkeypatch, file, **environment):
    (tmp_path / "pip.conf").write_text(file)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return package_index._pip_settings()


def test_pip_settings_come_from_files_and_environment(tmp_path, monkeypatch):
    file = (
        "[global]\nindex-url = https://a/simple\ncert = /c.pem\nfind-links =\n  /x\n  /y\n[install]\nproxy = http://p\n"
    )
    pip = settings_of(tmp_path, monkeypatch, file, PIP_INDEX_URL="https://b/simple", PIP_CERT="", PIP_TRUSTED_HOST="b")
    assert pip["index-url"] == "https://b/simple" and pip["cert"] == "/c.pem" and pip["proxy"] == "http://p"
    assert pip["find-links"].split() == ["/x", "/y"] and pip["trusted-host"] == "b"
    assert package_index._sources(pip)[0] == ("find_links", "/x")
    assert package_index._sources(pip | {"no-index": "1"}) == [("find_links", "/x"), ("find_links", "/y")]


def test_an_empty_setting_does_not_hide_the_mirror(tmp_path, monkeypatch):
    file = "[global]\nindex-url = https://a/simple\n[install]\nindex-url =\n"
    assert settings_of(tmp_path, monkeypatch, file)["index-url"] == "https://a/simple"


def test_the_default_index_is_asked_beside_an_extra_one():
    sources = package_index._sources({"extra-index-url": "https://extra/simple"})
    assert (
        len(sources) == 2
        and sources[0][1].startswith("https://")
        and sources[1] == ("index_urls", "https://extra/simple")
    )


def test_a_broken_pip_configuration_is_not_passed_over(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match="pip config list"):
        settings_of(tmp_path, monkeypatch, "index-url without a section")


def use(monkeypatch, **options):
    pip = {name.replace("_", "-"): value for name, value in options.items()}
    monkeypatch.setattr(package_index, "_pip_settings", lambda: pip)


def test_sources_that_fail_do_not_hide_the_others(root, index, tmp_path, monkeypatch):
    extra = f"file:///nowhere/simple http://127.0.0.1:1/simple {index.url}"
    use(monkeypatch, index_url="/nowhere/else", find_links="/nowhere https://nowhere.invalid/", extra_index_url=extra)
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_a_folder_of_find_links_needs_no_index(root, index, tmp_path, monkeypatch):
    (tmp_path / WHEEL_FILE).write_bytes(WHEEL)
    use(monkeypatch, index_url=index.url, find_links=str(tmp_path), no_index="true")
    packs.fetch()
    assert unpacked(root) == WHOLE and index.log == []
    assert (tmp_path / WHEEL_FILE).exists()


def test_an_index_of_files(root, tmp_path, monkeypatch):
    (tmp_path / "simple" / "tiny").mkdir(parents=True)
    (tmp_path / "simple" / "tiny" / "index.html").write_text(f'<a href="../../{WHEEL_FILE}">{WHEEL_FILE}</a>')
    (tmp_path / WHEEL_FILE).write_bytes(WHEEL)
    use(monkeypatch, index_url=(tmp_path / "simple").as_uri())
    packs.fetch()
    assert unpacked(root) == WHOLE


def test_a_proxy_of_pip_is_used(root, index, monkeypatch):
    use(monkeypatch, index_url="http://127.0.0.2:9/simple", proxy=index.url.removesuffix("/simple"))
    packs.fetch()
    assert unpacked(root) == WHOLE


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl, to make a certificate")
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_certificate_and_trusted_host_of_pip(root, index, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    index.socket = context.wrap_socket(index.socket, server_side=True)
    url = index.url.replace("http:", "https:")
    use(monkeypatch, index_url=url)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        packs.fetch()
    for options in ({"cert": str(certificate)}, {"trusted_host": "127.0.0.1"}):
        use(monkeypatch, index_url=url, **options)
        packs.fetch()
        assert unpacked(root) == WHOLE
        shutil.rmtree(root / "data" / "packs")
        shutil.rmtree(root / "cache")


def test_an_index_without_the_file_is_named(root, index, monkeypatch):
    index.file = "tiny-0.9-py3-none-any.whl"
    with pytest.raises(OSError, match=f"{WHEEL_FILE} did not arrive: {re.escape(index.url)} does not list it"):
        packs.fetch()
    use(monkeypatch, no_index="1")
    with pytest.raises(OSError, match="pip is configured for no source"):
        packs.fetch()


@pytest.mark.parametrize(
    "fault", [None, 404, "log-in page", "break at once", "no such file", "wrong password", "no answer"]
)
def test_passwords_are_used_but_never_shown(root, index, monkeypatch, capsys, caplog, fault):
    index.password = "Basic " + base64.b64encode(b"ada:s3cret").decode()
    index.faults = [fault] * 9 if fault else []
    if fault == "no such file":
        index.file = "other-1.0.tar.gz"
    if fault == "no answer":
        index.shutdown()
        index.server_close()
    password = "wr0ng-s3cret" if fault == "wrong password" else "s3cret"
    use(monkeypatch, index_url=index.url.replace("//", f"//ada:{password}@"))
    if fault:
        with pytest.raises((OSError, ValueError)) as error:
            packs.fetch()
        chain = [error.value, error.value.__cause__, error.value.__context__]
        assert "s3cret" not in "".join(map(repr, chain))
    else:
        packs.fetch()
        assert unpacked(root) == WHOLE
    assert "s3cret" not in "".join(capsys.readouterr()) + caplog.text


# --- the catalogue


def test_unknown_names_get_the_nearest(root):
    with pytest.raises(ValueError, match="no pack 'tinny'; the nearest is 'tiny'. There are tiny, notes"):
        packs.fetch("tinny")
    with pytest.raises(ValueError, match="no scene of tiny 'onyl'; the nearest is 'only'"):
        packs.open_scene("tiny", "onyl")
    with pytest.raises(ValueError, match="0 files of tiny end with 'green.bin'"):
        packs.member_path("tiny", "green.bin")
    with pytest.raises(ValueError, match="2 files of tiny end with '.bin'"):
        packs.member_path("tiny", ".bin")


def test_a_pack_that_is_not_fetched_says_the_command(root):
    with pytest.raises(FileNotFoundError, match="python -m helpers fetch tiny"):
        packs.open_scene("tiny")


def test_a_pack_of_other_things_than_imagery_has_a_folder(root, index):
    text = (root / "data" / "packs.toml").read_text().replace("[packs.notes.scenes.only]", "[extra]")
    (root / "data" / "packs.toml").write_text(text)
    packs._read_catalogue.cache_clear()
    packs.fetch("notes")
    assert packs.member_path("notes", "notes.txt").read_bytes() == b"clear sky"
    assert packs.open_scenes("notes") == []
    with pytest.raises(ValueError, match="notes holds no imagery: notes"):
        packs.open_scene("notes")


def test_credits_come_once_and_in_order():
    names = ["landsat8_itaipu", "blue_marble", "landsat8_itaipu"]
    assert packs.credits(names) == [packs.catalogue()[name].credit for name in names[:2]]


def test_importing_loads_neither_network_nor_training_libraries():
    code = f"import sys; {FETCH.split(';')[0]}; packs.catalogue(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "requests", "unearth", "tqdm"} & set(loaded)


# --- the real packs, where they are fetched


def fetched(name):
    return pytest.mark.skipif(bool(packs.missing(name)), reason=f"needs: python -m helpers fetch {name}")


RGB = ("red", "green", "blue")
SCENES = [  # pack, scene, bands, height, width, CRS, data type, share of pixels with data
    ("landsat8_itaipu", "224077", ("blue", "green", "red"), 1515, 2006, 32621, "uint16", 0.9764),
    ("landsat8_itaipu", "224078", ("blue", "green", "red"), 1860, 2041, 32621, "uint16", 0.8348),
    ("sentinel2_brandenburg", "10m", ("blue", "green", "red", "nir"), 768, 1536, 32633, "uint16", 1),
    ("sentinel2_brandenburg", "20m", ("rededge1", "rededge2", "rededge3", "nir08", "swir16", "swir22"),
     384, 768, 32633, "uint16", 1),
    ("sentinel2_brandenburg", "60m", ("coastal", "nir09", "cirrus"), 128, 256, 32633, "uint16", 1),
    ("landsat_timeseries", "2008-04-19", ("red", "nir", "swir16", "fmask"), 61, 61, 32613, "int16", 1),
    ("landsat_timeseries", "2008-04-27", ("red", "nir", "swir16", "fmask"), 61, 61, 32613, "int16", 0.8175),
    ("blue_marble", "image", RGB, 2700, 5400, 4326, "uint8", 1),
    ("blue_marble", "relief", RGB, 2700, 5400, 4326, "uint8", 1),
    ("rocky_mountain", "image", RGB, 373, 485, 4326, "uint8", 0.9376),
    ("rocky_mountain", "dem", ("elevation_m",), 187, 152, 4326, "uint16", 1),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("pack", "name", "bands", "height", "width", "epsg", "dtype", "valid"),
    [pytest.param(*row, marks=fetched(row[0]), id=f"{row[0]} {row[1]}") for row in SCENES],
)
def test_real_scenes(pack, name, bands, height, width, epsg, dtype, valid):
    scene = packs.open_scene(pack, name)
    assert (scene.height, scene.width, scene.bands) == (height, width, bands)
    assert scene.crs.to_epsg() == epsg and scene.transform is not None
    assert scene.dtype == dtype and scene.pixels.dtype == np.float32
    assert scene.valid.mean() == pytest.approx(valid, abs=1e-4)
    assert scene.name == f"{pack} {name}" and scene.credit == packs.catalogue()[pack].credit


@pytest.mark.parametrize("name", [pytest.param(name, marks=fetched(name)) for name in packs.catalogue()])
def test_real_files_have_the_listed_hashes(name):
    assert packs.missing(name, verify=True) == []


@pytest.mark.parametrize("name", packs.catalogue())
def test_every_scene_file_is_listed_and_every_pack_says_what_it_is(name):
    pack = packs.catalogue()[name]
    assert pack.description and pack.licence and pack.credit and "==" in pack.archive.requirement
    assert set(pack.main) <= set(pack.scenes)
    for scene in pack.scenes.values():
        assert set(scene["files"]) <= set(pack.members)
        assert len(scene["files"]) in (1, len(scene["bands"]))


@fetched("landsat8_itaipu")
def test_landsat_scenes_share_a_grid_and_overlap():
    first, second = packs.open_scenes("landsat8_itaipu", bands=("red", "blue"))
    assert first.bands == ("red", "blue") and first.nodata == 0
    shift = [(second.transform[i] - first.transform[i]) / 30 for i in (2, 5)]  # columns, rows
    assert shift == np.round(shift).tolist()
    whole = packs.open_scene("landsat8_itaipu", "224077")
    np.testing.assert_array_equal(first.pixels[..., 1], whole.pixels[..., 0])


@fetched("landsat_timeseries")
def test_time_series_is_in_order_of_date_and_on_one_grid():
    series = packs.open_scenes("landsat_timeseries")
    names = [scene.name.split()[1] for scene in series]
    assert len(series) == 105 and names == sorted(set(names)) and names[-1] == "2013-05-27"
    assert len({(scene.transform, str(scene.crs)) for scene in series}) == 1
    assert sum(not scene.valid.all() for scene in series) == 61  # Landsat 7 without its scan-line corrector
    codes = np.unique([scene.select(["fmask"]).pixels for scene in series])
    assert codes.tolist() == [0, 1, 2, 3, 4, 255]
