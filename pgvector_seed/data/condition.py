"""A condition on the rows of a search: SQL of the caller, with $1, $2 and so on for its values."""

from __future__ import annotations

import secrets

import psycopg
from psycopg import RawCursor, sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import is_connection_lost, one_line

_PREPARE = "PREPARE {name} AS SELECT FROM {table} WHERE {condition}\n"
_REMEDY = "Write it as after WHERE in psql, with $1, $2 and so on for the values: label = $1"
_PARAMETERS = """
SELECT pg_catalog.cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements
WHERE name OPERATOR(pg_catalog.=) $1
"""


def parse_condition(connection: Connection, table: sql.Composable, text: str, values: int) -> sql.Composable:
    """Return a condition on the rows of ``table`` for a WHERE clause. Executes nothing.

    The server parses ``text`` twice: here without parentheses, and in the search within parentheses. Only one whole
    expression is valid in both places; a stray parenthesis, quote or comment is not.

    Raises InputError if ``text`` is not a condition, or has not ``values`` parameters.
    """
    condition = sql.SQL(text)
    needed = _prepare(connection, table, condition)
    if needed != values:
        raise InputError(f"the condition has {counted(needed, 'parameter')}, and got {counted(values, 'value')}")
    return condition


def _prepare(connection: Connection, table: sql.Composable, condition: sql.SQL) -> int:
    """Return the number of the condition's parameters."""
    name = f"pgvector_seed_{secrets.token_hex(8)}"
    statement = sql.SQL(_PREPARE).format(name=sql.Identifier(name), table=table, condition=condition)
    with connection.transaction(force_rollback=True):
        try:
            # In the extended protocol a message has one statement only.
            RawCursor(connection).execute(statement, binary=True, prepare=False)
        except psycopg.Error as error:
            if is_connection_lost(error):
                raise
            raise InputError(f"the condition is not valid: {one_line(error)}", _REMEDY) from error
        ((count,),) = RawCursor(connection).execute(_PARAMETERS, (name,), prepare=False).fetchall()
        connection.execute(sql.SQL("DEALLOCATE {}").format(sql.Identifier(name)))
    return int(count)
