"""The resources that the Pulumi program declares, under the SDK's mocks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks, set_mocks

from local import program
from local.program import Registered
from local.pulumi_state import EXTENSION_TYPE, MIGRATIONS_TYPE, READER_SETTINGS_TYPE
from local.server import Server
from local.workspace import ROOT
from pgvector_seed.infra.args import VectorDatabaseArgs
from pgvector_seed.infra.database import VectorDatabase
from pgvector_seed.infra.password import PasswordProvider, verifier
from pgvector_seed.infra.roles import Role, Roles
from pgvector_seed.migrate.files import checksums, load
from tests.conftest import PASSWORD, ask, pg_variables
from tests.conftest import conninfo as server_conninfo

OUTPUTS: dict[str, dict[str, Any]] = {
    MIGRATIONS_TYPE: {"tables": ["embeddings"], "sequences": []},
    "pulumi-python:dynamic/pgvector_seed:Password": {"verifier": "SCRAM-SHA-256$...", "password": "generated"},
}
PROVIDER_TYPE = "pulumi:providers:postgresql"
SECRET = "4dabf18193072939515e22adb298388d"  # the key by which the SDK marks a secret on the wire


@pytest.fixture
def run_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> Callable[[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return a function that runs ``__main__.py`` with a configuration and returns the inputs by type and name."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    for name in ("PULUMI_CONFIG", "PULUMI_CONFIG_SECRET_KEYS"):
        monkeypatch.setenv(name, "")  # the runner sets them, and monkeypatch restores them

    def run(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
        file = tmp_path / "Pulumi.dev.yaml"
        file.write_text(
            json.dumps(
                {"config": {f"pgvector-seed:{key}": value for key, value in {"policy": "warn", **config}.items()}}
            )
        )
        monkeypatch.setenv("PULUMI_OPTION_CONFIG_FILE", str(file))
        inputs: dict[str, dict[str, Any]] = {}

        def handle(resource: Registered) -> dict[str, Any]:
            inputs[resource.type] = inputs[resource.name] = resource.inputs
            return OUTPUTS.get(resource.type, {})

        program.run(handle, preview=False)
        return inputs

    return run


def test_both_sides_get_the_same_address(run_program: Any) -> None:
    """The provider and the migrations get one address and one set of TLS files."""
    inputs = run_program({"host": "db.example", "port": 6543, "database": "odd-name", "user": "al"})
    provider, migrations = inputs[PROVIDER_TYPE], conninfo_to_dict(inputs[MIGRATIONS_TYPE]["conninfo"])
    assert (provider["host"], json.loads(provider["port"])) == ("db.example", 6543)
    assert (migrations["host"], migrations["port"]) == ("db.example", "6543")
    assert (provider["database"], provider["username"]) == (migrations["dbname"], migrations["user"])
    assert provider["password"] == migrations["password"] == PASSWORD
    assert provider["sslmode"] == migrations["sslmode"] == "require"


def test_both_sides_get_the_same_certificates(run_program: Any, tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("sslrootcert", "sslcert", "sslkey")}
    for file in files.values():
        Path(file).touch(mode=0o600)
    inputs = run_program({"host": "db.example", "sslmode": "verify-full", **files})
    provider, migrations = inputs[PROVIDER_TYPE], conninfo_to_dict(inputs[MIGRATIONS_TYPE]["conninfo"])
    assert provider["sslmode"] == migrations["sslmode"] == "verify-full"
    assert provider["sslrootcert"] == migrations["sslrootcert"] == files["sslrootcert"]
    assert json.loads(provider["clientcert"]) == {"cert": files["sslcert"], "key": files["sslkey"]}
    assert (migrations["sslcert"], migrations["sslkey"]) == (files["sslcert"], files["sslkey"])


def test_the_provider_gets_the_one_of_two_hosts_that_is_reached(
    run_program: Any, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider, which takes one host, gets the reachable one."""
    port = conninfo_to_dict(database)["port"]
    for name, value in pg_variables(database).items():
        monkeypatch.setenv(name, value)
    inputs = run_program({"host": "127.0.0.1,localhost", "port": f"1,{port}"})
    assert (inputs[PROVIDER_TYPE]["host"], inputs[PROVIDER_TYPE]["port"]) == ("localhost", str(port))
    assert json.loads(inputs[MIGRATIONS_TYPE]["declaration"])["connection"]["port"] == f"1,{port}"


def test_the_extension_has_its_name_and_never_cascades(run_program: Any) -> None:
    """The extension's name has no random suffix, and a destroy drops no tables with it."""
    extension = run_program({"host": "db"})[EXTENSION_TYPE]
    assert extension["name"] == "vector"
    assert extension["schema"] == "public"
    assert not {"dropCascade", "createCascade"} & extension.keys()


def test_the_state_gets_checksums_and_no_sql(run_program: Any) -> None:
    inputs = run_program({"host": "db", "onDestroy": "revert"})[MIGRATIONS_TYPE]
    assert inputs["migrations"] == checksums(load(ROOT / "migrations"))
    assert "CREATE TABLE" not in json.dumps(inputs)
    assert PASSWORD not in inputs["declaration"]
    assert json.loads(inputs["declaration"])["on_destroy"] == "revert"


def test_the_password_is_a_secret_for_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """All inputs with a password are secrets: others are in plain text in the state."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    plain: list[str] = []
    hidden: list[str] = []

    class Watch(Mocks):
        def call(self, args: MockCallArgs) -> tuple[dict[str, Any], None]:
            raise AssertionError(args.token)

        def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
            for value in args.inputs.values():
                secret = isinstance(value, dict) and SECRET in value
                (hidden if secret else plain).append(json.dumps(value))
            return args.name, args.inputs

    set_mocks(Watch())
    roles = Roles(Role("o"), Role("w", password="given-passw0rd"), Role("r"))
    declare(VectorDatabaseArgs(host="db", roles=roles, policy="warn"))
    assert len([value for value in hidden if PASSWORD in value]) == 4
    assert len([value for value in hidden if "given-passw0rd" in value]) == 1
    assert not [value for value in plain if PASSWORD in value or "given-passw0rd" in value]
    assert json.dumps("db") in plain, "where the server is, a preview shows"


@pulumi.runtime.test  # type: ignore[untyped-decorator]
def declare(args: VectorDatabaseArgs) -> pulumi.Output[Any]:
    return VectorDatabase("database", args).contract


class Inputs(Mocks):
    """The inputs that the engine gets for each type of resource."""

    def __init__(self) -> None:
        self.by_type: dict[str, dict[str, Any]] = {}
        set_mocks(self)

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], None]:
        raise AssertionError(args.token)

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.by_type[args.typ] = args.inputs
        return args.name, args.inputs


@pytest.mark.parametrize(
    ("migrations", "recorded"),
    [
        ("migrations", "migrations"),
        ("../shared/sql", "../shared/sql"),
        (Path("/program/migrations"), "migrations"),
        (Path("/shared/sql"), "../shared/sql"),
    ],
)
def test_the_state_gets_no_path_of_one_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, migrations: str | Path, recorded: str
) -> None:
    """The recorded folder is relative: a laptop and a pipeline share the state, and have two checkouts."""
    for folder in ("program/migrations", "shared/sql"):
        shutil.copytree(ROOT / "migrations", tmp_path / folder)
    monkeypatch.chdir(tmp_path / "program")
    if isinstance(migrations, Path):
        migrations = Path(f"{tmp_path}{migrations}")
    inputs = Inputs()
    declare(VectorDatabaseArgs(host="127.0.0.1", migrations=migrations))
    assert inputs.by_type[MIGRATIONS_TYPE]["directory"] == recorded
    assert str(tmp_path) not in json.dumps(inputs.by_type)


def test_a_folder_that_is_missing_is_told_with_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error names the resolved folder, which depends on main in Pulumi.yaml."""
    monkeypatch.chdir(tmp_path)
    Inputs()
    with pytest.raises(pulumi.RunError, match=f"no folder sql in {re.escape(str(tmp_path))}, where the program runs"):
        declare(VectorDatabaseArgs(host="127.0.0.1", migrations="sql"))


def test_a_port_may_come_from_another_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output is accepted as text or as a number, which Pulumi may turn into a float."""
    monkeypatch.chdir(ROOT)
    for port in (6543, "6543", 6543.0):
        inputs = Inputs()
        declare(VectorDatabaseArgs(host="127.0.0.1", port=pulumi.Output.from_input(port)))  # type: ignore[arg-type]
        assert json.loads(inputs.by_type[PROVIDER_TYPE]["port"]) == 6543


ROLES = {"owner": "app_owner", "writer": "app writer", "reader": {"existing": "app_reader"}}


def test_each_role_gets_what_it_needs_and_no_more(run_program: Any) -> None:
    inputs = run_program({"host": "127.0.0.1", "roles": ROLES, "superuser": "false"})
    assert conninfo_to_dict(inputs[MIGRATIONS_TYPE]["conninfo"])["options"] == "-c role=app_owner"
    assert json.loads(inputs[MIGRATIONS_TYPE]["declaration"])["roles"]["writer"] == "app writer"
    assert "password" not in inputs["database-owner"]
    assert not inputs["database-owner"]["login"]
    assert inputs["database-writer"]["password"] == "SCRAM-SHA-256$..."
    assert "database-reader" not in inputs
    assert inputs["database-deployer-owner"]["grantRole"] == "app_owner"
    assert inputs["database-reader-tables"]["privileges"] == ["SELECT"]
    assert inputs["database-reader-tables"]["objects"] == ["embeddings"]
    assert inputs["database-writer-later-tables"]["privileges"] == ["SELECT", "INSERT", "UPDATE", "DELETE"]
    assert inputs["database-writer-ledger-tables"]["privileges"] == ["SELECT"]


def test_no_objects_are_not_all_objects(run_program: Any) -> None:
    """Sequences are granted by schema: to the provider an empty list means every object in the schema."""
    sequences = run_program({"host": "127.0.0.1", "roles": ROLES})["database-writer-sequences"]
    assert (sequences["objectType"], sequences["privileges"]) == ("schema", ["USAGE"])


def test_a_stack_without_roles_declares_none(run_program: Any) -> None:
    inputs = run_program({"host": "127.0.0.1"})
    assert "database-owner" not in inputs
    assert "options" not in conninfo_to_dict(inputs[MIGRATIONS_TYPE]["conninfo"])


@pytest.mark.parametrize(("config", "reader"), [({}, None), ({"roles": ROLES}, "app_reader")])
def test_the_readers_settings_are_declared_without_any(
    run_program: Any, config: dict[str, Any], reader: str | None
) -> None:
    """The resource exists before it has a setting, and as texts, which the engine does not turn into other numbers."""
    inputs = run_program({"host": "127.0.0.1", **config})[READER_SETTINGS_TYPE]
    assert (inputs["settings"], inputs["roles"].get("reader")) == ({}, reader)
    inputs = run_program({"host": "127.0.0.1", **config, "readerSettings": {"hnsw.ef_search": 100, "jit": False}})
    assert inputs[READER_SETTINGS_TYPE]["settings"] == {"hnsw.ef_search": "100", "jit": "off"}
    declaration = json.loads(inputs[MIGRATIONS_TYPE]["declaration"])
    assert declaration["reader_settings"] == {"hnsw.ef_search": 100, "jit": False}


def test_a_verifier_lets_in_who_knows_the_password(server: Server) -> None:
    """A login works with the password of a verifier that was computed without the server."""
    odd = "p\\'s \u00e9\U0001f600"
    base = server_conninfo(server, "postgres")
    ask(base, f"DROP ROLE IF EXISTS al; CREATE ROLE al LOGIN PASSWORD '{verifier(odd)}'")
    try:
        assert ask(make_conninfo(base, user="al", password=odd), "SELECT 1") == [(1,)]
    finally:
        ask(base, "DROP ROLE al")


def test_a_password_stays_until_another_is_asked_for() -> None:
    """An up keeps the password, and with it the application's logins, until its version changes."""
    provider = PasswordProvider()
    made = provider.create({"given": "", "version": "1"}).outs or {}
    assert len(made["password"]) == 43
    assert not provider.diff("", made, {"given": "", "version": "1"}).changes
    assert (provider.update("", made, {"given": "", "version": "1"}).outs or {})["verifier"] == made["verifier"]
    for asked in ({"given": "x", "version": "1"}, {"given": "", "version": "2"}):
        assert provider.diff("", made, asked).changes
        assert (provider.update("", made, asked).outs or {})["password"] != made["password"]


def test_every_fault_of_the_configuration_is_told(run_program: Any) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        run_program({"port": "x", "schmea": "y"})
    assert "config set port" in str(caught.value)
    assert "config rm schmea" in str(caught.value)
