"""Metrics for anyone's codes and anyone's generator: pure functions, usable without the rest."""

from importlib import import_module
from typing import Any

_PLACES = {
    "factors": ("beta_vae", "dci", "factor_vae", "match", "mig", "sap"),
    "distance": ("Distance", "Lpips", "Pixels", "load_distance"),
    "images": ("psnr", "ssim"),
    "tpl": ("TPL", "TplProtocol", "tpl_score"),
}

__all__ = [name for names in _PLACES.values() for name in names]


def __getattr__(name: str) -> Any:
    """Loads what is asked for, so that reading the registry does not import torch."""
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"wherewhat.metrics.{module}"), name)
    if name in ("features", "ranking", "registry", "where", *_PLACES):
        return import_module(f"wherewhat.metrics.{name}")
    raise AttributeError(f"module wherewhat.metrics has no attribute {name}")
