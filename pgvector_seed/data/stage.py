"""A block in a temporary table beside the target: which of its keys are there, with which values, and changing these.

The vectors are compared bit by bit, here; the other columns by the server, as their types may change what was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from psycopg import Copy, OperationalError, errors, sql
from psycopg.errors import error_from_result

from pgvector_seed.data.block import Array
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.target import Target
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.frames import HEADER, TRAILER, Buffer, decode, split

FILLS, DIFFERS = 1, 2  # bits of a verdict
PLACE = "pgvector_seed place"  # the column of a row's place in its block

_COPY = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
# Once in a session, as each creation leaves rows in the system catalogs.
_STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS AS
SELECT 0::pg_catalog.int8 AS {place}, t.* FROM {table} AS t WITH NO DATA
"""
_COMPARE = "COPY (SELECT {selected} FROM {stage} AS s JOIN {table} AS t ON {same_key}) TO STDOUT (FORMAT binary)"
_FILLS = "(t.{0} IS NULL AND s.{0} IS NOT NULL)"
_DIFFERS = (
    "(t.{0} IS NOT NULL AND s.{0} IS NOT NULL AND NOT"
    " CAST(ROW(t.{0}) AS record) OPERATOR(pg_catalog.*=) CAST(ROW(s.{0}) AS record))"
)
_VERDICT = "CAST(CASE WHEN {fills} THEN 1 ELSE 0 END + CASE WHEN {differs} THEN 2 ELSE 0 END AS pg_catalog.int2)"
_UPDATE = "UPDATE {table} AS t SET {changes} FROM {stage} AS s WHERE {same_key}"


_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)
_LAST = (TRAILER, HEADER + TRAILER)  # the last message, and the only one if there are no rows


class RaceError(Exception):
    """Another session has changed rows of the block since they were compared."""


def send(connection: Connection, table: sql.Composable, rows: Rows, *, places: bool = False) -> None:
    """Copy the rows into a table. An error of the server for one of them gets a note with its number in the file."""
    names = [PLACE, *rows.names] if places else rows.names
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    try:
        with connection.cursor().copy(sql.SQL(_COPY).format(table=table, columns=columns)) as stream:
            for piece in rows.encode(places=places):
                stream.write(piece)
    except errors.DatabaseError as error:
        line = _LINE.search(error.diag.context or "")
        if line and 0 < int(line[1]) <= len(rows):
            error.add_note(f"{rows.file}, row {rows.numbers[int(line[1]) - 1]}")
        raise


class Stage:
    """A temporary table of this session, which holds a block's keys and values until the transaction ends."""

    def __init__(self, connection: Connection, target: Target) -> None:
        self.connection = connection
        self.target = target
        self.place = sql.Identifier(PLACE)
        self.table = sql.Identifier("pg_temp", f"pgvector_seed_block_{target.oid}")
        self.names: dict[str, sql.Composable] = {"table": target.sql_name, "stage": self.table, "place": self.place}
        equal = (sql.SQL("t.{0} OPERATOR(pg_catalog.=) s.{0}").format(sql.Identifier(name)) for name in target.key)
        self.names["same_key"] = sql.SQL(" AND ").join(equal)
        connection.execute(sql.SQL(_STAGE).format(**self.names))

    def present(self, rows: Rows) -> Array:
        """Return the places of the rows whose keys are in the table."""
        send(self.connection, self.table, rows.only(self.target.key), places=True)
        records = decode(self._select(sql.SQL("s.{}").format(self.place)), [("int8", None)])
        assert records is not None
        return records["value0"].astype(np.int64)

    def compare(self, rows: Rows) -> tuple[Array, Array, Array]:
        """Return the places of the rows whose keys are in the table, and which of these fill a NULL, and differ."""
        vector = self.target.vector.name if self.target.vector.name in rows.fixed else None
        staged = rows.only([name for name in rows.names if name != vector])
        send(self.connection, self.table, staged, places=True)
        others = [name for name in rows.names if name not in (*self.target.key, vector)]
        selected = [sql.SQL("s.{}").format(self.place), _verdict(others)]
        if vector is None:
            records = decode(self._select(sql.SQL(", ").join(selected)), [("int8", None), ("int2", None)])
            assert records is not None
            verdicts = records["value1"]
            return records["value0"].astype(np.int64), (verdicts & FILLS) > 0, (verdicts & DIFFERS) > 0
        selected.append(sql.SQL("t.{}").format(sql.Identifier(vector)))
        return _compared(self._select(sql.SQL(", ").join(selected)), *rows.fixed[vector])

    def update(self, rows: Rows, *, replace: bool) -> None:
        """Replace the values of the rows, or fill their NULLs. A NULL in ``rows`` changes nothing."""
        self.connection.execute(sql.SQL("DELETE FROM {}").format(self.table))
        send(self.connection, self.table, rows, places=True)
        changes = [
            sql.SQL("{0} = coalesce({1}.{0}, {2}.{0})").format(
                sql.Identifier(name), *map(sql.SQL, ("s", "t") if replace else ("t", "s"))
            )
            for name in rows.names
            if name not in self.target.key
        ]
        statement = sql.SQL(_UPDATE).format(**self.names, changes=sql.SQL(", ").join(changes))
        if self.connection.execute(statement).rowcount != len(rows):
            raise RaceError

    def _select(self, selected: sql.Composable) -> bytes:
        statement = sql.SQL(_COMPARE).format(**self.names, selected=selected)
        with self.connection.cursor().copy(statement) as stream:
            return b"".join(_received(self.connection, stream))


def _received(connection: Connection, stream: Copy) -> Iterator[Buffer]:
    """Yield the messages of a COPY ... TO. Those that have arrived are taken without psycopg's wait for each."""
    data: Buffer = b""
    while data not in _LAST:
        count, data = connection.pgconn.get_copy_data(1)
        if count == 0:
            data = bytes(stream.read())
        if count < 0 or not data:
            result = connection.pgconn.get_result()
            while connection.pgconn.get_result():
                pass  # until the connection can be used again
            raise error_from_result(result) if result else OperationalError("the server ended a COPY early")
        yield data
    stream.read()  # the end, which only psycopg may take


def _verdict(others: Sequence[str]) -> sql.Composable:
    if not others:
        return sql.SQL("CAST(0 AS pg_catalog.int2)")

    def any_of(condition: str) -> sql.Composable:
        return sql.SQL(" OR ").join(sql.SQL(condition).format(sql.Identifier(name)) for name in others)

    return sql.SQL(_VERDICT).format(fills=any_of(_FILLS), differs=any_of(_DIFFERS))


def _compared(data: bytes, type_: str, vectors: Array) -> tuple[Array, Array, Array]:
    """Return places, fills and differs of the server's rows: place, verdict and stored vector."""
    wanted = vectors.astype(">f4" if type_ == "vector" else ">f2", copy=False)
    bits = ">u4" if type_ == "vector" else ">u2"
    records = decode(data, [("int8", None), ("int2", None), (type_, vectors.shape[1])])
    if records is not None:
        places, verdicts = records["value0"].astype(np.int64), records["value1"]
        stored = np.ascontiguousarray(records["value2"])
        in_order = len(places) == len(wanted) and (places == np.arange(len(wanted))).all()
        sent = np.ascontiguousarray(wanted if in_order else wanted[places])
        other = (stored.view(bits) != sent.view(bits)).any(axis=1)
        return places, (verdicts & FILLS) > 0, other | ((verdicts & DIFFERS) > 0)
    found, fills, differs = [], [], []
    for place, verdict, stored_bytes in split(data):
        found.append(int.from_bytes(place or b"", "big"))
        number = int.from_bytes(verdict or b"", "big")
        fills.append(stored_bytes is None or bool(number & FILLS))
        other_vector = stored_bytes is not None and stored_bytes[4:] != wanted[found[-1]].tobytes()
        differs.append(other_vector or bool(number & DIFFERS))
    return np.array(found, np.int64), np.array(fills, bool), np.array(differs, bool)
