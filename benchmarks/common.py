"""What the benchmarks share: the head of a result, the clock, memory of a fresh process, the file a result goes to."""

import argparse
import ctypes
import datetime
import gc
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from wherewhat.machine import resolve_precision
from wherewhat.recipes import find
from wherewhat.run.provenance import processor

RESULTS = Path(__file__).parent / "results"
MB = 1e6
LINUX = sys.platform == "linux"

Result = TypeVar("Result")


class Timing(NamedTuple):
    """Seconds of one call: the median, and half the distance between the quartiles."""

    median: float
    spread: float

    def __str__(self) -> str:
        """In milliseconds."""
        return f"{1e3 * self.median:.3g} ± {1e3 * self.spread:.2g}"


def options(docstring: str) -> argparse.Namespace:
    """The command line of every benchmark: --quick and --device."""
    parser = argparse.ArgumentParser(description=docstring.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run: small counts, nothing written")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no GPU on this machine")
    return args


def command() -> str:
    """The command that was given, without the path of this machine."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def header(given: str, device: str = "cpu", packages: tuple[str, ...] = ()) -> str:
    """Machine, versions, commit, date and command, a line each.  packages: named beside torch."""
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    machine = f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s){load}"
    native = resolve_precision(find("demo").precision, device) == "bf16"
    versions = [f"{name} {version(name)}" for name in ("wherewhat", "torch", *packages)]
    lines = [
        f"machine: {machine}; {platform.system()} {platform.machine()}",
        *([f"GPU: {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"] if device == "cuda" else []),
        f"bf16 is {'' if native else 'not '}native to it",
        f"versions: python {platform.python_version()}, {', '.join(versions)}",
        f"commit: {commit()}",
        f"date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        f"command: {given}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def commit() -> str:
    """The commit of this checkout, and whether the package or the benchmarks differ from it."""
    root = Path(__file__).parents[1]
    head = _git("rev-parse", "--short", "HEAD").strip()
    changed = _git("status", "--porcelain", "--", str(root / "wherewhat"), str(root / "benchmarks" / "*.py")).strip()
    return (head or "unknown") + (" with changes" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    return done.stdout


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""


def timed(
    run: Callable[[], object], device: str = "cpu", seconds: float = 2.0, least: int = 5, warm: int = 1
) -> Timing:
    """Call `warm` times unmeasured, then at least `least` times and for at least so many seconds."""
    for _ in range(warm):
        run()
    taken: list[float] = []
    while len(taken) < least or sum(taken) < seconds:
        _finish(device)
        start = time.perf_counter()
        run()
        _finish(device)
        taken.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(taken, n=4, method="inclusive") if len(taken) > 1 else taken * 3
    return Timing(middle, (high - low) / 2)


def _finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def fresh(run: Callable[..., Result], *args: object) -> Result:
    """run(*args) in a process of its own.  run is a function of a module's top level."""
    with ProcessPoolExecutor(1, get_context("spawn")) as one:
        return one.submit(run, *args).result()


def peak_memory(run: Callable[[], object], device: str = "cpu", since: int | None = None) -> int:
    """Bytes held when most was held while run was working, beyond `since` (what was held before).  Best in `fresh`.

    On the CPU this is the resident memory of this process, tensors and the scratch space of libraries alike; malloc is
    made to give every block above 128 KiB back at once, from here on, so that what was freed does not count.  On CUDA
    it is what PyTorch's allocator gave out.
    """
    _forget(device)
    before = held(device) if since is None else since
    run()
    _finish(device)
    return max(0, _highest(device) - before)


def held(device: str = "cpu") -> int:
    """Bytes held now."""
    if device == "cuda":
        return torch.cuda.memory_allocated()
    return _status("VmRSS") if LINUX else _highest(device)


def _forget(device: str) -> None:
    """Give back what is free; the highest is counted from here on."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    elif LINUX:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.mallopt(-3, 128 * 1024)  # M_MMAP_THRESHOLD
            libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def _highest(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if LINUX:
        return _status("VmHWM")  # getrusage would count the parent of this process with it
    import resource  # absent on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", _text("/proc/self/status"))
    assert found, f"this system tells no {name}"
    return int(found[1]) * 1024


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    columns = zip(*rows, strict=True)
    aligned = ["--:" if all(cell[:1].isdigit() for cell in column) else "---" for column in columns]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, aligned, *rows])


def write(name: str, text: str, args: argparse.Namespace) -> None:
    """Print a result and, unless it was a smoke run, keep it as results/<name>.md (<name>-cuda.md)."""
    print(text)
    if not args.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}{'-cuda' if args.device == 'cuda' else ''}.md").write_text(text)
