"""The memory that the build of an index needs, and the settings of the session that builds it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from pgvector_seed.common.text import counted
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.interrupt import ending_with_client
from pgvector_seed.postgres.machine import cores, is_on_this_machine
from pgvector_seed.postgres.machine import memory_bytes as bytes_of_machine
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.indexes import INDEX_DEFAULTS

MEMORY, WORKERS = "maintenance_work_mem", "max_parallel_maintenance_workers"
MEGABYTE = 1 << 20
_BYTES_OF_PROCESS = 32 * MEGABYTE  # the server starts no worker that gets less (plan_create_index_workers)
_MOST = (2**31 - 1) * 1024  # bytes; the largest maintenance_work_mem
# A build waits for old transactions, and no other session waits behind it. A small heap whose vectors are in TOAST
# would get no worker. transaction_timeout is new in PostgreSQL 17.
_SCAN_SIZE = "min_parallel_table_scan_size"
_LIFTED = ("statement_timeout", "lock_timeout", "transaction_timeout")
_CHANGED = (*_LIFTED, "client_connection_check_interval")
# set_config takes the bare number of a setting in blocks.
_READ = """
SELECT name, setting || CASE WHEN unit = '8kB' THEN '' ELSE coalesce(unit, '') END, source
FROM pg_settings WHERE name = ANY (%s)
"""
_PLANNED = "SELECT name, setting::bigint, source FROM pg_settings WHERE name = ANY (%s)"
_SET = "SELECT pg_catalog.set_config(%s, %s, false)"


@dataclass(frozen=True)
class BuildSettings:
    """The memory in bytes and the workers of a build; ``needed`` is the estimate of the memory, or None if unknown."""

    memory: int
    workers: int
    needed: int | None

    def shown(self, setting: str) -> str:
        """Return the settings in words, and if the build does not fit, the value of ``setting`` with which it would."""
        needed = f"needs about {megabytes(self.needed)}; " if self.needed is not None else ""
        short = self.needed is not None and self.needed > self.memory
        slow = f"; it does not fit: set {setting} to {megabytes(self.needed)}" if short else ""
        return f"{needed}{MEMORY} {megabytes(self.memory)}, {counted(self.workers, 'worker')}{slow}"


def megabytes(size: int | None) -> str:
    """Return a size in bytes as a text like "310 MB", rounded up."""
    return f"{math.ceil((size or 0) / MEGABYTE)} MB"


def lists_for(rows: int) -> int:
    """Return the lists of an ivfflat index, by the advice in the section "IVFFlat" of pgvector's README."""
    return max(1, rows // 1000 if rows <= 1_000_000 else math.isqrt(rows))


def estimate_memory(method: str, rows: int, vector: int, parameters: Mapping[str, Any]) -> int | None:
    """Return the memory in bytes that a build needs, or None for an unknown method. ``vector`` is a vector's bytes.

    hnsw: its graph, by measurement. ivfflat: the samples, centers and distances of k-means, by its ivfkmeans.c.
    """
    values = {**INDEX_DEFAULTS.get(method, {}), **parameters}
    if method == "hnsw":
        return round(rows * (vector + 210 + 32 * int(values["m"])) * 1.2)
    if method == "ivfflat":
        lists = int(values["lists"])
        samples = max(10_000, 50 * lists)
        drawn = min(rows, samples)
        distances = 4 * (drawn * lists + lists * lists + 2 * drawn + 3 * lists)
        return round(((samples + 2 * lists) * (vector + 8) + distances) * 1.05)
    return None


def plan_settings(
    connection: Connection, needed: int | None, memory_bytes: int | None, *, workers: int | None = None
) -> BuildSettings:
    """Return the settings of a build that needs ``needed`` bytes, and may use ``memory_bytes`` or its default.

    The default is half of the memory of a server on this machine, and else the server's own setting. A setting that
    the client made stays; ``workers`` overrides all else.
    """
    rows = query_catalog(connection, _PLANNED, ([MEMORY, WORKERS, "max_parallel_workers"],))
    values = {name: int(value) for name, value, _ in rows}
    is_clients = {name: source in ("client", "session") for name, _, source in rows}
    is_local = is_on_this_machine(connection)
    if workers is None:
        most = min(cores() - 1, values["max_parallel_workers"])
        workers = most if is_local and not is_clients[WORKERS] else values[WORKERS]
    own = values[MEMORY] * 1024
    total = bytes_of_machine() if is_local else None
    bound = memory_bytes or (total // 2 if total else None)
    if is_clients[MEMORY] or bound is None:
        return BuildSettings(own, workers, needed)
    of_processes = _BYTES_OF_PROCESS * (workers + 1) if workers else 0
    enough = max(needed, own, of_processes) if needed is not None else memory_bytes or own
    return BuildSettings(max(MEGABYTE, min(enough, bound, _MOST)), workers, needed)


@contextmanager
def settings_applied(connection: Connection, settings: BuildSettings) -> Iterator[None]:
    """Build with these settings in the block, in a transaction or not, and restore the session's own at its end.

    A setting that the client or the session made before stays, except workers for which there is no memory.
    """
    values = {MEMORY: f"{settings.memory // 1024}kB", WORKERS: str(settings.workers), _SCAN_SIZE: "0"}
    before = [
        (name, value, source == "session")
        for name, value, source in query_catalog(connection, _READ, (list(values),))
        if source not in ("client", "session") or (name == WORKERS and settings.workers == 0)
    ]
    for name, _, _ in before:
        connection.execute(_SET, (name, values[name]))
    try:
        yield
    finally:
        # The end of a failed transaction restores the settings itself.
        if connection.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            for name, value, is_sessions in before:
                _restore(connection, name, value, is_sessions=is_sessions)


@contextmanager
def build_session(connection: Connection) -> Iterator[None]:
    """Lift the limits of a session in the block, and restore them at the end.

    The server ends the session's statements within a second of losing the client.
    """
    settings = query_catalog(connection, _READ, (list(_CHANGED),))
    names = {name for name, *_ in settings}
    for name in _LIFTED:
        if name in names:
            connection.execute(_SET, (name, "0"))
    connection.execute(ending_with_client(local=False))
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # of a lost connection; the first error is the one to report
            for name, value, source in settings:
                _restore(connection, name, value, is_sessions=source == "session")


def _restore(connection: Connection, name: str, value: str, *, is_sessions: bool) -> None:
    """Restore a setting. RESET keeps its source, by which the next build knows whether the client made it."""
    if is_sessions:
        connection.execute(_SET, (name, value))
    else:
        connection.execute(sql.SQL("RESET {}").format(sql.Identifier(name)))
