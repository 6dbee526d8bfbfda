"""`report.html`: one self-contained page for a run."""

import base64
import re
from pathlib import Path

from helpers import paths

GAIN = re.compile(r"gain_(?!over)(.+?)(_low|_high)?$")


def write_report(run_id):
    """Write the page for a run: scores beside baselines, figures, parameters, device, time, credits.

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
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True).from_string(template).render(run_id=run_id, sections=sections)
    paths.write_text(folder / "report.html", page)
    return folder / "report.html"


def _section(path):
    entry = paths.read_json(path)
    figures = [
        {"name": figure.stem.replace("_", " "), "png": base64.b64encode(figure.read_bytes()).decode()}
        for figure in sorted((path.parent / "figures").glob("*.png"))
    ]
    columns, rows = score_table(entry["scores"])
    return entry | {
        "figures": figures, "columns": columns, "rows": rows, "credits": paths.read_json(path.parent / "credits.json"),
    }  # fmt: skip


def score_table(scores):
    """Score rows as text for people: one column a score, a gain with its interval in one cell.

    Args:
        scores: rows of `metrics.json`.

    Returns:
        columns: list of names; rows: list of (list of cells, is headline).
    """
    plain = dict.fromkeys(
        key for row in scores for key, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not GAIN.match(key)
    )  # fmt: skip
    gains = dict.fromkeys(m.group(1) for row in scores for key in row if (m := GAIN.match(key)) and not m.group(2))
    columns = ["method", "role", "split", *plain, *(f"gain_{name}" for name in gains)]
    rows = []
    for row in scores:
        cells = [str(row.get(key, "")) for key in ("method", "role", "split")]
        cells += [f"{row[key]:.3f}".rstrip("0").rstrip(".") if key in row else "" for key in plain]
        for name in gains:
            key = f"gain_{name}"
            inside = f" [{row[key + '_low']:+.3f}, {row[key + '_high']:+.3f}]" if f"{key}_low" in row else ""
            cells.append(f"{row[key]:+.3f}{inside} over {row['gain_over']}" if key in row else "")
        rows.append((cells, bool(row.get("headline"))))
    return columns, rows
