"""JupyterLab in a headless Chromium: what the tests of notebooks in a browser are driven with.

Server, kernels and browser live in folders of their own, talk to loopback only, and end with the `with` block.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from contextlib import contextmanager, suppress

import nbformat
import psutil
import pytest
import requests
import yaml
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from helpers import paths

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1366,1000",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)  # fmt: skip
SERVER = ("--no-browser", "--allow-root", "--ip=127.0.0.1", "--ServerApp.port=0", "--LabApp.extension_manager=readonly")
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},  # both would ask the Internet
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells on the page at once, so that all are watched
}

# Every state that a person could see of a code cell's output, in order: sampling from outside would miss short ones.
WATCH = """
const cells = [...document.querySelectorAll('.jp-Notebook .jp-Cell')];
window.seen = cells.map(() => []);
const state = cell => ({
  running: cell.querySelector('.jp-InputPrompt')?.textContent.includes('*') ?? false,
  areas: cell.querySelectorAll('.jp-OutputArea-child').length,
  bars: [...cell.querySelectorAll('.jp-OutputArea .progress-bar')].map(bar => ({
    text: bar.closest('.widget-hbox').textContent.replace(/\\s+/g, ' ').trim(),
    width: bar.style.width, done: bar.classList.contains('progress-bar-success')})),
  pictures: [...cell.querySelectorAll('.jp-OutputArea-child')].flatMap((area, place) =>
    [...area.querySelectorAll('img')].map(img => [place, img.src])),
});
const look = at => {
  const now = JSON.stringify(state(cells[at])), states = window.seen[at];
  if (states.at(-1) !== now) states.push(now);
};
cells.forEach((cell, at) => look(at));
new MutationObserver(records => {
  const changed = new Set(records.map(
    ({target}) => (target.closest ? target : target.parentElement)?.closest('.jp-Cell')));
  for (const cell of changed) if (cells.includes(cell)) look(cells.indexOf(cell));
}).observe(document.querySelector('.jp-Notebook'), {
  subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ['src', 'style', 'class']});
return cells.length;
"""
BEGUN = r"return [...document.querySelectorAll('.jp-InputPrompt')].some(prompt => /[*\d]/.test(prompt.textContent));"
OVER = r"""
const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent);
const failed = document.querySelector('.jp-Notebook [data-mime-type="application/vnd.jupyter.error"]');
return !prompts.some(text => text.includes('*')) && (/\d/.test(prompts.at(-1)) || failed !== null);
"""  # after an error those that were to come stand without a star
PIXELS = """
const [given] = arguments, img = typeof given === 'string' ? document.querySelector(given) : given;
if (!img || !img.complete || !img.naturalWidth) return null;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
canvas.getContext('2d').drawImage(img, 0, 0);
return canvas.toDataURL('image/png').split(',')[1];
"""


def find():
    """Paths of a browser and of its driver; without them the test is skipped, or fails where a browser is required."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    if None in found:
        reason = "no Chromium to open JupyterLab in: install chromium and chromium-driver"
        required = os.environ.get("SATELLITE_NOTEBOOKS_BROWSER") == "required"
        pytest.fail(reason) if required else pytest.skip(reason)
    return found


@contextmanager
def ended(root, patience_s=20):
    """When the block ends, however it does, so do the process `root` and all that it started."""
    root = psutil.Process(root)
    try:
        yield
    finally:
        family = [root]
        with suppress(psutil.NoSuchProcess):
            family += root.children(recursive=True)  # asked before it ends: then nobody knows whose children they are
            root.terminate()
        _, alive = psutil.wait_procs(family, timeout=patience_s)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(alive, timeout=10)
        assert not alive, f"still running: {alive}"


@contextmanager
def jupyterlab(folder):
    """JupyterLab over `folder`/notebooks as `make lab` starts it, and a browser; yields a Lab."""
    browser, driver = find()
    (folder / "notebooks").mkdir(parents=True)
    for name, values in SETTINGS.items():
        settings = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps(values))
    unset = ("SATELLITE_NOTEBOOKS_", "JUPYTER", "IPYTHON", "MPLBACKEND", "TF_CPP")  # a person's shell has none of these
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    own = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "RUNTIME", "DATA")}
    own |= {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    own |= {"SATELLITE_NOTEBOOKS_DATA": str(paths.DATA), "SATELLITE_NOTEBOOKS_RUNS": str(folder / "runs")}
    own |= {"IPYTHONDIR": str(folder / "ipython"), "PYTHONPATH": str(paths.ROOT)}
    command = [sys.executable, "-m", "jupyterlab", *SERVER, str(folder / "notebooks")]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(command, env=kept | own, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    with ended(server.pid, patience_s=0):  # nobody needs what it would write, nor TensorFlow's farewell of 3 s
        address = _address(server, folder)
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={folder / 'browser'}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        with ended(driver.service.process.pid):
            yield Lab(folder, address, driver)
            driver.quit()


def _address(server, folder):
    """What the server says of itself: url, token; waits until it does."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        for file in (folder / "runtime").glob("jpserver-*.json"):
            with suppress(ValueError, requests.ConnectionError):  # half-written; not yet listening
                about = json.loads(file.read_text())
                requests.get(about["url"] + "api", timeout=10).raise_for_status()
                return about
        time.sleep(0.1)
    raise AssertionError("JupyterLab did not start: " + (folder / "server.log").read_text()[-2000:])


class Lab:
    """A running JupyterLab with a browser in front of it."""

    def __init__(self, folder, address, driver):
        self.folder, self.address, self.driver = folder, address, driver

    def notebook(self, path, **others):
        """A copy of a notebook with the parameters of profile smoke and others in the browser: a Page."""
        book = nbformat.read(path, 4)
        profiles = yaml.safe_load((paths.ROOT / "notebooks" / "profiles.yaml").read_text())
        values = profiles["smoke"].get(path.stem, {}) | others
        for cell in book.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None  # so that all that is seen comes from this run
            if "parameters" in cell.metadata.get("tags", []):
                cell.source += "".join(f"\n{name} = {value!r}" for name, value in values.items())
        copy = self.folder / "notebooks" / path.name
        nbformat.write(book, copy)
        query = f"?reset&token={self.address['token']}"
        self.driver.get(f"{self.address['url']}lab/tree/{path.name}{query}")
        return Page(self.driver, book, copy)


class Page:
    """A notebook that is open in JupyterLab."""

    def __init__(self, driver, book, file):
        self.driver, self.cells, self.file = driver, book.cells, file
        ready = "//*[contains(@class, 'jp-Notebook-ExecutionIndicator') and @data-status='idle']"
        self.wait(lambda: self.driver.find_elements(By.XPATH, ready), "a kernel that is ready", 120)
        self.wait(lambda: len(self.all(".jp-Notebook .jp-Cell")) == len(self.cells), "all cells on the page")

    def wait(self, condition, what, seconds=30):
        """The first true value of a function, asked again and again until the deadline."""
        try:
            redrawn = [StaleElementReferenceException]  # between two looks
            return WebDriverWait(self.driver, seconds, 0.05, redrawn).until(lambda _: condition())
        except TimeoutException as error:
            picture = self.file.with_suffix(".png")
            self.driver.save_screenshot(str(picture))
            raise TimeoutException(f"no {what} within {seconds} s; {picture} shows the page") from error

    def all(self, css):
        """Elements of the page."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def menu(self, name, entry):
        """Click on an entry of the menu bar, as soon as it is enabled."""
        bar = f"//div[contains(@class, 'lm-MenuBar-itemLabel') and text()='{name}']"
        item = "//li[contains(@class, 'lm-Menu-item') and not(contains(@class, 'lm-mod-disabled'))]"
        item += f"/div[contains(@class, 'lm-Menu-itemLabel') and text()='{entry}']"

        def clicked():
            self.driver.find_element(By.XPATH, bar).click()
            found = self.driver.find_elements(By.XPATH, item)
            if found:
                found[0].click()
            else:
                ActionChains(self.driver).send_keys(Keys.ESCAPE).perform()
            return found

        self.wait(clicked, f"entry {entry} in menu {name} that is enabled")

    def run_all(self, seconds):
        """Menu Run > Run All Cells, until the last cell has run or one has failed; then save.

        Fills `states`, all that was seen of each cell, in order; and `saved`, the cells of the file afterwards.
        """
        assert self.driver.execute_script(WATCH) == len(self.cells)
        for patience_s in (10, 20, 60):  # on a busy computer a first click was seen to start nothing
            self.menu("Run", "Run All Cells")
            with suppress(TimeoutException):
                self.wait(lambda: self.driver.execute_script(BEGUN), "cell that runs", patience_s)
                break
        self.wait(lambda: self.driver.execute_script(OVER), "end of the last cell", seconds)
        seen = self.driver.execute_script("return window.seen")
        self.states = [[json.loads(state) for state in states] for states in seen]
        before = self.file.stat().st_mtime_ns
        self.menu("File", "Save Notebook")
        self.wait(lambda: self.file.stat().st_mtime_ns > before, "saved file")
        self.saved = self.wait(self._saved, "complete file")

    def _saved(self):
        with suppress(ValueError):  # half-written
            return nbformat.read(self.file, 4).cells

    def picture(self, image):
        """The pixels of an <img>, or of the first that fits a CSS selector, once it is loaded, as a Pillow image."""
        data = self.wait(lambda: self.driver.execute_script(PIXELS, image), "loaded picture")
        return Image.open(io.BytesIO(b64decode(data))).convert("RGB")

    def show(self, element):
        """Scroll to an element, and wait until the page stands still: cells that come into view change their height."""
        before = None

        def still():
            nonlocal before
            here = self.driver.execute_script(
                "const e = arguments[0]; e.scrollIntoView({block: 'center'});"
                "const box = e.getBoundingClientRect(); return [box.top, box.height]", element
            )  # fmt: skip
            moved, before = here != before, here
            return not moved

        self.wait(still, "page that stands still")
        return element

    def screenshot(self, element, name):
        """What a person sees around this element, into the folder SATELLITE_NOTEBOOKS_SCREENSHOTS if that is set."""
        if folder := os.environ.get("SATELLITE_NOTEBOOKS_SCREENSHOTS"):
            os.makedirs(folder, exist_ok=True)
            self.show(element)
            assert self.driver.save_screenshot(os.path.join(folder, f"{name}.png"))
