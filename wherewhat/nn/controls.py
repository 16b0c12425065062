"""Controls: what a user moves, made from the latents after training, without labels.

A normal prior is the same from every side, so training may leave two variations of one place turned into each other,
and an angle (a hue, an orientation) laid around a circle in two latents, since no single one can hold it without a
jump.  Independent component analysis undoes the turn; polar coordinates make one control of the circle, whose middle,
where no image is, is then never visited.  n images, z latents (and as many controls).
"""

import math
import warnings
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

How = Literal["latents", "rings", "components"]
GAIN = 0.3
"""nats by which two latents must be less dependent in polar coordinates to be read as a ring"""
THICKEST = 0.4
"""standard deviation of the radius of a ring, of its mean: beyond, the radius says more than the angle"""
REACH = 2.0
"""a turn takes an angle from −REACH to +REACH, which look the same"""
LEAST_SPREAD = 0.3
"""codes whose standard deviation is below are of unused latents"""


@dataclass(frozen=True)
class Ring:
    """A pair of components and its polar coordinates."""

    angle: int
    """component in whose place the angle stands"""
    radius: int
    """component in whose place the radius stands"""
    centre: tuple[float, float]
    start: float
    """direction, in radians, where a turn begins: where the fewest codes are"""
    middle: float
    """mean radius of the codes"""
    spread: float
    """its standard deviation"""


@dataclass(frozen=True)
class Controls:
    """Latents are mixing · components + mean; pairs of components that are rings are given in polar coordinates."""

    mixing: tuple[tuple[float, ...], ...]
    """z × z; column k is how far each latent moves when component k moves by 1"""
    mean: tuple[float, ...]
    rings: tuple[Ring, ...] = ()

    @classmethod
    def plain(cls, latents: int, rings: tuple[Ring, ...] = ()) -> "Controls":
        """Components are the latents themselves."""
        return cls(tuple(tuple(row) for row in np.eye(latents).tolist()), (0.0,) * latents, rings)

    def read(self, z: Float[Tensor, "*b z"]) -> Float[Tensor, "*b z"]:
        """Latents to controls."""
        mixing, mean = self._tensors(z)
        return fold(torch.linalg.solve(mixing, (z - mean)[..., None])[..., 0], self.rings)

    def write(self, controls: Float[Tensor, "*b z"]) -> Float[Tensor, "*b z"]:
        """Controls to latents, the inverse of `read`."""
        mixing, mean = self._tensors(controls)
        return (mixing @ unfold(controls, self.rings)[..., None])[..., 0] + mean

    def shares(self) -> Float[np.ndarray, "controls z"]:
        """How much of each latent's mask is part of each control's: 1 for the latent it moves most; a ring's angle and
        radius have the larger of both components'."""
        moved = np.abs(np.array(self.mixing)).T
        for ring in self.rings:
            moved[[ring.angle, ring.radius]] = moved[[ring.angle, ring.radius]].max(0)
        return np.asarray(moved / moved.max(1, keepdims=True))

    @property
    def angles(self) -> tuple[int, ...]:
        """Controls that are angles."""
        return tuple(ring.angle for ring in self.rings)

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        wanted: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        return torch.tensor(self.mixing, **wanted), torch.tensor(self.mean, **wanted)

    def to_json(self) -> dict[str, Any]:
        """What from_json takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Controls":
        """Raises KeyError, TypeError or ValueError if these are no controls."""
        rings = tuple(Ring(**{**ring, "centre": tuple(ring["centre"])}) for ring in values["rings"])
        found = cls(tuple(tuple(row) for row in values["mixing"]), tuple(values["mean"]), rings)
        if np.array(found.mixing, np.float64).shape != (len(found.mean),) * 2:
            raise ValueError("mixing is not square")
        return found


def find_controls(codes: Float[np.ndarray, "n z"], how: How = "components") -> Controls | None:
    """The controls that codes of some thousand images ask for; None if they are the latents as they are.

    latents: None.  rings: latents, but for the rings among them.  components: of these, the independent components of
    all latents, and those of the latents in no ring, the controls that depend least on each other.
    """
    if how == "latents":
        return None
    codes = codes.astype(np.float64)
    plain = Controls.plain(codes.shape[1], find_rings(codes))
    found = plain
    if how == "components":
        ringed = {k for ring in plain.rings for k in (ring.angle, ring.radius)}
        straight = np.array([k not in ringed for k in range(codes.shape[1])])
        candidates = [plain, unmix(codes, np.ones_like(straight)), unmix(codes, straight)]
        found = min((c for c in candidates if c), key=lambda c: dependence(c, codes))
    return None if found == Controls.plain(codes.shape[1]) else found


def unmix(codes: Float[np.ndarray, "n z"], which: Bool[np.ndarray, " z"], seed: int = 0) -> Controls | None:
    """Independent components of the used ones among these latents (FastICA, Hyvärinen & Oja 2000), of unit variance,
    each in the place of the latent it moves most, and the rings among all components; None with fewer than two."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.decomposition import FastICA

    used = np.flatnonzero(which & (codes.std(0) > LEAST_SPREAD))
    if len(used) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rings have no best direction: it need not converge
        ica = FastICA(whiten="unit-variance", random_state=seed, max_iter=500, tol=1e-4).fit(codes[:, used])
    latent, component = linear_sum_assignment(-np.abs(ica.mixing_))
    block = ica.mixing_[:, component] * np.sign(ica.mixing_[latent, component])
    mixing, mean = np.eye(codes.shape[1]), np.zeros(codes.shape[1])
    mixing[np.ix_(used, used)] = block
    mean[used] = ica.mean_
    components = np.linalg.solve(mixing, (codes - mean).T).T
    return Controls(tuple(tuple(row) for row in mixing.tolist()), tuple(mean.tolist()), find_rings(components))


def dependence(controls: Controls, codes: Float[np.ndarray, "n z"]) -> float:
    """Total correlation of the used components, rings as one, in nats, up to a number that depends on the codes alone:
    the sum of their entropies, and what mixing adds to the entropy of all."""
    mixing = np.array(controls.mixing)
    components = np.linalg.solve(mixing, (codes - np.array(controls.mean)).T).T
    ringed = {k for ring in controls.rings for k in (ring.angle, ring.radius)}
    alone = [k for k in np.flatnonzero(codes.std(0) > LEAST_SPREAD).tolist() if k not in ringed]
    total = float(np.linalg.slogdet(mixing)[1]) + sum(entropy(components[:, k]) for k in alone)
    for ring in controls.rings:
        angle, radius = _polar(components, ring.angle, ring.radius, ring.centre)
        both = entropy(angle) + entropy(radius) - mutual_information(angle, radius)
        total += both + float(np.log(radius).mean())  # the density in x and y is that in polar coordinates over r
    return total


def entropy(values: Float[np.ndarray, " n"], bins: int = 64) -> float:
    """Differential entropy in nats, from equally wide bins."""
    counts, edges = np.histogram(values, bins)
    p = counts[counts > 0] / len(values)
    return float(np.log(edges[1] - edges[0]) - (p * np.log(p)).sum())


# ---------------------------------------------------------------------------------------------------------------- rings


def fold(components: Float[Tensor, "*b z"], rings: tuple[Ring, ...]) -> Float[Tensor, "*b z"]:
    """In each ring the angle, −2 … 2, and the radius, standardised, take the place of the two components."""
    controls = list(components.unbind(-1))
    for ring in rings:
        x, y = components[..., ring.angle] - ring.centre[0], components[..., ring.radius] - ring.centre[1]
        turned = torch.remainder(torch.atan2(y, x) - ring.start, 2 * math.pi)
        controls[ring.angle] = (turned / math.pi - 1) * REACH
        controls[ring.radius] = ((x * x + y * y).sqrt() - ring.middle) / ring.spread
    return torch.stack(controls, -1)


def unfold(controls: Float[Tensor, "*b z"], rings: tuple[Ring, ...]) -> Float[Tensor, "*b z"]:
    """The inverse of `fold`.  Angles beyond ±2 stay there; a radius never falls below zero."""
    components = list(controls.unbind(-1))
    for ring in rings:
        turn = controls[..., ring.angle].clamp(-REACH, REACH)
        direction = (turn / REACH + 1) * math.pi + ring.start
        radius = (controls[..., ring.radius] * ring.spread + ring.middle).clamp(min=0)
        components[ring.angle] = ring.centre[0] + radius * direction.cos()
        components[ring.radius] = ring.centre[1] + radius * direction.sin()
    return torch.stack(components, -1)


def find_rings(codes: Float[np.ndarray, "n z"]) -> tuple[Ring, ...]:
    """Pairs of latents that depend on each other much less as angle and radius than as they are (mutual information, in
    equally filled bins); the clearest first, each latent in one ring at most."""
    used = np.flatnonzero(codes.std(0) > LEAST_SPREAD)
    gains = {(i, j): _gain(codes[:, i], codes[:, j]) for i, j in combinations(used.tolist(), 2)}
    rings: list[Ring] = []
    for (i, j), gain in sorted(gains.items(), key=lambda item: -item[1]):
        if gain > GAIN and not any({i, j} & {ring.angle, ring.radius} for ring in rings):
            ring = _ring(codes, i, j)
            rings += [ring] if ring.spread < THICKEST * ring.middle else []
    return tuple(rings)


def mutual_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], bins: int = 16) -> float:
    """Mutual information of two variables in nats, each cut into equally filled bins."""
    cuts = np.linspace(0, 1, bins + 1)[1:-1]
    cell = [np.searchsorted(np.quantile(v, cuts), v) for v in (a, b)]
    joint = np.bincount(cell[0] * bins + cell[1], minlength=bins**2).reshape(bins, bins) / len(a)
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _gain(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a - a.mean(), b - b.mean()
    slope = (x * y).mean() / (x * x).mean()  # what only leans is no ring
    straight = min(mutual_information(x, y), mutual_information(x, y - slope * x))
    return straight - mutual_information(np.arctan2(y, x), np.hypot(x, y))


def _ring(codes: np.ndarray, i: int, j: int, sectors: int = 36) -> Ring:
    centre = float(codes[:, i].mean()), float(codes[:, j].mean())
    angles, radii = _polar(codes, i, j, centre)
    counts, edges = np.histogram(angles, sectors, (-np.pi, np.pi))
    around = counts + np.roll(counts, 1) + np.roll(counts, -1)  # a gap between values, not a chance empty sector
    start = edges[around.argmin()] + np.pi / sectors
    return Ring(i, j, centre, float(start), float(radii.mean()), float(radii.std()))


def _polar(codes: np.ndarray, i: int, j: int, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = codes[:, i] - centre[0], codes[:, j] - centre[1]
    return np.arctan2(y, x), np.hypot(x, y)
