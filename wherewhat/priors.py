"""Priors of latents: the one place that knows how each is sampled, what it costs, and how far it reaches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from wherewhat import losses


@dataclass(frozen=True)
class Prior:
    """The distribution of each latent, all latents independent and alike."""

    name: str
    reach: float
    """samples lie within ±reach; infinite for the normal prior"""
    rotation_invariant: bool
    """whether the product over latents has no preferred axes"""
    kl: Callable[[Float[Tensor, "b z"], Float[Tensor, "b z"]], Float[Tensor, ""]] | None = None
    """KL divergence of a Gaussian posterior (mean, log-variance), summed over latents: nats an image; None: infinite"""

    def sample(
        self,
        shape: tuple[int, int],
        rng: np.random.Generator | torch.Generator,
        device: Any = "cpu",
        angles: Sequence[int] = (),
    ) -> Any:
        """Latents of that shape (b, z) in float32: a tensor on `device` if rng is PyTorch's, else an array.  The
        generalized normal is sampled by the uniform distribution of the same variance.  The latents `angles` are
        uniform on the circle, −2 … 2."""
        drawn = self._sample(shape, rng, device)
        if angles:
            drawn[:, list(angles)] = CIRCLE._sample((shape[0], len(angles)), rng, device)
        return drawn

    def _sample(self, shape: tuple[int, int], rng: np.random.Generator | torch.Generator, device: Any) -> Any:
        if isinstance(rng, torch.Generator):
            if math.isinf(self.reach):
                return torch.randn(shape, generator=rng, device=device)
            return torch.rand(shape, generator=rng, device=device) * (2 * self.reach) - self.reach
        if math.isinf(self.reach):
            return rng.standard_normal(shape, np.float32)
        return rng.uniform(-self.reach, self.reach, shape).astype(np.float32)

    def draw(self, count: int, latents: int, seed: int | Sequence[int]) -> Float[np.ndarray, "n z"]:
        """The same samples for the same seed."""
        return np.asarray(self.sample((count, latents), np.random.default_rng(seed)))

    def divergence(
        self, mean: Float[Tensor, "b z"], log_variance: Float[Tensor, "b z"], angles: Sequence[int] = ()
    ) -> Float[Tensor, ""]:
        """KL divergence of a Gaussian posterior, of the latents `angles` to the uniform distribution on the circle,
        summed over latents: nats an image."""
        assert self.kl is not None
        if not angles:
            return self.kl(mean, log_variance)
        others = [k for k in range(mean.shape[1]) if k not in angles]
        turns = list(angles)
        return self.kl(mean[:, others], log_variance[:, others]) + losses.kl_circle(log_variance[:, turns])

    def cdf(self, z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Share of samples below z, 0 … 1."""
        from scipy.special import ndtr

        share = ndtr(z) if math.isinf(self.reach) else (z / self.reach + 1) / 2
        return np.asarray(np.clip(share, 0, 1))

    def interpolate(
        self, a: Float[Tensor, "b z"], b: Float[Tensor, "b z"], t: Float[Tensor, "b 1"]
    ) -> Float[Tensor, "b z"]:
        """The point a share t of the way from a to b: on an arc if the prior is invariant under rotation, else on a
        straight line."""
        return slerp(a, b, t) if self.rotation_invariant else torch.lerp(a, b, t)


def slerp(a: Float[Tensor, "b z"], b: Float[Tensor, "b z"], t: Float[Tensor, "b 1"]) -> Float[Tensor, "b z"]:
    """Spherical linear interpolation (Shoemake 1985) between vectors that may differ in length: points on the way are
    as long as samples of N(0, I) are."""
    cosine = functional.cosine_similarity(a.double(), b.double()).clamp(-1, 1).unsqueeze(1)
    angle = cosine.acos().clamp(1e-6, math.pi - 1e-6)  # of opposite vectors too, through 0
    return ((((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()).float()


CIRCLE = Prior("circle", 2.0, False)
PRIORS = {
    prior.name: prior
    for prior in (
        Prior("normal", math.inf, True, losses.kl_normal),
        Prior("uniform", 2.0, False),
        Prior("generalized_normal", math.sqrt(3), False, losses.kl_generalized_normal),
    )
}
