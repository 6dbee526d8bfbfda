"""Random patches of training ground as a `tf.data` stream whose n-th sample depends on the seed and n alone."""

import numpy as np

from helpers.backend import tf


def patches(scenes, *, patch_px, batch_size, steps, first_step=0, seed=0, align=1, copies=0, change=None):
    """Batches of patches: every scene once per pass in random order, at a random place, turned and flipped.

    Nothing is remembered between samples, so a stream that starts at `first_step` continues an interrupted one
    exactly, whatever the number of threads.

    Args:
        scenes: list of Scene with equal bands and no no-data pixels; those larger than the smallest are cut to
            patches, so that all have one size. Where `scenes.read` left them on disk, patches are read when needed.
        patch_px: side of a patch, pixels.
        batch_size: patches in a batch.
        steps: number of the last batch; the stream is finite.
        first_step: number of batches to leave out at the start.
        seed: of order, places and turns.
        align: places are multiples of so many pixels.
        copies: 0 draws every sample anew; else each scene comes in only so many samples, over and over.
        change: what becomes of a patch, function(float32 (patch_px, patch_px, bands), key) of whatever batches hold;
            `key`, int64 (2,), is another for every sample.

    Returns:
        tf.data.Dataset of float32 (batch_size, patch_px, patch_px, bands), in the unit of the scenes, or of what
        `change` makes of it.

    Raises:
        ValueError: a scene is smaller than a patch (says which).
    """
    scenes = equally_large(scenes, patch_px)
    count, (height, width, bands) = len(scenes), scenes[0].pixels.shape
    on_disk = any(isinstance(scene.pixels, np.memmap) for scene in scenes)
    pixels = None if on_disk else tf.constant(stacked(scenes))

    def read(which, row, column):
        return np.asarray(scenes[which].pixels[row : row + patch_px, column : column + patch_px], "float32")

    def sample(index):
        this_pass, place = index // count, index % count
        which = tf.random.experimental.index_shuffle(place, _key(seed, this_pass), max_index=count - 1)
        key = _key(seed, which * copies + this_pass % copies if copies else index)
        draw = tf.random.stateless_uniform([3], key, maxval=2**30, dtype=tf.int64)
        row, column = (draw[i] % ((side - patch_px) // align + 1) * align for i, side in enumerate((height, width)))
        if on_disk:
            patch = tf.numpy_function(read, [which, row, column], "float32")
            patch = tf.ensure_shape(patch, [patch_px, patch_px, bands])
        else:
            patch = tf.slice(pixels, tf.stack([which, row, column, 0]), [1, patch_px, patch_px, bands])[0]
        patch = turned(tf.cast(patch, tf.float32), draw[2] % 8)
        return change(patch, key) if change else patch

    indices = tf.data.Dataset.range(first_step * batch_size, steps * batch_size)
    samples = indices.map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return samples.batch(batch_size, drop_remainder=True)


def equally_large(scenes, patch_px):
    """The scenes, or where they differ in size, the patches that they can be cut to; none smaller than a patch."""
    for scene in scenes:
        if min(scene.height, scene.width) < patch_px:
            raise ValueError(
                f"{scene.name} has {scene.height} x {scene.width} pixels, fewer than a patch of {patch_px}: use "
                "smaller patches or larger images"
            )
    if len({scene.pixels.shape for scene in scenes}) > 1:
        scenes = [patch for scene in scenes for patch in scene.patches(patch_px)]
    return scenes


def whole_patches(scenes, patch_px):
    """The non-overlapping patches of some ground with data everywhere, as Scenes; a ValueError if there is none."""
    cuts = [patch for scene in scenes for patch in scene.patches(patch_px)]
    if not cuts:
        raise ValueError(f"no patch of {patch_px} x {patch_px} pixels without no-data pixels: use smaller patches")
    return cuts


def stacked(scenes):
    """The pixels of equally large scenes as one array, in the scenes' own data type where that loses nothing."""
    kinds = {scene.dtype for scene in scenes}
    dtype = kinds.pop() if kinds in ({"uint8"}, {"uint16"}) else "float32"
    return np.stack([scene.pixels for scene in scenes]).astype(dtype)


def turned(patch, turn):
    """One of the eight turns and flips of a square patch, `turn` in 0 … 7; pass pairs the same number."""
    patch = tf.cond(turn % 2 == 1, lambda: tf.transpose(patch, [1, 0, 2]), lambda: patch)
    patch = tf.cond(turn // 2 % 2 == 1, lambda: tf.reverse(patch, [0]), lambda: patch)
    return tf.cond(turn // 4 == 1, lambda: tf.reverse(patch, [1]), lambda: patch)


def _key(seed, number):
    """A seed for TensorFlow's stateless generators: the user's seed and a running number."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(number, tf.int64)])
