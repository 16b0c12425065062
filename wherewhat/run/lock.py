"""One training at a time in a run folder."""

import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from wherewhat.atomic import explained
from wherewhat.errors import UserError


class InUseError(UserError):
    """Another process trains in this folder."""


def this_process() -> dict[str, int | str]:
    """Process number and machine: what about.json keeps of the one that trains."""
    return {"pid": os.getpid(), "host": platform.node()}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other process is in here with the same folder, which is made.  Raises InUseError that names the one that is.

    The lock belongs to the operating system and ends with the process that holds it, however that ends: the file .lock
    that a killed training leaves behind keeps nobody out."""
    lock = FileLock(folder / ".lock", timeout=0)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise InUseError(_held(folder)) from None
    try:
        yield
    finally:
        lock.release()


def _held(folder: Path) -> str:
    who = "another process"
    with suppress(OSError, ValueError, LookupError, TypeError):
        holder = json.loads((folder / "about.json").read_text("utf-8"))["process"]
        who = f"process {int(holder['pid'])} on {holder['host']!s:.80}"
    return f"{folder} is being trained by {who}: wait for it, stop it, or choose another folder with --out"
