"""Describe the ground around an observer: the real grid, with invented relief and trees."""

import math

import numpy as np

from helpers.relief.textures import bilinear, mixed, noise, numbers, ridges, trees

CURVATURE = (1 - 0.13) / (2 * 6_371_000)  # ground sinks by this times distance squared (refracted)
LAYERS_M = 0.05, 0.6, 8.0  # pixel sizes of the invented relief's layers
TREE_M, CLEARING_M = 10, 60  # height of the tallest tree; distance of the nearest one
TREE_PX_M, WARP_PX_M, WARP_M = 0.5, 9, 25  # pixels of trees; how the image's pixels are hidden
WOOD, TINT, DARKEST = numbers(0.1, 0.15, 0.07), numbers(0.13, 0.11, 0.09), numbers(0.1, 0.1, 0.08)


class Surroundings:
    """The ground around an observer.

    Places are metres to the east and south of the observer, float32 (2, points), which resolves
    a millimetre near them. `blur` is the width of ground that a pixel shows, metres: nothing
    smaller is invented.
    """

    def __init__(self, land, column, row, *, detail=False, start=0):
        self.land, self.detail, self.start = land, detail, start
        self.pixel_m, self.middle = numbers(*land.pixel_size_m), numbers(column, row)
        self.spot = self.middle * self.pixel_m

    def end(self, way):
        """Return how many metres ahead the grid ends in each direction."""
        size = numbers(*self.land.image.shape[:0:-1]) * self.pixel_m
        room = np.where(way > 0, size - self.spot, self.spot)
        return (room / np.maximum(abs(way), 1e-6)).min(axis=0)

    def grid(self, planes, place):
        """Interpolate planes of the grid."""
        return bilinear(planes, place / self.pixel_m + (self.middle - 0.5))

    def texture(self, square, size, place):
        """Interpolate a seamless square with pixels of `size` metres."""
        start = (self.spot / size + self.start) % square.shape[1]
        return bilinear(square, place / size + start, "wrap")

    def layers(self, square, place, blur, power):
        """Add up a square in several sizes; each counts as its size to a power."""
        total = np.zeros((len(square), len(blur)), "f")
        for size in LAYERS_M if self.detail else ():
            strength = np.clip(2 - blur / (2 * size), 0, 1)
            near = np.flatnonzero(strength)
            found = self.texture(square, size, place.take(near, 1))
            total[:, near] += found * (size**power * strength[near])
        return total

    def trees(self, planes, place, blur, forest):
        """Return planes of the trees: heights, or slopes as well, in tallest trees."""
        distance = np.hypot(*place)
        room = forest * np.clip(distance / CLEARING_M - 1, 0, 1) * self.detail
        near = np.flatnonzero((blur < 8) & (room > 0))
        needed, *found = self.texture(trees()[: planes + 1], TREE_PX_M, place.take(near, 1))
        stands = np.clip((room[near] - needed) * 15, 0, 1) * np.clip(2 - blur[near] / 4, 0, 1)
        total = np.zeros((planes, len(blur)), "f")
        total[:, near] = found * stands
        return total

    def heights(self, place, blur):
        """Return the height of the ground, invented relief and trees included."""
        height, rough, forest = self.grid(self.land.shapes[:3], place)
        [rise] = self.layers(ridges()[:1], place, blur, 1.2)
        [tree] = self.trees(1, place, blur, forest)
        return height + rise * rough / 2 + tree * TREE_M

    def surface(self, place, blur):
        """Return the color of the ground, and its slopes to the east and south."""
        _, rough, forest, *slopes = self.grid(self.land.shapes, place)
        tree, *sides = self.trees(3, place, blur, forest)
        slopes += self.layers(ridges()[1:], place, blur, 0.2) * rough / 2
        slopes += np.array(sides) * (TREE_M / TREE_PX_M)
        return self.color(place, blur, tree), slopes

    def color(self, place, blur, tree):
        """Return the image's color, its pixels hidden by noise, and that of trees."""
        moved = self.detail * WARP_M * self.texture(noise(), WARP_PX_M, place)
        image = np.maximum(self.grid(self.land.image, place + moved), DARKEST)
        color = mixed(0.85 * image, WOOD * (0.4 + 1.5 * tree), np.clip(8 * tree, 0, 0.9))
        return color * (1 + TINT * self.layers(noise()[:1], place, blur, 0))

    def first_seen(self, way, up, focal, eye_m):
        """March ahead in growing steps; each ray ends where the ground first rises above it.

        Args:
            way: (2, columns of rays), to the east and south for each metre ahead.
            up: (rows of rays,), upwards for each metre ahead.
            focal: rays across the ground that is seen at one metre, one metre wide.
            eye_m: height above the ground.

        Returns:
            Of the rays that do: column, row, metres ahead, metres of ground in a pixel.
        """
        end, growth = self.end(way).max(), min(max(4 / focal, 0.004), 0.02)
        count = math.ceil(math.log(end / eye_m) / growth)
        ahead = np.geomspace(eye_m, end, count).astype("f")
        rise = np.maximum.accumulate(self.rise(way, ahead, eye_m), axis=1)
        depths = np.float32([np.interp(up, line, ahead) for line in rise])
        between = abs(np.gradient(depths, axis=1))
        across, level = np.nonzero(up < rise[:, -1:])
        depth, between = depths[across, level], between[across, level]
        wide = depth / focal
        return across, level, depth, np.sqrt(wide * np.maximum(between, wide))

    def rise(self, way, ahead, eye_m):
        """Return how steeply the ground rises from the eye, (columns of rays, steps)."""
        eye = self.heights(np.zeros((2, 1), "f"), np.zeros(1, "f")) + eye_m
        steps = np.diff(ahead, prepend=0)
        place = (way[:, :, None] * ahead).reshape(2, -1)
        height = self.heights(place, np.tile(steps, way.shape[1]))
        height -= eye + CURVATURE * (place**2).sum(axis=0)
        return height.reshape(-1, len(ahead)) / ahead
