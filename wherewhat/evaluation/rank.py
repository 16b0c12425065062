"""Order runs without labels, pick the first, and measure how well that agrees with labels where there are any."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wherewhat.config import Config
from wherewhat.data.batches import draw_index
from wherewhat.errors import UserError, did_you_mean
from wherewhat.evaluation.encoding import ImagesOf, encode_images
from wherewhat.evaluation.evaluate import evaluate
from wherewhat.families import family_of
from wherewhat.families.family import objective
from wherewhat.metrics import registry
from wherewhat.metrics.distance import load_distance
from wherewhat.metrics.factors import factor_vae
from wherewhat.metrics.ranking import USED_STD, Agreement, agreement, centrality, udr
from wherewhat.metrics.tpl import rotate
from wherewhat.progress import Progress, silent
from wherewhat.run.folder import Run
from wherewhat.run.model import Model

By = str
"""a name of `orders()`"""
BEST: By = "negentropy"
"""the score of one model by itself that agrees best with labels (docs/selection.md); it encodes images of the data"""
UDR_IMAGES = 1_000
CENTRALITY_IMAGES, CENTRALITY_LEVELS = 1_000, 10  # samples of a model, places of a latent: quantiles of the prior
AXIS_CONTROLS = 6  # those with the longest traversals, of which all pairs are rotated
# scores that an order is compared with, where runs have them
LABELLED = [m.scores[0].name for m in registry.METRICS if m.needs == "factors" and m.scores[0].headline]
MIN_RUNS = 4  # with fewer runs no agreement is computed


class Ranked(NamedTuple):
    """One run and what it was ordered by."""

    run: Model
    value: float
    error: float | None
    active: int | None  # controls with a TPL above the threshold, if it was measured
    scores: dict[str, float]  # those of LABELLED in its metrics.jsonl, for its last checkpoint


class Ranking(NamedTuple):
    """Runs, the best first."""

    by: By
    ranked: list[Ranked]
    agreements: dict[str, Agreement]
    """for each score that all runs have, over all of them; with `tpl` also over those with the same number of active
    controls, as in "dci, 6 active" """


def rank(
    runs: Sequence[Model], by: By | None = None, protocol: str = "small", distance: str = "alex", device: str = "cpu",
    progress: Progress = silent,
) -> Ranking:  # fmt: skip
    """Runs, the better first, by one of `orders()` (not given: default_order): TPL; training loss (autoencoders of one
    objective on one data set); UDR (one data set); ModelCentrality (images of one size); the mean axis score of pairs
    of controls; or another score of one model by itself.  What was not measured is measured now.  Raises UserError for
    runs that do not compare, and for an order that there is not."""
    by = default_order(runs) if by is None else by
    if by not in orders():
        raise UserError(f"there is no order by {by}{did_you_mean(by, orders())}")
    if len(runs) < 2:
        raise UserError("an order needs at least two runs")
    trained = [run for run in runs if isinstance(run, Run)]
    if by not in ("tpl", "axis") and len(trained) < len(runs):
        other = next(run for run in runs if not isinstance(run, Run))
        raise UserError(f"{other.word} was not trained here and has no encoder: --by tpl or axis")
    values: list[tuple[float, float | None]]
    if by == "tpl":
        values = [_tpl(run, protocol, distance, device, progress) for run in runs]
    elif by == "loss":
        values = [(_loss(run, trained[0]), None) for run in trained]
    elif by == "axis":
        values = [(axis_score(run, protocol, distance, device, progress), None) for run in runs]
    elif by == "centrality":
        values = [(float(v), None) for v in centrality(_encode_each_other(trained, device, progress))]
    elif by == "udr":
        values = [(float(v), None) for v in udr(_codes(trained, device, progress))]
    else:
        values = [(_alone(run, by, protocol, distance, device, progress), None) for run in trained]
    found = [_ranked(run, *value) for run, value in zip(runs, values, strict=True)]
    sign = -1 if registry.scores()[by].better == "lower" else 1
    # the shortest traversals of all, of nothing; or no codes in use
    blank = [(r.active == 0 and by == "tpl") or (r.value == 0 and by == BEST) for r in found]
    if all(blank):
        lacking = "an active control" if by == "tpl" else "two codes in use"
        raise UserError(f"no run has {lacking}, so there is none to pick: train longer, or --by udr")
    ranked = [r for _, r in sorted(zip(blank, found, strict=True), key=lambda pair: (pair[0], -sign * pair[1].value))]
    return Ranking(by, ranked, dict(_agreements(ranked, sign, by)))


def _tpl(run: Model, protocol: str, distance: str, device: str, progress: Progress) -> tuple[float, float | None]:
    asked = {"protocol": protocol, "network": distance}  # with weights named by a path there is never an earlier one
    row = run.latest("tpl", **asked)
    if row is None:
        rows = evaluate(run, ["tpl"], "fast", protocol, distance, device=device, progress=progress)
        row = next(r for r in rows if r["metric"] == "tpl")
    return row["value"], row["details"]["error"]


def default_order(runs: Sequence[Model]) -> By:
    """BEST; TPL, which needs no images, for anyone's generators, for runs that were trained on different data, and
    where data are not to be had, as those of a shipped run may be."""
    trained = [run for run in runs if isinstance(run, Run)]
    if len(trained) < len(runs) or len({run.config.data for run in trained}) > 1:
        return "tpl"
    try:
        return BEST if trained[0].data else "tpl"
    except UserError:
        return "tpl"


def orders() -> list[str]:
    """What runs can be ordered by: scores that need no labels and say which values are better."""
    kinds = ("rank", "generator", "codes", *registry.ALONE)
    return [s.name for m in registry.METRICS if m.needs in kinds for s in m.scores if s.better]


def _alone(run: Run, by: str, protocol: str, distance: str, device: str, progress: Progress) -> float:
    """A score of one model by itself, under the protocol `fast`."""
    rows = evaluate(run, [by], "fast", protocol, distance, device=device, progress=progress)
    return float(next(row["value"] for row in rows if row["metric"] == by))


def axis_score(
    run: Model, protocol: str = "small", distance: str = "alex", device: str = "cpu", progress: Progress = silent
) -> float:
    """Mean axis score over pairs of active controls; 0 with fewer than two.  Measured now where it was not."""
    row = run.latest("axis", protocol=protocol, network=distance)
    if row is None:
        if run.control_table is None:
            evaluate(run, ["tpl"], "fast", protocol, distance, device=device, progress=progress)
        active = [d.index for d in run.control_table or [] if d.active][:AXIS_CONTROLS]
        perceptual, generator = load_distance(distance, device), run.generator.to(device)
        scores: dict[str, float] = {}
        pairs = list(combinations(active, 2))
        for i, j in pairs:
            progress(f"rotating {run.title}", len(scores) / len(pairs))
            how = generator.latents, perceptual, (i, j), 5, protocol
            scores[f"{i},{j}"] = rotate(ImagesOf(generator), *how, device=device).axis_score
        value = float(np.mean(list(scores.values()))) if scores else 0.0
        options = {"protocol": protocol, "angles": 5, **perceptual.options}
        row = {"images": run.images_seen, "metric": "axis", "value": value, "options": options, "details": scores}
        run.log_metric(row)
    return float(row["value"])


def _loss(run: Run, first: Run) -> float:
    require_one_objective(run.word, run.config, first.word, first.config)
    return training_loss(run)


def require_one_objective(name: str, config: Config, other: str, others: Config) -> None:
    """Raises UserError that names the two models if their training losses do not show which one is better."""
    family = family_of(config)
    if not family.objective_compares:
        raise UserError(f"{name} is a GAN, whose losses do not show which model is better: --by tpl or udr")
    if any(getattr(config, key) != getattr(others, key) for key in (family.name, "prior", "data")):
        raise UserError(f"{name} and {other} minimise other losses, or on other images: --by tpl or udr")


def training_loss(run: Run) -> float:
    """What training minimises, mean over the last tenth before the checkpoint, for families whose objectives compare;
    no label takes part."""
    seen = run.images_seen
    rows = [row for row in run.rows("train") if 0.9 * seen < row["images_seen"] <= seen]
    weights = family_of(run.config).weights
    return float(np.mean([objective(row, weights(run.config, row["images_seen"])) for row in rows]))


def _codes(runs: Sequence[Run], device: str, progress: Progress) -> list[np.ndarray]:
    sources = {(run.config.data.source, run.config.data.channels) for run in runs}
    if len(sources) > 1:
        raise UserError(f"UDR encodes the same images with every model, and these were trained on {sorted(sources)}")
    codes = []
    for run in runs:
        data = run.data
        codes.append(encode_images(run.encoder.to(device), data, draw_index(data, UDR_IMAGES), progress))
    return [z.astype(np.float64) for z in codes]


@torch.no_grad()
def _encode_each_other(runs: Sequence[Run], device: str, progress: Progress) -> Float[np.ndarray, "m m"]:
    """FactorVAE score of each model's codes (rows) on each model's images (columns).  The factors of these images are
    the latents that the model itself encodes (standard deviation of its code above USED_STD)."""
    shapes = {(run.config.size, run.config.data.channels) for run in runs}
    if len(shapes) > 1:
        raise UserError(f"ModelCentrality lets models encode each other's images, and these have {sorted(shapes)}")
    scores = np.zeros((len(runs), len(runs)))
    for j, maker in enumerate(runs):
        levels = np.sort(maker.prior.draw(CENTRALITY_LEVELS * 100, maker.config.latents, 0)[:, 0])[50::100]
        chosen = np.random.default_rng(j).integers(len(levels), size=(CENTRALITY_IMAGES, maker.config.latents))
        latents, generator = torch.from_numpy(levels[chosen]), maker.generator.to(device)
        images = [generator.images(part.to(device)).clamp(-1, 1) for part in latents.split(100)]
        own_codes = _encode(maker, images, device)
        factors = chosen[:, own_codes.std(0) > USED_STD]
        for i, reader in enumerate(runs):
            progress(f"{reader.path.name} encodes {maker.path.name}", (j + i / len(runs)) / len(runs))
            codes = own_codes if i == j else _encode(reader, images, device)
            if factors.shape[1] > 1:
                scores[i, j] = factor_vae(codes, factors, np.random.default_rng(0), prune_std=USED_STD).score
    return scores


def _encode(run: Run, images: list[Tensor], device: str) -> Float[np.ndarray, "n z"]:
    encoder = run.encoder.to(device)
    return np.concatenate([encoder(part).cpu().numpy() for part in images]).astype(np.float64)


def _ranked(run: Model, value: float, error: float | None) -> Ranked:
    active = tpl["details"]["active"] if (tpl := run.latest("tpl")) else None
    return Ranked(run, value, error, active, {name: row["value"] for name in LABELLED if (row := run.latest(name))})


def _agreements(ranked: list[Ranked], sign: int, by: By) -> Iterator[tuple[str, Agreement]]:
    groups = {"": ranked}
    if by == "tpl":
        for active in sorted({r.active for r in ranked if r.active is not None}):
            groups[f", {active} active"] = [r for r in ranked if r.active == active]
    for words, group in groups.items():
        for name in LABELLED:
            if len(group) >= MIN_RUNS and all(name in r.scores for r in group):
                merit, scores = np.array([[sign * r.value, r.scores[name]] for r in group]).T
                yield name + words, agreement(merit, scores)
