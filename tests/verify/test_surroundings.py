"""The connection and the server as the checks find them: TLS, a pooler, interruptions, old versions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from local.server import HOST, Server
from seed.verify.model import Status
from tests.conftest import ask, conninfo, until
from tests.proxies import frozen, pooler
from tests.servers import old_server
from tests.tls import encrypted
from tests.verify.helpers import CONTRACT, declared, failing, results, with_status
from tests.verify.test_command import FILE, document, run, statuses

ASKS_FOR_TLS = declared(connection={"sslmode": "verify-full"})


def test_a_session_without_tls_where_the_contract_asks_for_it(base: str) -> None:
    """A session without TLS fails if the contract requires it."""
    assert failing(base, ASKS_FOR_TLS) == {"tls": "the session is not encrypted"}


def test_a_session_with_tls(server: Server, base: str, tmp_path: Path) -> None:
    with encrypted(server, tmp_path) as proxy:
        here = make_conninfo(base, host="localhost", hostaddr=HOST, port=proxy.port)
        outcomes = results(make_conninfo(here, sslmode="verify-full", sslrootcert=str(proxy.root)), ASKS_FOR_TLS)
    assert with_status(outcomes, Status.FAIL) == {}
    assert with_status(outcomes, Status.PASS)["tls"] == "the session uses TLS"


def test_a_contract_that_asks_for_no_tls(base: str) -> None:
    for sslmode in ("disable", "prefer"):
        outcomes = results(base, declared(connection={"sslmode": sslmode}))
        assert "tls" in with_status(outcomes, Status.NOT_DECLARED)


def test_the_contract_makes_the_session_ask_for_tls(base: str) -> None:
    """The contract's sslmode applies if the environment has none, so no password is sent in clear."""
    done = run(base, "--contract", "-", stdin=json.dumps(ASKS_FOR_TLS))
    assert done.returncode == 3
    assert "certificate" in done.stdout or "SSL" in done.stdout


def test_through_a_transaction_pooler(server: Server, base: str) -> None:
    """The checks work although each transaction may use another session, and prepared statements fail."""
    with pooler(server) as proxy:
        outcomes = results(make_conninfo(base, port=proxy.port))
    assert with_status(outcomes, Status.FAIL) == {}
    assert with_status(outcomes, Status.SKIP) == {}


@pytest.mark.parametrize(
    ("moment", "known"),
    [
        ("", set()),
        pytest.param("pgvector_seed", set(), marks=pytest.mark.rest),
        pytest.param("parse_ident", set(), marks=pytest.mark.rest),
        ("pg_catalog.random", {"connect", "index", "roles", "rows"}),
    ],
)
def test_a_server_that_stops_answering(server: Server, base: str, moment: str, known: set[str]) -> None:
    """The run ends within its time limit, and reports the results until then."""
    words = [] if moment == "pgvector_seed" else ["--contract", FILE]
    with frozen(server) as proxy:
        proxy.freeze_at(moment)
        start = time.monotonic()
        done = run(make_conninfo(base, port=proxy.port), *words, "--format", "json", "--time-limit", "3")
        assert time.monotonic() - start < 30, "it would have waited for as long as the server is silent"
    report = document(done)
    assert done.returncode == 3
    assert "stopped answering" in report["error"] or "timeout expired" in report["error"]
    assert known <= {name for name, status in statuses(report).items() if status == "pass"}
    assert {statuses(report)[name] for name in ("recall", "statistics", "bloat")} == {"skip"}


def test_a_connection_that_is_ended_in_the_middle(base: str) -> None:
    """A restart of the server ends the run with the results until then."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(base) as holder, ThreadPoolExecutor() as background:
        holder.execute("LOCK TABLE items")
        running = background.submit(run, base, "--contract", FILE, "--format", "json")
        pid = until(lambda: ask(base, waiting))[0][0]
        ask(base, f"SELECT pg_terminate_backend({pid})")
        done = running.result()
    report = document(done)
    assert done.returncode == 3
    assert "the connection was lost" in report["error"]
    by_check = statuses(report)
    assert (by_check["column"], by_check["rows"], by_check["roles"]) == ("pass", "skip", "skip")


def test_an_old_pgvector_for_real(tmp_path: Path) -> None:
    """Pgvector 0.6.2, without newer types and iterative scans, fails by its version alone."""
    with old_server(tmp_path / "old") as server:
        database = conninfo(server, "template_vector")
        ask(database, "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(3))")
        contract = {
            "contract": 1,
            "extension": CONTRACT["extension"],
            "tables": [{"name": "public.items", "vector": "embedding"}],
        }
        failures = failing(database, contract)
    assert failures == {"extension": "vector 0.6.2 in the schema public"}
