"""Verbs about data sets."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from wherewhat.cli.options import OutFile, at_least, sides


def data_list() -> None:
    """The worlds made here, and the kinds of files that can be opened."""
    from wherewhat.data.synthetic.worlds import WORLDS

    for name, world in WORLDS.items():
        f = world.factors
        print(f"{name}: {len(f):,} images; " + ", ".join(f"{n} {s}" for n, s in zip(f.names, f.sizes, strict=True)))
    print("a folder or a .zip of images; dSprites' .npz; 3D Shapes' .h5: give the path")


def data_show(
    source: Positional[str],
    /,
    out: OutFile = None,
    resolution: str = "64",
    channels: Literal[1, 3, 4] | None = None,
) -> None:
    """Draw a labelled sheet of a data set: a row a factor, or a grid of images where factors are not known.

    Args:
        source: a world, a folder, a zip, or a file
        out: the picture; SOURCE.png if not given
        resolution: 64, or height x width as in 128x96
        channels: 1 grey, 3 colour, 4 colour and transparency
    """
    from wherewhat.config import DataConfig
    from wherewhat.data import open_data
    from wherewhat.data.synthetic.worlds import WORLDS
    from wherewhat.viz.sheet import sheet

    own = WORLDS[source].channels if source in WORLDS else 3
    opened = open_data(DataConfig(source, *sides(resolution), channels=channels or own))
    path = out or Path(f"{Path(source).stem}.png")
    print(sheet(opened, path))


def data_make(
    world: Annotated[Positional[Literal["faces"]], arg(metavar="faces")],
    folder: Annotated[Positional[Path], arg(metavar="FOLDER")],
    /,
    count: int = 20_000,
    side: int = 128,
    seed: int = 0,
) -> None:
    """Draw a data set into a folder: cartoon faces with named parts and colours, their factors in factors.csv.

    Args:
        world: faces
        folder: a new folder
        count: number of images
        side: pixels of a side
        seed: of the factors drawn
    """
    from wherewhat.data.synthetic.faces import make

    at_least(1, count=count, side=side)
    at_least(0, seed=seed)
    print(make(folder, count, side, seed))
