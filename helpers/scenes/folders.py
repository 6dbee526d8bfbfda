"""Folders of images as a source of ground: with a manifest, or as they are; and the split that a manifest keeps."""

import filecmp
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import from_bounds
from rasterio.warp import transform_bounds

from helpers.paths import write_text
from helpers.scenes.files import read, refuse_classes
from helpers.scenes.ground import SPLITS, held_out, outlines, refuse_overlap, split_ground
from helpers.scenes.values import collar, misfit

IMAGE_SUFFIXES = {".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg"}
ANOTHER_UNIT = 300  # dark water and snow differ by far less, reflectance and digital numbers by more
EDGES = ["west", "south", "east", "north"]
# in place of a split: too near to the ground of another, ground that another row shows, a partner that is missing
LEFT_OUT = ("guard", "copy", "unpaired")


def read_ground(folder, *, role="image", block_px, guard_px, seed=0):
    """Read a folder of images, split by ground.

    Of a `manifest.csv` (columns `path`, `role`, `pair`, `split`, `west` … `crs`, `credit`) the rows of `role` are read,
    sorted by `pair`, and the split is kept (`split_manifest` writes one); else all images, sorted by name. Images so
    large that each holds a block of the grid wherever it lies are split by `split_ground`; smaller tiles whole, by
    place where it is known, by name where not (and that is said).

    Args:
        folder: of GeoTIFF, JPEG 2000, PNG or JPEG files with equal bands.
        role: which rows of the manifest to read.
        block_px, guard_px: side of a block of ground and width of the band left out between blocks, pixels.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test" to a list of Scene.

    Raises:
        ValueError: no folder, no image in it, images whose bands differ, too little ground, or a manifest that cannot
            be read, or whose split is incomplete or shows ground twice.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is neither the name of a pack nor a folder")
    table = folder / "manifest.csv"
    scenes, splits = _read_manifest(table, role) if table.exists() else (_read_all(folder), [])
    _refuse_mixture(folder, scenes)
    look_at_values(folder, scenes)
    if any(splits):
        if set(splits) != set(SPLITS):
            there = ", ".join(repr(split) for split in sorted(set(splits)))
            raise ValueError(
                f"{table} has the splits {there}; expected {', '.join(SPLITS)} in every row, or none at all"
            )
        ground = {split: [s for s, of in zip(scenes, splits, strict=True) if of == split] for split in SPLITS}
        refuse_overlap(ground)
        return ground
    sides = [min(scene.height, scene.width) for scene in scenes]
    if len(scenes) < len(SPLITS) or max(sides) >= 2 * block_px + guard_px:
        return split_ground(scenes, block_px=block_px, guard_px=guard_px, seed=seed)
    return _split_tiles(scenes, guard_px, seed)


def _read_all(folder):
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    files = [path for path in files if not path.name.startswith(".") and not path.is_dir()]
    if not files:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        wanted = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{folder} holds no image; expected {wanted}, or a manifest.csv. It holds: {there}")
    _refuse_copies(folder, files)
    return [_imagery(path) for path in files]


def _imagery(path, credit=""):
    """Read an image; a map of classes is refused."""
    refuse_classes(path)
    return read(path, credit=credit)


def _refuse_copies(folder, files):
    """Raise a ValueError where a folder holds one image twice: by name, or byte by byte."""
    stems, contents = {}, {}
    for path in files:
        twin = stems.setdefault(path.stem.lower(), path)
        if twin is path and path.exists():
            size = path.stat().st_size
            alike = [other for other in contents.get(size, ()) if filecmp.cmp(other, path, shallow=False)]
            twin = alike[0] if alike else path
            contents.setdefault(size, []).append(path)
        if twin is not path:
            raise ValueError(
                f"{folder} holds one image twice, {twin.name} and {path.name}: they could train and test on "
                "the same ground. Keep one of each"
            )


def _refuse_mixture(folder, scenes):
    """Raise a ValueError that lists the kinds, where a folder is no single data set."""
    kinds = []
    for scene in scenes:
        what, size = _kind(scene)
        for other, other_size, names in kinds:
            if other == what and abs(size - other_size) <= 0.01 * other_size:
                names.append(scene.name)
                break
        else:
            kinds.append((what, size, [scene.name]))
    if len(kinds) > 1:
        kinds.sort(key=lambda kind: -len(kind[2]))
        told = [f"{len(names)} of {what} {size:.6g} ({', '.join(names[:3])})" for what, size, names in kinds]
        raise ValueError(
            f"{folder} holds several kinds of images: {'; '.join(told)}. Keep those of one kind, or put "
            "each kind in a folder of its own"
        )


def _kind(scene):
    """Describe what the images of a data set share; returns that and the pixel size."""
    place, size = "without a place, pixels", 1.0
    if scene.transform is not None:
        unit = " of degrees" if scene.crs and scene.crs.is_geographic else ""
        place = f"placed{'' if scene.crs else ' without CRS'}, pixels{unit}"
        size = float(np.hypot(scene.transform.a, scene.transform.d))
    return f"{len(scene.bands)} bands {' '.join(scene.bands)}, {scene.dtype}, {place}", size


def look_at_values(folder, scenes):
    """Look at the values of images before they train.

    Args:
        folder: where they come from, for the message.
        scenes: list of Scene.

    Raises:
        ValueError: an image is on another scale than the rest. Collars without data are named in a warning.
    """
    samples = [_thinned(scene) for scene in scenes]
    framed = {}
    for scene, values in zip(scenes, samples, strict=True):
        edges = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])
        found = collar(edges, values) if scene.nodata is None and np.isfinite(values).all() else None
        if found:
            framed.setdefault(found[0], []).append(scene.name)
    for value, names in framed.items():
        warnings.warn(
            f"{len(names)} images of {folder} are {value:g} in all bands along their edges, and declare no "
            f"such value as no data ({', '.join(names[:3])}): it counts as image. Declare it if it is none: "
            f"rio edit-info --nodata {value:g} FILE",
            stacklevel=4,
        )
    flat = [values.reshape(-1, len(scene.bands)) for scene, values in zip(scenes, samples, strict=True)]
    ranges = np.array([np.nanpercentile(each, (0.5, 99.5), axis=0).T for each in flat if np.isfinite(each).any()])
    usual = np.median(ranges, axis=0) if len(ranges) > 1 else ()
    for scene, values in zip(scenes, flat, strict=True):
        if len(usual) and (usual[:, 1] > usual[:, 0]).all() and misfit(values, usual, ANOTHER_UNIT):
            raise ValueError(
                f"{scene.name} has values up to {np.nanmax(values):.4g}, most images of {folder} up to "
                f"{usual.max():.4g}: reflectance and digital numbers mixed? Rescale it, or take it out"
            )


def _thinned(scene):
    step = max(1, min(scene.height, scene.width) // 200)
    return scene.pixels[::step, ::step]


def read_table(path):
    """Read a CSV file of texts as people save it: with BOM, blanks after commas, CRLF.

    Raises:
        ValueError: it is no table.
    """
    import pandas

    try:
        rows = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except ValueError as error:
        raise ValueError(f"{path} is no table with commas ({error})") from error
    rows.columns = rows.columns.str.strip()
    return rows.apply(lambda column: column.str.strip())


def _read_manifest(table, role):
    rows = read_table(table)
    missing = {"path", "role"} - set(rows.columns)
    if missing:
        raise ValueError(f"{table} has no column {', '.join(sorted(missing))}; it has {', '.join(rows.columns)}")
    roles, order = sorted(set(rows.role)), [name for name in ("pair", "path") if name in rows]
    rows = rows[rows.role == role].sort_values(order).to_dict("records")
    if not rows:
        raise ValueError(f"{table} has no row of role {role!r}; it has {', '.join(map(repr, roles)) or 'no row'}")
    rows = [row for row in rows if row.get("split") not in LEFT_OUT]
    scenes = [_placed(_imagery(table.parent / row["path"], row.get("credit", "")), row) for row in rows]
    return scenes, [row.get("split", "") for row in rows]


def _placed(scene, row):
    """The place that the manifest gives, for a picture that cannot hold one itself."""
    edges = [row.get(edge, "") for edge in EDGES]
    if scene.transform is not None or not all(edges) or not row.get("crs") or edges[0] == edges[2]:  # a point: a photo
        return scene
    try:
        transform = from_bounds(*map(float, edges), scene.width, scene.height)
        return replace(scene, transform=transform, crs=CRS.from_user_input(row["crs"]))
    except ValueError as error:
        raise ValueError(f"the manifest gives {row['path']} no place that can be read ({error})") from error


def split_manifest(folder, *, guard=1 / 16, seed=0):
    """Split a data set folder by ground, and write the split into its manifest.

    Rows that share a `pair` stay together. Cells of several images go whole to train, validation or test. What lies
    nearer to the ground of a later split than `guard` gets the split "guard"; what has role and bounds of an earlier
    row, as where scenes overlap, gets "copy", as ground that counts twice feigns certainty; where rows are
    paired, one without its partner gets "unpaired". `read_ground` leaves out all three.

    Args:
        folder: with a `manifest.csv` whose rows say where they lie (`west` … `crs`).
        guard: least distance between images of different splits, in image widths.
        seed: of the split.

    Returns:
        dict from "train", "validation", "test", "guard" to the number of pairs or images, and from "copy" and
        "unpaired" to that of images.

    Raises:
        ValueError: a row without a place, or too little ground for three splits.
    """
    import pandas

    table = Path(folder) / "manifest.csv"
    everything = read_table(table)
    roles = everything[everything.pair != ""].groupby("pair").role.agg(set)
    every = set().union(*roles) if len(roles) else set()
    partners = roles.index[[found == every for found in roles]]
    whole = everything.pair.isin(partners) if len(every) > 1 else everything.path != ""
    rows = everything[whole]
    lacking = rows.path[(rows[[*EDGES, "crs"]] == "").any(axis=1)]
    if len(lacking):
        raise ValueError(f"{table} does not say where {lacking.iloc[0]} lies: it cannot be split by ground")
    crs = next((crs for crs in rows.crs if not CRS.from_user_input(crs).is_geographic), rows.crs.iloc[0])
    placed = [
        transform_bounds(own, crs, *map(float, box)) for own, *box in rows[["crs", *EDGES]].itertuples(index=False)
    ]
    placed = pandas.DataFrame(placed, rows.index, EDGES)
    width = (placed.east - placed.west).max()
    first = ~(placed / (width or 1)).round(6).assign(role=rows.role).duplicated()
    groups = rows.pair.where(rows.pair != "", rows.path)
    boxes = placed[first].groupby(groups[first]).agg({"west": "min", "south": "min", "east": "max", "north": "max"})
    guards, split = guard * (boxes.east - boxes.west), pandas.Series("guard", boxes.index)
    for name, members in zip(SPLITS, _split_boxes(boxes.to_numpy(), guards.to_numpy(), seed), strict=True):
        split.iloc[members] = name
    everything["split"] = groups.map(split).where(first, "copy").reindex(everything.index, fill_value="unpaired")
    write_text(table, everything.to_csv(index=False, lineterminator="\n"))
    counts = {name: int((split == name).sum()) for name in (*SPLITS, "guard")}
    return counts | {"copy": int((~first).sum()), "unpaired": int((~whole).sum())}


def _split_tiles(tiles, guard_px, seed):
    """Whole tiles to splits: by place where it is known, runs of names where not."""
    if all(tile.transform is not None for tile in tiles) and len({tile.crs is None for tile in tiles}) == 1:
        edges = outlines(tiles)
        boxes = np.concatenate([edges.min(axis=1), edges.max(axis=1)], axis=1)
        pixels = [guard_px * (box[2] - box[0]) / tile.width for box, tile in zip(boxes, tiles, strict=True)]
        parts = _split_boxes(boxes, np.array(pixels), seed)
    else:
        warnings.warn(
            "the tiles do not say where they lie: they are split by name, so that neighbours may stand on both sides "
            "of the split and the scores may flatter. A manifest.csv with bounds mends that",
            stacklevel=3,
        )
        parts = _deal(np.arange(len(tiles)))
    return {split: [tiles[i] for i in sorted(part)] for split, part in zip(SPLITS, parts, strict=True)}


def _split_boxes(boxes, guards, seed):
    """Numbers of the boxes (west, south, east, north) that train, validate and test, with `guards` between them."""
    return _without_contact(_deal(_cells(boxes, seed)), boxes, guards)


def _deal(cells):
    """Numbers of the members of the first 70 % of cells, of the next 10 %, and of the last 20 %; at least one cell."""
    count = cells.max() + 1
    validation, test = held_out(count)
    order = np.argsort(cells, kind="stable")
    ends = np.searchsorted(cells[order], [count - validation - test, count - test])
    return np.split(order, ends)


def _cells(boxes, seed):
    """For each box the number of the cell that it lies in, in the order in which cells are dealt.

    Cells of 4 x 4 boxes, in random order. Where these are few, strips from edge to edge, which have less of a border:
    first those in the middle, so that validation and test lie at opposite ends.
    """
    centres, width = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max()
    places, cells = np.unique(np.floor(centres / (4 * width)), axis=0, return_inverse=True)
    if len(places) >= 16:
        return np.random.default_rng(seed).permutation(len(places))[cells.ravel()]
    longer = int(np.argmax(np.ptp(centres, axis=0)))
    places, cells = np.unique(np.floor(centres[:, longer] / width), return_inverse=True)
    if len(places) < 5:  # with one beside each end left out
        raise ValueError(
            f"the {len(boxes)} tiles lie so close together that they cannot be split; acquire a larger area"
        )
    if seed % 2:
        cells = len(places) - 1 - cells
    validation, test = held_out(len(places))
    order = np.r_[validation : len(places) - test, :validation, len(places) - test : len(places)]
    return np.argsort(order)[cells]


def _without_contact(parts, boxes, guards):
    """Drop the training and validation tiles that come nearer than the guard to a tile of a later split."""
    grown = boxes + guards[:, None] / 2 * [-1, -1, 1, 1]
    kept, later = [], np.empty((0, 4))
    for split, part in zip(reversed(SPLITS), reversed(parts), strict=True):
        apart = [not ((box[:2] < later[:, 2:]) & (later[:, :2] < box[2:])).all(axis=1).any() for box in grown[part]]
        kept.insert(0, part[apart])
        later = np.concatenate([later, grown[kept[0]]])
        if not len(kept[0]):
            raise ValueError(f"no image is left for {split} beside the guard; acquire a larger area")
    return kept
