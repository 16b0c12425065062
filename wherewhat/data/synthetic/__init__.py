"""Worlds: data sets that are rendered here, with the true value of every factor for every image.

To add a world, write its class in one file of this folder and name it in WORLDS; nothing else lists worlds.
"""

import csv
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer
from PIL import Image
from rich.progress import track

from wherewhat.data.batches import Images
from wherewhat.data.factors import Factors
from wherewhat.data.synthetic.faces import Faces
from wherewhat.data.synthetic.rooms import Rooms
from wherewhat.data.synthetic.sprites import Sprites
from wherewhat.errors import UserError

CHUNK = 250  # images that one job of a process draws


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
    """Write `count` PNGs of random factors, and these to factors.csv.  Raises UserError if the folder is not empty."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    factors = world.factors
    values = np.random.default_rng(seed).integers(factors.sizes, size=(count, len(factors.sizes)))
    names = [f"{i:06d}.png" for i in range(count)]
    chunks = [slice(first, first + CHUNK) for first in range(0, count, CHUNK)]
    files, index = [folder / name for name in names], factors.index(values)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        jobs = pool.map(partial(_save, world), [files[c] for c in chunks], [index[c] for c in chunks])
        for _ in track(jobs, f"drawing {folder}", len(chunks), transient=True):
            pass
    with (folder / "factors.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", *factors.names])
        table.writerows(
            [name, *map(factors.word, range(len(row)), row)] for name, row in zip(names, values.tolist(), strict=True)
        )
    return folder


def _save(world: World, files: list[Path], index: Integer[np.ndarray, " n"]) -> None:
    for file, image in zip(files, world.images(index).transpose(0, 2, 3, 1), strict=True):
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file)
