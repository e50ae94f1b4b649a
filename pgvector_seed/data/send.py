"""Copy rows to the server in COPY's binary format."""

from __future__ import annotations

import re

from psycopg import errors, sql

from pgvector_seed.data.rows import Rows
from pgvector_seed.postgres.connection import Connection

PLACE = "pgvector_seed place"  # the column of a row's place in its block
_COPY = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"
_LINE = re.compile(r"^COPY .*?, line (\d+)", re.MULTILINE)


def send(connection: Connection, table: sql.Composable, rows: Rows, *, places: bool = False) -> int:
    """Copy the rows into a table, and return how many it took: a trigger may keep rows out.

    An error of the server for one of them gets a note with its number in the file.
    """
    names = [PLACE, *rows.names] if places else rows.names
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    try:
        cursor = connection.cursor()
        with cursor.copy(sql.SQL(_COPY).format(table=table, columns=columns)) as stream:
            for piece in rows.encode(places=places):
                stream.write(piece)
    except errors.DatabaseError as error:
        line = _LINE.search(error.diag.context or "")
        if line and 0 < int(line[1]) <= len(rows):
            error.add_note(f"{rows.file}, row {rows.numbers[int(line[1]) - 1]}")
        raise
    return cursor.rowcount
