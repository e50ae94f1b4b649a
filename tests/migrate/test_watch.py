"""What a run tells while a statement executes: the server's messages, and the progress of a slow statement."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import MigrationError
from pgvector_seed.migrate.files import load
from pgvector_seed.migrate.lock import LOCK_KEY
from pgvector_seed.migrate.runner import apply
from pgvector_seed.postgres import watch
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.sessions import describe_session
from tests.conftest import ask, declare, name_of, until
from tests.migrate.helpers import MARK, run, undo_all, write

TABLE = "CREATE TABLE a (v vector(64)); INSERT INTO a SELECT array_agg(random()) FROM generate_series(1, 2500) n, "
TABLE += "generate_series(1, 64) GROUP BY n;"
INDEX = "INDEX i ON a USING hnsw (v vector_l2_ops)"
LEFT = ", about \\d+ (?:s|min) left"
RAISE = "DO $$ BEGIN RAISE NOTICE '%'; END $$;"


class Lines(list[str]):
    """A list that can be referred to weakly."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report at once, and ten times a second."""
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0.1)


@pytest.mark.parametrize(
    "build",
    [
        f"SET LOCAL maintenance_work_mem = '1MB';\nCREATE {INDEX};",
        MARK + f"CREATE {INDEX.replace('INDEX', 'INDEX CONCURRENTLY')};",
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_large_index_has_progress_and_the_servers_warning(database: str, folder: Path, build: str) -> None:
    write(folder, a1_up=TABLE, b2_up=build)
    _, lines = run(make_conninfo(database, options="-c maintenance_work_mem=1MB"), folder)
    (notice,) = [number for number, line in enumerate(lines) if "NOTICE" in line]
    assert re.fullmatch(
        r"0002_b.up.sql, line 2: NOTICE: hnsw graph no longer fits into maintenance_work_mem after \d+ tuples",
        lines[notice],
    )
    assert lines[notice + 1 : notice + 3] == [
        "  detail: Building will take significantly more time.",
        "  hint: Increase maintenance_work_mem to speed up builds.",
    ]
    progress = [
        re.fullmatch(rf"0002_b.up.sql, line 2: building index: loading tuples, (\d+) % \(\d+ s({LEFT})?\)", line)
        for line in lines
    ]
    percents = [int(match[1]) for match in progress if match]
    assert percents == sorted(percents)
    assert len(set(percents)) > 1, lines
    assert any(match[2] for match in progress if match), lines


def test_each_message_is_shown_with_its_own_line(database: str, folder: Path) -> None:
    """Statements that change rows are sent together: of these, the lines of all are named."""
    text = "\n".join(
        [
            RAISE.replace("%", "first"),
            "CREATE TABLE a (n int); CREATE TABLE IF NOT EXISTS a ();",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN",
            "  RAISE WARNING '%', NEW.n USING HINT = 'none'; RETURN NEW; END $$;",
            "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
            "  WHEN (NEW.n = 8) EXECUTE FUNCTION f();",
            "CREATE TRIGGER u BEFORE INSERT ON a FOR EACH ROW WHEN (NEW.n < 8) EXECUTE FUNCTION f();",
            "INSERT INTO a VALUES (1);",
            "INSERT INTO a VALUES (9);",
            "INSERT INTO a VALUES (2);",
            "SELECT 1 AS " + "n" * 70 + ";",
            "INSERT INTO a VALUES (8);",
            RAISE.replace("%", "last"),
        ]
    )
    write(folder, a1_up=text, a1_down=RAISE.replace("%", "undone"))
    _, lines = run(database, folder)
    at = "0001_a.up.sql, line"
    assert lines[:-1] == [
        f"{at} 1: NOTICE: first",
        f'{at} 2: NOTICE: relation "a" already exists, skipping',
        f"{at}s 8 to 10: WARNING: 1",
        "  hint: none",
        f"{at}s 8 to 10: WARNING: 2",
        "  hint: none",
        f'{at} 11: NOTICE: identifier "{"n" * 70}" will be truncated to "{"n" * 63}"',
        f"{at} 13: NOTICE: last",
        f"{at} 13: WARNING: 8",
        "  hint: none",
    ]
    assert undo_all(database, folder)[0] == "0001_a.down.sql, line 1: NOTICE: undone"


def test_a_message_cannot_forge_a_line_or_fill_the_screen(database: str, folder: Path) -> None:
    write(
        folder,
        a1_up="DO $$ BEGIN RAISE NOTICE E'a\\n::error::b\\x1b[2J ##[c';"
        "FOR n IN 1..1000 LOOP RAISE NOTICE '%', n; END LOOP; END $$",
    )
    _, lines = run(database, folder)
    assert lines[0] == r"0001_a.up.sql, line 1: NOTICE: a ::error::b\x1b[2J ##\x5bc"
    assert lines[watch.MESSAGES - 1 : -1] == [
        f"0001_a.up.sql, line 1: NOTICE: {watch.MESSAGES - 1}",
        f"0001_a.up.sql, line 1: {1001 - watch.MESSAGES} more messages",
    ]


@pytest.mark.usefixtures("impatient")
def test_a_slow_statement_is_named_with_whom_it_waits_for(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ()")
    run(database, folder)
    write(folder, b2_up="SELECT 1;\nALTER TABLE a ADD b int")
    lines: list[str] = []
    with psycopg.connect(database, application_name="the reader") as reader:
        reader.execute("SELECT * FROM a")

        def report(line: str) -> None:
            lines.append(line)
            if len(lines) == 3:
                reader.cancel_safe()
                reader.rollback()

        with connect(database) as connection:
            apply(connection, load(folder), declare(), report)
    waiting = r"0002_b.up.sql, line 2: waiting for a lock of postgres \(the reader, 127.0.0.1, server process \d+, "
    assert re.match(waiting, lines[0])
    assert lines[-1].startswith("0002_b applied")


@pytest.mark.usefixtures("impatient")
def test_a_session_that_acts_as_its_owner_is_watched_as_the_login(database: str, folder: Path) -> None:
    """The owner of the tables, which cannot log in, may not see what the login runs."""
    ask(database, "DROP ROLE IF EXISTS worker, own; CREATE ROLE own; CREATE ROLE worker LOGIN PASSWORD 'w' IN ROLE own")
    try:
        ask(
            database,
            f"GRANT CREATE ON DATABASE {name_of(database)} TO own; CREATE TABLE a (); ALTER TABLE a OWNER TO own",
        )
        write(folder, a1_up="ALTER TABLE public.a ADD b int")
        login = psycopg.conninfo.make_conninfo(database, user="worker", password="w", options="-c role=own")
        lines: list[str] = []
        with psycopg.connect(database) as reader:
            reader.execute("SELECT * FROM a")

            def report(line: str) -> None:
                lines.append(line)
                reader.rollback()

            with connect(login) as connection:
                apply(connection, load(folder), declare("owned"), report)
        assert re.match(
            r"0001_a.up.sql, line 1: waiting for a lock of server process \d+ \(its user is shown to", lines[0]
        )
    finally:
        ask(database, "DROP OWNED BY own CASCADE; DROP ROLE worker, own")


@pytest.mark.usefixtures("impatient")
def test_without_a_second_connection_the_statement_is_named(database: str, folder: Path) -> None:
    """The thread is silent about a connection that it cannot have, and leaves none behind."""
    write(folder, a1_up="SELECT 1;\nSELECT pg_sleep(0.5)")
    ask(database, "DROP ROLE IF EXISTS lonely; CREATE ROLE lonely LOGIN PASSWORD 'l' CONNECTION LIMIT 1")
    try:
        ask(database, f"GRANT CREATE ON DATABASE {name_of(database)} TO lonely")
        login = psycopg.conninfo.make_conninfo(database, user="lonely", password="l")
        _, lines = run(login, folder, declare("own"))
        assert all(re.fullmatch(r"0001_a.up.sql, line 2: still running \(\d s\)", line) for line in lines[:-1])
        assert lines[:-1]
    finally:
        ask(database, "DROP OWNED BY lonely; DROP ROLE lonely")


@pytest.mark.usefixtures("impatient")
def test_a_slow_statement_leaves_no_connection_and_no_thread(database: str, folder: Path) -> None:
    write(folder, a1_up="SELECT pg_sleep(0.4)", b2_up="SELECT pg_sleep(0.4); SELECT 1 / 0")
    before = set(threading.enumerate())
    with connect(database) as connection:
        with pytest.raises(MigrationError):
            apply(connection, load(folder), declare(), print)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgvector-seed'"
        assert ask(database, f"{sessions} AND datname = current_database()") == [(1,)]
    until(lambda: not set(threading.enumerate()) - before)


@pytest.mark.usefixtures("impatient")
def test_a_report_that_fails_does_not_fail_the_statement(database: str, folder: Path) -> None:
    write(folder, a1_up="CREATE TABLE a ();" + RAISE.replace("%", "x") + "SELECT pg_sleep(0.3)")

    def report(line: str) -> None:
        if "applied" not in line:
            raise OSError("no space left")

    with connect(database) as connection:
        apply(connection, load(folder), declare(), report)
    assert ask(database, "SELECT to_regclass('a')") == [("a",)]


@pytest.mark.usefixtures("impatient")
def test_an_interrupted_report_leaves_no_connection_and_no_thread(database: str) -> None:
    """Regression: the thread asked for the progress of the ended statement until the process ended."""

    def report(line: str) -> None:
        if "NOTICE" in line:
            raise KeyboardInterrupt

    before = set(threading.enumerate())
    with connect(database) as connection:
        watched = watch.Watch(connection, report, LOCK_KEY)
        slow = b"SELECT pg_sleep(0.3); " + RAISE.replace("%", "x").encode()
        with pytest.raises(KeyboardInterrupt), watched.running("here"):
            connection.execute(slow)
        until(lambda: not set(threading.enumerate()) - before, seconds=10)


def test_a_thread_that_cannot_start_does_not_fail_the_statement(database: str, folder: Path) -> None:
    """Regression: with too many processes, a migration ended in a traceback."""
    write(folder, a1_up="CREATE TABLE a ();" + RAISE.replace("%", "x"))
    size = threading.stack_size(1 << 46)  # more than the address space
    try:
        _, lines = run(database, folder)
    finally:
        threading.stack_size(size)
    assert lines[0] == "0001_a.up.sql, line 1: NOTICE: x"


def test_the_session_that_is_waited_for_cannot_forge_a_line() -> None:
    words = describe_session(["a\n::error::b", "##[c", None, 1, "1 s"])
    assert words == r"a\n::error::b (##\x5bc, local, server process 1, connected for 1 s)"


@pytest.mark.usefixtures("impatient")
def test_a_report_may_wait_for_the_main_thread(database: str, folder: Path) -> None:
    """Regression: the statement's end waited for a report that waited for the statement's thread."""
    main, handed, taken = threading.current_thread(), threading.Event(), threading.Event()

    def report(_line: str) -> None:
        if threading.current_thread() is not main:
            handed.set()
            taken.wait()

    write(folder, a1_up="SELECT pg_sleep(0.5)")
    with connect(database) as connection:
        apply(connection, load(folder), declare(), report)
    assert handed.is_set()
    taken.set()


def test_a_kept_connection_does_not_keep_the_report(database: str, folder: Path) -> None:
    """Regression: each run added a handler of the server's messages to the caller's connection."""
    write(folder, a1_up=RAISE.replace("%", "first"))

    def run_on(connection: Connection) -> weakref.ref[Lines]:
        lines = Lines()
        apply(connection, load(folder), declare(), lines.append)
        return weakref.ref(lines)

    with connect(database) as connection:
        kept = run_on(connection)
        until(lambda: gc.collect() >= 0 and kept() is None)  # the thread ends by itself
