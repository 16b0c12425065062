"""Curves: one control made of several components that together hold one variation.

A variation with k values is laid out by training as k clusters in several latents, and one without ends (a hue, an
orientation) as a closed curve, since a single latent cannot hold either without jumps.  Such components depend on each
other.  They are joined, and a short path through their clusters becomes one control.

n images, d components.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

CURVE_RANGE = 2.0
"""the path goes from −2 to +2; if it is closed, both ends are the same"""
CLUSTERS = (2, 3, 4, 5, 6, 7, 8, 10, 12)
"""numbers of clusters that are tried"""
EXPLAINED = 0.03
"""share of the variance that clusters may leave for their number to be enough"""
MIN_INFORMATION = 0.08
"""nats of mutual information from which two components may belong to one variation"""
MAX_COMPONENTS = 6
"""components of one curve at most"""
FITTED = 2_500
"""images that clusters are fitted on"""


@dataclass(frozen=True)
class Curve:
    """A path through the space of some components, and what lies beside it."""

    members: tuple[int, ...]
    """components; the position on the path replaces the first of them, coordinates beside it the others"""
    nodes: tuple[tuple[float, ...], ...]
    """points of the path in the order of positions, each with a coordinate a member; equally far apart as positions"""
    closed: bool
    """the last node is joined to the first"""
    beside: tuple[tuple[float, ...], ...]
    """d × (d − 1): directions in which components lie beside the path, scaled to their standard deviation"""

    @property
    def _path(self) -> tuple[tuple[float, ...], ...]:
        return (*self.nodes, self.nodes[0]) if self.closed else self.nodes

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Curve":
        """From what dataclasses.asdict gives.  Raises KeyError, TypeError or ValueError if that is no curve."""
        nodes, beside = (tuple(tuple(map(float, row)) for row in values[name]) for name in ("nodes", "beside"))
        members = tuple(int(k) for k in values["members"])
        if {len(row) for row in nodes} != {len(members)} or len(beside) != len(members) or len(nodes) < 2:
            raise ValueError("nodes and directions of a curve must have a coordinate for each member")
        return cls(members, nodes, bool(values["closed"]), beside)

    def encode(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Components to the position of the nearest point on the path, −2 … 2, and coordinates beside it."""
        path = x.new_tensor(self._path)
        start, step = path[:-1], path[1:] - path[:-1]
        share = (((x[..., None, :] - start) * step).sum(-1) / step.square().sum(-1).clamp(min=1e-12)).clamp(0, 1)
        nearest = start + share[..., None] * step
        segment = (x[..., None, :] - nearest).square().sum(-1).argmin(-1, keepdim=True)
        position = (segment + share.gather(-1, segment)) / len(step)
        on_path = nearest.gather(-2, segment[..., None].expand(*segment.shape, x.shape[-1])).squeeze(-2)
        aside = (x - on_path) @ x.new_tensor(np.linalg.pinv(np.array(self.beside)).T)
        return torch.cat([(2 * position - 1) * CURVE_RANGE, aside], -1)

    def decode(self, c: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Position and coordinates beside the path to components.  Positions beyond ±2 stay at the ends, or go on
        around a closed path."""
        path = c.new_tensor(self._path)
        count = len(path) - 1
        position = (c[..., 0] / CURVE_RANGE + 1) / 2
        position = position - position.floor() if self.closed else position.clamp(0, 1)
        segment = (position * count).long().clamp(max=count - 1)
        on_path = torch.lerp(path[segment], path[segment + 1], (position * count - segment)[..., None])
        return on_path + c[..., 1:] @ c.new_tensor(self.beside).T


def fit_curves(x: Float[np.ndarray, "n d"], seed: int = 0) -> tuple[Curve, ...]:
    """Curves among components of unit variance: those that depend on each other are joined, the most dependent first,
    as long as few clusters explain them together much better than if they were independent."""
    rng = np.random.default_rng(seed)
    some = x[rng.choice(len(x), min(len(x), FITTED), replace=False)]
    information = np.array([[corrected_information(a, b) if i < j else 0.0 for j, b in enumerate(x.T)]
                            for i, a in enumerate(x.T)])  # fmt: skip
    information += information.T
    groups, refused = [[k] for k in range(x.shape[1])], set()
    while True:
        pairs = [(a, b) for i, a in enumerate(groups) for b in groups[:i] if (*a, -1, *b) not in refused]
        pairs = [(a, b) for a, b in pairs if len(a) + len(b) <= MAX_COMPONENTS]
        if not pairs:
            break
        a, b = max(pairs, key=lambda pair: information[np.ix_(*pair)].max())
        if information[np.ix_(a, b)].max() < MIN_INFORMATION:
            break
        if is_one_variation(some[:, a], some[:, b], rng):
            groups = [g for g in groups if g not in (a, b)] + [a + b]
        else:
            refused.add((*a, -1, *b))
    return tuple(_curve(x, group) for group in groups if len(group) > 1)


def is_one_variation(a: Float[np.ndarray, "n _"], b: Float[np.ndarray, "n _"], rng: np.random.Generator) -> bool:
    """Whether clusters explain a and b together much better than a and a shuffled b: with four fifths of the number, or
    leaving half of the variance."""
    together, apart = (_unexplained(np.hstack([a, other])) for other in (b, rng.permutation(b)))
    enough, needed = (next((k for k, v in zip(CLUSTERS, left, strict=True) if v < EXPLAINED + 0.01), math.inf)
                      for left in (together, apart))  # fmt: skip
    return bool((enough < math.inf and enough <= 0.8 * needed) or together[-2] < 0.5 * apart[-2])


def _unexplained(x: Float[np.ndarray, "n d"]) -> list[float]:
    """Share of the variance that each number of clusters leaves."""
    from sklearn.cluster import KMeans

    total = x.var(0).sum() * len(x)
    return [KMeans(k, n_init=1, random_state=0).fit(x).inertia_ / total for k in CLUSTERS]


def _curve(x: Float[np.ndarray, "n d"], members: Sequence[int]) -> Curve:
    from sklearn.cluster import KMeans

    own = x[:, list(members)]
    left = _unexplained(own[:FITTED])
    count = next((k for k, v in zip(CLUSTERS, left, strict=True) if v < EXPLAINED), CLUSTERS[-1])
    centres = KMeans(count, n_init=8, random_state=0).fit(own).cluster_centers_
    order, closed = shortest_tour(centres)
    nodes = tuple(tuple(node) for node in centres[order].tolist())
    plain = Curve(tuple(members), nodes, closed, tuple(tuple(row) for row in np.eye(len(members))[:, 1:].tolist()))
    on_path = torch.from_numpy(own.copy())
    position = plain.encode(on_path)
    position[:, 1:] = 0
    aside = own - plain.decode(position).numpy()
    _, scale, directions = np.linalg.svd(aside / math.sqrt(len(own)), full_matrices=False)
    beside = (directions * np.maximum(scale, 0.02)[:, None])[:-1].T
    return Curve(tuple(members), nodes, closed, tuple(tuple(row) for row in beside.tolist()))


def shortest_tour(points: Float[np.ndarray, "k d"]) -> tuple[list[int], bool]:
    """A short closed tour through all points (nearest neighbours, then 2-opt), opened at its longest edge if that is
    much longer than the others; and whether it stayed closed."""
    count = len(points)
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)

    def length(tour: list[int]) -> float:
        return float(distance[tour, np.roll(tour, -1)].sum())

    best = min((_two_opt(_nearest(start, distance), length) for start in range(min(count, 6))), key=length)
    edges = distance[best, np.roll(best, -1)]
    longest = int(edges.argmax())
    return best[longest + 1 :] + best[: longest + 1], count > 2 and bool(edges.max() < 1.6 * np.median(edges))


def _nearest(start: int, distance: np.ndarray) -> list[int]:
    tour, left = [start], set(range(len(distance))) - {start}
    while left:
        tour.append(min(left, key=lambda k: distance[tour[-1], k]))
        left.remove(tour[-1])
    return tour


def _two_opt(tour: list[int], length: Callable[[list[int]], float]) -> list[int]:
    improved = True
    while improved:
        improved = False
        for i in range(len(tour) - 1):
            for j in range(i + 1, len(tour)):
                other = tour[:i] + tour[i : j + 1][::-1] + tour[j + 1 :]
                if length(other) < length(tour) - 1e-9:
                    tour, improved = other, True
    return tour


def mutual_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], bins: int = 16) -> float:
    """Mutual information of two variables in nats, each cut into equally filled bins."""
    joint, filled = _joint(a, b, bins)
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    return float((joint[filled] * np.log(joint[filled] / apart[filled])).sum())


def corrected_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], bins: int = 12) -> float:
    """Mutual information in nats less the bias of its estimate (Miller & Madow 1955)."""
    _, filled = _joint(a, b, bins)
    bias = (filled.sum() - filled.any(0).sum() - filled.any(1).sum() + 1) / (2 * len(a))
    return mutual_information(a, b, bins) - float(bias)


def _joint(a: np.ndarray, b: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of the samples in each cell of equally filled bins, and which cells have any."""
    cuts = np.linspace(0, 1, bins + 1)[1:-1]
    cells = [np.searchsorted(np.quantile(v, cuts), v) for v in (a, b)]
    joint = np.bincount(cells[0] * bins + cells[1], minlength=bins**2).reshape(bins, bins) / len(a)
    return joint, joint > 0


# --------------------------------------------------------------------------------------------------- rotations


def rotate_to_independence(
    x: Float[np.ndarray, "n d"], sweeps: int = 4, angles: int = 32, rows: int = 2_000, noise: float = 0.03,
    least: float = 0.01, seed: int = 0,
) -> tuple[Float[np.ndarray, "d d"], float]:  # fmt: skip
    """The rotation R after which components of white x @ R have least entropy each, by turns of two at a time (RADICAL,
    Learned-Miller & Fisher 2003), and the sum of these entropies.  Noise keeps the entropy of clusters finite."""
    rng = np.random.default_rng(seed)
    y = x[rng.choice(len(x), min(rows, len(x)), replace=False)]
    y = y + noise * rng.standard_normal(y.shape)
    rotation, spacing = np.eye(y.shape[1]), int(len(y) ** 0.5)
    turns = (np.arange(angles) - angles // 2) * (np.pi / 2 / angles)
    for _ in range(sweeps):
        turned = False
        for i in range(y.shape[1]):
            for j in range(i):
                a, b = y[:, i : i + 1], y[:, j : j + 1]
                both = (a * np.cos(turns) + b * np.sin(turns), b * np.cos(turns) - a * np.sin(turns))
                entropy = _spacing_entropy(both[0], spacing) + _spacing_entropy(both[1], spacing)
                best = int(entropy.argmin())
                if entropy[angles // 2] - entropy[best] > least:
                    cos, sin = np.cos(turns[best]), np.sin(turns[best])
                    by = np.array([[cos, -sin], [sin, cos]])
                    y[:, [i, j]], rotation[:, [i, j]] = y[:, [i, j]] @ by, rotation[:, [i, j]] @ by
                    turned = True
        if not turned:
            break
    return rotation, float(_spacing_entropy(y, spacing).sum())


def _spacing_entropy(values: Float[np.ndarray, "n m"], spacing: int) -> Float[np.ndarray, " m"]:
    """Differential entropy of each column in nats, from the distance between every spacing-th order statistic (Vasicek
    1976)."""
    ordered = np.sort(values, 0)
    gaps = ordered[spacing:] - ordered[:-spacing]
    return np.asarray(np.log(gaps * (len(values) + 1) / spacing + 1e-6).mean(0))
