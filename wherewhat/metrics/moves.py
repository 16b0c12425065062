"""Scores of one model by itself, without labels, from what happens when one control moves.

n pairs of images, z controls, k controls in use, c channels, h w space."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from wherewhat.metrics.classifier import accuracy


class Moves(NamedTuple):
    """Pairs of generated images that differ in one control, each control in use as often; its two values are those of
    two images of the data."""

    before: Float[Tensor, "n c h w"]
    after: Float[Tensor, "n c h w"]
    codes_before: Float[np.ndarray, "n z"]
    """what the encoder makes of these images"""
    codes_after: Float[np.ndarray, "n z"]
    moved: Integer[np.ndarray, " n"]
    """which control"""

    @property
    def used(self) -> Integer[np.ndarray, " k"]:
        """Controls that move in some pair."""
        return np.unique(self.moved)


class Consistency(NamedTuple):
    """Mean share, and how much each code changes (columns) by each control in use (rows)."""

    score: float
    changes: Float[np.ndarray, "k k"]


def consistency(moves: Moves) -> Consistency:
    """Whether the encoder finds that the control that moved changed and no other did: 0 … 1.  Of the squared change of
    the codes of a pair, in units of each code's variance over pairs, the share that is in the control that moved, mean
    over controls in use; 0 without any.  Invertible mixtures are consistent too: a model whose codes are rotated scores
    1 if its encoder inverts its generator."""
    used = moves.used
    if not len(used):
        return Consistency(0.0, np.zeros((0, 0)))
    variance = moves.codes_before[:, used].var(0).clip(1e-12)
    squared = (moves.codes_after - moves.codes_before)[:, used] ** 2 / variance
    changes = np.stack([squared[moves.moved == k].mean(0) for k in used])
    return Consistency(float((changes.diagonal() / changes.sum(1).clip(1e-12)).mean()), changes)


class Predictability(NamedTuple):
    """Accuracy, and the number of controls among which is chosen: chance is 1 / classes."""

    score: float
    classes: int


def predictability(moves: Moves, rng: np.random.Generator, share: float = 0.5, epochs: int = 8) -> Predictability:
    """Variation predictability (Zhu et al. 2020, https://arxiv.org/abs/2007.12885): how well a network that sees both
    images of a pair says which control moved, trained on a share of the pairs and tested on the rest; 0 without a
    control in use.  The paper learns from a tenth or a hundredth of 10,000 pairs, all latents taking part."""
    used = moves.used
    if len(used) < 2:
        return Predictability(float(len(used)), len(used))
    labels = torch.from_numpy(np.searchsorted(used, moves.moved)).to(moves.before.device)
    both = torch.cat([moves.before, moves.after - moves.before], 1)
    found = accuracy(both, labels, rng, round(share * len(both)), epochs)
    return Predictability(found, len(used))


class Changes(NamedTuple):
    """How alike the places are that controls change; how much of the image each changes; how alike its changes are."""

    overlap: float
    area: float
    sameness: float


def changes(moves: Moves) -> Changes:
    """What controls in use change in images, means over controls; 0 … 1.

    overlap: cosine of the mean absolute changes of two controls, over pairs of controls: 0 if they act at different
    places.  area: (Σ m)² / (n Σ m²) of a control's mean absolute change m over n pixels: the share of the image it acts
    on.  sameness: of the squared changes of a control, sign by the direction in which it moved, the share in one
    direction of the space of images: 1 if it always adds a multiple of the same picture."""
    used = moves.used
    if not len(used):
        return Changes(0.0, 0.0, 0.0)
    difference = (moves.after - moves.before).flatten(1).double().cpu().numpy()
    width = moves.before[0, 0].numel()
    maps, sameness = [], []
    for k in used:
        own = difference[moves.moved == k]
        maps.append(np.abs(own).reshape(len(own), -1, width).max(1).mean(0))
        gram = own @ own.T
        sameness.append(np.linalg.eigvalsh(gram)[-1] / max(np.trace(gram), 1e-12))
    found = np.stack(maps)
    length = np.linalg.norm(found, axis=1).clip(1e-12)
    cosine = (found @ found.T) / np.outer(length, length)
    count = len(used)
    overlap = (cosine.sum() - cosine.trace()) / (count * (count - 1)) if count > 1 else 0.0
    area = (found.sum(1) ** 2 / (width * length**2)).mean()
    return Changes(float(overlap), float(area), float(np.mean(sameness)))


def pipe(
    reconstructed: Float[Tensor, "n c h w"], resampled: Float[Tensor, "n c h w"], rng: np.random.Generator,
    epochs: int = 4,
) -> float:  # fmt: skip
    """PIPE (DAVA, Estermann & Wattenhofer 2023, https://arxiv.org/abs/2303.01384): 2 (1 − accuracy), from 0 to 1, of a
    network that tells reconstructions from images decoded from independent latents, trained on half of the images and
    tested on the others.  1 if they cannot be told apart.  The paper draws latents uniformly over the range of the
    codes and shows 50,000 images to its network; here each latent is that of another image, so that only dependence
    can be seen."""
    images = torch.cat([reconstructed, resampled])
    labels = (torch.arange(len(images), device=images.device) >= len(reconstructed)).long()
    return float(min(1.0, 2 * (1 - accuracy(images, labels, rng, len(images) // 2, epochs))))
