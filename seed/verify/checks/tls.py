"""tls: the session is encrypted where the contract asks for that."""

from __future__ import annotations

from pgvector_seed.postgres.conninfo import ASKING_FOR_TLS

from ..context import Look
from ..model import Check, Outcome, failed, not_declared, passed, skipped


def judge(look: Look) -> Outcome:
    """Judge this client's own session: behind a proxy, the server's view would be of another one."""
    sslmode = look.contract.connection.sslmode
    if sslmode not in ASKING_FOR_TLS:
        return not_declared("a connection that asks for TLS")
    connection = look.connection.pgconn
    expected = f"TLS, as sslmode {sslmode} says"
    if connection.ssl_in_use:
        return passed("the session uses TLS", expected)
    if connection.host.startswith(b"/"):
        return skipped("the session goes through a Unix socket, which has no TLS: connect as your readers do", expected)
    return failed(
        expected,
        "the session is not encrypted",
        f"PGSSLMODE or the service file said otherwise than the contract: export PGSSLMODE={sslmode}",
    )


CHECK = Check(
    "tls", "the contract asks for TLS (`sslmode` from `require` on) and the session has none", judge, of_a_table=False
)
