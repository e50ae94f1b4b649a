"""The settings of the session while a migration builds a vector index: those of a declared index's build."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg

from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.machine import shared_memory_bytes
from pgvector_seed.postgres.sessions import Progress
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.index.memory import MEMORY, BuildSettings, estimate_memory, plan_settings, settings_applied
from pgvector_seed.vectors.index.rows import bytes_of, rows_without_analyze
from pgvector_seed.vectors.tables import leaves

# Only these are split into tokens.
_CREATES_INDEX = re.compile(r"CREATE\s+INDEX\b", re.IGNORECASE)
# Of statements on one line, which are sent together, these would come after our settings and before their reset.
_SETS = re.compile(r"(SET(?!\s+CONSTRAINTS)|RESET|DISCARD)\b", re.IGNORECASE)
_TABLE = "SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid"
_VECTORS = """
SELECT t.typname, a.atttypmod
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = %s
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""


@contextmanager
def vector_index_settings(
    connection: Connection, statements: Sequence[Statement], place: str, report: Progress
) -> Iterator[None]:
    """Have the session build the vector index of one of the ``statements`` fast in the block, and report its memory.

    A setting that the client or the migration made stays. Nothing is changed for a table without rows.
    """
    settings = None
    has_own = any(_SETS.match(statement.text) for statement in statements)
    for statement in () if has_own else statements:
        if settings is None and _CREATES_INDEX.match(statement.text):
            with suppress(psycopg.Error), connection.transaction():  # the statement's own error is the one to report
                settings = _plan(connection, statement)
    if settings is None:
        yield
        return
    report(f"{place}: {settings.shown(MEMORY)}")
    with settings_applied(connection, settings):
        yield


def _plan(connection: Connection, statement: Statement) -> BuildSettings | None:
    """Return the settings for a statement that builds a vector index on a table with rows, or None."""
    words = statement.words
    if "USING" not in words or "ON" not in words:
        return None
    using, on = words.index("USING"), words.index("ON")
    table = statement.tokens[on + (2 if words[on + 1] == "ONLY" else 1) : using]
    method, parameters = _unquoted(statement.tokens[using + 1]), _parameters(statement)
    row = connection.execute(_TABLE, ("".join(table),)).fetchone()
    if row is None or row[0] is None or estimate_memory(method, 0, 0, parameters) is None:
        return None
    size = max((bytes_of(*column) for column in query_catalog(connection, _VECTORS, (EXTENSION, row[0]))), default=0)
    rows = max((rows_without_analyze(connection, leaf.oid) for leaf in leaves(connection, row[0])), default=0)
    if not (size and rows):
        return None
    return _within_shared_memory(connection, estimate_memory(method, rows, size, parameters))


def _within_shared_memory(connection: Connection, needed: int | None) -> BuildSettings:
    """Return the settings, without workers if they would not have the memory: a failure would end the transaction."""
    settings = plan_settings(connection, needed, None)
    free = shared_memory_bytes()
    if free is not None and settings.memory > free:
        return plan_settings(connection, needed, None, workers=0)
    return settings


def _parameters(statement: Statement) -> dict[str, int]:
    """Return the numbers among the parameters of an index."""
    words = [_unquoted(token) for token in statement.tokens]
    options = words[len(words) - words[::-1].index("with") :] if "with" in words else []
    pairs = zip(options, options[1:], options[2:], strict=False)
    return {name: int(value.strip("'")) for name, sign, value in pairs if sign == "=" and value.strip("'").isdecimal()}


def _unquoted(token: str) -> str:
    return token[1:-1].replace('""', '"') if token.startswith('"') else token.lower()
