"""Training: the device, the loop, the adversary, the monitor."""

from helpers.training import losses
from helpers.training.adversarial import fit_adversarial
from helpers.training.device import PRECISIONS, Device, cpu_computes_bfloat16, prepare_device
from helpers.training.fit import State, fit, predict
from helpers.training.latent import augment_differentiably, draw_latents, fit_latent_gan
from helpers.training.monitor import Monitor

__all__ = [
    "PRECISIONS", "Device", "Monitor", "State", "augment_differentiably", "cpu_computes_bfloat16", "draw_latents",
    "fit", "fit_adversarial", "fit_latent_gan", "losses", "predict", "prepare_device",
]  # fmt: skip
