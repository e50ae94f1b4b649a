"""Steps that the tests of the migration engine share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from local.workspace import ROOT
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.runner import DEFAULT_OPTIONS, ApplyOptions, apply, revert
from pgvector_seed.postgres.connection import connect
from tests.conftest import Process, declare, pg_variables

LEDGER_SQL = "".join(path.read_text() for path in sorted((ROOT / "pgvector_seed/migrate/ledger").glob("0*.sql")))
MARK = "-- pgvector-seed: no-transaction\n"

# The database after the article's Terraform: the provider's extension, and the up of its one migration.
ARTICLES_TABLE = """
CREATE TABLE public.embeddings (id SERIAL PRIMARY KEY, embedding VECTOR(4));
INSERT INTO embeddings VALUES (1, '[0.1, 0.8, 0.5, 0.3]'), (2, '[0.4, 0.2, 0.7, 0.9]'), (3, '[0.9, 0.5, 0.1, 0.6]')
"""


def write(folder: Path, **texts: str) -> None:
    """Write migrations: ``write(folder, a1_up=...)`` writes 0001_a.up.sql."""
    for name, text in texts.items():
        letter, number, way = name[0], name[1], name[3:]
        (folder / f"000{number}_{letter}.{way}.sql").write_text(text)


def run(
    conninfo: str, folder: Path, declaration: Declaration | None = None, options: ApplyOptions = DEFAULT_OPTIONS
) -> tuple[Ledger, list[str]]:
    """Apply a folder, and return the ledger and the messages."""
    messages: list[str] = []
    with connect(conninfo) as connection:
        return apply(connection, load(folder), declaration or declare(), messages.append, options).ledger, messages


def undo_all(conninfo: str, folder: Path | None = None, schema: str = "public") -> list[str]:
    """Revert all migrations, by a folder's files if there is one, and return the messages."""
    messages: list[str] = []
    with connect(conninfo) as connection:
        revert(connection, load(folder) if folder else [], schema, messages.append)
    return messages


def ledger_of(conninfo: str) -> Ledger | None:
    with connect(conninfo) as connection:
        return read_ledger(connection)


def applied(conninfo: str) -> list[str]:
    """Return the ids in the ledger in its order, or an empty list without a ledger."""
    ledger = ledger_of(conninfo)
    return list(ledger.checksums) if ledger else []


def applier(conninfo: str, folder: Path) -> Process:
    """Start a process that applies a folder, for tests that kill it or run several at once."""
    return Process(
        [sys.executable, "-u", "-m", "seed", "migrate", "apply", "--directory", str(folder)],
        env={**os.environ, **pg_variables(conninfo)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
