"""How many images a second does a recipe train on as shipped, and how many in a plain port of the reference's way?

    python benchmarks/step.py                   # about four minutes on two cores
    python benchmarks/step.py --quick           # a smaller celeba, few repeats; writes nothing
    python benchmarks/step.py --device cuda

Both are the same networks, losses, optimisers, running averages and batches, seeded alike; before anything is timed the
losses of their first steps are held to each other.  The plain port differs in three things, which are how the reference
(TensorFlow 1) does them: latents are painted one after another by the paper's loop (`loop` in masks.py), everything is
float32, and features and weights are contiguous (b c h w).  As shipped, latents are painted in closed form, features and
weights are channels last, and the precision is the recipe's: bf16 where the processor multiplies it natively, where it
does not, float32.  The demo is no recipe of the paper's; its plain port is what the same stages would be without ours.

Both are lazy about R1 as the reference is: steps with and without the penalty are timed by themselves and weighed
1 : 15.  Images are random bytes, and loading and preparing them is left out; everything else of a step is in.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from common import MB, Timing, command, fresh, header, held, options, peak_memory, table, timed, write
from masks import loop
from torch import Tensor, nn

from wherewhat.nn import ops
from wherewhat.recipes import find
from wherewhat.train.loop import launch
from wherewhat.train.state import State
from wherewhat.train.step import resolve_precision, step

BATCHES = {"cpu": {"demo": 64, "rooms": 32, "celeba": 4}, "cuda": {"demo": 64, "rooms": 32, "celeba": 8}}
"""device → recipe → images a step: the recipe's own, but half of celeba's on the CPU, where a step takes long"""
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""precision as shipped → largest relative difference of a loss in the first step"""


class Way(NamedTuple):
    """How a step is done."""

    closed: bool
    last: bool
    precision: str


PLAIN, SHIPPED = Way(False, False, "fp32"), Way(True, True, "auto")


class Measured(NamedTuple):
    """One recipe done one way."""

    losses: dict[str, float]
    seconds: float
    spread: float
    memory: int
    precision: str


def measure(recipe: str, way: Way, batch: int, device: str, seconds: float, least: int) -> Measured:
    """For `fresh`: it changes the package in place."""
    config = replace(find(recipe), batch=batch, precision=way.precision)
    before = held(device)
    if not way.closed:
        ops.paint = loop
    state = State(config, launch(config, device, 1))
    if not way.last:
        make_contiguous(state)
    rng = torch.Generator().manual_seed(0)
    real = torch.randint(256, (batch, config.data.channels, *config.size), dtype=torch.uint8, generator=rng)
    first = {name: value.item() for name, value in step(state, real).items()}
    clocks = [timed(partial(step_at, state, real, steps), device, seconds, least) for steps in (1, 0)[:1]]
