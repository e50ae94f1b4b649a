"""Comparing a database with its migrations, which are run in a scratch schema and rolled back."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from importlib.resources import files

from psycopg import sql

from pgvector_seed.common.errors import MigrationError, RefusedError
from pgvector_seed.migrate import concurrently
from pgvector_seed.migrate.execute import execute_alone
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.reach import changes_rows_only, locked_outside, named_outside
from pgvector_seed.migrate.scanner import Statement
from pgvector_seed.migrate.script import Script, parse
from pgvector_seed.migrate.session import Limits, reset_session
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import set_search_path

SCRATCH = "pgvector_seed_scratch"
REMEDY = (
    "To be compared, the SQL must name tables without a schema, and create and alter objects only in the "
    "deployment's schema and only of these migrations."
)

# Check deferred constraints as COMMIT would, and defer them again for the next migration.
_AS_AT_COMMIT = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED; RESET ROLE"
_HAS_EXTENSION = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = (pg_catalog.parse_ident(%s))[1])
"""
_DROPS = re.compile(r"\b(drop|rename)\b", re.IGNORECASE)

Objects = dict[str, dict[str, str]]  # object -> part ("" for the object itself) -> definition


def differences(
    connection: Connection,
    migrations: Sequence[Migration],
    schema: str,
    extension_schema: str,
    limits: Limits,
    declared_indexes: Collection[str] = (),
) -> list[str]:
    """Return the differences between ``schema`` and the objects that the migrations make, one line for each.

    Objects that no migration makes are ignored, among the indexes of their tables only ``declared_indexes``. An object
    that a migration drops must be missing. Everything is rolled back.

    Raises RefusedError if a migration fails in the scratch schema, or changes an object outside of it.
    """
    with connection.transaction(force_rollback=True):
        actual = objects(connection, schema, extension_schema)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCRATCH)))
        dropped: set[str] = set()
        for migration in migrations:
            if _DROPS.search(migration.up):
                dropped |= objects(connection, SCRATCH, extension_schema).keys()
            reset_session(connection, limits, SCRATCH)
            _run_in_scratch(connection, migration)
        expected = objects(connection, SCRATCH, extension_schema)
        if objects(connection, schema, extension_schema) != actual:
            raise RefusedError(f"the migrations change objects of the schema {schema} that they do not make", REMEDY)
    ignored = {f"index {name}" for name in declared_indexes}
    return [*_compare(expected, actual, ignored), *_not_dropped(dropped - expected.keys(), actual)]


def _run_in_scratch(connection: Connection, migration: Migration) -> None:
    """Run a migration in the scratch schema. Raises RefusedError if it fails or changes an object outside."""
    file = up_file(migration.id)
    try:
        for statement in _transactional(file, parse(migration.up)):
            if not _can_be_left_out(connection, file, statement):
                execute_alone(connection, file, statement, {"": REMEDY})
                _refuse(file, statement, None if changes_rows_only(statement) else locked_outside(connection, SCRATCH))
        connection.execute(_AS_AT_COMMIT, prepare=False)
        _refuse(file, None, locked_outside(connection, SCRATCH))
    except MigrationError as error:
        message = f"the comparison in a scratch schema failed: {error.message}"
        raise RefusedError(message, error.remedy) from error


def _can_be_left_out(connection: Connection, file: str, statement: Statement) -> bool:
    """Return True for CREATE of an enabled extension, and for DROP IF EXISTS of an object in another schema.

    Raises RefusedError for any other statement that names an object outside of the scratch schema.
    """
    words = statement.words
    if words[:2] == ["CREATE", "EXTENSION"]:
        name = statement.tokens[5] if words[2:5] == ["IF", "NOT", "EXISTS"] else statement.tokens[2]
        if connection.execute(_HAS_EXTENSION, (name,)).fetchone() == (False,):
            raise RefusedError(
                f"{file}, line {statement.line}: the extension {name} is missing", f"In psql: CREATE EXTENSION {name};"
            )
        return True
    outside = named_outside(connection, statement, SCRATCH)
    if outside and words[0] == "DROP" and words[2:4] == ["IF", "EXISTS"]:
        return True
    _refuse(file, statement, outside)
    return False


def _refuse(file: str, statement: Statement | None, outside: str | None) -> None:
    if outside:
        line = f", line {statement.line}" if statement else ""
        raise RefusedError(f"{file}{line} reaches {outside}, which the migrations do not make", REMEDY)


def _transactional(file: str, script: Script) -> Iterator[Statement]:
    """Yield the statements in a form that can be rolled back: without CONCURRENTLY, VACUUM and SELECT setval.

    Raises RefusedError for any other statement that cannot.
    """
    for statement in script.statements:
        words = statement.words
        if concurrently.built_index(statement) or concurrently.dropped_index(statement):
            yield statement.without("CONCURRENTLY")
        elif words[0] == "VACUUM" or (words[0] == "SELECT" and "SETVAL" in words):
            continue
        elif (words[0] == "DO" and "setval" in statement.text.lower()) or (words[0] != "CREATE" and "SETVAL" in words):
            raise RefusedError(f"{file}, line {statement.line} may set a sequence, which is not rolled back", REMEDY)
        elif words[0] == "COPY" and "TO" in words:
            raise RefusedError(f"{file}, line {statement.line}: COPY TO is not rolled back", REMEDY)
        else:
            yield statement


def objects(connection: Connection, schema: str, extension_schema: str) -> Objects:
    """Return the objects of a schema with the definitions of their parts. Sets the transaction's search_path."""
    set_search_path(connection, schema, extension_schema)
    query = files("pgvector_seed.migrate").joinpath("objects.sql").read_bytes()
    rows = connection.execute(query, {"schema": sql.Identifier(schema).as_string(connection)})
    definitions: Objects = {}
    for name, part, definition in rows:
        definitions.setdefault(name, {})[part] = definition
    return definitions


def _compare(expected: Objects, actual: Objects, ignored: Collection[str]) -> Iterator[str]:
    for name, parts in expected.items():
        if name not in actual:
            yield f"{name} is missing"
            continue
        for part in sorted(parts.keys() | (actual[name].keys() - ignored)):
            definition, made = actual[name].get(part), parts.get(part)
            if definition != made:
                label = f"{name}, {part}" if part else name
                has = "missing" if definition is None else f"the database has {_shown(definition)}"
                makes = "do not make it" if made is None else f"make {_shown(made)}"
                yield f"{label}: {has}, and the migrations {makes}"


def _not_dropped(dropped: set[str], actual: Objects) -> Iterator[str]:
    return (f"{name} exists, and the migrations drop it" for name in sorted(dropped & actual.keys()))


def _shown(definition: str) -> str:
    return f"[{' '.join(definition.split())}]"
