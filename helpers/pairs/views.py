"""Pairs of a satellite patch and the view from its middle: rendered over real relief, or photos."""

import functools
import hashlib
import math
import os
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
from tqdm.contrib.concurrent import thread_map

from helpers import paths, relief
from helpers.acquire import packs
from helpers.backend import tf
from helpers.pairs import photo_views
from helpers.pairs.patches import random_rows
from helpers.pairs.photo_views import (  # noqa: F401
    PLACE,
    Views,
    as_bytes,
    cut,
    positions_m,
    read_views,
)
from helpers.show import is_static

PACK = "rocky_mountain"
# Where patches have their centres, metres from the relief's northern edge. A patch reaches 4.25 km
# from its centre however it is turned: patches of different splits share no pixel, and those of
# train and test lie 12 km apart, edge to edge.
STRIPES_M = {
    "test": (0, 9_000),
    "validation": (18_000, 20_500),
    "train": (29_500, math.inf),
}
APART_M = {"test": 1000}  # between two spots: each can be told from all others
SIDES_DEG = -30, 0, 30  # the edges and the middle of a view
CLIMB_M = 400  # how far people climb
AHEAD_M = 8000  # relief that every column of a view has ahead
# From a lookout tower, a little downwards: that shows more of the patch.
EYE_M, PITCH_DEG = 20, -10
TURN_DEG = 5  # largest difference between the headings of two renderings of one spot
# Limits of the weather. A second rendering may have light and air that training never has.
WEATHER = {
    "sun_azimuth_deg": (120, 230),
    "sun_elevation_deg": (25, 55),
    "haze_km": (18, 40),
}
OTHER_WEATHER = {
    "sun_azimuth_deg": (60, 300),
    "sun_elevation_deg": (8, 65),
    "haze_km": (8, 60),
}
PATIENCE = 3000  # places tried in vain for a spot, until the ground counts as full

Land = namedtuple("Land", "ground image transform")


def render(split, count, *, image_size=128, seed=0, again=False):
    """Render pairs over the Rocky Mountains; say that they are rendered wherever you show them.

    The relief (about 230 m a pixel) and the image (about 127 x 167 m) are real. Small relief,
    texture, trees, clouds, sun and haze are invented. The observer stands on a lookout tower of
    20 m at a high place nearby, and looks down rather than up. Mountains farther than 3 km away
    may be seen from several splits, as in reality.

    Args:
        split: "train", "validation" or "test"; test spots are at least 1 km apart.
        count: of pairs. The first ones are the same for any count.
        image_size: side of patches and views, pixels.
        seed: of spots, headings, weather and the invented ground, which all views share.
        again: render the same spots once more: other clouds, sun and haze within wider limits,
            heading up to 5 degrees away.

    Returns:
        Views: patches, uint8 (count, image_size, image_size, 3), 6 km wide, the viewing direction
        up; views, likewise; and table, a DataFrame with lon, lat, x_m and y_m (east and south of
        the relief's north-western corner), heading_deg, sun_azimuth_deg, sun_elevation_deg,
        haze_km, cloud_seed, split. Kept below `paths.DATA`.

    Raises:
        ValueError: no pair is wanted, or more spots than there is room for (says how many).
    """
    if count < 1:
        raise ValueError(f"{count} pairs are wanted: ask for 1 at least")
    table = spots(split, count, seed=seed, again=again)
    code = sorted(Path(relief.__file__).parent.glob("*.py"))
    code += [__file__, photo_views.__file__]
    made_from = repr([packs.catalogue()[PACK], *map(packs.file_sha256, code)])
    key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    name = f"{split}_{count}_{image_size}px_{seed}_{again}_{key}.npz"
    path = paths.DATA / "views" / name
    if not path.exists():
        ground = land()

        def pair(row):
            patch = cut(ground.image, *map(row.get, PLACE), size_px=image_size)
            view = seen(ground, row, image_size, seed)
            return as_bytes(patch), as_bytes(255 * view)

        found = thread_map(
            pair,
            table.to_dict("records"),
            max_workers=os.cpu_count(),
            desc=f"rendering {split}",
            disable=is_static(),
        )
        patches, views = map(np.stack, zip(*found, strict=True))
        with paths.atomic(path) as temporary:
            np.savez(temporary, patches=patches, views=views)
    with np.load(path) as kept:
        return Views(**kept, table=table)


def spots(split, count, *, seed=0, again=False):
    """Choose places and weather for the pairs of `render`; return their table.

    Arguments and errors are those of `render`.
    """
    number = list(STRIPES_M).index(split)
    apart_m = APART_M.get(split, 0)
    random = np.random.default_rng([seed, number])
    places = np.empty((0, 2))
    rows = []
    while len(rows) < count:
        for _ in range(PATIENCE):
            place, headings = _spot(land(), STRIPES_M[split], random)
            far = np.hypot(*(places - place).T) >= apart_m
            if len(headings) and far.all():
                break
        else:
            raise ValueError(
                f"{count} {split} spots are wanted, but only {len(rows)} of them lie {apart_m} m "
                "from all others: ask for fewer"
            )
        weather = np.random.default_rng([seed, number, len(rows), again])
        turn = TURN_DEG * weather.uniform(-1, 1) if again else 0
        row = {"heading_deg": (headings[0] + turn) % 360}
        for name, ends in (OTHER_WEATHER if again else WEATHER).items():
            row[name] = weather.uniform(*ends)
        row["cloud_seed"] = weather.integers(2**31)
        rows.append(row)
        places = np.append(places, [place], axis=0)
    x, y = places.T
    wide, high = land().ground.pixel_size_m.astype(float)
    lon, lat = land().transform @ (x / wide, y / high)
    return pandas.DataFrame(rows).assign(lon=lon, lat=lat, x_m=x, y_m=y, split=split)


def _spot(land, stripe, random):
    """Draw a place, metres to the east and south, and headings with a view."""
    north, south = stripe
    pixel_m = land.ground.pixel_size_m.astype(float)
    size = land.ground.image.shape[:0:-1] * pixel_m
    drawn = random.uniform((0, north), np.minimum(size, (math.inf, south)))
    pixel, downhill = lookout(land.ground.shapes[0], pixel_m, drawn)
    place = (pixel + 0.5) * pixel_m
    headings = (downhill + random.uniform(-50, 50, 8)) % 360
    angles = np.radians(headings[:, None] + SIDES_DEG)
    ways = np.stack([np.sin(angles), -np.cos(angles)], axis=-1)
    ahead = place + AHEAD_M * ways
    inside = ((ahead > 0) & (ahead < size)).all(axis=(1, 2))
    column, row = pixel
    red, _, blue = land.ground.image[:, row, column]
    dry = blue <= red or red + blue > 0.4  # water is dark and blue
    return place, headings[inside & dry & (north < place[1] < south)]


def lookout(heights, pixel_m, place):
    """Return the highest pixel within `CLIMB_M`, and the compass direction of the slope down."""
    middle = (place / pixel_m).astype(int)
    reach = np.rint(CLIMB_M / pixel_m).astype(int)
    left, top = start = np.maximum(middle - reach, 0)
    right, bottom = middle + reach + 1
    around = heights[top:bottom, left:right]
    row, column = np.unravel_index(around.argmax(), around.shape)
    slopes = np.gradient(around, *pixel_m[::-1].tolist())
    south, east = (float(slope.mean()) for slope in slopes)
    downhill = math.degrees(math.atan2(-east, south))
    return start + (column, row), downhill


def dataset(views, *, batch_size, steps, seed=0):
    """Stream training pairs in random order, half of them mirrored, patch and view alike.

    Args:
        views: Views of training ground.
        batch_size, steps, seed: as of `pairs.patches.random_rows`.

    Returns:
        Function from the first step to a tf.data.Dataset of (patches, views), float32 (batch,
        height, width, 3), 0 to 1.

    Raises:
        ValueError: there are no pairs.
    """
    batches = random_rows(
        views.patches, views.views, batch_size=batch_size, steps=steps, seed=seed
    )

    def mirrored(step, pair):
        draws = tf.random.stateless_uniform([batch_size, 1, 1, 1], [seed, step])
        images = tf.cast(tf.stack(pair), tf.float32) / 255
        return tuple(tf.unstack(tf.where(draws < 0.5, images[:, :, :, ::-1], images)))

    return lambda first: batches(first).enumerate(first).map(mirrored)


@functools.cache
def land():
    """Return the Rocky Mountains: Ground, the image for the patches, and the relief's transform."""
    dem, image = (packs.open_scene(PACK, name) for name in ("dem", "image"))
    # over-exposed snow is marked as pixels without data
    white = replace(image, pixels=np.nan_to_num(image.pixels, nan=255))
    ground, transform = relief.aligned(dem, white)
    return Land(ground, white, transform)


def seen(land, row, image_size, seed):
    """Render the view of a row of the table, 0 to 1."""
    wide, high = land.ground.pixel_size_m
    drawn = {name: row[name] for name in (*WEATHER, "heading_deg", "cloud_seed")}
    return relief.view(
        land.ground,
        column=row["x_m"] / wide,
        row=row["y_m"] / high,
        seed=seed,
        eye_m=EYE_M,
        pitch_deg=PITCH_DEG,
        size_px=(image_size, image_size),
        **drawn,
    )
