"""The policy's violations, in the declaration and on the server."""

from __future__ import annotations

from collections.abc import Iterator

import pulumi
import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.infra.address import resolve_address
from pgvector_seed.infra.policy import enforce, faults_of_address, faults_of_server
from pgvector_seed.infra.roles import Role, Roles
from tests.conftest import ask

ROLES = Roles(Role("o", existing=True), Role('the "writer"', existing=True), Role("r"))


def of_address(connection: dict[str, str], on_destroy: str = "retain") -> list[str]:
    return [
        fault.split(":")[0]
        for fault in faults_of_address(resolve_address({"dbname": "d", "user": "u", **connection}), on_destroy)
    ]


@pytest.mark.parametrize("host", ["db.example", "127.0.0.1,db.example"])
def test_a_server_that_others_use(host: str) -> None:
    """A list of hosts is judged as remote if one of them is remote."""
    assert of_address({"host": host, "sslmode": "require"}) == ["sslmode"]
    assert of_address({"host": host, "sslmode": "disable"}, "revert") == ["sslmode", "onDestroy"]
    assert of_address({"host": host, "sslmode": "verify-full", "sslrootcert": __file__}) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_laptop_is_free(host: str) -> None:
    assert of_address({"host": host, "sslmode": "disable"}, "revert") == []


@pytest.fixture
def superuser(database: str) -> Iterator[str]:
    """Yield a database with roles whose writer is a superuser."""
    drop = 'DROP ROLE IF EXISTS "the ""writer"""; DROP ROLE IF EXISTS o'
    ask(database, f'{drop}; CREATE ROLE o; CREATE ROLE "the ""writer""" SUPERUSER')
    yield database
    ask(database, drop)


def test_a_superuser_as_writer(superuser: str) -> None:
    (fault,) = faults_of_server(superuser, ROLES, "0.8.4")
    assert fault.startswith('roles.writer: the "writer" is a superuser')
    ask(superuser, fault.partition("In psql: ")[2])
    assert list(faults_of_server(superuser, ROLES, "0.8.4")) == []


def test_who_can_become_the_owner(superuser: str) -> None:
    """A writer that is a member of the owner is refused: its triggers on the ledger could run as a superuser."""
    ask(superuser, 'ALTER ROLE "the ""writer""" NOSUPERUSER; GRANT o TO "the ""writer"""')
    (fault,) = faults_of_server(superuser, ROLES, "0.8.4")
    assert 'the "writer" can become o' in fault
    ask(superuser, fault.partition("In psql: ")[2])
    assert list(faults_of_server(superuser, ROLES, "0.8.4")) == []


def test_an_existing_role_that_is_not_there(superuser: str) -> None:
    ask(superuser, 'DROP ROLE o; ALTER ROLE "the ""writer""" NOSUPERUSER')
    (fault,) = faults_of_server(superuser, ROLES, "0.8.4")
    assert fault.startswith("roles.owner: the role o")


def test_a_pgvector_that_is_too_old(database: str, empty_database: str) -> None:
    """The version is judged both if the extension exists and if it is only available."""
    for conninfo in (database, empty_database):
        (fault,) = faults_of_server(conninfo, None, "99.0")
        assert "Upgrade it on the server to 99.0 or later" in fault
        assert ("a superuser: ALTER EXTENSION vector UPDATE;" in fault) == (conninfo == database)
        assert list(faults_of_server(conninfo, None, "0.8.4")) == []


def test_an_extension_that_only_waits_for_its_update(empty_database: str) -> None:
    ask(
        empty_database, "CREATE EXTENSION vector; UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'"
    )
    (fault,) = faults_of_server(empty_database, None, "0.8.4")
    assert fault.split(". ")[-1] == "In psql: ALTER EXTENSION vector UPDATE;"
    assert "which a superuser can enable" in fault


def test_a_server_that_is_not_there(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable server does not fail a preview."""
    messages: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", messages.append)
    assert list(faults_of_server(make_conninfo(database, port=1), ROLES, "0.8.4")) == []
    assert "checked without the server" in messages[0]


def test_all_faults_are_told_at_once_or_only_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    enforce("warn", ["one", "two"])
    assert warned == ["one", "two"]
    with pytest.raises(pulumi.RunError, match=r"one\n  two\n.*pulumi config set policy warn"):
        enforce("enforce", ["one", "two"])
    enforce("enforce", [])
