"""Time a long history, and other tools: ``python -m bench.migrations [--before CHECKOUT]``.

A server of its own has one database with a history of 1,000 migrations and one with a single one,
both applied, and measures the two in turn. The queries of an `apply` that finds nothing to do are
counted as libpq sends them. Before that, bench.tools compares our `apply` with dbmate, Alembic and,
if a checkout with its own .venv is given, an earlier version of ours.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.measure import compare, own_server, seconds
from bench.tools import ROOT, against_others, write_ours
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import checksums, load
from pgvector_seed.migrate.plan import plan
from pgvector_seed.migrate.runner import apply, preview
from pgvector_seed.postgres.connection import Connection, connect

ROUNDS = 15
SIZES = (1000, 1)


@dataclass(frozen=True)
class History:
    """A folder of migrations, and the database that has them all."""

    folder: Path
    name: str
    environment: dict[str, str]

    @property
    def conninfo(self) -> str:
        """The name of the database as conninfo; the server is in the environment."""
        return f"dbname={self.name}"

    def command(self, verb: str) -> float:
        """Return the seconds of a ``python -m seed migrate`` process, with the start of the interpreter."""
        words = [sys.executable, "-m", "seed", "migrate", verb, "--directory", str(self.folder)]
        environment = {**self.environment, "PGDATABASE": self.name}
        return seconds(lambda: subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, cwd=ROOT))

    def pending(self) -> float:
        """Return the seconds to read and check the files and to plan, for a database without a ledger."""
        with connect() as connection:
            return seconds(lambda: preview(connection, load(self.folder), Declaration()))

    def compare(self) -> float:
        """Return the seconds to read the files and the ledger, and to plan."""
        with connect(self.conninfo) as connection:
            return seconds(lambda: preview(connection, load(self.folder), Declaration()))

    def plan(self) -> float:
        """Return the seconds to compare the files with the ledger, both in memory."""
        files = checksums(load(self.folder))
        return seconds(lambda: plan(files, files))

    def queries(self) -> int:
        """Return the number of queries of an ``apply`` with nothing to do."""
        trace = self.folder.parent / f"{self.name}.trace"
        with connect(self.conninfo) as connection, trace.open("w") as file:
            connection.pgconn.trace(file.fileno())
            self.apply(connection)
            connection.pgconn.untrace()
        messages = [line.split("\t") for line in trace.read_text().splitlines()]
        return sum(words[1:2] == ["F"] and words[3] in ("Query", "Execute") for words in messages)

    def apply(self, connection: Connection) -> None:
        """Apply the folder to the database of the connection."""
        apply(connection, load(self.folder), Declaration(), lambda _line: None)


def build(parent: Path, size: int, environment: dict[str, str]) -> History:
    """Write ``size`` migrations to a new folder, and apply them to a new database."""
    history = History(parent / str(size), f"history_{size}", environment)
    history.folder.mkdir()
    write_ours(history.folder, size)
    with connect() as connection:
        connection.execute(f"CREATE DATABASE {history.name}".encode())
    with connect(history.conninfo) as connection:
        connection.execute("CREATE EXTENSION vector")
        print(f"{size} migrations applied in {seconds(lambda: history.apply(connection)):.1f} s")
    return history


def show(label: str, measure: Callable[[History], float], long: History, short: History) -> None:
    """Measure both histories in turn, and print the comparison."""
    compare(label, [(measure(long), measure(short)) for _ in range(ROUNDS)])


def against_short(folder: Path) -> None:
    """Print a line for each measure: 1,000 migrations against one."""
    long, short = (build(folder, size, dict(os.environ)) for size in SIZES)
    show("plan, pure", History.plan, long, short)
    show("files, ledger and plan", History.compare, long, short)
    show("files and plan, no ledger", History.pending, long, short)
    show("python -m seed migrate plan", lambda history: history.command("plan"), long, short)
    show("python -m seed migrate apply", lambda history: history.command("apply"), long, short)
    print(f"queries of an apply with nothing to do: {long.queries()} against {short.queries()}")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(prog="python -m bench.migrations")
    parser.add_argument("--before", type=Path, help="a checkout of another version, with its own .venv")
    before = parser.parse_args().before
    with own_server() as folder:
        against_others(folder, before and before.resolve())
        against_short(folder)


if __name__ == "__main__":
    main()
