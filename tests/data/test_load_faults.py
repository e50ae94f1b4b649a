"""Faults in the middle of a load: kills, a lost server, refusals. Run again, it ends with exactly the file's rows."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from tests.conftest import Process, ask, conninfo, kill, new_server, remove, tries, until
from tests.data.helpers import (
    TABLE,
    Array,
    load,
    make_table,
    same,
    save,
    start,
    stored,
    vectors,
    write_jsonl,
    write_shuffled,
)
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow
from tests.proxies import Link, Proxy
from tests.roles import new_names, quoted

pytestmark = pytest.mark.newest

DIMENSIONS = 128
ROWS = 60_000  # eight blocks
HAS_ROWS = "SELECT 1 FROM items LIMIT 1 OFFSET {}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Array, list[str]]:
    """Return the vectors in the order of their ids, and the arguments that load them shuffled, from four files."""
    values = vectors(ROWS, DIMENSIONS)
    return values, [*write_shuffled(tmp_path_factory.mktemp("files"), values, 4), "--table", "items"]


def words_in_order(files: tuple[Array, list[str]], folder: Path) -> list[str]:
    return [save(folder / "v.npy", files[0]), "--table", "items", "--number-from", "1"]


def wait_for(database: str, enough: str, process: Process) -> None:
    """Wait until a query has rows, or the process has ended."""
    until(lambda: ask(database, enough) or process.poll() is not None)


@pytest.mark.parametrize(("order", "jobs"), [("in order", 1), ("shuffled", 1), ("shuffled", 4)])
def test_kill_9_in_the_middle_and_then_two_loaders_at_once(
    database: str, tmp_path: Path, files: tuple[Array, list[str]], order: str, jobs: int
) -> None:
    """Killed at any moment, it leaves whole blocks; two loaders at once then end with exactly the file's rows."""
    words = files[1] if order == "shuffled" else words_in_order(files, tmp_path)
    words = [*words, "--jobs", str(jobs)]
    dice, killed = random.Random(order), 0
    for _ in range(tries(2, soak=50)):
        ask(database, "DROP TABLE IF EXISTS items")
        make_table(database, DIMENSIONS)
        enough = HAS_ROWS.format(dice.randrange(ROWS // 2))
        with start(database, *words) as process:
            wait_for(database, enough, process)
            process.kill()
        killed += ask(database, "SELECT count(*) FROM items")[0][0] < ROWS
        loaders = [start(database, *words) for _ in range(2)]
        outputs = [loader.communicate()[0] for loader in loaders]
        assert [loader.returncode for loader in loaders] == [0, 0], outputs
        assert same(database, files[0])
    assert killed, "no kill was in the middle"


def test_ctrl_c_says_what_is_in_the_table(database: str, files: tuple[Array, list[str]]) -> None:
    make_table(database, DIMENSIONS)
    with start(database, *files[1]) as process:
        wait_for(database, HAS_ROWS.format(0), process)
        process.send_signal(signal.SIGINT)
        output = process.communicate()[0]
    assert process.returncode == 130, output
    count = ask(database, "SELECT count(*) FROM items")[0][0]
    assert 0 < count < ROWS
    assert f"interrupted: {count:,} rows are in the table. Run the same command again." in output
    load(database, *files[1])
    assert same(database, files[0])


SLOW = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
CREATE TRIGGER wait BEFORE INSERT ON items FOR EACH ROW WHEN (NEW.id > 400) EXECUTE FUNCTION wait()
"""
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"


@pytest.mark.parametrize("jobs", [1, 4])
def test_ctrl_c_cancels_the_blocks_in_progress(database: str, tmp_path: Path, jobs: int) -> None:
    """The server stops, and the message has the number of rows that all connections have committed."""
    make_table(database)
    ask(database, SLOW)
    values = vectors(800)
    for part in range(8):
        save(tmp_path / f"{part}.npy", values[part * 100 :][:100])
    words = [str(tmp_path / "*.npy"), "--table", "items", "--number-from", "1", "--jobs", str(jobs)]
    with start(database, *words) as process:
        until(lambda: len(ask(database, SLEEPING)) == jobs or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert (process.returncode, "Traceback" in output) == (130, False), output
    assert "interrupted: 400 rows are in the table. Run the same command again." in output
    assert ask(database, SLEEPING) == []
    ask(database, "DROP TRIGGER wait ON items")
    assert "400 rows copied, 0 changed, 400 unchanged" in load(database, *words)
    assert same(database, values)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server that the test may kill."""
    server = new_server(tmp_path / "server", 18)
    yield server
    remove(server)


def test_the_server_is_restarted(own_server: Server, files: tuple[Array, list[str]]) -> None:
    """The loader connects again, and compares the block whose end it did not learn."""
    database = conninfo(own_server, "template_vector")
    make_table(database, DIMENSIONS)
    with start(database, *files[1]) as process:
        until(lambda: ask(database, HAS_ROWS.format(0)))
        kill(own_server)
        own_server.start()
        output = process.communicate()[0]
    assert process.returncode == 0, output
    assert same(conninfo(own_server, "template_vector"), files[0])


class CutAtCommit(Link):
    """Hangs up at the first COMMIT of all its clients, before or after the server has got it."""

    commits = 0
    first_reaches_server = False

    def from_client(self, message: bytes) -> None:
        if b"COMMIT" not in message:
            super().from_client(message)
            return
        type(self).commits += 1
        is_first = self.commits == 1
        if not is_first or self.first_reaches_server:
            super().from_client(message)
        if is_first and self.first_reaches_server:
            self.read_server()  # the server has committed, and the client is not told
        if is_first:
            raise EOFError


@pytest.mark.parametrize("reaches_server", [False, True])
def test_the_connection_is_lost_at_commit(
    database: str, server: Server, tmp_path: Path, *, reaches_server: bool
) -> None:
    """The comparison finds out what became of the block: it is there once, and nothing is refused."""
    make_table(database)
    values = vectors(100)
    link: Any = type("Cut", (CutAtCommit,), {"commits": 0, "first_reaches_server": reaches_server})
    with closing(Proxy(server, link)) as proxy:
        through = make_conninfo(database, port=proxy.port)
        output = load(through, save(tmp_path / "v.npy", values), "--table", "items", "--number-from", "1")
    assert link.commits > 1
    assert ("100 unchanged" if reaches_server else "100 rows copied") in output
    assert same(database, values)


def test_the_server_stays_down(own_server: Server, files: tuple[Array, list[str]]) -> None:
    """The loader reports the lost connection, and the next run copies what the crash has lost."""
    database = conninfo(own_server, "template_vector")
    make_table(database, DIMENSIONS)
    with start(database, *files[1]) as process:
        wait_for(database, HAS_ROWS.format(0), process)
        kill(own_server)
        output = process.communicate()[0]
    assert (process.returncode, "Connection refused" in output) == (3, True), output
    own_server.start()
    database = conninfo(own_server, "template_vector")
    load(database, *files[1])
    assert same(database, files[0])


TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.id = 7 THEN RAISE EXCEPTION 'not seven' USING ERRCODE = '{}'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE items ADD CHECK (id <> 7)", 'violates check constraint "items_id_check"'),
        ("ALTER TABLE items ADD UNIQUE (title)", 'violates unique constraint "items_title_key"'),
        ("ALTER TABLE items ALTER title SET NOT NULL", 'null value in column "title"'),
        (TRIGGER.format("P0001"), "not seven"),
        (TRIGGER.format("53100"), "Free some space on the server's disk"),
    ],
)
def test_a_row_that_the_server_refuses_is_named(database: str, tmp_path: Path, change: str, words: str) -> None:
    """Constraints, triggers and a full disk stop the load before the block, with the number of the row in the file."""
    ask(database, f"CREATE TABLE items (id int PRIMARY KEY, embedding vector(1), title text); {change}")
    titles = {0: "same", 3: "same" if "UNIQUE" in change else None if "NOT NULL" in change else "t"}
    rows = [{"id": 10 - n, "embedding": [1], "title": titles.get(n, f"t{n}")} for n in range(6)]
    output = load(database, write_jsonl(tmp_path / "a.jsonl", rows), "--table", "items", code=1)
    number = 1 if "UNIQUE" in change else 4  # sorted by id, the first row comes last
    assert f"a.jsonl, row {number}: the server refuses it: " in output
    assert words in output
    if "53100" not in change:
        assert "Fix the row in the file first: nothing of this block was stored. Run the same command again:" in output
    assert stored(database) == {}


KEEPS_OUT = """
CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.id = 7 THEN {} RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER keep_out BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION keep_out()
"""


def test_a_row_that_a_trigger_keeps_out_is_not_counted_as_copied(database: str, tmp_path: Path) -> None:
    """Regression: COPY succeeds if a trigger returns NULL. A row that the trigger stores in a child is there."""
    make_table(database)
    ask(database, KEEPS_OUT.format(""))
    rows = [{"id": id_, "embedding": [1, 2, 3]} for id_ in range(1, 10)]
    words = [write_jsonl(tmp_path / "a.jsonl", rows), "--table", "items"]
    for options, row in ([], "SELECT 1"), (["--keep"], "INSERT INTO items VALUES (1)"):
        ask(database, row)
        output = load(database, *words, *options, code=1)
        assert "a.jsonl, row 7 (id 7): a trigger on public.items kept it out" in output
        assert "Nothing of this block was stored" in output
        assert ask(database, "SELECT count(*) FROM items") == [(row.startswith("INSERT"),)]
    ask(database, "TRUNCATE items; DROP FUNCTION keep_out CASCADE; CREATE TABLE child () INHERITS (items);")
    ask(database, KEEPS_OUT.format("INSERT INTO child SELECT NEW.*;"))
    assert "9 rows copied" in load(database, *words)
    assert "0 rows copied, 0 changed, 9 unchanged" in load(database, *words)
    ask(database, "TRUNCATE items; DROP FUNCTION keep_out CASCADE")
    ask(database, "ALTER TABLE items ALTER id ADD GENERATED ALWAYS AS IDENTITY")
    ask(database, KEEPS_OUT.format(""))
    output = load(database, save(tmp_path / "v.npy", vectors(9)), "--table", "items", code=1)
    assert "v.npy: a trigger on public.items kept rows out" in output, "generated keys cannot be looked up"
    assert ask(database, "SELECT count(*) FROM items") == [(0,)]


def test_a_refused_row_is_not_printed_with_its_vector(database: str, tmp_path: Path) -> None:
    """The row is named, and can be fixed; its values in the server's message are cut."""
    ask(database, "CREATE TABLE items (id int PRIMARY KEY, embedding vector(99), title text, CHECK (title <> 'bad'))")
    row = {"id": 1, "embedding": [0.125] * 99, "title": "bad"}
    output = load(database, write_jsonl(tmp_path / "a.jsonl", [row]), "--table", "items", code=1)
    assert "detail: Failing row contains (1, [0.125,0.125," in output
    assert ",... (SQLSTATE 23514)" in output
    ask(database, "INSERT INTO items (id) VALUES (1)")
    output = load(database, str(tmp_path / "a.jsonl"), "--table", "items", code=1)
    assert "Fix the row in the file first" in output, "a fill by UPDATE does not tell the row's number"


def test_a_value_that_only_the_server_refuses_is_named_in_a_comparison_too(database: str, tmp_path: Path) -> None:
    ask(database, "CREATE TABLE items (id int PRIMARY KEY, embedding vector(1), code varchar(3))")
    ask(database, "INSERT INTO items VALUES (1, '[1]', 'abc')")
    rows = [{"id": 2 - n, "embedding": [1], "code": "abcd" if n else "abc"} for n in range(2)]
    output = load(database, write_jsonl(tmp_path / "a.jsonl", rows), "--table", "items", code=1)
    assert "a.jsonl, row 2: the server refuses it: value too long for type character varying(3)" in output


def test_row_security_is_told_before_the_first_block(database: str, server: Server, tmp_path: Path) -> None:
    make_table(database)
    with new_names(server) as names:
        ask(
            database,
            f"CREATE ROLE {quoted(names.writer)} LOGIN PASSWORD 'x'; ALTER TABLE items ENABLE ROW LEVEL SECURITY",
        )
        ask(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON items TO {quoted(names.writer)}")
        writer = make_conninfo(database, user=names.writer, password="x")
        output = load(writer, save(tmp_path / "v.npy", vectors(2)), "--table", "items", "--number-from", "1", code=2)
        assert "row security is on for public.items" in output
        assert "Load as postgres, its owner" in output


def test_a_trigger_with_another_roles_function_is_refused(database: str, server: Server, tmp_path: Path) -> None:
    """An insert would run that role's code with the rights of the login that loads."""
    make_table(database)
    with new_names(server) as names:
        function = f"CREATE ROLE {quoted(names.writer)}; {TRIGGER.format('P0001')}"
        ask(database, f"{function}; ALTER FUNCTION refuse() OWNER TO {quoted(names.writer)}")
        words = [save(tmp_path / "v.npy", vectors(2)), "--table", "items", "--number-from", "1"]
        assert "runs a function of" in load(database, *words, code=2)


def test_a_trigger_on_a_partition_is_refused_too(database: str, server: Server, tmp_path: Path) -> None:
    """Regression: only the triggers of the partitioned table were looked at."""
    ask(database, f"{TABLE.format(dimensions=3)} PARTITION BY RANGE (id)")
    ask(database, "CREATE TABLE part PARTITION OF items FOR VALUES FROM (0) TO (9)")
    with new_names(server) as names:
        trigger = TRIGGER.format("P0001").replace("ON items", "ON part")
        function = f"CREATE ROLE {quoted(names.writer)}; {trigger}"
        ask(database, f"{function}; ALTER FUNCTION refuse() OWNER TO {quoted(names.writer)}")
        words = [save(tmp_path / "v.npy", vectors(2)), "--table", "items", "--number-from", "1"]
        assert "runs a function of" in load(database, *words, code=2)


def test_a_function_of_the_same_name_on_the_search_path(database: str, tmp_path: Path) -> None:
    """Regression: an aggregate of exactly the type, which others may create in public, ran in place of the server's."""
    make_table(database)
    for type_ in ("smallint", "integer", "bigint"):
        thief = f"FUNCTION thief(int, {type_}) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'stolen'; END $$"
        ask(database, f"CREATE {thief}; CREATE AGGREGATE public.array_agg({type_}) (SFUNC = thief, STYPE = int)")
    words = [save(tmp_path / "v.npy", vectors(2)), "--table", "items", "--number-from", "1"]
    load(database, *words)
    for option in ("--replace", "--keep"):
        assert "2 unchanged" in load(database, *words, option)


def test_a_writer_is_told_who_may_do_the_rest(database: str, server: Server, tmp_path: Path) -> None:
    """A login that may only write loads the rows, and is told who may move the sequence and analyze."""
    ask(database, "CREATE TABLE items (id serial PRIMARY KEY, embedding vector(3))")
    with new_names(server) as names:
        ask(database, f"CREATE ROLE {quoted(names.writer)} LOGIN PASSWORD 'x'")
        ask(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON items TO {quoted(names.writer)}")
        writer = make_conninfo(database, user=names.writer, password="x")
        words = [save(tmp_path / "v.npy", vectors(2)), "--table", "items", "--number-from", "1"]
        document = json.loads(load(writer, *words, "--json"))
        assert document["copied"] == 2
        sequence, analyze = document["notes"]
        assert 'postgres may move the sequence "public"."items_id_seq"' in sequence
        assert "not analyzed: postgres may" in analyze
        ask(database, f"GRANT USAGE, SELECT, UPDATE ON SEQUENCE items_id_seq TO {quoted(names.writer)}")
        ask(database, "ANALYZE items")
        assert json.loads(load(writer, *words, "--json"))["notes"] == []
        assert ask(database, "SELECT nextval('items_id_seq')") == [(3,)]


@pytest.mark.parametrize("limit", ["200ms", None])
@pytest.mark.parametrize("numbers", [["--number-from", "1"], []])
def test_a_locked_table(database: str, tmp_path: Path, limit: str | None, numbers: list[str]) -> None:
    """The wait for a lock has a limit, the session's own if it has one, and the session that has the lock is named.

    Regression: without keys in the file, the load waited forever.
    """
    ask(database, "CREATE TABLE items (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, embedding vector(3))")
    words = [save(tmp_path / "v.npy", vectors(2)), "--table", "items", *numbers]
    login = make_conninfo(database, options=f"-c lock_timeout={limit}") if limit else database
    with psycopg.connect(database, application_name="the holder") as holder:
        holder.execute("LOCK TABLE items IN EXCLUSIVE MODE")
        with start(login, *words) as process:
            output = process.communicate(timeout=120)[0]
    assert process.returncode == 1, output
    assert "error: public.items is locked by postgres (the holder, 127.0.0.1, server process " in output
    assert "and the wait was longer than lock_timeout" in output
    assert "2 rows copied" in load(login, *words)


@pytest.fixture
def disk() -> Iterator[Path]:
    """Yield the folder of a disk of 12 MB."""
    folder = Path(tempfile.mkdtemp(prefix="full-disk-", dir="/var/tmp"))  # which nobody, the server's user, can enter
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=755", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
        folder.rmdir()
        pytest.skip("no disk can be mounted here; run as root to see this")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_the_servers_disk_is_full(database: str, server: Server, disk: Path, files: tuple[Array, list[str]]) -> None:
    """Whole blocks stay. With more space, the second run ends with exactly the rows of the file."""
    place = disk / "tables"
    place.mkdir()
    os.chown(place, server.data.stat().st_uid, server.data.stat().st_gid)
    name = f"small_{os.getpid()}_{server.major}"
    ask(database, f"CREATE TABLESPACE {name} LOCATION '{place}'")
    try:
        make_table(database, DIMENSIONS)
        ask(database, f"ALTER TABLE items SET TABLESPACE {name}")
        output = load(database, *files[1], code=1)
        assert "No space left on device" in output
        assert "(SQLSTATE 53100)" in output
        assert "Free some space on the server's disk, and run the same command again." in output
        assert 0 < ask(database, "SELECT count(*) FROM items")[0][0] < ROWS
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        load(database, *files[1])
        assert same(database, files[0])
    finally:
        ask(database, "DROP TABLE items")
        ask(database, f"DROP TABLESPACE {name}")
