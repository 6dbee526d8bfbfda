"""The parameters of a notebook: read from its cell tagged `parameters`, checked before anything is computed.

A parameter is one line: `scale: int = 4  # enlargement of each side [2, 3, 4]`. What stands in the last brackets of
the comment is what is allowed: a list of values, or a range such as `[1..1000]`, open where a side is left out.
"""

import ast
import difflib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from helpers import paths

TYPES = {"int": int, "float": (int, float), "bool": bool, "str": str, "None": type(None)}


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as everywhere else; PyYAML asks for 1.0e-3."""


# In YAML 1.1, 010 is 8, 1:30 is 90 and 2020-05-01 is a date: here they are texts, and so refused
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith((":int", ":timestamp"))]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read_yaml(text):
    """The value that a YAML text stands for; a ValueError says where it is no YAML."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} is not valid YAML: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class Parameter:
    """One parameter of a notebook: its name, type as written, default value, help text and allowed values."""

    name: str
    type: str
    default: object
    help: str

    def parse(self, text):
        """Read a value as people write it: text stays text, all else is read as YAML."""
        return text if "str" in self.type.split(" | ") else read_yaml(text)

    def check(self, value):
        """Return the value in the parameter's type; a ValueError says what was expected."""
        kinds = [kind.strip() for kind in self.type.split("|")]
        if not any(_is_a(value, kind) for kind in kinds):
            raise ValueError(f"parameter {self.name} is {value!r}; expected {self.type}: {self.help}")
        if "float" in kinds and type(value) is int:
            value = float(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"parameter {self.name} is {value}; expected a finite number: {self.help}")
        allowed = re.search(r"\[([^\[\]]*)\]\s*$", self.help)
        for each in (value if isinstance(value, list) else [value]) if allowed and value is not None else ():
            if not _is_in(each, allowed.group(1)):
                raise ValueError(f"parameter {self.name} is {each!r}; allowed is [{allowed.group(1)}]: {self.help}")
        return value


def _is_a(value, kind):
    if items := re.fullmatch(r"list\[(\w+)\]", kind):
        return isinstance(value, list) and all(_is_a(item, items.group(1)) for item in value)
    return isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))


def _is_in(value, allowed):
    low, dots, high = allowed.partition("..")
    if dots:
        return (not low or value >= float(low)) and (not high or value <= float(high))
    return value in read_yaml(f"[{allowed}]")


def declared(notebook):
    """Read the parameters that a notebook declares.

    Args:
        notebook: path of an .ipynb file, or the name of one in `notebooks` or `notebooks/deeper`.

    Returns:
        dict from name to Parameter, in the order of the cell.

    Raises:
        ValueError: no cell is tagged `parameters`, or a line of it is no annotated assignment.
    """
    if not str(notebook).endswith(".ipynb"):
        folder = paths.ROOT / "notebooks"
        notebook = next((folder / "deeper").glob(f"{notebook}.ipynb"), folder / f"{notebook}.ipynb")
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        told = "expected one. Exercises have none: open them in JupyterLab"
        raise ValueError(f"{notebook}: {len(tagged)} cells are tagged `parameters`; {told}")
    source = "".join(tagged[0]["source"])
    lines, found = source.splitlines(), {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.AnnAssign) or node.lineno != node.end_lineno:
            raise ValueError(f"{notebook}: `{lines[node.lineno - 1]}` should read `name: type = value  # meaning`")
        comment = lines[node.lineno - 1].encode()[node.end_col_offset :].decode().strip().lstrip("#").strip()
        default = ast.literal_eval(node.value)
        found[node.target.id] = Parameter(node.target.id, ast.unparse(node.annotation), default, comment)
    return found


def check(values, parameters):
    """Check given values against a notebook's parameters.

    Args:
        values: dict from name to value.
        parameters: what `declared` returned.

    Returns:
        dict with the checked values.

    Raises:
        ValueError: unknown name (with the nearest known one), wrong type, or a value that is not allowed.
    """
    for name in values:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"unknown parameter {name}; {hint}known are {', '.join(parameters)}")
    return {name: parameters[name].check(value) for name, value in values.items()}
