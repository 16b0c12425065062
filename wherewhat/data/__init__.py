"""Images from anywhere through one interface (`Images`): worlds made here, folders, zips, published files."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from wherewhat.config import DataConfig
from wherewhat.data.batches import Images
from wherewhat.data.folder import open_files
from wherewhat.data.synthetic import WORLDS
from wherewhat.errors import UserError, did_you_mean


class _Channels:
    """Images of another number of channels: grey, colour, colour with full opacity."""

    def __init__(self, inner: Images, channels: int) -> None:
        self.name, self.size, self.factors = inner.name, inner.size, inner.factors
        self.channels, self._inner = channels, inner

    def __len__(self) -> int:
        return len(self._inner)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        images = self._inner.images(index)
        if self.channels == 1:
            luma = np.tensordot(images.astype(np.float32), np.array([0.299, 0.587, 0.114], np.float32), ((1,), (0,)))
            return np.rint(luma).astype(np.uint8)[:, None]
        images = images.repeat(3, 1) if images.shape[1] == 1 else images
        return images if self.channels == 3 else np.concatenate([images, np.full_like(images[:, :1], 255)], 1)


def open_world(name: str, size: tuple[int, int], channels: int | None = None) -> Images:
    """A world of WORLDS with images of this size (height, width); with its own number of channels if none is given."""
    world: Images = WORLDS[name](size)
    return world if channels in (None, world.channels) else _Channels(world, channels)


def open_data(config: DataConfig) -> Images:
    """The images a configuration names.  Raises UserError if there is no such world or file, or nothing usable."""
    size, name, path = (config.height, config.width), config.source, Path(config.source).expanduser()
    if name in WORLDS and WORLDS[name].fast:
        return open_world(name, size, config.channels)
    if name in WORLDS:  # never a folder that happens to have this name: it may hold other images
        raise UserError(f"draw the {name} first: wherewhat data make {name} FOLDER, then give --data FOLDER")
    if path.name == name and not path.exists():
        raise UserError(f"{name} is neither a world nor a file here{did_you_mean(name, list(WORLDS))}")
    return open_files(path, size, config.channels, config.fit)


def region(data: Images, index: int, factor: int) -> Bool[np.ndarray, "h w"]:
    """Pixels that differ in any image with another value of this factor alone.  ValueError without a full grid."""
    if data.factors is None:
        raise ValueError("images without factors have no regions")
    values = np.repeat(data.factors.values(np.array([index])), data.factors.sizes[factor], 0)
    values[:, factor] = np.arange(len(values))
    others = data.images(data.factors.index(values))
    return (others != data.images(np.array([index]))).any((0, 1))
