"""A standby: waiting until it has caught up, its lag, its conflicts with replay, and the other commands on it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar
from unittest import mock

import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local.server import HOST, Server
from local.workspace import ROOT
from pgvector_seed.common.errors import UnreachableError
from pgvector_seed.migrate.contract import convert
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated
from seed.verify.context import Context
from seed.verify.deadline import Deadline
from seed.verify.execute import execute
from seed.verify.model import Check, Outcome, Report, Status, passed
from seed.verify.verification import VerifyOptions, make_report
from tests.commands import run_seed
from tests.conftest import ask, conninfo, declare, pg_variables, until
from tests.e2e.conftest import readme_block
from tests.migrate.helpers import run as apply
from tests.migrate.helpers import write
from tests.proxies import frozen
from tests.servers import Standby, standby
from tests.verify.helpers import CONTRACT, failing, results, with_status
from tests.verify.test_command import FILE, run

pytestmark = pytest.mark.newest

T = TypeVar("T")

RECEIVER = "SELECT pid FROM pg_stat_wal_receiver WHERE status = 'streaming'"
RESUME = "SELECT pg_wal_replay_resume()"
SESSION = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pgvector-seed' AND datname = current_database()"


@pytest.fixture(scope="module")
def replicate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Server], Standby]]:
    """Yield a function that returns the standby of a server, which asks for a new WAL receiver at once."""
    standbys: dict[Server, Standby] = {}
    with ExitStack() as stack:

        def of(server: Server) -> Standby:
            if server not in standbys:
                folder = tmp_path_factory.mktemp("replica") / "standby"
                standbys[server] = stack.enter_context(standby(server, folder))
                change(standbys[server], "wal_retrieve_retry_interval = '100ms'")
            return standbys[server]

        yield of


@pytest.fixture
def replica(server: Server, replicate: Callable[[Server], Standby]) -> Standby:
    """Return the standby of the server."""
    return replicate(server)


def change(server: Server, setting: str) -> None:
    ask(conninfo(server, "postgres"), f"ALTER SYSTEM SET {setting}")
    ask(conninfo(server, "postgres"), "SELECT pg_reload_conf()")


@contextmanager
def changed(server: Server, name: str, value: str) -> Iterator[None]:
    """Give the server a setting in the block."""
    before = ask(conninfo(server, "postgres"), f"SELECT quote_literal(current_setting('{name}'))")[0][0]
    change(server, f"{name} = {value}")
    try:
        yield
    finally:
        change(server, f"{name} = {before}")


def caught_up(primary: str, replica: Server, *, received: bool = False) -> str:
    """Return the conninfo of the primary's database on the standby, once that has its changes, or only their WAL."""
    lsn = ask(primary, "SELECT pg_current_wal_lsn()")[0][0]
    position = "(SELECT latest_end_lsn FROM pg_stat_wal_receiver)" if received else "pg_last_wal_replay_lsn()"
    until(lambda: ask(conninfo(replica, "postgres"), f"SELECT {position} >= '{lsn}'") == [(True,)])
    return make_conninfo(primary, port=replica.environment["PGPORT"])


def both(primary: str, replica: str) -> str:
    """Return the conninfo of the primary's database with both hosts, the primary first."""
    ports = [pg_variables(server)["PGPORT"] for server in (primary, replica)]
    return make_conninfo(primary, host=f"{HOST},{HOST}", port=",".join(ports))


def seed(conninfo: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m seed`` with libpq's variables only."""
    return run_seed(*words, environment={**os.environ, **pg_variables(conninfo)})


def judged(
    conninfo: str,
    *names: str,
    seconds: float = 60,
    variable: str | None = None,
    replica: bool = False,
    try_writes: bool = False,
) -> Report:
    """Run the named checks, or connect, in this process; ``variable`` is PGTARGETSESSIONATTRS."""
    settings = pg_variables(conninfo) | ({"PGTARGETSESSIONATTRS": variable} if variable else {})
    with mock.patch.dict(os.environ, settings):
        checks = names or ("connect",)
        return make_report(VerifyOptions(FILE, None, None, checks, seconds, try_writes=try_writes, replica=replica))


def connected(report: Report) -> str:
    """Return the message of the check connect. Fails if the run does."""
    assert report.exit_code == 0, report
    return report.results[0].outcome.message


def test_a_replica_is_judged_once_it_has_caught_up(base: str, replica: Standby) -> None:
    """If asked to, verify waits for rows of the primary that the standby has not replayed, up to the time limit."""
    ask(base, "CREATE TABLE kept AS SELECT * FROM items WHERE id = 1; DELETE FROM items WHERE id = 1")
    copy = caught_up(base, replica)
    ask(copy, "SELECT pg_wal_replay_pause()")
    try:
        ask(base, "INSERT INTO items SELECT * FROM kept")
        caught_up(base, replica, received=True)
        lagging = judged(copy, "connect", "rows")
        messages = [result.outcome.message for result in lagging.results]
        assert (lagging.exit_code, messages[1]) == (1, "4,999 rows")
        assert re.search(
            r"a standby: [1-9]\S* bytes behind its primary's position of \d+ s ago, the last replayed transaction is "
            r"\d+ s old, replay is paused$",
            messages[0],
        )
        late = judged(copy, "connect", "rows", seconds=0.5, variable="prefer-standby")
        assert (late.exit_code, [result.outcome.status for result in late.results]) == (3, [Status.FAIL, Status.SKIP])
        assert "the standby did not catch up in 0.5 s: " in late.error
        assert "SELECT pg_wal_replay_resume();" in late.remedy
        with ThreadPoolExecutor() as background:
            running = background.submit(run, copy, "--contract", FILE, "--only", "connect,rows", "--replica")
            until(lambda: ask(copy, SESSION))
            assert not running.done()
            ask(copy, RESUME)
    finally:
        ask(copy, RESUME)
    done = running.result()
    assert (done.returncode, " behind its primary's position of " in done.stdout) == (0, True), done


def test_a_standby_that_does_not_stream(base: str, replica: Standby) -> None:
    """A WAL receiver that ended is waited for; without one for the whole time, nothing is judged as caught up."""
    copy = caught_up(base, replica)
    os.kill(until(lambda: ask(copy, RECEIVER))[0][0], signal.SIGTERM)
    assert "behind its primary's position" in connected(judged(copy, replica=True))
    with changed(replica, "primary_conninfo", "''"):
        until(lambda: not ask(copy, "SELECT pid FROM pg_stat_wal_receiver"))
        broken = judged(copy, seconds=0.5, replica=True)
        assert broken.exit_code == 3
        assert "no WAL receiver streams from a primary" in broken.error
        assert "SHOW primary_conninfo" in broken.remedy
        assert "a standby: no WAL receiver streams from a primary" in connected(judged(copy))
    until(lambda: ask(copy, RECEIVER))


def test_a_standby_that_streams_again(base: str, server: Server, replica: Standby) -> None:
    """Regression: the position from before the WAL receiver ended counts no more, though the server still shows it."""
    copy = caught_up(base, replica)
    caught_up(base, replica, received=True)
    address = ask(copy, "SHOW primary_conninfo")[0][0]
    with frozen(server) as proxy:
        proxy.freeze_at("START_REPLICATION")
        anew = re.sub(r"port=\d+", f"port={proxy.port}", address)
        with changed(replica, "primary_conninfo", sql.Literal(anew).as_string()):
            old = f"{RECEIVER} AND sender_port <> {proxy.port}"
            until(lambda: not ask(copy, old) and ask(copy, f"{RECEIVER} AND latest_end_lsn IS NOT NULL"))
            silent = judged(copy, seconds=0.5, replica=True)
    assert (silent.exit_code, "its primary has not told its position yet" in silent.error) == (3, True), silent
    until(lambda: ask(copy, RECEIVER))


def test_what_is_no_standby_or_tells_no_position(base: str, replica: Standby) -> None:
    """A primary is refused; of several hosts the standby is taken. A login that may not see its position is told so."""
    ask(base, "ALTER ROLE items_writer PASSWORD 'writes'; ALTER ROLE items_reader PASSWORD 'reads'")
    copy = caught_up(base, replica)
    primary = judged(base, replica=True)
    assert (primary.exit_code, "--replica needs a standby, and 127.0.0.1:" in primary.error) == (3, True)
    assert "standby" not in connected(judged(base, variable="prefer-standby"))
    lone = judged(base, variable="standby")
    assert (lone.exit_code, "Set PGHOST and PGPORT to a standby" in lone.remedy) == (3, True)
    for variable in (None, "any", "read-write"):  # the option says what is wanted
        assert "a standby: " in connected(judged(both(base, copy), replica=True, variable=variable))
    reader = make_conninfo(copy, user="items_reader", password="reads")
    seen = connected(judged(reader, replica=True))
    assert " received and not replayed" in seen
    assert "pg_read_all_stats" in seen
    writing = judged(make_conninfo(copy, user="items_writer", password="writes"), "roles", try_writes=True)
    assert writing.exit_code == 2
    assert "--try-writes needs the primary, and this server is a standby" in writing.error
    assert run(copy, "--replica", "--try-writes").returncode == 2
    ask(base, "REVOKE EXECUTE ON FUNCTION pg_last_wal_replay_lsn() FROM PUBLIC")
    caught_up(base, replica)
    assert "a standby, whose position cannot be read: permission denied" in connected(judged(reader))
    assert judged(reader, replica=True).exit_code == 1


def test_the_commands_on_a_standby(base: str, replica: Standby, folder: Path) -> None:
    """Commands that read work for any login. Those that write are refused in one line that leads to the primary."""
    write(folder, a1_up="CREATE TABLE words (id bigint PRIMARY KEY, embedding vector(3))")
    index = [{"method": "hnsw", "parameters": {"m": 8}}]
    apply(base, folder, declare(tables={"words": {"metric": "l2", "rows": 3, "index": index}}))
    ask(base, "INSERT INTO words SELECT n, '[1,2,3]' FROM generate_series(1, 3) n")
    ask(base, "ALTER ROLE items_reader PASSWORD 'reads'")
    write(folder, b2_up="CREATE TABLE more ()")
    rows = folder / "rows.jsonl"
    rows.write_text('{"id": 4, "embedding": [1, 2, 4]}\n')
    copy = caught_up(base, replica)
    reader = make_conninfo(copy, user="items_reader", password="reads")
    query = ("query", "--table", "items", "--id", "7", "--explain")
    for words, login, text in (
        (query, reader, "served by the index items_embedding_hnsw"),
        ((*query, "--exact"), reader, "cosine distance"),
        (("recall", "--table", "items", "--queries", "40", "--target", "0.1"), reader, "hnsw.ef_search"),
    ):
        done = seed(login, *words)
        assert (done.returncode, text in done.stdout) == (0, True), done
    status = seed(copy, "index", "status")
    assert (status.returncode, "words_embedding_hnsw  is not built" in status.stdout) == (1, True), status
    for refused in (
        ("load", str(rows), "--table", "words"),
        ("index", "build"),
        ("migrate", "apply", "--directory", str(folder)),
    ):
        done = seed(copy, *refused)
        assert (done.returncode, "PGTARGETSESSIONATTRS=read-write" in done.stderr) == (1, True), done
        assert len(done.stderr.splitlines()) == 2, done


def test_the_commands_of_the_page(base: str, replica: Standby, folder: Path) -> None:
    """The commands in docs/verify.md go to the standby of two hosts, and judge it by the recorded contract."""
    write(folder, a1_up="CREATE TABLE words (id bigint PRIMARY KEY, embedding vector(3))")
    apply(base, folder, declare(tables={"words": {"rows": 0}}))
    copy = caught_up(base, replica)
    script = readme_block("run: on a replica", "docs/verify.md")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, **pg_variables(both(base, copy)), "PATH": path}
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a standby: " in done.stdout
    assert "cosine distance" in done.stdout


def test_every_check_on_a_standby(base: str, replica: Standby) -> None:
    """A healthy standby passes, also for the reader, and what cannot be read there is the fault of its own check."""
    ask(base, "ALTER ROLE items_reader PASSWORD 'reads'")
    copy = caught_up(base, replica)
    reader = make_conninfo(copy, user="items_reader", password="reads")
    for login, skips in ((copy, {"roles"}), (reader, {"roles", "sequence"})):
        outcomes = results(login)
        assert with_status(outcomes, Status.FAIL) == {}
        assert with_status(outcomes, Status.SKIP).keys() == skips
        sound = with_status(outcomes, Status.PASS)
        assert {"plan", "recall"} <= sound.keys()
        assert all("a standby does not count" in sound[name] for name in ("statistics", "bloat"))
    ask(base, "ALTER SEQUENCE items_id_seq SET UNLOGGED")
    caught_up(base, replica)
    assert failing(copy).keys() == {"sequence"}
    ask(base, "ALTER TABLE items SET UNLOGGED")
    caught_up(base, replica)
    assert failing(copy).keys() == {"table"}


def sleep(connection: Connection) -> None:
    connection.execute("SELECT pg_sleep(60)")


def sleep_inside(connection: Connection) -> None:
    """Sleep in a subtransaction, which a conflict cannot end alone: it ends the session."""
    with connection.transaction(), connection.transaction():
        sleep(connection)


def check(connection: Connection, body: Callable[[Connection], None]) -> Outcome:
    """Execute a check that calls ``body``."""

    def run(context: Context) -> Outcome:
        body(context.connection)
        return passed("undisturbed")

    context = Context(connection, convert(CONTRACT, "of the test"), Deadline(60))
    return execute(Check("rows", "", run, per_table=False), context, ["rows"])


def conflicting(base: str, copy: str, work: Callable[[Connection], T]) -> T:
    """Return the result of work that sleeps, and holds up the replay of a VACUUM until replay ends it."""

    def connected() -> T:
        with connect(copy) as connection:
            return work(connection)

    with ThreadPoolExecutor() as background:
        running = background.submit(connected)
        until(lambda: ask(copy, f"{SESSION} AND query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'"))
        ask(base, "UPDATE items SET label = label WHERE id = 1")
        ask(base, "VACUUM items")
        return running.result()


def test_a_conflict_with_replay_is_no_fault(base: str, replica: Standby) -> None:
    """A check that replay cancels is skipped, and the run ends if replay ends the session, both with the remedy."""
    copy = caught_up(base, replica)
    with changed(replica, "max_standby_streaming_delay", "0"):
        until(lambda: ask(copy, "SHOW max_standby_streaming_delay") == [("0",)])
        outcome = conflicting(base, copy, lambda connection: check(connection, sleep))
        assert outcome.status is Status.SKIP
        assert "replay on this standby ended the check: canceling statement due to conflict" in outcome.message
        assert "hot_standby_feedback = on" in outcome.message
        for work in (lambda connection: check(connection, sleep_inside), translated("searching")(sleep_inside)):
            with pytest.raises(UnreachableError, match="terminating connection due to conflict") as lost:
                conflicting(base, copy, work)
            assert "hot_standby_feedback = on" in lost.value.remedy
