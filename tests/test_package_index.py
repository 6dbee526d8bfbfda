"""Package files from where pip would look: its settings, sources that fail, proxies, certificates, passwords."""

# ruff: noqa: F811
import base64
import os
import re
import shutil
import ssl
import subprocess

import pytest

from helpers.acquire import package_index, packs
from tests.test_packs import WHEEL, WHEEL_FILE, WHOLE, index, root, unpacked  # noqa: F401


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
    with pytest.raises(subprocess.CalledProcessError, match="'pip', 'config', 'list'"):
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
