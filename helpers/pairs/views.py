"""Pairs of a satellite patch and what is seen from its middle: rendered over real relief, or photos of a folder."""

import functools
import hashlib
import math
import os
import warnings
import zipfile
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from tqdm.auto import tqdm

from helpers import paths, relief
from helpers.acquire import packs
from helpers.backend import tf
from helpers.pairs import photo_views
from helpers.pairs.photo_views import Views, as_bytes, cut, read_views
from helpers.show import is_static

# Centres of patches, metres from the northern edge of the relief. A patch reaches 4.25 km from its centre however it is
# turned: 9 km apart none shares a pixel with another, and those of train and test lie 12 km apart, edge to edge.
STRIPES_M = {"test": (0, 9_000), "validation": (18_000, 20_500), "train": (29_500, math.inf)}
APART_M = {"test": 1000}  # least distance between two spots, so that each can be told from all others
CLIMB_M, AHEAD_M = (
    400,
    8000,
)  # how far people climb to see something; relief that every column of a view has ahead
EYE_M, PITCH_DEG = (
    20,
    -10,
)  # from a lookout tower, a little downwards: views then show more of what a patch shows
TURN_DEG = 5  # most between the headings of two renderings of one spot
# limits of the sun's azimuth and elevation, degrees, and of the range of sight in haze, km; when a spot is rendered
# again, light and air may be ones that its first rendering, and training, never have
WEATHER, OTHER_WEATHER = ((120, 230), (25, 55), (18, 40)), ((60, 300), (8, 65), (8, 60))
PATIENCE = 3000  # places tried in vain, one after the other, until the ground counts as full

Land = namedtuple("Land", "ground image transform")


def render(split, count, *, image_size=128, seed=0, again=False, workers=None):
    """Pairs of satellite patch and rendered view over the Rocky Mountains; never show them without saying "rendered".

    The relief (about 230 m a pixel) and the image (about 127 x 167 m) are real; small relief, texture, trees, clouds,
    sun and haze are invented. The observer stands on a lookout tower of 20 m at a high place nearby, and looks down
    rather than up.

    Patches of different splits share no pixel: those of train and test are at least 12 km apart, those of validation
    0.5 km from either. But mountains farther than 3 km away may be seen from several splits, as in reality.

    Args:
        split: "train", "validation" or "test"; test spots are at least 1 km apart.
        count: of pairs. The first ones are the same for any count.
        image_size: side of patches and views, pixels.
        seed: of spots, headings, weather and the invented ground, which all views share.
        again: render the same spots once more: other clouds, sun and haze within wider limits, heading up to 5 degrees
            away.
        workers: threads; the pairs do not depend on it. Default: one for each processor.

    Returns:
        Views: patches, uint8 (count, image_size, image_size, 3), 6 km wide, the viewing direction up; views, likewise;
        and table, a DataFrame with lon, lat, x_m and y_m (east and south of the relief's north-western corner),
        heading_deg, sun_azimuth_deg, sun_elevation_deg, haze_km, cloud_seed, split. Kept below `paths.DATA`.

    Raises:
        ValueError: another split, no pair, or more spots than there is room for (says how many there are).
    """
    path = paths.DATA / "views" / f"{split}_{count}_{image_size}px_{_key(split, count, image_size, seed, again)}.npz"
    table = spots(split, count, seed=seed, again=again)
    kept = _kept(path, count, image_size)
    if kept is None:
        land, rows = _land(), table.to_dict("records")

        def pair(row):
            patch = cut(land.image, row["lon"], row["lat"], row["heading_deg"], size_px=image_size)
            return as_bytes(patch), as_bytes(255 * _seen(land, row, image_size, seed))

        with ThreadPoolExecutor(workers or os.cpu_count()) as threads:
            found = tqdm(threads.map(pair, rows), f"rendering {split}", count, disable=is_static())
            kept = [np.stack(images) for images in zip(*found, strict=True)]
        with paths.atomic(path) as temporary:
            np.savez(temporary, patches=kept[0], views=kept[1])
    return Views(*kept, table)


def spots(split, count, *, seed=0, again=False):
    """Where the pairs of `render` are taken from, in what weather: its table, for the same arguments and errors."""
    if split not in STRIPES_M:
        raise ValueError(f"split is {split!r}; expected {', '.join(STRIPES_M)}")
    if count < 1:
        raise ValueError(f"count is {count}; expected at least one pair")
    (ground, _, transform), stripe, apart_m = _land(), STRIPES_M[split], APART_M.get(split, 0)
    heights, number = ground.shapes[0], list(STRIPES_M).index(split)
    wide, high = map(float, ground.pixel_size_m)
    size_m = heights.shape[1] * wide, heights.shape[0] * high
    random, places, rows, missed = np.random.default_rng([seed, number]), np.empty((0, 2)), [], 0
    while len(rows) < count:
        if missed == PATIENCE:
            raise ValueError(
                f"{count} {split} spots are wanted, but only {len(rows)} of them lie {apart_m} m from all others: ask "
                "for fewer"
            )
        x, y = random.uniform((0, stripe[0]), (size_m[0], min(stripe[1], size_m[1])))
        x, y, downhill = _lookout(heights, (wide, high), x, y)
        headings = (downhill + random.uniform(-50, 50, 8)) % 360
        red, _, blue = ground.image[:, int(y / high), int(x / wide)]
        dry = blue <= red or red + blue > 0.4  # water is dark and blue
        free = dry and stripe[0] < y < stripe[1] and (np.hypot(*(places - (x, y)).T) >= apart_m).all()
        heading = next((one for one in headings if free and _ahead(size_m, x, y, one) > AHEAD_M), None)
        missed = 0 if heading is not None else missed + 1
        if missed:
            continue
        weather = np.random.default_rng([seed, number, len(rows), again])
        heading += TURN_DEG * weather.uniform(-1, 1) if again else 0
        azimuth, elevation, haze = (weather.uniform(*limits) for limits in (OTHER_WEATHER if again else WEATHER))
        lon, lat = transform @ (x / wide, y / high)
        rows.append({
            "lon": lon, "lat": lat, "x_m": x, "y_m": y, "heading_deg": heading % 360,
            "sun_azimuth_deg": azimuth, "sun_elevation_deg": elevation, "haze_km": haze,
            "cloud_seed": int(weather.integers(2**31)), "split": split,
        })  # fmt: skip
        places = np.append(places, [(x, y)], axis=0)
    return pandas.DataFrame(rows)


def dataset(views, *, batch_size, steps, first_step=0, seed=0):
    """Training pairs in random order, half of them mirrored: what lies to the left is then to the left in both.

    Args:
        views: Views of training ground.
        batch_size, steps, first_step, seed: as of `pairs.patches.patches`.

    Returns:
        tf.data.Dataset of (patches, views), float32 (batch, height, width, 3), 0 to 1.

    Raises:
        ValueError: there are no pairs.
    """
    count = len(views.views)
    if not count:
        raise ValueError("there are no pairs to train on: render some, or read a folder that has some")
    pixels = tf.constant(views.patches), tf.constant(views.views)

    def sample(index):
        key = tf.stack([tf.cast(seed, tf.int64), index // count])
        which = tf.random.experimental.index_shuffle(index % count, key, max_index=count - 1)
        mirrored = tf.random.stateless_uniform([], tf.stack([tf.cast(seed, tf.int64), index])) < 0.5
        pair = (tf.cast(images[which], tf.float32) / 255 for images in pixels)
        return tuple(tf.cond(mirrored, lambda one=one: tf.reverse(one, [1]), lambda one=one: one) for one in pair)

    indices = tf.data.Dataset.range(first_step * batch_size, steps * batch_size)
    samples = indices.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return samples.batch(batch_size, drop_remainder=True).prefetch(2)


@functools.cache
def _land():
    """Land: the Rocky Mountains as `relief.view` takes them, the image for the patches, and the relief's transform."""
    dem, image = (packs.open_scene("rocky_mountain", name) for name in ("dem", "image"))
    *ground, transform = relief.aligned(dem, image)
    # white, as over-exposed snow is marked as pixels without data
    return Land(
        relief.ground(*ground),
        replace(image, pixels=np.nan_to_num(image.pixels, nan=255)),
        transform,
    )


def _lookout(heights, pixel_size_m, x, y):
    """The highest place within `CLIMB_M` of another, and the compass direction in which the ground around it falls."""
    (reach_x, reach_y), (wide, high) = (
        (round(CLIMB_M / size) for size in pixel_size_m),
        pixel_size_m,
    )
    top, left = max(0, int(y / high) - reach_y), max(0, int(x / wide) - reach_x)
    around = heights[top : int(y / high) + reach_y + 1, left : int(x / wide) + reach_x + 1]
    row, column = np.unravel_index(around.argmax(), around.shape)
    south, east = (float(slope.mean()) for slope in np.gradient(around, high, wide))
    return (
        (left + column + 0.5) * wide,
        (top + row + 0.5) * high,
        math.degrees(math.atan2(-east, south)),
    )


def _ahead(size_m, x, y, heading_deg):
    """Metres from a spot to the end of the relief, along the edge or the middle of a view, whichever is shorter."""
    found = []
    for angle in np.radians(heading_deg + np.array([-30, 0, 30])):
        way = np.sin(angle), -np.cos(angle)
        room = (size - at if w > 0 else at for w, at, size in zip(way, (x, y), size_m, strict=True))
        found += [part / max(abs(w), 1e-9) for part, w in zip(room, way, strict=True)]
    return min(found)


def _seen(land, row, image_size, seed):
    """The view from a row of the table, 0 to 1."""
    wide, high = land.ground.pixel_size_m
    drawn = ("heading_deg", "sun_azimuth_deg", "sun_elevation_deg", "haze_km", "cloud_seed")
    return relief.view(
        land.ground, column=row["x_m"] / wide, row=row["y_m"] / high, size_px=(image_size, image_size), eye_m=EYE_M,
        pitch_deg=PITCH_DEG, seed=seed, **{name: row[name] for name in drawn},
    )  # fmt: skip


def _key(*drawn):
    """What all that shapes pairs hashes to: what was asked for, the ground, and the code."""
    land = _land()
    files = [Path(__file__), Path(photo_views.__file__)]
    files += sorted(Path(relief.__file__).parent.glob("*.py"))
    code = (file.read_bytes() for file in files)
    made_from = hashlib.sha256(repr((drawn, land.transform, land.image.transform)).encode())
    for part in (*land.ground[1:], land.image.pixels):
        made_from.update(part.tobytes())
    for part in code:
        made_from.update(part)
    return made_from.hexdigest()[:16]


def _kept(path, count, image_size):
    """Patches and views of an earlier call, else None."""
    if not path.exists():
        return None
    try:
        with np.load(path) as file:
            kept = [file[name] for name in ("patches", "views")]
        if all(images.shape == (count, image_size, image_size, 3) for images in kept):
            return kept
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        pass
    warnings.warn(f"{path} is damaged and is rendered again", stacklevel=3)
    return None


__all__ = ["Views", "cut", "dataset", "read_views", "render", "spots"]
