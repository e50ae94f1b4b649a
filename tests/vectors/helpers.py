"""Tables of vectors, and builds of their indexes in this process or another."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec

from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.index.build import build_index
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.state import IndexState, index_state
from tests.conftest import Process, ask, pg_variables

ROWS = """
INSERT INTO {table} SELECT n, (SELECT array_agg(sin(n * 7919 + d * n))::{type} FROM generate_series(1, {dimensions}) d)
FROM generate_series({first}, {last}) n
"""
BUILD = """
import signal, sys, msgspec
from pgvector_seed.common import console
signal.signal(signal.SIGINT, console._interrupt)  # as every command
from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.build import build_index
definition = IndexDefinition(**msgspec.json.decode(sys.argv[1]))
with connect() as connection:
    build_index(connection, definition, lambda line: print(line, flush=True))
"""


def make_table(database: str, rows: int, dimensions: int = 16, type_: str = "vector") -> None:
    """Create the table items with a column v, and fill it."""
    ask(database, f"CREATE TABLE items (id bigint PRIMARY KEY, v {type_}({dimensions}))")
    insert(database, 1, rows, dimensions, type_)


def insert(database: str, first: int, last: int, dimensions: int = 16, type_: str = "vector") -> None:
    """Insert rows with the ids from ``first`` to ``last`` into items."""
    ask(database, ROWS.format(table="items", type=type_, dimensions=dimensions, first=first, last=last))


def define(**changes: Any) -> IndexDefinition:
    """Return the definition of an hnsw index on items.v, with ``changes``."""
    values = {"schema": "public", "table": "items", "name": "items_v_hnsw", "column": "v", "method": "hnsw"}
    return IndexDefinition(**{**values, "metric": "cosine", "parameters": {}, **changes})


def build(
    database: str, definition: IndexDefinition, lines: list[str] | None = None, **options: Any
) -> tuple[bool, list[str]]:
    """Build an index, and return whether anything was done, and the ``lines`` of the report."""
    lines = [] if lines is None else lines
    with connect(database) as connection:
        return build_index(connection, definition, lines.append, **options), lines


def state(database: str, definition: IndexDefinition, **options: Any) -> IndexState:
    """Return the state of an index."""
    with connect(database) as connection:
        return index_state(connection, definition, **options)


def start_build(database: str, definition: IndexDefinition) -> Process:
    """Start the build of an index in another process."""
    words = msgspec.json.encode(definition).decode()
    return Process(
        [sys.executable, "-c", BUILD, words],
        env={**pg_variables(database), "PGSSLMODE": "disable"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def indexes(database: str) -> list[tuple[str, bool]]:
    """Return the names of the indexes for searches, and whether each is valid."""
    rows = ask(
        database,
        "SELECT x.relname, i.indisvalid FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid "
        "JOIN pg_am m ON m.oid = x.relam AND m.amname <> 'btree' WHERE x.relnamespace = 'public'::regnamespace "
        "ORDER BY 1",
    )
    return [tuple(row) for row in rows]
