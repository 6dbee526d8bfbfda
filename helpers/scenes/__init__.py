"""Scenes: imagery with its place on the ground; reading, writing, and splits that keep test ground unseen."""

from helpers.scenes.files import read, read_on_disk, refuse_classes, to_file_values, write
from helpers.scenes.folders import look_at_values, read_ground, split_manifest
from helpers.scenes.ground import SPLITS, from_unit, refuse_overlap, split_ground, to_unit, value_range
from helpers.scenes.scene import Scene, filled

__all__ = [
    "SPLITS", "Scene", "filled", "from_unit", "look_at_values", "read", "read_ground", "read_on_disk", "refuse_classes",
    "refuse_overlap", "split_ground", "split_manifest", "to_file_values", "to_unit", "value_range", "write",
]  # fmt: skip
