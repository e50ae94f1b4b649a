"""All vectors of a table, block by block, by binary COPY."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from psycopg import sql

from pgvector_seed.data.block import Array
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.column import VectorColumn
from pgvector_seed.vectors.frames import ELEMENTS, HEADER, TRAILER, decode, record

_COPY = "COPY (SELECT tableoid, ctid, {column} FROM {table} WHERE {column} IS NOT NULL) TO STDOUT (FORMAT BINARY)"
_FIRST = 32  # bytes of the smallest row with the trailer; an empty table has only the trailer
Message: TypeAlias = bytes | bytearray | memoryview


class UnequalError(Exception):
    """The vectors do not have equal dimensions."""


class StoredVectors(NamedTuple):
    """Some rows: the oids of their tables, their ctids as blocks and places, and their vectors as float32."""

    tables: Array
    blocks: Array
    places: Array
    vectors: Array


def stored_vectors(connection: Connection, column: VectorColumn, rows: int) -> Iterator[StoredVectors]:
    """Yield the vectors of a column that are not NULL, at most ``rows`` at once. The type is vector or halfvec.

    Raises UnequalError if their dimensions differ.
    """
    statement = sql.SQL(_COPY).format(column=sql.Identifier(column.name), table=column.relation)
    with connection.cursor().copy(statement) as copy:
        messages = iter(copy)
        first = b"".join(_at_least(messages, len(HEADER) + _FIRST))[len(HEADER) :]
        if first == TRAILER:
            return
        fixed = [("oid", None), ("tid", None), (column.type, _dimensions(column, first))]
        width = record(fixed).itemsize
        rest = first
        while True:
            data = b"".join([rest, *_at_least(messages, rows * width - len(rest))])
            count = min(len(data) // width, rows)
            if not count:
                break
            rest = data[count * width :]
            yield _decoded(data[: count * width], fixed)
        if rest != TRAILER:
            raise UnequalError


def _at_least(messages: Iterator[Message], size: int) -> Iterator[Message]:
    """Yield messages until they have that many bytes, or there are no more."""
    while size > 0 and (message := next(messages, None)) is not None:
        size -= len(message)
        yield message


def _dimensions(column: VectorColumn, row: bytes) -> int:
    """Return the declared dimensions, or those of the first row."""
    if column.dimensions > 0:
        return column.dimensions
    layout = record([("oid", None), ("tid", None), (column.type, 0)])
    return int(np.frombuffer(row, layout, 1)["dimensions2"][0])


def _decoded(data: bytes, fixed: list[tuple[str, int | None]]) -> StoredVectors:
    try:
        records = decode(data, fixed)
    except ValueError as error:
        raise UnequalError from error
    vectors = np.ascontiguousarray(records["value2"], np.float32)
    ctids = records["value1"]
    return StoredVectors(records["value0"], ctids["f0"], ctids["f1"], vectors)


def as_array(queries: list[bytes], type_: str) -> Array:
    """Return vectors in the server's binary form as float32, queries x dimensions."""
    layout = ELEMENTS[type_]
    return np.stack([np.frombuffer(query, layout, offset=4) for query in queries]).astype(np.float32)
