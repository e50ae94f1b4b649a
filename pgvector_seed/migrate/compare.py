"""Whether a database is what the migrations make: they are run in a scratch schema that is then rolled back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files

from psycopg import Rollback, sql
from psycopg.errors import LockNotAvailable

from pgvector_seed.common.errors import MigrationError, RefusedError
from pgvector_seed.migrate import concurrently
from pgvector_seed.migrate.execute import execute_alone
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.reach import (
    LOCK_TIMEOUT,
    Watch,
    makes_what_is_in_no_schema,
    moves_rows_only,
    watched,
)
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
    limits = Limits(LOCK_TIMEOUT, limits.statement_timeout)
    with watched(connection) as watch, connection.transaction(force_rollback=True):
        there = objects(connection, schema, extension_schema)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCRATCH)))
        dropped: set[str] = set()
        for migration in migrations:
            dropped |= _names(connection, extension_schema) if _DROPS.search(migration.up) else set()
            clean_session(connection, limits, SCRATCH, extension_schema)
            _make(connection, migration, watch)
        made = objects(connection, SCRATCH, extension_schema)
        if objects(connection, schema, extension_schema) != there:
            raise RefusedError(f"they change what is in the schema {schema} beyond what they make", REMEDY)
    return [*_compare(made, there), *_left(dropped - made.keys(), there)]


def _names(connection: Connection, extension_schema: str) -> set[str]:
    return set(objects(connection, SCRATCH, extension_schema))


def _make(connection: Connection, migration: Migration, watch: Watch) -> None:
    """Run a migration in the scratch schema, and stop at the first sign that it reaches out of it."""
    file = up_file(migration.id)
    seen: set[tuple[str, ...]] = set()
    try:
        for statement in _in_transaction(file, parse(migration.up)):
            if _is_there(connection, file, statement):
                continue
            target = tuple(statement.words[:5])  # of an INSERT, one look at its table is enough
            if moves_rows_only(statement) and target in seen:
                execute_alone(connection, file, statement, "")
            else:
                _run_and_look(connection, file, statement, watch)
            seen.add(target)
        connection.execute(_AS_AT_COMMIT, prepare=False)
    except MigrationError as error:
        raise RefusedError(f"run in a schema of its own, to be compared, it fails: {error.message}", REMEDY) from error
    reached = watch.reached()
    if reached:
        raise _reaches(file, reached)


def _run_and_look(connection: Connection, file: str, statement: Statement, watch: Watch) -> None:
    """Run a statement. Undo a DROP IF EXISTS of what is only outside: it would find nothing in an empty schema.

    Raises RefusedError if any other statement reaches out of the scratch schema.
    """
    if makes_what_is_in_no_schema(statement):
        raise _reaches(f"{file}, line {statement.line}", f"what is in no schema ({' '.join(statement.words[:2])})")
    reached: str | None = None
    with connection.transaction() as savepoint:
        try:
            execute_alone(connection, file, statement, "")
        except MigrationError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            reached = "a table"
            raise Rollback(savepoint) from error
        reached = watch.reached()
        if reached:
            raise Rollback(savepoint)
    if reached and not (statement.words[0] == "DROP" and statement.words[2:4] == ["IF", "EXISTS"]):
        raise _reaches(f"{file}, line {statement.line}", reached)


def _is_there(connection: Connection, file: str, statement: Statement) -> bool:
    """Return True for CREATE EXTENSION of one that is enabled. Raises RefusedError if it is missing."""
    if statement.words[:2] != ["CREATE", "EXTENSION"]:
        return False
    name = statement.tokens[5] if statement.words[2:5] == ["IF", "NOT", "EXISTS"] else statement.tokens[2]
    if connection.execute(_HAS_EXTENSION, (name,)).fetchone() == (False,):
        raise RefusedError(f"{file}, line {statement.line}: the extension {name} is missing", "Enable it first.")
    return True


def _reaches(place: str, reached: str) -> RefusedError:
    return RefusedError(f"{place}: it reaches {reached}, which the migrations do not make", REMEDY)


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
        elif words[0] == "COPY" and "TO" in words:
            raise RefusedError(f"{file}, line {statement.line}: COPY TO is not rolled back", REMEDY)
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
