"""The job without Pulumi: its own requirements are enough, from a clone to the exit code."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import ask, declare, pg_variables
from tests.e2e.conftest import copy_project, readme_block, run
from tests.migrate.helpers import run as apply

TABLE = "CREATE TABLE embeddings (id serial PRIMARY KEY, embedding vector(4))"


def test_the_script_of_the_docs(database: str, folder: Path, tmp_path: Path) -> None:
    """The documented script works as pasted, with requirements-seed.txt alone, from the clone to the exit code."""
    (folder / "0001_create_embeddings.up.sql").write_text(TABLE)
    apply(database, folder, declare(tables={"embeddings": {"rows": 3}}))
    settings = {**pg_variables(database), "PGVECTOR_SEED": str(copy_project(tmp_path / "repository"))}
    script = readme_block("run: from nothing", "docs/verify.md")
    before = run(["bash", "-euc", script], tmp_path, **settings)
    assert (before.returncode, "fail  rows" in before.stdout) == (1, True), before.stdout

    job, python = tmp_path / "pgvector-seed", ".venv/bin/python"
    assert run([python, "-m", "seed", "sample"], job, **settings).returncode == 0
    after = run([python, "-m", "seed", "verify"], job, **settings)
    assert after.returncode == 0, after.stdout
    assert run([python, "-c", "import pulumi"], job).returncode == 1
    assert ask(database, "SELECT count(*) FROM embeddings") == [(3,)]
