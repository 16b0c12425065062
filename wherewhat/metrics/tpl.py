"""Traversal perceptual length (section 4 of the paper): choose among models without labels.

t base points, z latents, s places of a sweep.  Any callable from latents to images can be measured.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wherewhat.errors import UserError, did_you_mean

TPL_REACH = 4.0  # sweeps go from −4 to +4, whatever the prior
BASES_AT_ONCE = 10
"""base points that are added before the standard error is computed again, where it decides how many there are"""


@dataclass(frozen=True)
class TplProtocol:
    """How finely and how often latents are swept."""

    points: int
    bases: int
    threshold: float = 0.1
    """a control is active if its length is above this; the reference publishes .1, .3 and .5, dlib's study .01"""


PROTOCOLS = {
    "small": TplProtocol(25, 10),
    "medium": TplProtocol(25, 50),
    "large": TplProtocol(49, 300),
    "huge": TplProtocol(49, 3000),
    "dlib": TplProtocol(50, 500, 0.01),
}


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
    """From distances between neighbours along each sweep to the score.

    Lengths are sums along a sweep, averaged over base points; controls above the threshold are active.
    """
    lengths = segments.sum(2)
    count = len(lengths)

    def error(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.std(0, ddof=1) / np.sqrt(count)) if count > 1 else np.full(values.shape[1:], np.nan)

    per_latent = lengths.mean(0)
    active = per_latent > threshold
    total = lengths[:, active].sum(1)
    return TPL(float(total.mean()), float(error(total)), active, per_latent, error(lengths), options or {})


def tpl(
    generate: Callable[[Tensor], Tensor],
    codes: int,
    distance: Distance,
    protocol: TplProtocol | str = "medium",
    threshold: float | None = None,
    seed: int = 0,
    batch: int = 64,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
    until: float | None = None,
) -> TPL:
    """TPL of any generator: `generate` maps latents (b × codes) to images (b c h w) in [−1, 1], with the same noise for
    all.  If it has a method `sweeps` from t × places × codes to t × places × c h w, that is called instead.

    Base points are standard normal; the result does not depend on `batch`.  until: stop adding base points, ten at a
    time, once the standard error of the score is at most this share of it; options["bases"] says how many it took.
    Raises UserError if what `generate` returns are not such images.
    """
    setting = find_protocol(protocol)
    threshold = setting.threshold if threshold is None else threshold
    bases = torch.from_numpy(np.random.default_rng(seed).standard_normal((setting.bases, codes), np.float32))
    segments = np.empty((setting.bases, codes, setting.points - 1), np.float32)
    options = {**asdict(setting), "threshold": threshold, "reach": TPL_REACH, "seed": seed, **distance.options}
    options |= {} if until is None else {"until": until}
    at_once = max(1, batch // setting.points)
    first, step = 0, setting.bases if until is None else min(BASES_AT_ONCE, setting.bases)
    with torch.no_grad():
        while True:
            last = min(first + step, setting.bases)
            for latent in range(codes):
                for b in range(first, last, at_once):
                    z = sweep(bases[b : min(b + at_once, last)], latent, setting.points)
                    images = swept(generate, z.to(device))
                    segments[b : b + len(z), latent] = distance.path(images.float()).cpu().numpy()
                if progress:
                    progress((first * codes + (last - first) * (latent + 1)) / (setting.bases * codes))
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
    generate: Callable[[Tensor], Tensor],
    codes: int,
    distance: Distance,
    pair: tuple[int, int],
    angles: int = 17,
    protocol: TplProtocol | str = "small",
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> Rotation:
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
        for a, theta in enumerate(np.deg2rad(degrees)):
            for b, base in enumerate(bases):
                z = base.repeat(setting.points, 1)
                places = torch.linspace(-TPL_REACH, TPL_REACH, setting.points)
                z[:, pair[0]], z[:, pair[1]] = places * float(np.cos(theta)), places * float(np.sin(theta))
                images = swept(generate, z[None].to(device))
                lengths[a, b] = distance.path(images.float()).sum().item()
            if progress:
                progress((a + 1) / angles)
    errors = lengths.std(1, ddof=1) / np.sqrt(setting.bases) if setting.bases > 1 else np.full(angles, np.nan)
    return Rotation(degrees, lengths.mean(1), errors)


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
        raise UserError(
            f"the generator returned an array of shape {tuple(images.shape)} for {count} latents: "
            f"it must return images of shape ({count}, 1|3|4, height, width)"
        )
    if not torch.isfinite(images).all():
        raise UserError("the generator returned images with values that are not finite")
    if images.abs().max() > 8:
        raise UserError(f"the generator returned images up to {images.abs().max():.0f}: scale them to [−1, 1]")
