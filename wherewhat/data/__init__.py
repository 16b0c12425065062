"""Images from anywhere through one interface (`Images`): worlds made here, folders, zips, published files."""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from wherewhat.config import DataConfig
from wherewhat.data.batches import Images
from wherewhat.data.files import open_files
from wherewhat.data.synthetic.worlds import WORLDS
from wherewhat.errors import UserError, did_you_mean


class _Channels:
    """Images of another number of channels: grey, colour, colour with full opacity."""

    def __init__(self, inner: Images, channels: int) -> None:
        self.name, self.size, self.factors = inner.name, inner.size, inner.factors
        self.channels, self._inner = channels, inner

    def __len__(self) -> int:
        return len(self._inner)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        """These images."""
        images = self._inner.images(index)
        if self.channels == 1:
            luma = np.tensordot(images.astype(np.float32), np.array([0.299, 0.587, 0.114], np.float32), ((1,), (0,)))
            return np.rint(luma).astype(np.uint8)[:, None]
        images = images.repeat(3, 1) if images.shape[1] == 1 else images
        return images if self.channels == 3 else np.concatenate([images, np.full_like(images[:, :1], 255)], 1)


def open_data(config: DataConfig) -> Images:
    """The images a configuration names.  Raises UserError if there is no such world or file, or nothing usable."""
    size = (config.height, config.width)
    if config.source in WORLDS:
        world: Images = WORLDS[config.source](size)
        return world if world.channels == config.channels else _Channels(world, config.channels)
    path = Path(config.source).expanduser()
    if config.source == "faces" and not path.exists():
        raise UserError("draw the faces first: wherewhat data make faces FOLDER, then give --data FOLDER")
    if not path.exists() and path.name == config.source:
        raise UserError(f"{config.source} is neither a world nor a file here{did_you_mean(path.name, list(WORLDS))}")
    return open_files(path, size, config.channels, config.fit)
