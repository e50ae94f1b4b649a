"""The check extension: pgvector has the declared version and schema, and unqualified names find it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from pgvector_seed.vectors.extension import EXTENSION, available_version, is_older
from pgvector_seed.vectors.names import shadows
from pgvector_seed.vectors.reader import load_library

from ..context import Context
from ..model import READER_CHECKS, Check, Outcome, failed, not_declared, passed

# PostgreSQL 18 shows the version of the library that this session has loaded.
_LOADED = "SELECT version FROM pg_get_loaded_modules() WHERE module_name = %s"
_SHOWS_LOADED = 180000
_UPDATE = f"ALTER EXTENSION {EXTENSION} UPDATE;"


def run(context: Context) -> Outcome:
    """Compare the extension with its declaration, then the reader's search_path, then the loaded library."""
    declared = context.contract.extension
    if declared.schema is None and declared.minimum is None and declared.name is None:
        return not_declared("the extension")
    expected = EXTENSION + (f" {declared.minimum} or later" if declared.minimum else "")
    expected += f" in the schema {declared.schema}" if declared.schema else ""
    extension = context.extension
    if extension is None:
        return failed(expected, "the extension is not enabled in this database", _create(context))
    actual = f"{EXTENSION} {extension.version} in the schema {extension.schema}"
    if declared.minimum and is_older(extension.version, declared.minimum):
        return failed(expected, actual, _update(context, declared.minimum))
    if declared.schema not in (None, extension.schema):
        schema = sql.Identifier(declared.schema or "").as_string()
        return failed(expected, actual, f"ALTER EXTENSION {EXTENSION} SET SCHEMA {schema};")
    role = context.reader.name or context.connection.info.user
    remedies = list(_make_visible(context, extension.schema, role))
    if remedies:
        return failed(expected, f"{actual}, which unqualified names of {role} do not find", "\n".join(remedies))
    found_first = shadows(context.connection, role, context.reader_path)
    if found_first:
        actual += f", and the plain query of {role} finds first: {', '.join(found_first)}"
        return failed(expected, actual, _put_first(context, extension.schema, role), blocks=READER_CHECKS)
    loaded = _loaded_version(context, extension.schema)
    if loaded and declared.minimum and is_older(loaded, declared.minimum):
        return failed(expected, f"{actual}, and the loaded library is {loaded}", _install(context, declared.minimum))
    return passed(actual, expected)


def _create(context: Context) -> str:
    if available_version(context.connection) is None:
        return "Install pgvector on the server, then run: pulumi up"
    schema = sql.Identifier(context.contract.extension.schema or "public").as_string()
    create = f"CREATE EXTENSION {EXTENSION} SCHEMA {schema};"
    return f"{create}\n-- Columns and indexes that were dropped with it: restore them from a backup."


def _update(context: Context, minimum: str) -> str:
    available = available_version(context.connection)
    if available is None or is_older(available, minimum):
        return _install(context, minimum)
    return (
        f"{_UPDATE}\n-- As a superuser or, on a managed server, the role that enabled the extension.\n"
        "-- pgvector's changelog says which indexes need REINDEX after it."
    )


def _install(context: Context, minimum: str) -> str:
    available = available_version(context.connection)
    return (
        f"The server's files are {f'of pgvector {available}' if available else 'missing'}: install {minimum} or later, "
        f"restart the server, then as a superuser: {_UPDATE}"
    )


def _loaded_version(context: Context, schema: str) -> str | None:
    """Return the version of the loaded library; None before PostgreSQL 18, or if this login may not use the schema."""
    if context.connection.info.server_version < _SHOWS_LOADED:
        return None
    if not context.has_usage(context.connection.info.user, schema):
        return None
    load_library(context.connection, schema)
    version = context.fetch_value(_LOADED, EXTENSION)
    return str(version) if version else None


def _make_visible(context: Context, schema: str, role: str) -> Iterator[str]:
    """Yield the statements after which the role's unqualified names find pgvector's types and operators."""
    if not context.has_usage(role, schema):
        yield f"GRANT USAGE ON SCHEMA {context.quote(schema)} TO {context.quote(role)};"
    path = context.reader_path
    if schema not in path:
        yield _set_path(context, role, [*path, schema])


def _put_first(context: Context, schema: str, role: str) -> str:
    """Return the statement after which the role's unqualified names find pgvector before others."""
    path = context.reader_path
    first = [name for name in path if name == "pg_catalog"] + [schema]
    return _set_path(context, role, [*first, *(name for name in path if name not in first)])


def _set_path(context: Context, role: str, path: Sequence[str]) -> str:
    schemas = ", ".join('"$user"' if name == role else context.quote(name) for name in path)
    return context.alter_role(role, "search_path", schemas)


CHECK = Check(
    "extension",
    "pgvector is missing, older than declared (from PostgreSQL 18 on, also the loaded library), in another "
    "schema, not found by unqualified names, or others are found first",
    run,
    per_table=False,
)
