"""Fill a folder with imagery from the network: resumable, checked, and with a manifest.

`Item` says what a file is made from; `fetch` gets what is missing.
"""

import errno
import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from helpers import paths
from helpers.acquire import checks, manifest, progress
from helpers.acquire.http import Client, Denied, Policy, Refused, Unreachable
from helpers.acquire.keys import mask
from helpers.acquire.manifest import COLUMNS, read_manifest, write_manifest
from helpers.acquire.pace import end_with

__all__ = ["COLUMNS", "Client", "Denied", "Item", "Policy", "Refused", "Summary", "Unreachable"]
__all__ += ["fetch", "read_manifest", "safe_name", "write_manifest"]

DEVICES = r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\.|$)"  # of Windows
FORBIDDEN = rf'{DEVICES}|[<>:"\\|?*\x00-\x1f\x7f]|[. ]$'


class Unwanted(Exception):
    """`accept` leaves the file out."""


@dataclass(frozen=True, eq=False)
class Item:
    """One file that is wanted.

    Attributes:
        name: path inside the folder, with "/"; one that no system could hold is skipped. The end
            ".*" becomes the suffix that the content has.
        url: address, or for `make` what stands for it; no secret in it, as the manifest shows it.
        row: dict of columns of the manifest that are known before.
        kind: "image", "json" or "file"; the answer is checked to be that.
        size_px: (width, height) that an image must have; None: any.
        make: make(client, temporary_path) writes the file, in place of the body of `url`; it may
            return further columns of the row.
        accept: accept(path) returns "" or why the file is not wanted.
        rule: text that changes with `accept`, so that another rule asks again.
    """

    name: str
    url: str = ""
    row: dict = field(default_factory=dict)
    kind: str = "image"
    size_px: tuple | None = None
    make: Callable | None = None
    accept: Callable | None = None
    rule: str = ""

    def check(self, data):
        """Return the bytes of the file; a ValueError says why they are of another kind."""
        return checks.check(data, self.kind, self.size_px)


@dataclass
class Summary:
    """Numbers of files fetched and kept, of requests, and why others are missing."""

    folder: Path
    fetched: int = 0
    kept: int = 0
    requests: int = 0
    skipped: dict = field(default_factory=dict)

    def __str__(self):
        done = f"{self.fetched} fetched, {self.kept} kept, {self.requests} requests"
        lines = [f"{self.folder}: {done}"]
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
        OSError: the disk is full.
    """
    folder = Path(folder)
    summary, before = Summary(folder), client.requests
    job = _Job(folder, client)
    try:
        with progress.bar(total=total, unit="file", desc=folder.name) as bar:
            for item, state, detail in job.results(items):
                job.note(item, state, detail, summary)
                bar.update()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        told = f"the disk of {folder} is full. What is done is kept: make room, run again"
        raise OSError(errno.ENOSPC, told) from None
    finally:
        shutil.rmtree(job.parts, ignore_errors=True)
    job.table.tidy()
    summary.requests = client.requests - before
    return summary


class _Job:
    """The work on one folder; only `obtain` runs in other threads."""

    def __init__(self, folder, client):
        self.folder, self.client, self.parts = folder, client, folder / ".parts"
        shutil.rmtree(self.parts, ignore_errors=True)  # of a process that was killed
        self.parts.mkdir(parents=True)
        self.table = manifest.Table(folder / manifest.NAME, COLUMNS)
        self.missing = manifest.Table(folder / manifest.MISSING, manifest.MISSING_COLUMNS)
        self.names = set()

    def results(self, items):
        """Yield (item, state, detail) as they are done, few in flight."""
        threads = 2 * self.client.policy.connections  # some decode while others wait
        ended, waiting = threading.Event(), set()
        pool = ThreadPoolExecutor(threads, initializer=end_with, initargs=(ended,))
        try:
            for item in items:
                if reason := self.obstacle(item):
                    yield item, "skipped", reason
                    continue
                waiting.add(pool.submit(self.obtain, item, self.known(item)))
                if len(waiting) >= 2 * threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from _outcomes(done)
            yield from _outcomes(wait(waiting).done)
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def obstacle(self, item):
        """Return why an item is not asked for, or ""; a strange row ends the job."""
        manifest.check_row(item.row)
        if reason := unsafe(item.name.removesuffix(".*")):
            return reason
        key = hash(item.name.casefold())  # smaller than the name
        if key in self.names:
            return "the name is used twice, or differs in case only"
        self.names.add(key)
        noted = self.missing.row(item.name)
        same = (noted.get("url"), noted.get("rule")) == (item.url, item.rule)
        return noted["reason"] if same else ""

    def known(self, item):
        """Return the row of an item's file, of whatever suffix; {} where there is none."""
        stem = item.name.removesuffix(".*")
        names = [stem] if stem == item.name else [stem + suffix for suffix in checks.SUFFIXES]
        return next(filter(None, map(self.table.row, names)), {})

    def note(self, item, state, detail, summary):
        """Write down how an item ended."""
        if state in ("fetched", "kept"):
            row = {**item.row, "path": item.name, "url": item.url, "sha256": detail}
            self.table.add(row)
            setattr(summary, state, getattr(summary, state) + 1)
            return
        summary.skip(item.name, detail)
        if state == "refused":
            noted = {"path": item.name, "url": item.url, "rule": item.rule, "reason": detail}
            self.missing.add(noted)

    def obtain(self, item, known):
        """Put the file of an item into its place; return it, a state, and SHA-256 or reason."""
        if known.get("url") == item.url:
            target = self.folder / known["path"]
            if target.is_file() and paths.sha256(target) == known["sha256"]:
                return replace(item, name=known["path"]), "kept", known["sha256"]
        part = self.parts / f"{uuid.uuid4().hex}{PurePosixPath(item.name).suffix}"
        try:
            return self.make(item, part)
        except (Refused, Unwanted) as error:
            return item, "refused", mask(getattr(error, "reason", error))
        except (ConnectionError, TimeoutError, ValueError) as error:
            return item, "skipped", mask(getattr(error, "reason", error))
        finally:
            part.unlink(missing_ok=True)

    def make(self, item, part):
        """Write an item to `part`, check it, give it its name; return what `obtain` returns."""
        if item.make:
            item = replace(item, row=item.row | (item.make(self.client, part) or {}))
            item.check(part.read_bytes())
        else:
            part.write_bytes(self.client.get_bytes(item.url, check=item.check))
        if reason := item.accept(part) if item.accept else "":
            raise Unwanted(reason)
        if item.name.endswith(".*"):
            suffix = checks.suffix(part.read_bytes())
            item = replace(item, name=item.name.removesuffix(".*") + suffix)
        target, sha256 = self.folder / item.name, paths.sha256(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        return item, "fetched", sha256


def _outcomes(done):
    """Results of futures; an error comes last, so that it loses no other's result."""
    for future in sorted(done, key=lambda one: one.exception() is not None):
        yield future.result()


def safe_name(text):
    """Return the text as a part of a name that every system can hold, different for each text."""
    name = re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._")[:150]
    name = f"_{name}" if unsafe(name) else name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return name if name == text else f"{name}_{digest}"


def unsafe(name):
    """Return why a name cannot be that of a file in the folder, on any system; "" where it can."""
    if name.lower() in (manifest.NAME, manifest.MISSING):
        return f"{name} has its name already"
    for part in name.split("/"):
        if not part or part.startswith("."):
            return "the name would leave the folder, or is hidden"
        if re.search(FORBIDDEN, part, re.IGNORECASE):
            return "the name is one that Windows does not allow"
        if len(part.encode(errors="replace")) > 200:
            return "the name is longer than 200 bytes"
    return ""
