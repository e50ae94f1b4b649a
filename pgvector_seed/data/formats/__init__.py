"""The formats of vector files, a module for each. Every one has the same three functions.

``columns(source)`` returns the names of the columns beside the vector; ``units(source)`` the parts of a file that can
be read by themselves; ``read(source, unit, vector)`` yields the blocks of a part. ``vector`` is the name of the column
that holds the vectors, in a format that names its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Block

FORMATS = {".npy": "npy", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "delimited"}


@dataclass(frozen=True)
class Unit:
    """The rows ``start`` to ``stop`` of a file, from 0. ``stop`` is None if only reading tells where the file ends.

    ``offset`` is the number of rows in the files before this one.
    """

    file: str
    start: int = 0
    stop: int | None = None
    offset: int = 0


class Format(Protocol):
    """The functions of a format's module."""

    def columns(self, file: str) -> list[str] | None:
        """Return the names of the file's columns, or None if it has vectors alone."""

    def units(self, file: str) -> list[Unit]:
        """Return the parts of a file that can be read by themselves, in their order."""

    def read(self, unit: Unit, vector: str) -> Iterator[Block]:
        """Yield the blocks of a part."""


def format_of(file: str) -> Format:
    """Return the module for a file, by its name. Raises InputError for another name."""
    name = FORMATS.get(Path(file).suffix.lower())
    if name is None:
        raise InputError(f"{file} has a name of no known format", f"The formats: {', '.join(FORMATS)}")
    return cast(Format, import_module(f"{__name__}.{name}"))
