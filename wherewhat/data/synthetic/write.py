"""A world as a folder: a PNG an image, and the factors of all of them in factors.csv."""

import csv
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Integer
from PIL import Image
from rich.progress import track

from wherewhat.data.synthetic import World
from wherewhat.errors import UserError

CHUNK = 250  # images that one job of a process draws


def write_folder(world: World, folder: Path, count: int, seed: int) -> Path:
    """Write `count` images with independent random factors.  Raises UserError if the folder is not empty."""
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
