"""How alike two sets of images are, from a network's features of them: FID, KID, precision, recall, density, coverage.

Pure functions on arrays, a row an image: n real images, m generated ones, d features.  Distances between rows are
computed in blocks, so that 10,000 x 10,000 fit into memory.  All computing is in float64."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.metrics import pairwise_distances_chunked

from wherewhat.errors import UserError

ROUNDING = 1e-6  # of distances, as a share of how far rows are spread


def frechet_distance(a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"]) -> float:
    """Fréchet distance of the Gaussians with the means and covariances of two sets (Heusel et al. 2017; FID when the
    features are Inception's): 0 for equal sets.  Finite sets are too far apart: compare at equal counts only.  |μ₁ −
    μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½); with Σ = RᵀR the last trace is the sum of the singular values of R₁R₂ᵀ, which needs
    no root of a nearly singular matrix.  Raises UserError for fewer than 2 rows."""
    _enough(a, b, 2)
    (mean_a, root_a), (mean_b, root_b) = (_moments(x) for x in (a, b))
    overlap = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    spread = np.square(root_a).sum() + np.square(root_b).sum() - 2 * overlap
    return float(np.square(mean_a - mean_b).sum() + max(spread, 0.0))


def _moments(x: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "r d"]]:
    """Mean, and R with RᵀR the covariance (ddof 1); r is the smaller of n and d."""
    x = x.astype(np.float64)
    mean = x.mean(0)
    return mean, np.linalg.qr(x - mean, mode="r") / np.sqrt(len(x) - 1)


class KID(NamedTuple):
    """KID; below 0 by chance where the sets are alike."""

    value: float  # mean over subsets
    error: float
    """standard error of that mean, a little too small where subsets overlap; NaN for a single subset, or if each subset
    is all rows"""


def kid(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m d"], rng: np.random.Generator, subsets: int = 100,
    size: int = 1000,
) -> KID:  # fmt: skip
    """Squared maximum mean discrepancy with the kernel (x·y/d + 1)³, unbiased (Bińkowski et al. 2018; KID when the
    features are Inception's), over random subsets of `size` rows of each; of all rows if there are fewer.
    Raises UserError for fewer than 2 rows."""
    _enough(a, b, 2)
    size = min(size, len(a), len(b))
    values = []
    for _ in range(subsets):
        x, y = (s[rng.choice(len(s), size, replace=False)].astype(np.float64) for s in (a, b))
        within = sum(k.sum() - k.trace() for k in (_kernel(x, x), _kernel(y, y)))
        values.append(within / (size * (size - 1)) - 2 * _kernel(x, y).mean())
    varied = subsets > 1 and size < max(len(a), len(b))
    error = np.std(values, ddof=1) / np.sqrt(subsets) if varied else np.nan
    return KID(float(np.mean(values)), float(error))


def _kernel(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    return (x @ y.T / x.shape[1] + 1) ** 3


class PrecisionRecall(NamedTuple):
    """Shares from 0 to 1."""

    precision: float  # of the generated images that lie where real ones do: whether they are good
    recall: float  # of the real images that lie where generated ones do: whether there are all kinds


def precision_recall(
    real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019): a set's place is the union of balls around its members,
    each reaching to its k-th nearest neighbour in the set, k = `neighbours`.  Raises UserError for k or fewer rows."""
    _enough(real, fake, neighbours + 1)
    reach_real, reach_fake = _reach(real, neighbours), _reach(fake, neighbours)
    inside, reached, first = 0, np.zeros(len(real), bool), 0
    for block in _distances(fake, real):
        inside += int((block <= reach_real).any(1).sum())
        reached |= (block <= reach_fake[first : first + len(block), None]).any(0)
        first += len(block)
    return PrecisionRecall(inside / len(fake), float(reached.mean()))


class DensityCoverage(NamedTuple):
    """Precision and recall that single outliers change little."""

    density: float  # real balls a generated image lies in, over k: about 1 for equal distributions, and can be more
    coverage: float  # share (0 … 1) of real balls that have a generated image in them


def density_coverage(
    real: Float[np.ndarray, "n d"], fake: Float[np.ndarray, "m d"], neighbours: int = 5
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020): only real images have balls, to their k-th nearest neighbour,
    k = `neighbours`.  Raises UserError for k or fewer rows."""
    _enough(real, fake, neighbours + 1)
    reach = _reach(real, neighbours)
    balls, covered = 0, np.zeros(len(real), bool)
    for block in _distances(fake, real):
        inside = block <= reach
        balls += int(inside.sum())
        covered |= inside.any(0)
    return DensityCoverage(balls / (neighbours * len(fake)), float(covered.mean()))


def _reach(x: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    """Distance of each row to its k-th nearest neighbour, itself not counted; and a little more, so that rounding does
    not put this neighbour, or an equal row, outside."""
    slack = ROUNDING * np.sqrt(x.var(0, dtype=np.float64).sum())
    return np.concatenate([np.partition(block, k, 1)[:, k] for block in _distances(x)]) + slack


def _distances(x: Float[np.ndarray, "n d"], y: Float[np.ndarray, "m d"] | None = None) -> Iterator[np.ndarray]:
    """Euclidean distances of rows of x to all rows of y (of x, exactly 0 to itself), a block of rows at a time."""
    middle = (x if y is None else y).mean(0, dtype=np.float64)  # close to the origin less is lost by rounding
    blocks: Iterator[np.ndarray] = pairwise_distances_chunked(x - middle, None if y is None else y - middle)
    return blocks


def _enough(a: np.ndarray, b: np.ndarray, least: int) -> None:
    if min(len(a), len(b)) < least:
        raise UserError(f"{len(a)} real and {len(b)} generated images: this needs {least} or more of each")
