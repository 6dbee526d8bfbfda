"""Scores of images, of maps and their classes, of views; and how far one method is ahead of another."""

from helpers.metrics.images import (
    SSIM_WINDOW_PX,
    detail,
    ergas,
    gain,
    mae,
    pearson,
    psnr,
    rmse,
    shift_px,
    spectral_angle_deg,
    ssim,
)
from helpers.metrics.maps import (
    boundary_counts,
    boundary_f1,
    confusion,
    decode,
    f1,
    gain_pooled,
    iou,
    kid,
    mean_iou,
    pixel_accuracy,
    random_features,
)
from helpers.metrics.views import diversity, identification, retrieval, view_features

__all__ = [
    "SSIM_WINDOW_PX", "boundary_counts", "boundary_f1", "confusion", "decode", "detail", "diversity", "ergas", "f1",
    "gain", "gain_pooled", "identification", "iou", "kid", "mae", "mean_iou", "pearson", "pixel_accuracy", "psnr",
    "random_features", "retrieval", "rmse", "shift_px", "spectral_angle_deg", "ssim", "view_features",
]  # fmt: skip
