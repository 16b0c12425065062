"""Builds the wheel and the sdist from what is committed, and checks what is in them: `make test-build`."""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
KINDS = {".py", ".html", ".css", ".json", ".jsonl", ".safetensors", ".md"}
"""suffixes of files that belong into the package"""


def command(*words: str, cwd: Path = ROOT) -> str:
    return subprocess.run(words, cwd=cwd, check=True, capture_output=True, text=True).stdout


def committed(folder: Path) -> set[str]:
    """The files of the package as they are committed, in a copy of their own."""
    archive = folder / "source.tar"
    command("git", "archive", "--output", str(archive), "HEAD")
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "source", filter="data")
    return {name for name in command("git", "ls-files", "wherewhat").split("\n") if name}


def check_wheel(wheel: Path, wanted: set[str]) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == wanted, f"in one of wheel and repository only: {sorted(names ^ wanted)}"
    odd = [name for name in names if Path(name).suffix not in KINDS]
    assert not odd, f"files of other kinds: {odd}"
    assert any(name.startswith("wherewhat/pretrained/") and name.endswith(".safetensors") for name in names)


def check_sdist(sdist: Path, wanted: set[str]) -> None:
    with tarfile.open(sdist) as opened:
        names = {m.name.partition("/")[2] for m in opened.getmembers() if m.isfile()}
    missing = wanted - names
    assert not missing, f"the sdist lacks {sorted(missing)}"
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = committed(folder)
        command(sys.executable, "-m", "build", "--outdir", str(folder / "dist"), cwd=folder / "source")
        (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
        check_wheel(wheel, wanted)
        check_sdist(sdist, wanted)
        print(command(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)).strip())
        print(f"{wheel.name} {wheel.stat().st_size / 1e6:.1f} MB, {sdist.name} {sdist.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
