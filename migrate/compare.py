"""Whether a database is what the migrations make: they are run in a scratch schema that is then rolled back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files

from psycopg import sql

from migrate import concurrently
from migrate.execute import execute_all
from migrate.files import Migration, up_file
from migrate.script import Script, parse
from migrate.session import Limits, clean_session
from migrate.statements import Statement
from postgres.connection import Connection, set_search_path
from postgres.errors import MigrationError, RefusedError

SCRATCH = "pgvector_seed_scratch"

Objects = dict[str, dict[str, str]]  # object -> part ("" for itself) -> definition


def differences(
    connection: Connection, migrations: Sequence[Migration], schema: str, extension_schema: str, limits: Limits
) -> list[str]:
    """In what the objects that the migrations make differ from those of the same names in ``schema``.

    What they do not make is not looked at. Nothing remains of the comparison.

    Raises RefusedError where a migration does not run in a schema of its own.
    """
    clean_session(connection, limits, SCRATCH, extension_schema)
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCRATCH)))
        for migration in migrations:
            _make(connection, migration)
        connection.execute("RESET ROLE")
        made = objects(connection, SCRATCH, extension_schema)
        there = objects(connection, schema, extension_schema)
    return list(_compare(made, there))


def _make(connection: Connection, migration: Migration) -> None:
    try:
        execute_all(connection, up_file(migration.id), list(_in_transaction(parse(migration.up))), "")
    except MigrationError as error:
        raise RefusedError(
            f"run in a schema of its own, to be compared, it fails: {error.message}",
            "The SQL must name tables without a schema, and make what it alters.",
        ) from error


def _in_transaction(script: Script) -> Iterator[Statement]:
    """The same statements as a transaction allows them: an index is built at once, and VACUUM makes nothing."""
    for statement in script.statements:
        if script.in_transaction:
            yield statement
        elif concurrently.built(statement) or concurrently.dropped(statement):
            text = re.sub(r"\bCONCURRENTLY\b", "", statement.text, count=1, flags=re.IGNORECASE)
            yield Statement(text, statement.line)


def objects(connection: Connection, schema: str, extension_schema: str) -> Objects:
    """What is in a schema, as objects.sql tells it. Inside the caller's transaction, which it gives a search_path."""
    set_search_path(connection, schema, extension_schema)
    name = sql.Identifier(schema).as_string(connection)
    found: Objects = {}
    for thing, part, definition in connection.execute(
        files("migrate").joinpath("objects.sql").read_bytes(), {"schema": name}
    ):
        found.setdefault(thing, {})[part] = definition
    return found


def _compare(made: Objects, there: Objects) -> Iterator[str]:
    for thing, parts in made.items():
        if thing not in there:
            yield f"{thing} is missing"
            continue
        for part in sorted(parts.keys() | there[thing].keys()):
            wanted, found = parts.get(part), there[thing].get(part)
            if wanted != found:
                name = f"{thing}, {part}" if part else thing
                yield f"{name}: {_shown(found)}, and the migrations make {_shown(wanted)}"


def _shown(definition: str | None) -> str:
    return "not there" if definition is None else f"[{' '.join(definition.split())}]"
