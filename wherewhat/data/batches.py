"""Endless, seeded batches that resume by images seen.  b images of one process, c channels, h w space."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer, UInt8

from wherewhat.data.factors import Factors

COMPARED = 64
"""images of a set that its identity looks at"""


@runtime_checkable
class Images(Protocol):
    """What every data set is: a world, a folder, a file."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def channels(self) -> int: ...
    @property
    def factors(self) -> Factors | None: ...
    def __len__(self) -> int: ...
    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]: ...


def identity(data: Images) -> dict[str, Any]:
    """What tells a set of images from another one: its name, how many they are, a digest of their shape, of the names
    of their factors and of some of them."""
    digest = blake2b(repr((data.channels, *data.size, data.factors and data.factors.names)).encode(), digest_size=8)
    digest.update(data.images(np.linspace(0, len(data) - 1, min(len(data), COMPARED)).astype(np.int64)).tobytes())
    return {"name": data.name, "count": len(data), "digest": digest.hexdigest()}


def order(count: int, seed: int, first: int, number: int) -> Integer[np.ndarray, " number"]:
    """Images at places first … first + number − 1 of the endless sequence: all, in a new order each time."""
    places = np.arange(first, first + number)
    index = np.empty(number, np.int64)
    for epoch in np.unique(places // count):
        here = places // count == epoch
        index[here] = _permutation(count, seed, int(epoch))[places[here] % count]
    return index


def draw_index(data: Images, count: int, seed: int = 0) -> Integer[np.ndarray, " n"]:
    """Which images: `count` without replacement; all, in order, if there are no more."""
    if count < len(data):
        return np.random.default_rng(seed).choice(len(data), count, replace=False)
    return np.arange(len(data))


@lru_cache(maxsize=2)  # a batch can straddle two epochs, never three unless it is larger than the data
def _permutation(count: int, seed: int, epoch: int) -> Integer[np.ndarray, " n"]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def batches(
    data: Images, batch: int, seed: int, start: int = 0, rank: int = 0, world_size: int = 1, hflip: bool = False
) -> Iterator[UInt8[np.ndarray, "b c h w"]]:
    """This process's share (images rank·batch/world_size …) of each batch after `start` images seen; all shares
    together do not depend on the number of processes.  The next batch is made while this one is used."""
    share = batch // world_size

    def make(seen: int) -> UInt8[np.ndarray, "b c h w"]:
        first = seen + rank * share
        images = data.images(order(len(data), seed, first, share))
        if hflip:
            flip = np.random.default_rng([seed, 1, seen]).random(batch)[rank * share :][:share] < 0.5
            images = np.where(flip[:, None, None, None], images[..., ::-1], images)
        return np.ascontiguousarray(images)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(make, start)
        while True:
            ready = coming.result()
            start += batch
            coming = ahead.submit(make, start)
            yield ready
