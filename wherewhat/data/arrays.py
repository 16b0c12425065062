"""Arrays of a .npz: no more memory is taken than its bytes hold, and nothing in it can run code."""

import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from wherewhat.data.pictures import reason
from wherewhat.data.prepared import few
from wherewhat.errors import UserError
from wherewhat.machine import memory_bytes


def read_header(stream: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type of a .npy.  Raises anything, ValueError for pickles."""
    version = npy.read_magic(stream)
    shape, by_columns, dtype = (
        npy.read_array_header_1_0(stream) if version == (1, 0) else npy.read_array_header_2_0(stream)
    )
    if dtype.hasobject:
        raise ValueError(f"{name} is pickled; save numbers, as in array.astype(float)")
    if any(side < 0 for side in shape):
        raise ValueError(f"{name} has the shape {shape}")
    return shape, by_columns, dtype


def read_arrays(path: Path, needed: str, *others: str) -> dict[str, np.ndarray]:
    """Arrays of a .npz by name: one that must be there, and others if they are.  Raises UserError for another file, and
    for an array that takes more than half of this machine's memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            found = {name: _array(archive, f"{name}.npy") for name in (needed, *others) if name in there}
    except Exception as error:  # of nearly every kind: readers of archives and headers have no common one
        raise UserError(f"cannot read {path} as arrays: {reason(error)}") from error
    if needed not in found:
        raise UserError(f"{path} has no array named {needed}; it has {few(there) if there else 'none'}")
    return found


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as stream:
        shape, by_columns, dtype = read_header(stream, name)
        size = prod(shape) * dtype.itemsize
        if size > memory_bytes() / 2:
            raise ValueError(f"{name} of shape {shape} needs {size / 1e9:,.0f} GB of memory")
        content = stream.read(size)
    if len(content) != size:
        raise ValueError(f"{name} ends before its {size:,} bytes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")
