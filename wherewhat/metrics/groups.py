"""Rows grouped by the values of their factors, so that drawing rows that share a value is integer arithmetic.

n rows, z codes, f factors, v votes, b rows of a vote, k groups (a group: the rows that have one value of one factor).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from wherewhat.errors import UserError


class Groups(NamedTuple):
    """Rows sorted once by every factor.

    The k groups are numbered through: those of factor 0 first, in the order of its values, then those of factor 1, …
    """

    of: Integer[np.ndarray, "n f"]  # the group each row belongs to, for each factor
    order: Integer[np.ndarray, " m"]  # m = f·n row numbers, group after group
    start: Integer[np.ndarray, " k"]  # where in `order` a group begins
    members: Integer[np.ndarray, " k"]  # how many rows it has
    sizes: Integer[np.ndarray, " f"]  # the groups of each factor: how many values it takes

    @property
    def factors(self) -> int:
        """Number of factors."""
        return len(self.sizes)

    @property
    def first(self) -> Integer[np.ndarray, " f"]:
        """The first group of each factor."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def entropy(self) -> Float[np.ndarray, " f"]:
        """Entropy of each factor in nats."""
        share = self.members / len(self.of)
        return -np.add.reduceat(share * np.log(share), self.first)


def group_by_value(factors: Integer[np.ndarray, "n f"], name: str) -> Groups:
    """The groups of these factors; a factor with a single value is a UserError that calls the array `name`."""
    labels = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], 1)
    sizes = labels.max(0) + 1
    if (sizes == 1).any():
        columns = ", ".join(map(str, np.flatnonzero(sizes == 1)))
        raise UserError(f"{name} have the same value in every row of column {columns}: leave that column out")
    of = labels + np.cumsum(sizes) - sizes
    members = np.bincount(of.ravel())
    order = np.argsort(labels, axis=0, kind="stable").T.ravel()
    return Groups(of, order, np.cumsum(members) - members, members, sizes)


def checked(codes: np.ndarray, factors: np.ndarray, least_factors: int = 1) -> tuple[np.ndarray, Groups]:
    """Codes in double precision, and the rows grouped by factor."""
    require(codes, factors, least_factors)
    return codes.astype(np.float64), group_by_value(factors, "factors")


def require(codes: np.ndarray, factors: np.ndarray, least_factors: int = 1) -> None:
    """Finite codes and integer factors, row by row, or a UserError with everything that is wrong."""
    wrong = []
    binning = ", continuous ones with wherewhat.metrics.factors.discretise"
    for name, array, kinds, wanted in (("codes", codes, "fiu", "numbers"), ("factors", factors, "iu", "integers")):
        if array.ndim != 2 or not array.size:
            wrong.append(f"{name} have shape {array.shape}: give one row a sample and one column each")
        if array.dtype.kind not in kinds:
            wrong.append(f"{name} are {array.dtype}, not {wanted}: convert them{binning * (name == 'factors')}")
        elif not np.isfinite(array).all():
            wrong.append(f"{name} hold {(~np.isfinite(array)).sum()} NaN or infinite numbers: drop these rows")
    if not wrong and len(codes) != len(factors):
        wrong.append(f"codes have {len(codes)} rows, factors {len(factors)}: give row i of both the same image")
    if not wrong and factors.shape[1] < least_factors:
        wrong.append(f"factors have {factors.shape[1]} column, this metric compares at least {least_factors}: add one")
    if wrong:
        raise UserError("\n".join(wrong))


def draw(
    groups: Groups, group: Integer[np.ndarray, "v #b"], rng: np.random.Generator, batch: int
) -> Integer[np.ndarray, "v b"]:
    """Rows drawn uniformly, with replacement, from these groups."""
    return groups.order[groups.start[group] + rng.integers(groups.members[group], size=(len(group), batch))]


def draw_votes(
    groups: Groups, rng: np.random.Generator, votes: int, batch: int
) -> tuple[Integer[np.ndarray, " v"], Integer[np.ndarray, "v b"]]:
    """For each vote a random factor, and rows which share one random value of it."""
    fixed = rng.integers(groups.factors, size=votes)
    group = groups.first[fixed] + rng.integers(groups.sizes[fixed])
    return fixed, draw(groups, group[:, None], rng, batch)


def draw_pairs(
    groups: Groups, rng: np.random.Generator, votes: int, batch: int
) -> tuple[Integer[np.ndarray, " v"], Integer[np.ndarray, "v 2 b"]]:
    """For each vote a random factor, and pairs of rows: both rows of a pair share its value, pairs need not."""
    shared = rng.integers(groups.factors, size=votes)
    one = rng.integers(len(groups.of), size=(votes, batch))
    return shared, np.stack([one, draw(groups, groups.of[one, shared[:, None]], rng, batch)], 1)


def pieces_of(rows: Integer[np.ndarray, "v *b"], width: int) -> list[Integer[np.ndarray, "_ *b"]]:
    """The votes in pieces of which 2²¹ codes or fewer are gathered at a time: 16 MB."""
    return np.array_split(rows, max(1, -(-rows.size * width // 2**21)))
