"""Interpretable controls from unlabelled images: each has a where (a mask) and a what (one simple variation).

run = wherewhat.open_run("runs/demo")
image, masks = run.generator(z)
codes = run.encoder(images)
wherewhat.tpl(lambda z: run.generator(z).image, run.config.generator.latents, wherewhat.load_distance("alex"))
wherewhat.metrics.factors.mig(codes, factors, rng)
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "open_run": ("wherewhat.run.folder", "open_run"),
    "traverse": ("wherewhat.viz.notebook", "traverse"),
    "open_photos": ("wherewhat.editing.invert", "open_photos"),
    "invert": ("wherewhat.editing.invert", "invert"),
    "tpl": ("wherewhat.metrics.tpl", "tpl"),
    "load_distance": ("wherewhat.metrics.distance", "load_distance"),
    "find_recipe": ("wherewhat.recipes", "find"),
    "open_data": ("wherewhat.data", "open_data"),
    "UserError": ("wherewhat.errors", "UserError"),
}

__all__ = ["metrics", *_PLACES]


def __getattr__(name: str) -> Any:
    """Loads what is asked for: importing wherewhat itself takes no time."""
    if name in _PLACES:
        module, attribute = _PLACES[name]
        return getattr(import_module(module), attribute)
    if name == "metrics":
        return import_module("wherewhat.metrics")
    raise AttributeError(f"module wherewhat has no attribute {name}")
