"""Compare images: grids with one shared stretch, curves, footprints, sliders, source code.

Every function that draws returns a Matplotlib figure, or a widget, and shows nothing by itself:
make it the last expression of a cell, or `display(...)` it. The figure is already closed for
pyplot, so that it is not shown twice.
"""
# ruff: noqa: F401

from helpers.show.drawing import NO_DATA, PALETTE, stretch
from helpers.show.figures import curves, footprints, grid
from helpers.show.widgets import before_after, click_map, explore, is_static, source
