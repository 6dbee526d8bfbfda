"""Training: the device, the loop, the monitor."""

from helpers.training.device import PRECISIONS, Device, cpu_computes_bfloat16, prepare_device
from helpers.training.fit import State, fit, predict
from helpers.training.monitor import Monitor

__all__ = [
    "PRECISIONS", "Device", "Monitor", "State", "cpu_computes_bfloat16", "fit", "predict", "prepare_device",
]  # fmt: skip
