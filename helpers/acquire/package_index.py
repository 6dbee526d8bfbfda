"""Receive one pinned file from the package index that the user's pip is configured for.

Nothing is built or installed: the index only carries the file. Passwords are never shown.
"""

import ast
import importlib.util
import logging
import os
import shutil
import ssl
import subprocess
import sys
from logging.handlers import BufferingHandler

import requests

from helpers.acquire import progress
from helpers.acquire.http import BUSY
from helpers.acquire.keys import shown

TIMEOUT_S = (10, 60, 60, 10)  # to connect, to read, to write, to get a connection


def download(archive, url, output_file, pooch):
    """Find the file of an Archive as pip would, and write it; as pooch calls it.

    Raises:
        FileNotFoundError: no source that pip is configured for has the file (names the sources).
        requests.ConnectionError: no connection; pooch tries again.
        OSError: the server refuses, offers something else, or the disk is full.
    """
    pip = _pip_settings()
    with _session(pip) as session:
        link = _find(archive, _sources(pip), session)
        if link.is_file:
            shutil.copyfile(link.file_path, output_file)
        else:
            _receive(archive, link.url_without_fragment, output_file, session)


def _pip_settings():
    """Return pip's options: a command's over [global], the environment over both."""
    settings = {}
    if importlib.util.find_spec("pip"):
        command = [sys.executable, "-m", "pip", "config", "list"]
        listing = subprocess.run(command, capture_output=True, text=True)
        if listing.returncode:
            told = "run `python -m pip config list` to see why"
            raise RuntimeError(f"pip's configuration cannot be read: {told}")
        lines = listing.stdout.splitlines()
        for line in sorted(lines, key=lambda line: not line.startswith("global.")):
            key, _, value = line.partition("=")
            if not key.startswith(":env:"):
                settings[key.rpartition(".")[2]] = ast.literal_eval(value)
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            settings[name[4:].lower().replace("_", "-")] = value
    return settings


def _sources(pip):
    """List ("find_links" or "index_urls", URL) where pip would look, local folders first."""
    from unearth import PackageFinder

    sources = [("find_links", url) for url in pip.get("find-links", "").split()]
    if pip.get("no-index", "").lower() not in {"1", "true", "yes", "on", "t", "y"}:
        index = pip.get("index-url") or PackageFinder().sources[0]["url"]  # pip's default
        extra = pip.get("extra-index-url", "").split()
        sources += [("index_urls", url) for url in (index, *extra)]
    return sources


def _session(pip):
    """Open unearth's connections, with the log-ins, certificates and proxy of pip."""
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    urls = [url for _, url in _sources(pip)]
    return PyPIClient(
        auth=MultiDomainBasicAuth(prompting=False, index_urls=urls),
        trusted_hosts=pip.get("trusted-host", "").split(),
        verify=ssl.create_default_context(cafile=pip["cert"]) if "cert" in pip else True,
        proxy=pip.get("proxy"),
        timeout=TIMEOUT_S,
        follow_redirects=True,
    )


def _find(archive, sources, session):
    """Return unearth's Link on the first source that has it; pass over sources that fail."""
    from unearth import PackageFinder

    unreachable, log, notes = [], logging.getLogger("unearth"), BufferingHandler(1000)
    log.addHandler(notes)  # unearth only logs that a page cannot be had
    try:
        for kind, url in sources:
            try:
                finder = PackageFinder(session=session, ignore_compatibility=True, **{kind: [url]})
                for match in finder.find_matches(archive.requirement):
                    if match.link.filename == archive.file:
                        return match.link
            except Exception as error:  # of the library below unearth, which differs by version
                if url.startswith("http"):  # a missing folder is passed over, as pip does
                    why = f"{type(error).__name__}: {error}"
                    unreachable.append(f"{shown(url)} cannot be reached ({why})")
    finally:
        log.removeHandler(notes)
    notes = [record.getMessage() for record in notes.buffer]
    said = "; ".join(dict.fromkeys([*notes, *unreachable])) or "not listed there"
    if unreachable or "Server Error" in said:
        raise requests.ConnectionError(
            f"{archive.file} was not found: {said}. Run again when the network works, or use "
            "--from-folder"
        )
    tried = ", ".join(shown(url) for _, url in sources) or "none"
    raise FileNotFoundError(
        f"none of the sources that pip is configured for ({tried}) has {archive.file}: {said}. "
        "Check `python -m pip config list`, or get the file elsewhere and use --from-folder"
    )


def _receive(archive, url, output_file, session):
    """Write the body of the answer; a broken connection is a requests.ConnectionError."""
    bar = progress.bar(desc=archive.file, total=archive.bytes, unit="B", unit_scale=True)
    try:
        with (
            session.get_stream(url, headers={"Accept-Encoding": "identity"}) as answer,
            open(output_file, "wb") as file,
            bar,
        ):
            _check_answer(archive, url, answer)
            for chunk in answer.iter_bytes():
                bar.update(file.write(chunk))
                if file.tell() > archive.bytes:
                    told = f"sends more than the {archive.bytes} bytes of {archive.file}"
                    raise OSError(f"{shown(url)} {told}")
    except OSError:
        raise
    except Exception as error:  # of the library below unearth, which differs by version
        told = f"the connection to {shown(url)} broke ({type(error).__name__}). Run again"
        raise requests.ConnectionError(told) from error
    if (size := os.path.getsize(output_file)) != archive.bytes:
        told = f"ended after {size} of {archive.bytes} bytes"
        raise requests.ConnectionError(f"{shown(url)} {told}. Run again")


def _check_answer(archive, url, answer):
    """Refuse an answer that does not promise the archive; a busy server is asked again."""
    said = f"{shown(url)} answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in BUSY:
        raise requests.ConnectionError(said)
    if answer.status_code >= 400:
        raise OSError(f"{said}. Check `python -m pip config list`, or use --from-folder")
    size = int(answer.headers.get("Content-Length", archive.bytes))
    kind = answer.headers.get("Content-Type", "unknown type")
    if size != archive.bytes or "html" in kind:
        raise OSError(
            f"{said} with {size} bytes of {kind}, expected the {archive.bytes} bytes of "
            f"{archive.file}. If this network wants a log-in, open any page in a browser first; "
            "then run again, or use --from-folder"
        )
