"""Fill a folder with imagery from the network: resumable, checked, and with a manifest.

`Item` says what a file is made from; `fetch` gets what is missing.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from helpers import paths
from helpers.acquire import checks, manifest, progress
from helpers.acquire.http import Client, Policy, Refused, Unreachable  # noqa: F401
from helpers.acquire.keys import mask
from helpers.acquire.manifest import (  # noqa: F401
    COLUMNS,
    read_manifest,
    split_manifest,
    write_manifest,
)
from helpers.acquire.pace import JOB
from helpers.acquire.packs import file_sha256

# other characters than a name may have, a dot at an end, and names of devices in Windows or of our
# own files, with whatever suffix
UNSAFE = r"""(?aix) [^\w.-]+ | ^\. | \.$ | ^$
             | ^(con | prn | aux | nul | com\d | lpt\d | manifest | missing)(?=\.|$)"""


@dataclass(frozen=True, eq=False)
class Item:
    """One file that is wanted.

    Attributes:
        name: path inside the folder, with "/", made of safe names. The end ".*" becomes the suffix
            that the content has.
        url: address, or for `make` what stands for it; no secret in it, as the manifest shows it.
        row: dict of columns of the manifest that are known before.
        check: function of the bytes, as of `checks`: after a ValueError the client asks
            again, after Refused it skips the item. Limits of the check stand in the url, behind
            "#", so that other limits are asked for anew.
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
    """Count requests, files fetched and files already there; tell why others are missing.

    As text it gives the six most frequent reasons.
    """

    folder: Path
    fetched: int = 0
    kept: int = 0
    requests: int = 0
    skipped: dict = field(default_factory=dict)

    def __str__(self):
        lines = [
            f"{self.folder}: {self.fetched} fetched, {self.kept} already there, "
            f"{self.requests} requests"
        ]
        skipped = sorted(self.skipped.items(), key=lambda both: -len(both[1]))
        for reason, names in skipped[:6]:
            lines.append(f"{len(names)} skipped: {reason} ({names[0]}, …)")
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
    asked for until that file is deleted. One job at a time may fill a folder.

    Args:
        items: of Item; may be a generator of any length.
        folder: is made; rows and files of earlier jobs stay.
        client: Client of the provider.
        total: number of items, for the progress bar.

    Returns:
        Summary.

    Raises:
        PermissionError: the key is wrong or has expired; files fetched so far stay.
        TypeError: an item's row has columns that no manifest has.
        OSError: the disk is full; files fetched so far stay.
    """
    folder = Path(folder)
    job = _Job(items, folder, client)
    before = client.requests
    threads = 2 * client.policy.connections  # some decode while others wait
    pool = ThreadPoolExecutor(threads)
    try:
        with progress.bar(total=total, unit="file", desc=folder.name) as bar:
            working = [pool.submit(job.work, bar) for _ in range(threads)]
            while working:  # Windows hears Ctrl-C only between two waits
                done, working = wait(working, 0.5, FIRST_EXCEPTION)
                for one in done:
                    one.result()
    finally:
        job.ended.set()
        pool.shutdown(wait=False)
        with job.lock:
            job.table.tidy()
    job.summary.requests = client.requests - before
    return job.summary


class _Job:
    """The work on one folder, by several threads."""

    def __init__(self, items, folder, client):
        self.items = iter(items)
        self.folder = folder
        self.client = client
        for part in folder.rglob(".*.part*"):  # of a process that was killed
            part.unlink()
        self.table = manifest.Table(folder / manifest.NAME, COLUMNS)
        self.missing = manifest.Table(
            folder / manifest.MISSING, manifest.MISSING_COLUMNS
        )
        self.summary = Summary(folder)
        self.names = set()
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def work(self, bar):
        """Obtain items until there are no more."""
        JOB.ended = self.ended
        while not self.ended.is_set():
            with self.lock:
                item = next(self.items, None)
                problem = item and self.problem(item)
            if not item:
                return
            try:
                if problem:
                    raise ValueError(problem)
                known = self.known(item)
                self.note(known or self.made(item), bool(known))
            except (Refused, ConnectionError, ValueError) as error:
                self.skip(item, error)
            bar.update()

    def problem(self, item):
        """Return why an item is not asked for, or ""."""
        stem = item.name.removesuffix(".*")
        key = hash(item.name.casefold())
        if "/".join(map(safe_name, stem.split("/"))) != stem:
            return "the name leads out of the folder, or is none that every system can hold"
        if key in self.names:
            return "the name is used twice, or differs in case only"
        self.names.add(key)
        noted = self.missing.row(item.name)
        return noted["reason"] if noted.get("url") == item.url else ""

    def known(self, item):
        """Return the row of an item whose file is there, with any suffix; {} if it is not."""
        for suffix in checks.STARTS:
            name = item.name.replace(".*", suffix)
            row = self.table.row(name)
            path = self.folder / name
            if (
                row.get("url") == item.url
                and path.is_file()
                and row["sha256"] == file_sha256(path)
            ):
                return row | item.row
        return {}

    def made(self, item):
        """Download an item, check it, move it into its place; return its row."""
        made = {}
        data = b""
        if not item.make:
            data = self.client.get_bytes(item.url, check=item.check)
        name = item.name.replace(".*", checks.suffix(data))
        with paths.atomic(self.folder / name, durable=False) as part:
            if item.make:
                made = item.make(self.client, part) or {}
                data = item.check(part.read_bytes())
            else:
                part.write_bytes(data)
        return {
            **item.row,
            **made,
            "path": name,
            "url": item.url,
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    def note(self, row, kept):
        """Write down at once that a file is there, so that Ctrl-C loses none."""
        with self.lock:
            self.table.add(row)
            self.summary.kept += kept
            self.summary.fetched += not kept

    def skip(self, item, error):
        """Write down that an item is not there, and a Refused for the next job, too."""
        reason = mask(getattr(error, "reason", error))
        with self.lock:
            self.summary.skip(item.name, reason)
            if isinstance(error, Refused):
                self.missing.add({"path": item.name, "url": item.url, "reason": reason})


def safe_name(text):
    """Return the text as a part of a name that every system can hold, different for each text."""
    name = re.sub(UNSAFE, "_", text)
    if name == text and len(text) < 180:
        return text
    return f"{name[:170]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
