"""Scores of one model by itself, without labels, from its codes alone.  n images, z codes, k codes in use."""

import warnings
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from wherewhat.metrics.factors import Codes, require_codes
from wherewhat.metrics.ranking import USED_STD

JITTER = 1e-3  # of a standard deviation, so that equal codes do not have an entropy of −∞
NORMAL = 0.5 * np.log(2 * np.pi * np.e)  # entropy of N(0, 1), in nats


class Independence(NamedTuple):
    """All in nats."""

    rotation_gain: float  # what rotating the codes to independence would gain, a code in use
    negentropy: float  # how far a code in use is from a normal one
    information: float  # mutual information of two codes in use


def independence(codes: Codes, rng: np.random.Generator, *, rows: int = 10_000, bins: int = 20) -> Independence:
    """How independent the codes in use are (standard deviation above USED_STD), means over codes or pairs; 0 with fewer
    than two.

    rotation_gain: Σ H(w_i) − Σ H(r_i) over whitened codes w (ZCA: those nearest to the codes) and the same rotated to
    independence r (FastICA, Hyvärinen 1999).  A rotation changes no joint entropy, so this is by how much the total
    correlation could fall: 0 if the axes of the codes are already those of independent variations.  negentropy:
    log √2πe − H(z_i / std): mixtures of several variations are closer to normal than one is.  information: mutual
    information in bins of equal width, as in disentanglement_lib.  Entropies are Vasicek's (1976).  Raises UserError as
    total_correlation does."""
    require_codes(codes)
    used = codes[:, codes.std(0) > USED_STD].astype(np.float64)
    used = used[rng.choice(len(used), min(rows, len(used)), replace=False)]
    if used.shape[1] < 2:
        return Independence(0.0, 0.0, 0.0)
    z = (used - used.mean(0)) / used.std(0)
    count = z.shape[1]
    value, vector = np.linalg.eigh(np.cov(z.T))
    white = z @ (vector / np.sqrt(value.clip(1e-6))) @ vector.T
    gain = entropies(white, rng).sum() - entropies(rotated(white), rng).sum()
    pairs = [binned_information(z[:, i], z[:, j], bins) for i, j in combinations(range(count), 2)]
    negentropy = NORMAL - entropies(z, rng).mean()
    return Independence(float(max(0.0, gain / count)), float(negentropy), float(np.mean(pairs)))


def rotated(white: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Whitened codes, rotated to independence."""
    from sklearn.decomposition import FastICA

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge: the best rotation it found is one all the same
        found = FastICA(whiten=False, random_state=0, max_iter=200).fit(white)
    rotation = np.linalg.svd(found.components_)
    return np.asarray(white @ (rotation[0] @ rotation[2]).T)


def entropies(z: Float[np.ndarray, "n k"], rng: np.random.Generator) -> Float[np.ndarray, " k"]:
    """Differential entropy of each column, in nats."""
    from scipy.stats import differential_entropy

    noisy = z + JITTER * z.std(0) * rng.standard_normal(z.shape)
    return np.asarray(differential_entropy(noisy, method="vasicek"))


def binned_information(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], bins: int) -> float:
    """Mutual information of two codes, in nats, in bins of equal width."""
    joint = np.histogram2d(a, b, bins)[0] / len(a)
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float((joint[joint > 0] * np.log(joint[joint > 0] / apart[joint > 0])).sum())
