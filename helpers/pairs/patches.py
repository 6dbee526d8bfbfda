"""Random patches of training ground as a `tf.data` stream; sample n depends on seed and n alone."""

import numpy as np

from helpers.backend import tf


def patches(
    scenes, *, patch_px, batch_size, steps, first_step=0, seed=0, align=1, copies=0, augment=None
):  # fmt: skip
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
            patch_px, bands); `key`, int64 (2,), is another for every sample.

    Returns:
        tf.data.Dataset of float32 (batch_size, patch_px, patch_px, bands), in the unit of the
        scenes, or of what `augment` returns.

    Raises:
        ValueError: a scene is smaller than a patch (says which).
    """
    scenes = equally_large(scenes, patch_px)
    count, (height, width, bands) = len(scenes), scenes[0].pixels.shape
    pixels = tf.constant(stacked(scenes))

    def sample(index):
        this_pass, place = index // count, index % count
        order = _key(seed, this_pass)
        which = tf.random.experimental.index_shuffle(place, order, max_index=count - 1)
        key = _key(seed, which * copies + this_pass % copies if copies else index)
        draw = tf.random.stateless_uniform([3], key, maxval=2**30, dtype=tf.int64)
        row = draw[0] % ((height - patch_px) // align + 1) * align
        column = draw[1] % ((width - patch_px) // align + 1) * align
        start = tf.stack([which, row, column, 0])
        patch = tf.slice(pixels, start, [1, patch_px, patch_px, bands])[0]
        patch = turned(tf.cast(patch, tf.float32), draw[2] % 8)
        return augment(patch, key) if augment else patch

    indices = tf.data.Dataset.range(first_step * batch_size, steps * batch_size)
    samples = indices.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return samples.batch(batch_size, drop_remainder=True)


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
    count, wanted = len(target), steps * batch_size
    if not count:
        told = "there are no pairs to train on"
        raise ValueError(f"{told}: render some, or read a folder that has some")
    random, passes = np.random.default_rng(seed), -(-wanted // count)
    order = np.concatenate([random.permutation(count) for _ in range(passes)])
    order = order[:wanted].reshape(steps, batch_size)
    arrays = tf.nest.map_structure(tf.constant, (inputs, target))

    def taken(which):
        return tf.nest.map_structure(lambda array: tf.gather(array, which), arrays)

    return lambda first: tf.data.Dataset.from_tensor_slices(order[first:]).map(taken).prefetch(2)


def equally_large(scenes, patch_px):
    """Return scenes of one size: themselves, or the patches that they can be cut to.

    Raises:
        ValueError: a scene is smaller than a patch.
    """
    for scene in scenes:
        if min(scene.height, scene.width) < patch_px:
            raise ValueError(
                f"{scene.name} has {scene.height} x {scene.width} pixels, fewer than a patch of "
                f"{patch_px}: use smaller patches or larger images"
            )
    if len({scene.pixels.shape for scene in scenes}) > 1:
        scenes = [patch for scene in scenes for patch in scene.patches(patch_px)]
    return scenes


def whole_patches(scenes, patch_px):
    """Return the non-overlapping patches with data everywhere; a ValueError if there is none."""
    cuts = [patch for scene in scenes for patch in scene.patches(patch_px)]
    if not cuts:
        told = f"no patch of {patch_px} x {patch_px} pixels without no-data pixels"
        raise ValueError(f"{told}: use smaller patches")
    return cuts


def stacked(scenes):
    """Stack the pixels of equally large scenes, in their data type where that loses nothing."""
    kinds = {scene.dtype for scene in scenes}
    dtype = kinds.pop() if kinds in ({"uint8"}, {"uint16"}) else "float32"
    return np.stack([scene.pixels for scene in scenes]).astype(dtype)


def turned(patch, turn):
    """Turn or flip a square patch, one of eight ways; pass the same number, 0 … 7, for a pair."""
    patch = tf.cond(turn % 2 == 1, lambda: tf.transpose(patch, [1, 0, 2]), lambda: patch)
    patch = tf.cond(turn // 2 % 2 == 1, lambda: tf.reverse(patch, [0]), lambda: patch)
    return tf.cond(turn // 4 == 1, lambda: tf.reverse(patch, [1]), lambda: patch)


def _key(seed, number):
    """Make a seed for TensorFlow's stateless generators: the user's seed and a running number."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(number, tf.int64)])
