"""Find notebooks; read their parameters from the cell tagged `parameters`; check values.

A parameter is one line: `scale: int = 4  # enlargement of each side [2, 3, 4]`. The last brackets
of the comment hold what is allowed: a list of values, or a range such as `[1..1000]`, open where a
side is left out. Papermill's own reader does not serve: it gives default values as text, cuts them
at a "#" in a string, and passes over a line that it cannot read, such as one of `int | None`.
"""

import ast
import difflib
import json
import math
import re
from pathlib import Path
from typing import NamedTuple

from helpers import paths

LINE = re.compile("(\\w+): (.+?) = (.+)  # (.+)")
RENAMED = {"guard_px": "buffer_px"}  # parameters of earlier versions


def notebooks(names=()):
    """Find notebooks by the beginning of their names.

    Args:
        names: such as "02", "deeper/02b" or "exercises/02"; default: the lessons alone.

    Returns:
        list of Path, sorted.

    Raises:
        ValueError: a name that fits no notebook (names all of them).
    """
    folder = paths.ROOT / "notebooks"
    files = [*folder.glob("[0-9]*.ipynb"), *folder.glob("[!.]*/[0-9]*.ipynb")]
    known = {path.relative_to(folder).as_posix(): path for path in files}
    found = set()
    for name in names or ["0"]:  # with which all lessons begin
        begun = {path for key, path in known.items() if key.startswith(name)}
        if not begun:
            raise ValueError(
                f"no notebook is called {name}; there are {', '.join(sorted(known))}"
            )
        found |= begun
    return sorted(found)


class Parameter(NamedTuple):
    """One parameter: its name, type as written, default, and help text with the allowed values."""

    name: str
    type: str
    default: object
    help: str

    def parse(self, value):
        """Read a text of the command line: it stays text, or is JSON, such as true."""
        if "str" in self.type or not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            return value  # `check` refuses it

    def check(self, value):
        """Return the value in the parameter's type; a ValueError names what is allowed."""
        is_list = isinstance(value, list)
        items = value if is_list else [value]
        if "float" in self.type:
            items = [float(item) if type(item) is int else item for item in items]
        if is_list != self.type.startswith("list") or not all(map(self._allows, items)):
            raise ValueError(
                f"parameter {self.name} is {value!r}; expected {self.type}: {self.help}"
            )
        return items if is_list else items[0]

    def _allows(self, item):
        kind = "None" if item is None else type(item).__name__
        allowed = re.search(r"\[([^\[\]]*)\]\s*$", self.help)
        if kind not in re.findall(r"\w+", self.type.removeprefix("list")):
            return False
        if kind == "float" and not math.isfinite(item):
            return False
        if item is None or not allowed:
            return True
        low, dots, high = allowed[1].partition("..")
        if not dots:
            return str(item) in allowed[1].split(", ")
        return float(low or "-inf") <= item <= float(high or "inf")


def declared(notebook):
    """Read the parameters that a notebook declares.

    Args:
        notebook: name or path of one in `notebooks` or a folder of it.

    Returns:
        dict from name to Parameter, in the order of the cell.

    Raises:
        ValueError: no cell is tagged `parameters`, or a line of it is no annotated assignment.
    """
    folder = paths.ROOT / "notebooks"
    name = f"{Path(notebook).stem}.ipynb"
    cells = paths.read_json(next(folder.rglob(name), folder / name))["cells"]
    tagged = [
        "".join(cell["source"])
        for cell in cells
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(tagged) != 1:
        raise ValueError(
            f"{notebook}: {len(tagged)} cells are tagged `parameters`; expected one. "
            "Exercises have none: open them in JupyterLab"
        )
    found = {}
    for line in tagged[0].splitlines():
        if not line or line.startswith("#"):
            continue
        parts = LINE.fullmatch(line)
        if not parts:
            raise ValueError(
                f"{notebook}: `{line}` should read `name: type = value  # meaning`"
            )
        name, kind, value, meaning = parts.groups()
        found[name] = Parameter(name, kind, ast.literal_eval(value), meaning)
    return found


def check(values, parameters):
    """Check given values against a notebook's parameters.

    Args:
        values: dict from name to value.
        parameters: what `declared` returned.

    Returns:
        dict with the checked values.

    Raises:
        ValueError: unknown name (with the nearest known one), wrong type, or a value that is not
            allowed.
    """
    check_names(values, parameters)
    return {name: parameters[name].check(value) for name, value in values.items()}


def check_names(names, parameters):
    """Raise a ValueError for an unknown name; it says the nearest known one, or the new name."""
    for name in names:
        if name not in parameters:
            near = difflib.get_close_matches(RENAMED.get(name, name), parameters, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"unknown parameter {name}; {hint}known are {', '.join(parameters)}"
            )
