"""Images of files, each prepared once (cropped or padded, shrunk, uint8) and kept as one array in a cache folder:

    <cache>/<name>-64x64x3-crop-<hash>/   images.npy   index.json   table.npy (if the factors are no full grid)

The folder is there as a whole or not at all, and is read through a memory map.  n images, c channels, h w space.
"""

import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from numpy.lib import format as npy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wherewhat.atomic import sync
from wherewhat.cache import cache as cache_folder
from wherewhat.data.factors import Factors
from wherewhat.data.pictures import Form, reason
from wherewhat.errors import UserError

VERSION = 1  # of how images are prepared and kept; part of the hash, so another version prepares them again
DAY = 24 * 3600  # seconds after which a preparation that wrote nothing is taken for one that was killed

_PREPARING = threading.Lock()


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """Images of a cache folder, and their factors where the format has them."""

    name: str
    size: tuple[int, int]  # height, width
    channels: int
    factors: Factors | None
    names: tuple[str, ...]  # the file of each image, relative to the folder or inside the .zip; empty for .npz and .h5
    skipped: tuple[tuple[str, str], ...]  # files that are no part of it, each with the reason
    folder: Path  # where the prepared images are
    array: UInt8[np.ndarray, "n c h w"]  # memory-mapped, read-only

    def __len__(self) -> int:
        return len(self.array)

    def images(self, index: Integer[np.ndarray, " n"]) -> UInt8[np.ndarray, "n c h w"]:
        """A copy of these images, 0 … 255.  Raises IndexError outside of 0 … len-1 (or -len)."""
        return np.asarray(self.array)[index]

    def __reduce__(self) -> tuple[Callable, tuple[Path]]:
        """Another process gets the cache folder, not a copy of the array."""
        return _reopen, (self.folder,)


class Batch(NamedTuple):  # some prepared images, and what became of the files they came from
    images: UInt8[np.ndarray, "n c h w"]
    names: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    works: tuple[tuple[int, int], ...] = ()  # largest size (height, width) that each too small file is enough for


class Source(NamedTuple):  # a data set that is open for reading
    total: int  # images, skipped ones included
    jobs: Iterator[Callable[[], Batch]]  # to be called in any thread; what they return belongs in this order
    factors: Factors | None = None


def prepared(
    path: Path, listing: list[tuple[str, int, int]], form: Form, cache: Path | None,
    opened: Callable[[], AbstractContextManager[Source]],
) -> PreparedImages:  # fmt: skip
    """The images at an absolute path; prepared now, from what `opened` gives, unless the cache has them.  listing: what
    they depend on: name, bytes and time of change of every file.  Raises UserError as open_files."""
    cache = cache_folder("data") if cache is None else cache
    folder = Path(os.path.abspath(os.path.expanduser(cache))) / _key(path, listing, form)
    files = _load(folder)
    if files is None:
        with _PREPARING:  # a thread that waited here finds what the other one has prepared
            if _load(folder) is None:
                _prepare(path, form, folder, opened)
        files = _reopen(folder)
    return files


def _key(path: Path, listing: list[tuple[str, int, int]], form: Form) -> str:
    """A readable name and a hash of everything the prepared images depend on."""
    parts = json.dumps([VERSION, str(path), str(form), form.channels, form.fit, listing])
    digest = hashlib.sha256(parts.encode()).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", _name(path)).strip("-.")[:40]
    return f"{name or 'images'}-{form}x{form.channels}-{form.fit}-{digest}"


def _name(path: Path) -> str:
    return (path.name if path.is_dir() else path.stem) or "images"


def _load(folder: Path) -> PreparedImages | None:
    """What a cache folder holds; None if it is not there or not whole."""
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        array = np.load(folder / "images.npy", mmap_mode="r")
        factors = None
        if stored := index["factors"]:
            table = None if stored["grid"] else np.load(folder / "table.npy")
            factors = Factors(tuple(stored["names"]), tuple(stored["sizes"]), table)
        size, channels = (index["height"], index["width"]), index["channels"]
        if array.shape != (index["count"], channels, *size):
            return None
        skipped = tuple((name, why) for name, why in index["skipped"])
        return PreparedImages(index["name"], size, channels, factors, tuple(index["names"]), skipped, folder, array)
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None


def _reopen(folder: Path) -> PreparedImages:
    """What a cache folder holds, which has to be there."""
    if (files := _load(folder)) is None:
        raise UserError(f"{folder} has been damaged or removed; open the images again to prepare them anew")
    return files


def _prepare(path: Path, form: Form, folder: Path, opened: Callable[[], AbstractContextManager[Source]]) -> None:
    """Write the cache folder: the whole of it, or on any error and on Ctrl-C nothing."""
    part = folder.with_name(f"{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    with opened() as source:
        try:
            with _writing(folder.parent, source.total * form.bytes):
                part.mkdir(parents=True)
                _sweep(folder.parent)
                index = {
                    "format": VERSION, "name": _name(path), "path": str(path), "height": form.height,
                    "width": form.width, "channels": form.channels, "fit": form.fit, **_fill(part, path, source, form),
                }  # fmt: skip
                _describe(part, index, source.factors)
                _publish(part, folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    skipped = f", {len(index['skipped'])} skipped: {_reasons(index['skipped'])}" if index["skipped"] else ""
    message = f"{path.name}: {index['count']} images prepared at {form}{skipped}"
    Console(stderr=True).print(message, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _writing(cache: Path, needed: int) -> Iterator[None]:
    """An OSError in here comes from writing: those of the source are UserErrors by then, or skipped files."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the prepared images cannot be written to {cache}: {reason(error)}. They need "
            f"{max(1, round(needed / 1e6))} MB; set WHEREWHAT_CACHE to a folder that has the room and may be written to"
        ) from error


def _sweep(cache: Path) -> None:
    """Remove what killed preparations have left: unfinished folders that have not changed for a day."""
    for part in cache.glob("*.part"):
        with suppress(OSError):
            newest = max(os.stat(file).st_mtime for file in (part, *part.iterdir()))
            if time.time() - newest > DAY:
                shutil.rmtree(part)


def _fill(part: Path, path: Path, source: Source, form: Form) -> dict:
    """Write images.npy; its count, names and skipped files.  Raises UserError if no image is left, and OSError on a
    full disk, where a memory map would have the process killed."""
    if shutil.disk_usage(part).free < source.total * form.bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    count, works, names, skipped = 0, list[tuple[int, int]](), list[str](), list[tuple[str, str]]()
    with open(part / "images.npy", "wb") as file, closing(_batches(source, path.name)) as batches:
        _header(file, 0, form)
        for batch in batches:
            file.write(batch.images.tobytes())
            count += len(batch.images)
            names += batch.names
            skipped += batch.skipped
            works += batch.works
        if count == 0:
            size = f" {would_work(works)}" if works else ""
            raise UserError(f"no image of {path} can be used: {_reasons(skipped)}.{size}")
        file.seek(0)
        _header(file, count, form)
    return {"count": count, "skipped": skipped, "names": names}


def _header(file: io.BufferedWriter, count: int, form: Form) -> None:
    """Write the header of a .npy.  It is as long for any count: numpy leaves room for it to grow."""
    shape = count, form.channels, form.height, form.width
    npy.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "|u1"})


def _describe(part: Path, index: dict, factors: Factors | None) -> None:
    """Write index.json, and table.npy if the factors have a table; all files of the folder are then on the disk."""
    stored = factors and {"names": factors.names, "sizes": factors.sizes, "grid": factors.is_grid}
    (part / "index.json").write_text(json.dumps(index | {"factors": stored}, indent=1), "utf-8")
    if factors is not None and factors.table is not None:
        np.save(part / "table.npy", factors.table)
    for file in part.iterdir():
        sync(file)


def _publish(part: Path, folder: Path) -> None:
    """Give the part its final name, in one step.  Another process may have been first: then its folder stays."""
    try:
        part.rename(folder)
    except OSError:
        if _load(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        else:
            shutil.rmtree(part)


def _batches(source: Source, title: str) -> Generator[Batch, None, None]:
    """The results of the jobs, in their order, computed in parallel, with a progress bar on a terminal."""
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


def _in_order(pool: ThreadPoolExecutor, jobs: Iterator[Callable[[], Batch]], ahead: int) -> Iterator[Batch]:
    """Results in order, with at most `ahead` of them waiting in memory."""
    waiting: deque[Future[Batch]] = deque()
    for job in jobs:
        waiting.append(pool.submit(job))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _threads() -> int:
    """CPUs that this process may use, but at most 16, which keep any disk busy."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever the readers of archives raise for a broken one becomes a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of nearly every kind: readers of archives and headers have no common one
        raise UserError(f"{path} cannot be read, it may be broken: {reason(error)}") from error


def would_work(works: list[tuple[int, int]]) -> str:
    """A sentence on sizes; works: the largest (height, width) that each image is enough for."""
    (height, width), (least_height, least_width) = max(works), min(works)
    most = f"The largest resolution that would work is {height}x{width}"
    return f"{most}, and {least_height}x{least_width} for all of them" if max(works) != min(works) else most


def _reasons(skipped: list[tuple[str, str]]) -> str:
    return few([f"{name} ({why})" for name, why in skipped])


def few(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(_shown(name) for name in names[:3]) or "nothing") + more


def _shown(name: str) -> str:
    """A file name without the characters that could confuse a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
