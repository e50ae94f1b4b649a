"""Migrations on the real engine, and the command line beside it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path

import pytest

from tests.conftest import ask
from tests.e2e.conftest import EVERYTHING, NOTHING, WHAT_IS_THERE, Stack, readme_block, run
from tests.migrate.helpers import ARTICLES_TABLE

B_UP, B_DOWN = "migrations/0002_b.up.sql", "migrations/0002_b.down.sql"


def migrate(stack: Stack, *words: str, code: int = 0) -> str:
    """Run ``python -m seed migrate`` in the stack's folder, on its database."""
    done = run([sys.executable, "-m", "seed", "migrate", *words], stack.folder, **stack.settings)
    assert done.returncode == code, done.stdout
    return done.stdout


def test_a_preview_shows_each_migration_that_will_run(stack: Stack) -> None:
    """A preview lists the pending migrations, with a reachable database and without."""
    assert "0001_create_embeddings" in stack.pulumi("preview", "--diff", PGHOST="127.0.0.1", PGPORT="1")
    stack.up()
    stack.write(B_UP, "CREATE TABLE b ()")
    output = stack.pulumi("preview", PGHOST="127.0.0.1", PGPORT="1")
    assert "apply 0002_b; cannot be undone: no down" in output
    assert "0001_create_embeddings to be" not in output
    assert "+ 0002_b" in stack.pulumi("preview", "--diff")


def test_transaction_control_is_refused_at_preview_on_one_line(stack: Stack) -> None:
    stack.up()
    stack.write(B_UP, "CREATE TABLE b ();\nCOMMIT;")
    output = stack.pulumi("preview", code=1)
    assert "0002_b.up.sql, line 2: COMMIT" in output
    assert "Traceback" not in output


def test_a_failure_at_run_time_has_its_line_and_the_servers_words(stack: Stack) -> None:
    """A constraint's violation has no position in the server's error, and still gets its line."""
    stack.write(B_UP, "CREATE TABLE b (id int PRIMARY KEY);\nINSERT INTO b VALUES (1);\n\nINSERT INTO b\nVALUES (1);")
    output = stack.up(code=1)
    assert "0002_b.up.sql, line 4: duplicate key value" in output
    assert "detail: Key (id)=(1) already exists." in output
    assert "(SQLSTATE 23505)" in output
    assert "Traceback" not in output


def test_messages_and_slow_statements_are_shown(stack: Stack) -> None:
    """The engine shows the server's messages with their lines, and names a statement that is slow."""
    stack.write(B_UP, "DO $$ BEGIN RAISE WARNING 'take care'; END $$;\nSELECT pg_sleep(5);")
    output = stack.up()
    assert "0002_b.up.sql, line 1: WARNING: take care" in output
    assert "0002_b.up.sql, line 2: still running (" in output


def test_either_front_end_may_go_first(stack: Stack) -> None:
    ask(stack.conninfo, "CREATE EXTENSION vector")
    assert "0001_create_embeddings applied" in migrate(stack, "apply")
    assert "applied in" not in stack.up()
    stack.up("--expect-no-changes")
    stack.write(B_UP, "CREATE TABLE b (v vector(2))")
    assert "0002_b applied" in migrate(stack, "apply")
    assert "applied in" not in stack.up()
    stack.up("--expect-no-changes")
    assert "Nothing to run" in migrate(stack, "apply")
    declared = ask(
        stack.conninfo,
        "SELECT declaration->>'on_destroy', contract->'tables'->1->>'rows' FROM pgvector_seed.deployment",
    )
    assert declared == [("revert", "3")], "what the stack declares stays"
    assert json.loads(migrate(stack, "status", "--json"))["right"]


def test_a_repaired_history_is_accepted_after_a_refresh(stack: Stack) -> None:
    stack.up()
    file = "migrations/0001_create_embeddings.up.sql"
    stack.write(file, (stack.folder / file).read_text() + "-- a comment")
    assert "python -m seed migrate repair" in stack.pulumi("preview", code=1)
    migrate(stack, "repair", "0001_create_embeddings")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    assert "applied in" not in stack.up()
    stack.up("--expect-no-changes")


def test_a_removed_migration_is_undone_only_when_that_is_allowed(stack: Stack) -> None:
    stack.write(B_UP, "CREATE TABLE b ()")
    stack.write(B_DOWN, "DROP TABLE b")
    stack.up()
    for name in (B_UP, B_DOWN):
        (stack.folder / name).unlink()
    assert "pulumi config set allowDown true" in stack.pulumi("preview", code=1)
    stack.set("allowDown", "true")
    assert "undo 0002_b" in stack.pulumi("preview")
    assert "0002_b undone" in stack.up()
    assert ask(stack.conninfo, "SELECT to_regclass('b')") == [(None,)]
    stack.up("--expect-no-changes")


def test_an_undo_by_the_other_front_end_shows_after_a_refresh(stack: Stack) -> None:
    stack.up()
    assert "0001_create_embeddings undone" in migrate(stack, "down", "--to", "base")
    stack.pulumi("refresh", "--yes", "--skip-preview")
    assert "apply 0001_create_embeddings" in stack.pulumi("preview")
    stack.up()
    assert ask(stack.conninfo, WHAT_IS_THERE) == EVERYTHING


def test_a_database_of_the_articles_terraform_is_taken_over(stack: Stack) -> None:
    """The documented commands take the database over: nothing is lost and nothing is created anew."""
    ask(stack.conninfo, f"CREATE EXTENSION vector; {ARTICLES_TABLE}")
    before = ask(stack.conninfo, "SELECT tableoid, xmin, id FROM embeddings ORDER BY id")
    assert "python -m seed migrate baseline 0001_create_embeddings" in stack.up(code=1)
    script = readme_block("run: take over", "docs/migrations.md")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = run(["bash", "-euc", script], stack.folder, **stack.settings, PATH=path)
    assert done.returncode == 0, done.stdout
    assert "applied in" not in done.stdout
    stack.up("--expect-no-changes")
    assert ask(stack.conninfo, "SELECT tableoid, xmin, id FROM embeddings ORDER BY id") == before


def test_a_lost_ledger_is_told_by_refresh_and_up(stack: Stack) -> None:
    stack.up()
    ask(stack.conninfo, "DROP SCHEMA pgvector_seed CASCADE")
    assert "this database has none, and is taken for a new one" in stack.pulumi("refresh", "--yes", "--skip-preview")
    assert "python -m seed migrate baseline 0001_create_embeddings" in stack.up(code=1)
    migrate(stack, "baseline", "0001_create_embeddings")
    stack.up()
    stack.up("--expect-no-changes")


@pytest.mark.parametrize("way", ["moved", "renamed"])
def test_another_home_of_the_provider_is_learnt_by_one_up(stack: Stack, way: str) -> None:
    """One up replaces the provider's old module and class in the state, which a destroy would import."""
    stack.up()
    old = stack.folder / "pgvector_seed" / "infra" / "migrations.py"
    text = old.read_text()
    if way == "renamed":
        old.write_text(text.replace("MigrationsProvider", "OtherProvider"))
    else:
        old.rename(old.with_name("elsewhere.py"))
        for user in ("database.py", "grants.py"):
            file = old.with_name(user)
            file.write_text(file.read_text().replace("pgvector_seed.infra.migrations", "pgvector_seed.infra.elsewhere"))
    assert "1 updated" in stack.up()
    stack.up("--expect-no-changes")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


PLANTED = "UPDATE pgvector_seed.migrations SET down = 'DROP TABLE embeddings; CREATE TABLE planted ()'"


def test_a_down_that_was_changed_in_the_database_is_not_run(stack: Stack) -> None:
    """Regression: a destroy ran a down that a member of pg_write_all_data had written. An up restores the file's."""
    stack.set("onDestroy", "revert")
    stack.up()
    ask(stack.conninfo, PLANTED)
    refused = stack.destroy(code=1)
    assert "0001_create_embeddings.down.sql differs from the ledger's copy" in refused
    assert "Traceback" not in refused
    stack.up("--refresh")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_a_destroy_without_the_files_asks_who_may_write(stack: Stack) -> None:
    """A destroy runs nothing from a ledger that another role may write to."""
    stack.set("onDestroy", "revert")
    stack.up()
    role = f"writes_all_{secrets.token_hex(4)}"
    ask(stack.conninfo, f"CREATE ROLE {role}; GRANT pg_write_all_data TO {role}")
    for file in (stack.folder / "migrations").iterdir():
        file.unlink()
    assert f"is only in the ledger, to which {role} may write" in stack.destroy(code=1)
    ask(stack.conninfo, f"DROP ROLE {role}")
    stack.destroy()
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING
