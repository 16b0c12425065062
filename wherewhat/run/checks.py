"""Whether controls that were read from a file can be used."""

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from wherewhat.nn.controls import Controls
    from wherewhat.nn.curves import Curve

WORST_CONDITION = 1e8
"""of a mixing: beyond it, solving for components has no correct digit in float32"""
LARGEST = 1e6
"""a latent has a standard deviation near 1"""


def check_controls(controls: "Controls", latents: int) -> None:
    """Raises ValueError that says what is wrong with controls of this many latents, TypeError for values of other
    kinds."""
    mixing = np.array(controls.mixing, np.float64)
    if mixing.shape != (latents, latents) or len(controls.mean) != latents:
        raise ValueError(f"mixing and mean should be of {latents} latents")
    _check_numbers("mixing and mean", chain(mixing.ravel(), controls.mean))
    if not np.linalg.cond(mixing) < WORST_CONDITION:
        raise ValueError("mixing has no inverse")
    for pair in controls.polar_pairs:
        _check_numbers("a polar pair", (*pair.centre, pair.start, pair.middle, pair.spread, pair.turn))
        if len(pair.centre) != 2 or not pair.spread > 1e-6 or not 1e-3 < pair.turn <= 2 * np.pi + 1e-6:
            raise ValueError("a polar pair has no centre, spread or turn")
    for curve in controls.curves:
        _check_curve(curve)
    if controls.quantiles and (len(controls.quantiles) != latents or len({*map(len, controls.quantiles)}) != 1):
        raise ValueError(f"quantiles should be of {latents} controls, equally many of each")
    _check_numbers("quantiles", chain.from_iterable(controls.quantiles))
    if any(len(row) < 2 for row in controls.quantiles):
        raise ValueError("a control needs two quantiles or more")
    members = chain(((p.angle, p.radius) for p in controls.polar_pairs), (c.members for c in controls.curves))
    components = list(chain.from_iterable(members))
    if not all(type(k) is int and 0 <= k < latents for k in components) or len(set(components)) < len(components):
        raise ValueError("a polar pair or curve has components that are not there, or that another one has")


def _check_curve(curve: "Curve") -> None:
    count = len(curve.members)
    _check_numbers("a curve", chain.from_iterable((*curve.nodes, *curve.beside)))
    if count < 2 or {len(row) for row in curve.beside} != {count - 1} or len(curve.beside) != count:
        raise ValueError("a curve has no members or directions")


def _check_numbers(where: str, values: Iterable[float]) -> None:
    if not all(isinstance(v, int | float) and abs(v) <= LARGEST for v in values):  # NaN is not
        raise ValueError(f"{where} should be numbers of at most {LARGEST:,.0f}")
