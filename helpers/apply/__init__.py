"""Apply a trained network to a whole GeoTIFF: `apply` and `load_model`.

`plan` validates and decides, `windows` computes, `network` answers to one window, `working` grows
the files beside the output so that they survive a crash, and finishes them, `whole` replaces the
output, `many` takes many files, `export` writes ONNX.
"""

from helpers.apply.network import load_model
from helpers.apply.whole import apply

__all__ = ["apply", "load_model"]
