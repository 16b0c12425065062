"""Images on disk: a folder or a .zip of any images, or a published file; prepared once, then read from the cache.

Sizes are height x width everywhere, in messages as in code.
"""

import csv
import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from wherewhat.data.factors import Factors, classify
from wherewhat.data.files import h5, npz
from wherewhat.data.pictures import Fit, Form, TooSmallError, decode, reason
from wherewhat.data.prepared import Batch, PreparedImages, Source, few, prepared, readable
from wherewhat.errors import UserError, did_you_mean

EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm"),
    *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""of the files taken for images, in any case"""
ARCHIVES = (".zip", ".npz", ".h5", ".hdf5")
MEMBER_LIMIT = 2**29  # bytes that a file inside a .zip may have: it is unpacked in memory


def open_files(
    path: Path, size: tuple[int, int], channels: int = 3, fit: Fit = "crop", cache: Path | None = None
) -> PreparedImages:
    """The images at `path`, each `size` (height, width) and 1, 3 or 4 channels; prepared now unless the cache has them.

    fit: crop the centre to the aspect ratio of `size`, or pad to it (black; transparent with 4 channels).
    cache: a folder; by default "data" in $WHEREWHAT_CACHE or else in the user's cache folder.
    Raises UserError if there is nothing to read, nothing left of it, or no place to keep it.
    """
    form = Form(*size, channels, fit)
    path = _existing(path)
    listing = _listing(path)
    files = prepared(path, listing, form, cache, lambda: _source(path, [name for name, *_ in listing], form))
    table = path / "factors.csv"
    return replace(files, factors=_factors(table, files.names)) if table.is_file() else files


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
    """Bytes and time of change in ns; -1 for a file that cannot be looked at, which will be skipped with the reason."""
    try:
        status = os.stat(file)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _walk(path: Path) -> Iterator[str]:
    """Relative names, with /, of the images in a folder and below it; links are followed, each folder once."""
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
    """Whether a file inside a folder or a .zip is taken for an image, by its name alone."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return not hidden and name.lower().endswith(EXTENSIONS)


def _source(path: Path, names: list[str], form: Form) -> AbstractContextManager[Source]:
    if path.is_dir():
        return _folder(path, names, form)
    return {".zip": _zip, ".npz": npz, ".h5": h5, ".hdf5": h5}[path.suffix.lower()](path, form)


@contextmanager
def _folder(path: Path, names: list[str], form: Form) -> Iterator[Source]:
    def opened(name: str) -> io.BytesIO | io.BufferedReader:
        if not (path / name).is_file():
            raise ValueError("not a file")  # opening a pipe would wait for ever
        return open(path / name, "rb")

    yield Source(len(names), (partial(_picture, opened, name, form) for name in names))


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
            f"{table} has no whole row for {few(missing)}: its columns should be the file, then the factors"
        )
    return classify(tuple(head[1:]), zip(*(known[name] for name in names), strict=True))
