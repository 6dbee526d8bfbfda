"""Functions that a notebook defines, for tests and benchmarks of them."""

import ast
from pathlib import Path

import nbformat
import numpy as np

from helpers import features, models
from helpers.backend import keras


def defined_in(notebook, name):
    """A function of a notebook, given by its name without suffix."""
    (path,) = (Path(__file__).parents[1] / "notebooks").rglob(f"{notebook}*.ipynb")
    code = (cell.source for cell in nbformat.read(path, 4).cells if f"def {name}(" in cell.source)
    tree = ast.parse(next(code))
    tree.body = [node for node in tree.body if getattr(node, "name", None) == name]
    names = {"features": features, "keras": keras, "layers": keras.layers, "models": models, "np": np}
    exec(compile(tree, path, "exec"), names)
    return names[name]


def unet(bands, bands_out, filters, depth):
    """The plain U-Net of notebook 05b."""
    return defined_in("05b", "unet")(bands, bands_out, filters, depth)


def espcn(bands, *, scale, **options):
    """The network of notebook 02b, which enlarges by itself."""
    return defined_in("02b", "build_espcn")(bands, scale, **options)
