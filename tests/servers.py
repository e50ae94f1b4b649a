"""PostgreSQL servers that differ from the usual one of the tests: a standby, and one with an old pgvector."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from local import binaries
from local.server import Server
from tests.conftest import PASSWORD, conninfo, new_server, remove

OLD_WHEEL = "pgserver"  # PostgreSQL 16.2 with pgvector 0.6.2, in folders of the same names


@dataclass(frozen=True)
class Standby(Server):
    """A server whose data is a copy of its primary's, and which follows the primary."""

    primary: Server

    def _make_data(self) -> None:
        """Copy the primary instead of running initdb."""
        if self.data.is_dir():
            return
        source = f"--dbname={self._source()}"
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--no-manifest"]
        made = self._run("pg_basebackup", source, f"--pgdata={self.data}", *options)
        assert made.returncode == 0, made.stdout

    def _source(self) -> str:
        """Return the primary's conninfo, with the password in a file: other tests look at all processes' arguments."""
        passfile = self.home / "pgpass"
        passfile.write_text(f"*:*:*:*:{PASSWORD.replace(':', chr(92) + ':')}\n")
        passfile.chmod(0o600)
        owner = self.home.stat()
        os.chown(passfile, owner.st_uid, owner.st_gid)
        parameters = conninfo_to_dict(conninfo(self.primary, "postgres"))
        del parameters["password"]
        return make_conninfo("", **parameters, passfile=str(passfile))


@contextmanager
def standby(primary: Server, folder: Path) -> Iterator[Standby]:
    """Yield a read-only server that streams the primary's changes, and remove it at the end."""
    folder.mkdir(exist_ok=True)
    shutil.copy(primary.folder / "pgpass", folder)  # the logins are the primary's
    server = Standby(folder, primary.major, primary)
    try:
        server.start()
        yield server
    finally:
        remove(server)


@contextmanager
def old_server(folder: Path) -> Iterator[Server]:
    """Yield a server whose pgvector precedes iterative scans (0.8.0), halfvec and sparsevec (0.7.0)."""
    if importlib.util.find_spec(OLD_WHEEL) is None:
        pytest.skip(f"{OLD_WHEEL} has no wheel for Python 3.13 and later: rm -rf .venv; make test PYTHON=python3.12")
    try:
        with mock.patch.object(binaries, "WHEEL", OLD_WHEEL):
            server = new_server(folder, 16)
        yield server
    finally:
        with mock.patch.object(binaries, "WHEEL", OLD_WHEEL):
            remove(Server(folder, 16))
