"""Training: the device, the loop, the adversary, the monitor."""
# ruff: noqa: F401

from helpers.training import losses
from helpers.training.adversarial import fit_adversarial
from helpers.training.augment import augment
from helpers.training.device import cpu_computes_bfloat16, prepare_device
from helpers.training.fit import fit
from helpers.training.latent import (
    diversity,
    draw_latents,
    fit_landscapes,
    fit_latents,
    fit_ridge,
    square_loss,
    view_features,
)
from helpers.training.monitor import predict
