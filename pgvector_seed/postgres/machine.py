"""The memory and the cores of this machine, and whether a server runs on it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pgvector_seed.postgres.connection import Connection

# The limits of this control group: version 2 and version 1. "max", or a huge number, is no limit.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def is_on_this_machine(connection: Connection) -> bool:
    """Return True if the server is known to run on this machine.

    It is if the connection is by a Unix socket, or if the session's server process is a process of this machine.
    """
    if connection.info.host.startswith(("/", "@")):
        return True
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    title = b""
    with suppress(OSError):
        title = Path(f"/proc/{row[0]}/cmdline").read_bytes() if row else b""
    names = f" {connection.info.user} {connection.info.dbname} ".encode()
    return title.startswith(b"postgres:") and names in title


def memory_bytes() -> int | None:
    """Return the bytes of memory of this machine, or of this control group if it is limited; None if unknown."""
    sizes: list[int] = []
    with suppress(ValueError, OSError, AttributeError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for path in _LIMITS:
        with suppress(OSError, ValueError):
            sizes.append(int(Path(path).read_text()))
    return min(sizes, default=None)


def shared_memory_bytes() -> int | None:
    """Return the free bytes of /dev/shm, where a server on Linux has the memory of its workers; None elsewhere."""
    try:
        shared = os.statvfs("/dev/shm")  # noqa: S108  # no file is made there
    except (OSError, AttributeError):
        return None
    return shared.f_frsize * shared.f_bavail


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
