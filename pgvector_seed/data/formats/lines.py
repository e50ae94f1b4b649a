"""Lines of text files, and the blocks of rows that are read from them one by one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import BLOCK_BYTES, WHOLE_BYTES, Array, Block, RowFault
from pgvector_seed.data.formats import COMPRESSED, STDIN
from pgvector_seed.data.objects import unreadable
from pgvector_seed.data.sources import streamed

LONGEST_LINE = 16 << 20  # bytes
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def first_line(file: str) -> bytes:
    """Return the first line of a file, which is also the first that ``read_lines`` yields, or b""."""
    return next(iter(read_lines(file, peek=True)), b"")


def read_lines(file: str, *, peek: bool = False) -> Iterator[bytes]:
    """Yield the lines of a file with their ends, without a byte-order mark. gzip and zstd are decompressed.

    Lines of standard input that are read with ``peek`` are yielded again by a later call.

    Raises InputError for a line of more than LONGEST_LINE bytes, or a file that cannot be read to its end.
    """
    number = len(_peeked) if file == STDIN else 0
    yield from _peeked[:number]
    with _opened(file, peek=peek) as stream:
        while line := _read_line(file, stream):
            number += 1
            if len(line) > LONGEST_LINE:
                raise InputError(f"{file}, line {number}: it has more than {LONGEST_LINE >> 20} MB")
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if file == STDIN and peek:
                _peeked.append(line)
            yield line


_peeked: list[bytes] = []  # the lines of standard input that were read to learn its columns


def _opened(file: str, *, peek: bool) -> AbstractContextManager[IO[bytes]]:
    if file == STDIN:
        return nullcontext(sys.stdin.buffer)
    compression = COMPRESSED.get(Path(file).suffix.lower())
    return streamed(file, compression, peek=peek)


def _read_line(file: str, stream: IO[bytes]) -> bytes:
    try:
        return stream.readline(LONGEST_LINE + 1)
    except (OSError, EOFError, ValueError) as error:
        raise unreadable(file, error) from error


class RowsReader:
    """Collects rows until they make a block. ``row`` counts from 1."""

    def __init__(self, file: str, vector: str, *, json_values: bool) -> None:
        self.file = file
        self.vector = vector
        self.json_values = json_values
        self.size = 0
        self._clear()

    def _clear(self) -> None:
        self.bytes = 0
        self.numbers: list[int] = []
        self.vectors: list[Any] = []
        self.rows: list[dict[str, Any]] = []
        self.faults: list[RowFault] = []

    def add(self, row: int, vector: Any, values: dict[str, Any], size: int) -> None:
        """Add a row: its vector as numbers or as text, its other values, and its size in the file in bytes."""
        self.bytes += size
        row_values = {**values, self.vector: vector}
        if isinstance(vector, list):
            try:
                with np.errstate(over="ignore"):
                    vector = np.array(msgspec.convert(vector, list[float]), np.float32)
            except ValueError:
                self.fault(row, "the vector is not a list of numbers", row_values)
                return
        if not isinstance(vector, (np.ndarray, str)):
            reason = "there is no vector" if vector is None else "the vector is not a list of numbers"
            self.fault(row, reason, row_values)
            return
        fault = self._fault_of_shape(vector)
        if fault:
            self.fault(row, fault, row_values)
            return
        self.numbers.append(row)
        self.vectors.append(vector)
        self.rows.append(values)

    def _fault_of_shape(self, vector: Array | str) -> str | None:
        first = self.vectors[0] if self.vectors else vector
        if isinstance(vector, str) or isinstance(first, str):
            return None if isinstance(vector, type(first)) else "its vector is text, and those before are lists"
        if vector.ndim != 1 or not len(vector):
            return "the vector is not a list of numbers"
        if not self.size:
            self.size = len(vector)
        return None if len(vector) == self.size else f"{len(vector)} dimensions, and {self.size} in the first row"

    def fault(self, row: int, reason: str, values: dict[str, Any]) -> None:
        """Add a bad row."""
        self.faults.append(RowFault(self.file, row, reason, values))

    @property
    def is_full(self) -> bool:
        """True if the rows so far make a block."""
        vectors = len(self.vectors) * max(1, self.size) * 4
        return vectors >= BLOCK_BYTES or self.bytes >= WHOLE_BYTES or len(self.faults) >= 1000

    def block(self) -> Block:
        """Return the rows so far as a block, and begin the next one."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        columns = {name: [row.get(name) for row in self.rows] for name in names}
        is_text = bool(self.vectors) and isinstance(self.vectors[0], str)
        vectors = self.vectors if is_text else np.array(self.vectors, np.float32).reshape(len(self.vectors), self.size)
        numbers = np.array(self.numbers, np.int64)
        block = Block(self.file, numbers, vectors, columns, self.json_values, self.faults)
        self._clear()
        return block
