"""Rings: two latents whose codes lie on a circle, read as one angle and one radius.

Hue and orientation are angles.  No single straight latent can hold one without a jump, so a model that is free to
choose lays it around a circle in two of them.  In polar coordinates the angle is the control one wants, and the middle
of the circle, where no image is, is never visited.  Found after training, without labels.  n images, z latents.
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

GAIN = 0.3
"""nats by which two latents must be less dependent in polar coordinates to be read as a ring"""
REACH = 2.0
"""a turn takes an angle from −REACH to +REACH, which look the same"""
LEAST_SPREAD = 0.3
"""codes whose standard deviation is below are of unused latents"""


@dataclass(frozen=True)
class Ring:
    """A pair of latents and its polar coordinates."""

    angle: int
    """latent in whose place the angle stands"""
    radius: int
    """latent in whose place the radius stands"""
    centre: tuple[float, float]
    start: float
    """direction, in radians, where a turn begins: where the fewest codes are"""
    middle: float
    """mean radius of the codes"""
    spread: float
    """its standard deviation"""


def fold(z: Float[Tensor, "*b z"], rings: tuple[Ring, ...]) -> Float[Tensor, "*b z"]:
    """Latents to controls: in each ring the angle, −2 … 2, and the radius, standardised.  Other latents stay."""
    controls = list(z.unbind(-1))
    for ring in rings:
        x, y = z[..., ring.angle] - ring.centre[0], z[..., ring.radius] - ring.centre[1]
        turned = torch.remainder(torch.atan2(y, x) - ring.start, 2 * math.pi)
        controls[ring.angle] = (turned / math.pi - 1) * REACH
        controls[ring.radius] = (torch.hypot(x, y) - ring.middle) / ring.spread
    return torch.stack(controls, -1)


def unfold(controls: Float[Tensor, "*b z"], rings: tuple[Ring, ...]) -> Float[Tensor, "*b z"]:
    """Controls to latents, the inverse of `fold`.  Angles beyond ±2 stay there; a radius never falls below zero."""
    z = list(controls.unbind(-1))
    for ring in rings:
        turn = controls[..., ring.angle].clamp(-REACH, REACH)
        direction = (turn / REACH + 1) * math.pi + ring.start
        radius = (controls[..., ring.radius] * ring.spread + ring.middle).clamp(min=0)
        z[ring.angle] = ring.centre[0] + radius * direction.cos()
        z[ring.radius] = ring.centre[1] + radius * direction.sin()
    return torch.stack(z, -1)


def find_rings(codes: Float[np.ndarray, "n z"]) -> tuple[Ring, ...]:
    """Pairs of latents that depend on each other much less as angle and radius than as they are (mutual information, in
    equally filled bins); the clearest first, each latent in one ring at most.  Codes of some thousand images."""
    codes = codes.astype(np.float64)
    used = np.flatnonzero(codes.std(0) > LEAST_SPREAD)
    gains = {(i, j): _gain(codes[:, i], codes[:, j]) for i, j in combinations(used.tolist(), 2)}
    rings: list[Ring] = []
    for (i, j), gain in sorted(gains.items(), key=lambda item: -item[1]):
        if gain > GAIN and not any({i, j} & {ring.angle, ring.radius} for ring in rings):
            rings.append(_ring(codes, i, j))
    return tuple(rings)


def mutual_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], bins: int = 16) -> float:
    """Mutual information of two variables in nats, each cut into equally filled bins."""
    cuts = np.linspace(0, 1, bins + 1)[1:-1]
    cell = [np.searchsorted(np.quantile(v, cuts), v) for v in (a, b)]
    joint = np.zeros((bins, bins))
    np.add.at(joint, (cell[0], cell[1]), 1 / len(a))
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _gain(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a - a.mean(), b - b.mean()
    slope = (x * y).mean() / (x * x).mean()  # what only leans is no ring
    straight = min(mutual_information(x, y), mutual_information(x, y - slope * x))
    return straight - mutual_information(np.arctan2(y, x), np.hypot(x, y))


def _ring(codes: np.ndarray, i: int, j: int, sectors: int = 36) -> Ring:
    centre = codes[:, i].mean(), codes[:, j].mean()
    x, y = codes[:, i] - centre[0], codes[:, j] - centre[1]
    counts, edges = np.histogram(np.arctan2(y, x), sectors, (-np.pi, np.pi))
    around = counts + np.roll(counts, 1) + np.roll(counts, -1)  # a gap between values, not a chance empty sector
    start = edges[around.argmin()] + np.pi / sectors
    radii = np.hypot(x, y)
    return Ring(i, j, (float(centre[0]), float(centre[1])), float(start), float(radii.mean()), float(radii.std()))
