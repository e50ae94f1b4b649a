"""The commands of the make targets, in a copy of the project with a server of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.server import Server
from tests.conftest import ask, own_conninfo, remove
from tests.e2e.conftest import copy_project, run

ITEMS = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(384));"


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """Yield a copy of the project, and remove its server at the end."""
    folder = copy_project(tmp_path / "copy")
    yield folder
    remove(Server(folder / ".local" / "18", 18))


def local(folder: Path, *words: str, code: int = 0, **settings: str) -> str:
    """Run ``python -m local`` without Pulumi's engine, assert its exit code, and return its output."""
    done = run([sys.executable, "-m", "local", *words], folder, **{"ENGINE": "standalone", **settings})
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def use_own_table(folder: Path) -> None:
    """Replace the article's table by another one, in the migration and in the stack's configuration."""
    (folder / "migrations" / "0001_create_embeddings.up.sql").write_text(ITEMS)
    (folder / "migrations" / "0001_create_embeddings.down.sql").write_text("DROP TABLE items;")
    config = folder / "Pulumi.dev.yaml"
    config.write_text(config.read_text().replace("embeddings:", "items:"))


def assert_fits(output: str) -> None:
    """Assert that no line is longer than 80 columns."""
    assert [line for line in output.splitlines() if len(line) > 80] == []


def test_up_of_a_table_of_the_users(copy: Path) -> None:
    """Regression: `up` ended with 2 after each deployment, for the article's table was missing."""
    use_own_table(copy)
    for _ in range(2):
        output = local(copy, "up")
        assert "Left out: there is no table embeddings. Next: your rows, then make verify\n" in output
        assert_fits(output)
    assert "the column embedding of public.embeddings is missing" in local(copy, "seed", code=2)
    assert "fail  rows" in local(copy, "verify", code=1)
    ask(
        own_conninfo(Server(copy / ".local" / "18", 18)),
        "INSERT INTO items SELECT i, array_fill(i, ARRAY[384])::vector FROM generate_series(1, 3) i",
    )
    assert "fail" not in local(copy, "verify")


def test_seed_0_leaves_the_sample_out_and_contract_prints_the_contract(copy: Path) -> None:
    output = local(copy, "up", SEED="0")
    assert "Seed" not in output
    assert_fits(output)
    assert "Contract   recorded in the database; to see it: make contract\n" in output
    printed = local(copy, "contract")
    document = json.loads(printed[printed.index("{") :])
    assert [table["name"] for table in document["tables"]] == ["public.embeddings"]
    refused = local(copy, "up", SEED="no", code=2)
    assert "SEED must be one of 1, 0; got 'no'" in refused
    assert "As in: make up SEED=1" in refused
    assert ask(own_conninfo(Server(copy / ".local" / "18", 18)), "SELECT count(*) FROM embeddings") == [(0,)]
