"""extension: pgvector is there, new enough, where it was declared, and in reach of a plain query."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from pgvector_seed.vectors.extension import EXTENSION, available_version, is_older
from pgvector_seed.vectors.reader import load_library

from ..context import Look
from ..model import Check, Outcome, failed, not_declared, passed

# PostgreSQL 18 tells which version of the library this session has loaded.
_LOADED = "SELECT version FROM pg_get_loaded_modules() WHERE module_name = %s"
_TELLS_LOADED = 180000
_USAGE = "SELECT has_schema_privilege(%s::name, %s, 'USAGE')"


def judge(look: Look) -> Outcome:
    """Judge the extension, the loaded library, and then the reader's search_path."""
    declared = look.contract.extension
    if declared.schema is None and declared.minimum is None and declared.name is None:
        return not_declared("the extension")
    expected = EXTENSION + (f" {declared.minimum} or later" if declared.minimum else "")
    expected += f" in the schema {declared.schema}" if declared.schema else ""
    found = look.extension
    if found is None:
        return failed(expected, "it is not enabled in this database", _create(look))
    said = f"{EXTENSION} {found.version} in the schema {found.schema}"
    if declared.minimum and is_older(found.version, declared.minimum):
        return failed(expected, said, _update(look, declared.minimum))
    if declared.schema not in (None, found.schema):
        schema = sql.Identifier(declared.schema or "").as_string()
        return failed(expected, said, f"ALTER EXTENSION {EXTENSION} SET SCHEMA {schema};")
    who = look.reader.name or look.connection.info.user
    reach = list(_reach(look, found.schema, who))
    if reach:
        return failed(expected, f"{said}, out of reach of a plain query of {who}", "\n".join(reach))
    loaded = _loaded(look, found.schema)
    if loaded and declared.minimum and is_older(loaded, declared.minimum):
        return failed(expected, f"{said}, and the server's library is {loaded}", _install(declared.minimum))
    return passed(said, expected)


def _create(look: Look) -> str:
    if available_version(look.connection) is None:
        return "Install pgvector on the server, then run: pulumi up"
    schema = sql.Identifier(look.contract.extension.schema or "public").as_string()
    return f"CREATE EXTENSION {EXTENSION} SCHEMA {schema};\nWhat was dropped with it comes back from a backup only."


def _update(look: Look, minimum: str) -> str:
    available = available_version(look.connection)
    if available is None or is_older(available, minimum):
        return _install(minimum)
    return f"ALTER EXTENSION {EXTENSION} UPDATE;"


def _install(minimum: str) -> str:
    return f"Install pgvector {minimum} or later on the server, restart it, then: ALTER EXTENSION {EXTENSION} UPDATE;"


def _loaded(look: Look, schema: str) -> str | None:
    """The version of the library, where this server tells it and this login may load it."""
    if look.connection.info.server_version < _TELLS_LOADED:
        return None
    if not look.value(_USAGE, look.connection.info.user, schema):
        return None
    load_library(look.connection, schema)
    found = look.value(_LOADED, EXTENSION)
    return str(found) if found else None


def _reach(look: Look, schema: str, who: str) -> Iterator[str]:
    """What is to be done before a plain query of this role finds the types and operators."""
    home, role = look.quoted(schema), look.quoted(who)
    if not look.value(_USAGE, who, schema):
        yield f"GRANT USAGE ON SCHEMA {home} TO {role};"
    path = look.reader.search_path(look.connection)
    if schema not in path:
        schemas = ", ".join('"$user"' if name == who else look.quoted(name) for name in [*path, schema])
        here = look.quoted(look.connection.info.dbname)
        yield f"ALTER ROLE {role} IN DATABASE {here} SET search_path = {schemas};"


CHECK = Check(
    "extension",
    "pgvector is absent, older than declared (the loaded library too, from PostgreSQL 18 on), in another "
    "schema, or out of reach of a plain query",
    judge,
    of_a_table=False,
)
