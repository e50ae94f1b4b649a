"""The databases of the programs under examples/."""

from __future__ import annotations

from psycopg import sql

from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import query_catalog

_EXISTS = "SELECT 1 FROM pg_database WHERE datname = %s"
_CREATE = "CREATE DATABASE {}"


def create_database(name: str) -> None:
    """Create a database on the server of libpq's environment, if it is missing."""
    with connect() as connection, translated(f"creating the database {name}"):
        if not query_catalog(connection, _EXISTS, (name,)):
            connection.execute(sql.SQL(_CREATE).format(sql.Identifier(name)))
