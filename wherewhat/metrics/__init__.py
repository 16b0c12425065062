"""Metrics for anyone's codes and anyone's generator: pure functions, usable without the rest."""

from wherewhat.metrics.distance import Distance, Lpips, Pixels, load_distance
from wherewhat.metrics.factors import beta_vae, dci, factor_vae, match, mig, sap
from wherewhat.metrics.images import psnr, ssim
from wherewhat.metrics.tpl import TPL, TplProtocol, tpl_score

__all__ = [
    "TPL", "Distance", "Lpips", "Pixels", "TplProtocol", "beta_vae", "dci", "factor_vae", "load_distance", "match",
    "mig", "psnr", "sap", "ssim", "tpl_score",
]  # fmt: skip
