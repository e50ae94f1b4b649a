"""The article's sample: insert its three vectors, ask its three questions, and judge the answers.

Only the rows with ids 1 to 3 are touched and judged, so it runs beside any other rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg import errors, sql

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.common.remedies import OWN_PROGRAM
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.ledger.trust import deployment_schema
from pgvector_seed.postgres.catalog import column_type
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import catalog_snapshot, set_search_path
from pgvector_seed.vectors.extension import find_extension

from . import article

# The table is named without its schema, which heads the search_path.
_PROVISION = f"Run: pulumi up{' (on a laptop: make up)' if OWN_PROGRAM else ''}"
_STORED = "SELECT id, embedding FROM embeddings WHERE id = ANY(%s) ORDER BY id"
_INSERT = "INSERT INTO embeddings (id, embedding) VALUES (%s, %s) ON CONFLICT (id) DO NOTHING"
_REPLACE = """
INSERT INTO embeddings (id, embedding) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding
"""
# Materialised, so that no approximate index on the table can have a say in three rows.
_DISTANCES = sql.SQL("""
WITH sample AS MATERIALIZED (SELECT id, embedding FROM embeddings WHERE id = ANY(%s))
SELECT id, embedding OPERATOR({extension}.<->) %s AS distance FROM sample ORDER BY distance
""")
# From the lock on, nobody can add a trigger.
_LOCK = "LOCK TABLE embeddings IN ROW EXCLUSIVE MODE"
# The triggers whose function is not the login's, its role's, the table's owner's or a superuser's.
_STRANGE_TRIGGERS = """
SELECT g.tgname, f.rolname
FROM pg_trigger g
JOIN pg_class c ON c.oid = g.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = g.tgfoid
JOIN pg_roles f ON f.oid = p.proowner
WHERE n.nspname = %s AND c.relname = %s AND NOT g.tgisinternal
  AND NOT f.rolsuper AND f.rolname NOT IN (session_user, current_user) AND f.oid <> c.relowner
"""
_SEQUENCE = "SELECT pg_catalog.parse_ident(pg_catalog.pg_get_serial_sequence('embeddings', 'id'))"
_LAST_ID = "SELECT last_value - (NOT is_called)::int FROM {sequence}"
_NEXT_ID = "SELECT pg_catalog.nextval(pg_catalog.pg_get_serial_sequence('embeddings', 'id'))"


@dataclass(frozen=True)
class Answers:
    """What the database answered. Distances are Euclidean."""

    rows: dict[int, list[float]]
    nearest: int
    distances: dict[int, float]


def run(connection: Connection, schema: str | None = None, *, replace: bool) -> Answers:
    """Upsert the vectors, move the sequence past their ids, and ask the article's questions.

    ``schema`` is the deployment's; None takes the ledger's word for it.

    Raises InputError where the table is not the article's, and WrongResultError where another vector is stored
    under one of the ids and ``replace`` is False; nothing is changed then.
    """
    with connection.transaction():
        home = _prepare(connection, schema)
        _upsert(connection, replace=replace)
        _move_sequence(connection)
        return _ask(connection, home)


def _prepare(connection: Connection, schema: str | None) -> str:
    """Find the article's table, make sure that it is as the article has it, and make its type known.

    Returns the schema of the extension.
    """
    connection.execute(ending_with_client(local=True))
    ledger, found = read_ledger(connection), find_extension(connection)
    if ledger is None or found is None:
        raise InputError("this database has not been provisioned", _PROVISION)
    schema = deployment_schema(ledger, schema)
    set_search_path(connection, schema, found.schema)
    kind = column_type(connection, schema, article.TABLE, "embedding")
    if kind is None or kind.rpartition(".")[2] != article.TYPE:
        raise InputError(
            f"the column embedding of {schema}.{article.TABLE} is {kind or 'not there'}, not {article.TYPE}",
            "The sample fits the article's table only: migrations/0001_create_embeddings.up.sql",
        )
    _refuse_strange_triggers(connection, schema)
    register_vector(connection)
    return found.schema


def _refuse_strange_triggers(connection: Connection, schema: str) -> None:
    """Raise InputError if an insert would run another role's code with the rights of this login."""
    connection.execute(_LOCK)
    with catalog_snapshot(connection):
        row = connection.execute(_STRANGE_TRIGGERS, (schema, article.TABLE)).fetchone()
    if row is not None:
        raise InputError(
            f"the trigger {row[0]} on {schema}.{article.TABLE} runs a function of {row[1]} with this login's rights",
            f"See in psql what it does: \\d {schema}.{article.TABLE}; then drop it, or give its function to the owner "
            "of the table.",
        )


def _upsert(connection: Connection, *, replace: bool) -> None:
    rows = [(id_, Vector(vector)) for id_, vector in article.VECTORS.items()]
    try:
        connection.cursor().executemany(_REPLACE if replace else _INSERT, rows)
    except errors.IntegrityError as error:
        raise InputError(
            f"the table does not take the sample: {one_line(error)}", "The sample sets id and embedding only."
        ) from error
    stored = _stored(connection)
    different = [id_ for id_, vector in stored.items() if not same(vector, article.VECTORS[id_])]
    if different:
        found = "; ".join(f"id {id_}: expected {article.VECTORS[id_]}, actual {stored[id_]}" for id_ in different)
        raise WrongResultError(
            f"other vectors are stored under the sample's ids, and were left as they are: {found}",
            f"To overwrite them: {PROGRAM} sample --replace",
        )


def _stored(connection: Connection) -> dict[int, list[float]]:
    rows = connection.execute(_STORED, (list(article.VECTORS),))
    return {id_: [] if vector is None else vector.to_list() for id_, vector in rows}


def same(vector: list[float], expected: list[float]) -> bool:
    """True when both are the same numbers once stored as float4."""
    return Vector(vector) == Vector(expected)


def _move_sequence(connection: Connection) -> None:
    """Make the next generated id larger than the explicit ones, which the article forgets.

    By nextval, which never goes backwards, whatever other sessions take from the sequence meanwhile.
    """
    names = _value(connection, _SEQUENCE)
    if names is None:
        return  # the ids come from elsewhere
    last = _value(connection, sql.SQL(_LAST_ID).format(sequence=sql.Identifier(*names)))
    for _ in article.VECTORS:
        if last < max(article.VECTORS):
            last = _value(connection, _NEXT_ID)


def _value(connection: Connection, query: LiteralString | sql.Composed) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _ask(connection: Connection, home: str) -> Answers:
    nearest = _distances(connection, home, article.NEAREST_TO)
    return Answers(
        rows=_stored(connection),
        nearest=next(iter(nearest)),
        distances=dict(sorted(_distances(connection, home, article.DISTANCES_FROM).items())),
    )


def _distances(connection: Connection, home: str, origin: list[float]) -> dict[int, float]:
    """Return id to distance from ``origin``, nearest first. ``home`` is the schema of the extension."""
    query = _DISTANCES.format(extension=sql.Identifier(home))
    return dict(connection.execute(query, (list(article.VECTORS), Vector(origin))).fetchall())
