"""Know where things live, and write files so that nothing half-written has a final name."""

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
        OSError: the disk is full, or the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        if durable:
            to_disk(temporary)
        os.replace(temporary, path)
    except OSError:
        require_space(path.parent, 1e6)  # libraries do not say that the disk is full
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def claimed(path, what):
    """Keep other processes from doing the same: by SQLite's lock, which a killed process frees.

    Args:
        path: of the lock file; it is removed at the end.
        what: for the message, such as "sweep mine is running already".

    Raises:
        ValueError: another process has claimed it.
        OSError: the folder cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()  # SQLite does not say why it cannot
    with closing(sqlite3.connect(path, timeout=0)) as lock:
        try:
            lock.execute("begin exclusive")
            path.stat()  # its last holder may just have removed it
        except (sqlite3.DatabaseError, FileNotFoundError):
            raise ValueError(
                f"{what}: wait until it ends, or choose another name"
            ) from None
        try:
            yield
        finally:
            with suppress(PermissionError):  # Windows removes no open file
                path.unlink()


def to_disk(path):
    """Have the system write a file to the disk before this goes on."""
    with open(path, "rb+") as handle:
        os.fsync(handle.fileno())


def require_space(folder, size):
    """Refuse early, before anything is downloaded or computed, what would not fit on the disk.

    Args:
        folder: Path where the bytes will go; need not exist yet.
        size: bytes needed.

    Raises:
        OSError: less than `size` is free (says both numbers).
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            f"the disk is full: {size / 1e6:.0f} MB are needed in {folder}, {free / 1e6:.0f} MB "
            "free. Make room, run again"
        )


def write_text(path, text):
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write a JSON file atomically, keys in the order given."""
    write_text(
        path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def read_json(path, needed=()):
    """Read a JSON file; a ValueError names it when it is not JSON or lacks what is needed."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        [record[name] for name in needed]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not valid JSON, or lacks an entry ({error}); mend or delete it, run again"
        ) from error
    return record
