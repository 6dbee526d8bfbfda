"""Filling a folder with imagery from the network: resumable, checked, and with a manifest that says where all is from.

`Item` says what a file is made from; `fetch` gets what is missing.
"""

import contextlib
import errno
import json
import os
import queue
import re
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from helpers import paths
from helpers.acquire import checks, manifest, progress, store
from helpers.acquire.client import Client, Policy, Refused, Unreachable, end_with, mask
from helpers.acquire.manifest import COLUMNS, read_manifest, write_manifest

__all__ = [
    "COLUMNS", "Client", "Item", "Policy", "Refused", "Summary", "Unreachable", "fetch", "read_manifest", "safe_name",
    "write_manifest",
]  # fmt: skip

JOURNAL = ".download.jsonl"
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Item:
    """One file that is wanted.

    Attributes:
        name: path inside the folder, with "/"; one that would leave it, or that Windows cannot hold, is skipped.
        url: what is fetched, or for `make` what stands for it; no secret in it, as the manifest shows it.
        row: dict of columns of the manifest that are known before.
        kind: "image", "json" or "file": what came back is checked to be that.
        size_px: (width, height) that an image must have; None: any.
        make: make(client, temporary_path) writes the file, in place of the body of `url`.
        accept: accept(path) returns "" or why the file is not wanted; it is then left out.
    """

    name: str
    url: str = ""
    row: dict = field(default_factory=dict)
    kind: str = "image"
    size_px: tuple | None = None
    make: Callable | None = None
    accept: Callable | None = None

    def check(self, data):
        """The bytes of the file; a ValueError where they are not of the kind that is wanted."""
        return checks.check(data, self.kind, self.size_px)


@dataclass
class Summary:
    """What a job did: numbers of files fetched, kept and shared (another job had them), and why others are missing."""

    folder: Path
    manifest: Path
    fetched: int = 0
    kept: int = 0
    shared: int = 0
    skipped: dict = field(default_factory=dict)
    requests: int = 0

    def __str__(self):
        done = f"{self.fetched} fetched, {self.kept} kept, {self.shared} shared, {self.requests} requests"
        reasons = sorted(self.skipped, key=lambda reason: -len(self.skipped[reason]))
        lines = [f"{len(self.skipped[reason])} skipped: {reason} ({self.skipped[reason][0]}, …)" for reason in reasons]
        more = [f"and {len(lines) - 5} more reasons: see `skipped`"] if lines[5:] else []
        return "\n".join([f"{self.folder}: {done}", *lines[:5], *more])

    def skip(self, name, reason):
        """Note why a file is missing."""
        self.skipped.setdefault(reason, []).append(name)

    def frame(self):
        """The manifest as a DataFrame."""
        return read_manifest(self.folder)


def fetch(items, folder, client, *, total=None):
    """Get what a folder still lacks of the items, and write its manifest.

    A file has its name only when it is whole and checked. What an earlier run or another job has is not requested
    again, so a job that was killed goes on where it stopped. What a server does not have (404) is noted in the folder's
    journal `.download.jsonl`, and not asked for until that is deleted. One job at a time may fill a folder.

    Args:
        items: of Item; may be a generator of any length.
        folder: is made; rows and files of earlier jobs stay.
        client: Client of the provider.
        total: number of items, for the progress bar.

    Returns:
        Summary.

    Raises:
        PermissionError: the key is wrong or has expired, or the folder cannot be written; what is done is kept.
        ValueError: an item's row has columns that no manifest has.
        OSError: the disk is full.
    """
    folder, busy = Path(folder), [threading.Lock() for _ in range(4096)]
    summary = Summary(folder, folder / manifest.NAME, requests=-client.requests)
    with _Journal(folder) as journal, progress.bar(total=total, unit="file", desc=folder.name) as bar:

        def obtain(job):
            item, known = job
            part = journal.parts / f"{uuid.uuid4().hex}{PurePosixPath(item.name).suffix}"
            alone = busy[hash(item.url) % len(busy)] if item.url else contextlib.nullcontext()
            with alone:  # one asks, its twin shares
                return item, part, *_obtain(item, known, folder / item.name, part, client, journal.refused)

        jobs = _named_well(items, journal, summary, bar)
        # twice as many threads as connections: some decode and write while others wait for the network
        with contextlib.closing(_in_threads(obtain, jobs, 2 * client.policy.connections)) as results:
            for item, part, state, detail in results:
                if state in ("fetched", "shared", "kept"):
                    journal.take_in(_row(item, detail), None if state == "kept" else part)
                    setattr(summary, state, getattr(summary, state) + 1)
                else:
                    summary.skip(item.name, detail)
                    if state == "refused":
                        journal.refuse(item, detail)
                bar.update()
    summary.requests += client.requests
    return summary


def safe_name(text):
    """The text as one part of a name that every system can hold; different texts can get the same."""
    name = re.sub(r"[^\w.-]+", "_", str(text), flags=re.ASCII).strip("._")[:150] or "_"
    return f"_{name}" if _unsafe(name) else name


def _unsafe(name):
    """Why a name cannot be that of a file in the folder, on any system; "" where it can."""
    for part in name.split("/"):
        if not part or part.startswith("."):
            return "the name would leave the folder, or is hidden"
        if re.search(r'[<>:"\\|?*\x00-\x1f\x7f]', part) or part[-1] in ". " or RESERVED.fullmatch(part):
            return "the name is one that Windows does not allow"
        if len(part.encode(errors="replace")) > 200:
            return "the name is longer than 200 bytes"
    return f"{manifest.NAME} has its name already" if name.lower() == manifest.NAME else ""


class _Journal:
    """What is done in a folder, one JSON line each; a line that was cut off by a kill is passed over.

    Only the places of the lines are held in memory, so that it hardly grows with the number of files.
    """

    def __init__(self, folder):
        self.folder, self.parts = folder, folder / f"{JOURNAL}.parts"
        self.places, self.refused, self.new = {}, {}, set()
        shutil.rmtree(self.parts, ignore_errors=True)  # of a process that was killed
        self.parts.mkdir(parents=True, exist_ok=True)
        self.handle = open(folder / JOURNAL, "a+b")  # noqa: SIM115 closed by __exit__
        self.handle.seek(0)
        place, line = 0, b"\n"
        for line in self.handle:
            self._note(line, place)
            place += len(line)
        if not line.endswith(b"\n"):
            self.handle.write(b"\n")
        if not (folder / manifest.NAME).exists():
            self.new = set(self.places)

    def _note(self, line, place):
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if "path" in entry:
            self.places[entry["path"]] = place
            self.new.add(entry["path"])
        elif "refused" in entry:
            self.refused[entry["refused"]] = entry["reason"]
        else:  # all before this line has gone into the manifest
            self.new.clear()

    def row(self, path):
        """The row noted last for a path, or None."""
        if path not in self.places:
            return None
        self.handle.seek(self.places[path])
        return manifest.whole_row(json.loads(self.handle.readline()))

    def take_in(self, row, part):
        """Give a file its name, unless it has that already (`part` is None), and note its row."""
        target = self.folder / row["path"]
        if part:
            store.with_folder(target, os.replace, part, target)
        if part or self.row(row["path"]) != row:
            self._append({column: text for column, text in row.items() if text})

    def refuse(self, item, reason):
        """Note that asking again is of no use."""
        self._append({"refused": item.url or item.name, "reason": reason})

    def _append(self, entry):
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        self._note(line, self.handle.seek(0, os.SEEK_END))
        self.handle.write(line)
        self.handle.flush()  # enough for a kill; what a power cut damages, its SHA-256 tells

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        """Merge the rows that are new into the manifest, and close."""
        new = [path for path in sorted(self.new) if (self.folder / path).exists()]
        if new or not (self.folder / manifest.NAME).exists():
            manifest.merge(self.folder, map(self.row, new))
            self._append({"manifest": len(new)})
        self.handle.close()
        shutil.rmtree(self.parts, ignore_errors=True)
        if getattr(error, "errno", None) == errno.ENOSPC:
            places = f"the disk of {self.folder} or {paths.DATA}"
            raise OSError(errno.ENOSPC, f"{places} is full. What is done is kept: make room, run again") from None


def _in_threads(function, jobs, count):
    """Yield function(job) for each job as they are done, few in flight; raises what it raises.

    The threads end soon after the generator is closed, and nobody waits for them: Ctrl-C is prompt.
    """
    todo, done, ended = queue.SimpleQueue(), queue.SimpleQueue(), threading.Event()

    def serve():
        end_with(ended)
        while (job := todo.get()) is not None and not ended.is_set():
            try:
                done.put((function(job), None))
            except BaseException as error:
                done.put((None, error))

    for _ in range(count):
        threading.Thread(target=serve, daemon=True).start()
    jobs, in_flight = iter(jobs), 0
    try:
        while True:
            while in_flight < 2 * count and (job := next(jobs, None)):
                todo.put(job)
                in_flight += 1
            if not in_flight:
                return
            try:
                result, error = done.get(timeout=0.2)  # without a time, Windows hears no Ctrl-C
            except queue.Empty:
                continue
            if error:
                raise error
            in_flight -= 1
            yield result
    finally:
        ended.set()
        for _ in range(count):
            todo.put(None)


def _named_well(items, journal, summary, bar):
    """(item, its row of an earlier run) of the items whose name can be used."""
    seen = set()
    for item in items:
        key = hash(item.name.casefold())  # smaller than the name
        if reason := _unsafe(item.name) or ("the name is used twice, or differs in case only" if key in seen else ""):
            summary.skip(item.name, reason)
            bar.update()
            continue
        seen.add(key)
        _row(item, "")  # refuses unknown columns before anything is asked for
        yield item, journal.row(item.name)


def _row(item, sha256):
    return manifest.whole_row({**item.row, "path": item.name, "url": item.url, "sha256": sha256})


def _obtain(item, known, target, part, client, refused):
    """(state, its SHA-256 or why it is missing) of an item; where it is fetched or shared it is at `part` now."""
    if reason := refused.get(item.url or item.name):
        return "skipped", reason
    if known and known["url"] == item.url and target.is_file() and store.sha256_of(target) == known["sha256"]:
        return "kept", known["sha256"]
    try:
        state, sha256 = "shared", item.url and store.take(item.url, part)
        if not sha256 or not _is_right(item, part):
            state, sha256 = "fetched", _made(item, client, part)
        reason = item.accept(part) if item.accept else ""
        return ("skipped", reason) if reason else (state, sha256)
    except Refused as error:
        refused[item.url or item.name] = error.reason  # at once, for a twin that waits
        return "refused", error.reason
    except (ValueError, OSError) as error:
        network = isinstance(error, ConnectionError | TimeoutError) or not getattr(error, "errno", None)
        if isinstance(error, PermissionError) or not network:
            raise
        return "skipped", mask(getattr(error, "reason", error))


def _made(item, client, part):
    """Write what an item is to `part`, keep it in the store, and return its SHA-256."""
    if item.make:
        item.make(client, part)
        item.check(part.read_bytes())
    else:
        part.write_bytes(client.get_bytes(item.url, check=item.check))
    sha256 = store.sha256_of(part)
    if item.url:
        store.put(item.url, part, sha256)
    return sha256


def _is_right(item, part):
    """Whether what another job fetched is of the right kind for this one; else it is taken away."""
    try:
        item.check(part.read_bytes())
    except ValueError:
        part.unlink()  # a new file takes its place: this one shares its content with the store
        return False
    return True
