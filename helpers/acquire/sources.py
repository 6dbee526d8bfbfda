"""Open a notebook's `source`: the name of a pack, a folder of images, or one image."""

from pathlib import Path

from helpers import paths, scenes
from helpers.acquire import packs


def open_ground(source, *, bands=None, **split):
    """Open imagery, split by ground.

    Args:
        source: name of a pack; or path of an image, or of a folder as `scenes.read_ground` reads
            it, from the working folder, the data folder or the project's root.
        bands: which bands, in which order; default: all.
        split: `block_px`, `seed`, and `buffer_px` (16), as `scenes.split_ground` takes them.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: neither a pack nor a path, or too little ground.
    """
    split = {"buffer_px": 16} | split
    if source in packs.catalogue():
        return scenes.split_ground(packs.open_scenes(source, bands), **split)
    ground = scenes.read_ground(locate(source), **split)
    if not bands:
        return ground
    return {
        name: [scene.select(bands) for scene in found] for name, found in ground.items()
    }


def locate(source):
    """Return the Path of an image or a folder; looks in the working, data and project folder."""
    for place in (Path(source).expanduser(), paths.DATA / source, paths.ROOT / source):
        if place.exists():
            return place
    known = ", ".join(packs.catalogue())
    raise ValueError(
        f"source {source!r} is neither a pack ({known}) nor a path that exists"
    )
