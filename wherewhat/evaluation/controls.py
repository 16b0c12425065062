"""The table of controls: for each, where it acts, what it changes and how much."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.data.batches import Images
from wherewhat.evaluation.encoding import Encoded
from wherewhat.metrics.factors import match
from wherewhat.metrics.tpl import TPL
from wherewhat.metrics.where import covered
from wherewhat.nn.generator import AnyGenerator, changes, mean_masks
from wherewhat.priors import Prior
from wherewhat.run.model import ControlSummary

SEEN = 0.25
"""a person sees a pixel change by more than this, of a range of 2, in the channel that changes most"""
BASES = 16  # samples around which controls are swept to see what they change


def tpl_rows(result: TPL, protocol: str, described: list[ControlSummary] | None) -> Iterator[dict[str, Any]]:
    """Rows of metrics.jsonl: TPL with its number of active controls, and the table of controls if it is given."""
    options = {"protocol": protocol, **result.options}
    lengths = {"per_latent": result.per_latent.tolist(), "per_latent_error": result.per_latent_error.tolist()}
    details = {"active": int(result.active.sum()), "error": result.error, **lengths}
    yield {"metric": "tpl", "value": result.score, "options": options, "details": details}
    if described is not None:
        table = [asdict(control) for control in described]
        yield {"metric": "controls", "value": details["active"], "options": dict(options), "details": table}


def describe_controls(
    generator: AnyGenerator,
    prior: Prior,
    result: TPL,
    encoded: Encoded | None,
    data: Images | None,
    seed: int = 0,
    around: Float[Tensor, "b z"] | None = None,
) -> list[ControlSummary]:
    """Every control, longest traversal first; the factors they match only where `encoded` has some.  Published
    thresholds of TPL decide which are active.  Which are in use is decided by what a person sees: see
    `visible_shares`, around these codes of images; around samples of the prior if none are given."""
    bases = around
    if bases is None:
        drawn = prior.draw(BASES, generator.latents, [seed, 3])
        bases = torch.from_numpy(drawn).to(generator.device)
    masks = mean_masks(generator, torch.from_numpy(prior.draw(64, generator.latents, [seed, 1])))
    matched = _matched(encoded, data)
    angles, visible = generator.angles, visible_shares(generator, bases)
    found = []
    for i in np.argsort(-result.per_latent).tolist():
        row, column, area = extent(masks[i])
        factor, share = matched[i] if matched else (None, None)
        numbers = float(result.per_latent[i]), float(result.per_latent_error[i]), bool(result.active[i])
        peak = float(masks[i].max())
        found.append(ControlSummary(i, *numbers, row, column, area, peak, factor, share, i in angles, visible[i]))
    return found


@torch.no_grad()
def visible_shares(generator: AnyGenerator, bases: Float[Tensor, "b z"]) -> list[float]:
    """For each control the share of the image that changes by more than SEEN while it goes from −2 to +2, mean over
    these inputs of the generator."""
    return [float((changes(generator, bases, k) > SEEN).double().mean()) for k in range(generator.controlled)]


def _matched(encoded: Encoded | None, data: Images | None) -> list[tuple[str, float]]:
    """For each code the factor it has most information about, and that factor's share; empty without factors."""
    if encoded is None or data is None or data.factors is None:
        return []
    varying = np.flatnonzero(np.ptp(encoded.factors, 0) > 0)
    found = match(encoded.codes.astype(np.float64), encoded.factors[:, varying])
    names = [data.factors.names[f] for f in varying]
    return [(names[f], float(share)) for f, share in zip(found.factor, found.share, strict=True)]


def extent(mask: Float[np.ndarray, "h w"]) -> tuple[float, float, float]:
    """Row and column (0 … 1) of the centre of a mask's support, where it is above half its peak, and the share of the
    image that the support takes."""
    support = covered(mask)
    if not support.any():
        return 0.5, 0.5, 0.0
    row, column = ((places.mean() + 0.5) / side for places, side in zip(np.nonzero(support), mask.shape, strict=True))
    return float(row), float(column), float(support.mean())
