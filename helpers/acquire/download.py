"""Fill a folder with imagery from the network: resumable, checked, and with a manifest.

`Item` says what a file is made from; `fetch` gets what is missing.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from helpers import paths
from helpers.acquire import checks, manifest, progress
from helpers.acquire.http import Client, Policy, Refused, Unreachable
from helpers.acquire.keys import mask
from helpers.acquire.manifest import COLUMNS, read_manifest, write_manifest
from helpers.acquire.pace import JOB

__all__ = ["COLUMNS", "Client", "Item", "Policy", "Refused", "Summary", "Unreachable"]
__all__ += ["fetch", "read_manifest", "safe_name", "write_manifest"]

# names of devices in Windows, and of our own files, with whatever suffix
TAKEN = r"(?i)(con|prn|aux|nul|com\d|lpt\d|manifest|missing)(\..*)?"


@dataclass(frozen=True, eq=False)
class Item:
    """One file that is wanted.

    Attributes:
        name: path inside the folder, with "/", made of safe names. The end ".*" becomes the suffix
            that the content has.
        url: address, or for `make` what stands for it; no secret in it, as the manifest shows it.
        row: dict of columns of the manifest that are known before.
        check: function of the bytes, as of `checks`: a ValueError asks again, Refused skips. Its
            limits stand in the url, behind "#", so that other ones ask again.
        make: make(client, temporary_path) writes the file, in place of the body of `url`; it may
            return further columns of the row.
    """

    name: str
    url: str = ""
    row: dict = field(default_factory=dict)
    check: Callable = checks.image
    make: Callable | None = None


@dataclass
class Summary:
    """Numbers of files fetched and kept, of requests, and why others are missing."""

    folder: Path
    fetched: int = 0
    kept: int = 0
    requests: int = 0
    skipped: dict = field(default_factory=dict)

    def __str__(self):
        lines = [
            f"{self.folder}: {self.fetched} fetched, {self.kept} kept, {self.requests} requests"
        ]
        often = sorted(self.skipped.items(), key=lambda both: -len(both[1]))
        for reason, names in often[:5]:
            lines.append(f"{len(names)} skipped: {reason} ({names[0]}, …)")
        if often[5:]:
            lines.append(f"and {len(often) - 5} more reasons: see `skipped`")
        return "\n".join(lines)

    def skip(self, name, reason):
        """Note why a file is missing."""
        self.skipped.setdefault(reason, []).append(name)

    def frame(self):
        """Return the manifest as a DataFrame."""
        return read_manifest(self.folder)


def fetch(items, folder, client, *, total=None):
    """Fill a folder with files, and note each in its manifest.

    A file has its name only when it is whole and checked. Files whose row and SHA-256 stand in the
    manifest are not requested again, so a job that was killed goes on where it stopped. Items that
    a server does not have (404), or that were not accepted, stand in `missing.csv`, and are not
    asked for until that is deleted. One job at a time may fill a folder.

    Args:
        items: of Item; may be a generator of any length.
        folder: is made; rows and files of earlier jobs stay.
        client: Client of the provider.
        total: number of items, for the progress bar.

    Returns:
        Summary.

    Raises:
        PermissionError: the key is wrong or has expired; what is done is kept.
        ValueError: an item's row has columns that no manifest has.
        OSError: the disk is full; what is done is kept.
    """
    folder = Path(folder)
    job, before = _Job(folder, client), client.requests
    try:
        with progress.bar(total=total, unit="file", desc=folder.name) as bar:
            for outcome in job.outcomes(items):
                job.note(*outcome)
                bar.update()
    finally:
        job.table.tidy()
    job.summary.requests = client.requests - before
    return job.summary


class _Job:
    """The work on one folder; only `obtain` runs in other threads."""

    def __init__(self, folder, client):
        self.folder, self.client = folder, client
        for part in folder.rglob(".*.part*"):  # of a process that was killed
            part.unlink()
        self.table = manifest.Table(folder / manifest.NAME, COLUMNS)
        self.missing = manifest.Table(folder / manifest.MISSING, manifest.MISSING_COLUMNS)
        self.summary, self.names = Summary(folder), set()

    def outcomes(self, items):
        """Yield (item, state, detail) as they finish, few at a time."""
        threads = 2 * self.client.policy.connections  # some decode while others wait
        ended, waiting = threading.Event(), set()
        pool = ThreadPoolExecutor(threads, initializer=setattr, initargs=(JOB, "ended", ended))
        try:
            for item in items:
                waiting.add(pool.submit(self.obtain, item, self.obstacle(item), self.known(item)))
                if len(waiting) >= 2 * threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from _results(done)
            yield from _results(wait(waiting).done)
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def obstacle(self, item):
        """Return why an item is not asked for, or ""."""
        stem = item.name.removesuffix(".*")
        if "/".join(map(safe_name, stem.split("/"))) != stem:
            return "the name leads out of the folder, or is none that every system can hold"
        key = hash(item.name.casefold())  # smaller than the name
        if key in self.names:
            return "the name is used twice, or differs in case only"
        self.names.add(key)
        noted = self.missing.row(item.name)
        return noted["reason"] if noted.get("url") == item.url else ""

    def known(self, item):
        """Return the row of an item's file, of whatever suffix; {} where there is none."""
        stem, any_suffix, _ = item.name.partition(".*")
        names = [stem + suffix for suffix in checks.STARTS] if any_suffix else [stem]
        return next(filter(None, map(self.table.row, names)), {})

    def note(self, item, state, detail):
        """Write down how an item ended."""
        row = {"path": item.name, "url": item.url}
        if state in ("fetched", "kept"):
            self.table.add(item.row | row | {"sha256": detail})
            self.summary.fetched += state == "fetched"
            self.summary.kept += state == "kept"
            return
        self.summary.skip(item.name, detail)
        if state == "refused":
            self.missing.add(row | {"reason": detail})

    def obtain(self, item, obstacle, known):
        """Put the file of an item into its place; return it, a state, and SHA-256 or reason."""
        if obstacle:
            return item, "skipped", obstacle
        if known.get("url") == item.url:
            target = self.folder / known["path"]
            if target.is_file() and paths.sha256(target) == known["sha256"]:
                return replace(item, name=known["path"]), "kept", known["sha256"]
        try:
            return self.make(item)
        except Refused as error:
            return item, "refused", mask(error.reason)
        except (ConnectionError, ValueError) as error:
            return item, "skipped", mask(getattr(error, "reason", error))

    def make(self, item):
        """Get an item, check it, put it into its place; return what `obtain` returns."""
        row, (name, any_suffix, _) = {}, item.name.partition(".*")
        if item.make:
            with paths.atomic(self.folder / name, durable=False) as part:
                row = item.make(self.client, part) or {}
                data = item.check(part.read_bytes())
        else:
            data = self.client.get_bytes(item.url, check=item.check)
            name += checks.suffix(data) if any_suffix else ""
            with paths.atomic(self.folder / name, durable=False) as part:
                part.write_bytes(data)
        item = replace(item, name=name, row=item.row | row)
        return item, "fetched", hashlib.sha256(data).hexdigest()


def _results(done):
    """Yield results of futures; an error comes last, so that no result is lost."""
    for future in sorted(done, key=lambda one: one.exception() is not None):
        yield future.result()


def safe_name(text):
    """Return the text as a part of a name that every system can hold, different for each text."""
    name = re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip(".")[:180]
    if not name or re.fullmatch(TAKEN, name):
        name = f"_{name}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return name if name == text else f"{name[:170]}_{digest}"
