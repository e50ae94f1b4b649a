"""Time `migrate apply`, dbmate and Alembic as whole processes, for ``python -m bench.migrations``.

All run the same SQL, in the transactions of their defaults: one for each migration, with Alembic
one for all. dbmate writes no schema file, which would add the time of pg_dump.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql

from bench.measure import compare
from pgvector_seed.postgres.connection import connect

ROUNDS = 15
MANY = 100
ROOT = Path(__file__).parent.parent
MEASURES = (f"{MANY} on a new database", "then nothing to do", "1 on a new database")
INSTALL = {
    "dbmate": "npm install dbmate, and put node_modules/@dbmate/*/bin on PATH: the program without Node around it",
    "alembic": "pip install alembic 'psycopg[binary]' in an environment of its own, and put its bin on PATH",
}

UP = "CREATE TABLE t{number} (id int, v vector(3));\n"
DOWN = "DROP TABLE t{number};\n"
DBMATE = f"-- migrate:up\n{UP}\n-- migrate:down\n{DOWN}"
ALEMBIC = f'''"""step"""

from alembic import op

revision = "{{number:04}}"
down_revision = {{previous!r}}


def upgrade() -> None:
    op.execute("""{UP}""")


def downgrade() -> None:
    op.execute("""{DOWN}""")
'''


def write_ours(folder: Path, size: int) -> None:
    """Write ``size`` migrations, each with a down."""
    for number in range(1, size + 1):
        (folder / f"{number:04}_step.up.sql").write_text(UP.format(number=number))
        (folder / f"{number:04}_step.down.sql").write_text(DOWN.format(number=number))


def write_dbmate(folder: Path, size: int) -> None:
    """Write ``size`` migrations for dbmate."""
    for number in range(1, size + 1):
        (folder / f"{number:04}_step.sql").write_text(DBMATE.format(number=number))


def write_alembic(folder: Path, size: int) -> None:
    """Write ``size`` revisions to a new Alembic folder, which takes the address from libpq's environment."""
    subprocess.run(["alembic", "init", "scripts"], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    settings = folder / "alembic.ini"
    settings.write_text(settings.read_text().replace("driver://user:pass@localhost/dbname", "postgresql+psycopg://"))
    for number in range(1, size + 1):
        previous = f"{number - 1:04}" if number > 1 else None
        revision = folder / "scripts" / "versions" / f"{number:04}_step.py"
        revision.write_text(ALEMBIC.format(number=number, previous=previous))


@dataclass(frozen=True)
class Tool:
    """A command that applies a folder of migrations; {folder} in its words is replaced by the folder."""

    name: str
    words: list[str]
    write: Callable[[Path, int], None]
    cwd: Path = ROOT

    def apply(self, folder: Path) -> float:
        """Return the seconds of the process. Raises RuntimeError with the output if it fails."""
        words = [word.format(folder=folder) for word in self.words]
        url = "postgres://{PGUSER}@{PGHOST}:{PGPORT}/{name}?sslmode=disable".format(**os.environ, name=self.name)
        environment = {**os.environ, "PGDATABASE": self.name, "DATABASE_URL": url}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed tool is compiled once
        started = time.perf_counter()
        process = subprocess.run(words, env=environment, cwd=self.cwd, capture_output=True, text=True)
        taken = time.perf_counter() - started
        if process.returncode:
            raise RuntimeError(f"{self.name} failed: {process.stdout}{process.stderr}")
        return taken

    def one_round(self, parent: Path) -> tuple[float, ...]:
        """Return the seconds of each of MEASURES, with the folders written before."""
        many, single = (parent / f"{self.name}-{size}" for size in (MANY, 1))
        self.recreate_database()
        first, second = self.apply(many), self.apply(many)
        self.require_tables(MANY)
        self.recreate_database()
        third = self.apply(single)
        self.require_tables(1)
        return first, second, third

    def recreate_database(self) -> None:
        """Drop and create the tool's database, and enable pgvector in it."""
        with connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(self.name)))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        with connect(f"dbname={self.name}") as connection:
            connection.execute("CREATE EXTENSION vector")

    def require_tables(self, size: int) -> None:
        """Raise RuntimeError unless the database has the tables of ``size`` migrations."""
        with connect(f"dbname={self.name}") as connection:
            tables = connection.execute(r"SELECT count(*) FROM pg_tables WHERE tablename ~ '^t\d+$'").fetchone()
        if tables != (size,):
            raise RuntimeError(f"{self.name} made {tables} tables of {size}")


def ours(name: str, python: str, checkout: Path) -> Tool:
    """Return `migrate apply` of a checkout, run by its Python."""
    words = [python, "-m", "seed", "migrate", "apply", "--directory", "{folder}"]
    return Tool(name, words, write_ours, checkout)


def other_tools(before: Path | None) -> list[Tool]:
    """Return the installed tools and the earlier version, and print how to install the missing tools."""
    tools = [
        Tool("dbmate", ["dbmate", "--migrations-dir", "{folder}", "--no-dump-schema", "migrate"], write_dbmate),
        Tool("alembic", ["alembic", "--config", "{folder}/alembic.ini", "upgrade", "head"], write_alembic),
    ]
    for tool in tools:
        if not shutil.which(tool.name):
            print(f"{tool.name} is missing. To install it: {INSTALL[tool.name]}")
    earlier = [ours("before", str(before / ".venv/bin/python"), before)] if before else []
    return earlier + [tool for tool in tools if shutil.which(tool.name)]


def against_others(parent: Path, before: Path | None) -> None:
    """Print ours against each other tool, a line for each measure. The first round is not counted."""
    tools = [ours("ours", sys.executable, ROOT), *other_tools(before)]
    for tool in tools:
        for size in (MANY, 1):
            folder = parent / f"{tool.name}-{size}"
            folder.mkdir()
            tool.write(folder, size)
    rounds = [[tool.one_round(parent) for tool in tools] for _ in range(ROUNDS + 1)][1:]
    for number, measure in enumerate(MEASURES):
        for column, tool in enumerate(tools[1:], 1):
            pairs = [(times[0][number], times[column][number]) for times in rounds]
            compare(measure, pairs, f"{tool.name:8}")
