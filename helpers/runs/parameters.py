"""Read a notebook's parameters from its cell tagged `parameters`; check values before any work.

A parameter is one line: `scale: int = 4  # enlargement of each side [2, 3, 4]`. The last brackets
of the comment hold what is allowed: a list of values, or a range such as `[1..1000]`, open where a
side is left out. Papermill's own reader is not used: it takes 3 s to load, gives default values as
text, and passes over lines that it cannot read.
"""

import ast
import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from helpers import paths

RENAMED = {"guard_px": "buffer_px"}  # parameters of earlier versions


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, type as written, default, and help text with the allowed values."""

    name: str
    type: str
    default: object
    help: str

    def parse(self, text):
        """Read a value of the command line: text stays text, all else is JSON, such as true."""
        if "str" in self.type:
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text  # `check` refuses it

    def check(self, value):
        """Return the value in the parameter's type; a ValueError names what is allowed."""
        is_list = self.type.startswith("list[")
        if isinstance(value, list) != is_list:
            self._refuse(value, f"expected {self.type}")
        return [self._item(item) for item in value] if is_list else self._item(value)

    def _item(self, item):
        kinds = re.findall(r"\w+", self.type)
        if "float" in kinds and (type(item) is int or isinstance(item, float)):
            item = float(item)
        if ("None" if item is None else type(item).__name__) not in kinds:
            self._refuse(item, f"expected {self.type}")
        if isinstance(item, float) and not math.isfinite(item):
            self._refuse(item, "expected a finite number")
        allowed = re.search(r"\[([^\[\]]*)\]\s*$", self.help)
        if allowed and item is not None and not _is_in(item, allowed[1]):
            self._refuse(item, f"allowed is [{allowed[1]}]")
        return item

    def _refuse(self, value, told):
        raise ValueError(f"parameter {self.name} is {value!r}; {told}: {self.help}")


def as_options(values):
    """Return a dict of values as options of the command line, which `parse` reads back."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    return [part for name, text in texts.items() for part in ("-p", f"{name}={text}")]


def _is_in(value, allowed):
    low, dots, high = allowed.partition("..")
    if not dots:
        return str(value) in re.split(r",\s*", allowed)
    return float(low or "-inf") <= value <= float(high or "inf")


def declared(notebook):
    """Read the parameters that a notebook declares.

    Args:
        notebook: path of an .ipynb file, or the name of one in `notebooks` or a folder of it.

    Returns:
        dict from name to Parameter, in the order of the cell.

    Raises:
        ValueError: no cell is tagged `parameters`, or a line of it is no annotated assignment.
    """
    path = Path(notebook)
    if path.suffix != ".ipynb":
        folder = paths.ROOT / "notebooks"
        path = next(folder.rglob(f"{notebook}.ipynb"), folder / f"{notebook}.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        told = "expected one. Exercises have none: open them in JupyterLab"
        raise ValueError(f"{notebook}: {len(tagged)} cells are tagged `parameters`; {told}")
    source = "".join(tagged[0]["source"])
    found = {}
    for node in ast.parse(source).body:
        line = source.splitlines()[node.lineno - 1]
        if not isinstance(node, ast.AnnAssign) or node.lineno != node.end_lineno:
            raise ValueError(f"{notebook}: `{line}` should read `name: type = value  # meaning`")
        comment = line.encode()[node.end_col_offset :].decode().strip(" #")
        name, kind = node.target.id, ast.unparse(node.annotation)
        found[name] = Parameter(name, kind, ast.literal_eval(node.value), comment)
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
            raise ValueError(f"unknown parameter {name}; {hint}known are {', '.join(parameters)}")
