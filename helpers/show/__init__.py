"""Compare pictures: grids with one shared stretch, error maps, curves, footprints, sliders.

Every function that draws returns a Matplotlib figure, or a widget, and shows nothing by itself:
make it the last expression of a cell, or `display(...)` it. The figure is already closed for
pyplot, so that it is not shown twice.
"""
# ruff: noqa: F401

from helpers.show.code import source
from helpers.show.drawing import NO_DATA, PALETTE, stretch
from helpers.show.images import error_map, grid
from helpers.show.latent import click_map, explore
from helpers.show.plots import curves, footprints
from helpers.show.slider import before_after, is_static
