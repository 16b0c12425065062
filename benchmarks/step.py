"""How many images a second does a recipe train on as shipped, and how many in a plain port of the reference's way?

    python benchmarks/step.py                   # about four minutes on two cores
    python benchmarks/step.py --quick           # demo, and rooms in small batches; writes nothing
    python benchmarks/step.py --device cuda

Both ways are the same networks, losses, optimizers, running averages and batches, seeded alike; the losses of their
first steps are held to each other.  The plain port differs in four things, three of them done as the reference
(TensorFlow 1) does them: latents are painted one after another by the paper's loop (`loop` in masks.py), features and
weights are contiguous (b c h w), and everything is float32 (on CUDA with PyTorch's defaults, so convolutions may use
TF32); and the C library's allocator is left as it is.  As shipped, latents are painted in closed form, features and
weights are channels last, precision is the recipe's (bf16 where the processor multiplies it natively, else float32),
and on a CPU with glibc freed memory is kept for the next step (`keep_memory` in machine.py).  For the demo the ways
in between are shown too (the closed form answers channels last, whatever it is given); it is no recipe of the paper's,
so its plain port is its own networks, written plainly.

R1 comes every 16 steps both ways, as in the reference: steps with and without it are timed by themselves and weighed
1 : 15.  Images are random bytes; reading and preparing images is left out, everything else of a step is in.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from common import MB, command, fresh, header, held, options, peak_memory, table, timed, write
from masks import loop
from torch import Tensor, nn

from wherewhat.machine import resolve_precision
from wherewhat.nn import ops
from wherewhat.recipes import find
from wherewhat.train import loop as training
from wherewhat.train.state import State
from wherewhat.train.step import train_step


class Way(NamedTuple):
    """How a step is done."""

    name: str
    closed: bool = False
    last: bool = False
    precision: str = "fp32"
    kept: bool = False


PLAIN, SHIPPED = Way("plain port"), Way("as shipped", True, True, "auto", True)
BETWEEN = (
    Way("… with the closed form", True),
    Way("… and channels last", True, True),
    Way("… and bf16", True, True, "auto"),
)
WAYS = {"demo": (PLAIN, *BETWEEN, SHIPPED), "rooms": (PLAIN, SHIPPED), "celeba": (PLAIN, SHIPPED)}
SMALLER = {"celeba": 4}
"""recipe → images a step on the CPU instead of its own, where a step of its own takes most of a minute"""
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}
"""precision → largest relative difference of a loss in the first step"""


class Measured(NamedTuple):
    """One recipe done one way."""

    way: Way
    precision: str
    losses: dict[str, float]
    seconds: float
    spread: float
    memory: int


def measure(recipe: str, way: Way, batch: int, device: str, seconds: float) -> Measured:
    """For `fresh`, since it changes the package in place.  seconds: to time at least, beside three steps."""
    before = held(device)
    config = replace(find(recipe), batch=batch, precision=way.precision)
    if not way.closed:
        ops.masked_adain = loop
    if not way.kept:
        training.keep_memory = lambda: None
    state = State(config, training.launch(config, device, 1))
    if not way.last:
        make_contiguous(state)
    rng = torch.Generator().manual_seed(0)
    real = torch.randint(256, (batch, config.data.channels, *config.size), dtype=torch.uint8, generator=rng)
    losses = {name: value.item() for name, value in train_step(state, real).items()}
    usual = timed(partial(step_at, state, real, 1), device, seconds, least=3, warm=0)
    mean, every = usual.median, config.gan.r1_interval if config.gan else 1
    if config.gan:
        penalised = timed(partial(step_at, state, real, 0), device, seconds / 4, least=1, warm=0)
        mean = (penalised.median + (every - 1) * usual.median) / every
    memory = peak_memory(partial(step_at, state, real, 0), device, since=before)
    return Measured(way, resolve_precision(config.precision, state.device.type), losses, mean, usual.spread, memory)


def step_at(state: State, real: Tensor, steps: int) -> None:
    """One step as if so many had been done: R1 is in those numbered 0, 16, 32 …"""
    state.images_seen = steps * state.config.batch
    train_step(state, real)


def make_contiguous(state: State) -> None:
    """Weights contiguous, and with them and the first features all others."""
    networks = list(state.networks.values())
    for network in networks:
        network.to(memory_format=torch.contiguous_format)
    trunks = [network.trunk for network in networks[1:]]
    for first in (state.networks["generator"].stages[0], *(trunk.blocks for trunk in trunks)):
        first.register_forward_pre_hook(_contiguous)


def _contiguous(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return inputs[0].contiguous(), *inputs[1:]


def check(one: Measured, plain: Measured) -> None:
    """The first step's losses are the plain port's."""
    for name, true in plain.losses.items():
        allowed = TOLERANCE[one.precision] * (abs(true) + 0.01)  # an untrained loss can be next to nothing
        message = f"{name}: {one.losses[name]} {one.way.name}, {true} in the plain port"
        assert abs(one.losses[name] - true) < allowed, message


def rows(recipe: str, batch: int, device: str, seconds: float) -> list[list[str]]:
    """One line of the table for each way."""
    measured = [fresh(measure, recipe, way, batch, device, seconds) for way in WAYS[recipe]]
    plain, lines = measured[0], []
    for one in measured:
        check(one, plain)
        speed = batch / one.seconds
        shown = f"{speed:.3g} ± {speed * one.spread / one.seconds:.1g}"
        gain = f"{plain.seconds / one.seconds:.1f}×"
        lines.append([recipe, f"{one.way.name}, {one.precision}", str(batch), shown, gain, f"{one.memory / MB:.0f}"])
    return lines


def main() -> None:
    args = options(__doc__)
    head = header(command(), args.device)
    recipes, seconds = (("demo", "rooms"), 0.1) if args.quick else (tuple(WAYS), 3.0)
    lines = []
    for recipe in recipes:
        batch = SMALLER.get(recipe, find(recipe).batch) if args.device == "cpu" else find(recipe).batch
        lines += rows(recipe, min(batch, 4) if args.quick and recipe != "demo" else batch, args.device, seconds)
    note = (
        "Images a second: median step, GANs with R1 every 16 steps; ± half the interquartile range of those without. "
        "MB: the most held during a step with R1, in a process that holds nothing else: weights, averages, optimizers "
        "and activations (resident memory; on CUDA PyTorch's allocator). Reading of images is left out. The plain port "
        "paints by the paper's loop, in float32, contiguous, with malloc as it is."
    )
    heads = ["recipe", "way", "batch", "images/s", "gain", "MB"]
    write("step", "\n".join(["# A step as shipped or plain", "", head, "", note, "", table(heads, lines), ""]), args)


if __name__ == "__main__":
    main()
