"""Declared indexes on the real engine: built once the rows are there, replaced, dropped, refreshed and left."""

from __future__ import annotations

import json
import sys

from tests.conftest import ask
from tests.e2e.conftest import Stack, run
from tests.e2e.roles import assert_no_drift, declare, lose_state
from tests.roles import Names

NAME = "embeddings_embedding_hnsw"
ROWS = "INSERT INTO embeddings SELECT i, format('[%s,1,%s,2]', i, i % 7)::vector FROM generate_series(4, {}) i"
INDEXES = "SELECT relname, reloptions FROM pg_class WHERE relname LIKE 'embeddings_embedding%' ORDER BY 1"


def set_index(stack: Stack, key: str, value: str) -> None:
    stack.pulumi("config", "set", "--path", f"tables.embeddings.{key}", value)


def index(stack: Stack, *words: str, code: int = 0) -> str:
    """Run ``python -m seed index`` in the stack's folder, on its database."""
    done = run([sys.executable, "-m", "seed", "index", *words], stack.folder, **stack.settings)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_an_index_waits_for_its_rows_and_is_then_built_by_up(stack: Stack) -> None:
    """`up` waits for no build that a load must come before: the next one builds it, and then nothing is left to do."""
    set_index(stack, "rows", "100")
    set_index(stack, "index.method", "hnsw")
    set_index(stack, "index.m", "8")
    assert "waits: embeddings has 0 of 100 rows. When they are loaded: python -m seed index build" in stack.up()
    assert "waits: embeddings has 0 of 100 rows" in index(stack, "status", code=1)
    assert "waits: embeddings has 0 of 100 rows" in stack.pulumi("preview")
    ask(stack.conninfo, ROWS.format(103))
    assert f"{NAME}" in stack.up()
    assert ask(stack.conninfo, INDEXES) == [(NAME, ["m=8"])]
    stack.up("--expect-no-changes")
    assert "ready" in index(stack, "status")


def test_a_changed_a_removed_and_a_dropped_index(stack: Stack) -> None:
    set_index(stack, "index.method", "hnsw")
    stack.up()
    ask(stack.conninfo, ROWS.format(50))
    assert f"{NAME} is built" in index(stack, "build")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    stack.up("--expect-no-changes")
    set_index(stack, "index.m", "4")
    stack.up()
    assert ask(stack.conninfo, INDEXES) == [(NAME, ["m=4"])]
    ask(stack.conninfo, f"DROP INDEX {NAME}")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    assert "is not built" in stack.pulumi("preview")
    stack.up()
    assert ask(stack.conninfo, INDEXES) == [(NAME, ["m=4"])]
    set_index(stack, "index.as", "halfvec")
    assert "embeddings: queries without a cast will have no index of the stack" in stack.pulumi("preview")
    set_index(stack, "metric", "cosine")
    assert "the metric l2 becomes cosine: queries by l2 will have no index of the stack" in stack.pulumi("preview")
    stack.pulumi("config", "rm", "--path", "tables.embeddings.index")
    stack.up()
    assert ask(stack.conninfo, INDEXES) == []
    stack.up("--expect-no-changes")


def test_a_lost_state_builds_nothing_again(stack: Stack) -> None:
    set_index(stack, "index.method", "hnsw")
    stack.up()
    ask(stack.conninfo, ROWS.format(50))
    stack.up()
    oid = ask(stack.conninfo, f"SELECT '{NAME}'::regclass::oid")
    lose_state(stack)
    stack.up()
    assert ask(stack.conninfo, f"SELECT '{NAME}'::regclass::oid") == oid
    stack.destroy()
    assert ask(stack.conninfo, INDEXES) == []


def test_the_owner_builds_the_index_of_a_stack_with_roles(stack: Stack, names: Names) -> None:
    declare(stack, names)
    set_index(stack, "index.method", "hnsw")
    stack.up()
    ask(stack.conninfo, ROWS.format(50))
    stack.up()
    owner = f"SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = '{NAME}'"
    assert ask(stack.conninfo, owner) == [(names.owner,)]
    assert_no_drift(stack)


def test_a_bad_index_is_refused_at_preview(stack: Stack) -> None:
    set_index(stack, "index.method", "hnsw")
    set_index(stack, "index.m", "1000")
    output = stack.pulumi("preview", code=1)
    assert "m must be an integer from 2 to 100" in output
    assert "pulumi config set --path 'tables[\"embeddings\"].index.m' 16" in output


def test_the_contract_of_the_stack_has_the_declared_index(stack: Stack) -> None:
    set_index(stack, "index.method", "hnsw")
    stack.up()
    (table,) = json.loads(stack.pulumi("stack", "output", "contract"))["tables"]
    assert table["indexes"] == [{"column": "embedding", "method": "hnsw", "name": NAME}]
