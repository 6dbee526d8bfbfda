"""Training: the device, the loop, the adversary, the monitor."""

from helpers.training import losses
from helpers.training.adversarial import fit_adversarial
from helpers.training.device import PRECISIONS, Device, cpu_computes_bfloat16, prepare_device
from helpers.training.fit import State, fit, predict
from helpers.training.monitor import Monitor

__all__ = [
    "PRECISIONS", "Device", "Monitor", "State", "cpu_computes_bfloat16", "fit", "fit_adversarial",
    "losses", "predict", "prepare_device",
]  # fmt: skip
