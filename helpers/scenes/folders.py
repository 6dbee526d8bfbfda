"""Folders of images as a source of ground: with a manifest, or as they are."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_bounds

from helpers.scenes.files import read
from helpers.scenes.ground import SPLITS, refuse_overlap, split_ground

IMAGE_SUFFIXES = {".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"}


def read_ground(folder, *, role="image", block_px, guard_px, seed=0):
    """Read a folder of images, split by ground.

    With a `manifest.csv` (columns `path`, `role`, `split`, `west` … `crs`, `credit`) its rows of `role` are read, and
    its split is kept where every row has one. Without, all images of the folder are read in the order of their names.
    Images of at least `block_px` are split by `split_ground`; smaller tiles whole, by place where it is known, by
    name where not (and that is said).

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files with equal bands.
        role: which rows of the manifest to read.
        block_px, guard_px: side of a block of ground and width of the band left out between blocks, pixels.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: no folder, no image in it, images whose bands differ, or too little ground.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is neither the name of a pack nor a folder")
    table = folder / "manifest.csv"
    scenes, splits = _read_manifest(table, role) if table.exists() else (_read_all(folder), [])
    if len({scene.bands for scene in scenes}) > 1:
        raise ValueError(f"the images of {folder} have different bands: {sorted({scene.bands for scene in scenes})}")
    if splits and set(splits) == set(SPLITS):
        ground = {split: [s for s, of in zip(scenes, splits, strict=True) if of == split] for split in SPLITS}
        refuse_overlap(ground)
        return ground
    if any(min(scene.height, scene.width) >= block_px for scene in scenes):
        return split_ground(scenes, block_px=block_px, guard_px=guard_px, seed=seed)
    return _split_tiles(scenes, guard_px, seed)


def _read_all(folder):
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        wanted = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{folder} holds no image; expected {wanted}, or a manifest.csv. It holds: {there}")
    return [read(path) for path in files]


def _read_manifest(table, role):
    import pandas

    rows = pandas.read_csv(table, dtype=str, keep_default_na=False)
    missing = {"path", "role"} - set(rows.columns)
    if missing:
        raise ValueError(f"{table} has no column {', '.join(sorted(missing))}; it has {', '.join(rows.columns)}")
    rows = rows[rows.role == role].sort_values("path")
    if rows.empty:
        raise ValueError(f"{table} has no row of role {role!r}")
    scenes = [
        _placed(read(table.parent / row["path"], credit=row.get("credit", "")), row) for _, row in rows.iterrows()
    ]
    return scenes, [row.get("split", "") for row in rows]


def _placed(scene, row):
    """The place that the manifest gives, for a picture that cannot hold one itself."""
    edges = [row.get(edge, "") for edge in ("west", "south", "east", "north")]
    if scene.transform is not None or not all(edges) or not row.get("crs"):
        return scene
    transform = from_bounds(*map(float, edges), scene.width, scene.height)
    return replace(scene, transform=transform, crs=CRS.from_user_input(row["crs"]))


def _split_tiles(tiles, guard_px, seed):
    """Whole tiles to splits: cells of 4 x 4 tiles where their place is known, runs of names where not."""
    if len(tiles) < 3:
        raise ValueError(f"{len(tiles)} tiles are too few to train, validate and test on different ground; at least 3")
    shares = np.array([0.7, 0.8])
    if any(tile.bounds is None or tile.crs is None for tile in tiles):
        warnings.warn(
            "the tiles do not say where they lie: they are split by name, so that neighbours may stand on both sides "
            "of the split and the scores may flatter. A manifest.csv with bounds mends that",
            stacklevel=3,
        )
        cells = np.arange(len(tiles))
    else:
        boxes = np.array([tile.bounds for tile in tiles])
        size = 4 * (boxes[:, 2] - boxes[:, 0]).max()
        centres = np.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]], axis=-1) / 2
        _, cells = np.unique(np.floor(centres / size), axis=0, return_inverse=True)
        cells = np.random.default_rng(seed).permutation(cells.max() + 1)[cells.ravel()]
    order = np.argsort(cells, kind="stable")
    ends = np.searchsorted(cells[order], shares * (cells.max() + 1))
    ends = np.clip(ends, [1, 2], [len(tiles) - 2, len(tiles) - 1])
    ground = {
        split: [tiles[i] for i in sorted(part)] for split, part in zip(SPLITS, np.split(order, ends), strict=True)
    }
    return _without_contact(ground, guard_px)


def _without_contact(ground, guard_px):
    """Drop the training and validation tiles that come nearer than the guard to a tile of a later split."""

    def box(tile):
        west, south, east, north = tile.bounds
        guard = guard_px * abs(tile.transform.a) / 2
        return west - guard, south - guard, east + guard, north + guard

    def meets(a, b):
        return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

    if any(tile.bounds is None for tiles in ground.values() for tile in tiles):
        return ground
    kept, later = {}, []
    for split in reversed(SPLITS):
        kept[split] = [tile for tile in ground[split] if not any(meets(box(tile), other) for other in later)]
        later += [box(tile) for tile in kept[split]]
    empty = [split for split in SPLITS if not kept[split]]
    if empty:
        raise ValueError(f"no tile is left for {empty[0]} after the guard of {guard_px} pixels; acquire a larger area")
    return {split: kept[split] for split in SPLITS}
