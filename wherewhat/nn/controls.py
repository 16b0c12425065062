"""Controls: what a user moves, made from the latents after training, without labels.

Training may leave two variations rotated into each other, because a normal prior is invariant under rotation.  It lays
an angle (a hue, an orientation) around a circle in two latents, because no single latent holds it without a jump.
Independent component analysis (ICA) undoes the rotation.  Polar coordinates make one control of the circle.

n images, z latents (and as many controls).
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from wherewhat.nn.curves import Curve, fit_curves, mutual_information, rotate_to_independence

How = Literal["latents", "polar", "ica", "curves"]
MIN_INFORMATION_GAIN = 0.3
"""two latents become a polar pair if their mutual information falls by at least this many nats in polar coordinates"""
MAX_RADIUS_SPREAD = 0.4
"""largest standard deviation of the radius of a polar pair, relative to its mean: beyond it, the radius matters more
than the angle"""
ANGLE_RANGE = 2.0
"""an angle goes from −ANGLE_RANGE to +ANGLE_RANGE; on a full circle both ends look the same"""
MAX_ARC_INFORMATION = 0.1
"""two latents on an open arc become a polar pair if at most this many nats of mutual information are left, and fewer
than half of what there was"""
MIN_GAP_DEGREES = 20.0
"""least opening of an arc; it must also be twice as wide as any other gap, since values that are few leave gaps too"""
QUANTILES = 65
"""of each control that are kept: every sixty-fourth of the images"""
MIN_CODE_STD = 0.3
"""latents whose codes have a smaller standard deviation are unused"""
MIN_INFORMATIVE_STD = 0.7
"""curves are made of latents whose codes have at least this standard deviation: their posterior is narrower"""


@dataclass(frozen=True)
class PolarPair:
    """A pair of components and its polar coordinates."""

    angle: int
    """component that the angle replaces"""
    radius: int
    """component that the radius replaces"""
    centre: tuple[float, float]
    start: float
    """direction, in radians, at which the angle is −ANGLE_RANGE: where the fewest codes are"""
    middle: float
    """mean radius of the codes"""
    spread: float
    """its standard deviation"""
    turn: float = 2 * math.pi
    """radians from one end of the angle to the other: a full turn, or less for an arc"""


@dataclass(frozen=True)
class Controls:
    """Latents are mixing · components + mean; each polar pair of components is given as angle and radius."""

    mixing: tuple[tuple[float, ...], ...]
    """z × z; column k is how far each latent moves when component k moves by 1"""
    mean: tuple[float, ...]
    polar_pairs: tuple[PolarPair, ...] = ()
    curves: tuple[Curve, ...] = ()
    """no component is in a polar pair and in a curve"""
    quantiles: tuple[tuple[float, ...], ...] = ()
    """of each control over images, equally far apart from the least to the largest; empty: not known"""

    @classmethod
    def plain(cls, latents: int, polar_pairs: tuple[PolarPair, ...] = ()) -> "Controls":
        """Components that are the latents themselves."""
        return cls(tuple(tuple(row) for row in np.eye(latents).tolist()), (0.0,) * latents, polar_pairs)

    def among(self, latents: int, places: Integer[np.ndarray, " k"]) -> "Controls":
        """The same controls of the latents in these places; the others are controls by themselves."""
        mixing, mean = np.eye(latents), np.zeros(latents)
        mixing[np.ix_(places, places)], mean[places] = np.array(self.mixing), self.mean
        at = [int(k) for k in places]
        pairs = tuple(replace(p, angle=at[p.angle], radius=at[p.radius]) for p in self.polar_pairs)
        curves = tuple(replace(c, members=tuple(at[k] for k in c.members)) for c in self.curves)
        return Controls(tuple(tuple(row) for row in mixing.tolist()), tuple(mean.tolist()), pairs, curves)

    def encode(self, z: Float[Tensor, "*b z"]) -> Float[Tensor, "*b z"]:
        """Latents to controls."""
        mixing, mean = self._tensors(z)
        return self.from_components(torch.linalg.solve(mixing, (z - mean)[..., None])[..., 0])

    def decode(self, controls: Float[Tensor, "*b z"]) -> Float[Tensor, "*b z"]:
        """Controls to latents, the inverse of `encode`."""
        mixing, mean = self._tensors(controls)
        return (mixing @ self.to_components(controls)[..., None])[..., 0] + mean

    def from_components(self, components: Float[Tensor, "*b z"]) -> Float[Tensor, "*b z"]:
        """Components to controls: polar pairs and curves in place of their components."""
        controls = to_polar(components, self.polar_pairs)
        for curve in self.curves:
            members = list(curve.members)
            controls = controls.index_copy(-1, _at(members, controls), curve.encode(controls[..., members]))
        return controls

    def to_components(self, controls: Float[Tensor, "*b z"]) -> Float[Tensor, "*b z"]:
        """The inverse of `from_components`."""
        for curve in self.curves:
            members = list(curve.members)
            controls = controls.index_copy(-1, _at(members, controls), curve.decode(controls[..., members]))
        return from_polar(controls, self.polar_pairs)

    def with_quantiles(self, codes: Float[np.ndarray, "n z"]) -> "Controls":
        """The same with the quantiles that these latents of images have."""
        found = self.encode(torch.from_numpy(codes.astype(np.float32))).numpy()
        table = np.quantile(found, np.linspace(0, 1, QUANTILES), axis=0).T
        return replace(self, quantiles=tuple(tuple(row) for row in table.round(4).tolist()))

    def shares(self) -> Float[np.ndarray, "controls z"]:
        """How far each control moves each latent, relative to the latent that it moves most.  Angle and radius of a
        polar pair, and all controls of a curve, have the largest share of their components."""
        moved = np.abs(np.array(self.mixing)).T
        for curve in self.curves:
            members = list(curve.members)
            moved[members] = moved[members].max(0)
        for pair in self.polar_pairs:
            moved[[pair.angle, pair.radius]] = moved[[pair.angle, pair.radius]].max(0)
        return np.asarray(moved / moved.max(1, keepdims=True))

    @property
    def angles(self) -> tuple[int, ...]:
        """Controls that are angles which go all the way round."""
        circles = [pair.angle for pair in self.polar_pairs if pair.turn == 2 * math.pi]
        return (*circles, *(curve.members[0] for curve in self.curves if curve.closed))

    def _tensors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        wanted: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        return torch.tensor(self.mixing, **wanted), torch.tensor(self.mean, **wanted)

    def to_json(self) -> dict[str, Any]:
        """Plain values that from_json takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Controls":
        """Controls written by to_json, by this or an earlier version.  Raises KeyError, TypeError or ValueError if they
        are none."""
        pairs = values["rings" if "rings" in values else "polar_pairs"]  # rings: format 1
        polar_pairs = tuple(PolarPair(**{**pair, "centre": tuple(pair["centre"])}) for pair in pairs)
        curves = tuple(Curve.from_json(curve) for curve in values.get("curves", ()))
        quantiles = tuple(tuple(map(float, row)) for row in values.get("quantiles", ()))
        mixing = tuple(tuple(row) for row in values["mixing"])
        found = cls(mixing, tuple(values["mean"]), polar_pairs, curves, quantiles)
        if np.array(found.mixing, np.float64).shape != (len(found.mean),) * 2:
            raise ValueError("mixing is not square")
        return found


def fit_controls(codes: Float[np.ndarray, "n z"], how: How = "ica", fixed: Sequence[int] = ()) -> Controls | None:
    """Controls fitted on the codes of some thousand images; None if they are the latents themselves.

    latents: None.  polar: the latents, with polar pairs among them.  ica: the best of three candidates: those of
    `polar`, the independent components of all latents, and the independent components of the latents in no polar pair.
    The candidate with most polar pairs is taken, because such pairs do not come about by chance; of equally many, the
    one whose controls depend least on each other.  The fixed latents stay controls by themselves.
    """
    if how == "latents":
        return None
    free = np.setdiff1d(np.arange(codes.shape[1]), fixed)
    found = _fit(codes[:, free].astype(np.float64), how)
    if found == Controls.plain(len(free)):
        return None
    return found.among(codes.shape[1], free).with_quantiles(codes)


def _fit(codes: Float[np.ndarray, "n z"], how: How) -> Controls:
    if how == "curves":
        return fit_independent_curves(codes)
    plain = Controls.plain(codes.shape[1], find_polar_pairs(codes))
    found = plain
    if how == "ica":
        paired = {k for pair in plain.polar_pairs for k in (pair.angle, pair.radius)}
        unpaired = np.array([k not in paired for k in range(codes.shape[1])])
        candidates = [plain, fit_ica(codes, np.ones_like(unpaired)), fit_ica(codes, unpaired)]
        found = min((c for c in candidates if c), key=lambda c: (-len(c.polar_pairs), total_correlation(c, codes)))
    return found


def fit_independent_curves(codes: Float[np.ndarray, "n z"], seed: int = 0) -> Controls:
    """Latents in use, rotated to independence, then curves among the components.  Of two starts (FastICA, and ZCA,
    which makes latents white by the smallest change) the one is taken that ends with least entropy."""
    used = np.flatnonzero(codes.std(0) > MIN_INFORMATIVE_STD)
    if len(used) < 2:
        return Controls.plain(codes.shape[1])
    x = codes[:, used] - codes[:, used].mean(0)
    values, vectors = np.linalg.eigh(np.cov(x.T))
    zca = vectors * values**-0.5 @ vectors.T
    starts = (zca, np.linalg.inv(independent_components(x, seed)).T)
    rotated = [(start, *rotate_to_independence(x @ start)) for start in starts]
    start, rotation, _ = min(rotated, key=lambda found: found[2])
    mixing = _in_place(np.linalg.inv(start @ rotation).T)
    curves = fit_curves(x @ np.linalg.inv(mixing).T)
    mean = tuple(codes[:, used].mean(0).tolist())
    return Controls(tuple(tuple(row) for row in mixing.tolist()), mean, (), curves).among(codes.shape[1], used)


def fit_ica(codes: Float[np.ndarray, "n z"], which: Bool[np.ndarray, " z"], seed: int = 0) -> Controls | None:
    """Independent components of the used ones among these latents, and the polar pairs among all components; None with
    fewer than two latents in use."""
    used = np.flatnonzero(which & (codes.std(0) > MIN_CODE_STD))
    if len(used) < 2:
        return None
    mixing, mean = np.eye(codes.shape[1]), np.zeros(codes.shape[1])
    mixing[np.ix_(used, used)] = _in_place(independent_components(codes[:, used], seed))
    mean[used] = codes[:, used].mean(0)
    components = np.linalg.solve(mixing, (codes - mean).T).T
    return Controls(tuple(tuple(row) for row in mixing.tolist()), tuple(mean.tolist()), find_polar_pairs(components))


def independent_components(x: Float[np.ndarray, "n z"], seed: int = 0) -> Float[np.ndarray, "z z"]:
    """The mixing matrix of independent components of unit variance (FastICA, Hyvärinen & Oja 2000)."""
    from sklearn.decomposition import FastICA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # circles have no best direction: it need not converge
        ica = FastICA(whiten="unit-variance", random_state=seed, max_iter=500, tol=1e-4).fit(x)
    return np.asarray(ica.mixing_)


def _in_place(mixing: Float[np.ndarray, "z z"]) -> Float[np.ndarray, "z z"]:
    """Components in the places of the latents that they move most, each once, and with the same sign."""
    from scipy.optimize import linear_sum_assignment

    latent, component = linear_sum_assignment(-np.abs(mixing))
    return np.asarray(mixing[:, component] * np.sign(mixing[latent, component]))


def _at(members: list[int], like: Tensor) -> Tensor:
    return torch.tensor(members, device=like.device)


def total_correlation(controls: Controls, codes: Float[np.ndarray, "n z"]) -> float:
    """Total correlation in nats of the controls in use, each polar pair counted as one, up to a constant that depends
    on the codes alone: the sum of their entropies and the log-determinant of the mixing."""
    mixing = np.array(controls.mixing)
    components = np.linalg.solve(mixing, (codes - np.array(controls.mean)).T).T
    paired = {k for pair in controls.polar_pairs for k in (pair.angle, pair.radius)}
    alone = [k for k in np.flatnonzero(codes.std(0) > MIN_CODE_STD).tolist() if k not in paired]
    total = float(np.linalg.slogdet(mixing)[1]) + sum(entropy(components[:, k]) for k in alone)
    for pair in controls.polar_pairs:
        angle, radius = _polar_coordinates(components, pair.angle, pair.radius, pair.centre)
        both = entropy(angle) + entropy(radius) - mutual_information(angle, radius)
        total += both + float(np.log(radius).mean())  # the density in x and y is that in polar coordinates divided by r
    return total


def entropy(values: Float[np.ndarray, " n"], bins: int = 64) -> float:
    """Differential entropy in nats, from equally wide bins."""
    counts, edges = np.histogram(values, bins)
    p = counts[counts > 0] / len(values)
    return float(np.log(edges[1] - edges[0]) - (p * np.log(p)).sum())


# ---------------------------------------------------------------------------------------------------------- polar pairs


def to_polar(components: Float[Tensor, "*b z"], polar_pairs: tuple[PolarPair, ...]) -> Float[Tensor, "*b z"]:
    """Components to controls: in each polar pair the angle, −2 … 2, and the standardised radius replace the two
    components."""
    controls = list(components.unbind(-1))
    for pair in polar_pairs:
        x, y = components[..., pair.angle] - pair.centre[0], components[..., pair.radius] - pair.centre[1]
        direction = torch.remainder(torch.atan2(y, x) - pair.start, 2 * math.pi)
        half_gap = (2 * math.pi - pair.turn) / 2  # what lies in the gap of an arc belongs to the nearer end
        direction = torch.where(direction > pair.turn + half_gap, direction - 2 * math.pi, direction)
        controls[pair.angle] = (2 * direction / pair.turn - 1) * ANGLE_RANGE
        controls[pair.radius] = ((x * x + y * y).sqrt() - pair.middle) / pair.spread
    return torch.stack(controls, -1)


def from_polar(controls: Float[Tensor, "*b z"], polar_pairs: tuple[PolarPair, ...]) -> Float[Tensor, "*b z"]:
    """Controls to components, the inverse of `to_polar`.  Angles are clamped to ±2, on an arc to the middle of its gap;
    radii to at least 0."""
    components = list(controls.unbind(-1))
    for pair in polar_pairs:
        furthest = ANGLE_RANGE * (2 * math.pi / pair.turn)
        angle = controls[..., pair.angle].clamp(-furthest, furthest)
        direction = (angle / ANGLE_RANGE + 1) * pair.turn / 2 + pair.start
        radius = (controls[..., pair.radius] * pair.spread + pair.middle).clamp(min=0)
        components[pair.angle] = pair.centre[0] + radius * direction.cos()
        components[pair.radius] = pair.centre[1] + radius * direction.sin()
    return torch.stack(components, -1)


def find_polar_pairs(codes: Float[np.ndarray, "n z"]) -> tuple[PolarPair, ...]:
    """Pairs of latents whose mutual information is much smaller in polar coordinates.  The clearest come first, full
    circles before arcs, and each latent is in one pair at most."""
    used = np.flatnonzero(codes.std(0) > MIN_CODE_STD)
    pairs = list(combinations(used.tolist(), 2))
    gains = {(i, j): _information_gain(codes[:, i], codes[:, j]) for i, j in pairs}
    polar_pairs: list[PolarPair] = []
    for (i, j), gain in sorted(gains.items(), key=lambda item: -item[1]):
        if gain > MIN_INFORMATION_GAIN and not any({i, j} & {pair.angle, pair.radius} for pair in polar_pairs):
            pair = _polar_pair(codes, i, j, (float(codes[:, i].mean()), float(codes[:, j].mean())))
            polar_pairs += [pair] if pair.spread < MAX_RADIUS_SPREAD * pair.middle else []
    arcs = [found for pair in pairs if (found := find_arc(codes, *pair))]
    for _, arc in sorted(arcs, key=lambda found: found[0]):
        if not any({arc.angle, arc.radius} & {pair.angle, pair.radius} for pair in polar_pairs):
            polar_pairs.append(arc)
    return tuple(polar_pairs)


def find_arc(codes: Float[np.ndarray, "n z"], i: int, j: int, bins: int = 8) -> tuple[float, PolarPair] | None:
    """The arc with a gap on which two latents lie, and the mutual information of its angle and radius in nats; None if
    they lie on no arc.

    Arcs arise where one variation makes another one larger: a larger object moves more pixels, and training preserves
    distances, so their plane is spread like a fan.  Less than half a turn is no arc.  The centre is where angle and
    radius depend least on each other.
    """
    information = _nonlinear_information(codes[:, i], codes[:, j], bins)
    if information < MAX_ARC_INFORMATION:  # nearly independent as they are
        return None
    some = codes[:: max(1, len(codes) // 5_000)]

    def remaining(centre: tuple[float, float]) -> float:
        angles, radii = _polar_coordinates(some, i, j, centre)
        return mutual_information(np.mod(angles - _widest_gap(angles)[1], 2 * np.pi), radii, bins)

    centre = float(codes[:, i].mean()), float(codes[:, j].mean())
    for halfwidth in (2.5, 0.5, 0.1):  # standard deviations: a coarse grid, then finer ones around the best
        x, y = (
            c + codes[:, k].std() * np.linspace(-halfwidth, halfwidth, 11) for c, k in zip(centre, (i, j), strict=True)
        )
        centre = min(((float(a), float(b)) for a in x for b in y), key=remaining)
    remains = remaining(centre)
    arc = _polar_pair(codes, i, j, centre, MIN_GAP_DEGREES)
    is_arc = math.pi <= arc.turn < 2 * math.pi and arc.spread < MAX_RADIUS_SPREAD * arc.middle
    return (remains, arc) if is_arc and remains < min(MAX_ARC_INFORMATION, information / 2) else None


def _information_gain(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a - a.mean(), b - b.mean()
    return _nonlinear_information(x, y) - mutual_information(np.arctan2(y, x), np.hypot(x, y))


def _nonlinear_information(x: np.ndarray, y: np.ndarray, bins: int = 16) -> float:
    """Mutual information less what a linear dependence explains."""
    slope = ((x - x.mean()) * (y - y.mean())).mean() / x.var()
    return min(mutual_information(x, y, bins), mutual_information(x, y - slope * x, bins))


def _polar_pair(codes: np.ndarray, i: int, j: int, centre: tuple[float, float], min_gap: float = 360.0) -> PolarPair:
    """The polar pair around a centre; an arc if a gap of at least min_gap degrees has hardly any codes."""
    angles, radii = _polar_coordinates(codes, i, j, centre)
    width, start, second = _widest_gap(angles)
    is_open = width >= max(math.radians(min_gap), 2 * second)
    turn = 2 * math.pi - width if is_open else 2 * math.pi
    begin = start + width if turn < 2 * math.pi else start + width / 2
    return PolarPair(i, j, centre, float(begin), float(radii.mean()), float(radii.std()), float(turn))


def _widest_gap(angles: np.ndarray, sectors: int = 72) -> tuple[float, float, float]:
    """Width and start, in radians, of the widest gap with hardly any angle; width of the second widest."""
    counts, edges = np.histogram(angles, sectors, (-np.pi, np.pi))
    first = int(counts.argmax())  # not in a gap, so no gap wraps around
    empty = np.roll(counts < 0.05 * counts.mean(), -first)
    if not empty.any():
        return 0.0, float(edges[counts.argmin()]), 0.0
    ends = np.flatnonzero(np.diff(np.concatenate([[0], empty, [0]])))
    gaps = sorted(((b - a, a) for a, b in zip(ends[::2], ends[1::2], strict=True)), reverse=True)
    widths = [length * 2 * np.pi / sectors for length, _ in gaps] + [0.0]
    return float(widths[0]), float(edges[(gaps[0][1] + first) % sectors]), float(widths[1])


def _polar_coordinates(codes: np.ndarray, i: int, j: int, centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    x, y = codes[:, i] - centre[0], codes[:, j] - centre[1]
    return np.arctan2(y, x), np.hypot(x, y)
