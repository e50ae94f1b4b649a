"""The article's sample: insert its three vectors, ask its three questions, and judge the answers.

Only the rows with ids 1 to 3 are touched and judged, so it runs beside any other rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import errors, sql

from postgres.catalogue import column_type, extension
from postgres.connection import Connection, set_search_path
from postgres.errors import InputError, WrongResultError, one_line
from postgres.ledger import read_ledger
from postgres.metrics import OPERATORS
from seed import article

Vectors = Mapping[int, list[float]]

_STORED = "SELECT id, embedding FROM {table} WHERE id = ANY(%s) ORDER BY id"
_INSERT = "INSERT INTO {table} (id, embedding) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"
_REPLACE = (
    "INSERT INTO {table} (id, embedding) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding"
)
# Materialised, so that no approximate index on the table can have a say in three rows.
_DISTANCES = """
WITH sample AS MATERIALIZED (SELECT id, embedding FROM {table} WHERE id = ANY(%s))
SELECT id, embedding {l2} %s AS distance FROM sample ORDER BY distance
"""
_SEQUENCE = "SELECT pg_catalog.parse_ident(pg_catalog.pg_get_serial_sequence(%s, 'id'))"
_LAST_ID = "SELECT last_value - (NOT is_called)::int FROM {sequence}"
_NEXT_ID = "SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence(%s, 'id'))"


@dataclass(frozen=True)
class Answers:
    """What the database answered. Distances are Euclidean."""

    rows: dict[int, list[float]]
    nearest: int
    distances: dict[int, float]


def run(connection: Connection, *, replace: bool) -> Answers:
    """Upsert the vectors, move the sequence past their ids, and ask the article's questions.

    Raises InputError where the table is not the article's, and WrongResultError where another vector is stored
    under one of the ids and ``replace`` is False; nothing is changed then.
    """
    with connection.transaction():
        table = _prepare(connection)
        _upsert(connection, table, replace=replace)
        _move_sequence(connection, table.as_string(connection))
        return _ask(connection, table)


def _prepare(connection: Connection) -> sql.Identifier:
    """Find the article's table, make sure that it is as the article has it, and make its type known."""
    ledger, found = read_ledger(connection), extension(connection)
    if ledger is None or found is None:
        raise InputError("this database has not been provisioned", "Run: pulumi up (on a laptop: make up)")
    set_search_path(connection, ledger.schema, found.schema)
    kind = column_type(connection, ledger.schema, article.TABLE, "embedding")
    if kind is None or kind.rpartition(".")[2] != article.TYPE:
        raise InputError(
            f"the column embedding of {ledger.schema}.{article.TABLE} is {kind or 'not there'}, not {article.TYPE}",
            "The sample fits the article's table only: migrations/0001_create_embeddings.up.sql",
        )
    register_vector(connection)
    return sql.Identifier(ledger.schema, article.TABLE)


def _upsert(connection: Connection, table: sql.Identifier, *, replace: bool) -> None:
    statement = sql.SQL(_REPLACE if replace else _INSERT).format(table=table)
    rows = [(id_, Vector(vector)) for id_, vector in article.VECTORS.items()]
    try:
        connection.cursor().executemany(statement, rows)
    except errors.IntegrityError as error:
        raise InputError(
            f"the table does not take the sample: {one_line(error)}", "The sample sets id and embedding only."
        ) from error
    stored = _stored(connection, table)
    different = [id_ for id_, vector in stored.items() if not same(vector, article.VECTORS[id_])]
    if different:
        found = "; ".join(f"id {id_}: expected {article.VECTORS[id_]}, actual {stored[id_]}" for id_ in different)
        raise WrongResultError(
            f"other vectors are stored under the sample's ids, and were left as they are: {found}",
            "To overwrite them: python -m seed sample --replace",
        )


def _stored(connection: Connection, table: sql.Identifier) -> dict[int, list[float]]:
    rows = connection.execute(sql.SQL(_STORED).format(table=table), (list(article.VECTORS),))
    return {id_: [] if vector is None else vector.to_list() for id_, vector in rows}


def same(vector: list[float], expected: list[float]) -> bool:
    """True when both are the same numbers once stored as float4."""
    return Vector(vector) == Vector(expected)


def _move_sequence(connection: Connection, table: str) -> None:
    """Make the next generated id larger than the explicit ones, which the article forgets.

    By nextval, which never goes backwards, whatever other sessions take from the sequence meanwhile.
    """
    names = _value(connection, _SEQUENCE, table)
    if names is None:
        return  # the ids come from elsewhere
    last = _value(connection, sql.SQL(_LAST_ID).format(sequence=sql.Identifier(*names)))
    for _ in article.VECTORS:
        if last < max(article.VECTORS):
            last = _value(connection, _NEXT_ID, table)


def _value(connection: Connection, query: LiteralString | sql.Composed, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _ask(connection: Connection, table: sql.Identifier) -> Answers:
    nearest = _distances(connection, table, article.NEAREST_TO)
    return Answers(
        rows=_stored(connection, table),
        nearest=next(iter(nearest)),
        distances=dict(sorted(_distances(connection, table, article.DISTANCES_FROM).items())),
    )


def _distances(connection: Connection, table: sql.Identifier, origin: list[float]) -> dict[int, float]:
    """Id to distance from ``origin``, nearest first."""
    query = sql.SQL(_DISTANCES).format(table=table, l2=sql.SQL(OPERATORS["l2"]))
    return dict(connection.execute(query, (list(article.VECTORS), Vector(origin))).fetchall())
