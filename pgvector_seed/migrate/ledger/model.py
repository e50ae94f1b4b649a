"""The ledger as value objects, and the columns that each of its formats needs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.contract import prepare_type
from pgvector_seed.migrate.declaration import Declaration

# The columns that a format needs, each as "table column type". More are allowed: a later version may add some.
_FORMAT_1 = frozenset(
    {
        "deployment only_row bool",
        "deployment ledger uuid",
        "deployment declaration jsonb",
        "deployment schema_created bool",
        "deployment unfinished jsonb",
        "deployment catalogue jsonb",
        "deployment contract jsonb",
        "migrations id text",
        "migrations position int4",
        "migrations checksum text",
        "migrations down text",
        "migrations applied_at timestamptz",
        "migrations duration interval",
        "migrations version text",
        "migrations applied_by text",
    }
)
FORMAT_COLUMN = "deployment format int4"
_FORMAT_2 = _FORMAT_1 | {FORMAT_COLUMN}
NEEDED = {1: _FORMAT_1, 2: _FORMAT_2, 3: _FORMAT_2 | {"deployment indexes jsonb"}}

_DAMAGED = (
    "Restore it from a backup. Or drop it, which keeps your tables, and record the migrations in a new one: "
    f"DROP SCHEMA pgvector_seed CASCADE; then {PROGRAM} migrate baseline ID"
)


class AppliedMigration(msgspec.Struct, frozen=True):
    """A migration that is recorded as applied. ``down`` is None if it cannot be undone.

    ``at`` is a time in UTC, ``seconds`` the duration, ``version`` that of pgvector-seed, ``by`` the session_user.
    """

    id: str
    checksum: str
    down: str | None
    at: str
    seconds: float
    version: str
    by: str


class BuiltIndex(msgspec.Struct, frozen=True):
    """An index that was built, or was about to be built, because a stack declared it."""

    name: str
    table: str
    column: str


prepare_type(BuiltIndex)


class Writers(msgspec.Struct, frozen=True):
    """Roles other than the owner that may write to the ledger. Their names are quoted for SQL.

    ``granted`` have a privilege on a table or column, ``of_all_data`` are members of pg_write_all_data. ``triggers``
    are the ``granted`` roles with TRIGGER or REFERENCES, whose code would run at a write. ``grantors`` granted these
    privileges, except the owner.
    """

    granted: tuple[str, ...] = ()
    of_all_data: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    grantors: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All roles that may write, each once."""
        return tuple(dict.fromkeys((*self.granted, *self.of_all_data)))

    @property
    def revoke(self) -> str:
        """The statement that revokes the granted privileges."""
        rights = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA pgvector_seed"
        return f"REVOKE {rights} FROM {', '.join(dict.fromkeys((*self.granted, *self.grantors)))} CASCADE"


class Ledger(msgspec.Struct, frozen=True):
    """The record that a deployment keeps of itself, in the schema ``pgvector_seed``.

    ``unfinished`` is the migration that was begun outside of a transaction and not recorded as done: ``file``,
    ``text``, and ``index``, the oid of an index that a failed build left; empty if there is none. ``migrations`` maps
    id to applied migration, in the order of application. ``writers`` could have changed any of the record.
    ``indexes`` were built because they were declared.
    """

    format: int
    id: str
    declaration: Declaration
    schema_created: bool
    unfinished: dict[str, str]
    catalogue: dict[str, Any]
    contract: dict[str, Any]
    migrations: dict[str, AppliedMigration]
    writers: Writers
    indexes: tuple[BuiltIndex, ...]

    @property
    def checksums(self) -> dict[str, str]:
        """Id to checksum of the migrations, in the order of application."""
        return {id_: applied.checksum for id_, applied in self.migrations.items()}

    @property
    def irreversible(self) -> set[str]:
        """The ids of the migrations without a down."""
        return {id_ for id_, applied in self.migrations.items() if applied.down is None}


def has_needed_columns(format_: int, columns: Collection[str]) -> bool:
    """Return True if ``columns`` include all that a ledger of this format needs."""
    return NEEDED[format_] <= set(columns)


def damaged_ledger(fault: str) -> RefusedError:
    """Return the error for a ledger that was edited by hand into something unusable."""
    return RefusedError(f"the ledger in the schema pgvector_seed is damaged: {fault}", _DAMAGED)
