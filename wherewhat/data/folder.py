"""Images on disk: a folder or a .zip of any images, or a published file: dSprites' .npz, 3D Shapes' .h5.

Prepared once, then read from the cache.  Published files are read from front to back: they can be far larger than
memory.  n images, c channels, h w space; sizes are height x width, in messages as in code.
"""

import csv
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from wherewhat.data.arrays import read_header
from wherewhat.data.factors import Factors, classify
from wherewhat.data.pictures import Fit, Form, TooSmallError, decode, read_size, reason
from wherewhat.data.prepared import Batch, PreparedImages, Source, few, prepared, readable, would_work
from wherewhat.errors import UserError, did_you_mean

EXTENSIONS = (  # of the files taken for images, in any case
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
ARCHIVES = (".zip", ".npz", ".h5", ".hdf5")
MEMBER_LIMIT = 2**29  # bytes that a file inside a .zip may have: it is unpacked in memory
DSPRITES = ("color", "shape", "scale", "orientation", "x", "y")
SHAPES3D = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
CHUNK = 2**22  # bytes of an array that are read at once
TABLE = "factors.csv"  # beside the images of a folder: their factors
RECORD = "data-make.json"  # beside images that `wherewhat data make` draws: which these are.  The table comes last


def open_files(
    path: Path, size: tuple[int, int], channels: int = 3, fit: Fit = "crop", cache: Path | None = None
) -> PreparedImages:
    """The images at `path`, each `size` (height, width) and 1, 3 or 4 channels; prepared now unless the cache has them.

    fit: crop the centre to the aspect ratio of `size`, or pad to it (black; transparent with 4 channels).  cache: a
    folder.  Raises UserError if there is nothing to read, nothing left of it, or no place to keep it.
    """
    form = Form(*size, channels, fit)
    path = _existing(path)
    table = path / TABLE
    if (path / RECORD).is_file() and not table.is_file():
        raise UserError(
            f"{path} is not complete: `wherewhat data make` was stopped, and the same command goes on.  To use the "
            f"images that are there without their factors, remove {RECORD}"
        )
    listing = _listing(path)
    files = prepared(path, listing, form, cache, lambda: _source(path, [name for name, *_ in listing], form))
    return replace(files, factors=_factors(table, files.names)) if table.is_file() else files


def usual_ratio(path: Path, count: int = 200, seed: int = 0) -> float | None:
    """Height over width of the pictures in a folder or a .zip: the median of some of them.  None if they have no usual
    shape (half of them differ from it by more than a quarter), and for published files, whose images are all alike.
    Raises UserError if there are none."""
    path = _existing(path)
    rng = np.random.default_rng(seed)
    sizes: list[tuple[int, int]] = []

    def read(opened: Callable[[str], io.BytesIO | io.BufferedReader], names: list[str]) -> None:
        for name in rng.permutation(names)[:count].tolist():
            with suppress(Exception), opened(name) as file:  # what cannot be read is skipped, and named, when prepared
                sizes.append(read_size(file))

    if path.is_dir():
        read(partial(_open_in, path), [name for name, *_ in _listing(path)])
    elif path.suffix.lower() == ".zip":
        with readable(path), zipfile.ZipFile(path) as archive:
            read(lambda name: io.BytesIO(archive.read(name)), [n for n in archive.namelist() if _is_image(n)])
    if not sizes:
        return None
    ratios = np.log([height / width for height, width in sizes])
    usual = float(np.median(ratios))
    return float(np.exp(usual)) if np.median(np.abs(ratios - usual)) < np.log(1.25) else None


def _open_in(path: Path, name: str) -> io.BufferedReader:
    if not (path / name).is_file():
        raise ValueError("not a file")  # opening a pipe would wait for ever
    return open(path / name, "rb")


def _existing(path: Path) -> Path:
    """The absolute path. Raises UserError if it does not exist or is no kind of data set."""
    path = Path(os.path.abspath(os.path.expanduser(path)))  # links are kept
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} does not exist{_siblings(path)}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and path.suffix.lower() in ARCHIVES):
        hint = f", here {path.parent}" if path.suffix.lower() in EXTENSIONS else ""
        raise UserError(
            f"{path} is no data set: give a folder of images{hint}, a .zip of images, dSprites' .npz or 3D Shapes' .h5 "
            "(unpack other archives first)"
        )
    return path


def _siblings(path: Path) -> str:
    """A hint: the data sets in the nearest folder that exists, or the one whose name is closest."""
    parent = next(p for p in path.parents if p.is_dir())
    word = path.relative_to(parent).parts[0]
    try:
        names = sorted(p.name for p in parent.iterdir() if p.suffix.lower() in ARCHIVES or p.is_dir())
    except OSError:
        names = []
    hint = did_you_mean(word, names) if names else ""
    return f": {parent} holds no {word}{hint if len(names) <= 10 or 'did you mean' in hint else ''}"


def _listing(path: Path) -> list[tuple[str, int, int]]:
    """Name, bytes, time of change in ns: of the images of a folder, by name, or of the one file; UserError if none."""
    if not path.is_dir():
        return [(path.name, *_stamp(path))]
    listing = [(name, *_stamp(path / name)) for name in sorted(_walk(path))]
    if not listing:
        archives = sorted(p for p in path.iterdir() if p.suffix.lower() in ARCHIVES)
        hint = f". It holds {archives[0].name}: give {archives[0]}" if archives else ""
        raise UserError(f"{path} holds no images; looked in it and below it for {', '.join(EXTENSIONS)}{hint}")
    return listing


def _stamp(file: Path) -> tuple[int, int]:
    """Bytes and time of change in ns; -1 for a file that cannot be looked at, which will be skipped with the reason."""
    try:
        return (status := os.stat(file)).st_size, status.st_mtime_ns
    except OSError:
        return -1, -1


def _walk(path: Path) -> Iterator[str]:
    """Relative names, with /, of the images in a folder and below it; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()

    def fresh(folder: str) -> bool:
        before, status = len(seen), os.stat(folder)
        seen.add((status.st_dev, status.st_ino))
        return len(seen) > before

    def unreadable(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be listed: {error.strerror}")

    fresh(str(path))
    for root, folders, names in os.walk(path, onerror=unreadable, followlinks=True):
        folders[:] = [f for f in sorted(folders) if not f.startswith(".") and fresh(os.path.join(root, f))]
        above = "" if root == str(path) else os.path.relpath(root, path).replace(os.sep, "/") + "/"
        yield from (above + name for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    """Whether a file inside a folder or a .zip is taken for an image, by its name alone."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return not hidden and name.lower().endswith(EXTENSIONS)


def _source(path: Path, names: list[str], form: Form) -> AbstractContextManager[Source]:
    if path.is_dir():
        return _folder(path, names, form)
    return {".zip": _zip, ".npz": _npz, ".h5": _h5, ".hdf5": _h5}[path.suffix.lower()](path, form)


@contextmanager
def _folder(path: Path, names: list[str], form: Form) -> Iterator[Source]:
    yield Source(len(names), (partial(_picture, partial(_open_in, path), name, form) for name in names))


@contextmanager
def _zip(path: Path, form: Form) -> Iterator[Source]:
    with readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = {m.filename: m for m in archive.infolist() if not m.is_dir() and _is_image(m.filename)}
        if not members:
            raise UserError(f"{path} holds no images; looked in it for {', '.join(EXTENSIONS)}")
        if any(m.flag_bits & 1 for m in members.values()):
            raise UserError(f"{path} is encrypted: unpack it and give the folder")

        def opened(name: str) -> io.BytesIO | io.BufferedReader:
            if members[name].file_size > MEMBER_LIMIT:
                raise ValueError(f"larger than {MEMBER_LIMIT / 1e6:.0f} MB")
            return io.BytesIO(archive.read(members[name]))

        yield Source(len(members), (partial(_picture, opened, name, form) for name in sorted(members)))


def _picture(opened: Callable[[str], io.BytesIO | io.BufferedReader], name: str, form: Form) -> Batch:
    """One image of a folder or a .zip, or why there is none."""
    nothing = np.zeros((0, form.channels, form.height, form.width), np.uint8)
    try:
        with opened(name) as file:
            image = decode(file, form)
        return Batch(form.pixels(form.fitted(image)), (name,))
    except TooSmallError as error:
        return Batch(nothing, skipped=((name, str(error)),), works=(error.works,))
    except Exception as error:  # decoders raise exceptions of every kind; one bad file must not stop the others
        return Batch(nothing, skipped=((name, reason(error)),))


def _factors(table: Path, names: tuple[str, ...]) -> Factors:
    """Factors from a table: the file, then the factors, whose words are classes.  UserError if a file has no row."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{table} cannot be read: {error}") from None
    known = {row[0]: row[1:] for row in rows if len(row) == len(head)}
    missing = [name for name in names if name not in known]
    if missing or len(head) < 2:
        rule = "its columns should be the file, then the factors"
        raise UserError(f"{table} has no whole row for {few(missing)}: {rule}")
    return classify(tuple(head[1:]), zip(*(known[name] for name in names), strict=True))


@dataclass(frozen=True)
class _Rows:  # an array in a file
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int, int], Shaped[np.ndarray, "n *rest"]]  # start, stop → rows; start: where the last one stopped

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0


@contextmanager
def _npz(path: Path, form: Form) -> Iterator[Source]:
    """A .npz as dSprites publishes it, or with an array of images alone.  Raises UserError for anything else."""
    with readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        if {"imgs", "latents_classes"} <= members:
            with _member(path, archive, "latents_classes") as classes, readable(path):
                table = classes.read(0, len(classes))
            with _member(path, archive, "imgs") as images:
                factors = _columns(path, "latents_classes", DSPRITES, table, len(images))
                white = replace(images, read=lambda start, stop: _white(images.read(start, stop)))
                yield _array(path, white, form, factors)
        elif "images" in members:
            with _member(path, archive, "images") as images:
                yield _array(path, images, form)
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
            shape, by_columns, dtype = read_header(stream, name)
            if by_columns:
                raise ValueError(f"{name} is in Fortran order, not a C-ordered array")
            if prod(shape) * dtype.itemsize > archive.getinfo(f"{name}.npy").file_size:
                raise ValueError(f"{name} of shape {shape} is not all there")

        def read(start: int, stop: int) -> Shaped[np.ndarray, "n *rest"]:  # ValueError if the file ends before
            part = (stop - start, *shape[1:])
            return np.frombuffer(stream.read(prod(part) * dtype.itemsize), dtype).reshape(part)

        yield _Rows(shape, dtype, read)


def _white(block: UInt8[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "n h w"]:
    """dSprites' 1 as 255."""
    if block.max() > 1:
        raise ValueError(f"imgs holds {block.max()}, and in dSprites all are 0 or 1; name other arrays images")
    return block * np.uint8(255)


@contextmanager
def _h5(path: Path, form: Form) -> Iterator[Source]:
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
            if labels.nbytes > 64 * len(SHAPES3D) * len(rows):
                raise ValueError(f"labels are {labels.shape} {labels.dtype}")
            table = np.asarray(labels[()])
        yield _array(path, rows, form, _columns(path, "labels", SHAPES3D, table, len(rows)))


def _columns(path: Path, member: str, names: tuple[str, ...], values: np.ndarray, count: int) -> Factors | None:
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


def _array(path: Path, rows: _Rows, form: Form, factors: Factors | None = None) -> Source:
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
