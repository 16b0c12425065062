"""Factors of variation: names, how many values each has, which image has which values.  n images, f factors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Integer


@dataclass(frozen=True, eq=False)
class Factors:
    """Ground truth: the images are the full grid of values (the last factor changes fastest), or `table` has them."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]  # how many values each factor has
    table: Integer[np.ndarray, "n f"] | None = None
    words: tuple[tuple[str, ...], ...] = ()  # what people call the values of each factor; empty: numbers only

    def __len__(self) -> int:
        """Number of images."""
        return prod(self.sizes) if self.table is None else len(self.table)

    @property
    def is_grid(self) -> bool:
        """True if every combination of values exists exactly once, in order."""
        return self.table is None

    def values(self, index: Integer[np.ndarray, " n"]) -> Integer[np.ndarray, "n f"]:
        """The factor values (0 … size-1 each) of these images."""
        if self.table is not None:
            return self.table[index]
        return np.stack(np.unravel_index(index, self.sizes), 1)

    def index(self, values: Integer[np.ndarray, "n f"]) -> Integer[np.ndarray, " n"]:
        """The images that have these factor values.  Raises ValueError if there is no full grid."""
        if self.table is not None:
            raise ValueError("only a full grid of factors can be indexed by values")
        return np.ravel_multi_index(tuple(values.T), self.sizes)

    def word(self, factor: int, value: int) -> str:
        """What people call a value; a number has as many digits as the largest, so that words sort as values do."""
        return self.words[factor][value] if self.words else f"{value:0{len(str(self.sizes[factor] - 1))}d}"


def classify(names: tuple[str, ...], columns: Iterable[Sequence | np.ndarray]) -> Factors:
    """Factors from a column of values each: every distinct value is a class, in ascending order."""
    found = [np.unique(column, return_inverse=True) for column in columns]
    return Factors(names, tuple(len(distinct) for distinct, _ in found), np.stack([c for _, c in found], 1))
