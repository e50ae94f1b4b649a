"""What a long history costs, and what other tools take: ``python -m bench.migrations [--before CHECKOUT]``.

A server of its own has one database with a history of 1,000 migrations and one with a single one,
both applied. The two are asked in turn. The queries of an `apply` that finds nothing to do are
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
        """How this process reaches it; the rest is in the environment."""
        return f"dbname={self.name}"

    def command(self, verb: str) -> float:
        """Seconds of a whole ``python -m seed migrate``, the interpreter's start included."""
        words = [sys.executable, "-m", "seed", "migrate", verb, "--directory", str(self.folder)]
        environment = {**self.environment, "PGDATABASE": self.name}
        return seconds(lambda: subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL, cwd=ROOT))

    def pending(self) -> float:
        """Seconds to read and check the files for a database that has none of them, and to plan."""
        with connect() as connection:
            return seconds(lambda: preview(connection, load(self.folder), Declaration()))

    def compare(self) -> float:
        """Seconds to read the files and the ledger, and to plan."""
        with connect(self.conninfo) as connection:
            return seconds(lambda: preview(connection, load(self.folder), Declaration()))

    def plan(self) -> float:
        """Seconds of the pure plan: files against ledger, in memory."""
        files = checksums(load(self.folder))
        return seconds(lambda: plan(files, files))

    def queries(self) -> int:
        """The number of queries of an apply with nothing to do."""
        trace = self.folder.parent / f"{self.name}.trace"
        with connect(self.conninfo) as connection, trace.open("w") as file:
            connection.pgconn.trace(file.fileno())
            self.apply(connection)
            connection.pgconn.untrace()
        sent = [line.split("\t") for line in trace.read_text().splitlines()]
        return sum(words[1:2] == ["F"] and words[3] in ("Query", "Execute") for words in sent)

    def apply(self, connection: Connection) -> None:
        """Bring the database to the files."""
        apply(connection, load(self.folder), Declaration(), lambda _line: None)


def build(place: Path, size: int, environment: dict[str, str]) -> History:
    """Write so many migrations, each with a down, and apply them to a new database."""
    history = History(place / str(size), f"history_{size}", environment)
    history.folder.mkdir()
    write_ours(history.folder, size)
    with connect() as connection:
        connection.execute(f"CREATE DATABASE {history.name}".encode())
    with connect(history.conninfo) as connection:
        connection.execute("CREATE EXTENSION vector")
        print(f"{size} migrations applied in {seconds(lambda: history.apply(connection)):.1f} s")
    return history


def show(what: str, measure: Callable[[History], float], long: History, short: History) -> None:
    """Print how the long history compares with the short one."""
    compare(what, [(measure(long), measure(short)) for _ in range(ROUNDS)])


def against_short(place: Path) -> None:
    """Print a line per measure: 1,000 migrations against one."""
    long, short = (build(place, size, dict(os.environ)) for size in SIZES)
    show("plan, pure", History.plan, long, short)
    show("files, ledger and plan", History.compare, long, short)
    show("the same, nothing applied", History.pending, long, short)
    show("python -m seed migrate plan", lambda history: history.command("plan"), long, short)
    show("python -m seed migrate apply", lambda history: history.command("apply"), long, short)
    print(f"queries of an apply with nothing to do: {long.queries()} against {short.queries()}")


def main() -> None:
    """Print both comparisons."""
    parser = argparse.ArgumentParser(prog="python -m bench.migrations")
    parser.add_argument("--before", type=Path, help="a checkout of another version, with its own .venv")
    before = parser.parse_args().before
    with own_server() as place:
        against_others(place, before and before.resolve())
        against_short(place)


if __name__ == "__main__":
    main()
