"""The check tls: the session is encrypted if the contract asks for TLS."""

from __future__ import annotations

from pgvector_seed.postgres.conninfo import ASKING_FOR_TLS

from ..context import Context
from ..model import Check, Outcome, failed, not_declared, passed, skipped


def run(context: Context) -> Outcome:
    """Check the client's side of the session: behind a proxy, the server's side is another connection."""
    sslmode = context.contract.connection.sslmode
    if sslmode not in ASKING_FOR_TLS:
        return not_declared("a connection that asks for TLS")
    connection = context.connection.pgconn
    expected = f"TLS, by sslmode {sslmode}"
    if connection.ssl_in_use:
        return passed("the session uses TLS", expected)
    if connection.host.startswith(b"/"):
        return skipped("the session goes through a Unix socket, which has no TLS: connect over TCP", expected)
    return failed(
        expected,
        "the session is not encrypted",
        f"PGSSLMODE or the service file overrides the contract. Set it: export PGSSLMODE={sslmode}",
    )


CHECK = Check(
    "tls", "the contract asks for TLS (`sslmode` from `require` on) and the session has none", run, per_table=False
)
