"""NumPy's .npy: an array of rows x dimensions, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import SEEK_END
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Array, Block, numbered, rows_in_block
from pgvector_seed.data.formats import Unit, units_of
from pgvector_seed.data.objects import is_remote
from pgvector_seed.data.sources import opened

# NumPy evaluates the header as a literal of Python, and so raises what its parser does.
_BAD_HEADER = (ValueError, EOFError, OverflowError, MemoryError, SyntaxError, RecursionError, TypeError, TokenError)


@dataclass(frozen=True)
class _Header:
    """The layout of an array. ``offset`` is that of its data in the file, in bytes."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    offset: int


def columns(file: str) -> None:
    """Return None: the file has vectors alone."""
    del file


def units(file: str) -> list[Unit]:
    """Return parts of about 64 MB."""
    with opened(file) as stream:
        header = _header(file, stream)
    shape, dtype = header.shape, header.dtype
    if len(shape) != 2 or dtype.kind not in "fiub" or not shape[1]:
        raise _fault(file, f"an array of {dtype} in the shape {shape}, not of numbers in rows and dimensions")
    if header.fortran_order and is_remote(file):
        raise InputError(
            f"{file} is in Fortran order: each block would take a request for every one of its {shape[1]:,} dimensions",
            "Copy it to this machine, or write it with numpy.save(FILE, numpy.ascontiguousarray(VECTORS)).",
        )
    return units_of(file, shape[0], shape[1] * dtype.itemsize)


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the vectors."""
    del vector
    with opened(unit.file) as stream:
        header = _header(unit.file, stream)
        for start, stop in unit.ranges(rows_in_block(header.shape[1])):
            yield Block(unit.file, numbered(start, stop), _rows(unit.file, stream, header, start, stop))


def _rows(file: str, stream: IO[bytes], header: _Header, start: int, stop: int) -> Array:
    """Return these rows as an array of their own, in C order.

    Read, not mapped into memory: the pages of a mapping add up, and where a mapped file ends early, the process dies.
    """
    count, dimensions = header.shape
    if not header.fortran_order:
        rows = np.empty((stop - start, dimensions), header.dtype)
        _fill(file, stream, header.offset + start * dimensions * header.dtype.itemsize, rows)
        return rows
    columns = np.empty((dimensions, stop - start), header.dtype)
    for number, column in enumerate(columns):
        _fill(file, stream, header.offset + (number * count + start) * header.dtype.itemsize, column)
    return np.ascontiguousarray(columns.T)


def _fill(file: str, stream: IO[bytes], place: int, array: Array) -> None:
    """Fill an array from a place in the file."""
    stream.seek(place)
    if stream.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
        raise _fault(file, "less than its header promises: it was cut while it was read")


def read_ids(file: str) -> Array:
    """Return the keys in a .npy of one dimension: integers or text. They are read when they are used.

    Raises InputError for another array.
    """
    if is_remote(file):
        raise InputError(f"the keys are looked up all the time, so {file} must be on this machine", "Copy it.")
    with opened(file) as stream:
        header = _header(file, stream)
    if len(header.shape) != 1 or header.dtype.kind not in "iuUS":
        raise _fault(file, f"an array of {header.dtype} in the shape {header.shape}, not of a key for each row")
    if 0 in header.shape:
        return np.empty(header.shape, header.dtype)
    return np.memmap(file, header.dtype, "r", header.offset, header.shape)


def _header(file: str, stream: IO[bytes]) -> _Header:
    """Return the layout. Raises InputError for a bad or short file."""
    try:
        shape, fortran_order, dtype = _read_header(stream)
    except _BAD_HEADER as error:
        raise _fault(file, f"no array of NumPy: {error}") from error
    if dtype.hasobject:
        raise _fault(file, "Python objects, which would be unpickled: reading them could run any program")
    offset = stream.tell()
    size = stream.seek(0, SEEK_END) - offset
    needed = dtype.itemsize * int(np.prod(shape, dtype=object))
    if any(length < 0 for length in shape) or not dtype.itemsize or size < needed:
        raise _fault(file, f"{size:,} bytes of data, and its header promises {needed:,}: it is truncated")
    return _Header(shape, fortran_order, dtype, offset)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    if version == (2, 0):
        return npy.read_array_header_2_0(stream)
    raise ValueError(f"its version is {version}")


def _fault(file: str, words: str) -> InputError:
    return InputError(f"{file} holds {words}", "Write it with numpy.save, as rows x dimensions of numbers.")
