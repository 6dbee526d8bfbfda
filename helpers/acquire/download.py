"""Fill a folder with imagery from the network: resumable, checked, and with a manifest.

`Item` says what a file is made from; `fetch` gets what is missing.
"""

import contextlib
import errno
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

RESERVED = r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?"  # names of devices on Windows


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
        make: make(client, temporary_path) writes the file, in place of the body of `url`.
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
        for reason, names in sorted(self.skipped.items(), key=lambda both: -len(both[1])):
            lines.append(f"{len(names)} skipped: {reason} ({names[0]}, …)")
        more = len(lines) - 6
        return "\n".join(lines[:6] + ([f"and {more} more reasons: see `skipped`"] * (more > 0)))

    def skip(self, name, reason):
        """Note why a file is missing."""
        self.skipped.setdefault(reason, []).append(name)

    def frame(self):
        """Return the manifest as a DataFrame."""
        return read_manifest(self.folder)


def fetch(items, folder, client, *, total=None):
    """Get the items that a folder still lacks, and note each in its manifest.

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
    summary = Summary(folder, requests=-client.requests)
    with (
        _Job(folder, client) as job,
        progress.bar(total=total, unit="file", desc=folder.name) as bar,
    ):
        for item, state, detail in job.results(job.planned(items)):
            if state in ("fetched", "kept"):
                row = {**item.row, "path": item.name, "url": item.url, "sha256": detail}
                job.table.add(row)
                setattr(summary, state, getattr(summary, state) + 1)
            else:
                summary.skip(item.name, detail)
            if state == "refused":
                noted = {"path": item.name, "url": item.url, "rule": item.rule, "reason": detail}
                job.missing.add(noted)
            bar.update()
    summary.requests += client.requests
    return summary


class _Job:
    """The work on one folder; only `obtain` runs in other threads."""

    def __init__(self, folder, client):
        self.folder, self.client, self.parts = folder, client, folder / ".parts"
        self.ended = threading.Event()
        shutil.rmtree(self.parts, ignore_errors=True)  # of a process that was killed
        self.parts.mkdir(parents=True)
        self.table = manifest.Table(folder / manifest.NAME, COLUMNS)
        self.missing = manifest.Table(folder / manifest.MISSING, manifest.MISSING_COLUMNS)

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        """Sort the manifest, and take away what is half done."""
        shutil.rmtree(self.parts, ignore_errors=True)
        if getattr(error, "errno", None) == errno.ENOSPC:
            told = f"the disk of {self.folder} is full. What is done is kept: make room, run again"
            raise OSError(errno.ENOSPC, told) from None
        self.table.tidy()

    def planned(self, items):
        """Yield (item, why it is not obtained, or ""); a strange row ends the job."""
        seen = set()
        for item in items:
            manifest.check_row(item.row)
            key = hash(item.name.casefold())  # smaller than the name
            reason = unsafe(item.name.removesuffix(".*"))
            if not reason and key in seen:
                reason = "the name is used twice, or differs in case only"
            seen.add(key)
            noted = self.missing.row(item.name)
            if noted and (noted["url"], noted["rule"]) == (item.url, item.rule):
                reason = reason or noted["reason"]
            yield item, reason

    def results(self, planned):
        """Yield (item, state, detail) as they are done, few in flight."""
        threads = 2 * self.client.policy.connections  # some decode while others wait
        pool = ThreadPoolExecutor(threads, initializer=end_with, initargs=(self.ended,))
        waiting = set()
        try:
            for item, reason in planned:
                if reason:
                    yield item, "skipped", reason
                    continue
                stem, named = item.name.removesuffix(".*"), item.name.endswith(".*")
                rows = (self.table.row(stem + end) for end in (checks.SUFFIXES if named else [""]))
                waiting.add(pool.submit(self.obtain, item, next(filter(None, rows), None)))
                if len(waiting) >= 2 * threads:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from _outcomes(done)
            yield from _outcomes(wait(waiting).done)
        finally:
            self.ended.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def obtain(self, item, known):
        """Put the file of an item into its place; return it, a state, and SHA-256 or reason."""
        if known and known["url"] == item.url:
            target = self.folder / known["path"]
            if target.is_file() and paths.sha256(target) == known["sha256"]:
                return replace(item, name=known["path"]), "kept", known["sha256"]
        part = self.parts / f"{uuid.uuid4().hex}{PurePosixPath(item.name).suffix}"
        try:
            return self.make(item, part)
        except (Refused, Unwanted) as error:
            return item, "refused", mask(getattr(error, "reason", error))
        except PermissionError:
            raise
        except (ValueError, OSError) as error:
            broken = isinstance(error, ConnectionError | TimeoutError | ValueError)
            if not broken and error.errno:  # of the disk, not of the network
                raise
            return item, "skipped", mask(getattr(error, "reason", error))
        finally:
            part.unlink(missing_ok=True)

    def make(self, item, part):
        """Write an item to `part`, check it, give it its name; return what `obtain` returns."""
        if item.make:
            item.make(self.client, part)
            item.check(part.read_bytes())
        else:
            part.write_bytes(self.client.get_bytes(item.url, check=item.check))
        if reason := item.accept(part) if item.accept else "":
            raise Unwanted(reason)
        if item.name.endswith(".*"):
            name = item.name.removesuffix(".*") + checks.suffix(part.read_bytes())
            item = replace(item, name=name)
        target = self.folder / item.name
        with contextlib.suppress(FileExistsError):
            target.parent.mkdir(parents=True)
        sha256 = paths.sha256(part)
        os.replace(part, target)
        return item, "fetched", sha256


def _outcomes(done):
    """Results of futures; an error comes last, so that it loses no other's result."""
    for future in sorted(done, key=lambda one: one.exception() is not None):
        yield future.result()


def safe_name(text):
    """Return the text as one part of a name that every system can hold."""
    name = re.sub(r"[^\w.-]+", "_", str(text), flags=re.ASCII).strip("._")[:150] or "_"
    return f"_{name}" if unsafe(name) else name


def unsafe(name):
    """Return why a name cannot be that of a file in the folder, on any system; "" where it can."""
    for part in name.split("/"):
        if not part or part.startswith("."):
            return "the name would leave the folder, or is hidden"
        device = re.fullmatch(RESERVED, part, re.IGNORECASE)
        if device or re.search(r'[<>:"\\|?*\x00-\x1f\x7f]|[. ]$', part):
            return "the name is one that Windows does not allow"
        if len(part.encode(errors="replace")) > 200:
            return "the name is longer than 200 bytes"
    own = name.lower() in (manifest.NAME, manifest.MISSING)
    return f"{name} has its name already" if own else ""
