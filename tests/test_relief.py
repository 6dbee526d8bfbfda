"""Views from the ground against perspective computed by hand."""

import math

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine
from scipy.ndimage import map_coordinates

from helpers import relief
from helpers.relief import rendering, surroundings, terrain, textures
from helpers.scenes import Scene

RED, GREEN, GREY = (0.9, 0.0, 0.0), (0.0, 0.9, 0.0), (0.5, 0.5, 0.5)
SIZE = 200, 300


def plain(size=200, colour=GREY):
    """Flat ground of one colour."""
    return np.zeros((size, size), "float32"), np.full((size, size, 3), colour, "float32")


def look(heights, image, *, invented=False, **others):
    """From the middle, bare and in clear air, unless told otherwise."""
    middle = {"column": heights.shape[1] / 2, "row": heights.shape[0] / 2}
    plainly = {"heading_deg": 90, "size_px": SIZE, "eye_m": 2, "haze_km": math.inf}
    land = relief.ground(heights, np.moveaxis(image, -1, 0), others.pop("pixel_size_m", (50, 50)))
    with pytest.MonkeyPatch.context() as patch:
        if not invented:  # no small relief, no hidden pixels, no trees, no clouds
            for name, value in {"LAYERS_M": (1e-9,), "WARP_M": 0, "CLEARING_M": math.inf}.items():
                patch.setattr(surroundings, name, value)
            patch.setattr(rendering, "CLOUDY", 0)
        return relief.view(land, **{**middle, **plainly, **others})


def focal(field_of_view_deg=60, width=SIZE[1]):
    return width / 2 / math.tan(math.radians(field_of_view_deg / 2))


def is_red(view):
    return (view[..., 0] > 2 * view[..., 1]) & (view[..., 0] > 2 * view[..., 2])


def is_green(view):
    return (view[..., 1] > 2 * view[..., 0]) & (view[..., 1] > 2 * view[..., 2])


def block(heights, image, rows, columns, height, colour):
    heights[rows, columns], image[rows, columns] = height, colour


# --- where things appear


@pytest.mark.parametrize(("eye_m", "pitch_deg"), [(100, 0), (25, 0), (100, -0.5), (100, 0.3)])
def test_the_horizon_of_a_plain_dips_with_the_curvature_of_the_earth(eye_m, pitch_deg):
    view = look(*plain(400, RED), pixel_size_m=(500, 500), eye_m=eye_m, pitch_deg=pitch_deg, field_of_view_deg=2)
    dip = math.sqrt(2 * eye_m * (1 - 0.13) / 6_371_000)  # radians; small, so its own tangent
    expected = SIZE[0] / 2 + focal(2) * (dip + math.tan(math.radians(pitch_deg)))
    sky = (~is_red(view)).sum(axis=0)
    assert abs(sky - expected).max() < 0.8


@pytest.mark.parametrize("height_m", [80, 200, 400])
def test_the_top_of_a_block_appears_in_the_row_of_its_elevation(height_m):
    heights, image = plain()
    block(heights, image, slice(90, 110), slice(140, 160), height_m, RED)  # its top starts at column 140.5
    distance = (140.5 - 100) * 50
    rise = (height_m - 2 - 0.87 * distance**2 / 2 / 6_371_000) / distance
    first = is_red(look(heights, image, pitch_deg=5)).argmax(axis=0)[SIZE[1] // 2]
    assert abs(first - (SIZE[0] / 2 + focal() * (math.tan(math.radians(5)) - rise))) < 1


@pytest.mark.parametrize(("bearing_deg", "heading_deg"), [(0, 0), (90, 70), (180, 205), (260, 270), (45, 20)])
def test_a_tower_appears_in_the_column_of_its_bearing(bearing_deg, heading_deg):
    heights, image = plain()
    east, north = (round(50 * part(math.radians(bearing_deg))) for part in (math.sin, math.cos))
    block(heights, image, slice(99 - north, 101 - north), slice(99 + east, 101 + east), 300, RED)
    columns = np.nonzero(is_red(look(heights, image, heading_deg=heading_deg)).any(axis=0))[0]
    bearing = math.atan2(east, north)
    expected = SIZE[1] / 2 + focal() * math.tan(bearing - math.radians(heading_deg))
    assert abs(columns.mean() + 0.5 - expected) < 1.5


def test_a_turn_by_90_degrees_moves_a_tower_by_the_right_number_of_columns():
    heights, image = plain()
    block(heights, image, slice(59, 61), slice(139, 141), 300, RED)  # in the north-east
    views = [look(heights, image, heading_deg=heading, field_of_view_deg=110) for heading in (5, 95)]
    before, after = (np.nonzero(is_red(view)[: SIZE[0] // 2].any(axis=0))[0].mean() for view in views)
    moved = focal(110) * (math.tan(math.radians(40)) + math.tan(math.radians(50)))
    assert before - after == pytest.approx(moved, abs=2)


def test_a_nearer_ridge_hides_a_farther_one_as_far_as_it_reaches():
    heights, image = plain()
    block(heights, image, slice(None), slice(130, 134), 100, RED)
    block(heights, image, slice(None), slice(170, 174), 100, GREEN)
    hidden = look(heights, image)
    assert is_red(hidden).any() and not is_green(hidden).any()
    heights[:, 170:174] = 400
    column = look(heights, image)[:, SIZE[1] // 2]
    near, far = (98 / (30.5 * 50), (398 - 0.84) / (70.5 * 50))  # rise of their edges
    assert abs(is_green(column).argmax() - (SIZE[0] / 2 - focal() * far)) < 1
    assert abs(is_red(column).argmax() - (SIZE[0] / 2 - focal() * near)) < 1
    assert not is_green(column[is_red(column).argmax() :]).any()


def test_each_row_shows_the_ground_at_its_distance():
    heights, image = plain()
    image[:] = np.linspace(0.1, 0.9, 200, dtype="float32")[:, None]  # brighter from west to east
    rows = np.arange(140, 200)  # up to 2 km away, nearer than the haze that hides the end
    distance = 300 * focal() / (rows + 0.5 - SIZE[0] / 2)
    strength = -np.log(1 - look(heights, image, eye_m=300)[rows, SIZE[1] // 2, 1])  # undoes the film's curve
    slope, start = np.polyfit(distance, strength, 1)
    assert abs(strength - start - slope * distance).max() < 0.002 * slope * distance.max()


def test_every_column_of_a_plain_is_the_same_even_straight_to_the_north():
    for heading_deg in (0, 90, 180, 270):
        view = look(*plain(colour=RED), size_px=(60, 61), heading_deg=heading_deg)
        assert is_red(view[40:]).all() and not is_red(view[:30]).any()
    view = look(*plain(colour=RED), size_px=(100, 301), heading_deg=0, eye_m=200)
    np.testing.assert_allclose(view[:, 150], view[:, 149], atol=0.01)


def test_small_views_show_the_same_as_large_ones():
    heights, image = plain()
    block(heights, image, slice(80, 110), slice(140, 160), 300, RED)
    large, small = (look(heights, image, size_px=size) for size in ((384, 512), (48, 64)))
    assert abs(large.reshape(48, 8, 64, 8, 3).mean((1, 3)) - small).mean() < 0.01


def test_the_end_of_the_grid_is_hidden_in_haze():
    view = look(*plain(colour=RED), eye_m=500)
    assert is_red(view[-1]).all() and not is_red(view[SIZE[0] // 2]).any()
    assert abs(np.diff(view, axis=0)).max() < 0.15


# --- light and invention


def test_the_sky_is_brighter_around_the_sun():
    heights, image = plain()
    evening = look(heights, image, heading_deg=90, sun_azimuth_deg=75, sun_elevation_deg=4)[: SIZE[0] // 2, :, 0]
    assert evening[:, :150].mean() > 1.1 * evening[:, 150:].mean()
    row, column = np.unravel_index(evening.argmax(), evening.shape)
    assert abs(column - (150 - focal() * math.tan(math.radians(15)))) < 10
    assert abs(row - (100 - focal() * math.tan(math.radians(4)) / math.cos(math.radians(15)))) < 15


def test_slopes_that_face_the_sun_are_brighter():
    heights, image = plain()
    heights += 0.4 * abs(np.arange(200) - 99.5)[:, None] * 50  # a valley that runs east to west
    view = look(heights, image, sun_azimuth_deg=180, sun_elevation_deg=30)
    north_side, south_side = view[75:95, :60].mean(), view[75:95, 240:].mean()
    assert north_side > 1.3 * south_side


def test_what_is_invented_depends_on_the_seed_alone():
    heights, image = plain()
    first, again, other = (look(heights, image, invented=True, seed=seed, cloud_seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.allclose(first, other, atol=0.05)
    assert np.array_equal(look(heights, image, seed=1), look(heights, image, seed=2))
    assert first.dtype == "float32" and first.shape == (*SIZE, 3) and first.min() >= 0 and first.max() <= 1


def test_trees_stand_where_the_image_looks_like_forest():
    views = [look(*plain(colour=colour), invented=True) for colour in ((0.16, 0.19, 0.12), GREY)]
    above = [view[SIZE[0] // 2 - 12 : SIZE[0] // 2 - 6] for view in views]
    assert above[0].mean() < 0.8 * above[1].mean()


def test_slopes_of_invented_ground_go_with_its_heights():
    phase = np.arange(64) * 2 * np.pi / 64
    to_east, to_south = textures.slopes(np.sin(phase)[None, :] + 3 * np.cos(phase)[:, None])
    east = np.broadcast_to(np.cos(phase) * np.sin(phase[1]), to_east.shape)
    south = np.broadcast_to(-3 * np.sin(phase) * np.sin(phase[1]), to_east.shape)
    np.testing.assert_allclose(to_east, east, atol=1e-6)
    np.testing.assert_allclose(to_south.T, south, atol=1e-6)


def test_grids_are_interpolated_as_scipy_does_it():
    random = np.random.default_rng(0)
    grid, place = random.random((2, 32, 40)), random.uniform(-3, 45, (2, 20_000))
    found = textures.bilinear(grid, place)
    for plane, values in zip(grid, found, strict=True):
        expected = map_coordinates(plane, place[::-1], order=1, mode="nearest")
        np.testing.assert_allclose(values, expected, atol=1e-12)
    repeated = textures.bilinear(grid[:1, :, :16], place, "wrap")
    expected = map_coordinates(grid[0, :, :16], place[::-1], order=1, mode="grid-wrap")
    np.testing.assert_allclose(repeated[0], expected, atol=1e-12)


# --- what is refused


def test_an_eye_outside_the_grid_is_refused():
    for column, row in [(-0.1, 100), (100, 200.5), (math.nan, 100), (200, 100)]:
        with pytest.raises(ValueError, match=f"column {column}, row {row} is outside the grid"):
            look(*plain(), column=column, row=row)


# --- one grid


def test_heights_and_image_come_onto_one_grid(monkeypatch):
    random, crs = np.random.default_rng(0), CRS.from_epsg(4326)
    dem = Scene(
        random.uniform(0, 100, (12, 10, 1)).astype("float32"), ("m",), Affine(0.01, 0, 10, 0, -0.005, 50), crs=crs
    )
    fine = Affine(0.002, 0, 9.9, 0, -0.002, 50.1)
    longitude, latitude = fine @ (np.arange(200) + 0.5, np.arange(200) + 0.5)
    pixels = np.stack(np.broadcast_arrays((longitude - 9) * 100, (latitude[:, None] - 49) * 100, 255), -1)
    pixels[60, 70] = np.nan
    monkeypatch.setattr(terrain, "REFINE", 3)
    land, transform = relief.aligned(dem, Scene(pixels.astype("float32"), ("red", "green", "blue"), fine, crs))
    heights, image = land.shapes[0], np.moveaxis(land.image, 0, -1)
    assert heights.shape == (36, 30) and image.shape == (36, 30, 3)
    np.testing.assert_allclose(heights[1::3, 1::3], dem.pixels[..., 0], atol=1e-3)
    x, y = transform @ (np.arange(30) + 0.5, np.arange(30) + 0.5)
    np.testing.assert_allclose(image[2, :, 0], (x - 9) / 2.55, atol=1e-4)
    np.testing.assert_allclose(image[:30, 2, 1], (y - 49) / 2.55, atol=1e-4)
    assert np.isfinite(image).all() and image[..., 2].min() == 1
    assert land.pixel_size_m == pytest.approx(
        (111_195 * 0.01 / 3 * math.cos(math.radians(49.97)), 111_195 * 0.005 / 3), 1e-4
    )


def test_a_slope_stays_a_slope_between_the_pixels_of_a_refined_grid():
    ramp = np.add.outer(3.0 * np.arange(32), -2.0 * np.arange(30)).astype("float32")[..., None]
    place = Affine(0.01, 0, 10, 0, -0.01, 50)
    dem = Scene(ramp, ("m",), place)
    land, _ = relief.aligned(dem, Scene(np.zeros((32, 30, 3), "float32"), ("r", "g", "b"), place))
    # a spline bends at the edge of the grid; 8 posts further in that has died away
    for margin, tolerance in ((8, 0.04), (32, 1e-4)):
        inner = land.shapes[0][margin:-margin, margin:-margin]
        np.testing.assert_allclose(np.diff(inner, axis=0), 3 / 4, atol=tolerance)
        np.testing.assert_allclose(np.diff(inner, axis=1), -2 / 4, atol=tolerance)
