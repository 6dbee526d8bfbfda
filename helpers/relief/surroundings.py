"""Describe the ground around an observer: the real grid, with invented relief and trees."""

import numpy as np

from helpers.relief.textures import bilinear, detail, mixed, noise, numbers, trees

LAYERS_M = 0.05, 0.6, 8.0  # pixel sizes of the invented relief's layers
POWERS = 1.2, 0.2, 0.2, 0  # of the size: how much a layer's heights, slopes, tint count
TREE_M = 10  # height of the tallest tree
TREE_PX_M = 0.5
CLEARING_M = 60  # distance of the nearest tree
WARP_M = 25  # how far the image is moved to hide its pixels


class Surroundings:
    """The ground around an observer.

    Places are metres to the east and south of the observer, float32 (2, columns of rays, places
    along them), which resolves a millimetre near the observer. `blur` is the width of ground that
    a pixel shows, metres: nothing smaller is invented.

    Args:
        land: Ground.
        column, row: of the observer.
        start: of the seamless squares, pixels.

    Raises:
        ValueError: the observer is not over the grid.
    """

    def __init__(
        self,
        land,
        column,
        row,
        start,
    ):
        high, wide = land.image.shape[1:]
        if not (0 < column < wide and 0 < row < high):
            raise ValueError(f"column {column}, row {row} is outside the grid")
        self.land = land
        self.start = start
        self.middle = numbers(column, row)
        self.pixel_m = numbers(*land.pixel_size_m)
        self.spot = self.middle * self.pixel_m
        self.size = numbers(wide, high) * self.pixel_m

    def end(self, way):
        """Return how many metres ahead the grid ends in each direction."""
        room = abs((way > 0) * self.size - self.spot)
        ahead = room / abs(way).clip(1e-6)
        return ahead.min(axis=0)

    def grid(self, planes, place):
        """Interpolate planes of the grid."""
        return bilinear(planes, place / self.pixel_m + (self.middle - 0.5))

    def texture(
        self,
        square,
        place,
        pixel_m,
        share,
    ):
        """Interpolate a seamless square with pixels of `pixel_m`.

        The planes are 0 at places along the rays where `share` is 0 for every ray.
        """
        near = np.flatnonzero(share.any(axis=0))
        start = self.spot / pixel_m + self.start
        pixels = place.take(near, 2) / pixel_m + start % square.shape[1]
        found = np.zeros((len(square), *place.shape[1:]), "f")
        found[..., near] = bilinear(square, pixels, "wrap")
        return found

    def small_relief(self, kinds, place, blur):
        """Add up planes of the invented relief, in all sizes that are not blurred."""
        square = detail()[kinds]
        total = 0
        for size in LAYERS_M:
            share = (2 - blur / (2 * size)).clip(0, 1)
            strength = [size**power * share for power in POWERS[kinds]]
            found = self.texture(square, place, size, share)
            total = np.float32(total + found * strength)
        return total

    def woods(self, square, place, blur, forest):
        """Return heights and slopes of the trees, in units of the tallest; 0 where none stands."""
        beyond = np.hypot(*place) / CLEARING_M - 1
        room = forest * beyond.clip(0, 1)
        sharp = (2 - blur / 4).clip(0, 1)
        needed, *found = self.texture(
            square,
            place,
            TREE_PX_M,
            room * sharp,
        )
        stands = (15 * (room - needed)).clip(0, 1) * sharp
        return np.float32(found * stands)

    def heights(self, place, blur):
        """Return the height of the ground, invented relief and trees included."""
        height, rough, forest = self.grid(self.land.shapes[:3], place)
        rise = self.small_relief(slice(1), place, blur)
        tree = self.woods(trees()[:2], place, blur, forest)
        return (height + rise * rough + tree * TREE_M)[0]

    def color(self, place, blur, sun):
        """Return the color of the ground in the sun, (3, columns, places).

        Its color is the image's, whose pixels are hidden by noise, and that of trees.
        """
        rough, forest, *slopes = self.grid(self.land.shapes[1:], place)
        tree, *sides = self.woods(trees(), place, blur, forest)
        *small, tint = self.small_relief(slice(1, 4), place, blur)
        slopes = slopes + rough * small + np.multiply(sides, TREE_M / TREE_PX_M)
        steepness = np.sqrt(1 + (slopes**2).sum(axis=0))
        facing = sun[2] - (sun[:2] * slopes).sum(axis=0)
        facing /= steepness * max(sun[2], 0.25)
        moved = WARP_M * self.texture(noise(), place, 9, np.ones_like(blur))
        image = self.grid(self.land.image, place + moved)
        image = np.maximum(image, numbers(0.1, 0.1, 0.08))
        wood = numbers(0.1, 0.15, 0.07) * (0.4 + 1.5 * tree)
        covered = (8 * tree).clip(0, 0.9)
        color = mixed(0.85 * image, wood, covered)
        color *= 1 + numbers(0.13, 0.11, 0.09) * tint
        sunlight = numbers(0.55, 0.53, 0.51) * facing.clip(0, 1.8)
        light = color * (numbers(0.42, 0.45, 0.5) + sunlight)
        return 1 - np.exp(-1.6 * light)  # as on film
