"""Render views from the ground: a height field with an image draped on it, seen by an observer.

Places are (column, row) or metres to the east and south, along the first axis of an array; so are
the planes of a grid and the three colors.
"""
# ruff: noqa: F401

from helpers.relief.rendering import view
from helpers.relief.terrain import aligned, ground
