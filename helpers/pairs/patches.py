"""Random patches of training ground as a `tf.data` stream; sample n depends on seed and n alone."""

import numpy as np

from helpers.backend import tf


def patches(
    scenes,
    *,
    patch_px,
    batch_size,
    steps,
    first_step=0,
    seed=0,
    align=1,
    copies=0,
    augment=None,
    finish=None,
):
    """Stream batches of patches, each at a random place, turned and flipped.

    Every scene comes once per pass, in random order. Nothing is remembered between samples, so a
    stream that starts at `first_step` continues an interrupted one exactly, whatever the number of
    threads.

    Args:
        scenes: list of Scene with equal bands and no no-data pixels; those larger than the smallest
            are cut to patches, so that all have one size.
        patch_px: side of a patch, pixels.
        batch_size: patches in a batch.
        steps: number of the last batch; the stream is finite.
        first_step: number of batches to leave out at the start.
        seed: of order, places and turns.
        align: places are multiples of so many pixels.
        copies: 0 draws a new sample each time; else each scene comes in only so many samples.
        augment: function(patch, key) that makes the elements of a batch from a float32 (patch_px,
            patch_px, bands); `key`, int64 (2,), differs for every sample.
        finish: function that makes the elements of the stream from a batch.

    Returns:
        tf.data.Dataset of float32 (batch_size, patch_px, patch_px, bands), in the unit of the
        scenes, or of what `augment` or `finish` returns.

    Raises:
        ValueError: a scene is smaller than a patch (says which), or negative copies.
    """
    if copies < 0:
        raise ValueError(
            f"copies is {copies}; expected 0 for new samples, or how many of each patch"
        )
    pixels = tf.constant(_stacked(scenes, patch_px))
    count, *sides, bands = pixels.shape
    rooms = [(side - patch_px) // align + 1 for side in sides]

    def sample(index):
        this_pass = index // count
        place = index % count
        which = tf.random.experimental.index_shuffle(
            place,
            [seed, this_pass],
            max_index=count - 1,
        )
        copy = which * copies + this_pass % copies if copies else index
        key = tf.stack([seed, copy])
        draw = tf.random.stateless_uniform([3], key, maxval=2**30, dtype=tf.int64)
        start = tf.concat([[which], draw[:2] % rooms * align, [0]], axis=0)
        patch = tf.slice(pixels, start, [1, patch_px, patch_px, bands])[0]
        patch = turned(tf.cast(patch, tf.float32), draw[2] % 8)
        return augment(patch, key) if augment else patch

    indices = tf.data.Dataset.range(first_step * batch_size, steps * batch_size)
    data = indices.map(sample, tf.data.AUTOTUNE)
    data = data.batch(batch_size, drop_remainder=True)
    if finish:  # one call at a time leaves the cores to the training step
        data = data.map(finish, num_parallel_calls=1)
    return data.prefetch(2)


def _stacked(scenes, patch_px):
    """Stack pixels, cut to patches where sizes differ; of 8 or 16 bits where nothing is lost."""
    for scene in scenes:
        if min(scene.height, scene.width) < patch_px:
            raise ValueError(
                f"{scene.name} has {scene.height} x {scene.width} pixels, fewer than a patch of "
                f"{patch_px}: use smaller patches or larger images"
            )
    if len({scene.pixels.shape for scene in scenes}) != 1:
        scenes = whole_patches(scenes, patch_px)
    kinds = {scene.dtype for scene in scenes}
    dtype = kinds.pop() if kinds in ({"uint8"}, {"uint16"}) else "float32"
    return np.array([scene.pixels for scene in scenes], dtype)


def whole_patches(scenes, patch_px):
    """Return the non-overlapping patches with data everywhere; a ValueError if there is none."""
    cuts = [patch for scene in scenes for patch in scene.patches(patch_px)]
    if not cuts:
        raise ValueError(
            f"no patch of {patch_px} x {patch_px} pixels without no-data pixels in "
            f"{len(scenes)} images: use smaller patches or more images"
        )
    return cuts


def turned(patch, turn):
    """Turn or flip a square patch, one of eight ways; pass the same number, 0 … 7, for a pair."""
    patch = tf.where(turn % 2 == 1, tf.transpose(patch, [1, 0, 2]), patch)
    patch = tf.where(turn // 2 % 2 == 1, patch[::-1], patch)
    return tf.where(turn // 4 == 1, patch[:, ::-1], patch)


def random_rows(inputs, target, *, batch_size, steps, seed=0):
    """Stream rows of arrays that are kept in memory, in random order, each once per pass.

    Args:
        inputs: array (rows, ...), or a tuple of them.
        target: array (rows, ...).
        batch_size, steps, seed: rows in a batch; number of the last batch; of the order.

    Returns:
        Function from the first step to a tf.data.Dataset of (inputs, target).

    Raises:
        ValueError: there are no rows.
    """
    count = len(target)
    wanted = steps * batch_size
    if not count:
        raise ValueError(
            "no pairs to train on: render some, or read a folder that has some"
        )
    random = np.random.default_rng(seed)
    order = np.concatenate([random.permutation(count) for _ in range(0, wanted, count)])
    order = order[:wanted].reshape(steps, batch_size)
    arrays = tf.nest.map_structure(tf.constant, (inputs, target))

    def taken(which):
        return tf.nest.map_structure(lambda array: tf.gather(array, which), arrays)

    return lambda first: (
        tf.data.Dataset.from_tensor_slices(order[first:]).map(taken).prefetch(2)
    )
