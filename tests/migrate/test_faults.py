"""Faults around the migration engine: killed servers, damaged ledgers, missing rights."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from pgvector_seed.common.errors import InputError, MigrationError, RefusedError, WrongResultError
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import LOCK_KEY
from pgvector_seed.migrate.runner import ApplyOptions, apply
from pgvector_seed.migrate.session import Limits
from pgvector_seed.postgres.connection import connect
from tests.conftest import WAITING, ask, conninfo, declare, kill, name_of, new_server, remove, tries, until
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.migrate.helpers import LEDGER_SQL, applied, applier, run, undo_all, write

TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server that the test may kill."""
    server = new_server(tmp_path / "server", 18)
    yield server
    remove(server)


def test_the_server_is_killed_and_restarted_in_the_middle(own_server: Server, folder: Path) -> None:
    """A run reports the lost connection at whatever moment the server dies, and the next run continues."""
    count = 20
    for number in range(1, count + 1):
        (folder / f"{number:04}_a.up.sql").write_text(f"CREATE TABLE t{number:02} AS SELECT pg_sleep(0.01)::text")
    dice = random.Random(3)
    for trial in range(tries(3, soak=30)):
        ask(conninfo(own_server, "postgres"), f"CREATE DATABASE d{trial} TEMPLATE template_vector")
        database = conninfo(own_server, f"d{trial}")
        with applier(database, folder) as process:
            assert process.stdout is not None
            for _ in range(dice.randrange(1, count)):
                process.stdout.readline()
            kill(own_server)
            output = process.stdout.read()
        assert process.returncode == 3, output
        assert "connection was lost" in output
        assert "Traceback" not in output
        own_server.start()
        database = conninfo(own_server, f"d{trial}")
        done = applied(database)
        assert len(ask(database, TABLES)) == len(done), "a table and its row in the ledger, or neither"
        _, said_after = run(database, folder)
        assert [line.split()[0] for line in said_after] == [f"{n:04}_a" for n in range(len(done) + 1, count + 1)]
        assert len(ask(database, TABLES)) == count


def test_a_connection_that_is_cut_while_it_waits_for_the_lock(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    with psycopg.connect(database, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with applier(database, folder) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("waiting for")
            # Well after a result: libpq takes an error that arrives together with a result for a notice.
            cut = WAITING.replace("pid", "pg_terminate_backend(pid)") + " AND now() > state_change + interval '0.15 s'"
            until(lambda: holder.execute(cut.encode()).fetchall())
            output = process.communicate()[0]
        assert process.returncode == 3
        assert "terminating connection due to administrator command" in output
        assert "Traceback" not in output
    assert applied(database) == []
    run(database, folder)
    assert applied(database) == ["0001_a"]


def test_waiting_for_another_applier_has_no_limit(database: str, folder: Path) -> None:
    """A role's short lock_timeout does not end the wait for another applier."""
    write(folder, a1_up="CREATE TABLE a ()")
    name = name_of(database)
    ask(database, f"ALTER DATABASE {name} SET lock_timeout = '1ms'; ALTER DATABASE {name} SET statement_timeout = '1s'")
    with psycopg.connect(database) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        with applier(database, folder) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("waiting for")
            holder.execute("SET statement_timeout = 0; SELECT pg_sleep(1.2)")  # longer than both
            assert process.poll() is None
            holder.execute("SELECT pg_advisory_unlock(%s)", (LOCK_KEY,))
            assert "0001_a applied" in process.communicate()[0]


def test_an_emptied_ledger_with_its_tables_still_there(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, "DELETE FROM pgvector_seed.migrations")
    with pytest.raises(MigrationError, match="42P07") as caught:
        run(database, folder)
    assert "python -m seed migrate baseline 0001_a" in caught.value.remedy
    assert applied(database) == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM pgvector_seed.deployment",
        "DROP TABLE pgvector_seed.deployment",
        "DROP TABLE pgvector_seed.migrations",
    ],
)
def test_half_a_ledger_is_told_and_left_alone(database: str, folder: Path, damage: str) -> None:
    """An incomplete ledger is an error, and no new one is created beside its tables."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(database, folder)
    ask(database, damage)
    for attempt in (lambda: run(database, folder), lambda: undo_all(database)):
        with pytest.raises(RefusedError, match="a part of it is missing") as caught:
            attempt()
        assert "python -m seed migrate baseline" in caught.value.remedy
    assert ask(database, TABLES) == [("a",)]


@pytest.mark.parametrize(
    "edit",
    [
        "declaration = declaration || '{\"x\": 1}'",
        "declaration = '[]'",
        "unfinished = '5'",
        "unfinished = '{\"file\": 5}'",
        'unfinished = \'{"file": "a"}\'',
        "catalogue = '{\"x\": 1}'",
        "contract = '[]'",
    ],
)
def test_a_record_that_cannot_be_read_is_told(database: str, folder: Path, edit: str) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(database, f"UPDATE pgvector_seed.deployment SET {edit}")
    with pytest.raises(RefusedError, match="is damaged"):
        run(database, folder)


@pytest.mark.parametrize("down", ["SELECT 'a", "", "DROP TABLE a; COMMIT"])
def test_a_recorded_down_is_judged_before_it_is_run(database: str, folder: Path, down: str) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE pgvector_seed.migrations SET down = %s", (down,))
    with pytest.raises(InputError, match=r"0001_a.down.sql"):
        undo_all(database)
    assert ask(database, TABLES) == [("a",)]


def test_a_schema_of_the_ledgers_name_without_a_ledger(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    ask(database, "CREATE SCHEMA pgvector_seed")
    with pytest.raises(WrongResultError, match="already exists") as caught:
        run(database, folder)
    assert "Drop that schema if it is empty" in caught.value.remedy


@pytest.fixture
def mallory(database: str) -> Iterator[str]:
    """Yield the conninfo of a login whose only right is to create schemas."""
    ask(database, "DROP ROLE IF EXISTS mallory; CREATE ROLE mallory LOGIN PASSWORD 'm'")
    ask(database, f"GRANT CREATE ON DATABASE {name_of(database)} TO mallory")
    yield make_conninfo(database, user="mallory", password="m")
    ask(database, "DROP OWNED BY mallory CASCADE; DROP ROLE mallory")


def test_a_planted_view_is_not_read(database: str, mallory: str) -> None:
    """A superuser's status does not read a view in place of the ledger, which would run its owner's code."""
    ask(mallory, LEDGER_SQL)
    ask(
        mallory,
        "CREATE FUNCTION pgvector_seed.f() RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN "
        "ALTER ROLE mallory SUPERUSER; RETURN gen_random_uuid(); END $$; DROP TABLE pgvector_seed.deployment;"
        "CREATE VIEW pgvector_seed.deployment AS SELECT true AS only_row, pgvector_seed.f() AS ledger, "
        "'{}'::jsonb AS declaration, false AS schema_created, '{}'::jsonb AS unfinished, '{}'::jsonb AS catalogue, "
        "'{}'::jsonb AS contract, 2 AS format",
    )
    with connect(database) as connection, pytest.raises(RefusedError, match="belongs to mallory"):
        read_ledger(connection)
    assert ask(database, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'") == [(False,)]


def test_a_planted_cast_is_not_run(database: str, mallory: str) -> None:
    """A cast of another role's type is not called when the ledger is read as text."""
    ask(
        mallory,
        "CREATE SCHEMA pgvector_seed; CREATE TYPE pgvector_seed.evil AS (x int);"
        "CREATE FUNCTION pgvector_seed.f(pgvector_seed.evil) RETURNS text LANGUAGE plpgsql AS $$ BEGIN "
        "EXECUTE 'ALTER ROLE mallory SUPERUSER'; RETURN ''; END $$;"
        "CREATE CAST (pgvector_seed.evil AS text) WITH FUNCTION pgvector_seed.f(pgvector_seed.evil)",
    )
    made = LEDGER_SQL.replace("CREATE SCHEMA pgvector_seed;", "")
    ask(mallory, made.replace("ledger uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid()", "ledger pgvector_seed.evil"))
    ask(
        mallory,
        "INSERT INTO pgvector_seed.deployment (ledger, declaration, schema_created, format) "
        "VALUES (ROW(1), '{}', true, 2)",
    )
    with connect(database) as connection, pytest.raises(RefusedError, match="belongs to mallory"):
        read_ledger(connection)
    assert ask(database, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'") == [(False,)]


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE INDEX ON pgvector_seed.deployment ((pgvector_seed.evil(1)))",
        "CREATE INDEX ON pgvector_seed.migrations (id) WHERE pgvector_seed.evil(1) = 1",
        "CREATE STATISTICS pgvector_seed.s ON (pgvector_seed.evil(1)), id FROM pgvector_seed.migrations",
    ],
)
def test_a_planted_expression_is_not_planned(database: str, mallory: str, planted: str) -> None:
    """Expressions in another role's indexes and statistics are not evaluated, as planning a read would do."""
    ask(mallory, LEDGER_SQL)
    ask(
        mallory,
        "CREATE FUNCTION pgvector_seed.v() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN "
        "IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN "
        "EXECUTE 'ALTER ROLE mallory SUPERUSER'; END IF; RETURN 1; END $$;"
        "CREATE FUNCTION pgvector_seed.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN "
        "RETURN pgvector_seed.v(); END $$;" + planted,
    )
    with connect(database) as connection, pytest.raises(RefusedError, match="belongs to mallory"):
        read_ledger(connection)
    assert ask(database, "SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'") == [(False,)]


def test_a_reader_may_read_the_ledger_of_another(database: str, folder: Path, mallory: str) -> None:
    """A login with only the right to read may check a deployment."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    ask(
        database,
        "GRANT USAGE ON SCHEMA pgvector_seed TO mallory; GRANT SELECT ON ALL TABLES IN SCHEMA pgvector_seed TO mallory",
    )
    assert applied(mallory) == ["0001_a"]


def test_membership_is_no_trust(database: str, folder: Path, mallory: str) -> None:
    """A ledger of a role that the login is a member of is not trusted: creating a role makes one a member of it."""
    write(folder, a1_up="CREATE TABLE a ()")
    ask(database, "DROP ROLE IF EXISTS deployer; CREATE ROLE deployer LOGIN PASSWORD 'd'")
    try:
        ask(database, f"GRANT mallory TO deployer; GRANT CREATE ON DATABASE {name_of(database)} TO deployer")
        run(mallory, folder, declare("mallorys"))
        with pytest.raises(RefusedError, match="belongs to mallory"):
            run(make_conninfo(database, user="deployer", password="d"), folder, declare("mallorys"))
    finally:
        ask(database, "DROP OWNED BY deployer; DROP ROLE deployer")


def test_a_planted_ledger_is_not_written_to(database: str, folder: Path, mallory: str) -> None:
    """A superuser does not write to another role's ledger: its triggers and downs would run as superuser."""
    write(folder, a1_up="CREATE TABLE a ()", a1_down="DROP TABLE a")
    run(mallory, folder, declare("mallorys"))
    for attempt in (lambda: run(database, folder, declare("mallorys")), lambda: undo_all(database)):
        with pytest.raises(RefusedError, match="belongs to mallory"):
            attempt()
    assert undo_all(mallory, schema="mallorys")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ("UPDATE pgvector_seed.migrations SET checksum = 'x' WHERE id = '0001_a'", "0001_a was edited"),
        ("DELETE FROM pgvector_seed.migrations WHERE id = '0001_a'", "0001_a is new, and comes before 0002_b"),
        (
            "UPDATE pgvector_seed.migrations SET id = '0009_z' WHERE id = '0002_b'",
            "0009_z was applied, and its file was renamed to 0002_b",
        ),
        ("UPDATE pgvector_seed.migrations SET position = 9 WHERE id = '0001_a'", "in the place of"),
        ("INSERT INTO pgvector_seed.migrations VALUES ('0003_c', 3, 'x', '', now(), '0', '')", "its file is missing"),
    ],
)
def test_a_ledger_edited_by_hand_is_refused(database: str, folder: Path, edit: str, words: str) -> None:
    write(folder, a1_up="CREATE TABLE a ()", b2_up="CREATE TABLE b ()")
    run(database, folder)
    ask(database, edit)
    with pytest.raises(RefusedError, match=words):
        run(database, folder)


def test_a_role_without_the_rights(database: str, folder: Path) -> None:
    """A right that is missing for the ledger or a migration is named, and nothing remains."""
    name = name_of(database)
    write(folder, a1_up="CREATE TABLE a ()")
    ask(database, "DROP ROLE IF EXISTS bare; CREATE ROLE bare LOGIN PASSWORD 'bare'")
    login = make_conninfo(database, user="bare", password="bare")
    try:
        with pytest.raises(WrongResultError, match="permission denied for database") as caught:
            run(login, folder)
        assert "or grant it" in caught.value.remedy
        ask(database, f"GRANT CREATE ON DATABASE {name} TO bare")
        with pytest.raises(
            MigrationError, match=r"0001_a.up.sql, line 1: permission denied for schema public"
        ) as caught:
            run(login, folder)
        assert "or grant it" in caught.value.remedy
        assert ask(database, "SELECT to_regnamespace('pgvector_seed')") == [(None,)]
        run(login, folder, declare("of its own"))
    finally:
        ask(database, "DROP OWNED BY bare; DROP ROLE bare")


def test_a_server_that_takes_no_writes(database: str, folder: Path) -> None:
    """The error of a read-only server, such as a standby, has a remedy of its own."""
    name = name_of(database)
    write(folder, a1_up="CREATE TABLE a ()")
    ask(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(WrongResultError, match="25006") as caught:
        run(database, folder)
    assert "PGTARGETSESSIONATTRS=read-write" in caught.value.remedy
    assert applied(database) == []


def test_a_disk_that_is_full(database: str, folder: Path) -> None:
    """A full disk, which /dev/full simulates, is an error with a remedy."""
    write(folder, a1_up="CREATE TABLE a ()", b2_up="CREATE TABLE b ();\nCOPY (SELECT 1) TO '/dev/full'")
    with pytest.raises(MigrationError, match=r"line 2: .*No space left on device.*53100") as caught:
        run(database, folder)
    assert "Free some space" in caught.value.remedy
    assert isinstance(caught.value.__cause__, psycopg.Error), "the cause is kept"
    assert applied(database) == ["0001_a"]
    assert ask(database, TABLES) == [("a",)]


def test_what_fails_at_the_end_of_the_transaction_has_its_file(database: str, folder: Path) -> None:
    write(
        folder,
        a1_up="CREATE TABLE p (id int PRIMARY KEY);\n"
        "CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO c VALUES (1);",
    )
    with pytest.raises(MigrationError, match=r"0001_a.up.sql, line 3: insert or update on table"):
        run(database, folder)


def test_the_files_of_another_project(database: str, folder: Path) -> None:
    """A folder without the ledger's migrations is refused, so the wrong database stays as it is."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    (folder / "0001_a.up.sql").unlink()
    write(folder, x1_up="CREATE TABLE x ()")
    with pytest.raises(RefusedError, match="its file is missing: 0001_a"):
        run(database, folder)
    assert ask(database, TABLES) == [("a",)]


@pytest.mark.rest
def test_ten_megabytes_of_inserts(database: str, folder: Path) -> None:
    """A large file is applied, and an error in its last statement has the line and leaves nothing."""
    padding = "-- no comment; " * 12
    rows = "".join(f"INSERT INTO a VALUES ({number}, '{padding}');\n" for number in range(50_000))
    assert len(rows) > 10_000_000
    write(folder, a1_up="CREATE TABLE a (id int, v text)", b2_up=f"{rows}INSERT INTO a VALUES (1 / 0);")
    with pytest.raises(MigrationError, match=r"0002_b.up.sql, line 50001: division by zero"):
        run(database, folder)
    assert ask(database, "SELECT count(*) FROM a") == [(0,)]
    write(folder, b2_up=rows)
    run(database, folder)
    assert ask(database, "SELECT count(*), max(v) FROM a") == [(50_000, padding)]


@pytest.mark.parametrize("failing", [1, 2, 700, 999, 1000, 1001, 1002, 2500])
def test_the_failing_statement_is_named_among_many(database: str, folder: Path, failing: int) -> None:
    """The failed statement is named, although later ones were sent before its result came."""
    write(folder, a1_up="\n".join(f"SELECT 1 / ({number} - {failing});" for number in range(1, 2501)))
    with pytest.raises(MigrationError, match=rf"0001_a.up.sql, line {failing}: division by zero"):
        run(database, folder)


def test_a_lock_is_not_waited_for_without_end(database: str, folder: Path) -> None:
    """A migration gives up on a lock: all later sessions wait behind it."""
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    write(folder, b2_up="ALTER TABLE a ADD b int")
    with psycopg.connect(database, options="-c idle_in_transaction_session_timeout=20s") as reader:
        reader.execute("SELECT * FROM a")
        with pytest.raises(MigrationError, match="55P03") as caught:
            run(database, folder, options=ApplyOptions(Limits(lock_timeout="20ms")))
    assert "lockTimeout" in caught.value.remedy
    run(database, folder)


def test_a_statement_that_runs_too_long(database: str, folder: Path) -> None:
    write(folder, a1_up="SELECT pg_sleep(60)")
    with pytest.raises(MigrationError, match="57014") as caught:
        run(database, folder, options=ApplyOptions(Limits(statement_timeout="1s")))
    assert "--statement-timeout" in caught.value.remedy


def test_whose_timeouts_hold(database: str, folder: Path) -> None:
    """Timeouts hold in this order: of the migration, of the options, of the session, our default."""
    write(folder, a1_up="CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS found")
    again = "INSERT INTO seen VALUES (current_setting('lock_timeout'))"
    run(database, folder)
    write(folder, b2_up=f"SET lock_timeout = '1s'; {again}", c3_up=again)
    run(database, folder)
    write(folder, d4_up=again)
    run(make_conninfo(database, options="-c lock_timeout=2s"), folder)
    write(folder, e5_up=again)
    run(make_conninfo(database, options="-c lock_timeout=2s"), folder, options=ApplyOptions(Limits(lock_timeout="3s")))
    assert ask(database, "SELECT found FROM seen") == [("10s",), ("1s",), ("10s",), ("2s",), ("3s",)]


def test_a_migration_leaves_nothing_behind_in_the_session(database: str, folder: Path) -> None:
    """A setting of one migration, as in a file of pg_dump, does not hold for the next."""
    ask(database, "DROP ROLE IF EXISTS other; CREATE ROLE other")
    write(
        folder,
        a1_up="CREATE TABLE a (); SELECT pg_catalog.set_config('search_path', '', false); SET lock_timeout = 1",
        b2_up=r"CREATE TABLE b (); SELECT '\'; SET standard_conforming_strings = off; SET ROLE other",
        c3_up=r"CREATE TABLE c (); SELECT '\'",
    )
    try:
        run(database, folder)
        assert ask(database, TABLES) == [("a",), ("b",), ("c",)]
        assert ask(database, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [("postgres",)]
    finally:
        ask(database, "DROP ROLE other")


def test_a_temporary_table_does_not_hide_the_next_ones(database: str, folder: Path) -> None:
    """A migration's temporary table does not take the rows of a later migration."""
    write(
        folder,
        a1_up="CREATE TEMP TABLE t (i int); PREPARE q AS SELECT 1",
        b2_up="CREATE TABLE t (i int); INSERT INTO t VALUES (1); PREPARE q AS SELECT 2",
    )
    run(database, folder)
    assert ask(database, "SELECT i FROM t") == [(1,)]


def test_the_files_are_utf_8_whatever_the_clients_encoding(
    database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "latin1")
    write(folder, a1_up="CREATE TABLE a AS SELECT 'né' AS word")
    run(database, folder)
    assert ask(make_conninfo(database, client_encoding="utf8"), "SELECT word, length(word) FROM a") == [("né", 2)]


def test_nothing_to_do_takes_a_fixed_number_of_queries(database: str, folder: Path, tmp_path: Path) -> None:
    """The number of queries that libpq sends is constant if nothing is to be applied."""

    def queries() -> int:
        trace = tmp_path / "trace"
        with connect(database) as connection, trace.open("w") as file:
            connection.pgconn.trace(file.fileno())
            apply(connection, load(folder), declare(), print)
            connection.pgconn.untrace()
        sent = [line.split("\t") for line in trace.read_text().splitlines()]
        return sum(words[1:2] == ["F"] and words[3] in ("Query", "Execute") for words in sent)

    counts = []
    for number in range(1, 41):
        (folder / f"{number:04}_a.up.sql").write_text("SELECT 1")
        if number in (2, 40):
            run(database, folder)
            counts.append(queries())
    assert counts[0] == counts[1] > 0
