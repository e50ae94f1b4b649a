"""The session in which migrations run: its limits, and nothing that another migration left in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from psycopg import sql

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.snapshot import catalog_snapshot

LOCK_TIMEOUT = "10s"  # a statement that waits longer for its lock makes every later query wait behind it

_DURATION = re.compile(r"0|([0-9]{1,9})(ms|s|min|h)")
_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}
_LONGEST = 2**31 - 1  # milliseconds, PostgreSQL's limit

_CLEAN = sql.SQL("""
RESET ROLE;
RESET ALL;
DISCARD TEMP;
DEALLOCATE ALL;
CLOSE ALL;
SET standard_conforming_strings TO on;
SET search_path TO {schemas};
{ending_with_client};
SELECT pg_catalog.set_config('statement_timeout', {statement}, false) WHERE {statement} <> '';
{limit_lock_waits}
""")
_LIMIT_LOCK_WAITS = sql.SQL("""
SELECT pg_catalog.set_config('lock_timeout', coalesce(nullif({lock}, ''), {default}), {local})
WHERE {lock} <> '' OR pg_catalog.current_setting('lock_timeout') = '0'
""")
_CLOSED = """
SELECT quote_ident(nspname), quote_ident(current_user)
FROM pg_namespace
WHERE nspname = %s AND NOT (has_schema_privilege(oid, 'CREATE')
                            AND has_schema_privilege(oid, 'USAGE'))
  AND oid <> ALL (SELECT extnamespace FROM pg_extension WHERE extname = 'vector')
"""
_WITHOUT_LIMITS = "SET lock_timeout TO 0; SET statement_timeout TO 0"


@dataclass(frozen=True)
class Limits:
    """How long a statement may wait for a lock, and may run: ``500ms``, ``5s``, ``2min``, ``1h``; ``0`` is for ever.

    Where one is "", the session's own holds, such as PGOPTIONS or ALTER ROLE gave it; where that is
    nothing either, a lock is waited for LOCK_TIMEOUT. An index that is built concurrently has no limits.
    """

    lock_timeout: str = ""
    statement_timeout: str = ""


SESSIONS_OWN = Limits()


def fault_of_duration(given: str) -> str | None:
    """Return what is wrong with a limit, or None."""
    match = _DURATION.fullmatch(given)
    if match is None:
        return f"must be like 500ms, 5s, 2min, or 0, which is for ever; got {given!r}"
    if match[1] and int(match[1]) * _MILLISECONDS[match[2]] > _LONGEST:
        return f"must be 24 days at most; got {given!r}"
    return None


def clean_session(connection: Connection, limits: Limits, *schemas: str) -> None:
    """Give the next migration a session in which the one before left no setting and no role."""
    clean = _CLEAN.format(
        schemas=sql.SQL(", ").join(map(sql.Identifier, schemas)),
        ending_with_client=ending_with_client(local=False),
        statement=sql.Literal(limits.statement_timeout),
        limit_lock_waits=_limit_lock_waits(limits, local=False),
    )
    connection.execute(clean, prepare=False)


def limit_lock_waits(connection: Connection, limits: Limits) -> None:
    """Let no statement wait for a lock longer than ``limits`` say, until the transaction ends."""
    connection.execute(_limit_lock_waits(limits, local=True))


def _limit_lock_waits(limits: Limits, *, local: bool) -> sql.Composed:
    lock, default = sql.Literal(limits.lock_timeout), sql.Literal(LOCK_TIMEOUT)
    return _LIMIT_LOCK_WAITS.format(lock=lock, default=default, local=sql.Literal(local))


def refuse_closed_schema(connection: Connection, schema: str) -> None:
    """Raise RefusedError where the schema is there and closed: what a migration makes would go to the next one.

    That is the extension's, which is on the search_path for its types. Of that one the server's own words will do.
    """
    with catalog_snapshot(connection):
        row = connection.execute(_CLOSED, (schema,)).fetchone()
    if row is not None:
        name, role = row
        raise RefusedError(
            f"the schema {name} does not let {role} in", f"In psql: GRANT CREATE, USAGE ON SCHEMA {name} TO {role};"
        )


def lift_limits(connection: Connection) -> None:
    """Set both timeouts to 0, for what waits its turn without making others wait."""
    connection.execute(_WITHOUT_LIMITS, prepare=False)
