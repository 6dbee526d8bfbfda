"""The page of a run, the page that puts runs side by side, and the scores in the terminal."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from helpers import metrics, runs
from helpers.__main__ import main
from tests.test_runs import BASELINE, DEVICE, HEADLINE

PARAMETERS = (
    "steps: int = 600  # optimiser steps [1..1000]\nnote: str = ''  # what was tried\nrate: float = 1  # [0..9]"
)
EMPTY = {"meta", "img", "br", "circle", "line"}


class Page(HTMLParser):
    """A page, as a browser reads it: every element, the rows of tables as texts, which of them stand in `details`."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.open, self.text = [], [], [], ""
        self.feed(text)
        assert self.open in ([], ["html"]), "elements that are not closed"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag == "tr":
            self.rows.append({"cells": [], "folded": "details" in self.open, "class": attributes.get("class")})
        elif tag in ("td", "th"):
            self.rows[-1]["cells"].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1]["cells"][-1] += data if "small" not in self.open else f" | {data}"

    def row(self, name):
        (found,) = [row for row in self.rows if row["cells"][0].split(" | ")[0] == name and not row["folded"]]
        return found

    def all(self, tag, kind=None):
        return [
            attributes for name, attributes in self.elements if name == tag and kind in (None, attributes.get("class"))
        ]


@pytest.fixture
def make(write_notebook, monkeypatch):
    """Function that records a run of 02; returns its folder."""
    write_notebook("02_srcnn", parameters=PARAMETERS)

    def make(run_id, *scores, credits=("USGS",), notebook="02_srcnn", **values):
        monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUN_ID", run_id)
        run = runs.start(notebook, values)
        run.record(scores or [BASELINE, HEADLINE], device=DEVICE, training_seconds=1.25, credits=list(credits))
        return run.folder

    return make


def page(run_id="mine"):
    return Page(runs.write_report(run_id).read_text(encoding="utf-8"))


def draw(folder, name, pixels):
    Image.fromarray(np.asarray(pixels, "uint8")).save(folder / "figures" / f"{name}.png")


# --- the table


def test_score_table():
    rows = [
        BASELINE | {"city_psnr_db": 20, "psnr_db_low": 24.0, "psnr_db_high": 24.5},
        HEADLINE | {"psnr_db": 25.0304, "mae": 0.0},
    ]
    table = metrics.score_table(rows)
    assert list(table) == [
        "method",
        "role",
        "split",
        "psnr_db",
        "gain_psnr_db",
        "ssim",
        "mae",
        "city_psnr_db",
        "gain_over",
    ]
    assert table.to_numpy().tolist() == [
        ["bicubic", "baseline", "test", "24.24 [24, 24.5]", "", "0.678", "", "20", ""],
        ["srcnn", "model", "test", "25.03", "+0.79 [+0.7, +0.88]", "0.728", "0", "", "bicubic"],
    ]
    assert list(metrics.score_table([])) == ["method", "role", "split"]


def test_a_small_number_is_not_rounded_to_zero():
    small = {"ssim": 0.00012, "gain_psnr_db": 0.0004, "gain_psnr_db_low": -2e-7}
    (cells,) = metrics.score_table([HEADLINE | small]).to_numpy().tolist()
    assert cells[4:] == ["+0.0004 [-2e-07, +0.88]", "0.00012", "bicubic"]


# --- the page of a run


def test_the_page_needs_nothing_else_and_escapes_what_it_is_given(make):
    folder = make(
        "mine", note="<script>alert(1)</script>", credits=["© A & B <img src=http://b.org/x>", "https://c.org"]
    )
    draw(folder, '01_"><b>', np.zeros((4, 4, 3)))
    read = page()
    assert {"script", "link", "iframe", "object", "b"}.isdisjoint(tag for tag, _ in read.elements)
    for _, attributes in read.elements:
        assert not attributes.keys() & {"srcset", "action", "poster", "data", "background", "onload", "onerror"}
        assert all(attributes.get(key, "#").startswith(("#", "data:image/")) for key in ("src", "href", "xlink:href"))
    assert len(read.all("img")) == 1
    assert not re.search(r"@import|url\(", read.text)
    assert "default-src 'none'" in str(read.all("meta"))
    for text in ("© A & B <img src=http://b.org/x>", "https://c.org", "<script>alert(1)</script>", '"><b>'):
        assert text in read.text


def test_scores_beside_the_baseline(make):
    make("mine")
    read = page()
    assert read.row("02 srcnn")["cells"][1:4] == ["srcnn", "PSNR (dB) 25.03", "+0.79 [+0.7, +0.88]"]
    assert read.row("method")["cells"] == ["method", "PSNR (dB)", "gain PSNR (dB)", "SSIM", "gain over"]
    assert read.row("bicubic") == {
        "cells": ["bicubic | baseline · test", "24.24", "", "0.678", ""],
        "folded": False,
        "class": None,
    }
    assert read.row("srcnn")["class"] == "headline"
    assert read.row("srcnn")["cells"][2::2] == ["+0.79 [+0.7, +0.88]", "bicubic"]
    assert "1.2 s of training" in read.text and "tensorflow 2" in read.text and "USGS" in read.text


@pytest.mark.parametrize("low, high, words", [
    (0.7, 0.88, "lies above zero."),
    (-0.1, 0.88, "includes zero, so that the two cannot be told apart here."),
    (0, 0.88, "includes zero,"),
    (-0.9, -0.1, "lies below zero, so that it is worse."),
])  # fmt: skip
def test_the_sentence_says_what_the_interval_means(make, low, high, words):
    make(
        "mine",
        BASELINE,
        HEADLINE | {"gain_psnr_db": (low + high) / 2, "gain_psnr_db_low": low, "gain_psnr_db_high": high},
    )
    text = " ".join(page().text.split())
    assert f"the 95 % interval {words}" in text and text.count("the 95 % interval ") == 1


def test_a_gain_without_an_interval_is_told_without_one(make):
    make("mine", BASELINE, {key: value for key, value in HEADLINE.items() if not key.endswith(("_low", "_high"))})
    text = " ".join(page().text.split())
    assert "a gain of +0.79 over bicubic." in text and "the 95 % interval " not in text


def test_more_scores_than_fit_are_folded(make):
    parts = {f"iou_{name}": 0.5 for name in "abcdefgh"} | {"pearson_red": 0.1, "city_psnr_db": 20}
    make("mine", BASELINE | parts, HEADLINE | parts | {"omission": 0.5})
    read = page()
    assert read.row("method")["cells"] == [
        "method", "PSNR (dB)", "gain PSNR (dB)", "SSIM", "IoU a", "IoU b", "IoU c",
    ]  # fmt: skip
    (folded,) = [row["cells"] for row in read.rows if row["folded"] and row["cells"][0] == "method"]
    assert folded == [
        "method",
        *(f"IoU {name}" for name in "defgh"),
        "pearson red",
        "city PSNR (dB)",
        "omission",
        "gain over",
    ]
    assert len(read.all("div", "scroll")) == len(read.all("table"))


def test_parameters_that_differ_are_marked(make, project):
    make("mine", steps=6, rate=1.0)
    rows = {row["cells"][0]: row for row in page().rows if row["folded"]}
    assert rows["steps"]["cells"] == ["steps", "6", "600"] and rows["steps"]["class"] == "differs"
    assert rows["rate"]["cells"] == ["rate", "1.0", "1"] and rows["rate"]["class"] is None
    assert "notebook's own: steps 6 (600)." in " ".join(page().text.split())


def test_figures_are_embedded_as_jpeg(make):
    folder = make("mine")
    y, x = np.mgrid[:200, :300]
    photo = np.stack([x / 2 + 50, y, x / 4 + y / 2], -1) + np.random.default_rng(0).normal(0, 3, (200, 300, 3))
    draw(folder, "01_photo", photo.clip(0, 255))
    ((kind, data),) = [image["src"].split(",") for image in page().all("img")]
    assert kind == "data:image/jpeg;base64"
    data = base64.b64decode(data)
    assert len(data) < (folder / "figures" / "01_photo.png").stat().st_size / 2
    assert np.abs(np.asarray(Image.open(io.BytesIO(data)), float) - photo.clip(0, 255)).mean() < 4


def test_key_figures_stand_open_and_the_rest_is_folded(make):
    folder = make("mine")
    for name in ("01_split", "02_training", "03_side_by_side", "04_failures", "05_scene"):
        draw(folder, name, np.zeros((4, 4, 3)))
    text = runs.write_report("mine").read_text(encoding="utf-8")
    before, folded = text.split("3 further figures")
    assert re.findall('alt="(.*?)"', before) == ["side by side", "failures"]
    assert re.findall('alt="(.*?)"', folded.split("</details>")[0]) == ["split", "training", "scene"]


def test_a_notebook_without_scores_has_a_section(make, write_notebook):
    write_notebook("00_start", parameters=PARAMETERS)
    folder = make("mine", notebook="00_start")
    entry = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(entry | {"scores": []}))
    read = page()
    assert (
        {"id": "00_start"} in read.all("h2") and not read.all("svg") and "scores " not in read.text.split("00 start")[2]
    )


# --- several runs


def test_a_sweep_stands_for_its_runs(make, project):
    for number in range(3):
        make(f"rates-{number}", rate=float(number))
    cells = {f"rates-{number}": {"rate": number} for number in range(4)}  # the last one is not finished
    (project / "runs" / "rates.sweep.json").write_text(json.dumps({"notebook": "02_srcnn", "cells": cells}))
    assert set(runs.ledger(["rates"]).run) == {"rates-0", "rates-1", "rates-2"}


def test_an_unknown_run_is_refused_with_the_last_ones(make, capsys):
    for name in ("a", "b"):
        make(name)
    assert main(["compare", "a", "z"]) == 2
    assert "there is no run z; the last ones are a, b" in capsys.readouterr().err


# --- the terminal


def test_the_terminal_shows_every_score(make, capsys, monkeypatch):
    """Columns that do not fit stand below, under their own heading."""
    monkeypatch.setenv("COLUMNS", "80")
    many = {f"iou_{name}": 0.5 for name in ("ocean", "lake", "river", "lowland", "upland", "mountain", "coast")}
    make("a", BASELINE | many, HEADLINE | many)
    capsys.readouterr()
    assert main(["compare", "a"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 100
    head = said.splitlines()[2].split()
    assert head[:5] == ["method", "role", "split", "psnr_db", "gain_psnr_db"] and "iou_coast" not in head
    assert all(name in said.split() for name in ["ssim", *many])
