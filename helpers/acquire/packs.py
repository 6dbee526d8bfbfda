"""Fetch and open the embedded sample packs: real imagery inside packages of the package index.

`data/packs.toml` lists what each pack holds. `fetch` gets it, verified; `open_scene` opens it;
`credits` gives the credit lines.
"""

import difflib
import hashlib
import tarfile
import tomllib
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from zipfile import ZipFile

from helpers import paths, scenes
from helpers.acquire.manifest import placed

CACHE = "SATELLITE_NOTEBOOKS_CACHE"


@lru_cache
def catalogue():
    """Return the packs of data/packs.toml: dict from name to what is listed there.

    Each has name, description, licence and credit, for people; `archive`, the package file that
    holds it, with requirement, file, bytes, sha256; `prefix`, the folder inside it; `members`, dict
    from file name to (bytes, SHA-256), the only files that are unpacked; `scenes`, dict from scene
    name to its files, bands and what the files do not say themselves, empty where they are no
    imagery; and `main`, the names of the scenes that `open_scenes` opens.
    """
    listed = tomllib.loads(
        (paths.ROOT / "data" / "packs.toml").read_text(encoding="utf-8")
    )
    packs = {}
    for name, values in listed["packs"].items():
        pack = SimpleNamespace(name=name, main=[*values["scenes"]])
        vars(pack).update(values)
        pack.archive = SimpleNamespace(**listed["archives"][pack.archive])
        packs[name] = pack
    return packs


def folder(name):
    """Return the Path of the folder that holds the files of a pack once they are fetched."""
    return paths.DATA / "packs" / name


def missing(name, *, verify=False):
    """List members of a pack that are absent, or of another size or, with `verify`, SHA-256."""
    return [
        member
        for member, (size, sha256) in _pack(name).members.items()
        if not _is_whole(folder(name) / member, size, verify and sha256)
    ]


def fetch(names=None, from_folder=None):
    """Make packs complete and sound. A complete pack makes no request. Nothing is installed.

    The package file is taken from `from_folder`; without one from the cache folder (the variable
    SATELLITE_NOTEBOOKS_CACHE, or the system's), or from the package index of the user's pip.

    Args:
        names: of the packs; default: all.
        from_folder: folder that holds the package files, for a classroom without internet.

    Raises:
        ValueError: an unknown pack, or a file that is not the pinned one.
        FileNotFoundError: the folder has no whole package file.
        OSError: not enough room on the disk, or no source has the file after several tries.
    """
    for pack in map(_pack, names or catalogue()):
        absent = missing(pack.name, verify=True)
        if absent:
            room = sum(pack.members[member][0] for member in absent)
            paths.require_space(folder(pack.name), pack.archive.bytes + room)
            _unpack(pack, absent, _archive(pack.archive, from_folder))
        new = f"{len(absent)} of {len(pack.members)} files are new"
        print(f"{pack.name}: complete, {new}. {pack.credit}")


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
    scene = scenes.stack(
        [
            scenes.read(member_path(pack, file), nodata=listed.get("nodata"))
            for file in listed["files"]
        ]
    )
    scene = replace(scene, bands=tuple(listed["bands"]), name=f"{pack} {name}")
    if "crs" in listed:  # the file's own is missing, or wrong
        scene = replace(scene, transform=None)
    scene = placed(scene, listed | {"credit": entry.credit})
    return scene if bands is None else scene.select(bands)


def open_scenes(pack, bands=None):
    """Open the main scenes of a pack, which share grid and bands; dates come in order."""
    return [open_scene(pack, name, bands) for name in _pack(pack).main]


def member_path(pack, file):
    """Return the Path of a fetched file by its name in packs.toml.

    Raises:
        ValueError: no file of the pack has that name (names the nearest).
        FileNotFoundError: it is not fetched, or not whole (says the command).
    """
    size, _ = _look_up(file, _pack(pack).members, f"file of {pack}")
    path = folder(pack) / file
    if not _is_whole(path, size):
        raise FileNotFoundError(
            f"{path} is missing or damaged. Get it with: python -m helpers fetch {pack}"
        )
    return path


def credits(names):
    """Return the credit lines of packs, each once, in order."""
    return list(dict.fromkeys(catalogue()[name].credit for name in names))


def _pack(name):
    return _look_up(name, catalogue(), "pack")


def _look_up(name, known, kind):
    if name in known:
        return known[name]
    [nearest] = difflib.get_close_matches(str(name), known, n=1, cutoff=0)
    raise ValueError(f"there is no {kind} {name!r}; the nearest is {nearest!r}")


def file_sha256(path):
    """Return the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(path, size, sha256=""):
    whole = path.is_file() and path.stat().st_size == size
    return whole and (not sha256 or sha256 == file_sha256(path))


def _archive(archive, from_folder):
    """Path of the package file, verified: in the folder given, or fetched into the cache."""
    import pooch

    from helpers.acquire import package_index

    if from_folder:
        path = Path(from_folder).expanduser() / archive.file
        if _is_whole(path, archive.bytes, archive.sha256):
            return path
        raise FileNotFoundError(
            f"a whole {archive.file} is not in {from_folder}. Copy it there, or fetch without a "
            "folder on a computer with internet"
        )
    pooch.get_logger().setLevel("WARNING")
    store = pooch.create(
        pooch.os_cache("satellite-notebooks"),
        base_url="",
        registry={archive.file: archive.sha256},
        env=CACHE,
        retry_if_failed=3,
    )
    found = store.fetch(
        archive.file, downloader=partial(package_index.download, archive)
    )
    return Path(found)


def _unpack(pack, absent, archive):
    """Verify absent members, and put each into its place."""
    tar = archive.suffix == ".gz"
    with tarfile.open(archive) if tar else ZipFile(archive) as opened:
        read = opened.extractfile if tar else opened.open
        for member in absent:
            data = read(pack.prefix + member).read()
            if [len(data), hashlib.sha256(data).hexdigest()] != pack.members[member]:
                raise ValueError(
                    f"{archive} holds no {member} with the pinned size and SHA-256"
                )
            with paths.atomic(folder(pack.name) / member) as part:
                part.write_bytes(data)
