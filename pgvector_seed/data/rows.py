"""Checked rows, in the order of their keys and in the server's binary format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgvector_seed.data.block import Array
from pgvector_seed.data.values import Fixed, Varying
from pgvector_seed.vectors.frames import HEADER, TRAILER, Buffer, encode


@dataclass(frozen=True)
class Rows:
    """Rows of a file. ``numbers`` are their numbers in it; the other attributes map a column of the table to values."""

    file: str
    numbers: Array
    fixed: Mapping[str, Fixed]
    varying: Mapping[str, Varying]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def names(self) -> list[str]:
        """The columns, in the order in which ``encode`` has them."""
        return [*self.fixed, *self.varying]

    @property
    def size(self) -> int:
        """The size of the values in bytes."""
        fixed = sum(values.nbytes for _, values in self.fixed.values())
        return fixed + sum(len(value or b"") for values in self.varying.values() for value in values)

    def take(self, places: Array) -> Rows:
        """Return the rows at these places, in this order."""
        return Rows(
            self.file,
            self.numbers[places],
            {name: (type_, values[places]) for name, (type_, values) in self.fixed.items()},
            {name: [values[place] for place in places.tolist()] for name, values in self.varying.items()},
        )

    def only(self, names: Sequence[str]) -> Rows:
        """Return the rows with these columns alone."""
        return Rows(
            self.file,
            self.numbers,
            {name: field for name, field in self.fixed.items() if name in names},
            {name: values for name, values in self.varying.items() if name in names},
        )

    def encode(self, *, places: bool = False) -> tuple[Buffer, ...]:
        """Return the data of a COPY ... FROM in pieces, if ``places`` with each row's place as the first column."""
        fixed = list(self.fixed.values())
        if places:
            fixed = [("int8", np.arange(len(self))), *fixed]
        return HEADER, encode(len(self), fixed, list(self.varying.values())), TRAILER

    def shown(self, place: int, names: Sequence[str]) -> str:
        """Return the number of a row and its key for a message."""
        values = [str(self.fixed[name][1][place]) for name in names if name in self.fixed]
        key = f" ({', '.join(names)} {', '.join(values)})" if len(values) == len(names) else ""
        return f"{self.file}, row {self.numbers[place]}{key}"
