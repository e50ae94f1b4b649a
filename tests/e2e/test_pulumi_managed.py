"""As on a managed server: who deploys is no superuser, the extension is somebody else's, passwords are unreadable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from tests.conftest import ask, name_of
from tests.e2e.conftest import Stack
from tests.e2e.roles import (
    SAMPLE,
    Names,
    assert_no_drift,
    assert_right_for_all,
    declare,
    login,
    lose_state,
    new_names,
    password,
    quoted,
    run_as,
)


@pytest.fixture
def names(server: Server) -> Iterator[Names]:
    with new_names(server) as names:
        yield names


@pytest.fixture
def deployer(server: Server, stack: Stack) -> Iterator[Stack]:
    """The stack, deployed by a login with CREATEROLE that owns the database."""
    with new_names(server) as found:
        name = found.owner
        ask(stack.conninfo, f"CREATE ROLE {quoted(name)} LOGIN CREATEROLE PASSWORD 'deploy'")
        ask(stack.conninfo, f"ALTER DATABASE {name_of(stack.conninfo)} OWNER TO {quoted(name)}")
        administrator = stack.conninfo
        stack.conninfo = make_conninfo(administrator, user=name, password="deploy")
        stack.settings |= {"PGUSER": name, "PGPASSWORD": "deploy"}
        stack.set("superuser", "false")
        stack.administrator = administrator
        yield stack
        ask(administrator, f"ALTER DATABASE {name_of(administrator)} OWNER TO postgres")


def test_without_the_right_to_create_the_extension(deployer: Stack, names: Names) -> None:
    """pgvector is not trusted, and the error says who may create it."""
    declare(deployer, names)
    said = deployer.up(code=1)
    print(said)
    assert 0


def test_everything_but_the_extension(deployer: Stack, names: Names) -> None:
    ask(deployer.administrator, "CREATE EXTENSION vector")
    declare(deployer, names)
    print(deployer.up())
    assert_no_drift(deployer)
    assert run_as(deployer, login(deployer, names, "writer"), *SAMPLE).returncode == 0
    assert_right_for_all(deployer, names)
    deployer.write("migrations/0002_b.up.sql", "CREATE TABLE b (id serial)")
    deployer.up()
    assert_no_drift(deployer)
    lose_state(deployer)
    deployer.up(code=1)
    deployer.up("--config", "importRoles=true")
    assert_no_drift(deployer)
    assert_right_for_all(deployer, names)
    deployer.set("passwordVersion", "2")
    deployer.up()
    assert_no_drift(deployer)
    assert_right_for_all(deployer, names)
    print(deployer.destroy())
    assert 0


def test_a_stack_that_gains_roles(deployer: Stack, names: Names) -> None:
    ask(deployer.administrator, "CREATE EXTENSION vector")
    deployer.up()
    assert run_as(deployer, deployer.conninfo, *SAMPLE).returncode == 0
    declare(deployer, names)
    deployer.up()
    assert_no_drift(deployer)
    assert_right_for_all(deployer, names)
