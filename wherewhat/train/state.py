"""Everything a training changes: networks, their running averages, optimisers, and the clock of images seen."""

import copy
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from wherewhat.config import Config
from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.nn.generator import Generator
from wherewhat.nn.layers import channels_last
from wherewhat.nn.trunk import Recogniser, Trunk
from wherewhat.runs import build_generator, build_recogniser
from wherewhat.train.optimisers import Optimiser


class State:
    """One training in memory.  `pack` and `restore` are each other's inverse, bit for bit."""

    def __init__(self, config: Config, fabric: Fabric) -> None:
        self.config, self.fabric, self.device = config, fabric, fabric.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.generator: Generator = self._place(build_generator(config, Generator))
            self.recogniser: Recogniser = self._place(build_recogniser(config, Recogniser))
            self.discriminator: Trunk | None = None
            if config.gan:
                d = Trunk(config.gan.discriminator, config.size, config.data.channels, 1, compare=True)
                self.discriminator = self._place(d)
        self.perceptual: Distance | None = None
        if config.autoencoder and config.autoencoder.perceptual:
            self.perceptual = load_distance("alex", self.device)
        self.averaged_generator = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.averaged_recogniser = copy.deepcopy(self.recogniser).eval().requires_grad_(False)
        self.optimiser = Optimiser([self.generator, self.recogniser], config.optimiser)
        self.discriminator_optimiser: Optimiser | None = None
        if self.discriminator is not None:
            self.discriminator_optimiser = Optimiser([self.discriminator], config.optimiser)
        self.images = 0
        self.seconds = 0.0

    def _place(self, module: Any) -> Any:
        return channels_last(module).to(self.device)

    def rng(self, purpose: int) -> torch.Generator:
        """Random numbers that depend on seed, images seen and purpose alone: nothing to save, nothing to drift."""
        entropy = np.random.SeedSequence([self.config.seed, self.images, purpose])
        return torch.Generator(self.device).manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))

    def own(self, drawn: Tensor) -> Tensor:
        """This process's share of what was drawn for the whole batch."""
        return drawn.chunk(self.fabric.world_size)[self.fabric.global_rank]

    def average(self) -> None:
        """Move the running averages towards the weights; young averages move faster (Karras et al. 2020)."""
        half_life = min(self.config.optimiser.average_half_life, 0.05 * self.images)
        keep = 0.5 ** (self.config.batch / max(half_life, 1e-8))
        pairs = ((self.averaged_generator, self.generator), (self.averaged_recogniser, self.recogniser))
        for slow, fast in pairs:
            torch._foreach_lerp_(list(slow.parameters()), [p.detach() for p in fast.parameters()], 1 - keep)

    def _parts(self) -> dict[str, Any]:
        names = (
            "generator", "recogniser", "discriminator", "averaged_generator", "averaged_recogniser", "optimiser",
            "discriminator_optimiser",
        )  # fmt: skip
        return {name: part for name in names if (part := getattr(self, name)) is not None}

    def pack(self) -> dict[str, Any]:
        """Everything, as tensors and numbers."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return {"images": self.images, "seconds": self.seconds, **parts}

    def restore(self, packed: dict[str, Any]) -> None:
        """Become what was packed.  Raises KeyError or RuntimeError if it was packed by another configuration."""
        for name, part in self._parts().items():
            part.load_state_dict(packed[name])
        self.images, self.seconds = packed["images"], packed["seconds"]
