"""Reading the ledger: what was applied to this database, and what was promised of it."""

from __future__ import annotations

from typing import Any

import msgspec

from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.ledger.facts import find_facts
from pgvector_seed.migrate.ledger.format import FORMAT, read_format
from pgvector_seed.migrate.ledger.model import Applied, Ledger, Writers, damaged, is_whole
from pgvector_seed.migrate.ledger.trust import find_writers, refuse_to_read, refuse_to_write
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot

_DEPLOYMENT = """
SELECT ledger::text, declaration, schema_created, unfinished, catalogue, contract
FROM pgvector_seed.deployment
"""
_MIGRATIONS = """
SELECT id, checksum, down, pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ'),
       extract(epoch FROM duration)::float, version, applied_by
FROM pgvector_seed.migrations
ORDER BY position
"""


def read_ledger(connection: Connection, *, to_write: bool = False) -> Ledger | None:
    """Return the ledger of this database, or None if it has none; ``to_write`` if it will be written to.

    A ledger of an older format is read as it is.

    Raises RefusedError if there is only a part of one, or something that cannot be one, or a stranger's, or one of a
    newer format.
    """
    with catalog_snapshot(connection):
        facts = find_facts(connection)
        writers = find_writers(connection) if facts.exists else Writers()
        if to_write:
            refuse_to_write(facts, writers)
        else:
            refuse_to_read(facts)
        if not facts.exists:
            return None
        format_ = read_format(connection, facts.columns)
        if not is_whole(format_, facts.columns):
            raise damaged("a part of it is gone")
        return _read_rows(connection, format_, writers)


def read_own_ledger(connection: Connection) -> Ledger:
    """Return the ledger that this session has just written to, under the lock of the migrations.

    Whose it is, and who else may write to it, was asked before: ``writers`` is empty.
    """
    with catalog_snapshot(connection):
        return _read_rows(connection, FORMAT, Writers())


def _read_rows(connection: Connection, format_: int, writers: Writers) -> Ledger:
    row = connection.execute(_DEPLOYMENT).fetchone()
    if row is None:
        raise damaged("a part of it is gone")
    migrations = {applied[0]: Applied(*applied) for applied in connection.execute(_MIGRATIONS)}
    id_, declaration, schema_created, unfinished, catalogue, contract = row
    if not (_is_unfinished(unfinished) and _is_catalogue(catalogue) and isinstance(contract, dict)):
        raise damaged("its record cannot be read")
    declared = _declaration(declaration)
    return Ledger(format_, id_, declared, schema_created, unfinished, catalogue, contract, migrations, writers)


def _declaration(record: Any) -> Declaration:
    """Return what is recorded as declared: every key, but for ``roles`` in a record from before there were any."""
    try:
        declaration = msgspec.convert(record, Declaration)
    except msgspec.ValidationError as error:
        raise damaged(f"what it declares is unknown: {error}") from error
    if not {*Declaration.__struct_fields__} <= {"roles", *record}:
        raise damaged("what it declares is unknown: a part of it is missing")
    return declaration


def _is_unfinished(record: Any) -> bool:
    whole = isinstance(record, dict) and all(isinstance(value, str) for value in record.values())
    return whole and (not record or {"file", "text"} <= record.keys() <= {"file", "text", "index"})


def _is_catalogue(record: Any) -> bool:
    return record == {} or (isinstance(record, dict) and record.keys() == {"schema", "tables"})
