"""Declared tables that neither exist nor would be made: refused before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean
from pgvector_seed.migrate.declaration import MISSING_TABLE_REMEDY, Declaration
from pgvector_seed.migrate.files import Migration
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.plan import Plan
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.tables import vector_tables

# SQL that may make a table whose name is not in the text: dynamic SQL, a procedure, an extension, a renamed schema.
_COMPOSES = re.compile(
    r"""\b(?:execute|call|alter\s+schema)\b|\bu&["']"""
    r"""|\b(?:create|alter)\s+extension\s+(?!(?:if\s+not\s+exists\s+)?"?vector\b)""",
    re.IGNORECASE,
)
# True if a routine may make a table: any query or trigger may call it.
_ROUTINE = r"SELECT EXISTS (SELECT FROM pg_proc WHERE prosrc ~* '\m(create|rename|execute)\M')"
_CUT_OFF = 60  # bytes: the SQL may have a longer name, which the server cuts to 63, or to 60 within a character


class MissingTableError(InputError):
    """A declared table does not exist, and no SQL that is about to run names it."""


def refuse_missing_tables(
    connection: Connection,
    declaration: Declaration,
    migrations: Sequence[Migration],
    steps: Plan,
    ledger: Ledger | None,
) -> None:
    """Raise MissingTableError if a declared table neither exists with vectors nor is named in the SQL of ``steps``.

    A name counts anywhere in a text, in strings and comments, too: a table may be made in a block, by LIKE or by a
    rename. If the database has a routine that may make tables, any SQL will do. In doubt a table is accepted, and
    refused later, when the contract is recorded: to refuse a table that a migration makes would be worse.
    """
    with translated("looking for the declared tables"):
        entries = vector_tables(connection, declaration.schema) if declaration.tables else []
    names = {entry["table"] for entry in entries}
    if ledger and ledger.catalogue and not (steps.undo or steps.apply):
        names |= {entry["table"] for entry in ledger.catalogue["tables"]}  # the contract is made from it again
    missing = declaration.tables.keys() - names
    texts = [migration.up for migration in migrations if migration.id in steps.apply]
    texts += [ledger.migrations[id_].down or "" for id_ in steps.undo] if ledger else []
    unknown = sorted(name for name in missing if not _is_named(name, texts))
    if unknown and not (texts and _has_routine(connection)):
        raise MissingTableError(
            f"the stack declares the table {', '.join(unknown)}, but the schema {declaration.schema} has no such table "
            f"with vectors, and no pending migration names it{did_you_mean(unknown[0], names)}",
            MISSING_TABLE_REMEDY,
        )


def _has_routine(connection: Connection) -> bool:
    with translated("looking for routines that make tables"):
        return query_catalog(connection, _ROUTINE) == [(True,)]


def _is_named(name: str, texts: Iterable[str]) -> bool:
    """Return True if a text has the name as a word, quoted or not, in any letter case, or may compose it."""
    names = "|".join({re.escape(name), re.escape(name.replace('"', '""')), re.escape(name.replace("'", "''"))})
    end = "" if len(name.encode()) >= _CUT_OFF else r"(?![\w$])"
    pattern = re.compile(rf"(?<![\w$])(?:{names}){end}", re.IGNORECASE)
    return any(pattern.search(text) or _COMPOSES.search(text) for text in texts)
