"""Worlds: data sets that are rendered here, with the true value of every factor for every image.

To add a world, write its class in one file of this folder and name it in WORLDS; nothing else lists worlds.
"""

import csv
import io
import json
import signal
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer
from PIL import Image
from rich.markup import escape
from rich.progress import track

from wherewhat.atomic import explained, read_text, temporary, write_text
from wherewhat.data.batches import Images
from wherewhat.data.factors import Factors
from wherewhat.data.folder import RECORD, TABLE
from wherewhat.data.synthetic.faces import Faces
from wherewhat.data.synthetic.rooms import Rooms
from wherewhat.data.synthetic.sprites import Sprites
from wherewhat.errors import UserError

CHUNK = 250  # images that one job of a process draws
IGNORED = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the processes that draw, too: the first one ends them


@runtime_checkable
class World(Images, Protocol):
    """What a world is: images of a full grid of factors, rendered when they are asked for."""

    name: str
    channels: int
    factors: Factors
    size: tuple[int, int]  # height, width
    fast: bool  # whether images are rendered fast enough to train on; if not, they are written to a folder first

    def __init__(self, size: tuple[int, int]) -> None: ...


WORLDS: dict[str, type[World]] = {"rooms": Rooms, "sprites": Sprites, "faces": Faces}


def write_folder(world: World, folder: Path, count: int, seed: int) -> Path:
    """Write `count` PNGs of random factors, and these to factors.csv.  The same call goes on where an earlier one was
    stopped, and leaves a complete folder as it is.  Raises UserError if the folder holds anything else, or if it cannot
    be written to."""
    made = {"world": world.name, "size": list(world.size), "count": count, "seed": seed}
    factors = world.factors
    with explained(folder):
        if _begun(folder, made):
            return folder
        values = np.random.default_rng(seed).integers(factors.sizes, size=(count, len(factors.sizes)))
        names = [f"{i:06d}.png" for i in range(count)]
        index = factors.index(values)
        missing = np.flatnonzero([not (folder / name).is_file() for name in names])
        _draw(world, folder, [names[k] for k in missing], index[missing])
        table = io.StringIO(newline="")
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(["file", *factors.names])
        rows.writerows(
            [name, *map(factors.word, range(len(row)), row)] for name, row in zip(names, values.tolist(), strict=True)
        )
        write_text(folder / TABLE, table.getvalue())
    return folder


def _begun(folder: Path, made: dict[str, Any]) -> bool:
    """Make the folder, or clean up an unfinished one.  True if all images are there already."""
    about = folder / RECORD
    if folder.exists() and any(folder.iterdir()):
        try:
            before = json.loads(read_text(about)) if about.exists() else None
        except ValueError:
            before = None
        if before is None:
            raise UserError(f"{folder} is not empty: name a new folder")
        if before != made:
            raise UserError(f"{folder} holds images of {json.dumps(before)}, not {json.dumps(made)}: name a new folder")
        for partial_file in folder.glob(".*.png"):
            partial_file.unlink()
        return (folder / TABLE).exists()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(about, json.dumps(made) + "\n")
    return False


def _draw(world: World, folder: Path, names: list[str], index: Integer[np.ndarray, " n"]) -> None:
    """Draw images in parallel.  Raises OSError at the first that cannot be written."""
    chunks = [slice(first, first + CHUNK) for first in range(0, len(names), CHUNK)]
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=signal.signal, initargs=IGNORED)
    try:
        jobs = pool.map(partial(_save, world, folder), [names[c] for c in chunks], [index[c] for c in chunks])
        for _ in track(jobs, f"drawing {escape(str(folder))}", len(chunks), transient=True):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _save(world: World, folder: Path, names: list[str], index: Integer[np.ndarray, " n"]) -> None:
    for name, image in zip(names, world.images(index).transpose(0, 2, 3, 1), strict=True):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        partial_file = temporary(folder / name)
        try:
            picture.save(partial_file)
            partial_file.replace(folder / name)
        finally:
            partial_file.unlink(missing_ok=True)
