"""Know where things live, and write files so that nothing half-written has a final name."""

import errno
import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path


def _folder(variable, default):
    return Path(os.environ.get(variable) or default).expanduser().resolve()


ROOT = _folder("SATELLITE_NOTEBOOKS_ROOT", Path(__file__).parent.parent)
DATA = _folder("SATELLITE_NOTEBOOKS_DATA", ROOT / "data")
RUNS = _folder("SATELLITE_NOTEBOOKS_RUNS", ROOT / "runs")


@contextmanager
def atomic(path, durable=True):
    """Yield a temporary path beside `path`, moved onto it if the block ends without error.

    Args:
        path: the final name; its folder is made. What stood there stays whole until the move.
        durable: write it through to the disk first, which a power cut does not undo. It is slow for
            thousands of small files.

    Yields:
        Path to write to, with the same suffix.

    Raises:
        OSError: the disk is full (says how much is free), or the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        if durable:
            to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        free = shutil.disk_usage(path.parent).free
        # GDAL does not pass the number of the error on
        if error.errno == errno.ENOSPC or free < 1e6:
            raise OSError(
                f"the disk is full ({free / 1e6:.0f} MB free); nothing was written to {path}. Make "
                "room, run again"
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def claimed(path, what):
    """Keep other processes from doing the same: by SQLite's lock, which a killed process frees.

    Args:
        path: of the lock file; it is removed at the end.
        what: for the message, such as "sweep mine is running already, in process".

    Raises:
        ValueError: another process has claimed it (says which).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("pragma synchronous = off")  # need not outlive a power cut
            lock.execute(f"pragma user_version = {os.getpid()}")
            lock.execute("begin immediate")
            if not path.exists():  # its last holder has just removed it
                raise sqlite3.OperationalError
        except sqlite3.OperationalError:
            (process,) = lock.execute("pragma user_version").fetchone()
            raise ValueError(
                f"{what} {process}: wait until it ends, or choose another name"
            ) from None
        try:
            yield
        finally:
            with suppress(PermissionError):  # Windows removes no open file
                path.unlink(missing_ok=True)


def to_disk(path):
    """Have the system write a file to the disk before this goes on."""
    with open(path, "rb+") as handle:
        os.fsync(handle.fileno())


def require_space(folder, size):
    """Refuse early, before anything is downloaded or computed, what would not fit on the disk.

    Args:
        folder: where the bytes will go; need not exist yet.
        size: bytes needed.

    Raises:
        OSError: less than `size` is free (says both numbers).
    """
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"{size / 1e6:.0f} MB are needed in {folder}, {free / 1e6:.0f} MB free. Make room, run "
            "again"
        )


def sha256(path):
    """Return the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_text(path, text):
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write a JSON file atomically, keys in the order given."""
    write_text(
        path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def end_with_parent():
    """End this process when its parent dies, even of kill -9, as its input ends then."""
    os.read(0, 1)
    os._exit(1)


def read_record(path, needed=()):
    """Read a JSON file that holds names and values; a ValueError says what it lacks."""
    record = read_json(path)
    if not isinstance(record, dict) or not record.keys() >= set(needed):
        raise ValueError(
            f"{path} is no record of this project: it should hold {[*needed]}. Delete it and run "
            "again"
        )
    return record


def read_json(path):
    """Read a JSON file; a ValueError names the file when it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}); delete it and run again"
        ) from error
