"""Images on disk as one array: a folder or .zip of any images, dSprites' .npz, 3D Shapes' .h5.

n images, c channels, h height, w width.  Every image is prepared once (cropped or padded, resized, uint8) and kept in a
cache folder that is either whole or not there; after that it is read from a memory-mapped array:

    <cache>/<name>-64x64x3-crop-<hash>/   images.npy   index.json   table.npy (if the factors are no full grid)

Sizes are height x width everywhere, in messages as in code.
"""

import csv
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import threading
import time
import warnings
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer, Shaped, UInt8
from numpy.lib import format as npy
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wherewhat.cache import cache as cache_folder
from wherewhat.data.factors import Factors
from wherewhat.data.pictures import Fit, Form, TooSmallError, decode, reason
from wherewhat.errors import UserError, did_you_mean

VERSION = 1
"""of how images are prepared and kept; part of the hash, so another version prepares them again"""
EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""of the files taken for images, in any case"""
ARCHIVES = (".zip", ".npz", ".h5", ".hdf5")
DSPRITES = ("color", "shape", "scale", "orientation", "x", "y")
SHAPES3D = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")

CHUNK = 2**22
"""bytes of an array that are read at once"""
LARGEST = 2**29
"""bytes of one file inside a .zip: it is unpacked in memory"""
DAY = 24 * 3600
"""seconds after which a preparation without progress is taken for dead"""

_PREPARING = threading.Lock()


# ---------------------------------------------------------------------------------------------------- the data set


@dataclass(frozen=True, eq=False)
class Files:
    """Prepared images, and their factors where the format has them."""

    name: str
    size: tuple[int, int]
    """height, width"""
    channels: int
    factors: Factors | None
    names: tuple[str, ...]
    """the file of each image, relative to the folder or inside the .zip; empty for .npz and .h5"""
    skipped: tuple[tuple[str, str], ...]
    """files that are no part of it, each with the reason"""
    folder: Path
    """where the prepared images are"""
    array: UInt8[np.ndarray, "n c h w"]
    """memory-mapped, read-only"""

    def __len__(self) -> int:
        """Number of images."""
        return len(self.array)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        """A copy of these images, 0 … 255; IndexError outside of 0 … len-1 (or -len)."""
        return np.asarray(self.array)[index]

    def __reduce__(self) -> tuple[Callable, tuple[Path]]:
        """Another process gets the cache folder, not a copy of the array."""
        return _reopen, (self.folder,)


def open_files(
    path: Path, size: tuple[int, int], channels: int = 3, fit: Fit = "crop", cache: Path | None = None
) -> Files:
    """The images at `path`, each `size` (height, width) and 1, 3 or 4 channels; prepared now unless the cache has them.

    fit: crop the centre to the aspect ratio of `size`, or pad to it (black; transparent with 4 channels).
    cache: a folder; by default "data" in $WHEREWHAT_CACHE or else in the user's cache folder.
    Raises UserError if there is nothing to read, nothing left of it, or no place to keep it.
    """
    form = Form(*size, channels, fit)
    path = _existing(path)
    listing = _listing(path)
    folder = _absolute(cache or cache_folder("data")) / _key(path, listing, form)
    files = _load(folder)
    if files is None:
        with _PREPARING:  # a thread that waited here finds what the other one has prepared
            files = _load(folder)
            if files is None:
                _prepare(path, [name for name, *_ in listing], form, folder)
                files = _reopen(folder)
    table = path / "factors.csv"
    return replace(files, factors=_columns(table, files.names)) if table.is_file() else files


def _absolute(path: Path) -> Path:
    """With the home folder for ~, and links kept."""
    return Path(os.path.abspath(os.path.expanduser(path)))


# ------------------------------------------------------------------------------------- what is there, and its key


def _existing(path: Path) -> Path:
    """The absolute path. Raises UserError if it does not exist or is no kind of data set."""
    path = _absolute(path)
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
    """What the nearest folder that exists has to offer in place of this path."""
    parent = next(p for p in path.parents if p.is_dir())
    word = path.relative_to(parent).parts[0]
    try:
        names = sorted(p.name for p in parent.iterdir() if p.suffix.lower() in ARCHIVES or p.is_dir())
    except OSError:
        names = []
    hint = did_you_mean(word, names) if names else ""
    short = len(names) <= 10 or "did you mean" in hint
    return f": {parent} holds no {word}{hint if short else ''}"


def _listing(path: Path) -> list[tuple[str, int, int]]:
    """The images of a folder, in the order of their relative names, or the one file: name, bytes, time of change in ns.
    Raises UserError if there are none."""
    if not path.is_dir():
        return [(path.name, *_stamp(path))]
    listing = [(name, *_stamp(path / name)) for name in sorted(_walk(path))]
    if not listing:
        archives = sorted(p for p in path.iterdir() if p.suffix.lower() in ARCHIVES)
        hint = f". It holds {archives[0].name}: give {archives[0]}" if archives else ""
        raise UserError(f"{path} holds no images; looked in it and below it for {', '.join(EXTENSIONS)}{hint}")
    return listing


def _stamp(file: Path) -> tuple[int, int]:
    """Bytes and nanoseconds; -1 for a file that cannot be looked at: it will be skipped, with the reason."""
    try:
        status = os.stat(file)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _walk(path: Path) -> Iterator[str]:
    """Files with the name of an image, with / in it; through links to folders, each folder once; nothing hidden."""
    seen = set()

    def fresh(folder: str) -> bool:
        status = os.stat(folder)
        known = (status.st_dev, status.st_ino) in seen
        seen.add((status.st_dev, status.st_ino))
        return not known

    def unreadable(error: OSError) -> None:
        raise UserError(f"the folder {error.filename} cannot be listed: {error.strerror}")

    fresh(str(path))
    for root, folders, names in os.walk(path, onerror=unreadable, followlinks=True):
        folders[:] = [f for f in sorted(folders) if not f.startswith(".") and fresh(os.path.join(root, f))]
        above = "" if root == str(path) else os.path.relpath(root, path).replace(os.sep, "/") + "/"
        yield from (above + name for name in names if _is_image(name))


def _is_image(name: str) -> bool:
    """By the name alone, inside a folder or a .zip."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return not hidden and name.lower().endswith(EXTENSIONS)


def _key(path: Path, listing: list[tuple[str, int, int]], form: "Form") -> str:
    """A readable name and a hash of everything the prepared images depend on."""
    parts = json.dumps([VERSION, str(path), str(form), form.channels, form.fit, listing])
    digest = hashlib.sha256(parts.encode()).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", _name(path)).strip("-.")[:40]
    return f"{name or 'images'}-{form}x{form.channels}-{form.fit}-{digest}"


def _name(path: Path) -> str:
    """Of the data set, for people."""
    return (path.name if path.is_dir() else path.stem) or "images"


# --------------------------------------------------------------------------------------------- where images come from


class _Batch(NamedTuple):
    """Some images, ready, and what became of the files they came from."""

    images: UInt8[np.ndarray, "n c h w"]
    names: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    works: tuple[tuple[int, int], ...] = ()
    """of the skipped files that are too small: the largest size (height, width) each is enough for"""


class _Source(NamedTuple):
    """A data set that is open for reading."""

    total: int
    """images, skipped ones included"""
    jobs: Iterator[Callable[[], _Batch]]
    """to be called in any thread; what they return belongs in this order"""
    factors: Factors | None = None


def _source(path: Path, names: list[str], form: Form) -> AbstractContextManager[_Source]:
    if path.is_dir():
        return _folder(path, names, form)
    return {".zip": _zip, ".npz": _npz, ".h5": _h5, ".hdf5": _h5}[path.suffix.lower()](path, form)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever the readers of archives raise for a broken one, as UserError."""
    try:
        yield
    except (OSError, ValueError, LookupError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read, it may be broken: {reason(error)}") from error


@contextmanager
def _folder(path: Path, names: list[str], form: Form) -> Iterator[_Source]:
    def opened(name: str) -> io.BytesIO | io.BufferedReader:
        if not (path / name).is_file():
            raise ValueError("not a file")  # to open a pipe would be to wait for ever
        return open(path / name, "rb")

    yield _Source(len(names), (partial(_picture, opened, name, form) for name in names))


@contextmanager
def _zip(path: Path, form: Form) -> Iterator[_Source]:
    with _readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = {m.filename: m for m in archive.infolist() if not m.is_dir() and _is_image(m.filename)}
        if not members:
            raise UserError(f"{path} holds no images; looked in it for {', '.join(EXTENSIONS)}")
        if any(m.flag_bits & 1 for m in members.values()):
            raise UserError(f"{path} is encrypted: unpack it and give the folder")

        def opened(name: str) -> io.BytesIO | io.BufferedReader:
            if members[name].file_size > LARGEST:
                raise ValueError(f"larger than {LARGEST / 1e6:.0f} MB")
            return io.BytesIO(archive.read(members[name]))

        yield _Source(len(members), (partial(_picture, opened, name, form) for name in sorted(members)))


def _picture(opened: Callable[[str], io.BytesIO | io.BufferedReader], name: str, form: Form) -> _Batch:
    """One image of a folder or a .zip, or why there is none."""
    nothing = np.zeros((0, form.channels, form.height, form.width), np.uint8)
    try:
        with opened(name) as file:
            image = decode(file, form)
        return _Batch(form.pixels(form.cut(image)), (name,))
    except TooSmallError as error:
        return _Batch(nothing, skipped=((name, str(error)),), works=(error.works,))
    except Exception as error:  # decoders raise nearly everything, and one bad file must not stop the others
        return _Batch(nothing, skipped=((name, reason(error)),))


@contextmanager
def _npz(path: Path, form: Form) -> Iterator[_Source]:
    with _readable(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        if {"imgs", "latents_classes"} <= members:
            with _member(path, archive, "latents_classes") as classes, _readable(path):
                table = classes.read(0, len(classes))
            with _member(path, archive, "imgs") as images:
                factors = _factors(path, "latents_classes", DSPRITES, table, len(images))
                yield _arrays(path, images, lambda start, stop: _white(images.read(start, stop)), form, factors)
        elif "images" in members:
            with _member(path, archive, "images") as images:
                yield _arrays(path, images, images.read, form)
        else:
            raise UserError(
                f"{path} holds {_few(sorted(members))}; it should hold imgs and latents_classes as dSprites does, "
                "or images: (n, h, w) or (n, h, w, c), uint8"
            )


@dataclass(frozen=True)
class _Member:
    """An array inside a .npz, read once from front to back: it can be far larger than memory."""

    take: Callable[[int], bytes]
    """the next so many bytes of it"""
    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def read(self, start: int, stop: int) -> Shaped[np.ndarray, "n *rest"]:
        """The rows up to `stop`; `start` is where the last call ended. ValueError if the file ends before."""
        shape = (stop - start, *self.shape[1:])
        data = self.take(prod(shape) * self.dtype.itemsize)
        return np.frombuffer(data, self.dtype).reshape(shape)


@contextmanager
def _member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[_Member]:
    """Raises UserError for what is broken, and for pickles."""
    with _readable(path):
        stream = archive.open(f"{name}.npy")
    with stream:
        with _readable(path):
            version = npy.read_magic(stream)
            read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = read_header(stream)
            if by_columns or dtype.hasobject:
                raise ValueError(f"{name} is {'in Fortran order' if by_columns else 'pickled'}, not a C-ordered array")
        yield _Member(stream.read, shape, dtype)


def _white(block: UInt8[np.ndarray, "n h w"]) -> UInt8[np.ndarray, "n h w"]:
    """dSprites' 1 as 255."""
    if block.max() > 1:
        raise ValueError(f"imgs holds {block.max()}, and in dSprites all are 0 or 1; name other arrays images")
    return block * np.uint8(255)


@contextmanager
def _h5(path: Path, form: Form) -> Iterator[_Source]:
    import h5py

    with _readable(path):
        file = h5py.File(path, "r")
    with file:
        images, labels = file.get("images"), file.get("labels")
        if not isinstance(images, h5py.Dataset) or not isinstance(labels, h5py.Dataset):
            raise UserError(
                f"{path} holds {_few(sorted(file))}; it should hold images: (n, h, w, 3), uint8, and labels: "
                f"(n, {len(SHAPES3D)}) as 3D Shapes does"
            )
        with _readable(path):
            table = labels[()]
        factors = _factors(path, "labels", SHAPES3D, np.asarray(table), images.shape[0] if images.shape else 0)
        yield _arrays(path, images, lambda start, stop: images[start:stop], form, factors)


def _factors(path: Path, member: str, names: tuple[str, ...], values: np.ndarray, count: int) -> Factors | None:
    """Each distinct value of a column is a class, in ascending order; a column that never varies is no factor."""
    if values.shape != (count, len(names)) or values.dtype.kind not in "uif":
        raise UserError(
            f"{path}: {member} is {values.shape} {values.dtype}; for its {count} images it should be numbers of shape "
            f"({count}, {len(names)}): {', '.join(names)}"
        )
    columns = [np.unique(column, return_inverse=True) for column in values.T]
    varied = [i for i, (distinct, _) in enumerate(columns) if len(distinct) > 1]
    if not varied:
        return None
    names, sizes = tuple(names[i] for i in varied), tuple(len(columns[i][0]) for i in varied)
    table = np.stack([columns[i][1] for i in varied], 1)
    grid = Factors(names, sizes)
    full = len(grid) == count and bool((grid.values(np.arange(count)) == table).all())
    return grid if full else Factors(names, sizes, table)


def _columns(table: Path, names: tuple[str, ...]) -> Factors:
    """The factors of a folder's images: a table whose first column is the file and every other a factor.  Each distinct
    word of a column is a class, in alphabetical order.  Raises UserError if it does not have a row for every image."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{table} cannot be read: {error}") from None
    known = {row[0]: row[1:] for row in rows if len(row) == len(head)}
    missing = [name for name in names if name not in known]
    if missing or len(head) < 2:
        raise UserError(
            f"{table} has no whole row for {_few(missing)}: its columns should be the file, then the factors"
        )
    columns = [np.unique([known[name][f] for name in names], return_inverse=True) for f in range(len(head) - 1)]
    sizes = tuple(len(distinct) for distinct, _ in columns)
    return Factors(tuple(head[1:]), sizes, np.stack([classes for _, classes in columns], 1))


def _arrays(
    path: Path, images: Any, read: Callable[[int, int], np.ndarray], form: Form, factors: Factors | None = None
) -> _Source:
    """images: has the shape and dtype of the whole; read: gives the rows from start to stop, called in order."""
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,), (4,)) or 0 in shape or images.dtype != np.uint8:
        raise UserError(
            f"{path}: its images are {shape} {images.dtype}; "
            "they should be (n, h, w) or (n, h, w, c), uint8, with 1, 3 or 4 channels c"
        )
    try:
        form.check(shape[2], shape[1])
    except TooSmallError as error:
        raise UserError(f"{path}: {error}. {_would_work([error.works])}") from None
    step = max(1, CHUNK // prod(shape[1:]))

    def jobs() -> Iterator[Callable[[], _Batch]]:
        for start in range(0, shape[0], step):
            with _readable(path):
                block = read(start, min(start + step, shape[0]))
            yield partial(_block, block, form)

    return _Source(shape[0], jobs(), factors)


def _block(block: UInt8[np.ndarray, "n h w *c"], form: Form) -> _Batch:
    """Some images of an array; those that have the size already in one go, one below the other."""
    block = block[..., 0] if block.shape[3:] == (1,) else block
    count, height, width, *channels = block.shape
    if (height, width) == (form.height, form.width):
        column = Image.fromarray(block.reshape(count * height, width, *channels))
        return _Batch(form.pixels(form.dress(column), count))
    return _Batch(np.concatenate([form.pixels(form.cut(Image.fromarray(image))) for image in block]))


# ----------------------------------------------------------------------------------------------------- the cache


def _load(folder: Path) -> Files | None:
    """What a cache folder holds; None if it is not there or not whole."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        array = np.load(folder / "images.npy", mmap_mode="r")
        factors = None
        if index["factors"]:
            table = None if index["factors"]["grid"] else np.load(folder / "table.npy")
            factors = Factors(tuple(index["factors"]["names"]), tuple(index["factors"]["sizes"]), table)
        size, channels = (index["height"], index["width"]), index["channels"]
        if array.shape != (index["count"], channels, *size):
            return None
        skipped = tuple((name, reason) for name, reason in index["skipped"])
        return Files(index["name"], size, channels, factors, tuple(index["names"]), skipped, folder, array)
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None


def _reopen(folder: Path) -> Files:
    """What a cache folder holds, which has to be there."""
    files = _load(folder)
    if files is None:
        raise UserError(f"{folder} has been damaged or removed; open the images again to prepare them anew")
    return files


def _prepare(path: Path, names: list[str], form: Form, folder: Path) -> None:
    """Write the cache folder: the whole of it, or on any error and on Ctrl-C nothing."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with _source(path, names, form) as source:
        try:
            with _writing(folder.parent, source.total * form.bytes):
                part.mkdir(parents=True)
                _sweep(folder.parent)
                done = _fill(part, path, source, form)
                _describe(part, path, source.factors, form, done)
                _publish(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    skipped = f", {len(done.skipped)} skipped: {_reasons(done.skipped)}" if done.skipped else ""
    message = f"{path.name}: {done.count} images prepared at {form}{skipped}"
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _writing(cache: Path, needed: int) -> Iterator[None]:
    """An OSError in here comes from the cache: those of reading are UserErrors by then, or skipped files."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the prepared images cannot be written to {cache}: {reason(error)}. They need "
            f"{max(1, round(needed / 1e6))} MB; set WHEREWHAT_CACHE to a folder that has the room and may be written to"
        ) from error


def _sweep(cache: Path) -> None:
    """Remove what killed preparations have left: parts that have not changed for a day."""
    for part in cache.glob("*.part"):
        with suppress(OSError):
            newest = max(os.stat(file).st_mtime for file in (part, *part.iterdir()))
            if time.time() - newest > DAY:
                shutil.rmtree(part)


@dataclass
class _Done:
    """What a preparation has come to."""

    count: int = 0
    names: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    works: list[tuple[int, int]] = field(default_factory=list)

    def add(self, batch: _Batch) -> None:
        self.count += len(batch.images)
        self.names += batch.names
        self.skipped += batch.skipped
        self.works += batch.works


def _fill(part: Path, path: Path, source: _Source, form: Form) -> _Done:
    """Write images.npy. Raises UserError if none is left. By plain writes: on a full disk they raise OSError, where
    a memory map would have the process killed."""
    if shutil.disk_usage(part).free < source.total * form.bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    done = _Done()
    with open(part / "images.npy", "wb") as file, closing(_batches(source, path.name)) as batches:
        _header(file, 0, form)
        for batch in batches:
            file.write(batch.images.tobytes())
            done.add(batch)
        if done.count == 0:
            size = f" {_would_work(done.works)}" if done.works else ""
            raise UserError(f"no image of {path} can be used: {_reasons(done.skipped)}.{size}")
        file.seek(0)
        _header(file, done.count, form)
        _settle(file)
    return done


def _header(file: io.BufferedWriter, count: int, form: Form) -> None:
    """Of a .npy; as long for any count, numpy leaves room for it to grow."""
    shape = count, form.channels, form.height, form.width
    npy.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "|u1"})


def _describe(part: Path, path: Path, factors: Factors | None, form: Form, done: _Done) -> None:
    """Write index.json, and table.npy if the factors have a table."""
    index = {
        "format": VERSION,
        "name": _name(path),
        "path": str(path),
        "count": done.count,
        "height": form.height,
        "width": form.width,
        "channels": form.channels,
        "fit": form.fit,
        "factors": factors and {"names": factors.names, "sizes": factors.sizes, "grid": factors.is_grid},
        "skipped": done.skipped,
        "names": done.names,
    }
    with open(part / "index.json", "wb") as file:
        file.write(json.dumps(index, indent=1).encode())
        _settle(file)
    if factors is not None and factors.table is not None:
        with open(part / "table.npy", "wb") as file:
            np.save(file, factors.table)
            _settle(file)


def _settle(file: io.BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(part: Path, folder: Path) -> None:
    """Give the part its final name, in one step. Another process may have been first: then its folder stays."""
    try:
        part.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if _load(folder) is not None:
            shutil.rmtree(part)
        else:
            shutil.rmtree(folder)
            part.rename(folder)


def _batches(source: _Source, title: str) -> Generator[_Batch, None, None]:
    """The jobs' results in the jobs' order, worked out in parallel, with a progress bar on a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        warnings.catch_warnings(),
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        warnings.filterwarnings("ignore", module="PIL")  # odd metadata, and a warning short of "decompression bomb"
        task = progress.add_task(_shown(title), total=source.total)
        pool = ThreadPoolExecutor(_threads())
        try:
            for batch in _in_order(pool, source.jobs, 2 * _threads()):
                progress.advance(task, len(batch.images) + len(batch.skipped))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def _in_order(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], _Batch]], ahead: int) -> Iterator[_Batch]:
    """Results in order, with at most `ahead` of them waiting in memory."""
    waiting: deque[Future[_Batch]] = deque()
    for job in jobs:
        waiting.append(pool.submit(job))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _threads() -> int:
    """CPUs that this process may use; 16 keep any disk busy."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


# ------------------------------------------------------------------------------------------------------- messages


def _would_work(works: list[tuple[int, int]]) -> str:
    """works: the largest size (height, width) that each image is enough for."""
    (height, width), (least_height, least_width) = max(works), min(works)
    most = f"The largest resolution that would work is {height}x{width}"
    return f"{most}, and {least_height}x{least_width} for all of them" if max(works) != min(works) else most


def _reasons(skipped: list[tuple[str, str]]) -> str:
    return _few([f"{name} ({reason})" for name, reason in skipped])


def _few(names: list[str]) -> str:
    """The first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(_shown(name) for name in names[:3]) or "nothing") + more


def _shown(name: str) -> str:
    """Without what a file name can hold to confuse a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
