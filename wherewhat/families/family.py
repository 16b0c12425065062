"""What every family of models says of itself.  Training, evaluation and ranking know families only through this.

b images of one shard of the batch, z latents, c channels, h w space.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from wherewhat.config import Config, OptimizerConfig
from wherewhat.metrics.distance import Distance, Lpips
from wherewhat.nn.controls import How
from wherewhat.nn.encoder import Encoder
from wherewhat.nn.generator import Generator
from wherewhat.nn.transform_encoder import TransformEncoder, undone_group
from wherewhat.priors import PRIORS

LATENTS, PERTURBATIONS, NOISE, LATENTS_D, NOISE_D, POSTERIOR, PERMUTATIONS = range(7)
"""what random numbers of a step are for: each has a stream of its own"""

Terms = dict[str, Tensor]
"""losses by name: scalars, means over the batch"""


@dataclass(frozen=True)
class Step:
    """One optimizer step: real images, networks, and random numbers that depend on seed and images seen alone."""

    config: Config
    networks: Mapping[str, nn.Module]
    real: Float[Tensor, "b c h w"]
    """in [−1, 1]"""
    images_seen: int
    shard: int
    shards: int
    """the batch is shared by processes, and their shares by parts of a step: this is one shard of so many"""
    autocast: Callable[[], AbstractContextManager[Any]]
    lpips: Distance | None

    @property
    def generator(self) -> Generator:
        """The generator that is trained."""
        return self.networks["generator"]  # type: ignore[return-value]

    @property
    def encoder(self) -> Encoder:
        """The encoder that is trained."""
        return self.networks["encoder"]  # type: ignore[return-value]

    @cached_property
    def real_units(self) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        """LPIPS's maps of the real images, which every phase of a step may need."""
        assert isinstance(self.lpips, Lpips)
        return self.lpips.units(self.real)

    def rng(self, purpose: int) -> torch.Generator:
        """Random numbers for one purpose: nothing has to be saved, and every process draws the same."""
        return step_rng(self.config.seed, self.images_seen, purpose, self.real.device)

    def local_shard(self, drawn: Tensor) -> Tensor:
        """This shard of what was drawn for the whole batch."""
        return drawn.chunk(self.shards)[self.shard]

    def sample_latents(self, purpose: int) -> Float[Tensor, "b z"]:
        """This shard of latents from the prior."""
        shape = self.config.batch, self.config.latents
        prior, angles = PRIORS[self.config.prior], self.config.generator.angles
        return self.local_shard(prior.sample(shape, self.rng(purpose), self.real.device, angles))

    def sample_normal(self, purpose: int) -> Float[Tensor, "b z"]:
        """This shard of standard normal numbers."""
        shape = self.config.batch, self.config.latents
        return self.local_shard(torch.randn(shape, generator=self.rng(purpose), device=self.real.device))

    def sample_noise(self, purpose: int) -> tuple[Tensor, ...]:
        """This shard of fresh per-pixel noise."""
        drawn = self.generator.draw_noise(self.config.batch, self.rng(purpose))
        return tuple(self.local_shard(n) for n in drawn)


class Phase(NamedTuple):
    """One optimizer and what it minimises; the phases of a family take turns in every step."""

    name: str
    trains: tuple[str, ...]
    """names of the networks that it updates"""
    losses: Callable[[Step], Terms]
    """named terms of its objective; those without a weight are only logged"""
    optimizer: OptimizerConfig | None = None
    """its own; None: the configuration's"""


class Family(NamedTuple):
    """One kind of model."""

    name: str
    build: Callable[[Config], dict[str, nn.Module]]
    """untrained networks by name, at least generator and encoder, drawn from PyTorch's global random numbers"""
    phases: Callable[[Config], tuple[Phase, ...]]
    weights: Callable[[Config, int], dict[str, float]]
    """weight of each term after so many images seen"""
    encodes_images: bool
    """its encoder is trained on real images, so that reconstructions of them mean something"""
    objective_compares: bool
    """a lower training objective means a better model of the same data"""
    controls: Callable[[Config], How | None]
    """how controls are fitted after training, as in nn.controls.fit_controls; None: the latents are the controls"""
    wants_lpips: Callable[[Config], bool] = lambda config: False
    """whether its losses need LPIPS-AlexNet"""


def step_rng(seed: int, images_seen: int, purpose: int, device: Any) -> torch.Generator:
    """Random numbers that depend on these three numbers alone."""
    entropy = np.random.SeedSequence([seed, images_seen, purpose])
    return torch.Generator(device).manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))


def objective(terms: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    """Σ weight · term over the terms that have a weight: what a phase minimises, and what ranking by loss reads."""
    return sum(weights[name] * value for name, value in terms.items() if weights.get(name))


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Gradients pass through the module but not into it."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


def attach(networks: Mapping[str, nn.Module]) -> None:
    """Give an encoder that compares images the generator that makes them."""
    generator, encoder = networks["generator"], networks["encoder"]
    if isinstance(encoder, TransformEncoder) and isinstance(generator, Generator):
        encoder.attach(generator)


def build_generator(config: Config) -> Generator:
    """The untrained generator of a configuration."""
    return Generator(config.generator, config.size, config.data.channels)


def build_encoder(config: Config, variational: bool) -> Encoder:
    """The untrained encoder of a configuration: a variational one undoes the transform that moves everything."""
    if variational and undone_group(config.generator):
        return TransformEncoder(config.encoder, config.size, config.data.channels, config.generator)
    return Encoder(config.encoder, config.size, config.data.channels, config.latents, variational)
