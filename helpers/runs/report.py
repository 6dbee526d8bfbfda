"""Write the report of a run: one HTML page that needs no other file."""

import base64
import io
import json
import re
from pathlib import Path

from helpers import paths
from helpers.runs.parameters import declared
from helpers.runs.run import RECORD

KEY_FIGURE = re.compile("side_by_side|gallery|predicted|failures")


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
    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=templates, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = json.dumps
    environment.tests["key_figure"] = KEY_FIGURE.search
    page = environment.get_template("report.html.jinja")
    text = page.render(run_id=run_id, sections=sections, unfinished=unfinished)
    paths.write_text(folder / "report.html", text)
    return folder / "report.html"


def score_table(scores):
    """Show rows of `metrics.json` as text: the main score and its gain first.

    The main score is the first that the headline has a gain in.

    Args:
        scores: rows of `metrics.json`.

    Returns:
        pandas.DataFrame of texts: method, role, split, then a column for each score.
    """
    import pandas as pd

    rows = sorted(scores, key=lambda row: not row.get("headline"))
    names = [name for row in rows for name, value in row.items() if _is_score(name, value)]
    gains = [name for name in names if name.startswith("gain_")]
    first = [gains[0].removeprefix("gain_"), gains[0]] if gains else []
    others = [name for name in names if name not in gains]
    columns = list(dict.fromkeys(["method", "role", "split", *first, *others, *gains]))
    return pd.DataFrame([[_cell(row, key) for key in columns] for row in scores], columns=columns)


def _is_score(name, value):
    return type(value) in (int, float) and not name.endswith(("_low", "_high"))


def _cell(row, key):
    value, is_gain = row.get(key, ""), key.startswith("gain_")
    if isinstance(value, str):
        return value
    sign = "+" if is_gain else ""
    ends = [_number(row[key + end], sign) for end in ("_low", "_high") if key + end in row]
    interval = f" [{', '.join(ends)}]" if ends else ""
    return _number(value, sign) + interval + (f" over {row['gain_over']}" if is_gain else "")


def _number(value, sign):
    return f"{value:{sign}.4g}" if abs(value) < 10_000 else f"{value:{sign},.0f}"


def _section(path):
    """Collect what the page tells of one finished notebook."""
    entry = paths.read_record(path, RECORD)
    table = score_table(entry["scores"])
    defaults = {name: each.default for name, each in declared(entry["notebook"]).items()}
    return entry | {
        "columns": list(table.columns[3:]),
        "rows": list(zip(table.to_dict("records"), entry["scores"], strict=True)),
        "defaults": defaults,
        "figures": {file.stem: _jpeg(file) for file in sorted(path.parent.glob("figures/*.png"))},
        "credits": paths.read_json(path.parent / "credits.json"),
    }


def _jpeg(file):
    """Return a figure as JPEG, base64: less than half the size of PNG."""
    from PIL import Image

    jpeg = io.BytesIO()
    with Image.open(file) as picture:
        picture.convert("RGB").save(jpeg, "JPEG", quality=85, subsampling=0)
    return base64.b64encode(jpeg.getvalue()).decode()
