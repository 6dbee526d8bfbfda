"""Receive one pinned file from the package index that the user's pip is configured for.

Nothing is built or installed: the index only carries the file. Passwords are never shown.
"""

import ast
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

import requests
from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from helpers.acquire import progress
from helpers.acquire.keys import hide, mask, shown


def download(archive, url, output_file, pooch):
    """Find the file of a package as pip would, and write it; as pooch calls it.

    Log-ins, certificates and proxy are those of pip.

    Raises:
        requests.ConnectionError: no source of pip has the file, or the connection broke; pooch
            tries again.
    """
    pip = _pip_settings()
    tried = []
    sources = _sources(pip)
    with PyPIClient(
        auth=MultiDomainBasicAuth(
            prompting=False, index_urls=[url for _, url in sources]
        ),
        trusted_hosts=pip.get("trusted-host", "").split(),
        verify=ssl.create_default_context(cafile=pip["cert"])
        if "cert" in pip
        else True,
        proxy=pip.get("proxy"),
        timeout=60,
        follow_redirects=True,
    ) as session:
        for kind, source in sources:
            hide(urlsplit(source).password or "")
            finder = PackageFinder(
                session=session, ignore_compatibility=True, **{kind: [source]}
            )
            try:
                for match in finder.find_matches(archive.requirement):
                    if match.link.filename == archive.file:
                        return _write(archive, match.link, session, output_file)
                tried.append(f"{shown(source)} does not list it")
            # of the library below unearth, which differs by version
            except Exception as error:
                reason = f"{type(error).__name__}: {mask(error)}"
                tried.append(f"{shown(source)} failed ({reason})")
    # raised here, as the errors of the libraries may hold a password
    raise requests.ConnectionError(
        f"{archive.file} did not arrive: {'; '.join(tried) or 'pip is configured for no source'}. "
        "Check the network and `python -m pip config list`, or use --from-folder"
    )


def _pip_settings():
    """Return pip's options: the environment over [global] over those of single commands."""
    listing = subprocess.check_output(
        [sys.executable, "-m", "pip", "config", "list"], text=True
    )
    values = {}
    for line in reversed(listing.splitlines()):  # sorted; ":env:" is before "global"
        name, _, value = line.partition("=")
        if value != "''":
            values[name.rpartition(".")[2]] = ast.literal_eval(value)
    return values


def _sources(pip):
    """List ("find_links" or "index_urls", URL) where pip would look, local folders first."""
    sources = [("find_links", url) for url in pip.get("find-links", "").split()]
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return sources
    index = pip.get("index-url") or PackageFinder().sources[0]["url"]  # pip's default
    extra = pip.get("extra-index-url", "").split()
    return sources + [("index_urls", url) for url in (index, *extra)]


def _write(archive, link, session, output_file):
    """Write the file; a ValueError where more is sent than it has."""
    bar = progress.bar(
        desc=archive.file, total=archive.bytes, unit="B", unit_scale=True
    )
    with (
        bar,
        session.get_stream(link.normalized) as answer,
        open(output_file, "wb") as file,
    ):
        answer.raise_for_status()
        for part in answer.iter_raw():
            bar.update(file.write(part))
            if file.tell() > archive.bytes:
                raise ValueError(f"more than its {archive.bytes} bytes were sent")
