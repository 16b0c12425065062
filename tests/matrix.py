"""Installs the package for every Python 3.10 … 3.13 found on this machine, with the oldest and the newest dependencies,
and runs the quick tests: `make test-matrix`.  Words after it go to pip."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
QUICK = ["tests/test_layers.py", "tests/test_formats.py", "tests/test_pretrained.py", "tests/test_names.py",
         "tests/test_worlds.py", "tests/test_priors.py"]  # fmt: skip
OLDEST = {"torch": "2.6.*", "lightning-fabric": "2.4.*", "pydantic": "2.7.*", "numpy": "1.26.*"}
"""what is asked for where dependencies are old; torch 2.6 is the first of which pyproject.toml allows"""


def found(version: str) -> str | None:
    """The path of a Python of this version: on PATH, or kept by pyenv."""
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return shutil.which(f"python{version}") or (str(kept[-1]) if kept else None)


def tried(python: str, old: bool, pip: list[str]) -> str:
    """passed, or what failed first.  The path has a space and a letter that is not in ASCII."""
    with tempfile.TemporaryDirectory(prefix="wherewhat ünicode ") as name:
        own = Path(name) / "venv" / "bin" / "python"
        pins = [f"{package}=={version}" for package, version in OLDEST.items()] if old else []
        tools = ["pytest", "hypothesis", "beartype"]
        steps = [
            [python, "-m", "venv", str(own.parents[1])],
            [str(own), "-m", "pip", "install", "--quiet", *pip, str(ROOT), *tools, *pins],
            [str(own), "-m", "pytest", "-q", *QUICK],
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WHEREWHAT_CACHE": str(Path(name) / "cache")}
        for step in steps:
            ended = subprocess.run(step, cwd=ROOT, env=environment, capture_output=True, text=True)
            if ended.returncode:
                return f"{' '.join(step[1:4])}: {(ended.stderr or ended.stdout).strip()[-1500:]}"
    return "passed"


def main() -> None:
    worst = 0
    for version in VERSIONS:
        python = found(version)
        for old in (True, False):
            result = tried(python, old, sys.argv[1:]) if python else "not on this machine"
            print(f"Python {version}, {'oldest' if old else 'newest'} dependencies: {result}", flush=True)
            worst |= result not in ("passed", "not on this machine")
    sys.exit(worst)


if __name__ == "__main__":
    main()
