"""Scores of images, of maps and their classes, of views; and how far one method is ahead of another."""
# ruff: noqa: F401

from helpers.metrics.images import detail, ergas, gain, mae, pearson, psnr, rmse, shift_px, spectral_angle_deg, ssim
from helpers.metrics.maps import (
    confusion,
    decode,
    gain_pooled,
    iou,
    kid,
    mean_iou,
    pixel_accuracy,
)
from helpers.metrics.views import identification, retrieval
