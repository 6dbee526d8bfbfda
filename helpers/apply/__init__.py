"""Apply a trained network to a whole GeoTIFF: `apply` and `load_model`.

`plan` validates and decides, `whole` walks over the image, `network` answers to one window,
`windows` cuts the image and blends the answers, `working` grows the files beside the output so
that they survive a crash, `clouded` leaves what was clear, `many` takes many files, `export`
writes ONNX.
"""

from helpers.apply.network import load_model
from helpers.apply.whole import apply

__all__ = ["apply", "load_model"]
