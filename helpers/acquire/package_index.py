"""Finding and receiving one pinned file on the package index that the user's pip is configured for.

Nothing is built or installed: the index only carries the file. Passwords in index addresses are never shown.
"""

import ast
import importlib.util
import logging
import os
import re
import ssl
import subprocess
import sys
import time
from logging.handlers import BufferingHandler

from helpers.acquire import progress
from helpers.acquire.client import shown

PAUSES_S = (1, 2, 4, 8)  # before each further try, where a connection broke or a server was busy
TIMEOUT_S = (10, 60, 60, 10)  # to connect, to read, to write, to get a connection


def download(archive, part):
    """Find a package file as pip would, and receive what is still lacking of it.

    Args:
        archive: what is wanted, with `requirement` ("name==version"), `file` (its exact name) and `bytes`.
        part: Path of the partial file; what it holds already is not requested again.

    Returns:
        `part`, whole but not verified; or the path of the file itself, where pip's configuration leads to a folder.

    Raises:
        FileNotFoundError: no source that pip is configured for has the file (names the sources).
        ConnectionError: no connection after several tries without progress; `part` keeps what was received.
        ValueError: what the server offers is not the file, for example a log-in page.
        OSError: the server refuses, or the disk is full.
    """
    pip, pauses = None, iter(PAUSES_S)
    while (before := part.stat().st_size if part.exists() else 0) != archive.bytes:
        pip = pip or _pip_settings()
        try:
            with _session(pip) as session:
                link = _find(archive, _sources(pip), session)
                if link.is_file:
                    return link.file_path
                _receive(archive, link.url_without_fragment, part, session)
        except ConnectionError as error:
            if part.exists() and part.stat().st_size > before:
                pauses = iter(PAUSES_S)  # it got further
            pause = next(pauses, None)
            if pause is None:
                raise ConnectionError(
                    f"{error}. Tried {len(PAUSES_S) + 1} times; what was received is kept. Run again when the network "
                    "works, or use --from-folder"
                ) from error
            time.sleep(pause)
    return part


def _pip_settings():
    """dict from option to value, merged as pip does: a command's section over [global], the environment over both."""
    names = [name for name in os.environ if name.startswith("PIP_")]
    found = {(":env:", name[4:].lower().replace("_", "-")): os.environ[name] for name in names}
    if importlib.util.find_spec("pip"):
        listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
        if listing.returncode:
            raise RuntimeError("pip's configuration cannot be read: run `python -m pip config list` to see why")
        for line in listing.stdout.splitlines():
            key, _, value = line.partition("=")
            section, _, option = key.rpartition(".")
            found[section, option] = ast.literal_eval(value)
    order = sorted(found, key=lambda key: (key[0] == ":env:", key[0] != "global", key))
    return {option: found[section, option] for section, option in order if found[section, option]}


def _sources(pip):
    """Where pip would look, local folders and link pages first: list of ("find_links" or "index_urls", URL)."""
    from unearth import PackageFinder

    sources = [("find_links", url) for url in pip.get("find-links", "").split()]
    if pip.get("no-index", "").lower() not in {"1", "true", "yes", "on", "t", "y"}:
        index = pip.get("index-url") or PackageFinder().sources[0]["url"]  # unearth knows pip's default
        sources += [("index_urls", url) for url in (index, *pip.get("extra-index-url", "").split())]
    return sources


def _session(pip):
    """unearth's connections, with the log-ins, certificates and proxy of pip."""
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    trust = ssl.create_default_context(cafile=pip["cert"]) if "cert" in pip else True
    return PyPIClient(
        auth=MultiDomainBasicAuth(prompting=False, index_urls=[url for _, url in _sources(pip)]),
        trusted_hosts=pip.get("trusted-host", "").split(), verify=trust, proxy=pip.get("proxy"), timeout=TIMEOUT_S,
        follow_redirects=True,
    )  # fmt: skip


def _find(archive, sources, session):
    """unearth's Link to the archive on the first source that has it; a source that fails does not hide the others."""
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
            except Exception as error:  # of the HTTP library below unearth, which differs by version
                if url.startswith("http"):  # a folder that is not there is passed over, as pip does
                    unreachable.append(f"{shown(url)} cannot be reached ({type(error).__name__}: {error})")
    finally:
        log.removeHandler(notes)
    said = "; ".join(dict.fromkeys([*(record.getMessage() for record in notes.buffer), *unreachable]))
    if unreachable or "Server Error" in said:
        raise ConnectionError(f"{archive.file} was not found: {said}")
    tried = ", ".join(shown(url) for _, url in sources) or "none"
    raise FileNotFoundError(
        f"none of the sources that pip is configured for ({tried}) has {archive.file}: {said or 'not listed there'}. "
        "Check `python -m pip config list`, or get the file elsewhere and use --from-folder"
    )


def _receive(archive, url, part, session):
    """Append to `part` what it still lacks; a broken connection is a ConnectionError, and loses nothing."""
    part.touch()
    done = part.stat().st_size
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if 0 < done < archive.bytes else {})
    try:
        with session.get_stream(url, headers=headers) as answer, open(part, "r+b") as handle:
            if answer.status_code == 416:  # the server's file is shorter than our part: begin again
                handle.truncate(0)
            start = _first_byte(archive, url, answer)
            handle.seek(start)
            handle.truncate()
            with progress.bar(desc=archive.file, total=archive.bytes, initial=start, unit="B", unit_scale=True) as bar:
                for chunk in answer.iter_bytes():
                    if handle.tell() + len(chunk) > archive.bytes:
                        handle.truncate(0)
                        raise ValueError(f"{shown(url)} sends more than the {archive.bytes} bytes of {archive.file}")
                    handle.write(chunk)
                    bar.update(len(chunk))
            if handle.tell() != archive.bytes:
                raise ConnectionError(f"{shown(url)} ended after {handle.tell()} of {archive.bytes} bytes")
    except (OSError, ValueError):
        raise
    except Exception as error:  # of the HTTP library below unearth, which differs by version
        raise ConnectionError(f"the connection to {shown(url)} broke ({type(error).__name__})") from error


def _first_byte(archive, url, answer):
    """Where in the archive the body of the answer begins; an error where it is not of the pinned archive."""
    said = f"{shown(url)} answered {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in (408, 416, 429) or answer.status_code >= 500:
        raise ConnectionError(said)
    if answer.status_code >= 400:
        raise OSError(f"{said}. Check `python -m pip config list`, or use --from-folder")
    span = re.match(r"bytes (\d+)-(\d+)/", answer.headers.get("Content-Range", ""))
    size = int(span[2]) + 1 if span else int(answer.headers.get("Content-Length", archive.bytes))
    kind = answer.headers.get("Content-Type", "unknown type")
    if size != archive.bytes or "html" in kind:
        raise ValueError(
            f"{said} with {size} bytes of {kind}, expected the {archive.bytes} bytes of {archive.file}. If this "
            "network wants a log-in, open any page in a browser first; then run again, or use --from-folder"
        )
    return int(span[1]) if span else 0
