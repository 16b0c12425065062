"""Where a run comes from: versions, commit, command, machine."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any


def provenance() -> dict[str, Any]:
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()}
    return {"command": sys.argv, "commit": commit(), "versions": versions(), "machine": machine}


def processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {n: version(n) for n in ("wherewhat", "torch", "numpy")}


def commit() -> str | None:
    """The commit of the source code; None if the package is installed, perhaps inside someone else's repository."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        command = ["git", "-C", str(here), "describe", "--always", "--dirty"]
        found = subprocess.run(command, capture_output=True, timeout=5)
        return found.stdout.decode().strip() or None
    return None
