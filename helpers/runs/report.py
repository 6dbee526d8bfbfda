"""The report of a run: one HTML page that needs no other file."""

import base64
import io
import json
import re
from pathlib import Path

from helpers import paths
from helpers.runs import parameters as parameter_cells
from helpers.runs.run import RECORD

GAIN = re.compile(r"gain_(?!over)(.+?)(_low|_high)?$")
PART = re.compile(r"(iou|pearson)_.+|.+_(psnr_db|boundary_f1)")  # of one class, one band, some of the pixels
KEY_FIGURES = re.compile("side_by_side|gallery|predicted|failures")
WORDS = {word: word.upper() for word in ("psnr", "ssim", "kid", "mae", "mse", "rmse", "ergas")}
WORDS |= {"iou": "IoU", "db": "(dB)", "deg": "(°)", "px": "(px)"}


def write_report(run_id):
    """Write the page for a run: scores beside baselines, figures, parameters, device, time, credits.

    Args:
        run_id: of a run with at least one finished notebook.

    Returns:
        Path of `report.html`.

    Raises:
        ValueError: nothing is finished in that run.
    """
    folder = paths.RUNS / run_id
    sections = [_section(path) for path in sorted(folder.glob("*/metrics.json"))]
    if not sections:
        raise ValueError(f"no notebook of run {run_id} is finished, so there is nothing to report")
    begun = sorted(path for path in folder.iterdir() if path.is_dir())
    unfinished = [path.name for path in begun if not (path / "metrics.json").exists()]
    return _write(folder / "report.html", run_id=run_id, sections=sections, unfinished=unfinished)


def score_table(scores):
    """Score rows as text for people: one column a score, the main one and its gain first, an interval in its cell.

    Args:
        scores: rows of `metrics.json`.

    Returns:
        columns: list of names; rows: list of (list of cells, is headline).
    """
    main, _ = _main(scores)
    gains = [key for row in scores for key in row if (m := GAIN.match(key)) and not m.group(2)]
    names = dict.fromkeys([key for row in scores for key in _plain(row)] + gains)
    rank = {key: (key != main, key != f"gain_{main}", key in gains, bool(PART.fullmatch(key))) for key in names}
    columns = ["method", "role", "split", *sorted(names, key=rank.get)]
    return columns, [([_cell(row, key) for key in columns], bool(row.get("headline"))) for row in scores]


def _main(scores):
    """The score that a notebook is about, the first that its headline has a gain in, and the headline."""
    headline = next((row for row in scores if row.get("headline")), scores[0] if scores else {})
    gains = [m.group(1) for key in headline if (m := GAIN.match(key)) and m.group(1) in headline]
    return next(iter([*gains, *_plain(headline)]), None), headline


def _plain(row):
    """Names of the scores in a row that are neither gains nor ends of an interval."""
    stems = {key: re.sub("_(low|high)$", "", key) for key in row if not GAIN.match(key)}
    names = [key for key, stem in stems.items() if stem == key or stem not in row]
    return [key for key in names if isinstance(row[key], (int, float)) and not isinstance(row[key], bool)]


def _cell(row, key):
    value, sign = row.get(key, ""), "+" if GAIN.match(key) else ""
    if isinstance(value, str):
        return value
    inside = ", ".join(_number(row[key + end], sign) for end in ("_low", "_high") if key + end in row)
    return _number(value, sign) + (f" [{inside}]" if inside else "") + (f" over {row['gain_over']}" if sign else "")


def _number(value, sign):
    """Three decimals, but one digit of a value that they would make zero."""
    if 0 < abs(value) < 0.0005:
        return f"{value:{sign}.0e}"
    return f"{value:+.3f}" if sign else f"{value:.3f}".rstrip("0").rstrip(".")


def _section(path):
    """Collect what the page tells of one finished notebook."""
    entry = paths.read_record(path, RECORD)
    scores = entry["scores"]
    (main, headline), (columns, rows) = _main(scores), score_table(scores)
    baselines = {key for row in scores if row.get("role") == "baseline" for key in _plain(row)}
    often = {key for key in baselines if 2 * sum(key in row for row in scores) >= len(scores)}
    first = [key for key in columns if main and key in (main, f"gain_{main}")]
    first += [key for key in columns if key in often and key != main and not PART.fullmatch(key)][:4]
    plots = []
    for key in filter(GAIN.match, columns):
        for over in dict.fromkeys(row["gain_over"] for row in scores if key in row):
            rows_over = [(row["method"], row) for row in scores if row.get("gain_over") == over]
            plots.append((key.removeprefix("gain_"), over, _forest(rows_over, key)))
    return entry | {
        "main": main, "headline": headline, "columns": columns, "rows": rows, "first": first,
        "rest": [key for key in columns[3:] if key not in first and not GAIN.match(key)],
        "value": _cell(headline, main or ""), "gain": _cell(headline, f"gain_{main}"),
        "baseline_value": next((_cell(r, main) for r in scores if r["method"] == headline.get("gain_over")), ""),
        "plots": plots, "parameters": _parameters(entry), "figures": _figures(path.parent / "figures"),
        "credits": paths.read_json(path.parent / "credits.json"),
    }  # fmt: skip


def _forest(rows, key):
    """Gains of (label, scores) as text and places from 0 to 1 on one axis: low, gain, high and zero."""
    rows = [(label, row) for label, row in rows if key in row]
    values = [[row.get(key + end, row[key]) for end in ("_low", "", "_high")] for _, row in rows]
    low, high = min([0, *sum(values, [])]), max([0, *sum(values, [])])
    margin = 0.08 * (high - low) or 1
    places = [[(value - low + margin) / (high - low + 2 * margin) for value in (*each, 0)] for each in values]
    return [(label, _cell(row, key), *each) for (label, row), each in zip(rows, places, strict=True)]


def _parameters(entry):
    """Dict from name to (value, default or "not known", differs), values as `-p` reads them."""
    try:
        declared = parameter_cells.declared(entry["notebook"])
    except (OSError, ValueError):  # moved, or of another version: no reason to have no report
        declared = {}
    told = {}
    for name, value in entry["parameters"].items():
        default = declared[name].default if name in declared else value
        text, usual = (json.dumps(each, ensure_ascii=False) for each in (value, default))
        told[name] = text, usual if name in declared else "not known", value != default
    return told


def _figures(folder):
    """(name, its `src`, is key figure): as JPEG where that halves it (the whole series: 32 to 15 MB)."""
    from PIL import Image

    found, figures = sorted(folder.glob("*.png")), []
    key = [path for path in found if KEY_FIGURES.search(path.stem)] or found[:2]
    for path in found:
        png, jpeg = path.read_bytes(), io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").save(jpeg, "JPEG", quality=85, subsampling=0)
        kind, data = ("jpeg", jpeg.getvalue()) if 2 * jpeg.tell() < len(png) else ("png", png)
        name = path.stem.lstrip("0123456789_").replace("_", " ")
        figures.append((name, f"data:image/{kind};base64,{base64.b64encode(data).decode()}", path in key))
    return figures


def _write(path, **values):
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["label"] = lambda name: " ".join(WORDS.get(word, word) for word in name.split("_"))
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    paths.write_text(path, environment.from_string(template).render(**values))
    return path
