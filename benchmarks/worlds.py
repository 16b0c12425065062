"""How long does a world take to build, how fast does it make images, and what does it hold in memory?

    python benchmarks/worlds.py             # about a minute
    python benchmarks/worlds.py --quick     # 32 pixels only, few batches; writes nothing

Of the worlds that are fast enough to train on; batches are of 64 images with random indices.  Everything here is numpy
on one core, so --device changes nothing.
"""

import gc
import time
import tracemalloc
from functools import partial

import numpy as np
from common import MB, command, header, options, table, timed, write

from wherewhat.data.synthetic import WORLDS, World, rooms, sprites

BATCH, BATCHES = 64, 50
MOST = {("rooms", 64): 200.0}
"""world and side → megabytes it may hold"""


def build(name: str, side: int) -> World:
    """A world from nothing: without what earlier ones have rendered."""
    for cached in (rooms._shadings, sprites._glyphs):
        cached.cache_clear()
    gc.collect()
    return WORLDS[name]((side, side))


def most_while_building(name: str, side: int) -> int:
    """Bytes, by a run of its own: watching takes time."""
    tracemalloc.start()
    build(name, side)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def held(world: World) -> int:
    """Bytes of its arrays."""
    return sum(value.nbytes for value in vars(world).values() if isinstance(value, np.ndarray))


def make(world: World, indices: np.ndarray) -> None:
    """A few batches."""
    for index in indices:
        world.images(index)


def row(name: str, side: int, batches: int) -> list[str]:
    """One line of the table."""
    peak = most_while_building(name, side)
    start = time.perf_counter()
    world = build(name, side)
    seconds = time.perf_counter() - start
    size = held(world) / MB
    assert size <= MOST.get((name, side), np.inf), f"{name} at {side}² holds {size:.0f} MB"
    indices = np.random.default_rng(0).integers(len(world), size=(batches, BATCH))
    taken = timed(partial(make, world, indices))
    speed = indices.size / taken.median
    cells = [f"{seconds:.2f}", f"{speed:,.0f} ± {speed * taken.spread / taken.median:,.0f}"]
    return [name, f"{side}²", f"{len(world):,}", *cells, f"{size:.1f}", f"{peak / MB:.1f}"]


def main() -> None:
    args = options(__doc__)
    head = header(command(), packages=("numpy",))
    sides, batches = ((32,), 5) if args.quick else ((32, 64, 128), BATCHES)
    rows = [row(name, side, batches) for name, world in WORLDS.items() if world.fast for side in sides]
    note = (
        f"Batches of {BATCH}, random indices, one process. Held: bytes of the world's arrays. Most while building: "
        "by tracemalloc, in a run of its own."
    )
    heads = ["world", "size", "images", "build, s", "images/s", "held, MB", "most while building, MB"]
    write("worlds", "\n".join(["# Worlds", "", head, "", note, "", table(heads, rows), ""]), args)


if __name__ == "__main__":
    main()
