"""Ground photos: where they were taken, which of them show a landscape, and the satellite patch that goes with each.

`read_folder` → `judge` → look at the `contact_sheet` → `overrule` → `pair_with_patches`. No photo is uploaded; faces
are counted, not recognised. Only positions leave the computer, where a provider is asked for the patches around them.
"""

import difflib
import math
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from helpers import paths
from helpers.acquire import download, pictures, progress

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".heic", ".heif"}
FROM_MANIFEST = ("source", "scene", "credit", "licence", "url")
UNKNOWN = {
    "lon": math.nan, "lat": math.nan, "heading_deg": math.nan, "heading_reference": "", "time": "",
    "width": math.nan, "height": math.nan,
}  # fmt: skip
UNJUDGED = dict.fromkeys(("sharpness", "brightness", "faces", "people"), math.nan)
UNJUDGED |= dict.fromkeys(("scene_class", "duplicate_of", "note"), "")
REJECTED, KEPT = "#BB5566", "#004488"  # Paul Tol's, for colour-blind readers too


def read_folder(folder):
    """List the photos in a folder and below it, with what EXIF says, and a `manifest.csv` where EXIF says nothing.

    Args:
        folder: of JPEG, PNG, TIFF or WebP files; what the manifest lists under another role than photo is left out.

    Returns:
        DataFrame sorted by path: path; lon, lat in degrees, NaN where unknown (also at 0, 0, which cameras without a
        fix write); heading_deg, clockwise from north, and heading_reference "true" or "magnetic"; time, ISO 8601, by
        the camera's clock; width, height in pixels, upright; source, scene, credit, licence, url; reason why a file
        cannot be read, or "".

    Raises:
        ValueError: no such folder, or no photo in it.
    """
    import pandas

    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected one with photos")
    listed = _listed(folder) if (folder / "manifest.csv").exists() else {}
    there = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    there = {path.as_posix() for path in there if not any(part.startswith(".") for part in path.parts)}
    names = there - set(listed) | {path for path, row in listed.items() if row["role"] == "photo"}
    if not names:
        raise ValueError(f"{folder} holds no photo; expected {', '.join(sorted(SUFFIXES))}")
    return pandas.DataFrame([_described(folder, path, listed.get(path, {})) for path in sorted(names)])


def judge(
    table, folder, *, least_side_px=256, least_sharpness=15, least_brightness=50, most_alike_bits=24, most_faces=0,
    most_people=0, classify=None, scenes=(),
):  # fmt: skip
    """Say of each photo what speaks against it as a picture of a landscape, with the numbers behind it.

    `helpers.pairs.scene_classes` tells landscapes from other scenes; a classifier of your own can be given as well.

    Args:
        table: from `read_folder`; earlier judgements in it are forgotten.
        folder: that the table's paths are relative to.
        least_side_px: a shorter side below this is too small.
        least_sharpness: below this, blurred; see `pictures.sharpness`.
        least_brightness: night, if 90 % of the pixels are darker than this, 0..255.
        most_alike_bits: of 256 in which the difference hashes of a photo and a copy of it may differ. The first by path
            is kept, of those that nothing else speaks against.
        most_faces, most_people: in one photo; None: not looked for, and OpenCV is not needed.
        classify: function from uint8 (height, width, 3), at most 640 px wide, to the name of the scene.
        scenes: the names that are wanted; default: all.

    Returns:
        A copy with the columns sharpness, brightness, faces, people, scene_class, duplicate_of, note, and reason: ""
        where the photo is kept, else all that speaks against it, joined by "; ".

    Raises:
        ImportError: OpenCV is missing or, as version 5, has neither detector (says what to install).
        ValueError: `scenes` without `classify`.
    """
    import pandas

    if scenes and not classify:
        raise ValueError(f"scenes={scenes!r} are wanted, but classify=None: give the function that names a scene")
    scenes = (scenes,) if isinstance(scenes, str) else tuple(scenes)
    unwanted = f"not {' or '.join(map(str, scenes))}" if len(scenes) < 4 else f"none of the {len(scenes)} wanted"
    count = pictures.people_counter(most_faces is not None, most_people is not None)
    photos, hashes = table.to_dict("records"), {}
    for photo in progress.bar(photos, desc="photos", unit="photo"):
        photo |= UNJUDGED
        try:
            picture = pictures.small_copy(Path(folder) / photo["path"])
        except OSError as error:
            photo["reason"] = pictures.unreadable(error)
            continue
        sharpness, brightness = pictures.sharpness(picture), pictures.brightness(picture)
        faces, people = count(picture)
        photo |= {"sharpness": sharpness, "brightness": brightness, "faces": faces, "people": people}
        photo["scene_class"] = scene = classify(np.asarray(picture)) if classify else ""
        side = min(photo["width"], photo["height"])
        rules = {
            "no position": math.isnan(photo["lon"] + photo["lat"]),
            f"too small: shorter side {side:.0f} px below {least_side_px}": side < least_side_px,
            f"blurred: sharpness {sharpness:.1f} below {least_sharpness}": sharpness < least_sharpness,
            f"night: brightness {brightness:.0f} below {least_brightness}": brightness < least_brightness,
            f"faces: {faces:.0f}, at most {most_faces}": faces > (most_faces or 0),  # NaN is never more
            f"people: {people:.0f}, at most {most_people}": people > (most_people or 0),
            f"scene: {scene}, {unwanted}": scenes and scene not in scenes,
        }
        reasons = [reason for reason, broken in rules.items() if broken]
        bits = pictures.difference_hash(picture)
        apart = {path: int(np.count_nonzero(bits != other)) for path, other in hashes.items()}
        nearest = min(apart, key=apart.get, default=None)
        if nearest and apart[nearest] <= most_alike_bits:
            photo["duplicate_of"] = nearest
            reasons.append(f"duplicate of {nearest}: {apart[nearest]} bits differ, a copy's at most {most_alike_bits}")
        if not reasons:
            hashes[photo["path"]] = bits
        photo["reason"] = "; ".join(reasons)
    return pandas.DataFrame(photos)


def overrule(table, *, keep=(), reject=()):
    """Keep photos that the rules reject, and reject what they keep, by hand.

    Args:
        table: from `judge`.
        keep, reject: paths, as the contact sheet shows them.

    Returns:
        A copy, whose column note says what was overruled.

    Raises:
        ValueError: an unknown path (names the nearest), or one that is both kept and rejected.
    """
    keep, reject = ([names] if isinstance(names, str) else list(names) for names in (keep, reject))
    known = list(table["path"])
    for path in (*keep, *reject):
        if path not in known:
            nearest = difflib.get_close_matches(path, known, n=1, cutoff=0)[0]
            raise ValueError(f"there is no photo {path!r} among the {len(known)}; the nearest is {nearest!r}")
        if path in keep and path in reject:
            raise ValueError(f"{path!r} is to be kept and to be rejected: take it out of one list")
    table = table.copy()
    for index, path, reason in table[["path", "reason"]].itertuples():
        if path in keep and reason:
            table.loc[index, ["reason", "note"]] = "", f"kept by hand, although {reason}"
        elif path in reject:
            reasons = "; ".join(filter(None, ("by hand", reason)))
            table.loc[index, ["reason", "note"]] = reasons, "rejected by hand"
    return table


def contact_sheet(table, folder, *, columns=4, most=48):
    """Draw the photos, each with its name and what was decided, to be overruled by hand.

    Args:
        table: from `judge` or `overrule`, or a part of it, as `table[48:]` or `table[table.reason != ""]`.
        folder: that its paths are relative to.
        columns: photos side by side.
        most: photos on the sheet.

    Returns:
        Matplotlib figure.
    """
    import matplotlib.pyplot as plt

    shown, rejected = table[:most], int((table["reason"] != "").sum())
    rows, size_in = max(1, -(-len(shown) // columns)), 10 / columns
    letters = int(size_in * 72 / 4.6)  # a letter is about 0.58 of its 8 points wide
    credit = " · ".join(filter(None, dict.fromkeys(shown["credit"])))
    credit = textwrap.fill(textwrap.shorten(credit, 600, placeholder=" … and others, see the column credit"), 150)
    height = rows * (0.75 * size_in + 0.6) + 0.4 + 0.15 * len(credit.splitlines())
    figure, axes = plt.subplots(rows, columns, figsize=(10, height), squeeze=False, layout="constrained")
    plt.close(figure)
    others = f" (shown: the first {most})" if len(table) > most else ""
    title = f"{len(table)} photos: {len(table) - rejected} kept, {rejected} rejected{others}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.supxlabel(credit, x=0.99, ha="right", fontsize=8, color="#555555")
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    for ax, photo in zip(axes.flat, shown.to_dict("records"), strict=False):
        try:
            picture = pictures.small_copy(Path(folder) / photo["path"])
        except OSError:
            picture = np.full((3, 4, 3), 225, np.uint8)
        colour = REJECTED if photo["reason"] else KEPT
        ax.imshow(picture, alpha=0.4 if photo["reason"] else 1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color=colour, linewidth=2)
        seen = f" ({photo['scene_class']})" if photo["scene_class"] else ""
        said = f"REJECTED {photo['reason']}" if photo["reason"] else f"KEPT{seen}{photo['note'][4:]}"
        name = photo["path"] if len(photo["path"]) <= letters else f"…{photo['path'][1 - letters :]}"
        lines = textwrap.wrap(said, letters, max_lines=2, placeholder=" …")
        ax.set_title("\n".join([name, *lines]), fontsize=8, color=colour, loc="left", parse_math=False)
    return figure


def pair_with_patches(table, provider, folder, *, photos=None, width_m=6000, size_px=128):
    """Make a data set folder of the photos that are kept, each with the satellite patch around its position.

    The manifest gets two rows for each, with the roles photo and satellite and an equal `pair`; `photos.csv` beside it
    gets the whole table, and joins it by `pair`. What is not an upright JPEG, PNG or TIFF in colour is stored as such,
    as no reader of images turns it. Run again, it fetches what is missing, and takes apart what is rejected by now.

    Args:
        table: from `judge` or `overrule`.
        provider: from `providers.connect`, one that has imagery at any place.
        folder: the data set folder.
        photos: folder that the table's paths are relative to, if it is another; its photos are copied.
        width_m: ground that a patch shows, metres.
        size_px: side of a patch, pixels.

    Returns:
        Summary, whose `skipped` also names, by reason, the photos that were not paired.

    Raises:
        ValueError: no photo is kept, or the provider has no imagery.
        PermissionError: the provider's key was refused or has expired; what is done stays.
    """
    folder, source, items, rows, failed = Path(folder), Path(photos or folder), {}, {}, {}
    pairs = {path: path if photos is None else f"photo/{path}" for path in table["path"]}
    if (table["reason"] != "").all():
        raise ValueError(f"none of the {len(table)} photos is kept: see the column reason, or use overrule(keep=…)")
    if not hasattr(provider, "patch"):
        raise ValueError(f"{provider} has no imagery to cut patches from; connect a source of tiles, as eox or gsi")
    for photo in table[table["reason"] == ""].to_dict("records"):
        lon, lat, pair = photo["lon"], photo["lat"], pairs[photo["path"]]
        try:
            if math.isnan(lon + lat):
                raise ValueError("no position")
            patch = provider.patch(lon, lat, width_m=width_m, size_px=size_px)
            path = _place(source / photo["path"], folder, pair)
        except (OSError, ValueError) as error:
            failed[photo["path"]] = str(error)
            continue
        name = f"satellite/{pair.removeprefix('photo/')}{PurePosixPath(patch.name).suffix}"
        items[name] = replace(patch, name=name, row=patch.row | {"pair": pair, "role": "satellite"})
        place = {"west": lon, "south": lat, "east": lon, "north": lat, "crs": "EPSG:4326"}
        known = {column: photo[column] for column in (*FROM_MANIFEST, "time")}
        rows[name] = {"path": path, "pair": pair, "role": "photo"} | known | place
    try:
        summary = download.fetch(items.values(), folder, provider.client, total=len(items))
    finally:  # also where it was stopped: no patch stays without its photo
        paired = _join(folder, items, rows, set(pairs.values()))
        joined = table.assign(pair=[pairs[path] if pairs[path] in paired else "" for path in table["path"]])
        paths.write_text(folder / "photos.csv", joined.to_csv(index=False, lineterminator="\n"))
    for path, reason in failed.items():
        summary.skip(path, reason)
    return summary


def _listed(folder):
    """The manifest: dict from path to row."""
    return {row["path"]: row for row in download.read_manifest(folder).to_dict("records")}


def _described(folder, path, listed):
    """A row of the table: what the file says, completed by its row in the manifest."""
    row = {"path": path} | UNKNOWN | {name: listed.get(name, "") for name in FROM_MANIFEST} | {"reason": ""}
    try:
        with pictures.opened(folder / path) as picture:
            row |= pictures.tags(picture)
    except OSError as error:
        row["reason"] = pictures.unreadable(error)
    if listed and math.isnan(row["lon"]) and listed["west"] == listed["east"]:
        row |= {"lon": listed["west"], "lat": listed["south"]}
    row["time"] = row["time"] or listed.get("time", "")
    return row


def _place(source, folder, pair):
    """Path of the photo in the data set folder, where it is put unless it lies there."""
    from PIL import ImageOps
    from PIL.ExifTags import Base

    with pictures.opened(source) as picture:
        turned = picture.getexif().get(Base.Orientation, 1) != 1
        if turned or picture.mode != "RGB" or picture.format not in ("JPEG", "MPO", "PNG", "TIFF"):
            upright = ImageOps.exif_transpose(picture)
            with paths.atomic(folder / f"{pair}.upright.jpg") as temporary:
                upright.convert("RGB").save(temporary, "JPEG", quality=95, exif=upright.getexif())
            return f"{pair}.upright.jpg"
    if source != folder / pair:
        with paths.atomic(folder / pair) as temporary:
            shutil.copyfile(source, temporary)
    return pair


def _join(folder, items, rows, pairs):
    """Write the rows of photos whose patches are there, and take others of `pairs` apart. Returns those joined."""
    listed = _listed(folder)
    there = [name for name, item in items.items() if name in listed and listed[name]["url"] == item.url]
    new = [listed[name] | {"pair": rows[name]["pair"]} for name in there]
    new += [rows[name] | {"sha256": paths.sha256(folder / rows[name]["path"])} for name in there]
    joined = {row["pair"] for row in new}
    apart = [row | {"pair": ""} for row in listed.values() if row["pair"] in pairs - joined]
    download.write_manifest(folder, new + apart)
    return joined
