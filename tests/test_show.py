"""Figures: one stretch, honest scales, nothing shown twice; the slider; cheap imports."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from helpers import scenes, show

RGB = ("red", "green", "blue")


def scene(size=64, *, bands=RGB, pixel_m=30.0, west=500_000, north=-2_700_000, crs=32621, seed=0, credit="USGS"):
    pixels = np.random.default_rng(seed).uniform(5000, 15000, (size, size, len(bands))).astype("float32")
    place = from_origin(west, north, pixel_m, pixel_m)
    return scenes.Scene(pixels=pixels, bands=bands, transform=place, crs=CRS.from_epsg(crs), credit=credit)


def drawn(fig, panel=0):
    """The image as it was handed to Matplotlib."""
    return np.asarray(fig.axes[panel].images[0].get_array())


def scale_bars(fig):
    """(panel, length in pixels of the image, label) of each scale bar."""
    found = []
    for panel, ax in enumerate(fig.axes):
        for artist in ax.artists:
            found.append((panel, artist.size_bar.get_children()[0].get_width(), artist.txt_label.get_text()))
    return found


def legend(fig):
    return [text.get_text() for text in fig.axes[0].get_legend().get_texts()]


@pytest.fixture(autouse=True)
def no_figure_left_open():
    yield
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


@pytest.fixture
def with_kernel(monkeypatch):
    monkeypatch.setattr("helpers.show.widgets.is_static", lambda: False)


def test_stretch_is_per_band_over_all_images_without_no_data():
    dark, bright = np.zeros((10, 10, 3)), np.full((5, 20, 3), [1.0, 10, 100])
    dark[0, 0] = np.nan
    low, high = show.stretch([dark, bright], percentiles=(0, 100))
    assert low.tolist() == [0, 0, 0] and high.tolist() == [1, 10, 100]
    values = np.random.default_rng(0).random((2, 30, 30, 3))
    np.testing.assert_allclose(show.stretch(values), np.percentile(values, (2, 98), axis=(0, 1, 2)), rtol=1e-6)
    assert np.isfinite(show.stretch([np.full((4, 4, 1), np.nan)])).all()


def test_equal_values_look_equal_in_all_images():
    low = np.full((8, 8, 3), 0.2)
    high = np.full((16, 16, 3), 0.9)
    high[0, 0] = 0.2
    fig = show.grid([low, high])
    assert drawn(fig, 0)[3, 3].tolist() == drawn(fig, 1)[0, 0].tolist() == [0, 0, 0]
    assert drawn(fig, 1)[-1, -1].tolist() == [255, 255, 255]
    assert drawn(show.grid([low], stretch=(0, 0.4)))[0, 0].tolist() == [128, 128, 128]
    assert drawn(show.grid([low], stretch=([0, 0, 0.2], [0.2, 0.4, 1])))[0, 0].tolist() == [255, 128, 0]


def test_pictures_and_masks_beside_an_image_keep_their_own_values():
    image = np.random.default_rng(0).random((8, 8, 3))
    picture = np.arange(192, dtype="uint8").reshape(8, 8, 3)
    mask = np.zeros((8, 8, 1), bool)
    mask[0, 0] = True  # less than 2 % of the pixels
    fig = show.grid([image, picture, mask])
    assert (drawn(fig, 0) == drawn(show.grid([image]))).all()
    assert (drawn(fig, 1) == picture).all()
    assert drawn(fig, 2)[0, 0].tolist() == [255] * 3 and drawn(fig, 2)[1:].max() == 0
    as_scene = scenes.Scene(pixels=picture.astype("float32"), bands=RGB, dtype="uint8")
    assert (drawn(show.grid([as_scene])) == picture).all()


def test_no_data_is_painted_neutral():
    neutral = np.rint(255 * np.array(show.NO_DATA)).tolist()
    for bands in (1, 3):
        image = np.random.default_rng(0).random((8, 8, bands))
        image[2, 3, 0] = np.nan
        picture = drawn(show.grid([image]))
        assert picture[2, 3].tolist() == neutral
        assert picture.shape == (8, 8, 3) and (picture == neutral).all(axis=-1).sum() == 1


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("blue", "green", "red", "nir"), ("red", "green", "blue")),
        (("green", "red", "nir"), ("nir", "red", "green")),
        (("vv", "vh", "ratio", "other"), ("vv", "vh", "ratio")),
        (("vv", "vh"), ("vv",)),
    ],
)
def test_bands_of_a_scene_are_chosen_by_name(bands, shown):
    image = scene(bands=bands)
    assert (drawn(show.grid([image])) == drawn(show.grid([image], bands=shown))).all()
    chosen = image.pixels[..., [bands.index(band) for band in shown]]
    assert (drawn(show.grid([image])) == drawn(show.grid([chosen]))).all()
    np.testing.assert_array_equal(show.stretch([image]), show.stretch([chosen]))


def test_bands_of_an_array_are_chosen_by_index():
    image = scene().pixels
    assert (drawn(show.grid([image], bands=(2, 1, 0))) == drawn(show.grid([image[..., ::-1]]))).all()
    assert (drawn(show.grid([image], bands=[1])) == drawn(show.grid([image[..., 1:2]]))).all()


def test_panels_are_bare_titled_and_in_order():
    images = [np.full((8, 8, 3), value) for value in range(5)]
    fig = show.grid(images, [f"image {n}" for n in range(5)], columns=3, caption="Look here.", credit="USGS")
    assert [ax.get_title() for ax in fig.axes] == [*(f"image {n}" for n in range(5)), ""]
    assert not any(ax.axison for ax in fig.axes)
    assert {ax.images[0].get_interpolation() for ax in fig.axes[:5]} == {"nearest"}
    assert fig.get_suptitle() == "Look here." and fig.get_supxlabel() == "USGS"


def test_credits_of_scenes_are_named_once():
    images = [scene(), scene(credit="ESA"), scene()]
    assert show.grid(images).get_supxlabel() == "USGS · ESA"
    assert show.footprints({"test": [scene()]}, [scene()]).get_supxlabel() == "USGS"


@pytest.mark.parametrize("panels", [1, 2, 4, 7])
def test_nothing_is_clipped(panels):
    titles = ["a long title that must be wrapped to fit: model\n25.03 dB"] * panels
    credit = "Contains modified Copernicus Sentinel data 2020, processed by a provider with a very long name, CC-BY 4.0"
    images = [scene(credit=credit).cut(0, 0, 64, 64 - 8 * (n % 2)) for n in range(panels)]
    caption = "A caption that says what to look at, and goes on for longer than one line of the page would hold."
    figures = [show.grid(images, titles, caption=caption), show.grid(images, titles), show.grid(images)]
    for fig in figures:
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        assert box.x0 >= 0 and box.y0 >= 0 and (box.max <= fig.get_size_inches()).all()
        titled = [ax.title.get_window_extent() for ax in fig.axes if ax.get_title()]
        assert not any(one.overlaps(other) for i, one in enumerate(titled) for other in titled[:i])


@pytest.mark.parametrize(
    ("pixel_m", "size", "length_px", "label"),
    [
        (30, 128, 1000 / 30, "1 km"),  # 3.84 km wide: at most 1.28
        (10, 64, 20, "200 m"),  # 640 m wide: at most 213
        (0.5, 100, 20, "10 m"),
        (1000, 200, 50, "50 km"),
    ],
)
def test_scale_bar_length(pixel_m, size, length_px, label):
    expected = [(0, pytest.approx(length_px), label)]
    assert scale_bars(show.grid([scene(size, pixel_m=pixel_m)])) == expected
    assert scale_bars(show.grid([np.zeros((size, size, 3))], pixel_size_m=pixel_m)) == expected


def test_scale_bars_of_images_of_one_ground_and_of_several():
    low, high = scene(32, pixel_m=120), scene(128, pixel_m=30)
    one_bar = [(0, pytest.approx(1000 / 120), "1 km")]
    assert scale_bars(show.grid([low, high])) == one_bar
    assert scale_bars(show.grid([low.pixels, high.pixels], pixel_size_m=30)) == one_bar
    assert scale_bars(show.grid([low, high.cut(0, 0, 32, 32)])) == [*one_bar, (1, pytest.approx(200 / 30), "200 m")]
    assert scale_bars(show.grid([high.pixels, high])) == [(1, pytest.approx(1000 / 30), "1 km")]
    assert scale_bars(show.grid([scene(crs=4326)])) == []


def test_large_images_are_thinned_but_keep_their_coordinates():
    fig = show.grid([np.zeros((3200, 1700, 3))], pixel_size_m=10)
    assert drawn(fig).shape == (1067, 567, 3)
    assert fig.axes[0].images[0].get_extent() == [0, 1700, 3200, 0]
    assert scale_bars(fig) == [(0, 400, "4 km")]


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "0 images"),
        ([np.zeros((4, 4, 3))], {"titles": ["a", "b"]}, "1 images and 2 titles"),
        (np.zeros((4, 4, 3)), {}, r"shape \(4, 3\).*list of images"),
        ([scene()], {"bands": ["nir"]}, r"bands to show are .'nir'.; expected .* of .'red', 'green', 'blue'"),
        ([scene()], {"bands": ["red", "blue"]}, "expected one, or three"),
    ],
)
def test_grid_on_wrong_input(images, options, message):
    with pytest.raises(ValueError, match=message):
        show.grid(images, **options)


def test_slider_moves_the_border(with_kernel):
    low, high = scene(32, pixel_m=120), scene(128)
    moved, line = show.before_after(low, high, titles=("<low>", "high")).children
    (slider, _) = moved.children
    assert moved.result.size == (640, 640) and slider.max == 640
    both = show.grid([low, high])
    before, after = (
        np.kron(drawn(both, panel), np.ones((640 // size, 640 // size, 1))) for panel, size in [(0, 32), (1, 128)]
    )
    for border in (160, 0, 640):
        slider.value = border
        picture = np.asarray(moved.result)
        np.testing.assert_array_equal(picture[:, : max(0, border - 1)], before[:, : max(0, border - 1)])
        np.testing.assert_array_equal(picture[:, border + 1 :], after[:, border + 1 :])
        assert (picture[:, max(0, border - 1) : border + 1] == 255).all()
    assert line.value == "<low> | high · USGS"


def test_static_before_after():
    low, high = scene(32, pixel_m=120), scene(128)
    fig = show.before_after(low, high, titles=("low", "high"))  # no notebook here
    assert [ax.get_title() for ax in fig.axes] == ["low", "high"]
    assert (drawn(fig, 1) == drawn(show.grid([low, high]), 1)).all()
    assert scale_bars(fig) == [(0, pytest.approx(1000 / 120), "1 km")]
    assert fig.get_supxlabel() == "USGS"


def test_before_after_of_other_ground():
    with pytest.raises(ValueError, match="1.00 and 0.50 times as high as wide"):
        show.before_after(scene(), scene().cut(0, 0, 32, 64))


def test_curves():
    history = pd.DataFrame({"step": [10, 20, 30], "training": [1.0, 2, 3], "validation": [np.nan, 1.5, np.nan]})
    fig = show.curves(history, baseline={"bicubic": 24.24}, ylabel="PSNR (dB)")
    training, validation, baseline = fig.axes[0].lines
    assert training.get_xydata().tolist() == [[10, 1], [20, 2], [30, 3]]
    assert validation.get_xydata().tolist() == [[20, 1.5]]
    assert set(baseline.get_ydata()) == {24.24} and baseline.get_linestyle() == "--"
    assert legend(fig) == ["training", "validation", "bicubic 24.24"]
    assert fig.axes[0].get_ylabel() == "PSNR (dB)"
    plain = show.curves({"loss": [3, 2]}, baseline=1).axes[0].lines
    assert plain[0].get_xydata().tolist() == [[1, 3], [2, 2]] and plain[1].get_label() == "baseline 1"
    assert list(history) == ["step", "training", "validation"]


def test_footprints():
    from matplotlib.patches import Rectangle

    ground = {
        "train": [scene(), scene(west=510_000)],
        "validation": [scene(north=-2_710_000)],
        "test": [scene(west=510_000, north=-2_710_000)],
    }
    fig = show.footprints(ground, [scene(1000, west=490_000, north=-2_690_000)])
    ax = fig.axes[0]
    blocks = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    corners = [(block.get_x(), block.get_y(), block.get_width(), block.get_height()) for block in blocks]
    np.testing.assert_allclose(corners[0], (500, -2701.92, 1.92, 1.92))
    np.testing.assert_allclose(corners[3], (510, -2711.92, 1.92, 1.92))
    assert len({block.get_edgecolor() for block in blocks}) == 3
    assert legend(fig) == ["train: 2", "validation: 1", "test: 1"]
    np.testing.assert_allclose(ax.images[0].get_extent(), (490, 520, -2720, -2690))
    assert ax.get_xlabel() == "east (km)"


def test_footprints_across_zones_and_without_a_place():
    here, neighbour = scene(), scene(crs=32622, west=0)
    left, right = (patch.get_x() for patch in show.footprints({"train": [here], "test": [neighbour]}).axes[0].patches)
    assert 50 < right - left < 150  # zone 22 at 0 m east lies about 107 km east of 500 km in zone 21
    degrees = show.footprints({"test": [scene(crs=4326, pixel_m=0.01, west=-54, north=-24)]})
    assert degrees.axes[0].get_xlabel() == "east (degrees)"
    with pytest.raises(ValueError, match="a place on the ground"):
        show.footprints({"test": [scenes.Scene(pixels=np.zeros((4, 4, 1)), bands=("a",))]})
    with pytest.raises(ValueError, match="several CRSs"):
        show.footprints({"test": [here]}, [here, neighbour])


def test_source_is_shown(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show.source(show.stretch)
    show.source(scenes.Scene.cut)
    assert shown[0].data.startswith("def stretch(images") and "<span" in shown[0]._repr_html_()
    assert shown[1].data.startswith("def cut(self")


def test_import_is_cheap():
    code = (
        "import time, sys; import rasterio; start = time.perf_counter(); import helpers.show, helpers.metrics; "
        "print(time.perf_counter() - start, *sys.modules)"
    )
    seconds, *modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    heavy = {"tensorflow", "keras", "matplotlib", "ipywidgets", "IPython", "skimage", "scipy", "pandas"}
    assert not heavy & set(modules)
    assert float(seconds) < 0.5


NOTEBOOK = [
    "import numpy as np\nfrom helpers import show\nimages = list(np.random.default_rng(0).random((2, 8, 8, 3)))",
    "show.grid(images)",
    "show.curves({'loss': [2, 1]});",
    "show.before_after(*images)",
    "show.source(show.stretch)",
]


@pytest.mark.parametrize("static", ["", "1"])
def test_in_a_notebook(static, monkeypatch, tmp_path):
    """A figure is shown once, and only when asked for; the slider is a widget unless it is told to be static."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("SATELLITE_NOTEBOOKS_STATIC", static)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in NOTEBOOK])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [[set(output.get("data", output)) for output in cell.outputs] for cell in notebook.cells]
    assert outputs[0] == outputs[2] == []
    assert len(outputs[1]) == 1 and "image/png" in outputs[1][0]
    assert len(outputs[3]) == 1
    assert ("image/png" if static else "application/vnd.jupyter.widget-view+json") in outputs[3][0]
    assert "text/html" in outputs[4][0]


def generated(latents):
    """Images whose three colours are the first three numbers of the latent, 0 as half bright."""
    return np.broadcast_to(0.5 + latents[:, None, None, :3] / 2, (len(latents), 5, 6, 3))


def test_sliders_redraw_what_belongs_to_where_they_stand(with_kernel):
    moved, line = show.explore(generated, 4, credit="<rendered>").children
    for number, (slider, value) in enumerate(zip(moved.children[:4], (0.5, -0.5, 0.25, 0.0), strict=True)):
        before, slider.value = moved.result, value
        assert (moved.result is before) == (number == 3)  # the fourth was at 0 already
    assert moved.result.getpixel((0, 0)) == (191, 64, 159) and moved.result.size == (384, 320)
    assert line.value == "<rendered>"


def test_where_nobody_moves_a_slider_every_number_gets_a_row():
    figure = show.explore(generated, 4)
    panels = [drawn(figure, panel) for panel in range(28)]
    assert [int(panel[0, 0, 0]) for panel in panels[:7]] == pytest.approx([0, 42, 85, 128, 170, 212, 255], abs=1)
    assert all((panel[..., 0] == 128).all() for panel in panels[7:])


def seen_at(x, y):
    """An image whose first two colors are the place."""
    return np.broadcast_to([x, y, 0], (4, 5, 3))


def test_a_click_on_the_map_shows_what_is_seen_there(with_kernel):
    picture = np.zeros((30, 60, 3), "uint8")
    widget = show.click_map(picture, seen_at, credit="<rendered>")
    style, (moved, line) = widget.children[0], widget.children[1].children
    chart = moved.children[0]
    assert moved.result.getpixel((0, 0)) == (134, 135, 0)  # the middle, before any click: row 8, column 10
    chart.index = 0
    assert moved.result.getpixel((0, 0)) == (6, 8, 0)  # half a button from the north-western corner
    chart.index = 3 * 20 + 7
    assert moved.result.getpixel((0, 0)) == (96, 56, 0) and moved.result.size == (420, 336)
    assert "click-map" in chart._dom_classes and "data:image/png;base64," in style.value
    assert line.value == "<rendered>"


def test_where_nobody_clicks_six_places_are_drawn():
    figure = show.click_map(np.zeros((30, 60, 3), "uint8"), seen_at)
    assert [drawn(figure, panel)[0, 0, 0] for panel in range(3)] == pytest.approx([70, 96, 121], abs=1)
