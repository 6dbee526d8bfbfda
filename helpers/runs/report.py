"""Write the report of a run: one HTML page that needs no other file."""

import base64
import io
import json
import re
from pathlib import Path

from helpers import paths
from helpers.runs import parameters as parameter_cells
from helpers.runs.run import RECORD

PART = re.compile(r"(gain_)?((iou|pearson)_.+|.+_psnr_db)")  # of a class, a band, some pixels
KEY_FIGURES = re.compile("side_by_side|gallery|predicted|failures")
WORDS = {word: word.upper() for word in ("psnr", "ssim", "kid", "mae", "mse", "rmse", "ergas")}
WORDS |= {"iou": "IoU", "db": "(dB)", "deg": "(°)", "px": "(px)"}


def write_report(run_id):
    """Write the page of a run: scores beside baselines, figures, parameters, time, credits.

    Args:
        run_id: of a run with at least one finished notebook.

    Returns:
        Path of `report.html`.

    Raises:
        ValueError: nothing is finished in that run.
    """
    import jinja2

    folder = paths.RUNS / run_id
    sections = [_section(path) for path in sorted(folder.glob("*/metrics.json"))]
    if not sections:
        raise ValueError(f"no notebook of run {run_id} is finished, so there is nothing to report")
    begun = sorted(path for path in folder.iterdir() if path.is_dir())
    unfinished = [path.name for path in begun if not (path / "metrics.json").exists()]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["label"] = _label
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    page = environment.from_string(template)
    text = page.render(run_id=run_id, sections=sections, unfinished=unfinished)
    paths.write_text(folder / "report.html", text)
    return folder / "report.html"


def score_table(scores):
    """Show rows of `metrics.json` as text: the main score and its gain first.

    Args:
        scores: rows of `metrics.json`.

    Returns:
        pandas.DataFrame of texts: method, role, split, then a column for each score.
    """
    import pandas as pd

    main = _main_score(_headline(scores))
    names = {name: PART.fullmatch(name) for row in scores for name in _scores(row)}
    last = {name: (name.startswith("gain_"), bool(part)) for name, part in names.items()}
    order = sorted(names, key=lambda name: (name != main, name != f"gain_{main}", last[name]))
    columns = ["method", "role", "split", *order]
    return pd.DataFrame([[_cell(row, key) for key in columns] for row in scores], columns=columns)


def _headline(scores):
    return next((row for row in scores if row.get("headline")), scores[0] if scores else {})


def _main_score(row):
    """Return the score that a notebook is about: the first that its headline has a gain in."""
    names = _scores(row)
    gains = [name.removeprefix("gain_") for name in names if name.startswith("gain_")]
    return next((name for name in gains + names if name in row), None)


def _scores(row):
    """Return the names of the scores in a row, without the ends of intervals."""
    numbers = [key for key, value in row.items() if type(value) in (int, float)]
    return [key for key in numbers if not key.endswith(("_low", "_high"))]


def _cell(row, key):
    value, gain = row.get(key, ""), key.startswith("gain_")
    if isinstance(value, str):
        return value
    ends = [_number(row[key + end], gain) for end in ("_low", "_high") if key + end in row]
    interval = f" [{', '.join(ends)}]" if ends else ""
    return _number(value, gain) + interval + (f" over {row['gain_over']}" if gain else "")


def _number(value, signed):
    """Write three decimals, but one digit of a value that they would make zero."""
    if 0 < abs(value) < 0.0005:
        return f"{value:{'+' if signed else ''}.0e}"
    return f"{value:+.3f}" if signed else f"{value:.3f}".rstrip("0").rstrip(".")


def _label(name):
    return " ".join(WORDS.get(word, word) for word in name.split("_"))


def _section(path):
    """Collect what the page tells of one finished notebook."""
    entry = paths.read_record(path, RECORD)
    scores = entry["scores"]
    table, headline = score_table(scores), _headline(scores)
    rows = list(zip(table.to_dict("records"), scores, strict=True))
    declared = parameter_cells.declared(entry["notebook"])
    parameters = [
        (
            name,
            json.dumps(value),
            json.dumps(declared[name].default),
            value != declared[name].default,
        )
        for name, value in entry["parameters"].items()
    ]
    return entry | {
        "headline": headline,
        "main": _main_score(headline),
        "best": next((row for row, given in rows if given is headline), {}),
        "columns": list(table.columns[3:]),
        "rows": rows,
        "parameters": parameters,
        "figures": _figures(path.parent / "figures"),
        "credits": paths.read_json(path.parent / "credits.json"),
    }


def _figures(folder):
    """Return (name, its `src`, is key figure) of each figure, as JPEG."""
    from PIL import Image

    found, figures = sorted(folder.glob("*.png")), []
    key = [path for path in found if KEY_FIGURES.search(path.stem)] or found[:2]
    for path in found:
        jpeg = io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").save(jpeg, "JPEG", quality=85, subsampling=0)
        source = f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"
        name = path.stem.lstrip("0123456789_").replace("_", " ")
        figures.append((name, source, path in key))
    return figures
