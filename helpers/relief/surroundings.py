"""Describe the ground around an observer, real and invented."""

import numpy as np

from helpers.relief.textures import bilinear, noise, numbers, ridges, seamless, trees

CURVATURE = (1 - 0.13) / (2 * 6_371_000)  # ground sinks by this times distance squared (refracted)
LAYERS_M = 0.004, 0.05, 0.6, 8.0  # pixel sizes of the invented relief's layers, fine to coarse
TREE_M, CLEARING_M = 10, 60  # height of the tallest tree; distance of the nearest one
TREE_PX_M = 0.5
WOOD, TINT, DARKEST = numbers(0.1, 0.15, 0.07), numbers(0.13, 0.11, 0.09), numbers(0.1, 0.1, 0.08)
HALF = np.float32(0.5)


class Surroundings:
    """The ground around an observer; near them float32 resolves a millimetre.

    Places are metres to the east and south of the observer, float32 (2, points). `blur` is the
    width of ground that a pixel shows, metres: nothing smaller is invented.
    """

    def __init__(self, land, place, detail, start):
        self.land, self.detail, self.start = land, detail, start
        self.pixel_m, self.place = numbers(*land.pixel_size_m), numbers(*place)
        self.spot = self.place.astype(float) * self.pixel_m

    def end(self, way):
        """Return how many metres ahead the grid ends in each direction."""
        _, rows, columns = self.land.shapes.shape
        size = np.array([[columns], [rows]]) * self.pixel_m
        with np.errstate(divide="ignore"):
            room = np.where(way > 0, size - self.spot, self.spot) / abs(way)
        return room.min(axis=0).astype("f")

    def on_grid(self, planes, place):
        """Interpolate planes of the grid."""
        return bilinear(planes, place / self.pixel_m + (self.place - HALF))

    def texture(self, square, size, place, shift=0):
        """Interpolate a seamless square with pixels of `size` metres."""
        start = (self.spot / size + self.start + shift) % (square.shape[1] - 1)
        return seamless(square, place / np.float32(size) + start.astype("f"))

    def layers(self, blur):
        """Yield the pixel size of each layer, where it is large enough to be seen, how clearly."""
        for size in LAYERS_M if self.detail else ():
            near = blur < 4 * size
            yield size, near, np.clip(2 - blur[near] / (2 * size), 0, 1)

    def relief(self, planes, power, place, blur, rough):
        """Return planes of the invented relief; a layer counts as its pixel size to a power."""
        added = np.zeros((len(planes), len(blur)), "f")
        for size, near, strength in self.layers(blur):
            rises = self.texture(planes, size, place[:, near])
            added[:, near] += rises * (0.5 * size**power * strength * rough[near])
        return added

    def trees(self, planes, place, distance, blur, forest):
        """Return planes of the trees."""
        added = np.zeros((len(planes), len(blur)), "f")
        near = (blur < 8) & (distance > CLEARING_M) & self.detail
        place, distance = place[:, near], distance[near]
        needed = self.texture(trees()[1], TREE_PX_M, place)[0]
        room = forest[near] * np.clip(distance / CLEARING_M - 1, 0, 1)
        stands = np.clip((room - needed) * 15, 0, 1)
        stands *= TREE_M * np.clip(2 - blur[near] / 4, 0, 1)
        added[:, near] = self.texture(planes, TREE_PX_M, place) * stands
        return added

    def heights(self, place, distance, blur):
        """Return the height of the ground, invented relief and trees included."""
        height, rough, forest = self.on_grid(self.land.shapes, place)
        [rises] = self.relief(ridges()[:1], 1.2, place, blur, rough)
        [tree] = self.trees(trees()[0][:1], place, distance, blur, forest)
        return height + (rises + tree)

    def surface(self, place, distance, blur):
        """Return color before light falls on it, and slopes to the east and south."""
        _, rough, forest = self.on_grid(self.land.shapes, place)
        rises = self.relief(ridges()[1:], 0.2, place, blur, rough)
        tree, *sides = self.trees(trees()[0], place, distance, blur, forest)
        slopes = self.on_grid(self.land.slopes, place) + (rises + np.array(sides) / TREE_PX_M)
        return self.color(place, blur, tree / TREE_M), slopes

    def color(self, place, blur, tree):
        """Return the image's color, with noise that hides its pixels, and that of trees."""
        moved = [self.texture(noise(), 9, place, shift)[0] for shift in (100, 300)]
        image = self.on_grid(self.land.image, place + 25 * self.detail * np.array(moved))
        color = 0.85 * np.maximum(image, DARKEST)
        green = WOOD * (0.4 + 1.5 * tree)
        color += (green - color) * np.clip(8 * tree, 0, 0.9)
        for size, near, strength in self.layers(blur):
            tint = strength * self.texture(noise(), size, place[:, near], 200)
            color[:, near] *= 1 + tint * TINT
        return color

    def first_seen(self, way, up, focal, eye_m):
        """March ahead in growing steps; each ray ends where the ground first rises above it.

        Args:
            way: (2, columns of rays), to the east and south for each metre ahead.
            up: (rows of rays,), upwards for each metre ahead.
            focal: width of the view in pixels over that of the ground seen at one metre.
            eye_m: height above the ground.

        Returns:
            Of the rays that do: column, row, metres ahead, metres of ground in a pixel.
        """
        ahead = self.steps(focal, self.end(way).max())
        step = np.diff(ahead, append=ahead[-1])
        rise = self.rise(way, ahead, step, eye_m)
        steepest = np.maximum.accumulate(rise, axis=1)
        hit = np.stack([np.searchsorted(line, up) for line in steepest])
        across, level = np.nonzero(hit < len(ahead))
        after = np.maximum(hit[across, level], 1)
        low, high = rise[across, after - 1], rise[across, after]
        share = np.clip((up[level] - low) / np.maximum(high - low, 1e-9), 0, 1)
        depths = np.zeros(hit.shape, "f")
        depth = depths[across, level] = ahead[after - 1] + step[after - 1] * share
        between = abs(np.gradient(depths, axis=1))[across, level]
        wide = depth / focal
        return across, level, depth, np.sqrt(wide * np.maximum(between, wide))

    def steps(self, focal, end):
        """Return how far ahead each step of the march ends, metres.

        It grows by a share, up to a pixel of the grid, or of the view where that is wider.
        """
        ahead, growth = [0.5], 1 + min(max(2.5 / focal, 0.004), 0.03)
        coarse = float(self.pixel_m.max())
        while ahead[-1] < end:
            largest = max(coarse, ahead[-1] * 0.5 / focal)
            ahead.append(min(ahead[-1] * growth, ahead[-1] + largest))
        return np.array(ahead, "f")

    def rise(self, way, ahead, step, eye_m):
        """Return how steeply the ground rises from the eye, (columns of rays, steps)."""
        here = np.zeros((4, 1), "f")
        eye = self.heights(here[:2], here[2], here[3]) + eye_m
        distance = np.hypot(*way)[:, None] * ahead
        place = (way[:, :, None] * ahead).reshape(2, -1)
        height = self.heights(place, distance.ravel(), np.tile(step, len(distance)))
        return (height.reshape(distance.shape) - eye - CURVATURE * distance**2) / ahead
