"""A host name with two addresses, of which the first refuses connections. Only the commands of one test know it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.server import HOST, Server
from tests.proxies import Proxy

NAME = "db.test"
ALIVE = "127.0.0.2"  # this machine's, as all of 127.0.0.0/8 on Linux
FIRST = f"import socket; print(socket.getaddrinfo({NAME!r}, 1, type=socket.SOCK_STREAM)[0][4][0])"


@dataclass(frozen=True)
class Name:
    """A host name. ``prefix`` goes before a command; ``settings`` are the PG* variables that use the name."""

    prefix: list[str]
    settings: dict[str, str]


@contextmanager
def half_dead(server: Server, folder: Path) -> Iterator[Name]:
    """Yield a name of the server whose first address refuses connections."""
    prefix = _own_hosts(folder)
    with closing(Proxy(server, host=ALIVE)) as proxy, socket.socket() as taken:
        taken.bind((HOST, proxy.port))  # bound and not listening: connections are refused
        yield Name(prefix, {"PGHOST": NAME, "PGPORT": str(proxy.port), "PGSSLMODE": "disable"})


def _own_hosts(folder: Path) -> list[str]:
    """Return the prefix that runs a command with an /etc/hosts of its own. Skips the test if none can be made."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare, so no /etc/hosts for one command alone; on Linux with util-linux this runs")
    file = folder / "hosts"
    file.write_text(f"{HOST} localhost {NAME}\n{ALIVE} {NAME}\n")
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = ["unshare", "--mount", *user, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(file)]
    tried = subprocess.run([*prefix, sys.executable, "-c", FIRST], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(
            f"no namespace may be made here ({tried.stderr.strip()}); as root, or with user namespaces, this runs"
        )
    assert tried.stdout.strip() == HOST, "the dead one comes first, or nothing is shown"
    return prefix
