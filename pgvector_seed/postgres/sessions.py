"""Other sessions in words, as a report names the session that it waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from psycopg import sql

from pgvector_seed.common.text import printable

Progress = Callable[[str], None]  # gets a line of progress

# The columns of pg_stat_activity, named a, that ``describe_session`` takes.
SESSION = sql.SQL("""
a.usename, a.application_name, host(a.client_addr), a.pid, date_trunc('second', now() - a.backend_start)::text
""")


def describe_session(row: Sequence[Any]) -> str:
    """Return the session of a row of SESSION in words. Its columns are None if there is no such session."""
    user, application, address, pid, age = row
    if pid is None:
        return "an unknown session"
    if age is None:
        return f"server process {pid} (its user is shown to members of pg_read_all_stats)"
    return printable(
        f"{user} ({application or 'unnamed'}, {address or 'local'}, server process {pid}, connected for {age})"
    )
