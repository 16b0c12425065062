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
LEFT, LEAST_GAP = 0.1, 20.0
"""nats of dependence left, at most, and fewer than half, for two latents on an open arc to be read as angle and radius;
degrees of the opening, which is at least twice as wide as any other: between values that are few there are gaps too"""
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
    turn: float = 2 * math.pi
    """radians from one end of the angle to the other: a full turn, or less for an arc"""


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
        """Controls that are angles which go all the way round."""
        return tuple(ring.angle for ring in self.rings if ring.turn == 2 * math.pi)

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
    all latents, and those of the latents in no ring, the controls with most rings, which do not come about by chance;
    of equally many, those that depend least on each other.
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
        found = min((c for c in candidates if c), key=lambda c: (-len(c.rings), dependence(c, codes)))
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
        opening = (2 * math.pi - ring.turn) / 2  # what lies in the gap of an arc belongs to the nearer end
        turned = torch.where(turned > ring.turn + opening, turned - 2 * math.pi, turned)
        controls[ring.angle] = (2 * turned / ring.turn - 1) * REACH
        controls[ring.radius] = ((x * x + y * y).sqrt() - ring.middle) / ring.spread
    return torch.stack(controls, -1)


def unfold(controls: Float[Tensor, "*b z"], rings: tuple[Ring, ...]) -> Float[Tensor, "*b z"]:
    """The inverse of `fold`.  Angles beyond ±2 stay there, on an arc at the middle of its gap; a radius never falls
    below zero."""
    components = list(controls.unbind(-1))
    for ring in rings:
        furthest = REACH * (2 * math.pi / ring.turn)
        turn = controls[..., ring.angle].clamp(-furthest, furthest)
        direction = (turn / REACH + 1) * ring.turn / 2 + ring.start
        radius = (controls[..., ring.radius] * ring.spread + ring.middle).clamp(min=0)
        components[ring.angle] = ring.centre[0] + radius * direction.cos()
        components[ring.radius] = ring.centre[1] + radius * direction.sin()
    return torch.stack(components, -1)


def find_rings(codes: Float[np.ndarray, "n z"]) -> tuple[Ring, ...]:
    """Pairs of latents that depend on each other much less as angle and radius than as they are (mutual information, in
    equally filled bins); the clearest first, each latent in one ring at most, rings before arcs."""
    used = np.flatnonzero(codes.std(0) > LEAST_SPREAD)
    pairs = list(combinations(used.tolist(), 2))
    gains = {(i, j): _gain(codes[:, i], codes[:, j]) for i, j in pairs}
    rings: list[Ring] = []
    for (i, j), gain in sorted(gains.items(), key=lambda item: -item[1]):
        if gain > GAIN and not any({i, j} & {ring.angle, ring.radius} for ring in rings):
            ring = _ring(codes, i, j, (float(codes[:, i].mean()), float(codes[:, j].mean())))
            rings += [ring] if ring.spread < THICKEST * ring.middle else []
    arcs = [found for pair in pairs if (found := find_arc(codes, *pair))]
    for _, arc in sorted(arcs, key=lambda found: found[0]):
        if not any({arc.angle, arc.radius} & {ring.angle, ring.radius} for ring in rings):
            rings.append(arc)
    return tuple(rings)


def find_arc(codes: Float[np.ndarray, "n z"], i: int, j: int, bins: int = 8) -> tuple[float, Ring] | None:
    """An arc with a gap on which two latents lie, and how far its angle and radius depend on each other, in nats; None
    if they are no arc.  One variation makes another larger, as a larger thing moves more of the image: training, which
    keeps distances, then fans their plane out; less than half a turn is a bend, no fan.  The centre is where angle and
    radius depend least."""
    straight = _straight(codes[:, i], codes[:, j], bins)
    if straight < LEFT:  # nearly independent as they are
        return None
    some = codes[:: max(1, len(codes) // 5_000)]

    def left(centre: tuple[float, float]) -> float:
        angles, radii = _polar(some, i, j, centre)
        return mutual_information(np.mod(angles - _gap(angles)[1], 2 * np.pi), radii, bins)

    centre = float(codes[:, i].mean()), float(codes[:, j].mean())
    for reach in (2.5, 0.5, 0.1):  # standard deviations: a coarse grid, then finer ones around the best
        x, y = (c + codes[:, k].std() * np.linspace(-reach, reach, 11) for c, k in zip(centre, (i, j), strict=True))
        centre = min(((float(a), float(b)) for a in x for b in y), key=left)
    remains = left(centre)
    arc = _ring(codes, i, j, centre, LEAST_GAP)
    is_arc = math.pi <= arc.turn < 2 * math.pi and arc.spread < THICKEST * arc.middle
    return (remains, arc) if is_arc and remains < min(LEFT, straight / 2) else None


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
    return _straight(x, y) - mutual_information(np.arctan2(y, x), np.hypot(x, y))


def _straight(x: np.ndarray, y: np.ndarray, bins: int = 16) -> float:
    """Mutual information without what a slope explains: what only leans is no ring."""
    slope = ((x - x.mean()) * (y - y.mean())).mean() / x.var()
    return min(mutual_information(x, y, bins), mutual_information(x, y - slope * x, bins))


def _ring(codes: np.ndarray, i: int, j: int, centre: tuple[float, float], least_gap: float = 360.0) -> Ring:
    """The ring around a centre; an arc if at least that many degrees of it are empty."""
    angles, radii = _polar(codes, i, j, centre)
    width, start, second = _gap(angles)
    is_open = width >= max(math.radians(least_gap), 2 * second)
    turn = 2 * math.pi - width if is_open else 2 * math.pi
    begin = start + width if turn < 2 * math.pi else start + width / 2
    return Ring(i, j, centre, float(begin), float(radii.mean()), float(radii.std()), float(turn))


def _gap(angles: np.ndarray, sectors: int = 72) -> tuple[float, float, float]:
    """Width and beginning, in radians, of the longest stretch with hardly any angle; width of the second longest."""
    counts, edges = np.histogram(angles, sectors, (-np.pi, np.pi))
    first = int(counts.argmax())  # filled, so no stretch lies across it
    bare = np.roll(counts < 0.05 * counts.mean(), -first)
    if not bare.any():
        return 0.0, float(edges[counts.argmin()]), 0.0
    ends = np.flatnonzero(np.diff(np.concatenate([[0], bare, [0]])))
    stretches = sorted(((b - a, a) for a, b in zip(ends[::2], ends[1::2], strict=True)), reverse=True)
    widths = [length * 2 * np.pi / sectors for length, _ in stretches] + [0.0]
    return float(widths[0]), float(edges[(stretches[0][1] + first) % sectors]), float(widths[1])


def _polar(codes: np.ndarray, i: int, j: int, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = codes[:, i] - centre[0], codes[:, j] - centre[1]
    return np.arctan2(y, x), np.hypot(x, y)
