"""How to choose one of many models without labels: how far models agree, and how well a choice agrees with labels.

m models, n images, z codes of a model."""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from wherewhat.errors import UserError

USED_STD = 0.1  # codes with a smaller standard deviation belong to unused latents


def udr(codes: Sequence[Float[np.ndarray, "n _"]]) -> Float[np.ndarray, " m"]:
    """Unsupervised disentanglement ranking (Duan et al. 2020, https://arxiv.org/abs/1905.12614): 0 … 1, higher is
    better.

    How far the codes of a model correspond one to one to those of another: with R the absolute rank correlations of
    their used codes, ½ (mean over columns of max²/sum + the same over rows); the median over all other models.  The
    paper masks by divergence, which not every model has; here a code is used if its standard deviation is above
    USED_STD.  Rows are the same images for all.  A model without used codes has 0.  Raises UserError with fewer
    than two models."""
    if len(codes) < 2:
        raise UserError("UDR compares models with each other: give at least two")
    ranked = [_ranks(z[:, z.std(0) > USED_STD]) for z in codes]
    table = np.full((len(codes), len(codes)), np.nan)
    for i in range(len(codes)):
        for j in range(i):
            table[i, j] = table[j, i] = _one_to_one(np.abs(ranked[i].T @ ranked[j]))
    return np.asarray(np.nanmedian(table, 1))


def _ranks(codes: Float[np.ndarray, "n z"]) -> Float[np.ndarray, "n z"]:
    """Ranks of each column, centred, of length 1: their products are rank correlations."""
    from scipy.stats import rankdata

    ranks = rankdata(codes, axis=0) if codes.shape[1] else codes
    ranks = ranks - ranks.mean(0)
    return np.asarray(ranks / np.maximum(np.linalg.norm(ranks, axis=0), 1e-12))


def _one_to_one(r: Float[np.ndarray, "a b"]) -> float:
    if not r.size:
        return 0.0
    columns, rows = r.max(0) ** 2 / r.sum(0).clip(1e-12), r.max(1) ** 2 / r.sum(1).clip(1e-12)
    return float((columns.mean() + rows.mean()) / 2)


def centrality(scores: Float[np.ndarray, "m m"]) -> Float[np.ndarray, " m"]:
    """ModelCentrality (Lin et al. 2020, https://arxiv.org/abs/1906.06034): 0 … 1, higher is better.  scores[i, j] is a
    supervised score of model i's codes on images of model j, whose latents are the factors.  Averaged with
    scores[j, i], and over all other models j.  Raises UserError with fewer than two models."""
    if len(scores) < 2:
        raise UserError("ModelCentrality compares models with each other: give at least two")
    both = (scores + scores.T) / 2
    return np.asarray((both.sum(1) - both.diagonal()) / (len(scores) - 1))


class Agreement(NamedTuple):
    """How well an order of models agrees with a score that needs labels."""

    spearman: float  # rank correlation, positive if the order is right; nan if either is constant
    low: float  # lower end of its 95 % bootstrap interval over models
    high: float
    regret: float  # the best score less that of the model picked
    models: int


def agreement(
    merit: Float[np.ndarray, " m"], scores: Float[np.ndarray, " m"], resamples: int = 2_000, seed: int = 0
) -> Agreement:
    """Merit (higher is better, known without labels) against scores (higher is better, known with them)."""
    from scipy.stats import bootstrap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a resample of equal models has no rank correlation
        rng = np.random.default_rng(seed)
        found = bootstrap((merit, scores), spearman, n_resamples=resamples, paired=True, rng=rng)
    drawn = found.bootstrap_distribution
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    regret = float(scores.max() - scores[merit.argmax()])
    return Agreement(float(spearman(merit, scores)), float(low), float(high), regret, len(merit))


def spearman(a: Float[np.ndarray, "*r m"], b: Float[np.ndarray, "*r m"], axis: int = -1) -> Float[np.ndarray, "*r"]:
    """Rank correlation along an axis, ties sharing their mean rank; nan if either is constant."""
    from scipy.stats import pearsonr, rankdata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant values
        return np.asarray(pearsonr(rankdata(a, axis=axis), rankdata(b, axis=axis), axis=axis).statistic)
