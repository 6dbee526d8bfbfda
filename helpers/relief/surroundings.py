"""Describe the ground around an observer: the real grid, with invented relief and trees."""

import numpy as np

from helpers.relief.textures import bilinear, mixed, noise, numbers, ridges, trees

LAYERS_M = 0.05, 0.6, 8.0  # pixel sizes of the invented relief's layers
TREE_M, CLEARING_M = 10, 60  # height of the tallest tree; distance of the nearest one
TREE_PX_M, WARP_PX_M, WARP_M = (
    0.5,
    9,
    25,
)  # pixels of trees; how the image's pixels are hidden
WOOD, TINT, DARKEST = (
    numbers(0.1, 0.15, 0.07),
    numbers(0.13, 0.11, 0.09),
    numbers(0.1, 0.1, 0.08),
)
SUNLIGHT, DAYLIGHT = numbers(0.55, 0.53, 0.51), numbers(0.42, 0.45, 0.5)


class Surroundings:
    """The ground around an observer.

    Places are metres to the east and south of the observer, float32 (2, columns, rows), which
    resolves a millimetre near them. `blur` is the width of ground that a pixel shows, metres:
    nothing smaller is invented.

    Args:
        land: Ground.
        column, row: of the observer.
        start: of the seamless squares, pixels.
    """

    def __init__(self, land, column, row, start=0):
        self.land, self.start, self.middle = land, start, numbers(column, row)
        self.pixel_m = numbers(*land.pixel_size_m)
        self.spot = self.middle * self.pixel_m

    def end(self, way):
        """Return how many metres ahead the grid ends in each direction."""
        size = numbers(*self.land.image.shape[:0:-1]) * self.pixel_m
        room = abs((way > 0) * size - self.spot)
        return (room / np.maximum(abs(way), 1e-6)).min(axis=0)

    def grid(self, planes, place):
        """Interpolate planes of the grid."""
        return bilinear(planes, place / self.pixel_m + (self.middle - 0.5))

    def textures(self, square, place, shares):
        """Add up a seamless square in some sizes.

        Args:
            square: (planes, rows, columns), such as `noise`.
            shares: dict from the size of its pixels, metres, to how much it counts at each place.
        """
        places = place.reshape(2, -1)
        total = np.zeros((len(square), places.shape[1]), "f")
        for size, share in shares.items():
            near, start = (
                np.flatnonzero(share),
                (self.spot / size + self.start) % square.shape[1],
            )
            found = bilinear(square, places.take(near, 1) / size + start[:, 0], "wrap")
            total[:, near] += found * share.take(near)
        return total.reshape(-1, *place.shape[1:])

    def layers(self, square, place, blur, power):
        """Add up a square in sizes that are not blurred; each counts as its size to a power."""
        shares = {
            size: size**power * np.clip(2 - blur / (2 * size), 0, 1)
            for size in LAYERS_M
        }
        return self.textures(square, place, shares)

    def trees(self, planes, place, blur, forest):
        """Return planes of the trees: heights, or slopes as well, in tallest trees."""
        room = forest * np.clip(np.hypot(*place) / CLEARING_M - 1, 0, 1)
        near = (blur < 8) & (room > 0)
        needed, *found = self.textures(trees()[: planes + 1], place, {TREE_PX_M: near})
        stands = np.clip((room - needed) * 15, 0, 1) * np.clip(2 - blur / 4, 0, 1)
        return np.float32(found * stands)

    def heights(self, place, blur):
        """Return the height of the ground, invented relief and trees included."""
        height, rough, forest = self.grid(self.land.shapes[:3], place)
        [rise] = self.layers(ridges()[:1], place, blur, 1.2)
        [tree] = self.trees(1, place, blur, forest)
        return height + rise * rough / 2 + tree * TREE_M

    def light(self, place, blur, sun):
        """Return the light that comes from the ground, (3, columns, rows).

        Its color is the image's, whose pixels are hidden by noise, and that of trees.
        """
        _, rough, forest, *slopes = self.grid(self.land.shapes, place)
        tree, *sides = self.trees(3, place, blur, forest)
        slopes = slopes + self.layers(ridges()[1:], place, blur, 0.2) * rough / 2
        slopes += np.array(sides) * (TREE_M / TREE_PX_M)
        facing = sun[2] - (sun[:2] * slopes).sum(axis=0)
        facing /= np.sqrt(1 + (slopes**2).sum(axis=0)) * max(sun[2], 0.25)
        moved = self.textures(noise(), place, {WARP_PX_M: np.full_like(blur, WARP_M)})
        image = np.maximum(self.grid(self.land.image, place + moved), DARKEST)
        color = mixed(
            0.85 * image, WOOD * (0.4 + 1.5 * tree), np.clip(8 * tree, 0, 0.9)
        )
        color *= 1 + TINT * self.layers(noise()[:1], place, blur, 0)
        return color * (DAYLIGHT + SUNLIGHT * np.clip(facing, 0, 1.8))
