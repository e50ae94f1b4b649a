"""The servers and proxies of the tests behave as they claim, so a test that relies on one of them can fail."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import trustme
from psycopg import errors
from psycopg.conninfo import make_conninfo
from psycopg.generators import execute, fetch
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn

from local.server import HOST, Server
from tests.conftest import ask, conninfo, tries, until
from tests.proxies import TLS_REQUEST, Frozen, frozen, pooler
from tests.servers import old_server, standby
from tests.tls import Encrypted, encrypted

SILENCE_SECONDS = 0.2
MEGABYTES = "SELECT repeat('x', 1000) FROM generate_series(1, 3000)"


@pytest.fixture
def tls(server: Server, tmp_path: Path) -> Iterator[Encrypted]:
    with encrypted(server, tmp_path) as proxy:
        yield proxy


@pytest.fixture
def silent(server: Server) -> Iterator[Frozen]:
    with frozen(server) as proxy:
        yield proxy


@pytest.fixture
def pooled(server: Server, database: str) -> Iterator[str]:
    """Return the database's conninfo through a transaction pooler."""
    with pooler(server) as proxy:
        yield make_conninfo(database, port=proxy.port)


def verified(conninfo: str, tls: Encrypted, **changes: str) -> str:
    """Return the conninfo of a client that trusts only this proxy's authority."""
    settings = {"host": "localhost", "hostaddr": HOST, "sslmode": "verify-full", "sslrootcert": str(tls.root)}
    return make_conninfo(conninfo, port=tls.port, **(settings | changes))


def is_silent(connection: psycopg.Connection | socket.socket) -> bool:
    """Return True if nothing arrives, not even the end of the connection."""
    return select.select([connection.fileno()], [], [], SILENCE_SECONDS)[0] == []


def state_of(database: str, pid: int) -> str:
    """Return the state of a server process from pg_stat_activity."""
    return str(ask(database, f"SELECT max(state) FROM pg_stat_activity WHERE pid = {pid}")[0][0])


def test_a_standby_follows_its_primary_and_takes_no_writes(server: Server, database: str, tmp_path: Path) -> None:
    """A standby streams its primary's changes and refuses writes, as a real replica does."""
    ask(database, "CREATE TABLE seen (n int)")
    with standby(server, tmp_path / "standby") as replica:
        replicas_conninfo = make_conninfo(database, port=replica.environment["PGPORT"])
        assert ask(replicas_conninfo, "SELECT pg_is_in_recovery()") == [(True,)]
        assert replica.stop()
        ask(database, "INSERT INTO seen VALUES (7)")
        assert replica.start()
        until(lambda: ask(replicas_conninfo, "SELECT n FROM seen") == [(7,)])
        with pytest.raises(errors.ReadOnlySqlTransaction):
            ask(replicas_conninfo, "INSERT INTO seen VALUES (8)")
    assert not replica.is_running()
    assert not replica.home.exists()
    assert ask(database, "SELECT * FROM pg_replication_slots") == []


def test_an_old_server_has_the_old_extension(tmp_path: Path) -> None:
    """The old server's pgvector has no iterative scans."""
    with old_server(tmp_path / "old") as server:
        database = conninfo(server, "template_vector")
        assert ask(database, "SELECT extversion FROM pg_extension WHERE extname = 'vector'") == [("0.6.2",)]
        assert ask(database, "SELECT '[1,2]'::vector <-> '[1,2]'") == [(0,)]
        with pytest.raises(errors.UndefinedObject):
            ask(database, "SELECT '[1,2]'::halfvec(2)")
    assert not server.is_running()
    assert not server.home.exists()


def test_tls_is_verified_in_full(tls: Encrypted, database: str) -> None:
    """Megabytes pass in both directions: more than one TLS record, and more than the sockets' buffers."""
    with psycopg.connect(verified(database, tls)) as connection:
        assert connection.pgconn.ssl_in_use
        assert len(connection.execute(MEGABYTES).fetchall()) == 3000
        assert connection.execute("SELECT length(%s)", ["x" * 3_000_000]).fetchone() == (3_000_000,)
    with psycopg.connect(make_conninfo(database, port=tls.port, sslmode="disable")) as connection:
        assert not connection.pgconn.ssl_in_use


def test_tls_is_refused_to_who_trusts_another(tls: Encrypted, database: str, tmp_path: Path) -> None:
    """A client that trusts another authority refuses the proxy's certificate."""
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(str(other))
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        psycopg.connect(verified(database, tls, sslrootcert=str(other)))
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        psycopg.connect(verified(database, tls, host="db.example.org"))


def test_it_freezes_at_a_statement(silent: Frozen, database: str) -> None:
    """The client gets no answer and is not disconnected; the server never receives the statement."""
    silent.freeze_at("count(*)")
    with closing(psycopg.connect(make_conninfo(database, port=silent.port), autocommit=True)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert not silent.frozen.is_set()
        connection.pgconn.send_query(b"SELECT count(*)")
        assert silent.frozen.wait(60)
        assert is_silent(connection)
        last = f"SELECT query, state FROM pg_stat_activity WHERE pid = {connection.info.backend_pid}"
        assert ask(database, last) == [("SELECT 1", "idle")]


def test_it_freezes_at_once(silent: Frozen, database: str) -> None:
    """An answer that the server has already sent does not arrive, and a new connection gets none."""
    through = make_conninfo(database, port=silent.port)
    with psycopg.connect(database) as holder, closing(psycopg.connect(through, autocommit=True)) as connection:
        holder.execute("SELECT pg_advisory_xact_lock(1)")
        connection.pgconn.send_query(b"SELECT pg_advisory_xact_lock(1)")
        until(lambda: state_of(database, connection.info.backend_pid) == "active")
        silent.freeze()
        holder.commit()
        until(lambda: state_of(database, connection.info.backend_pid) == "idle")
        assert is_silent(connection)
    with socket.create_connection((HOST, silent.port)) as late:
        late.sendall(b"\0\0\0\x08" + TLS_REQUEST)
        assert is_silent(late)


def test_a_frozen_client_is_let_go_at_the_end(server: Server, database: str) -> None:
    """A test that leaves a client hanging leaves no session behind, and does not hang itself."""
    with frozen(server) as proxy:
        connection = psycopg.connect(make_conninfo(database, port=proxy.port))
        pid = connection.info.backend_pid
        proxy.freeze()
        connection.pgconn.send_query(b"SELECT 1")
        assert is_silent(connection)
    assert not is_silent(connection)
    connection.close()
    until(lambda: state_of(database, pid) == "None")


KEPT = {
    "a setting": ("SET work_mem = '123kB'", "SELECT current_setting('work_mem') = '123kB'"),
    "a lock": ("SELECT pg_advisory_lock(5)", "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory'"),
    "a statement": ("PREPARE one AS SELECT 1", "SELECT count(*) = 1 FROM pg_prepared_statements"),
    "a table": ("CREATE TEMP TABLE mine ()", "SELECT to_regclass('mine') IS NOT NULL"),
}


@pytest.mark.parametrize(("statement", "is_kept"), KEPT.values(), ids=KEPT)
def test_a_pooled_session_keeps_nothing(pooled: str, database: str, statement: str, is_kept: str) -> None:
    """A session's state outlives its transaction on the server itself, and is lost through the pooler."""
    for through, expected in ((database, True), (pooled, False)):
        with psycopg.connect(through, autocommit=True) as connection:
            with connection.transaction():
                connection.execute(statement.encode())
                assert connection.execute(is_kept.encode()).fetchone() == (True,)
            assert connection.execute(is_kept.encode()).fetchone() == (expected,)


def test_a_pooled_session_is_reset_before_its_client_goes_on(pooled: str, database: str) -> None:
    """A statement's lock is released by the time the statement returns."""
    with psycopg.connect(pooled, autocommit=True) as connection, psycopg.connect(database, autocommit=True) as other:
        for n in range(tries(100, 1000)):
            connection.execute(f"SELECT pg_advisory_lock({n})".encode())
            assert other.execute(f"SELECT pg_try_advisory_lock({n})".encode()).fetchone() == (True,)


def test_a_pooler_refuses_prepared_statements(pooled: str) -> None:
    """The error is the pooler's, and aborts the transaction but not the connection."""
    with psycopg.connect(pooled) as connection:
        assert connection.execute("SELECT %s::int", [1]).fetchone() == (1,)
        with pytest.raises(errors.FeatureNotSupported, match="prepared statements are not supported"):
            connection.execute("SELECT %s::int", [2], prepare=True)
        assert connection.info.transaction_status == TransactionStatus.INERROR
        connection.rollback()
        assert connection.execute("SELECT %s::int", [3]).fetchone() == (3,)


def test_a_pooler_refuses_what_the_driver_prepares_by_itself(pooled: str) -> None:
    """The driver prepares a repeated statement, unless prepare_threshold is None."""
    with psycopg.connect(pooled, autocommit=True) as connection:
        for _ in range(connection.prepare_threshold or 0):
            connection.execute("SELECT %s::int", [1])
        with pytest.raises(errors.FeatureNotSupported):
            connection.execute("SELECT %s::int", [1])
        connection.prepare_threshold = None
        assert connection.execute("SELECT %s::int", [1]).fetchone() == (1,)


@pytest.mark.parametrize("cursor", [psycopg.ClientCursor, psycopg.RawCursor])
def test_a_pooler_refuses_listen(pooled: str, cursor: type[psycopg.Cursor]) -> None:
    """LISTEN fails in the simple and in the extended protocol, which the binary result of a raw cursor selects."""
    with psycopg.connect(pooled, autocommit=True) as connection:
        with pytest.raises(errors.FeatureNotSupported, match="LISTEN is not supported"):
            cursor(connection).execute(" listen it", binary=cursor is psycopg.RawCursor)
        assert connection.execute("SELECT 'listen'").fetchone() == ("listen",)


def test_a_pooler_passes_pipelines(pooled: str, database: str) -> None:
    """No reset gets between the messages of transactions that were sent while the first waits for a lock.

    The COPY before them is one whose end the pooler must notice, to know that it has to wait again.
    """
    ask(database, "CREATE TABLE copied (n int)")
    with psycopg.connect(pooled, autocommit=True) as connection, psycopg.connect(database) as holder:
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write_row((1,))
        holder.execute("SELECT pg_advisory_xact_lock(3)")
        send_transactions(connection.pgconn, b"SELECT pg_advisory_xact_lock(3)", *[b"SET work_mem = '99kB'"] * 50)
        holder.commit()
        answers = [connection.wait(fetch(connection.pgconn)) for _ in range(3 * 51)]
        connection.pgconn.exit_pipeline_mode()
        assert [answer.command_status for answer in answers[::3] if answer] == [b"SELECT 1", *[b"SET"] * 50]
        assert connection.execute("SHOW work_mem").fetchone() != ("99kB",)


def send_transactions(pgconn: PGconn, *statements: bytes) -> None:
    """Send each statement with a Sync of its own; the driver's pipeline would wait for each answer."""
    pgconn.enter_pipeline_mode()
    for statement in statements:
        pgconn.send_query_params(statement, None)
        pgconn.pipeline_sync()
    pgconn.flush()


def test_a_pooler_passes_copy(pooled: str) -> None:
    """COPY works in both directions, also after a COPY that failed half-way."""
    with psycopg.connect(pooled, autocommit=True) as connection:
        connection.execute("CREATE TABLE copied (n int CHECK (n < 9000), words text)")
        for last in (5000, 9000, 5000):
            try:
                with connection.cursor().copy("COPY copied FROM STDIN") as copy:
                    for n in range(1, last + 1):
                        copy.write_row((n, "x" * 100))
            except errors.CheckViolation:
                assert last == 9000
        with connection.cursor().copy("COPY copied TO STDOUT") as copy:
            assert len(list(copy.rows())) == 10000


def test_a_pooler_passes_an_extended_copy(pooled: str) -> None:
    """The server skips a Sync during COPY, and the proxy does not wait for an answer to it."""
    with psycopg.connect(pooled, autocommit=True) as connection:
        connection.execute("CREATE TABLE copied (n int)")
        connection.pgconn.exec_params(b"COPY copied FROM STDIN", None)
        connection.pgconn.put_copy_data(b"1\n2\n")
        connection.pgconn.put_copy_end()
        connection.wait(execute(connection.pgconn))  # get_result would not let the proxy's thread run
        assert connection.execute("SELECT count(*) FROM copied").fetchone() == (2,)
