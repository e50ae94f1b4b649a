"""Whether a database is what the migrations make: they are run in a scratch schema that is then rolled back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files

from psycopg import sql

from pgvector_seed.common.errors import MigrationError, RefusedError
from pgvector_seed.migrate import concurrently
from pgvector_seed.migrate.execute import execute_alone
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.reach import has_reached, moves_rows_only, would_reach
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.script import Script, parse
from pgvector_seed.migrate.session import Limits, clean_session
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import set_search_path

SCRATCH = "pgvector_seed_scratch"
REMEDY = (
    "To be compared, the SQL must name tables without a schema, alter only what the migrations make, "
    "and make nothing elsewhere."
)

# What waits for the end of the transaction is checked now, and may wait again in the next migration.
_AS_AT_COMMIT = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; RESET ROLE"
_HAS_EXTENSION = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = (pg_catalog.parse_ident(%s))[1])
"""
_DROPS = re.compile(r"\b(drop|rename)\b", re.IGNORECASE)

Objects = dict[str, dict[str, str]]  # object -> part ("" for itself) -> definition


def differences(
    connection: Connection, migrations: Sequence[Migration], schema: str, extension_schema: str, limits: Limits
) -> list[str]:
    """In what the objects that the migrations make differ from those of the same names in ``schema``.

    What they do not make is not looked at; what one makes and a later one drops must not be there.
    Nothing remains of the comparison.

    Raises RefusedError where a migration reaches out of the scratch schema, or does not run in it.
    """
    with connection.transaction(force_rollback=True):
        there = objects(connection, schema, extension_schema)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCRATCH)))
        dropped: set[str] = set()
        for migration in migrations:
            dropped |= _names(connection, extension_schema) if _DROPS.search(migration.up) else set()
            clean_session(connection, limits, SCRATCH, extension_schema)
            _make(connection, migration)
        made = objects(connection, SCRATCH, extension_schema)
        if objects(connection, schema, extension_schema) != there:
            raise RefusedError(f"they change what is in the schema {schema} beyond what they make", REMEDY)
    return [*_compare(made, there), *_left(dropped - made.keys(), there)]


def _names(connection: Connection, extension_schema: str) -> set[str]:
    return set(objects(connection, SCRATCH, extension_schema))


def _make(connection: Connection, migration: Migration) -> None:
    """Run a migration in the scratch schema, and stop at the first sign that it reaches out of it."""
    file = up_file(migration.id)
    try:
        for statement in _in_transaction(file, parse(migration.up)):
            if not _is_there_or_idle(connection, file, statement):
                execute_alone(connection, file, statement, "")
                _refuse(file, statement, "" if moves_rows_only(statement) else has_reached(connection, SCRATCH))
        connection.execute(_AS_AT_COMMIT, prepare=False)
        _refuse(file, None, has_reached(connection, SCRATCH))
    except MigrationError as error:
        raise RefusedError(f"run in a schema of its own, to be compared, it fails: {error.message}", REMEDY) from error


def _is_there_or_idle(connection: Connection, file: str, statement: Statement) -> bool:
    """True for what need not run: an extension that is there, and DROP IF EXISTS of what is only outside.

    Raises RefusedError for what would reach out.
    """
    words = statement.words
    if words[:2] == ["CREATE", "EXTENSION"]:
        name = statement.tokens[5] if words[2:5] == ["IF", "NOT", "EXISTS"] else statement.tokens[2]
        if connection.execute(_HAS_EXTENSION, (name,)).fetchone() == (False,):
            raise RefusedError(f"{file}, line {statement.line}: the extension {name} is missing", "Enable it first.")
        return True
    reached = would_reach(connection, statement, SCRATCH)
    if reached and words[0] == "DROP" and words[2:4] == ["IF", "EXISTS"]:
        return True
    _refuse(file, statement, reached)
    return False


def _refuse(file: str, statement: Statement | None, reached: str) -> None:
    if reached:
        line = f", line {statement.line}" if statement else ""
        raise RefusedError(f"{file}{line}: it reaches {reached}, which the migrations do not make", REMEDY)


def _in_transaction(file: str, script: Script) -> Iterator[Statement]:
    """The same statements as a transaction allows them: an index is built at once, and VACUUM makes nothing.

    What moves a sequence is left out: that is not rolled back, and a sequence's value is not compared.
    """
    for statement in script.statements:
        words = statement.words
        if concurrently.built(statement) or concurrently.dropped(statement):
            yield statement.without("CONCURRENTLY")
        elif words[0] == "VACUUM" or (words[0] == "SELECT" and "SETVAL" in words):
            continue
        elif (words[0] == "DO" and "setval" in statement.text.lower()) or (words[0] != "CREATE" and "SETVAL" in words):
            raise RefusedError(
                f"{file}, line {statement.line}: it may move a sequence, which is not rolled back", REMEDY
            )
        else:
            yield statement


def objects(connection: Connection, schema: str, extension_schema: str) -> Objects:
    """What is in a schema, as objects.sql tells it. Inside the caller's transaction, which it gives a search_path."""
    set_search_path(connection, schema, extension_schema)
    name = sql.Identifier(schema).as_string(connection)
    found: Objects = {}
    for thing, part, definition in connection.execute(
        files("pgvector_seed.migrate").joinpath("objects.sql").read_bytes(), {"schema": name}
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


def _left(dropped: set[str], there: Objects) -> Iterator[str]:
    return (f"{thing} is there, and the migrations drop it" for thing in sorted(dropped & there.keys()))


def _shown(definition: str | None) -> str:
    return "not there" if definition is None else f"[{' '.join(definition.split())}]"
