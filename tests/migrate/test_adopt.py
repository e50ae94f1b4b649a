"""Adopting an existing database: baseline and repair."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.migrate.adopt import baseline, repair
from pgvector_seed.migrate.compare import SCRATCH, objects
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.runner import undo
from pgvector_seed.migrate.session import Limits
from pgvector_seed.postgres.connection import connect
from tests.conftest import ask, declare, name_of
from tests.migrate.helpers import ARTICLES_TABLE, MARK, run, write

NO_SCRATCH = f"SELECT count(*) FROM pg_namespace WHERE nspname = '{SCRATCH}'"

EVERY_KIND = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN score AS int DEFAULT 1 CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a * 2;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TABLE "My Owner" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL UNIQUE);
CREATE TABLE item (
  id serial PRIMARY KEY, owner bigint REFERENCES "My Owner" ON DELETE CASCADE, m mood DEFAULT 'ok', s score, p pair,
  v vector(3) NOT NULL, h halfvec(3) GENERATED ALWAYS AS (v::halfvec(3)) STORED, CHECK (twice(owner::int) > 1)
) WITH (fillfactor = 70);
CREATE INDEX item_v ON item USING hnsw (v vector_cosine_ops) WITH (m = 8) WHERE s > 1;
CREATE TRIGGER t BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE r AS ON DELETE TO item DO ALSO (SELECT 1; SELECT 2);
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON item USING (s > 1);
CREATE VIEW near AS SELECT id FROM item ORDER BY v <-> '[1,2,3]' LIMIT 1;
CREATE MATERIALIZED VIEW seen AS SELECT owner FROM item;
CREATE TABLE parted (id int, v vector(3)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (9);
CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);
CREATE STATISTICS both_ ON id, owner FROM item;
"""


def quiet(_line: str) -> None:
    pass


def take_over(conninfo: str, folder: Path, to: str = "0001_a", schema: str = "public") -> list[str]:
    with connect(conninfo) as connection:
        return baseline(connection, load(folder), declare(schema), to, quiet)


def test_a_database_of_the_articles_terraform_becomes_ours(database: str) -> None:
    """A baseline loses nothing and creates no table anew."""
    ask(database, ARTICLES_TABLE)
    before = ask(database, "SELECT tableoid, xmin, * FROM embeddings ORDER BY id")
    assert take_over(database, ROOT / "migrations", "0001_create_embeddings") == ["0001_create_embeddings"]
    ledger, messages = run(database, ROOT / "migrations")
    assert messages == []
    assert [table["name"] for table in ledger.contract["tables"]] == ["public.embeddings"]
    assert ask(database, "SELECT tableoid, xmin, * FROM embeddings ORDER BY id") == before
    assert ask(database, NO_SCRATCH) == [(0,)]
    assert take_over(database, ROOT / "migrations", "0001_create_embeddings") == []


@pytest.mark.parametrize("schema", ["public", "my schema"])
@pytest.mark.parametrize("extension_schema", ["public", "ext"])
def test_what_the_migrations_make_is_recognised(
    new_database: Callable[..., str], folder: Path, schema: str, extension_schema: str
) -> None:
    """Objects of every kind that migrations create, in any schema, are accepted without their ledger."""
    conninfo = new_database("template0")
    ask(conninfo, f"CREATE SCHEMA IF NOT EXISTS {extension_schema}; CREATE EXTENSION vector SCHEMA {extension_schema}")
    (folder / "0001_a.up.sql").write_text(EVERY_KIND)
    (folder / "0002_b.up.sql").write_text(
        "-- pgvector-seed: no-transaction\nCREATE INDEX CONCURRENTLY item_i ON item USING ivfflat (v vector_l2_ops)"
    )
    (folder / "0003_c.up.sql").write_text("-- pgvector-seed: no-transaction\nVACUUM item")
    run(conninfo, folder, declare(schema))
    ask(conninfo, "DROP SCHEMA pgvector_seed CASCADE")
    assert take_over(conninfo, folder, "0003_c", schema) == ["0001_a", "0002_b", "0003_c"]
    assert run(conninfo, folder, declare(schema))[1] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE a", "table a is missing"),
        (
            "ALTER TABLE a ALTER v TYPE vector(4)",
            r"table a, column v: the database has \[vector\(4\)\], and the migrations make \[vector\(3\)\]",
        ),
        ("ALTER TABLE a ADD extra int", "table a, column extra: .*do not make it"),
        ("ALTER TABLE a DROP t", "table a, column t: missing"),
        ("ALTER TABLE a ALTER t SET NOT NULL", "table a, column t"),
        ("ALTER TABLE a ALTER t SET DEFAULT 'x'", "table a, column t"),
        ("ALTER TABLE a ADD CHECK (id > 0)", "table a, constraint a_id_check"),
        ("ALTER TABLE a DROP CONSTRAINT a_pkey", "table a, constraint a_pkey"),
        ("DROP INDEX h; CREATE INDEX h ON a USING hnsw (v vector_cosine_ops)", "table a, index h"),
        ("CREATE INDEX more ON a (t)", "table a, index more"),
        ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'h'::regclass", r"table a, index h: .*\(invalid\)"),
        ("ALTER TABLE a SET UNLOGGED", "table a: "),
        ("ALTER TABLE a SET (fillfactor = 50)", "table a: "),
        ("ALTER TABLE a ENABLE ROW LEVEL SECURITY", "table a: "),
        ("CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE sql RETURN 2", r"routine f\(x integer\)"),
        ("ALTER SEQUENCE a_id_seq INCREMENT 2", "sequence a_id_seq, values"),
        ("ALTER TYPE e ADD VALUE 'z'", "type e: "),
        ("DROP VIEW w; CREATE VIEW w AS SELECT 2 AS one", "view w: "),
    ],
)
def test_a_database_that_is_something_else_is_refused(database: str, folder: Path, change: str, words: str) -> None:
    """Each difference is named, and nothing is recorded."""
    write(
        folder,
        a1_up="""
        CREATE TABLE a (id serial PRIMARY KEY, v vector(3), t text);
        CREATE INDEX h ON a USING hnsw (v vector_l2_ops);
        CREATE FUNCTION f(x int) RETURNS int LANGUAGE sql RETURN 1;
        CREATE TYPE e AS ENUM ('y');
        CREATE VIEW w AS SELECT 1 AS one;
        """,
    )
    ask(database, (folder / "0001_a.up.sql").read_text() + ";" + change)
    with pytest.raises(RefusedError, match=words):
        take_over(database, folder)
    assert ask(database, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]
    assert ask(database, NO_SCRATCH) == [(0,)]


def test_what_the_migrations_do_not_make_is_no_difference(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))")
    ask(database, "CREATE TABLE a (v vector(3)); CREATE TABLE theirs (id int); CREATE VIEW over_ AS SELECT * FROM a")
    assert take_over(database, folder) == ["0001_a"]


def test_a_baseline_may_leave_the_rest_to_be_applied(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))", b2_up="ALTER TABLE a ADD b int")
    ask(database, "CREATE TABLE a (v vector(3))")
    take_over(database, folder)
    assert ask(database, "SELECT contract FROM pgvector_seed.deployment") == [({},)], "the last one is still to come"
    _, messages = run(database, folder)
    assert [line.split()[0] for line in messages] == ["0002_b"]


def test_sql_that_names_its_schema_cannot_be_compared(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE public.a (v vector(3))")
    ask(database, "CREATE TABLE a (v vector(3))")
    with pytest.raises(RefusedError, match="without a schema"):
        take_over(database, folder)


@pytest.mark.parametrize(
    ("there", "up"),
    [
        ("CREATE TABLE a (wrong int)", "CREATE TABLE IF NOT EXISTS public.a (v vector(3))"),
        ("SELECT 1", "CREATE TABLE IF NOT EXISTS public.a (v vector(3))"),
        (
            "CREATE TABLE a (i int)",
            "CREATE TABLE b (i int); SET search_path TO public; CREATE TABLE IF NOT EXISTS a (j int)",
        ),
        ("CREATE TABLE a (i int)", "DROP TABLE a; CREATE TABLE b (i int)"),
        ("CREATE TABLE a (i int PRIMARY KEY)", "CREATE TABLE b (a int REFERENCES a)"),
        ("CREATE TABLE a (i int)", "CREATE INDEX h ON a (i)"),
        (
            "CREATE TABLE a (i int)",
            "CREATE TRIGGER t BEFORE INSERT ON a EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        ),
        ("CREATE TABLE a (i int)", "CREATE RULE r AS ON INSERT TO a DO NOTHING"),
        (
            "CREATE TABLE a (i int)",
            "CREATE TABLE b (i int) PARTITION BY LIST (i); ALTER TABLE b ATTACH PARTITION a DEFAULT",
        ),
        ("CREATE TYPE e AS ENUM ('a')", "DROP TYPE e CASCADE; CREATE TABLE b ()"),
        ("SELECT 1", "DROP EXTENSION vector CASCADE; CREATE TABLE b ()"),
        ("SELECT 1", "CREATE TABLE b (); CREATE SCHEMA more"),
        ("SELECT 1", "CREATE TABLE b (); CREATE PUBLICATION p"),
        ("SELECT 1", "CREATE TABLE b (); CREATE ROLE r"),
        ("SELECT 1", MARK + "ALTER SYSTEM SET work_mem = '4MB'"),
        ("CREATE TABLE a (i int)", "ALTER TABLE a ADD j int; CREATE TABLE b ()"),
        ("CREATE TABLE a (i int)", "INSERT INTO a VALUES (1)"),
        ("CREATE TABLE a (i int)", "DO $$ BEGIN DROP TABLE a; END $$"),
        ("CREATE TABLE a (i int)", "DO $$ BEGIN CREATE INDEX ON a (i); END $$"),
        ("CREATE TABLE a (i int)", "DO $$ BEGIN INSERT INTO a VALUES (1); END $$"),
        ("CREATE TABLE a (i int); CREATE VIEW w AS SELECT i FROM a", "DO $$ BEGIN DROP VIEW w; END $$"),
        ("CREATE TYPE e AS ENUM ('a')", "DO $$ BEGIN DROP TYPE e; END $$"),
        ("CREATE TABLE a (i int)", "COPY a TO PROGRAM 'cat'"),
        ("CREATE SEQUENCE s", "DO $$ BEGIN PERFORM setval('s', 9); END $$"),
        ("SELECT 1", "CREATE OR REPLACE FUNCTION public.f() RETURNS int RETURN 1"),
    ],
)
def test_what_reaches_out_of_the_scratch_schema_is_refused(database: str, folder: Path, there: str, up: str) -> None:
    """A statement on a real table is refused: it would lock the table, and prove nothing."""
    ask(database, there)
    write(folder, a1_up=up)
    with pytest.raises(RefusedError, match="name tables without a schema"):
        take_over(database, folder)
    assert ask(database, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]
    with connect(database) as connection, connection.transaction():
        before = objects(connection, "public", "public")
    compared = {key for key in before if key.startswith(("table", "sequence"))}
    assert compared == {f"{kind} {name}" for kind, name in ask(database, KINDS)}


KINDS = """
SELECT CASE relkind WHEN 'r' THEN 'table' ELSE 'sequence' END, relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
"""


def test_a_real_table_is_not_locked_against_its_writers(database: str, folder: Path) -> None:
    """A comparison and the writers of a real table do not wait for each other."""
    ask(database, "CREATE TABLE a (i int)")
    write(folder, a1_up="CREATE INDEX ON a (i)")
    with psycopg.connect(database) as writer:
        writer.execute("INSERT INTO a VALUES (1)")
        with pytest.raises(RefusedError, match=r"line 1 reaches public\.a"):
            take_over(database, folder)
        writer.execute("INSERT INTO a VALUES (2)")
    assert ask(database, "SELECT count(*) FROM a") == [(2,)]


def test_a_sequence_is_not_moved_by_the_comparison(database: str, folder: Path) -> None:
    """Sequences keep their values, which a rollback would not restore, so the next insert works."""
    up = "CREATE TABLE a (id serial PRIMARY KEY); SELECT setval('a_id_seq', 3); SELECT setval('public.other', 4)"
    ask(database, "CREATE TABLE a (id serial PRIMARY KEY); SELECT setval('a_id_seq', 900); CREATE SEQUENCE other")
    write(folder, a1_up=up)
    take_over(database, folder)
    assert ask(database, "SELECT last_value FROM a_id_seq") == [(900,)]
    assert ask(database, "SELECT last_value FROM other") == [(1,)]


def test_what_a_later_migration_drops_must_not_be_there(database: str, folder: Path) -> None:
    """A table that a later migration drops is refused, as it would stay for ever."""
    write(folder, a1_up="CREATE TABLE a (); CREATE TABLE b ()", b2_up="DROP TABLE b")
    ask(database, "CREATE TABLE a (); CREATE TABLE b ()")
    with pytest.raises(RefusedError, match="table b exists, and the migrations drop it"):
        take_over(database, folder, "0002_b")
    ask(database, "DROP TABLE b")
    take_over(database, folder, "0002_b")


@pytest.mark.parametrize(
    ("up", "words", "remedy"),
    [
        ("CREATE TABLE a (); SELECT pg_sleep(60)", "57014", "--statement-timeout"),
        ("CREATE TABLE a (); CREATE TABLE a ()", "42P07", "To be compared, the SQL must name tables"),
    ],
)
def test_the_servers_remedy_is_kept(database: str, folder: Path, up: str, words: str, remedy: str) -> None:
    """Regression: a limit that was reached got the remedy for SQL that cannot be compared."""
    ask(database, "CREATE TABLE a ()")
    write(folder, a1_up=up)
    with connect(database) as connection, pytest.raises(RefusedError, match=words) as caught:
        baseline(connection, load(folder), declare(), "0001_a", quiet, Limits(statement_timeout="500ms"))
    assert remedy in caught.value.remedy
    assert "migrate baseline" not in caught.value.remedy


def test_each_migration_is_compared_in_a_session_of_its_own(database: str, folder: Path) -> None:
    """Settings of one migration do not change the next one, as in an apply."""
    write(
        folder,
        a1_up="CREATE TEMP TABLE s ON COMMIT DROP AS SELECT 1; SET LOCAL search_path TO pg_catalog",
        b2_up="CREATE TEMP TABLE s ON COMMIT DROP AS SELECT 1; CREATE TABLE p (id int PRIMARY KEY);"
        "CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED); "
        "INSERT INTO c VALUES (1); INSERT INTO p VALUES (1)",
        c3_up="ALTER TABLE c ADD d int; CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    )
    run(database, folder)
    ask(database, "DROP SCHEMA pgvector_seed CASCADE")
    assert take_over(database, folder, "0003_c") == ["0001_a", "0002_b", "0003_c"]


E = "CREATE TABLE e (a int, b int, c int)"
RULE = "CREATE RULE r AS ON DELETE TO e DO NOTHING"


@pytest.mark.parametrize(
    ("made", "found"),
    [
        ("CREATE TYPE e AS ENUM ('a', 'b')", "CREATE TYPE e AS ENUM ('a, b')"),
        ('CREATE DOMAIN e AS text COLLATE "C"', "CREATE DOMAIN e AS text"),
        (f"{E}; CREATE STATISTICS s ON a, b FROM e", f"{E}; CREATE STATISTICS s ON a, c FROM e"),
        (f"{E}; {RULE}", f"{E}; {RULE}; ALTER TABLE e DISABLE RULE r"),
        (E, f"{E}; ALTER TABLE e REPLICA IDENTITY FULL"),
        (E, f"{E}; ALTER TABLE e ALTER a SET STATISTICS 9"),
    ],
)
def test_smaller_differences(database: str, folder: Path, made: str, found: str) -> None:
    write(folder, a1_up=made)
    ask(database, found)
    with pytest.raises(RefusedError, match="the migrations make"):
        take_over(database, folder)


@pytest.mark.parametrize(
    "up",
    [
        "DROP TABLE IF EXISTS a; CREATE TABLE a (i int)",
        "DROP VIEW IF EXISTS w, w2 CASCADE; CREATE VIEW w AS SELECT 1 AS one",
        (
            "CREATE TABLE a (v vector(3)); CREATE FUNCTION same(vector, vector) RETURNS bool RETURN $1 = $2;"
            "CREATE OPERATOR <~~> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = same)"
        ),
        "CREATE TABLE a (t text); INSERT INTO a VALUES ('setval'); COMMENT ON TABLE a IS 'setval'",
        "CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE a (v vector(3))",
        "DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('a'); CREATE TABLE a (m mood)",
        (
            "DROP FUNCTION IF EXISTS f(int) CASCADE; CREATE FUNCTION f(int) RETURNS int RETURN 1; "
            "CREATE TABLE a (i int CHECK (f(i) > 0))"
        ),
        "CREATE TABLE a (t text, theirs text, CHECK (t LIKE theirs))",
        "CREATE TABLE a (theirs text); CREATE VIEW w AS SELECT DISTINCT ON (theirs) theirs AS t FROM a",
        "CREATE TABLE a (theirs int, embedding vector(3)); CREATE INDEX ON a (theirs)",
    ],
)
def test_an_identical_database_is_not_refused(database: str, folder: Path, up: str) -> None:
    """Tables and extension may share a schema with tables of other programs."""
    ask(database, "CREATE TABLE theirs (); " + up)
    write(folder, a1_up=up)
    assert take_over(database, folder) == ["0001_a"]


def test_an_extension_that_is_missing_is_told(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE EXTENSION IF NOT EXISTS hstore; CREATE TABLE a ()")
    ask(database, "CREATE TABLE a ()")
    with pytest.raises(RefusedError, match="the extension hstore is missing"):
        take_over(database, folder)


def test_an_unknown_migration(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))")
    with pytest.raises(InputError, match="The folder has: 0001_a"):
        take_over(database, folder, "0002_b")


def test_a_login_without_the_right_to_create_databases(database: str, folder: Path) -> None:
    """The right to create a schema is enough, even if another role owns the extension."""
    name = name_of(database)
    write(folder, a1_up="CREATE TABLE a (id serial PRIMARY KEY, v vector(3))")
    ask(database, "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN PASSWORD 'plain'")
    try:
        ask(database, f"GRANT CREATE ON DATABASE {name} TO plain; GRANT CREATE ON SCHEMA public TO plain")
        login = make_conninfo(database, user="plain", password="plain")
        ask(login, (folder / "0001_a.up.sql").read_text())
        assert take_over(login, folder) == ["0001_a"]
    finally:
        ask(database, "DROP OWNED BY plain; DROP ROLE plain")


def repair_file(conninfo: str, folder: Path, id_: str = "0001_a") -> bool:
    with connect(conninfo) as connection:
        return repair(connection, load(folder), "public", id_, quiet)


def test_an_edited_up_whose_effect_is_in_place_is_accepted(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a (v vector(3))", b2_up="CREATE TABLE b ()")
    run(database, folder)
    assert not repair_file(database, folder)
    write(folder, a1_up="CREATE TABLE a (v vector(4))", a1_down="DROP TABLE a")
    with pytest.raises(RefusedError, match="table a, column v"):
        repair_file(database, folder)
    with pytest.raises(RefusedError, match="was edited"):
        run(database, folder)
    ask(database, "ALTER TABLE a ALTER v TYPE vector(4)")
    assert repair_file(database, folder)
    ledger, messages = run(database, folder)
    assert messages == []
    assert ledger.contract["tables"][0]["dimensions"] == 4, "what is promised is what is there now"
    assert ledger.contract["ledger"]["migrations"][0]["checksum"] == load(folder)[0].checksum
    with pytest.raises(InputError, match="0003_c is not applied"):
        repair_file(database, folder, "0003_c")
    with connect(database) as connection, pytest.raises(RefusedError, match="0002_b"):
        undo(connection, [], "public", "base", quiet)
