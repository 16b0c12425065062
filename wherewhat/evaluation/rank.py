"""Order any runs without labels, pick one, and say how well that agrees with labels where there are any."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.data import open_data
from wherewhat.data.batches import draw_index
from wherewhat.errors import UserError
from wherewhat.evaluation.evaluate import ImagesOf, encode_images, evaluate
from wherewhat.metrics.distance import load_distance
from wherewhat.metrics.factors import factor_vae
from wherewhat.metrics.ranking import LEAST_SPREAD, Agreement, agreement, centrality, udr
from wherewhat.metrics.tpl import rotate
from wherewhat.progress import Progress, silent
from wherewhat.run.folder import Run

By = Literal["tpl", "loss", "udr", "centrality", "axis"]
HIGHER = ("udr", "centrality", "axis")
"""orders in which more is better"""
UDR_IMAGES = 1_000
CENTRALITY_IMAGES, CENTRALITY_LEVELS = 1_000, 10
"""images made by each model, and places each of their latents has: equally spaced quantiles of the prior"""
AXIS_CONTROLS = 6
"""with the longest traversals, among which all pairs are turned"""
LABELLED = ("factor_vae", "dci", "mig")
"""scores an order is held against, where runs have them"""
LEAST = 4
"""runs below which an agreement is not progress"""


class Ranked(NamedTuple):
    """One run and what it was ordered by."""

    run: Run
    value: float
    error: float | None
    active: int | None
    """controls with a TPL above the threshold, if it was measured"""
    scores: dict[str, float]
    """what its metrics.jsonl holds of LABELLED, for its last checkpoint"""


class Ranking(NamedTuple):
    """Runs, the best first."""

    by: By
    ranked: list[Ranked]
    agreements: dict[str, Agreement]
    """for each score that all runs have, over all of them; with `tpl` also over those with the same number of active
    controls, as in "dci, 6 active" """


def rank(
    runs: Sequence[Run], by: By = "tpl", protocol: str = "small", distance: str = "alex", device: str = "cpu",
    progress: Progress = silent,
) -> Ranking:  # fmt: skip
    """Runs ordered by TPL (lower first; measured now where it was not), by training loss (lower first; autoencoders of
    one objective on one data set), by UDR (higher first; one data set), by ModelCentrality (higher first; images of one
    size) or by the mean axis score of pairs of controls (higher first; measured now where it was not).  Raises
    UserError for runs that do not compare."""
    if len(runs) < 2:
        raise UserError("an order needs at least two runs")
    values: list[tuple[float, float | None]]
    if by == "tpl":
        values = [_tpl(run, protocol, distance, device, progress) for run in runs]
    elif by == "loss":
        values = [(_loss(run, runs[0]), None) for run in runs]
    elif by == "axis":
        values = [(_axis(run, protocol, distance, device, progress), None) for run in runs]
    elif by == "centrality":
        values = [(float(v), None) for v in centrality(_read_each_other(runs, device, progress))]
    else:
        values = [(float(v), None) for v in udr(_codes(runs, device, progress))]
    found = [Ranked(run, *value, _active(run), _scores(run)) for run, value in zip(runs, values, strict=True)]
    sign = 1 if by in HIGHER else -1
    ranked = sorted(found, key=lambda r: -sign * r.value)
    return Ranking(by, ranked, dict(_agreements(ranked, sign, by)))


def _tpl(run: Run, protocol: str, distance: str, device: str, progress: Progress) -> tuple[float, float | None]:
    row = run.latest("tpl")
    if not _measured(row, protocol, distance):
        evaluate(run, ["tpl"], "fast", protocol, distance, device=device, progress=progress)
        row = run.latest("tpl")
    assert row is not None
    return row["value"], row["details"]["error"]


def _axis(run: Run, protocol: str, distance: str, device: str, progress: Progress) -> float:
    """Mean axis score over pairs of active controls; 0 with fewer than two."""
    row = run.latest("axis")
    if not _measured(row, protocol, distance):
        if run.control_table is None:
            evaluate(run, ["tpl"], "fast", protocol, distance, device=device, progress=progress)
        active = [d.index for d in run.control_table or [] if d.active][:AXIS_CONTROLS]
        perceptual, generator = load_distance(distance, device), run.generator.to(device)
        scores: dict[str, float] = {}
        for i, j in combinations(active, 2):
            progress(f"turning {run.path.name}", len(scores) / 15)
            study = rotate(
                ImagesOf(generator), generator.config.latents, perceptual, (i, j), 5, protocol, device=device
            )
            scores[f"{i},{j}"] = study.axis_score
        value = float(np.mean(list(scores.values()))) if scores else 0.0
        options = {"protocol": protocol, "angles": 5, **perceptual.options}
        row = {"images": run.images_seen, "metric": "axis", "value": value, "options": options, "details": scores}
        run.log_metric(row)
    assert row is not None
    return float(row["value"])


def _measured(row: dict[str, Any] | None, protocol: str, distance: str) -> bool:
    """Whether a kept score is the one asked for; with weights named by a path it is measured anew."""
    return row is not None and (row["options"]["protocol"], row["options"]["network"]) == (protocol, distance)


def _loss(run: Run, first: Run) -> float:
    c = run.config.autoencoder
    if c is None:
        raise UserError(f"{run.path} is a GAN, whose losses do not tell which model is better: --by tpl or udr")
    ours, others = ((r.config.autoencoder, r.config.prior, r.config.data) for r in (run, first))
    if ours != others:
        raise UserError(f"{run.path} and {first.path} minimise other losses, or on other images: --by tpl or udr")
    return training_loss(run)


def training_loss(run: Run) -> float:
    """What an autoencoder's training minimises, mean over the last tenth of it: no label takes part."""
    c = run.config.autoencoder
    assert c is not None, "a GAN's losses do not tell which model is better"
    rows = [row for row in run.rows("train") if row["images"] > 0.9 * run.images_seen]
    terms = (r["reconstruction"] + c.beta * r["divergence"] + c.lpips_weight * r.get("perceptual", 0.0) for r in rows)
    return float(np.mean(list(terms)))


def _codes(runs: Sequence[Run], device: str, progress: Progress) -> list[np.ndarray]:
    sources = {(run.config.data.source, run.config.data.channels) for run in runs}
    if len(sources) > 1:
        raise UserError(f"UDR reads the same images with every model, and these were trained on {sorted(sources)}")
    codes = []
    for run in runs:
        data = open_data(run.config.data)
        codes.append(
            encode_images(run.encoder.to(device), data, draw_index(data, UDR_IMAGES), progress).astype(np.float64)
        )
    return codes


@torch.no_grad()
def _read_each_other(runs: Sequence[Run], device: str, progress: Progress) -> Float[np.ndarray, "m m"]:
    """FactorVAE score of each model's codes (rows) on each model's images (columns), whose factors are the latents that
    the model itself reads back (standard deviation of its code above LEAST_SPREAD)."""
    shapes = {(run.config.size, run.config.data.channels) for run in runs}
    if len(shapes) > 1:
        raise UserError(f"ModelCentrality lets models read each other's images, and these have {sorted(shapes)}")
    scores = np.zeros((len(runs), len(runs)))
    for j, maker in enumerate(runs):
        levels = np.sort(maker.prior.draw(CENTRALITY_LEVELS * 100, maker.config.latents, 0)[:, 0])[50::100]
        chosen = np.random.default_rng(j).integers(
            len(levels), size=(CENTRALITY_IMAGES, maker.config.generator.latents)
        )
        latents, generator = torch.from_numpy(levels[chosen]), maker.generator.to(device)
        images = [generator(part.to(device)).image.clamp(-1, 1) for part in latents.split(100)]
        read_back = _encode(maker, images, device)
        factors = chosen[:, read_back.std(0) > LEAST_SPREAD]
        for i, reader in enumerate(runs):
            progress(f"{reader.path.name} reads {maker.path.name}", (j + i / len(runs)) / len(runs))
            codes = read_back if i == j else _encode(reader, images, device)
            if factors.shape[1] > 1:
                scores[i, j] = factor_vae(codes, factors, np.random.default_rng(0), prune_std=LEAST_SPREAD).score
    return scores


def _encode(run: Run, images: list[Tensor], device: str) -> Float[np.ndarray, "n z"]:
    encoder = run.encoder.to(device)
    return np.concatenate([encoder(part).cpu().numpy() for part in images]).astype(np.float64)


def _active(run: Run) -> int | None:
    row: dict[str, Any] | None = run.latest("tpl")
    return None if row is None else int(row["details"]["active"])


def _scores(run: Run) -> dict[str, float]:
    return {name: float(row["value"]) for name in LABELLED if (row := run.latest(name))}


def _agreements(ranked: list[Ranked], sign: int, by: By) -> Any:
    groups = {"": ranked}
    if by == "tpl":
        for active in sorted({r.active for r in ranked if r.active is not None}):
            groups[f", {active} active"] = [r for r in ranked if r.active == active]
    for words, group in groups.items():
        for name in LABELLED:
            if len(group) >= LEAST and all(name in r.scores for r in group):
                merit, scores = np.array([[sign * r.value, r.scores[name]] for r in group]).T
                yield name + words, agreement(merit, scores)
