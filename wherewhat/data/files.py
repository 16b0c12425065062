"""Published formats, read from front to back since they can be far larger than memory: dSprites' .npz, 3D Shapes' .h5.

n images, c channels, h w space.
"""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.lib import format as npy
from PIL import Image

from wherewhat.data.factors import Factors, classify
from wherewhat.data.pictures import Form, TooSmallError
from wherewhat.data.prepared import Batch, Source, few, readable, would_work
from wherewhat.errors import UserError

DSPRITES = ("color", "shape", "scale", "orientation", "x", "y")
SHAPES3D = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
CHUNK = 2**22  # bytes of an array that are read at once


@dataclass(frozen=True)
class _Rows:
    """An array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, int], Shaped[np.ndarray, "n *rest"]]
    """gives the rows from start to stop; each call starts where the last one stopped"""

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0


@contextmanager
def npz(path: Path, form: Form) -> Iterator[Source]:
    """A .npz as dSprites publishes it, or with an array of images alone.  Raises UserError for anything else."""
    with readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        if {"imgs", "latents_classes"} <= members:
            with _member(path, archive, "latents_classes") as classes, readable(path):
                table = classes.read(0, len(classes))
            with _member(path, archive, "imgs") as images:
                factors = _factors(path, "latents_classes", DSPRITES, table, len(images))
                white = replace(images, read=lambda start, stop: _white(images.read(start, stop)))
                yield _source(path, white, form, factors)
        elif "images" in members:
            with _member(path, archive, "images") as images:
                yield _source(path, images, form)
        else:
            raise UserError(
                f"{path} holds {few(sorted(members))}; it should hold imgs and latents_classes as dSprites does, "
                "or images: (n, h, w) or (n, h, w, c), uint8"
            )


@contextmanager
def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[_Rows]:
    """An array of a .npz.  Raises UserError for what is broken, and for pickles."""
    with readable(path):
        stream = archive.open(f"{name}.npy")
    with stream:
        with readable(path):
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = read_header(stream)
            if by_columns or dtype.hasobject:
                raise ValueError(f"{name} is {'in Fortran order' if by_columns else 'pickled'}, not a C-ordered array")

        def read(start: int, stop: int) -> Shaped[np.ndarray, "n *rest"]:
            """Raises ValueError if the file ends before."""
            part = (stop - start, *shape[1:])
            return np.frombuffer(stream.read(prod(part) * dtype.itemsize), dtype).reshape(part)

        yield _Rows(shape, dtype, read)


def _white(block: UInt8[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "n h w"]:
    """dSprites' 1 as 255."""
    if block.max() > 1:
        raise ValueError(f"imgs holds {block.max()}, and in dSprites all are 0 or 1; name other arrays images")
    return block * np.uint8(255)


@contextmanager
def h5(path: Path, form: Form) -> Iterator[Source]:
    """A .h5 as 3D Shapes is published.  Raises UserError for anything else."""
    import h5py

    with readable(path):
        file = h5py.File(path, "r")
    with file:
        images, labels = file.get("images"), file.get("labels")
        if not isinstance(images, h5py.Dataset) or not isinstance(labels, h5py.Dataset):
            raise UserError(
                f"{path} holds {few(sorted(file))}; it should hold images: (n, h, w, 3), uint8, and labels: "
                f"(n, {len(SHAPES3D)}) as 3D Shapes does"
            )
        rows = _Rows(tuple(images.shape), images.dtype, lambda start, stop: images[start:stop])
        with readable(path):
            table = np.asarray(labels[()])
        yield _source(path, rows, form, _factors(path, "labels", SHAPES3D, table, len(rows)))


def _factors(path: Path, member: str, names: tuple[str, ...], values: np.ndarray, count: int) -> Factors | None:
    """Each distinct value of a column is a class, in ascending order; a column that never varies is no factor."""
    if values.shape != (count, len(names)) or values.dtype.kind not in "uif":
        raise UserError(
            f"{path}: {member} is {values.shape} {values.dtype}; for its {count} images it should be numbers of shape "
            f"({count}, {len(names)}): {', '.join(names)}"
        )
    varied = [i for i, column in enumerate(values.T) if len(np.unique(column)) > 1]
    if not varied:
        return None
    found = classify(tuple(names[i] for i in varied), values.T[varied])
    grid = replace(found, table=None)
    full = len(grid) == count and bool((grid.values(np.arange(count)) == found.table).all())
    return grid if full else found


def _source(path: Path, rows: _Rows, form: Form, factors: Factors | None = None) -> Source:
    shape = rows.shape
    if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,), (4,)) or 0 in shape or rows.dtype != np.uint8:
        raise UserError(
            f"{path}: its images are {shape} {rows.dtype}; "
            "they should be (n, h, w) or (n, h, w, c), uint8, with 1, 3 or 4 channels c"
        )
    try:
        form.check(shape[2], shape[1])
    except TooSmallError as error:
        raise UserError(f"{path}: {error}. {would_work([error.works])}") from None
    step = max(1, CHUNK // prod(shape[1:]))

    def jobs() -> Iterator[Callable[[], Batch]]:
        for start in range(0, shape[0], step):
            with readable(path):
                block = rows.read(start, min(start + step, shape[0]))
            yield partial(_batch, block, form)

    return Source(shape[0], jobs(), factors)


def _batch(block: UInt8[np.ndarray, "n h w *c"], form: Form) -> Batch:
    """Some images of an array.  Those that have the right size already are prepared at once, one below the other."""
    block = block[..., 0] if block.shape[3:] == (1,) else block
    count, height, width, *channels = block.shape
    if (height, width) == (form.height, form.width):
        column = Image.fromarray(block.reshape(count * height, width, *channels))
        return Batch(form.pixels(form.with_channels(column), count))
    return Batch(np.concatenate([form.pixels(form.fitted(Image.fromarray(image))) for image in block]))
