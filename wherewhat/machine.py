"""What this machine computes with."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

from wherewhat.errors import UserError


def pick_device(device: str) -> str:
    """cpu, cuda or mps; auto takes the best there is.  Raises UserError for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return next(name for name, present in there.items() if present)
    if device not in there:
        raise UserError(f"there is no device {device}: --device takes auto, {', '.join(there)}")
    if not there[device]:
        usable = " or ".join(name for name, present in there.items() if present)
        raise UserError(f"--device {device}: PyTorch finds none on this machine; usable here: {usable}")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """fp32 or bf16; auto is bf16 where the processor of this device (cpu, cuda, mps) multiplies it natively."""
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device == "cpu" and native() else "fp32"


def memory_bytes(device: torch.device | None = None) -> int:
    """Memory of a GPU, or of this machine: what the system has, or its container may use if that is less."""
    if device is not None and device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    found = [2**63]
    with suppress(ValueError, OSError, AttributeError):  # not on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max" is no limit
            found.append(int(Path(limit).read_text()))
    return min(found)


def keep_memory() -> None:
    """Keep freed blocks of up to 1 GB for what is allocated next.  glibc would give each large array back to the system
    and fault every page in anew: a seventh of a training step, a third of DCI."""
    trim_threshold, mmap_threshold = -1, -3
    _mallopt({trim_threshold: 2**30, mmap_threshold: 2**30})


def share_freed_memory() -> None:
    """What one thread frees others can use: in glibc each of many threads has memory of its own, and a page that 160
    visitors had opened took 150 MB more than with two such arenas."""
    arena_max = -8
    _mallopt({arena_max: 2})


def give_back_memory() -> None:
    """Give memory that was freed back to the system where the C library is glibc, which else keeps most of it."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt(parameters: dict[int, int]) -> None:
    """Set parameters of malloc where the C library is glibc."""
    with suppress(AttributeError, OSError):
        for parameter, value in parameters.items():
            ctypes.CDLL(None).mallopt(parameter, value)
