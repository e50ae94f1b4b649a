"""The session in which migrations run: its limits, and its reset before each migration."""

from __future__ import annotations

import re
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import query_catalog, rows
from pgvector_seed.vectors.extension import not_enabled

LOCK_TIMEOUT = "10s"  # every later query on the table waits behind a statement that waits for its lock

_DURATION = re.compile(r"0|([0-9]{1,9})(ms|s|min|h)")
_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_LONGEST = 2**31 - 1  # milliseconds, PostgreSQL's limit

_RESET = sql.SQL("""
RESET ROLE;
RESET ALL;
DISCARD TEMP;
DEALLOCATE ALL;
CLOSE ALL;
SET standard_conforming_strings TO on;
SET search_path TO pg_catalog, pg_temp;
SELECT set_config('search_path', concat_ws(', ', quote_ident({schema}), quote_ident(nspname)), false)
FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector';
{ending_with_client};
SELECT pg_catalog.set_config('statement_timeout', {statement}, false) WHERE {statement} <> '';
{limit_lock_waits}
""")
_LIMIT_LOCK_WAITS = sql.SQL("""
SELECT pg_catalog.set_config('lock_timeout', coalesce(nullif({lock}, ''), {default}), {local})
WHERE {lock} <> '' OR pg_catalog.current_setting('lock_timeout') = '0'
""")
_CANNOT_CREATE = """
SELECT quote_ident(nspname), quote_ident(current_user)
FROM pg_namespace
WHERE nspname = %s AND NOT (has_schema_privilege(oid, 'CREATE')
                            AND has_schema_privilege(oid, 'USAGE'))
  AND oid <> ALL (SELECT extnamespace FROM pg_extension WHERE extname = 'vector')
"""
_WITHOUT_LIMITS = "SET lock_timeout TO 0; SET statement_timeout TO 0"


@dataclass(frozen=True)
class Limits:
    """The lock_timeout and statement_timeout of a migration, such as ``500ms``, ``5s`` or ``2min``; ``0`` is no limit.

    "" keeps the session's own setting, from PGOPTIONS or ALTER ROLE; a lock_timeout that is set nowhere is then
    LOCK_TIMEOUT. An index that is built concurrently has no limits.
    """

    lock_timeout: str = ""
    statement_timeout: str = ""


DEFAULT_LIMITS = Limits()


def fault_of_duration(text: str) -> str | None:
    """Return the fault in a limit, or None."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return f"must be like 500ms, 5s, 2min, or 0 for no limit; got {text!r}"
    if match[1] and int(match[1]) * _MILLISECONDS[match[2]] > _LONGEST:
        return f"must be 24 days at most; got {text!r}"
    return None


def reset_session(connection: Connection, limits: Limits, schema: str) -> None:
    """Reset the session's role, settings, temporary tables and cursors, and set the limits and the search_path.

    The search_path is ``schema`` and that of the vector extension. Raises InputError if the extension is not enabled.
    """
    reset = _RESET.format(
        schema=sql.Literal(schema),
        ending_with_client=ending_with_client(local=False),
        statement=sql.Literal(limits.statement_timeout),
        limit_lock_waits=_limit_lock_waits(limits, local=False),
    )
    if not rows(connection.execute(reset, prepare=False)):
        raise not_enabled()


def limit_lock_waits(connection: Connection, limits: Limits) -> None:
    """Set the lock_timeout of ``limits`` until the transaction ends."""
    connection.execute(_limit_lock_waits(limits, local=True))


def _limit_lock_waits(limits: Limits, *, local: bool) -> sql.Composed:
    lock, default = sql.Literal(limits.lock_timeout), sql.Literal(LOCK_TIMEOUT)
    return _LIMIT_LOCK_WAITS.format(lock=lock, default=default, local=sql.Literal(local))


def require_create_privilege(connection: Connection, schema: str) -> None:
    """Raise RefusedError if the schema exists and this role cannot create in it.

    Tables would silently be created in the next schema on the search_path, the extension's. If both are the same
    schema, the server's own error is clear enough.
    """
    for name, role in query_catalog(connection, _CANNOT_CREATE, (schema,)):
        raise RefusedError(
            f"the role {role} cannot create in the schema {name}",
            f"In psql: GRANT CREATE, USAGE ON SCHEMA {name} TO {role};",
        )


def lift_limits(connection: Connection) -> None:
    """Set both timeouts to 0, for a statement that waits without blocking other sessions."""
    connection.execute(_WITHOUT_LIMITS, prepare=False)
