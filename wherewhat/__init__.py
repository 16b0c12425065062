"""Interpretable controls from unlabelled images: each has a where (a mask) and a what (one simple variation).

run = wherewhat.open_run("runs/demo")  # or "pretrained:rooms"
image, masks = run.generator(z)
codes = run.encoder(images)
wherewhat.traverse(run)
wherewhat.tpl(lambda z: run.generator(z).image, run.config.latents, wherewhat.load_distance("alex"))
theirs = wherewhat.open_generator("package.module:function", latents=512)  # anyone's generator, where a run stands
wherewhat.metrics.factors.mig(codes, factors, rng)
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "open_run": "run.folder.open_run",
    "open_generator": "run.foreign.open_generator",
    "traverse": "viz.traversals.traverse",
    "open_photos": "editing.invert.open_photos",
    "invert": "editing.invert.invert",
    "interpolate": "editing.motion.interpolate",
    "tpl": "metrics.tpl.tpl",
    "load_distance": "metrics.distance.load_distance",
    "find_recipe": "recipes.find",
    "open_data": "data.open_data",
    "UserError": "errors.UserError",
}

__all__ = ["metrics", *_PLACES]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: importing wherewhat itself takes no time."""
    if name == "metrics":
        return import_module("wherewhat.metrics")
    if name not in _PLACES:
        raise AttributeError(f"module wherewhat has no attribute {name}")
    module, _, attribute = _PLACES[name].rpartition(".")
    return getattr(import_module(f"wherewhat.{module}"), attribute)
