"""What the ledger holds, and which columns it needs for that."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.declaration import Declaration

# The columns that a format needs, each as "table column type". A ledger may have more: a later version of the same
# format may have added some.
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
NEEDED = {1: _FORMAT_1, 2: _FORMAT_1 | {FORMAT_COLUMN}}

_DAMAGED = (
    "Restore it from a backup. Or give it up, which loses no table, and take the tables over into a new one: "
    f"DROP SCHEMA pgvector_seed CASCADE; then {PROGRAM} migrate baseline ID"
)


class Applied(msgspec.Struct, frozen=True):
    """A migration that is recorded as done. ``down`` is None if it cannot be undone.

    ``at`` is UTC; ``seconds`` is how long it took; ``version`` is the version of pgvector-seed that applied it.
    """

    id: str
    checksum: str
    down: str | None
    at: str
    seconds: float
    version: str
    by: str


class Writers(msgspec.Struct, frozen=True):
    """Roles that may write to the ledger though they are not its owner's, as SQL quotes their names.

    ``granted`` were given a right on it, ``of_all_data`` are members of pg_write_all_data. ``triggers`` are those of
    the granted that may have a trigger run when it is written to. ``givers`` are others than the owner, with its
    GRANT OPTION, who gave a right.
    """

    granted: tuple[str, ...] = ()
    of_all_data: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    givers: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(dict.fromkeys((*self.granted, *self.of_all_data)))

    @property
    def revoke(self) -> str:
        """The SQL that takes the granted rights away."""
        rights = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON ALL TABLES IN SCHEMA pgvector_seed"
        return f"REVOKE {rights} FROM {', '.join(dict.fromkeys((*self.granted, *self.givers)))} CASCADE"


class Ledger(msgspec.Struct, frozen=True):
    """The record that a deployment keeps of itself, in the schema ``pgvector_seed``.

    ``unfinished`` is the file that was begun outside of a transaction and is not recorded as done
    (``file``, ``text``, and ``index``, the oid of an index that a failure left); empty if there is none.
    ``migrations`` maps id to what is recorded of it, in the order in which they were applied. ``writers`` are
    the roles beside its owner that could have changed any of it.
    """

    format: int
    id: str
    declaration: Declaration
    schema_created: bool
    unfinished: dict[str, str]
    catalogue: dict[str, Any]
    contract: dict[str, Any]
    migrations: dict[str, Applied]
    writers: Writers

    @property
    def checksums(self) -> dict[str, str]:
        """Id to checksum, in the order in which they were applied."""
        return {id_: applied.checksum for id_, applied in self.migrations.items()}

    @property
    def irreversible(self) -> set[str]:
        """The ids of those that have no down."""
        return {id_ for id_, applied in self.migrations.items() if applied.down is None}


def is_whole(format_: int, columns: Collection[str]) -> bool:
    """Return True if a ledger of this format has all that it needs."""
    return NEEDED[format_] <= set(columns)


def damaged(fault: str) -> RefusedError:
    """Return the error for a ledger that was damaged by hand."""
    return RefusedError(f"the ledger in the schema pgvector_seed was damaged: {fault}", _DAMAGED)
