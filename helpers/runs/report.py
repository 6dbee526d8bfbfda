"""Write the report of a run: one HTML page that needs no other file."""

import base64
import io
import json
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
    templates = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=templates, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = json.dumps
    environment.tests["key_figure"] = KEY_FIGURE.search
    page = environment.get_template("report.html.jinja")
    paths.write_text(
        folder / "report.html", page.render(run_id=run_id, sections=sections)
    )
    return folder / "report.html"


def _section(path):
    """Collect what the page tells of one finished notebook."""
    entry = paths.read_record(path, RECORD)
    table = score_table(entry["scores"])
    defaults = {
        name: each.default for name, each in declared(entry["notebook"]).items()
    }
    return entry | {
        "columns": list(table.columns[3:]),
        "rows": list(zip(table.to_dict("records"), entry["scores"], strict=True)),
        "defaults": defaults,
        "figures": {
            file.stem: _jpeg(file) for file in sorted(path.parent.glob("figures/*.png"))
        },
        "credits": paths.read_json(path.parent / "credits.json"),
    }


def _jpeg(file):
    """Return a figure as JPEG, base64: less than half the size of PNG."""
    from PIL import Image

    jpeg = io.BytesIO()
    with Image.open(file) as picture:
        picture.convert("RGB").save(jpeg, "JPEG", quality=85, subsampling=0)
    return base64.b64encode(jpeg.getvalue()).decode()
