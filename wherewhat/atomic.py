"""Files are written whole or not at all: to a temporary name, synced to the disk, renamed."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wherewhat.errors import ReadOnlyError, UserError

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_text(file: Path, text: str) -> None:
    """Replace a file by this text."""
    write_with(file, lambda partial: partial.write_text(text, "utf-8"))


def write_with(file: Path, write: Callable[[Path], object]) -> None:
    """Replace a file by what `write` puts into the temporary path that it is given, which has the same suffix."""
    partial = temporary(file)
    try:
        write(partial)
        sync(partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """A name beside `path`, of this process alone, for what is not complete yet."""
    return path.with_name(f".{os.getpid()}.{path.name}")


def sync(file: Path) -> None:
    """Wait until a file is on the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def read_text(file: Path) -> str:
    """Raises UserError if the file cannot be read."""
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"cannot read {file}: it is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line."""
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


@contextmanager
def explained(where: Path, cleanup: Path | None = None) -> Iterator[None]:
    """Failures to write become one UserError, ReadOnlyError if nothing may be written there; the folder `cleanup` is
    removed however it ends."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "write" not in str(error) and "file" not in str(error):
            raise
        reason = getattr(error, "strerror", None) or first_line(error)
        kind = ReadOnlyError if getattr(error, "errno", None) in READ_ONLY else UserError
        raise kind(f"cannot write to {where}: {reason}. What was saved before is intact.") from None
    finally:
        if cleanup is not None and cleanup.exists():
            shutil.rmtree(cleanup, ignore_errors=True)
