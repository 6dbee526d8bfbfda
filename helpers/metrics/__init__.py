"""Score images, maps and views, and compare methods with a baseline."""
# ruff: noqa: F401

from helpers.metrics.gains import gain, gain_pooled
from helpers.metrics.images import (
    ergas,
    error_decomposition,
    mae,
    pearson,
    psnr,
    rmse,
    shift_px,
    spectral_angle_deg,
    ssim,
)
from helpers.metrics.maps import (
    confusion,
    decode,
    iou,
    kid,
    map_scores,
    mean_iou,
)
from helpers.metrics.scoreboard import Scoreboard, score_table
from helpers.metrics.views import retrieval
