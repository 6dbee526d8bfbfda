"""Scenes: imagery with its place on the ground; read, write, and split so that tests are fair."""
# ruff: noqa: F401

from helpers.scenes.files import read, to_file_values, write
from helpers.scenes.scene import Scene, fill_nodata, stack
from helpers.scenes.splits import (
    SPLITS,
    blocks_away_from,
    check_disjoint,
    split_ground,
    split_scenes,
)
from helpers.scenes.values import from_unit, to_unit, value_range
