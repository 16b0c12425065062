"""Worlds: data sets that are rendered here, with the true value of every factor for every image.

To add a world, write its class in one file of this folder and name it in WORLDS; nothing else lists worlds.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer, UInt8

from wherewhat.data.factors import Factors
from wherewhat.data.synthetic.faces import Faces
from wherewhat.data.synthetic.rooms import Rooms
from wherewhat.data.synthetic.sprites import Sprites


@runtime_checkable
class World(Protocol):
    """What a world is: images of a full grid of factors, rendered when they are asked for."""

    name: str
    channels: int
    factors: Factors
    fast: bool  # whether images are rendered fast enough to train on; if not, they are written to a folder first
    size: tuple[int, int]  # height, width

    def __init__(self, size: tuple[int, int]) -> None: ...
    def __len__(self) -> int: ...
    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]: ...


_ALL: tuple[type[World], ...] = (Rooms, Sprites, Faces)
WORLDS: dict[str, type[World]] = {world.name: world for world in _ALL}
