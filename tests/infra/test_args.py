"""The arguments of the component, as another program passes them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pulumi
import pytest

from pgvector_seed.infra.args import VectorDatabaseArgs
from pgvector_seed.infra.config import parse
from pgvector_seed.infra.roles import Role, Roles


def test_every_argument_has_a_default() -> None:
    """Arguments and configuration without any value declare the same database."""
    args = VectorDatabaseArgs()
    assert args == parse({})
    assert args.connection == {}
    assert (args.migrations, args.schema, args.on_destroy, args.policy) == ("migrations", "public", "retain", "enforce")


def test_arguments_are_named() -> None:
    """Positional arguments are refused: a password could become an argument that is shown."""
    with pytest.raises(TypeError):
        VectorDatabaseArgs("migrations", "db.example")  # type: ignore[call-arg]


def test_an_output_is_a_connection_parameter_as_text_is() -> None:
    port = pulumi.Output.from_input(5432)
    assert VectorDatabaseArgs(host="db", port=port, database="app").connection == {
        "host": "db",
        "port": port,
        "dbname": "app",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"on_destroy": "Retain"}, "on_destroy: must be one of retain, revert; got 'Retain'"),
        ({"policy": "off"}, "policy: must be one of enforce, warn"),
        ({"schema": ""}, "schema: must be text, not empty"),
        ({"schema": "pg_catalog"}, "schema: 'pg_catalog' is reserved"),
        ({"minimum_version": "new"}, "minimum_version: must be a version such as 0.8.4"),
        ({"lock_timeout": ""}, "lock_timeout: must be like 500ms"),
        ({"statement_timeout": "5"}, "statement_timeout: must be like 500ms"),
        ({"index_memory": "0MB"}, "index_memory: must be a size in kB, MB, GB or TB"),
        ({"tables": {"items": {"metric": "l3"}}}, 'tables["items"]: metric must be one of'),
        ({"tables": {"items": {"rows": -1}}}, 'tables["items"]: rows must be an integer'),
        ({"roles": Roles(Role("a"), Role("a"), Role("b"))}, "owner, writer and reader must be three different roles"),
        ({"roles": Roles(Role("a"), Role(""), Role("b"))}, "roles.writer: must be a role's name"),
        ({"host": ""}, "host: must be text, not empty"),
        ({"user": "a\0b"}, "user: must be text, not empty and without a NUL"),
        ({"migrations": ""}, "migrations: must be text, not empty"),
        ({"password": ""}, "password: must be text, not empty"),
        ({"port": "x"}, "port: must be an integer from 1 to 65535"),
        ({"port": 0}, "port: must be an integer from 1 to 65535"),
        ({"sslmode": "prefer"}, "sslmode: must be one of disable, require, verify-ca, verify-full; got 'prefer'"),
        ({"tables": {"": {}}}, "tables: a table's name must be text, not empty and without a NUL; got ''"),
        ({"tables": {5: {}}}, "tables: a table's name must be text, not empty and without a NUL; got 5"),
        ({"tables": {"items": {"metric": []}}}, 'tables["items"]: metric must be one of'),
        ({"tables": {"items": {5: "l2"}}}, 'tables["items"]: no such key: 5'),
        ({"reader_settings": {"search_path": "x"}}, '["search_path"]: must be a setting of an extension'),
        ({"reader_settings": {"jit": None}}, '["jit"]: must be a number, true, false or a text'),
        ({"reader_settings": {5: "x"}}, "[5]: must be a setting of an extension"),
        ({"reader_settings": {b"x": "x"}}, "must be a setting of an extension"),
        ({"roles": Roles(Role("a"), Role("b", password=""), Role("c"))}, "roles.writer.password: must be text, not"),
    ],
)
def test_a_bad_value_names_its_argument(changes: dict[str, Any], words: str) -> None:
    """Regression: resources that are to be kept took on_destroy="Retain" for "revert"."""
    with pytest.raises(pulumi.RunError) as caught:
        VectorDatabaseArgs(**changes)
    assert words in str(caught.value)
    assert "pulumi config" not in str(caught.value)


OUTPUT = pulumi.Output.from_input("x")
# A value of each kind, and the kinds that each argument takes.
VALUES: dict[str, Any] = {
    "none": None,
    "text": "x",
    "number": 5,
    "flag": True,
    "fraction": 1.5,
    "bytes": b"x",
    "list": ["x"],
    "map": {"x": {}},
    "path": Path("x"),
    "output": OUTPUT,
    "role": Role("x"),
    "roles": Roles(Role("o"), Role("w"), Role("r")),
}
TAKES = {
    VectorDatabaseArgs: {
        "migrations": "text path",
        **dict.fromkeys(("host", "database", "user", "password", "service"), "text output none"),
        **dict.fromkeys(("sslmode", "sslrootcert", "sslcert", "sslkey"), "text output none"),
        "port": "text number output none",
        **dict.fromkeys(("schema", "on_destroy", "minimum_version", "policy"), "text"),
        **dict.fromkeys(("tables", "reader_settings"), "map"),
        "roles": "roles none",
        **dict.fromkeys(("lock_timeout", "statement_timeout", "index_memory"), "text none"),
        **dict.fromkeys(("allow_down", "create_extension", "superuser"), "flag"),
    },
    Roles: {
        **dict.fromkeys(("owner", "writer", "reader"), "role"),
        "password_version": "text",
        "import_existing": "flag",
    },
    Role: {"name": "text", "existing": "flag", "password": "text output none"},
}


def wrong_types(part: type) -> list[Any]:
    """Return each argument with a value of each type that it refuses."""
    takes = TAKES[part]
    assert takes.keys() == {field.name for field in dataclasses.fields(part)}
    return [
        pytest.param(name, value, id=f"{name}-{kind}")
        for name, kinds in takes.items()
        for kind, value in VALUES.items()
        if kind not in kinds.split()
    ]


@pytest.mark.parametrize(("name", "value"), wrong_types(VectorDatabaseArgs))
def test_a_value_of_another_type_names_its_argument(name: str, value: Any) -> None:
    """Regression: on_destroy=None damaged the ledger, and allow_down="false" dropped tables."""
    with pytest.raises(pulumi.RunError, match=rf"not valid:\n  {name}: must be .*; got [^\n]*$"):
        VectorDatabaseArgs(**{name: value})


@pytest.mark.parametrize(("name", "value"), wrong_types(Role))
def test_a_value_of_another_type_names_its_role(name: str, value: Any) -> None:
    role = Role(**{"name": "w", name: value})
    with pytest.raises(pulumi.RunError, match=rf"not valid:\n  roles\.writer\.{name}: must be .*; got [^\n]*$"):
        VectorDatabaseArgs(roles=Roles(Role("o"), role, Role("r")))


@pytest.mark.parametrize(("name", "value"), wrong_types(Roles))
def test_a_value_of_another_type_names_its_place_among_the_roles(name: str, value: Any) -> None:
    roles = Roles(**{"owner": Role("o"), "writer": Role("w"), "reader": Role("r"), name: value})
    with pytest.raises(pulumi.RunError, match=rf"not valid:\n  roles\.{name}: must be .*; got [^\n]*$"):
        VectorDatabaseArgs(roles=roles)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"on_destroy": None}, "on_destroy: must be text; got None"),
        ({"allow_down": "false"}, "allow_down: must be True or False; got 'false'"),
        ({"port": True}, "port: must be text, an integer, an Output or None; got True"),
        ({"migrations": OUTPUT}, "migrations: must be text or a path; got an Output, which a preview may not know"),
        ({"roles": {"owner": "a"}}, "roles: must be Roles(...) or None; got dict"),
        ({"roles": Roles("a", "b", "c")}, "roles.owner: must be Role(...); got 'a'"),  # type: ignore[arg-type]
        ({"tables": ["items"]}, "tables: must be a map; got list"),
        ({"password": b"s3cret"}, "password: must be text, an Output or None; got bytes"),
        ({"password": 5}, "password: must be text, an Output or None; got int"),
    ],
)
def test_a_fault_of_a_type_says_what_is_wanted(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(pulumi.RunError) as caught:
        VectorDatabaseArgs(**changes)
    assert words == str(caught.value).splitlines()[1].strip()


def test_no_fault_shows_a_secret() -> None:
    """No error shows a role's password, even if it was passed as another argument."""
    with pytest.raises(TypeError):
        Role("w", "s3cret")  # type: ignore[call-arg, arg-type]
    roles = Roles(Role("o"), Role("w", password=["s3cret"]), Role("r"))  # type: ignore[arg-type]
    for changes in ({"password": ["s3cret"]}, {"password": "s3cret\0"}, {"roles": roles}, {"roles": {"w": "s3cret"}}):
        with pytest.raises(pulumi.RunError) as caught:
            VectorDatabaseArgs(**changes)
        assert "s3cret" not in str(caught.value)


def test_any_map_declares_tables() -> None:
    declared = MappingProxyType({"items": MappingProxyType({"metric": "cosine"})})
    assert VectorDatabaseArgs(tables=declared).tables == declared


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(pulumi.RunError, match=r"superuser: .*\n.*schema: .*\n.*on_destroy: .*\n.*tables"):
        VectorDatabaseArgs(
            schema="$user",
            on_destroy="keep",
            tables={"t": {"metrics": "l2"}},
            superuser="no",  # type: ignore[arg-type]
        )


def test_the_password_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(VectorDatabaseArgs(password="s3cret"))


def test_the_arguments_cannot_be_changed() -> None:
    """The arguments are frozen, as they are validated only once."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        VectorDatabaseArgs().on_destroy = "revert"  # type: ignore[misc]
