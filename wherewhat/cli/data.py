"""Verbs about data sets."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from wherewhat.cli.options import OutFile, at_least, sides
from wherewhat.errors import UserError, did_you_mean


def data_list() -> None:
    """The worlds made here, and the kinds of files that can be opened."""
    from wherewhat.data.synthetic import WORLDS

    for name, world in WORLDS.items():
        f = world.factors
        how = "" if world.fast else f" (draw some into a folder first: wherewhat data make {name} FOLDER)"
        sizes = ", ".join(f"{n} {s}" for n, s in zip(f.names, f.sizes, strict=True))
        print(f"{name}: {len(f):,} images; {sizes}{how}")
    print("a folder or a .zip of images; dSprites' .npz; 3D Shapes' .h5: give the path")


def data_show(
    source: Positional[str], /, out: OutFile = None, resolution: str = "64", channels: Literal[1, 3, 4] | None = None
) -> None:
    """Draw a sheet of a data set: a row for each factor, or random images where factors are not known.  Files that
    could not be used are listed.

    Args:
        source: a world, a folder or zip of images, dSprites' npz, 3D Shapes' h5
        out: the picture; SOURCE.png if not given
        resolution: 64, or height x width as in 128x96
        channels: 1 grey, 3 colour, 4 colour and transparency"""
    from wherewhat.config import DataConfig
    from wherewhat.data import open_data, open_world
    from wherewhat.data.synthetic import WORLDS
    from wherewhat.viz.sheets import data_sheet

    if source in WORLDS:
        opened = open_world(source, sides(resolution), channels)
    else:
        opened = open_data(DataConfig(source, *sides(resolution), channels=channels or 3))
    path = out or Path(f"{Path(source).stem}.png")
    print(data_sheet(opened, path))
    for name, why in getattr(opened, "skipped", ()):
        print(f"skipped: {name} ({why})")


def data_make(
    world: Annotated[Positional[str], arg(metavar="WORLD")],
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")], /,
    count: int = 20_000, side: int = 128, seed: int = 0,
) -> None:  # fmt: skip
    """Draw images of a world into a folder, with random factors that are listed in factors.csv.  The same command
    goes on where it was stopped.

    Args:
        world: one of wherewhat data list, as in faces
        folder: a new folder
        count: number of images
        side: pixels of a side
        seed: of the factors drawn"""
    from wherewhat.data.synthetic import WORLDS, write_folder

    at_least(1, count=count, side=side)
    at_least(0, seed=seed)
    if world not in WORLDS:
        raise UserError(f"there is no world {world}{did_you_mean(world, list(WORLDS))}")
    print(write_folder(WORLDS[world]((side, side)), folder, count, seed))
