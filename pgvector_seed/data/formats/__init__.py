"""The formats of vector files, a module for each. Every one has the same three functions.

``columns(source)`` returns the names of the columns beside the vector; ``units(source)`` the parts of a file that can
be read by themselves; ``read(source, unit, vector)`` yields the blocks of a part. ``vector`` is the name of the column
that holds the vectors, in a format that names its columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Block
from pgvector_seed.data.sources import matching

STDIN = "-"
UNIT_BYTES = 64 << 20
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
TEXT = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "delimited"}
FORMATS = {
    **TEXT,
    ".npy": "npy",
    ".parquet": "parquet",
    ".fvecs": "texmex",
    ".bvecs": "texmex",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
}


@dataclass(frozen=True)
class Unit:
    """The rows ``start`` to ``stop`` of a file, from 0. ``stop`` is None if only reading tells where the file ends.

    ``offset`` is the number of rows in the files before this one.
    """

    file: str
    start: int = 0
    stop: int | None = None
    offset: int = 0

    def ranges(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield the start and the stop of each block of that many rows. The unit must have a stop."""
        assert self.stop is not None
        for start in range(self.start, self.stop, rows):
            yield start, min(start + rows, self.stop)


def units_of(file: str, rows: int, row_bytes: int) -> list[Unit]:
    """Return the parts, of about UNIT_BYTES, of a file that can be read from any row."""
    return [Unit(file, *bounds) for bounds in Unit(file, 0, rows).ranges(max(1, UNIT_BYTES // row_bytes))]


class Format(Protocol):
    """The functions of a format's module."""

    def columns(self, file: str) -> list[str] | None:
        """Return the names of the file's columns, or None if it has vectors alone."""

    def units(self, file: str) -> list[Unit]:
        """Return the parts of a file that can be read by themselves, in their order."""

    def read(self, unit: Unit, vector: str) -> Iterator[Block]:
        """Yield the blocks of a part."""


def expand(names: Sequence[str]) -> list[str]:
    """Return the files, with those that a pattern such as ``part-*.parquet`` matches in the order of their names.

    Raises InputError if a pattern matches none, or standard input is not the only file.
    """
    files: list[str] = []
    for name in names:
        matches = matching(name)
        if not matches:
            raise InputError(f"no file matches {name}")
        files += matches
    if STDIN in files and len(files) > 1:
        raise InputError("standard input must be the only file")
    return files


def format_of(file: str) -> Format:
    """Return the module for a file, by its name. Raises InputError for another name.

    Standard input is JSON Lines if it begins with a brace, and else CSV.
    """
    path = Path(file)
    name: str | None
    if file == STDIN:
        first_line = import_module(f"{__name__}.lines").first_line(STDIN)
        name = "jsonl" if first_line.lstrip().startswith(b"{") else "delimited"
    elif path.suffix.lower() in COMPRESSED:
        name = TEXT.get(Path(path.stem).suffix.lower())
    else:
        name = FORMATS.get(path.suffix.lower())
    if name is None:
        remedy = f"The formats: {', '.join(FORMATS)}; of these {', '.join(TEXT)} also with {' or '.join(COMPRESSED)}"
        raise InputError(f"{file} has a name of no known format", remedy)
    return cast(Format, import_module(f"{__name__}.{name}"))
