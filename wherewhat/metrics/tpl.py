"""Perceptual lengths: of traversals (TPL, section 4 of the paper), which choose among models without labels, of turned
sweeps, and of paths between latents (PPL, Karras et al. 2019): how much an image changes when they move a little, low
where the space is smooth; a generator that always makes the same image scores 0.

t base points, z latents, s places of a sweep.  Any callable from latents to images can be measured."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from wherewhat.errors import UserError, did_you_mean

TPL_REACH = 4.0  # sweeps go from −4 to +4, whatever the prior
BASES_AT_ONCE = 10  # base points added before the standard error, where it decides on their number, is computed again
EPSILON = 1e-4  # step along the way from one latent to the other, whose whole length is 1
DISCARDED = 0.01  # share of the pairs left out at either end, as StyleGAN does
MAX_SIDE = 256  # larger images are area-averaged until their longer side is this

Along = Literal["full", "end"]  # steps anywhere between two latents, or at the first of them
Interpolate = Callable[[Tensor, Tensor, Tensor], Tensor]  # two tensors of latents (b z), shares of the way (b 1)


@dataclass(frozen=True)
class TplProtocol:
    """How finely and how often latents are swept."""

    points: int
    bases: int
    threshold: float = 0.1  # active is what is longer; the reference publishes .1, .3 and .5, dlib's study .01


PROTOCOLS = {
    "small": TplProtocol(25, 10), "medium": TplProtocol(25, 50), "large": TplProtocol(49, 300),
    "huge": TplProtocol(49, 3000), "dlib": TplProtocol(50, 500, 0.01),
}  # fmt: skip


@runtime_checkable
class Distance(Protocol):
    """A perceptual distance (wherewhat.metrics.distance)."""

    @property
    def options(self) -> dict[str, Any]: ...
    def path(self, images: Float[Tensor, "t s c h w"], batch: int = ...) -> Float[Tensor, "t s-1"]: ...


class TPL(NamedTuple):
    """Lengths of traversals; lower is better at the same number of active controls, so both are shown."""

    score: float  # sum over active controls: the paper's TPL
    error: float  # standard error of the score over base points
    active: Bool[np.ndarray, " z"]
    per_latent: Float[np.ndarray, " z"]
    per_latent_error: Float[np.ndarray, " z"]
    options: dict[str, Any]


def tpl_score(segments: Float[np.ndarray, "t z steps"], threshold: float, options: dict[str, Any] | None = None) -> TPL:
    """From distances between neighbours along each sweep to the score.  Lengths are sums along a sweep, averaged over
    base points; controls above the threshold are active."""
    lengths = segments.sum(2)
    count = len(lengths)

    def error(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.std(0, ddof=1) / np.sqrt(count)) if count > 1 else np.full(values.shape[1:], np.nan)

    per_latent = lengths.mean(0)
    active = per_latent > threshold
    total = lengths[:, active].sum(1)
    return TPL(float(total.mean()), float(error(total)), active, per_latent, error(lengths), options or {})


def tpl(
    generate: Callable[[Tensor], Tensor], codes: int, distance: Distance, protocol: TplProtocol | str = "medium",
    threshold: float | None = None, seed: int = 0, batch: int = 64, device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None, until: float | None = None, controls: int | None = None,
) -> TPL:  # fmt: skip
    """TPL of any generator: `generate` maps latents (b × codes) to images (b c h w) in [−1, 1], with the same noise for
    all.  If it has a method `sweeps` from t × places × codes to t × places × c h w, that is called instead.  Base
    points are standard normal; the result does not depend on `batch`.  until: stop adding base points, ten at a time,
    once the standard error of the score is at most this share of it; options["bases"] says how many it took.
    controls: sweep only the first so many latents.  Raises UserError if what `generate` returns are not such images."""
    setting = find_protocol(protocol)
    threshold = setting.threshold if threshold is None else threshold
    bases = torch.from_numpy(np.random.default_rng(seed).standard_normal((setting.bases, codes), np.float32))
    controls = codes if controls is None else controls
    segments = np.empty((setting.bases, controls, setting.points - 1), np.float32)
    options = {**asdict(setting), "threshold": threshold, "reach": TPL_REACH, "seed": seed, **distance.options}
    options |= {} if until is None else {"until": until}
    options |= {} if controls == codes else {"controls": controls}
    at_once = max(1, batch // setting.points)
    first, step = 0, setting.bases if until is None else min(BASES_AT_ONCE, setting.bases)
    with torch.no_grad():
        while True:
            last = min(first + step, setting.bases)
            for latent in range(controls):
                for b in range(first, last, at_once):
                    z = sweep(bases[b : min(b + at_once, last)], latent, setting.points)
                    images = swept(generate, z.to(device))
                    segments[b : b + len(z), latent] = distance.path(images.float()).cpu().numpy()
                if progress:
                    progress((first * controls + (last - first) * (latent + 1)) / (setting.bases * controls))
            found = tpl_score(segments[:last], threshold, options | {"bases": last})
            if last == setting.bases or (until is not None and found.error <= until * found.score):
                return found
            first = last


def swept(generate: Callable[[Tensor], Tensor], z: Float[Tensor, "t s z"]) -> Float[Tensor, "t s c h w"]:
    """Images of sweeps.  Raises UserError if what `generate` returns are not images."""
    sweeps = getattr(generate, "sweeps", None)
    images: Tensor = sweeps(z).flatten(0, 1) if sweeps else generate(z.flatten(0, 1))
    check_images(images, z.shape[0] * z.shape[1])
    return images.unflatten(0, z.shape[:2])


class Rotation(NamedTuple):
    """Lengths of sweeps along directions turned from one latent towards another."""

    degrees: Float[np.ndarray, " a"]  # 0: the first latent alone; 90: the second; to 180
    lengths: Float[np.ndarray, " a"]  # mean over base points
    errors: Float[np.ndarray, " a"]  # standard errors of the lengths

    @property
    def axis_score(self) -> float:
        """How much shorter sweeps along the two axes are than along the directions furthest from both (45° and 135°):
        1 − their ratio.  0 where no direction is special; negative where the axes are the worst."""
        at = {round(float(d)): length for d, length in zip(self.degrees, self.lengths, strict=True)}
        between = (at[45] + at[135]) / 2
        return float(1 - (at[0] + at[90]) / 2 / between) if between > 0 else 0.0


def rotate(
    generate: Callable[[Tensor], Tensor], codes: int, distance: Distance, pair: tuple[int, int], angles: int = 17,
    protocol: TplProtocol | str = "small", seed: int = 0, device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Rotation:  # fmt: skip
    """The rotation study (section 3.3 of the paper): perceptual length of sweeps along cos θ · e_i + sin θ · e_j, for
    `angles` values of θ from 0 to 180° (4 k + 1 of them, so that 45° is one).  Where latents are simple, the curve dips
    at the axes.  Raises UserError for a pair or a number of angles that there is not."""
    if len(set(pair)) < 2 or not all(0 <= latent < codes for latent in pair):
        raise UserError(f"pair {pair[0]}, {pair[1]}: give two different latents from 0 to {codes - 1}")
    if angles < 5 or angles % 4 != 1:
        raise UserError(f"{angles} angles: give 5, 9, 13, 17, … so that 0, 45, 90 and 135 degrees are among them")
    setting = find_protocol(protocol)
    bases = torch.from_numpy(np.random.default_rng(seed).standard_normal((setting.bases, codes), np.float32))
    bases[:, list(pair)] = 0  # all directions pass through the middle, and so have the same reach
    degrees = np.linspace(0, 180, angles)
    lengths = np.empty((angles, setting.bases))
    with torch.no_grad():
        for a, theta in enumerate(np.deg2rad(degrees[:-1])):
            for b, base in enumerate(bases):
                z = base.repeat(setting.points, 1)
                places = torch.linspace(-TPL_REACH, TPL_REACH, setting.points)
                z[:, pair[0]], z[:, pair[1]] = places * float(np.cos(theta)), places * float(np.sin(theta))
                images = swept(generate, z[None].to(device))
                lengths[a, b] = distance.path(images.float()).sum().item()
            if progress:
                progress((a + 1) / (angles - 1))
    lengths[-1] = lengths[0]  # 180°: the same sweep, backwards
    errors = lengths.std(1, ddof=1) / np.sqrt(setting.bases) if setting.bases > 1 else np.full(angles, np.nan)
    return Rotation(degrees, lengths.mean(1), errors)


class DirectionGain(NamedTuple):
    """Mean lengths of sweeps, and how much shorter those along controls are: 1 − along / between."""

    score: float
    along: float
    between: float


def direction_gain(
    generate: Callable[[Tensor], Tensor], codes: int, active: Sequence[int], distance: Distance,
    protocol: TplProtocol | str = "small", reach: float = 2.0, seed: int = 0, device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> DirectionGain:  # fmt: skip
    """How much shorter sweeps along controls are than sweeps of the same reach along random directions among the active
    ones: the rotation study (section 3.3 of the paper) of all pairs at once.  As many random directions as active
    controls at each base point, all through the middle of the active ones.  0 where no direction is special, and with
    fewer than two active controls."""
    setting, chosen = find_protocol(protocol), list(active)
    if len(chosen) < 2:
        return DirectionGain(0.0, 0.0, 0.0)
    rng = np.random.default_rng(seed)
    lengths = np.empty((2, setting.bases))
    places = torch.linspace(-reach, reach, setting.points)
    with torch.no_grad():
        for b in range(setting.bases):
            base = torch.from_numpy(rng.standard_normal(codes, np.float32))
            drawn = rng.standard_normal((len(chosen), len(chosen)), np.float32)
            drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
            for row, directions in enumerate((np.eye(len(chosen), dtype=np.float32), drawn)):
                z = base.repeat(len(chosen), setting.points, 1)
                z[:, :, chosen] = torch.from_numpy(directions)[:, None] * places[:, None]
                found = [distance.path(swept(generate, part.to(device)).float()) for part in z.split(2)]
                lengths[row, b] = torch.cat(found).sum(1).mean().item()
            if progress:
                progress((b + 1) / setting.bases)
    along, between = lengths.mean(1)
    return DirectionGain(float(1 - along / between) if between > 0 else 0.0, float(along), float(between))


def sweep(
    bases: Float[Tensor, "*t z"], index: int, points: int, reach: float = TPL_REACH
) -> Float[Tensor, "*t points z"]:
    """Each base point with one latent, or control, at `points` places from −reach to +reach."""
    z = bases.unsqueeze(-2).repeat_interleave(points, -2)
    z[..., index] = torch.linspace(-reach, reach, points, device=bases.device)
    return z


def find_protocol(protocol: TplProtocol | str) -> TplProtocol:
    """A protocol by name.  Raises UserError, which proposes the nearest name, for one that there is not."""
    if isinstance(protocol, TplProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise UserError(f"there is no TPL protocol {protocol}{did_you_mean(protocol, list(PROTOCOLS))}")
    return PROTOCOLS[protocol]


def check_images(images: Tensor, count: int) -> None:
    """Raises UserError unless these are `count` images, 1, 3 or 4 channels, mostly within [−1, 1]."""
    if images.ndim != 4 or len(images) != count or images.shape[1] not in (1, 3, 4):
        raise UserError(f"the generator returned an array of shape {tuple(images.shape)} for {count} latents: "
                        f"it must return images of shape ({count}, 1|3|4, height, width)")  # fmt: skip
    if not torch.isfinite(images).all():
        raise UserError("the generator returned images with values that are not finite")
    if images.abs().max() > 8:
        raise UserError(f"the generator returned images up to {images.abs().max():.0f}: scale them to [−1, 1]")


class PathLength(NamedTuple):
    """Mean over the pairs that are kept."""

    value: float
    error: float  # standard error over these pairs
    lengths: Float[np.ndarray, " n"]  # of all pairs
    options: dict[str, Any]


@torch.no_grad()
def path_length(
    generate: Callable[[Tensor], Tensor], pairs: tuple[Float[np.ndarray, "n z"], Float[np.ndarray, "n z"]],
    distance: Distance, interpolate: Interpolate = torch.lerp, along: Along = "full", seed: int = 0, batch: int = 64,
    device: torch.device | str = "cpu", progress: Callable[[float], None] | None = None,
) -> PathLength:  # fmt: skip
    """Mean of distance(G(z at t), G(z at t + ε)) / ε² over pairs of latents drawn from the prior, t uniform (`full`) or
    0 (`end`), without the lowest and highest hundredth.  interpolate: the way from one latent to the other, which
    should be typical of the prior (`wherewhat.priors.slerp` for a normal one).  generate: latents (b × z) to images (b
    c h w) in [−1, 1], with the same noise for all.  Raises UserError if it returns others."""
    first, last = (torch.from_numpy(z) for z in pairs)
    count = len(first)
    if count < 2:
        raise UserError(f"{count} pairs of latents: a path length needs 2 or more")
    t = np.random.default_rng([seed, 1]).random((count, 1), np.float32) * (along == "full")
    start = torch.from_numpy(t)
    lengths = np.empty(count)
    for at in range(0, count, batch):
        a, b, s = (x[at : at + batch] for x in (first, last, start))
        z = torch.stack([interpolate(a, b, s), interpolate(a, b, s + EPSILON)], 1)
        images = generate(z.flatten(0, 1).to(device))
        check_images(images, 2 * len(a))
        lengths[at : at + batch] = distance.path(_reduced(images.float()).unflatten(0, (-1, 2)))[:, 0].cpu().numpy()
        if progress:
            progress(at / count)
    lengths /= EPSILON**2
    low = np.quantile(lengths, DISCARDED, method="lower")
    high = np.quantile(lengths, 1 - DISCARDED, method="higher")
    kept = lengths[(lengths >= low) & (lengths <= high)]
    options = {
        "along": along, "epsilon": EPSILON, "pairs": count,
        "discarded": DISCARDED, "seed": seed, **distance.options, "resize": f"over {MAX_SIDE} by area to {MAX_SIDE}",
    }  # fmt: skip
    return PathLength(float(kept.mean()), float(kept.std(ddof=1) / np.sqrt(len(kept))), lengths, options)


def _reduced(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c _ _"]:
    longer = max(images.shape[2:])
    h, w = (max(1, round(side * MAX_SIDE / longer)) for side in images.shape[2:])
    return images if longer <= MAX_SIDE else functional.adaptive_avg_pool2d(images, (h, w))
