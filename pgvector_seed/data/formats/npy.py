"""NumPy's .npy: an array of rows x dimensions, mapped into memory block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Array, Block, numbered, rows_in_block
from pgvector_seed.data.formats import UNIT_BYTES, Unit

# NumPy evaluates the header as a literal of Python, and so raises what its parser does.
_BAD_HEADER = (ValueError, EOFError, OverflowError, MemoryError, SyntaxError, RecursionError, TypeError, TokenError)


def columns(file: str) -> None:
    """Return None: the file has vectors alone."""
    del file


def units(file: str) -> list[Unit]:
    """Return parts of about 64 MB."""
    shape, _, dtype, _ = _header(file)
    if len(shape) != 2 or dtype.kind not in "fiub" or not shape[1]:
        raise _fault(file, f"an array of {dtype} in the shape {shape}, not of numbers in rows and dimensions")
    step = max(1, UNIT_BYTES // (shape[1] * dtype.itemsize))
    return [Unit(file, start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the vectors. The mapping ends with each block, so that its pages do not add up."""
    del vector
    shape = _header(unit.file)[0]
    step = rows_in_block(shape[1])
    for start in range(unit.start, unit.stop or 0, step):
        stop = min(start + step, unit.stop or 0)
        yield Block(unit.file, numbered(start, stop), _rows(unit.file, start, stop))


def _rows(file: str, start: int, stop: int) -> Array:
    """Return these rows as an array of their own, in C order."""
    shape, fortran_order, dtype, offset = _header(file)
    if not fortran_order:
        return np.array(mapped(file)[start:stop])
    # Each column is far from the next: in a mapping, the system would load much between them.
    columns = np.empty((shape[1], stop - start), dtype)
    with Path(file).open("rb", buffering=0) as stream:
        for number, column in enumerate(columns):
            stream.seek(offset + (number * shape[0] + start) * dtype.itemsize)
            if stream.readinto(column.view(np.uint8)) != column.nbytes:
                raise _fault(file, "less than its header promises: it was cut while it was read")
    return np.ascontiguousarray(columns.T)


def read_ids(file: str) -> Array:
    """Return the keys in a .npy of one dimension: integers or text. Raises InputError for another one."""
    shape, _, dtype, _ = _header(file)
    if len(shape) != 1 or dtype.kind not in "iuUS":
        raise _fault(file, f"an array of {dtype} in the shape {shape}, not of a key for each row")
    return mapped(file)


def mapped(file: str) -> Array:
    """Return the array in a file, which is read when its elements are used."""
    shape, fortran_order, dtype, offset = _header(file)
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape, "F" if fortran_order else "C")


def _header(file: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, Fortran order, dtype and the offset of the data. Raises InputError for a bad or short file."""
    with Path(file).open("rb") as stream:
        try:
            shape, fortran_order, dtype = _read_header(stream)
        except _BAD_HEADER as error:
            raise _fault(file, f"no array of NumPy: {error}") from error
        if dtype.hasobject:
            raise _fault(file, "Python objects, which would be unpickled: reading them could run any program")
        offset, size = stream.tell(), Path(file).stat().st_size
    needed = dtype.itemsize * int(np.prod(shape, dtype=object))
    if any(length < 0 for length in shape) or not dtype.itemsize or size - offset < needed:
        raise _fault(file, f"{size - offset:,} bytes of data, and its header promises {needed:,}: it is truncated")
    return shape, fortran_order, dtype, offset


def _read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f"its version is {version}")


def _fault(file: str, words: str) -> InputError:
    return InputError(f"{file} holds {words}", "Write it with numpy.save, as rows x dimensions of numbers.")
