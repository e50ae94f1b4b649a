"""The SQL of docs/migrations.md, on a server, with rows in the table."""

from __future__ import annotations

import os
import re
import textwrap
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pgvector import Vector
from pgvector.psycopg import register_vector

from local.workspace import ROOT
from tests.commands import run_seed
from tests.conftest import ask, declare, pg_variables
from tests.migrate.helpers import MARK, run, undo_all

PAGE = (ROOT / "docs" / "migrations.md").read_text(encoding="utf-8")
BLOCKS = {
    title: textwrap.dedent(block)
    for title, block in re.findall(r"<!-- (?:sql|python): (\w+) -->\n *```\w+\n(.*?)```", PAGE, re.DOTALL)
}
BEFORE = "CREATE TABLE documents (id bigint PRIMARY KEY, body text NOT NULL, embedding vector(4) NOT NULL);"
INDEX = "CREATE INDEX CONCURRENTLY documents_embedding_idx ON documents USING hnsw (embedding vector_cosine_ops);"
ROWS = "SELECT i, 'text ' || i, ARRAY[sin(i), cos(i), sin(i * 2), cos(i * 3)]::vector FROM generate_series(1, 2500) i"
DECLARED = {"documents": {"metric": "cosine", "rows": 2500, "recall": {"k": 10, "minimum": 0.5}}}


def verify(conninfo: str, *options: str) -> tuple[int, str]:
    """Run ``verify``, and return its exit code and what it prints."""
    done = run_seed("verify", *options, environment={**os.environ, **pg_variables(conninfo)}, merged=True)
    return done.returncode, done.stdout


def embed(body: str) -> Vector:
    """Return a vector of 8 dimensions that depends on the text alone."""
    return Vector([byte / 255 for byte in sha256(body.encode()).digest()[:8]])


class Deployment:
    """A database whose migrations are added one by one."""

    def __init__(self, conninfo: str, folder: Path) -> None:
        self.conninfo, self.folder = conninfo, folder

    def apply(self, up: str, down: str) -> None:
        """Add a migration, and apply it."""
        number = len(list(self.folder.glob("*.up.sql"))) + 1
        (self.folder / f"{number:04}_m.up.sql").write_text(up)
        (self.folder / f"{number:04}_m.down.sql").write_text(down)
        run(self.conninfo, self.folder, declare(tables=DECLARED))

    def fill(self) -> None:
        """Run the page's loop with a model of 8 dimensions."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            register_vector(connection)
            names: dict[str, Any] = {"connection": connection, "embed": embed}
            exec(BLOCKS["fill"], names)  # noqa: S102  # the documentation's code


@pytest.fixture
def deployment(database: str, folder: Path) -> Deployment:
    """Return a deployment of a filled table of four dimensions."""
    made = Deployment(database, folder)
    made.apply(BEFORE, "DROP TABLE documents;")
    made.apply(MARK + INDEX, MARK + "DROP INDEX CONCURRENTLY documents_embedding_idx;")
    ask(database, f"INSERT INTO documents {ROWS}")
    ask(database, "ANALYZE documents")
    return made


@pytest.mark.newest
def test_other_dimensions_cannot_be_cast(deployment: Deployment) -> None:
    """The short way fails as the page says."""
    with pytest.raises(psycopg.errors.DataException, match="expected 8 dimensions, not 4"):
        ask(deployment.conninfo, "ALTER TABLE documents ALTER COLUMN embedding TYPE vector(8)")


@pytest.mark.newest
def test_the_dimensions_change_step_by_step(deployment: Deployment) -> None:
    """Each step's SQL runs on filled rows; verify fails only while vectors are missing, and names them.

    Regression: a destroy stopped half-way, at the down of the old index, which went with its column.
    """
    deployment.apply(BLOCKS["add"], BLOCKS["add_down"])
    code, printed = verify(deployment.conninfo, "--only", "vectors")
    assert (code, "2,500 of 2,500 rows without a vector" in printed) == (1, True), printed
    deployment.fill()
    deployment.apply(BLOCKS["index"], BLOCKS["index_down"])
    ask(deployment.conninfo, "ANALYZE documents")
    code, printed = verify(deployment.conninfo)
    assert code == 0, printed
    assert len(re.findall(r"pass +recall +public\.documents", printed)) == 2
    deployment.apply(BLOCKS["drop"], BLOCKS["drop_down"])
    code, printed = verify(deployment.conninfo)
    assert code == 0, printed
    assert re.findall(r"pass +column +public\.documents +(.*)", printed) == ["embedding_v2 vector(8), unique id"]
    undo_all(deployment.conninfo, deployment.folder)
    assert ask(deployment.conninfo, "SELECT to_regclass('documents')") == [(None,)]


@pytest.mark.newest
def test_a_row_that_was_not_filled_stops_the_drop(deployment: Deployment) -> None:
    deployment.apply(BLOCKS["add"], BLOCKS["add_down"])
    deployment.fill()
    ask(deployment.conninfo, "INSERT INTO documents VALUES (0, 'late', '[1, 2, 3, 4]')")
    with pytest.raises(Exception, match=r'column "embedding_v2" .*contains null values'):
        deployment.apply(BLOCKS["drop"], BLOCKS["drop_down"])
    assert ask(deployment.conninfo, "SELECT count(embedding) FROM documents") == [(2501,)]


OLD = "UPDATE pg_extension SET extversion = '0.8.2' WHERE extname = 'vector'"


@pytest.mark.newest
def test_pgvector_is_upgraded(deployment: Deployment) -> None:
    """The remedy of verify and the statements of the page lead from an old version to the newest, and back to right."""
    ask(deployment.conninfo, OLD)
    code, printed = verify(deployment.conninfo)
    assert (code, BLOCKS["update"].strip() in printed) == (1, True), printed
    ask(deployment.conninfo, BLOCKS["update"])
    ask(deployment.conninfo, BLOCKS["reindex"])
    assert verify(deployment.conninfo)[0] == 0


@pytest.mark.newest
def test_a_raised_minimum_that_the_server_has_not(database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text(BEFORE)
    run(database, folder, declare(minimum_version="99.0"))
    code, printed = verify(database, "--only", "extension")
    assert code == 1
    assert re.search(r"nstall .*99\.0 or later.*restart.*ALTER EXTENSION vector UPDATE;", printed), printed


@pytest.mark.newest
@pytest.mark.parametrize("owner", ["", "; UPDATE pg_extension SET extowner = 'upgrader'::regrole"])
def test_only_a_superuser_upgrades_pgvector(database: str, owner: str) -> None:
    """A login that is no superuser is refused, even if it owns the extension."""
    with psycopg.connect(database) as connection:
        connection.execute(f"{OLD}; CREATE ROLE upgrader{owner}; SET ROLE upgrader".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(BLOCKS["update"].encode())
        connection.rollback()
