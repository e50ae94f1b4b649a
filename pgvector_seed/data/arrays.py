"""Load arrays, or blocks from anywhere, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.bind import LoadOptions, bind_columns
from pgvector_seed.data.block import Array, Block, numbered, rows_in_block
from pgvector_seed.data.load import load_all
from pgvector_seed.data.store import Existing
from pgvector_seed.data.summary import Loaded, Work
from pgvector_seed.data.target import Target
from pgvector_seed.data.unit import Part

_NAME = "the array"


def load(
    vectors: Array | Iterable[Block],
    ids: Sequence[Any] | Array | None = None,
    *,
    columns: Mapping[str, Sequence[Any] | Array] | None = None,
    table: str | None = None,
    vector: str | None = None,
    number_from: int | None = None,
    existing: Existing = "refuse",
    rejects: str | None = None,
    conninfo: str = "",
) -> Loaded:
    """Load vectors into a table, and return what was done. It can be run again, like ``python -m seed load``.

    ``vectors`` has the shape rows x dimensions, of numbers; or it is an iterator of blocks, whose columns are named as
    in the table. ``ids`` has the primary key of each row, and ``columns`` maps other columns of the table to a value
    for each row; None is NULL. ``number_from`` numbers the rows instead.

    ``table`` is a name as in SQL, and may be left out if the contract has only one; ``vector`` names the vector column
    if there are several. ``existing`` tells what becomes of a row whose key is there with other values: "refuse",
    "replace" or "keep". Bad rows go to the file ``rejects``, if there is one. libpq takes the parameters missing in
    ``conninfo`` from the environment.

    Raises InputError for bad arrays and rows, WrongResultError if the table has other values or the server refuses a
    row, UnreachableError if the database cannot be reached, and InterruptError.
    """
    options = LoadOptions(table, vector, {}, None, number_from, existing)
    if isinstance(vectors, np.ndarray):
        parts = [_part_of_array(vectors, ids, columns or {}, options)]
    elif ids is not None or columns:
        raise InputError("blocks have their own ids and columns")
    else:
        parts = _parts_of_blocks(vectors, options)
    return load_all(parts, options, work=Work(rejects=rejects), conninfo=conninfo)


def _part_of_array(
    vectors: Array,
    ids: Sequence[Any] | Array | None,
    columns: Mapping[str, Sequence[Any] | Array],
    options: LoadOptions,
) -> Part:
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiub":
        raise InputError(f"the vectors are {vectors.dtype} in the shape {vectors.shape}, not numbers in two dimensions")
    lengths = {name: len(values) for name, values in columns.items()} | ({} if ids is None else {"ids": len(ids)})
    wrong = [name for name, length in lengths.items() if length != len(vectors)]
    if wrong:
        raise InputError(f"{wrong[0]} has {lengths[wrong[0]]:,} values, and there are {len(vectors):,} vectors")

    def all_columns(target: Target) -> dict[str, Sequence[Any] | Array]:
        return dict(columns) if ids is None else {**columns, _only_key(target): ids}

    def read(target: Target) -> Iterator[Block]:
        named, step = all_columns(target), rows_in_block(vectors.shape[1])
        for start in range(0, len(vectors), step):
            stop = min(start + step, len(vectors))
            part = {name: values[start:stop] for name, values in named.items()}
            yield Block(_NAME, numbered(start, stop), vectors[start:stop], part, json_values=True)

    return Part(lambda target: bind_columns(_NAME, list(all_columns(target)), target, options), read, len(vectors))


def _parts_of_blocks(blocks: Iterable[Block], options: LoadOptions) -> list[Part]:
    """Return one part, which cannot be read again. The first block tells the columns of all."""
    remaining = iter(blocks)
    first = next(remaining, None)
    if first is None:
        return []

    def read(_target: Target) -> Iterator[Block]:
        yield first
        yield from remaining

    return [Part(lambda target: bind_columns(first.file, list(first.columns), target, options), read, None, once=True)]


def _only_key(target: Target) -> str:
    if len(target.key) != 1:
        raise InputError(f"{target.shown} has a primary key of {len(target.key)} columns", "Give them in columns.")
    return target.key[0]
