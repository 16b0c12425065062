"""Gradient boosted trees (Friedman 2001, https://doi.org/10.1214/aos/1013203451), which give DCI's importances.

The trees are those of scikit-learn's GradientBoostingClassifier: exact cuts of least squared error, a tree for every
class in every round, Newton steps in the leaves.  That classifier sorts every code anew in every node.  Here every code
is sorted once, a node passes the order on to its halves, and one cumulative sum weighs all the places of a cut.  Cuts
that are equally good are chosen among at random, as there, but by other random numbers; nothing else differs."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64, Integer
from scipy.special import expit, softmax

CLOSE = np.float32(1e-7)  # neighbouring values no further apart are never cut apart, as in scikit-learn
ROW = np.int64(2**32 - 1)  # the bits of a key that hold the row; those above hold the rank of its value


class Boosted(NamedTuple):
    """Each code's share of the squared error that cuts removed (they sum to 1; all 0 without a cut), and the labels
    predicted for the tests."""

    importance: Float64[np.ndarray, " z"]
    predicted: Integer[np.ndarray, " m"]


def boost(
    codes: Float[np.ndarray, "n z"], labels: Integer[np.ndarray, " n"], tests: Float[np.ndarray, "m z"],
    rng: np.random.Generator, *, trees: int, depth: int, rate: float,
) -> Boosted:  # fmt: skip
    """`trees` rounds of boosting from codes, in single precision, to labels, which take two values or more."""
    values, test_values = (np.ascontiguousarray(table.T, np.float32) for table in (codes, tests))
    keys, every_test = _sorted(values), np.arange(len(tests))
    classes, label = np.unique(labels, return_inverse=True)
    wanted = (label == np.arange(len(classes))[:, None]).astype(np.float64)
    start = np.log(wanted.mean(1, keepdims=True))
    step = rate * (len(classes) - 1) / len(classes)  # Friedman's factor for several classes
    if len(classes) == 2:  # two classes need one score, that of the second
        wanted, start, step = wanted[1:], start[1:] - start[:1], rate
    scores, test_scores = np.repeat(start, len(codes), 1), np.repeat(start, len(tests), 1)
    removed = np.zeros(len(values))
    for _ in range(trees):
        chances = _chances(scores)
        for truth, chance, score, test_score in zip(wanted, chances, scores, test_scores, strict=True):
            residual, curvature = truth - chance, chance * (1 - chance)
            for rows, test_rows in _leaves(keys, residual, values, every_test, test_values, depth, rng, removed):
                curved = curvature.take(rows).sum()
                if curved > 1e-150 * len(rows):
                    move = step * residual.take(rows).sum() / curved
                    score[rows] += move
                    test_score[test_rows] += move
    predicted = classes[_chances(test_scores).argmax(0) if len(classes) > 2 else (test_scores[0] > 0).astype(int)]
    return Boosted(removed / removed.sum() if removed.any() else removed, predicted)


def _sorted(values: Float32[np.ndarray, "z n"]) -> Int64[np.ndarray, "z n"]:
    """Rank and row in one number each, sorted: the ranks of values that are closer than CLOSE are the same."""
    order = np.argsort(values, 1, kind="stable")
    ordered = np.take_along_axis(values, order, 1)
    ranks = np.zeros_like(order)
    np.cumsum(ordered[:, 1:] > ordered[:, :-1] + CLOSE, 1, out=ranks[:, 1:])
    return (ranks << 32) | order


def _chances(scores: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, "k n"]:
    """Probabilities of the classes; with one score, of the second class."""
    return softmax(scores, 0) if len(scores) > 1 else expit(scores)


def _leaves(
    keys: Int64[np.ndarray, "c r"], residual: Float64[np.ndarray, " n"], values: Float32[np.ndarray, "z n"],
    tests: Integer[np.ndarray, " t"], test_values: Float32[np.ndarray, "z m"], depth: int, rng: np.random.Generator,
    removed: Float64[np.ndarray, " z"],
) -> Iterator[tuple[Integer[np.ndarray, " l"], Integer[np.ndarray, " u"]]]:  # fmt: skip
    """Grow a tree on the r rows of these keys, which all codes have, or one; the rows of each leaf and the tests in it.
    What its cuts remove of the squared error is added to `removed`, at the code that is cut."""
    order = keys & ROW
    count = order.shape[1]
    own = residual.take(order[0])
    mean = own.mean()
    if depth == 0 or (own * own).mean() - mean * mean <= np.finfo(float).eps:
        yield order[0], tests
        return
    # Left of a cut lie l rows whose residuals sum to s, about the node's mean: it removes s² (1/l + 1/(count − l)).
    sums = torch.from_numpy((residual - mean).take(order[:, :-1]))  # torch sums several rows at a time
    gain = torch.cumsum(sums, 1, out=sums).numpy()
    gain *= gain
    left = np.arange(1, count)
    gain *= count / (left * (count - left))
    ranks = keys >> 32
    gain *= ranks[:, 1:] != ranks[:, :-1]
    places = gain.argmax(1)
    gains = np.take_along_axis(gain, places[:, None], 1)[:, 0]
    mixed = rng.permutation(len(gains))
    code = mixed[gains[mixed].argmax()]
    if gains[code] == 0:
        yield order[0], tests
        return
    removed[code] += gains[code]
    low, high = values[code, order[code, places[code]]], values[code, order[code, places[code] + 1]]
    tests_below = test_values[code].take(tests) <= (float(low) + float(high)) / 2
    if depth == 1:  # leaves need their rows, not how every code orders them
        keys, order = keys[code, None], order[code, None]
    below = (values[code] <= low).take(order)
    for side, test_side in ((below, tests_below), (~below, ~tests_below)):
        half = keys.take(np.flatnonzero(side)).reshape(len(keys), -1)  # all codes have as many rows below
        yield from _leaves(half, residual, values, tests[test_side], test_values, depth - 1, rng, removed)
