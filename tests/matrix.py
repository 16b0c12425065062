"""Installs the package for every Python 3.10 … 3.13 found on this machine, with the oldest and the newest dependencies,
and runs the quick tests: `make test-matrix`.  Words in PIP_FLAGS go to pip; a package that they name, as in
torch==2.13.0, has that version also among the oldest.  WHEREWHAT_PYTHONS=3.11 tries that one alone."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSIONS = os.environ.get("WHEREWHAT_PYTHONS", "3.10 3.11 3.12 3.13").split()
QUICK = ["tests/test_layers.py", "tests/test_formats.py", "tests/test_pretrained.py", "tests/test_names.py",
         "tests/test_worlds.py", "tests/test_priors.py"]  # fmt: skip


def oldest(given: list[str]) -> list[str]:
    """The first version that pyproject.toml allows of each package that is always installed and not given."""
    listed = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text("utf-8"), re.S | re.M)
    assert listed
    lowest = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', listed[1]))
    return [
        f"{name}=={version}.*" for name, version in lowest.items() if not any(g.startswith(f"{name}==") for g in given)
    ]


def found(version: str) -> str | None:
    """The path of a Python of this version: on PATH, or kept by pyenv."""
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return shutil.which(f"python{version}") or (str(kept[-1]) if kept else None)


def tried(python: str, old: bool, pip: list[str]) -> str:
    """passed, or what failed first.  The path has a space and a letter that is not in ASCII."""
    with tempfile.TemporaryDirectory(prefix="wherewhat ünicode ") as name:
        own = Path(name) / "venv" / "bin" / "python"
        pins = oldest(pip) if old else []
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
