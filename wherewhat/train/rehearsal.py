"""A rehearsal of a training: what a recipe needs on this machine, measured on a few steps with noise for images."""

import sys
import time
from dataclasses import replace
from typing import NamedTuple

import torch
from lightning_fabric import Fabric

from wherewhat.config import Config
from wherewhat.machine import resolve_precision
from wherewhat.progress import Progress
from wherewhat.train.memory import check_memory
from wherewhat.train.state import State
from wherewhat.train.step import train_step

STEPS, WARMUP = 20, 2
"""optimizer steps that are timed, and those before them that are not, unless there are no others"""
SECONDS = 120.0
"""after so long no further step is begun, so that a recipe for a large GPU can be rehearsed without one"""


class Rehearsal(NamedTuple):
    """What was measured."""

    parameters: dict[str, int]
    """numbers that are trained, by network"""
    precision: str
    memory: int | None
    """bytes: of a GPU the most that tensors took; else the most that the whole process did, where the system says"""
    steps: int
    images_per_second: float

    def hours(self, images: int) -> float:
        """Hours that so many images take."""
        return images / self.images_per_second / 3600


def rehearse(config: Config, fabric: Fabric, progress: Progress) -> Rehearsal:
    """Train for STEPS steps, or for SECONDS, on noise, and write nothing; an adversary that would begin later is there
    from the first step.  Raises UserError if memory is too small."""
    if config.gan:
        config = replace(config, gan=replace(config.gan, start_images=0))
    check_memory(config, fabric.device, fabric.world_size)
    state = State(config, fabric)
    cuda = fabric.device.type == "cuda"
    generator = torch.Generator().manual_seed(config.seed)
    shape = config.batch // fabric.world_size, config.data.channels, *config.size
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)

    def wait() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    clock = [wait()]
    while len(clock) <= WARMUP + STEPS and (len(clock) == 1 or clock[-1] - clock[0] < SECONDS):
        train_step(state, images)
        clock.append(wait())
        progress("rehearsing", (len(clock) - 1) / (WARMUP + STEPS))
    timed = clock[WARMUP:] if len(clock) > WARMUP + 1 else clock
    steps, seconds = len(timed) - 1, timed[-1] - timed[0]
    parameters = {name: sum(p.numel() for p in network.parameters()) for name, network in state.networks.items()}
    memory = torch.cuda.max_memory_allocated() if cuda else peak_memory()
    precision = resolve_precision(config.precision, fabric.device.type)
    return Rehearsal(parameters, precision, memory, steps, steps * config.batch / seconds)


def peak_memory() -> int | None:
    """The most bytes that this process has taken; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
