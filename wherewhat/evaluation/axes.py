"""Axes of a generator that has none: directions among its latents along which it varies most.

n samples, z latents, k axes, d features.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import IncrementalPCA
from torch import Tensor, nn
from torch.nn import functional

from wherewhat.errors import UserError
from wherewhat.metrics.distance import Distance, load_distance
from wherewhat.progress import Progress, silent
from wherewhat.run.axes import Axes, orthonormal
from wherewhat.run.foreign import Foreign
from wherewhat.run.functions import find, their_own

MOST_AXES = 20
"""how many are looked for unasked"""
LARGEST = 2**14
"""features of a map: larger ones are averaged to fewer rows and columns"""
BATCH = 256
"""samples that components are improved with at a time; at least as many as there are components"""


def find_axes(
    generator: Foreign, how: str = "pca", controls: int | None = None, activations: str | None = None,
    weights: str | None = None, samples: int = 10_000, distance: str = "pixels", seed: int = 0,
    progress: Progress = silent,
) -> Axes:  # fmt: skip
    """Axes of a generator whose controls are its latents.  controls: as many (MOST_AXES, or all latents, if not given);
    activations, weights: what they are found from, by name (an attribute of the generator's function, or for `pca` its
    images, if not given).  Raises UserError if there is no such thing, or it does not fit."""
    controls = min(MOST_AXES, generator.latents) if controls is None else controls
    if how == "closed-form":
        offered = getattr(generator.function, "weights", None) if weights is None else find(weights)
        if offered is None:
            raise UserError(
                f"{generator.word} offers no weights: name those of its first layer with --weights module:name, or "
                "give it an attribute weights"
            )
        return closed_form(_returned(offered, weights or "weights"), generator.latents, controls)
    made = getattr(generator.function, "activations", None) if activations is None else find(activations)
    if made is None:
        features = perceptual_features(generator, load_distance(distance, generator.generator.device))
    else:
        features = activations_of(made, activations or f"{generator.word}.activations")
    return principal(generator, controls, features, samples, seed, progress)


def closed_form(weights: Any, latents: int, controls: int) -> Axes:
    """SeFa (Shen & Zhou 2021, arXiv 2007.06600): the eigenvectors of AᵀA with the largest eigenvalues.  A is the first
    weights that latents meet, outputs × latents, so that a step along these directions moves the outputs furthest.

    weights: a tensor or array (outputs × latents), or (latents × outputs × h × w) as transposed convolutions have them,
        or a module that has one, or several of these, which are stacked.  Raises UserError for anything else."""
    _check_count(controls, latents)
    parts = weights if isinstance(weights, list | tuple) and weights else [weights]
    stacked = torch.cat([_matrix(part, latents) for part in parts]).double()
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    shares = (values.flip(0).clamp(min=0) / values.sum())[:controls]
    return Axes(orthonormal(vectors.flip(1).T[:controls]), shares.float(), "closed-form")


def _check_count(controls: int, latents: int) -> None:
    if not 0 < controls <= latents:
        raise UserError(f"--controls {controls}: there are {latents} latents, so give 1 to {latents}")


def _returned(offered: Any, word: str) -> Any:
    """What is offered, or what it returns if it is a function."""
    if isinstance(offered, nn.Module) or not callable(offered):
        return offered
    try:
        return offered()
    except Exception as error:
        raise UserError(their_own(word, error)) from None


def _matrix(weights: Any, latents: int) -> Float[Tensor, "d z"]:
    """Weights as outputs × latents."""
    found = weights.weight if isinstance(weights, nn.Module) and hasattr(weights, "weight") else weights
    found = torch.as_tensor(found) if isinstance(found, np.ndarray) else found
    if isinstance(found, Tensor) and found.is_floating_point():
        found = found.detach().float().cpu()
        if found.ndim == 2 and found.shape[1] == latents:
            return found
        if found.ndim == 4 and latents in found.shape[:2]:  # of a transposed convolution, or of a convolution
            return (found.transpose(0, 1) if found.shape[0] != latents else found).flatten(1).T
    what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(weights).__name__}"
    raise UserError(
        f"the weights are {what}: give those of the first layer that takes the {latents} latents, of shape (outputs, "
        f"{latents}), or ({latents}, outputs, h, w) of a transposed convolution"
    )


def principal(
    generator: Foreign, controls: int, features: Callable[[Tensor], Tensor], samples: int = 10_000, seed: int = 0,
    progress: Progress = silent,
) -> Axes:  # fmt: skip
    """GANSpace (Härkönen et al. 2020, arXiv 2004.02546): principal components of features of samples, each as the
    direction of the latents that makes it.  The features are regressed on the latents (for a normal prior that is the
    direction of GANSpace, which regresses latents on components, from far fewer samples), then projected on the
    components; the directions are made orthogonal in this order.

    features: latents (b × z) to features (b × d)."""
    latents, device = generator.latents, generator.generator.device
    _check_count(controls, latents)
    least = max(2 * latents, 4 * controls)
    if samples < least:
        raise UserError(f"--samples {samples}: to find {controls} axes of {latents} latents give {least} or more")
    pca, z = IncrementalPCA(controls), generator.prior.draw(samples, latents, [seed, 5])
    size = max(BATCH, controls)
    whole = [z[at : at + size] for at in range(0, samples - size + 1, size)] or [z]  # the last few are left out
    products = np.float32(0)
    for done, part in enumerate(whole):
        progress("sampling", done / len(whole))
        made = features(torch.from_numpy(part).to(device)).cpu().numpy()
        pca.partial_fit(made)
        products = products + part.T @ made
    seen = np.concatenate(whole).astype(np.float64)
    slopes = np.linalg.solve(seen.T @ seen, products - seen.sum(0)[:, None] * pca.mean_)
    directions = torch.from_numpy(pca.components_ @ slopes.T)
    progress("done", 1.0)
    shares = torch.from_numpy(pca.explained_variance_ratio_)
    return Axes(orthonormal(directions), shares.float(), "pca")


def perceptual_features(generator: Foreign, distance: Distance) -> Callable[[Tensor], Tensor]:
    """Features of images whose squared differences are about their perceptual distance: its maps, averaged until they
    are not too large."""

    @torch.no_grad()
    def features(z: Float[Tensor, "b z"]) -> Float[Tensor, "b d"]:
        parts = [_pooled(distance.features(generator.generator.images(some).clamp(-1, 1))) for some in z.split(32)]
        return torch.cat(parts)

    return features


def _pooled(maps: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b d"]:
    most = [int((LARGEST / m.shape[1]) ** 0.5) for m in maps]
    small = [functional.adaptive_avg_pool2d(m, (min(m.shape[2], side), min(m.shape[3], side)))
             for m, side in zip(maps, most, strict=True)]  # fmt: skip
    return torch.cat([m.flatten(1) / (m.shape[2] * m.shape[3]) ** 0.5 for m in small], 1)


def activations_of(function: Callable[[Tensor], Any], word: str, batch: int = 32) -> Callable[[Tensor], Tensor]:
    """Anyone's function from latents to activations as features.  Raises UserError for what it raises, and for what are
    no activations."""

    @torch.no_grad()
    def features(z: Float[Tensor, "b z"]) -> Float[Tensor, "b d"]:
        return torch.cat([_activations(function, word, part) for part in z.split(batch)])

    return features


def _activations(function: Callable[[Tensor], Any], word: str, z: Float[Tensor, "b z"]) -> Float[Tensor, "b d"]:
    try:
        made = function(z)
    except Exception as error:
        raise UserError(their_own(word, error)) from None
    made = torch.as_tensor(made) if isinstance(made, np.ndarray) else made
    if not isinstance(made, Tensor) or made.ndim < 2 or len(made) != len(z):
        what = f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise UserError(f"{word} returned {what} for {len(z)} latents: it must return activations, one row a latent")
    return made.float().flatten(1)
