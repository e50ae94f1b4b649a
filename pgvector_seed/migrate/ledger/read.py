"""Reading the ledger: the applied migrations, the declaration and the contract."""

from __future__ import annotations

from typing import Any

import msgspec

from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.ledger.facts import read_facts
from pgvector_seed.migrate.ledger.format import FORMAT, read_format
from pgvector_seed.migrate.ledger.model import (
    AppliedMigration,
    BuiltIndex,
    Ledger,
    Writers,
    damaged_ledger,
    has_needed_columns,
)
from pgvector_seed.migrate.ledger.trust import find_writers, refuse_to_read, refuse_to_write
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import catalog_snapshot

_DEPLOYMENT = """
SELECT ledger::text, declaration, schema_created, unfinished, catalogue, contract,
       coalesce(to_jsonb(d) -> 'indexes', '[]')
FROM pgvector_seed.deployment d
"""
_MIGRATIONS = """
SELECT id, checksum, down, pg_catalog.to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SSZ'),
       extract(epoch FROM duration)::float, version, applied_by
FROM pgvector_seed.migrations
ORDER BY position
"""


def read_ledger(connection: Connection, *, to_write: bool = False) -> Ledger | None:
    """Return the ledger of this database, or None if it has none.

    ``to_write`` also refuses a ledger that is not safe to write to. An older format is read without an upgrade.

    Raises RefusedError if the ledger is damaged, of a newer format, or not to be trusted (see ``trust``).
    """
    with catalog_snapshot(connection):
        facts = read_facts(connection)
        writers = find_writers(connection) if facts.exists else Writers()
        if to_write:
            refuse_to_write(facts, writers)
        else:
            refuse_to_read(facts)
        if not facts.exists:
            return None
        format_ = read_format(connection, facts.columns)
        if not has_needed_columns(format_, facts.columns):
            raise damaged_ledger("a part of it is missing")
        return _read_rows(connection, format_, writers)


def read_own_ledger(connection: Connection) -> Ledger:
    """Return the ledger that this session has just written to, under the migration lock.

    Its owner and writers were checked before the write: ``writers`` is empty.
    """
    with catalog_snapshot(connection):
        return _read_rows(connection, FORMAT, Writers())


def _read_rows(connection: Connection, format_: int, writers: Writers) -> Ledger:
    row = connection.execute(_DEPLOYMENT).fetchone()
    if row is None:
        raise damaged_ledger("a part of it is missing")
    migrations = {applied[0]: AppliedMigration(*applied) for applied in connection.execute(_MIGRATIONS)}
    id_, declaration, schema_created, unfinished, catalogue, contract, indexes = row
    if not (_is_unfinished(unfinished) and _is_catalogue(catalogue) and isinstance(contract, dict)):
        raise damaged_ledger("its record is not valid")
    declared, built = _declaration(declaration), _built(indexes)
    return Ledger(format_, id_, declared, schema_created, unfinished, catalogue, contract, migrations, writers, built)


def _declaration(record: Any) -> Declaration:
    """Return the recorded declaration, which must have every key. Older versions recorded fewer of them."""
    try:
        declaration = msgspec.convert(record, Declaration)
    except msgspec.ValidationError as error:
        raise damaged_ledger(f"its declaration is not valid: {error}") from error
    if not {*Declaration.__struct_fields__} <= {"roles", "reader_settings", *record}:
        raise damaged_ledger("its declaration is not valid: a key is missing")
    return declaration


def _built(record: Any) -> tuple[BuiltIndex, ...]:
    try:
        return msgspec.convert(record, tuple[BuiltIndex, ...])
    except msgspec.ValidationError as error:
        raise damaged_ledger(f"its indexes are not valid: {error}") from error


def _is_unfinished(record: Any) -> bool:
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        return False
    return not record or {"file", "text"} <= record.keys() <= {"file", "text", "index"}


def _is_catalogue(record: Any) -> bool:
    return record == {} or (isinstance(record, dict) and record.keys() == {"schema", "tables"})
