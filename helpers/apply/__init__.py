"""A trained network over a whole GeoTIFF: `apply` and `load_model`.

`plan` is what is decided before, `whole` the walk over the image, `network` what happens to one window, `windows` how
windows are cut and put together again, `working` the file that grows beside the output and survives a crash, `clouded`
what is left as it was.
"""

from helpers.apply.network import load_model
from helpers.apply.whole import apply

__all__ = ["apply", "load_model"]
