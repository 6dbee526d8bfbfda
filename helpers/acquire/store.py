"""What was fetched on this machine, by content: `paths.DATA / "downloads"`. Safe to delete; nothing else is lost."""

import contextlib
import hashlib
import os
import shutil
import uuid

from helpers import paths


def sha256_of(path):
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def take(url, path):
    """Put what was fetched from an address before at `path`, verified.

    Returns:
        Its SHA-256; None where it was not fetched, or is damaged: by a power cut, or as somebody wrote into it.
    """
    try:
        _, name, rest = _list(url).read_text(errors="replace").rpartition(_name(url))
        sha256 = rest[1:65]
        if not name or len(sha256) < 64:
            return None
        _link(_content(sha256), path)
    except FileNotFoundError:
        return None
    if sha256_of(path) == sha256:
        return sha256
    path.unlink()
    _content(sha256).unlink(missing_ok=True)
    return None


def put(url, path, sha256):
    """Keep the file at `path`, which is whole and stays there, as what lies at an address."""
    with contextlib.suppress(FileExistsError):  # another address had the same
        with_folder(_content(sha256), _link, path, _content(sha256))
    with_folder(_list(url), _append, _list(url), f"{_name(url)} {sha256}\n")


def with_folder(target, function, *arguments):
    """Call a function that writes `target`, and once more where its folder was missing; asking each time is slow."""
    try:
        function(*arguments)
    except FileNotFoundError:
        target.parent.mkdir(parents=True, exist_ok=True)
        function(*arguments)


def _content(sha256):
    return paths.DATA / "downloads" / "content" / sha256[:2] / sha256


def _name(url):
    return hashlib.sha256(url.encode()).hexdigest()


def _list(url):
    """One of 256 files that tell the content for an address: appending is twice as fast as a file for each."""
    return paths.DATA / "downloads" / "addresses" / _name(url)[:2]


def _append(path, line):
    with open(path, "a", newline="") as handle:
        handle.write(line)


def _link(source, target):
    """Give a whole file a second name; a copy where that is on another disk, or the system knows no hard links."""
    try:
        os.link(source, target)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:  # also: too many names for one file
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        shutil.copyfile(source, part)
        os.replace(part, target)
