"""``python -m seed sample`` on a provisioned database."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.workspace import ROOT
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import apply
from pgvector_seed.postgres.connection import connect
from tests.commands import run_seed
from tests.conftest import ask, declare, pg_variables


def provision(conninfo: str, migrations: Path = ROOT / "migrations", schema: str = "public") -> str:
    with connect(conninfo) as connection:
        apply(connection, load(migrations), declare(schema), lambda _: None)
    return conninfo


@pytest.fixture
def provisioned(database: str) -> str:
    """Return the conninfo of a database with the article's migration."""
    return provision(database)


def sample(conninfo: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_seed("sample", *options, environment={**os.environ, **pg_variables(conninfo), **environment})


def test_the_articles_three_results(provisioned: str) -> None:
    run = sample(provisioned)
    assert (run.returncode, run.stderr) == (0, "")
    for words in (
        "1    [0.1, 0.8, 0.5, 0.3]",
        "Nearest to [0.3, 0.1, 0.6, 0.5]",
        "1.1045361146699684",
        "1.7635192467093759",
        "1.3038404993264",
        "All 7 answers are the article's.",
    ):
        assert words in run.stdout


def test_json_is_one_document(provisioned: str) -> None:
    run = sample(provisioned, "--json")
    document = json.loads(run.stdout)
    assert (run.returncode, document["right"], document["nearest"]) == (0, True, 2)
    assert document["rows"]["3"] == [0.9, 0.5, 0.1, 0.6]
    assert len(document["checks"]) == 7


def test_it_runs_again_with_the_same_result(provisioned: str) -> None:
    first, second = sample(provisioned), sample(provisioned)
    assert (first.returncode, first.stdout) == (second.returncode, second.stdout)
    assert ask(provisioned, "SELECT count(*) FROM embeddings") == [(3,)]


def test_the_next_generated_id_does_not_collide(provisioned: str) -> None:
    """The sample moves the sequence, which the article forgets, so that the next insert works."""
    sample(provisioned)
    sample(provisioned)
    assert ask(provisioned, "INSERT INTO embeddings (embedding) VALUES ('[1,2,3,4]') RETURNING id") == [(4,)]


def test_the_sequence_never_goes_back(provisioned: str) -> None:
    ask(provisioned, "SELECT setval('embeddings_id_seq', 900)")
    sample(provisioned)
    assert ask(provisioned, "INSERT INTO embeddings (embedding) VALUES ('[1,2,3,4]') RETURNING id") == [(901,)]


def test_other_rows_are_neither_touched_nor_judged(provisioned: str) -> None:
    """Other rows do not change the verdict, even with an approximate index over the whole table."""
    ask(
        provisioned,
        "SELECT setseed(0.5); INSERT INTO embeddings SELECT i, ARRAY[random(), random(), random(), random()]::vector "
        "FROM generate_series(4, 20000) i; INSERT INTO embeddings VALUES (0, '[0.3,0.1,0.6,0.5]'), (-1, NULL); "
        "CREATE INDEX ON embeddings USING hnsw (embedding vector_l2_ops); ANALYZE embeddings",
    )
    digest = "SELECT md5(string_agg(e::text, ',' ORDER BY id)) FROM embeddings e WHERE id NOT BETWEEN 1 AND 3"
    before = ask(provisioned, digest)
    assert sample(provisioned).returncode == 0
    assert ask(provisioned, digest) == before


@pytest.mark.parametrize("other", ["'[1,1,1,1]'", "NULL"])
def test_another_vector_under_an_id_stops_it_unless_replace(provisioned: str, other: str) -> None:
    """A row with another vector stays, unless --replace was given."""
    ask(provisioned, f"INSERT INTO embeddings VALUES (2, {other})")
    run = sample(provisioned)
    assert run.returncode == 1
    assert "id 2: expected [0.4, 0.2, 0.7, 0.9], actual [" in run.stderr
    assert "--replace" in run.stderr
    assert json.loads(sample(provisioned, "--json").stdout)["right"] is False
    assert ask(provisioned, "SELECT id FROM embeddings") == [(2,)]
    assert sample(provisioned, "--replace").returncode == 0


def test_the_remedy_for_another_vector_keeps_the_schema(database: str) -> None:
    """Regression: the command that was advised left out --schema, and was refused."""
    run = sample(provision(database, schema="my schema"), "--schema", "my schema")
    assert run.returncode == 0, run.stderr
    ask(database, "UPDATE \"my schema\".embeddings SET embedding = '[1,1,1,1]' WHERE id = 2")
    run = sample(database, "--schema", "my schema")
    assert "python -m seed sample --replace --schema 'my schema'" in run.stderr


NEXT = "Next: your rows, then make verify"
CHANGES = {
    "DROP TABLE embeddings": "there is no table embeddings",
    "DROP TABLE embeddings; CREATE VIEW embeddings AS SELECT 1 AS id": "embeddings is not the article's",
    "ALTER TABLE embeddings ALTER embedding TYPE vector(384)": "embeddings is not the article's",
    "ALTER TABLE embeddings DROP COLUMN id; ALTER TABLE embeddings ADD id uuid PRIMARY KEY": (
        "embeddings is not the article's"
    ),
    "ALTER TABLE embeddings DROP CONSTRAINT embeddings_pkey": "embeddings is not the article's",
    "ALTER TABLE embeddings ADD CHECK (id > 3)": "embeddings is not the article's",
    "ALTER TABLE embeddings ENABLE ROW LEVEL SECURITY": "embeddings is not the article's",
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
    "CREATE TRIGGER t BEFORE INSERT ON embeddings FOR EACH ROW EXECUTE FUNCTION f()": "embeddings is not the article's",
    "ALTER TABLE embeddings ADD document text NOT NULL": "embeddings requires more columns",
    "DROP TABLE embeddings; CREATE TABLE embeddings (id serial PRIMARY KEY, document text, embedding vector(4))": (
        "embeddings is not the article's"
    ),
    "DROP TABLE embeddings; CREATE TABLE embeddings ()": "embeddings is not the article's",
    "ALTER TABLE embeddings ALTER id DROP DEFAULT, ALTER id ADD GENERATED ALWAYS AS IDENTITY": (
        "embeddings is not the article's"
    ),
    "ALTER TABLE embeddings DROP CONSTRAINT embeddings_pkey, ADD PRIMARY KEY (id) DEFERRABLE": (
        "embeddings is not the article's"
    ),
    "ALTER TABLE embeddings ADD source text DEFAULT ''; CREATE UNIQUE INDEX ON embeddings (source)": (
        "embeddings is not the article's"
    ),
    "CREATE DOMAIN given AS text NOT NULL; ALTER TABLE embeddings ADD document given": (
        "embeddings requires more columns"
    ),
    "INSERT INTO embeddings VALUES (2, '[1,1,1,1]')": "other rows have the ids 1 to 3",
    "INSERT INTO embeddings VALUES (2, NULL)": "other rows have the ids 1 to 3",
}


@pytest.mark.parametrize("change", CHANGES)
def test_unless_changed_leaves_a_table_of_the_users_alone(provisioned: str, change: str) -> None:
    """Regression: `make up` ended with 2 after each deployment whose table was not the article's any more."""
    ask(provisioned, change)
    rows = (
        "SELECT to_regclass('embeddings')" if change == "DROP TABLE embeddings" else "SELECT e::text FROM embeddings e"
    )
    before = ask(provisioned, rows)
    run = sample(provisioned, "--unless-changed")
    assert (run.returncode, run.stderr, run.stdout) == (0, "", f"Left out: {CHANGES[change]}. {NEXT}\n")
    assert ask(provisioned, rows) == before
    assert len(run.stdout) <= 81
    assert json.loads(sample(provisioned, "--unless-changed", "--json").stdout) == {"left_out": CHANGES[change]}


def test_unless_changed_inserts_into_the_articles_table(provisioned: str) -> None:
    """A column that was added is no hindrance; with the rows in place not even one that must be given."""
    for change in (
        "SELECT 1",
        "DELETE FROM embeddings; ALTER TABLE embeddings ADD label text, ADD at timestamptz NOT NULL DEFAULT now()",
        "UPDATE embeddings SET label = ''",
    ):
        ask(provisioned, change)
        told = "All 7 answers are the article's. To see them: make seed\n"
        assert sample(provisioned, "--unless-changed").stdout == told, change
    ask(provisioned, "ALTER TABLE embeddings ALTER label SET NOT NULL")
    assert "All 7 answers are the article's." in sample(provisioned, "--unless-changed").stdout


def test_unless_changed_leaves_out_what_this_login_may_not_write(provisioned: str) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    ask(provisioned, f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA pgvector_seed TO {role}")
    ask(provisioned, f"GRANT SELECT ON ALL TABLES IN SCHEMA pgvector_seed, public TO {role}")
    try:
        run = sample(provisioned, "--unless-changed", PGOPTIONS=f"-c role={role}")
        assert run.stdout == f"Left out: this login may not write to embeddings. {NEXT}\n", run.stderr
    finally:
        ask(provisioned, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_column_of_another_type_is_bad_input(database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text("CREATE TABLE embeddings (id int PRIMARY KEY, embedding vector(5))")
    run = sample(provision(database, folder))
    assert run.returncode == 2
    assert "vector(5), not vector(4)" in run.stderr


def test_a_table_with_more_that_must_be_given_is_bad_input(database: str, folder: Path) -> None:
    (folder / "0001_a.up.sql").write_text(
        "CREATE TABLE embeddings (id int PRIMARY KEY, embedding vector(4), label text NOT NULL)"
    )
    run = sample(provision(database, folder))
    assert run.returncode == 2
    assert "label" in run.stderr


def test_a_database_that_was_not_provisioned_is_bad_input(database: str) -> None:
    run = sample(database)
    assert run.returncode == 2
    assert "pulumi up" in run.stderr


def test_odd_schemas_and_an_extension_elsewhere(new_database: Callable[..., str]) -> None:
    conninfo = new_database("template0")
    ask(conninfo, "CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext")
    run = sample(provision(conninfo, schema='my "%s" schema'))
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("PGPASSWORD", "wr0ng-passw0rd", "password authentication failed"),
        ("PGPORT", "1", "Connection refused"),
        ("PGHOST", "nosuch.invalid", "nosuch.invalid"),
        ("PGDATABASE", "nosuch", "does not exist"),
        ("PGSERVICE", "nosuch", "nosuch"),
    ],
)
def test_a_database_that_cannot_be_reached(provisioned: str, setting: str, value: str, words: str) -> None:
    run = sample(provisioned, **{setting: value})
    assert run.returncode == 3
    assert words in run.stderr
    assert "Traceback" not in run.stderr
    assert "wr0ng-passw0rd" not in run.stderr


def test_bad_usage_is_told_in_the_commands_own_way(provisioned: str) -> None:
    run = sample(provisioned, "--replce")
    assert run.returncode == 2
    assert "--replace" in run.stderr
