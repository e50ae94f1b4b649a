"""Several hosts, and a service of libpq: one address for two clients, of which the provider knows neither form."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest
from psycopg.conninfo import conninfo_to_dict

from pgvector_seed.infra.address import resolve_address
from pgvector_seed.infra.config import parse
from pgvector_seed.migrate.contract import as_data, convert
from pgvector_seed.postgres.conninfo import resolve

SERVICE = "[there]\nhost=db.example\nport=7777\nuser=al\ndbname=app\npassword=s3cret\nsslmode=require\n"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a service file that PGSERVICEFILE names."""
    file = tmp_path / "services"
    file.write_text(SERVICE)
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    return file


def test_the_key_service_is_resolved_by_libpq(services: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is resolved completely at once: a destroy elsewhere may have no such file."""
    monkeypatch.setenv("PGHOST", "of-the-environment")
    address = resolve_address(parse({"service": "there", "user": "given"}).connection)  # type: ignore[arg-type]
    assert (address.host, address.port, address.user, address.dbname) == ("db.example", 7777, "given", "app")
    assert (address.sslmode, address.password) == ("require", "s3cret")
    assert "service" not in conninfo_to_dict(address.conninfo(""))
    services.unlink()
    with pytest.raises(pulumi.RunError, match="service"):
        resolve_address({"service": "there"})


def test_a_service_in_the_environment_is_taken_for_an_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """PGSERVICE is refused with the command for an intended service, without the stray name."""
    monkeypatch.setenv("PGSERVICE", "stray")
    with pytest.raises(pulumi.RunError, match=r"env -u PGSERVICE pulumi \.\.\..*config set service NAME") as caught:
        resolve_address({"host": "db"})
    assert "stray" not in str(caught.value)


@pytest.mark.parametrize("line", ["hostaddr=192.0.2.1", "sslcrl=/nowhere", "sslcrldir=/nowhere"])
def test_what_the_provider_cannot_follow_is_refused_in_a_service(services: Path, line: str) -> None:
    """Keys that the provider lacks are refused: ignored, they would weaken or divert one side."""
    services.write_text(SERVICE + line)
    with pytest.raises(pulumi.RunError, match=line.split("=")[0]):
        resolve_address({"service": "there"})


def test_the_migrations_keep_the_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrations get all hosts and look for a writable one: the first may be a standby."""
    address = resolve_address({"host": "a,b", "port": "1111,2222", "dbname": "app", "user": "al"})
    conninfo = conninfo_to_dict(address.conninfo(""))
    assert (conninfo["host"], conninfo["port"]) == ("a,b", "1111,2222")
    assert conninfo["target_session_attrs"] == "read-write"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "primary")
    assert conninfo_to_dict(resolve_address({"host": "a,b"}).conninfo(""))["target_session_attrs"] == "primary"
    assert "target_session_attrs" not in conninfo_to_dict(resolve_address({"host": "a"}).conninfo(""))


def test_the_contract_keeps_the_whole_list() -> None:
    """The contract has all hosts, so that a failover does not change it, and verify accepts it."""
    declared = resolve_address({"host": "a,b", "port": "1111,2222", "dbname": "app"}).declared()
    assert as_data(declared) == {"host": "a,b", "port": "1111,2222", "dbname": "app", "sslmode": "require"}
    assert resolve_address({"host": "a,b", "port": "1111"}).declared().port == 1111
    assert convert({"contract": 1, "connection": as_data(declared)}, "made here").connection.port == "1111,2222"


def test_the_provider_gets_the_first_where_none_is_reached(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A preview without a reachable server uses the first host and warns; stderr or log has the warning."""
    address = resolve_address({"host": "127.0.0.1,localhost", "port": "1,2", "dbname": "app", "user": "al"})
    assert address.dialed("s3cret") == ("127.0.0.1", 1)
    warned = capsys.readouterr().err or caplog.text
    assert warned.count("\n") == 1
    assert "gets 127.0.0.1:1, because no server could be reached: - host: '127.0.0.1', port: '1'" in warned
    assert "s3cret" not in warned


def test_another_list_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured host wins over PGHOST; ENV_VAR_MAPPINGS keeps PGHOST from the provider's driver."""
    monkeypatch.setenv("PGHOST", "a,b")
    assert resolve_address({}).host == "a,b"
    assert resolve_address({"host": "db"}).host == "db"


@pytest.mark.parametrize(
    ("hosts", "sslmode"), [("127.0.0.1,localhost", "disable"), ("127.0.0.1,db", "require"), ("db,::1", "require")]
)
def test_a_plain_connection_is_for_loopback_alone(hosts: str, sslmode: str) -> None:
    assert resolve_address({"host": hosts}).sslmode == sslmode


@pytest.mark.parametrize("hosts", ["a,", ",a", "a,/tmp"])
def test_each_host_must_be_one_that_tcp_can_reach(hosts: str) -> None:
    with pytest.raises(pulumi.RunError, match="by TCP"):
        resolve_address({"host": hosts})


@pytest.mark.parametrize(("hosts", "ports"), [("a", "x"), ("a", "0"), ("a,b", "1,x"), ("a,b", "1,2,3"), ("a", "1,2")])
def test_bad_ports_are_told(hosts: str, ports: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", ports)
    with pytest.raises(pulumi.RunError, match="port"):
        resolve_address({"host": hosts})


def test_the_key_port_takes_a_list() -> None:
    assert parse({"host": "a,b", "port": "1111,2222"}).connection["port"] == "1111,2222"
    for bad in ("1,", "1,x", "0,1"):
        with pytest.raises(pulumi.RunError, match="config set port"):
            parse({"port": bad})


def test_resolving_leaves_no_trace_of_how_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "load_balance_hosts" not in resolve({"host": "a"})
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    assert resolve({"host": "a"})["hostaddr"] == "192.0.2.1"
