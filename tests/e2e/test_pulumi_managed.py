"""A managed server: the deployer is no superuser, the extension belongs to another role, passwords are unreadable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo

from local.server import Server
from tests.conftest import ask, name_of
from tests.e2e.conftest import WHAT_IS_THERE, Stack
from tests.e2e.roles import SAMPLE, assert_no_drift, assert_right_for_all, declare, login, lose_state, run_as
from tests.roles import Names, new_names, quoted


@pytest.fixture
def deployer(server: Server, stack: Stack) -> Iterator[Stack]:
    """Yield the stack, deployed by a login with CREATEROLE that owns the database."""
    with new_names(server) as names:
        name = names.owner
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
    """Pgvector is not trusted, and the error says who may create it."""
    declare(deployer, names)
    output = deployer.up(code=1)
    assert 'permission denied to create extension "vector"' in output
    assert "pulumi config set createExtension false" in output
    assert "Traceback" not in output
    deployer.set("createExtension", "false")
    assert "CREATE EXTENSION vector" in deployer.up(code=1)
    ask(deployer.administrator, "CREATE EXTENSION vector")
    deployer.up()
    assert_no_drift(deployer)


def test_everything_but_the_extension(deployer: Stack, names: Names) -> None:
    """Roles, a new migration, a lost state, new passwords and destroy work, and the extension is untouched."""
    ask(deployer.administrator, "CREATE EXTENSION vector")
    deployer.set("createExtension", "false")
    deployer.set("schema", "my app")
    declare(deployer, names)
    deployer.up()
    assert_no_drift(deployer)
    assert run_as(deployer, login(deployer, names, "writer"), *SAMPLE).returncode == 0
    assert_right_for_all(deployer, names)
    deployer.write("migrations/0002_b.up.sql", "CREATE TABLE b (id serial)")
    deployer.write("migrations/0002_b.down.sql", "DROP TABLE b")
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
    deployer.destroy()
    assert ask(deployer.administrator, WHAT_IS_THERE) == [(None, None, "vector")]
    assert ask(deployer.administrator, f"SELECT count(*) FROM pg_roles WHERE rolname = '{names.owner}'") == [(0,)]


def test_a_stack_that_gains_roles(deployer: Stack, names: Names) -> None:
    ask(deployer.administrator, "CREATE EXTENSION vector")
    deployer.up()
    assert run_as(deployer, deployer.conninfo, *SAMPLE).returncode == 0
    declare(deployer, names)
    deployer.up()
    assert_no_drift(deployer)
    assert_right_for_all(deployer, names)
