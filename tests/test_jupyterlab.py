"""JupyterLab, opened by a browser: notebooks run from the menu, bars and figures move, sliders answer."""

import re
import subprocess
import sys

import nbformat
import numpy as np
import psutil
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from helpers import runs, scenes
from helpers.acquire import packs
from tests import browser

pytestmark = pytest.mark.skipif(
    any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched: python -m helpers fetch"
)
# Sliders and a map as in 06, without its training: each number is the brightness of a quarter, each place a colour.
PLAY = (
    """
import numpy as np
from helpers import show


def quarters(numbers):
    bright = (1 + numbers.reshape(-1, 2, 2, 1)) / 2
    return np.kron(bright, np.ones((1, 48, 48, 3)))


def colour(x, y):
    return np.full((48, 48, 3), (x, y, 0.5))


rows, columns = np.mgrid[:120, :240]
chart = np.stack([columns, rows, rows], axis=-1).astype("uint8")
""",
    'show.explore(quarters, 4, credit="drawn")',
    "show.click_map(chart, colour)",
)
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Notebook 02 on a small image, with sliders and a map to click on behind it, after Run All Cells."""
    (path,) = runs.notebooks(["02"])
    book, folder = nbformat.read(path, 4), tmp_path_factory.mktemp("jupyterlab")
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in PLAY]
    nbformat.write(book, folder / path.name)
    scenes.write(packs.open_scene("landsat8_itaipu").cut(100, 300, 640, 640), folder / "image.tif")
    values = {"source": str(folder / "image.tif"), "block_px": 128, "start_from": ""}
    with browser.jupyterlab(folder) as lab:
        page = lab.notebook(folder / path.name, **values)
        page.run_all(seconds=600)
        yield page


def test_run_all_cells_runs_them_all(page):
    code = [cell for cell in page.saved if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    script = "return document.body.innerText.match(/(Error|Loading|Failed).{0,20}(widget|view)/)"
    assert not page.driver.execute_script(script)
    at = find_cell(page, "04_side_by_side")
    page.screenshot(page.all(".jp-Notebook .jp-Cell")[at].find_element(By.CSS_SELECTOR, "img"), page.file.stem)


def find_cell(page, figure):
    (at,) = (at for at, cell in enumerate(page.cells) if f'run.figure("{figure}"' in cell.source)
    return at


def test_every_figure_that_is_saved_is_seen(page):
    """In a block or before the last line, a figure is saved, and stays unseen: it needs `display`."""
    files = (page.file.parents[1] / "runs").glob(f"*/{page.file.stem}/figures/*.png")
    figures = sorted({file.stem for file in files})
    assert len(figures) >= 5
    assert not [figure for figure in figures if not page.states[find_cell(page, figure)][-1]["pictures"]]
    assert all(min(page.picture(image).size) >= 20 for image in page.all(".jp-OutputArea img"))


@pytest.fixture
def training(page):
    """What was seen of the cell that trains the headline model of 02, from its first progress bar on."""
    cells = [[state for state in states if state["bars"]] for states in page.states]
    (seen,) = (states for states in cells if states and states[-1]["bars"][0]["text"].startswith("srcnn_residual:"))
    return seen


def test_the_progress_bar_moves_and_ends_complete(training):
    bars = [bar for state in training for bar in state["bars"]]
    assert len(bars) == len(training), "more than one bar in the cell"
    widths = [float(bar["width"].removesuffix("%")) for bar in bars]
    assert widths == sorted(widths) and widths[0] == 0 and widths[-1] == 100
    counts = [int(found[1]) for bar in bars if (found := re.search(r" (\d+)/6 ", bar["text"]))]
    assert counts == sorted(counts) and {0, 6} < set(counts), "no step between the first and the last was shown"
    assert bars[-1]["done"] and "100%" in bars[-1]["text"] and not training[-1]["running"]


def test_the_monitor_redraws_one_figure_in_place(training):
    drawn = [state for state in training if state["pictures"]]
    assert {state["areas"] for state in drawn} == {2}, "the bar and the figure, and nothing more"
    assert {len(state["pictures"]) for state in drawn} == {1} and len({state["pictures"][0][0] for state in drawn}) == 1
    assert len({state["pictures"][0][1] for state in drawn if state["running"]}) >= 2


def named(page, call):
    """Selector of the cell that makes this call."""
    (at,) = (at for at, cell in enumerate(page.cells) if f"\n{call}" in f"\n{cell.source}")
    return page.driver.execute_script(
        "document.querySelectorAll('.jp-Notebook .jp-Cell')[arguments[0]].id = `cell${arguments[0]}`;"
        "return `#cell${arguments[0]} `", at
    )  # fmt: skip


def handles(page, cell):
    """Handles of the sliders of the picture to play with."""
    found = page.all(cell + ".widget-slider .noUi-handle")
    page.show(found[-1])
    return found


def picture(page, cell):
    """The picture below the sliders, as it is now: each move puts another one in its place."""
    return np.asarray(page.picture(cell + ".widget-interact img"))


def border(picture):
    """Column of the white line between before and after."""
    (white,) = np.nonzero((picture == 255).all(axis=(0, 2)))
    assert 1 <= len(white) <= 2, f"white columns: {white}"
    return int(white.max())


def test_before_and_after_follow_the_mouse_and_the_arrow_keys(page):
    cell = named(page, "show.before_after(")
    (handle,) = handles(page, cell)
    track_px = handle.find_element(By.XPATH, "ancestor::*[contains(@class, 'noUi-target')]").rect["width"]
    first = picture(page, cell)
    start, width = border(first), first.shape[1]
    page.screenshot(handle, "02_slider")
    ActionChains(page.driver).drag_and_drop_by_offset(handle, 120, 0).perform()
    aim = start + 120 * width / track_px
    page.wait(lambda: abs(border(picture(page, cell)) - aim) <= 4, f"border near column {aim:.0f}")
    second = picture(page, cell)
    end = border(second)
    assert (first[:, : start - 1] == second[:, : start - 1]).all()
    assert (first[:, end + 1 :] == second[:, end + 1 :]).all()
    assert (first[:, start + 1 : end - 1] != second[:, start + 1 : end - 1]).any(axis=2).mean() > 0.5
    ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT * 3).perform()
    page.wait(lambda: border(picture(page, cell)) == end + 3, "border three columns further right")
    ActionChains(page.driver).send_keys(Keys.ARROW_LEFT * 5).perform()
    page.wait(lambda: border(picture(page, cell)) == end - 2, "border five columns further left")


def test_each_latent_slider_redraws_its_part(page):
    cell = named(page, "show.explore(")
    sliders = handles(page, cell)
    assert len(sliders) == 4
    for number, handle in enumerate(sliders):
        handle.send_keys(Keys.END)  # all the way at once: one change, one picture
        corners = [255 if quarter <= number else 128 for quarter in range(4)]

        def redrawn(corners=corners):
            return np.array_equal(picture(page, cell)[96::192, 96::192, 0].ravel(), corners)

        page.wait(redrawn, f"bright quarter after slider {number + 1}")
    page.screenshot(sliders[0], "sliders")
    ActionChains(page.driver).drag_and_drop_by_offset(sliders[0], -80, 0).perform()
    page.wait(lambda: picture(page, cell)[96, 96, 0] < 255, "darker quarter after dragging")


def test_a_click_on_the_map_shows_what_is_there(page):
    """Row 4 of 16 and column 6 of 20: the colour of the middle of that button."""

    def seen():
        return page.all(".widget-interact img")[-1]

    def shows(column, row):
        expected = tuple(np.rint(255 * np.array([(column + 0.5) / 20, (row + 0.5) / 16, 0.5])).astype(int))
        page.wait(lambda: page.picture(seen()).getpixel((9, 9)) == expected, f"colour of {column}, {row}")

    buttons = page.all(".click-map button")
    assert len(buttons) == 320
    shows(10, 8)  # from here on the page keeps its layout
    button = page.show(buttons[4 * 20 + 6])
    map_px = page.all(".click-map > div")[0].size
    assert map_px["width"] > 400 and map_px["height"] > 200, "the map is squeezed out of sight"
    ActionChains(page.driver).click(button).perform()
    shows(6, 4)
    page.screenshot(seen(), "click")


def test_without_a_browser_the_reason_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SATELLITE_NOTEBOOKS_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install chromium and chromium-driver"):
        browser.find()
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception, match="install chromium and chromium-driver"):
        browser.find()


def test_nothing_is_left_running_after_a_failure():
    """Not even what does not belong to the same session, as kernels do not, and would outlive its parent."""
    parent = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    with pytest.raises(ZeroDivisionError), browser.ended(parent.pid, patience_s=1):
        _ = 1 / 0
    assert not child.is_running() and not psutil.pid_exists(parent.pid)
