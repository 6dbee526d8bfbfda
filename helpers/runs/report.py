"""Pages of one file each, that need nothing else: the report of a run, and runs side by side."""

import base64
import io
import json
import re
from pathlib import Path

from helpers import paths
from helpers.runs import parameters as parameter_cells
from helpers.runs.run import finished

GAIN = re.compile(r"gain_(?!over)(.+?)(_low|_high)?$")
PART = re.compile(r"(iou|pearson)_.+|.+_(psnr_db|boundary_f1)")  # of one class, one band, some of the pixels
KEY_FIGURES = re.compile("side_by_side|gallery|predicted|failures")
WORDS = {word: word.upper() for word in ("psnr", "ssim", "kid", "mae", "mse", "rmse", "ergas")}
WORDS |= {"iou": "IoU", "db": "(dB)", "deg": "(°)", "px": "(px)"}
OURS = "satellite-notebooks compare"


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


def write_comparison(run_ids, out):
    """Write the page that puts the headline models of runs side by side: scores, parameters, key figures.

    Args:
        run_ids: names of runs or sweeps, in the order of the columns; None for all runs. Differences are to the first.
        out: the page to write; an older one of this kind is replaced.

    Returns:
        Path of the page.

    Raises:
        ValueError: `out` is a folder or someone else's file, a run is unknown or has no finished notebook, or there
            are fewer than two.
    """
    out = Path(out)
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name the page to write, such as {out / 'comparison.html'}")
    if out.exists() and OURS.encode() not in out.read_bytes()[:1000]:
        raise ValueError(f"{out} exists, and is no page of `compare`: choose another name")
    found = finished(run_ids)
    for run in run_ids or ():
        if found.get(run) == []:
            raise ValueError(f"run {run} has no finished notebook: leave it out, or go on with it by --resume")
    notebooks = {}
    for run, files in found.items():
        for path in files:
            notebooks.setdefault(path.parent.name, {})[run] = path
    shared = {name: held for name, held in sorted(notebooks.items()) if len(held) > 1}
    alone = {name: run for name, held in sorted(notebooks.items()) for run in held if name not in shared}
    if not shared:
        told = ", ".join(f"{name} in {run}" for name, run in alone.items()) or "none"
        raise ValueError(f"side by side takes a notebook that is finished in two of the runs; there is {told}")
    compared = [_beside({run: _section(path, others=False) for run, path in held.items()}) for held in shared.values()]
    unfinished = [run for run in found if not found[run]]
    return _write(out, compared=compared, alone=alone, unfinished=unfinished, mark=OURS)


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


def _section(path, others=True):
    """What the page tells of one finished notebook; `others` than the key figures, too."""
    entry = paths.read_json(path)
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
        "plots": plots, "parameters": _parameters(entry), "figures": _figures(path.parent / "figures", others),
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


def _figures(folder, others):
    """(name, its `src`, is key figure): as JPEG where that halves it (the whole series: 32 to 15 MB)."""
    from PIL import Image

    found, figures = sorted(folder.glob("*.png")), []
    key = [path for path in found if KEY_FIGURES.search(path.stem)] or found[:2]
    for path in found if others else key:
        png, jpeg = path.read_bytes(), io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").save(jpeg, "JPEG", quality=85, subsampling=0)
        kind, data = ("jpeg", jpeg.getvalue()) if 2 * jpeg.tell() < len(png) else ("png", png)
        name = path.stem.lstrip("0123456789_").replace("_", " ")
        figures.append((name, f"data:image/{kind};base64,{base64.b64encode(data).decode()}", path in key))
    return figures


def _beside(sections):
    """One notebook in several runs; a row is a label, (text, note) for each run, and whether it is to be marked."""
    here = list(sections.values())
    first, main = here[0], here[0]["main"]

    def row(label, tell, note=lambda section: "", mark=True):
        cells = [(tell(section), "" if section is first else note(section)) for section in here]
        return label, cells, mark and len({text for text, _ in cells}) > 1

    def score(key):
        return row(key, lambda s: _cell(s["headline"], key), lambda s: _difference(s, first, key), mark=False)

    rows = []
    if main:
        keys = score_table([section["headline"] for section in here])[0][3:]
        rows = [row("headline model", lambda s: s["headline"].get("method", ""))]
        rows += [score(key) for key in keys if key == f"gain_{main}" or not GAIN.match(key)]
        rows += [row("baseline's score", lambda s: s["baseline_value"])]
    rows += [row("profile", lambda s: s["profile"]), row("device", lambda s: s["device"].get("kind", "")),
             row("seconds", lambda s: str(s["seconds"]["total"]), mark=False)]  # fmt: skip
    names = dict.fromkeys(name for section in here for name in section["parameters"])
    parameters = [row(name, lambda s, name=name: s["parameters"].get(name, "–")[0]) for name in names]
    sources = {run: {name: source for name, source, _ in section["figures"]} for run, section in sections.items()}
    shown = dict.fromkeys(name for each in sources.values() for name in each)
    return {
        "notebook": first["notebook"], "main": main, "runs": list(sections), "rows": rows, "parameters": parameters,
        "plot": _forest([(run, section["headline"]) for run, section in sections.items()], f"gain_{main}"),
        "figures": [(name, [(run, each.get(name)) for run, each in sources.items()]) for name in shown],
    }  # fmt: skip


def _difference(section, other, key):
    """How a headline's score differs from another run's; of gains, whether their intervals overlap."""
    row, than, low, high = section["headline"], other["headline"], f"{key}_low", f"{key}_high"
    if key not in row or key not in than:
        return ""
    told = _number(row[key] - than[key], "+") if row[key] != than[key] else "same"
    if low in row and low in than:
        apart = row[low] > than[high] or than[low] > row[high]
        told += f", intervals {'lie apart' if apart else 'overlap'}"
    same = row.get("gain_over") == than.get("gain_over") and section["baseline_value"] == other["baseline_value"]
    return told if same or not GAIN.match(key) else f"{told}; the baseline differs, too"


def _write(path, **values):
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["label"] = lambda name: " ".join(WORDS.get(word, word) for word in name.split("_"))
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    paths.write_text(path, environment.from_string(template).render(**values))
    return path
