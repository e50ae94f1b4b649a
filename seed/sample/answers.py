"""Insert the article's three vectors, and run its queries. Only the rows with ids 1 to 3 are written and read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import errors, sql

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.trust import deployment_schema
from pgvector_seed.postgres.catalog import TableName, column_type
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import set_search_path
from pgvector_seed.postgres.triggers import refuse_untrusted_triggers
from pgvector_seed.vectors.extension import find_extension

from . import article

_PROVISION_REMEDY = f"Run: pulumi up{in_checkout(' (on a laptop: make up)')}"
# The search_path begins with the schema of the table.
_STORED = "SELECT id, embedding FROM embeddings WHERE id = ANY(%s) ORDER BY id"
_INSERT = "INSERT INTO embeddings (id, embedding) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"
_REPLACE = """
INSERT INTO embeddings (id, embedding) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding
"""
# Materialized, so that no approximate index on the table answers for three rows.
_DISTANCES = sql.SQL("""
WITH sample AS MATERIALIZED (SELECT id, embedding FROM embeddings WHERE id = ANY(%s))
SELECT id, embedding OPERATOR({extension}.<->) %s AS distance FROM sample ORDER BY distance
""")
# The lock keeps other sessions from adding a trigger.
_LOCK = "LOCK TABLE embeddings IN ROW EXCLUSIVE MODE"
_SEQUENCE = "SELECT pg_catalog.parse_ident(pg_catalog.pg_get_serial_sequence('embeddings', 'id'))"
_LAST_ID = "SELECT last_value - (NOT is_called)::int FROM {sequence}"
_NEXT_ID = "SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('embeddings', 'id'))"


@dataclass(frozen=True)
class Answers:
    """The answers of the database: id to vector, the nearest id, and id to Euclidean distance."""

    rows: dict[int, list[float]]
    nearest: int
    distances: dict[int, float]


def run(connection: Connection, schema: str | None = None, *, replace: bool) -> Answers:
    """Upsert the vectors, advance the sequence past their ids, and return the answers, in one transaction.

    ``schema`` is the deployment's; None means the one in the ledger. Raises InputError if the table is not the
    article's, and WrongResultError if another vector has one of the ids and ``replace`` is False.
    """
    with connection.transaction():
        table_schema, extension_schema = prepare(connection, schema)
        _refuse_other_type(connection, table_schema)
        connection.execute(_LOCK)
        refuse_untrusted_triggers(connection, TableName(table_schema, article.TABLE))
        _upsert(connection, replace=replace, schema=schema)
        _advance_sequence(connection)
        return _query(connection, extension_schema)


def prepare(connection: Connection, schema: str | None) -> tuple[str, str]:
    """Set the search_path, register the type vector, and return the schemas of the table and of the extension.

    Raises InputError if the database is not provisioned.
    """
    connection.execute(ending_with_client(local=True))
    ledger, vector = read_ledger(connection), find_extension(connection)
    if ledger is None or vector is None:
        raise InputError("this database has not been provisioned", _PROVISION_REMEDY)
    schema = deployment_schema(ledger, schema)
    set_search_path(connection, schema, vector.schema)
    register_vector(connection)
    return schema, vector.schema


def _refuse_other_type(connection: Connection, schema: str) -> None:
    """Raise InputError if the column embedding has not the article's type."""
    type_ = column_type(connection, schema, article.TABLE, "embedding")
    if type_ is None or type_.rpartition(".")[2] != article.TYPE:
        raise InputError(
            f"the column embedding of {schema}.{article.TABLE} is {type_ or 'missing'}, not {article.TYPE}",
            "The sample needs the article's table: migrations/0001_create_embeddings.up.sql",
        )


def _upsert(connection: Connection, *, replace: bool, schema: str | None) -> None:
    """Insert the vectors that are missing. Raises InputError or WrongResultError, as ``run`` does."""
    if has_sample(stored_vectors(connection)):
        return
    rows = [(id_, Vector(vector)) for id_, vector in article.VECTORS.items()]
    try:
        connection.cursor().executemany(_REPLACE if replace else _INSERT, rows)
    except errors.IntegrityError as error:
        raise InputError(
            f"the table does not take the sample: {one_line(error)}",
            "The sample sets only id and embedding: give the other columns a default.",
        ) from error
    vectors = stored_vectors(connection)
    different = changed_ids(vectors)
    if different:
        differences = "; ".join(
            f"id {id_}: expected {article.VECTORS[id_]}, actual {vectors[id_]}" for id_ in different
        )
        named = f" --schema {shlex.quote(schema)}" if schema else ""
        raise WrongResultError(
            f"other vectors have the sample's ids, and were not changed: {differences}",
            f"To overwrite them: {PROGRAM} sample --replace{named}",
        )


def has_sample(vectors: Mapping[int, list[float]]) -> bool:
    """Return True if the stored vectors by id are all of the article's."""
    return vectors.keys() == article.VECTORS.keys() and not changed_ids(vectors)


def changed_ids(vectors: Mapping[int, list[float]]) -> list[int]:
    """Return the ids whose stored vector is not the article's."""
    return [id_ for id_, vector in vectors.items() if not same(vector, article.VECTORS[id_])]


def stored_vectors(connection: Connection) -> dict[int, list[float]]:
    """Return the stored vectors with the article's ids, by id; [] for NULL."""
    rows = connection.execute(_STORED, (list(article.VECTORS),))
    return {id_: [] if vector is None else vector.to_list() for id_, vector in rows}


def same(vector: list[float], expected: list[float]) -> bool:
    """Return True if both vectors are equal as float4."""
    return Vector(vector) == Vector(expected)


def _advance_sequence(connection: Connection) -> None:
    """Make the next generated id larger than the sample's ids. In the article, a later insert fails for lack of this.

    nextval, unlike setval, cannot undo the progress of another session.
    """
    names = _fetch_value(connection, _SEQUENCE)
    if names is None:
        return  # the ids come from no sequence
    last = _fetch_value(connection, sql.SQL(_LAST_ID).format(sequence=sql.Identifier(*names)))
    for _ in article.VECTORS:
        if last < max(article.VECTORS):
            last = _fetch_value(connection, _NEXT_ID)


def _fetch_value(connection: Connection, query: LiteralString | sql.Composed) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _query(connection: Connection, extension_schema: str) -> Answers:
    nearest = _distances(connection, extension_schema, article.NEAREST_TO)
    return Answers(
        rows=stored_vectors(connection),
        nearest=next(iter(nearest)),
        distances=dict(sorted(_distances(connection, extension_schema, article.DISTANCES_FROM).items())),
    )


def _distances(connection: Connection, extension_schema: str, origin: list[float]) -> dict[int, float]:
    """Return id to distance from ``origin``, nearest first."""
    query = _DISTANCES.format(extension=sql.Identifier(extension_schema))
    return dict(connection.execute(query, (list(article.VECTORS), Vector(origin))).fetchall())
