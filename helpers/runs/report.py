"""Write the report of a run: one HTML page that needs no other file."""

import base64
import io
import re
from pathlib import Path

from helpers import paths
from helpers.metrics import score_table
from helpers.runs.parameters import declared
from helpers.runs.run import RECORD

KEY_FIGURE = re.compile("side_by_side|gallery|predicted|failures")


def write_report(run_id):
    """Write the page of a run: scores beside baselines, figures, parameters, time, credits.

    Args:
        run_id: of a finished run.

    Returns:
        Path of `report.html`.
    """
    import jinja2

    folder = paths.RUNS / run_id
    sections = [_section(path) for path in sorted(folder.glob("*/metrics.json"))]
    template = Path(__file__).with_name("report.html.jinja")
    page = jinja2.Template(
        template.read_text(encoding="utf-8"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    report = folder / "report.html"
    paths.write_text(report, page.render(run_id=run_id, sections=sections))
    return report


def _section(path):
    """Collect what the page tells of one finished notebook."""
    entry = paths.read_json(path, RECORD)
    table = score_table(entry["scores"])
    files = {file.stem: file for file in sorted(path.parent.glob("figures/*.png"))}
    key = [name for name in files if KEY_FIGURE.search(name)]
    return entry | {
        "columns": list(table.columns[3:]),
        "rows": list(zip(table.to_dict("records"), entry["scores"], strict=True)),
        "declared": declared(entry["notebook"]),
        "figures": {name: _jpeg(file) for name, file in files.items()},
        "key_figures": key or list(files)[:2],
        "credits": paths.read_json(path.parent / "credits.json"),
    }


def _jpeg(file):
    """Return a figure as JPEG, base64: less than half the size of PNG."""
    from PIL import Image

    jpeg = io.BytesIO()
    with Image.open(file) as picture:
        picture.convert("RGB").save(jpeg, "JPEG", quality=85)
    return base64.b64encode(jpeg.getvalue()).decode()
