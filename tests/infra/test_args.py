"""The component's arguments, as a program of someone else gives them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pulumi
import pytest

from pgvector_seed.infra.args import VectorDatabaseArgs
from pgvector_seed.infra.config import parse
from pgvector_seed.infra.roles import Role, Roles


def test_every_argument_has_a_default() -> None:
    """The configuration that says nothing is the same database."""
    args = VectorDatabaseArgs()
    assert args == parse({})
    assert args.connection == {}
    assert (args.migrations, args.schema, args.on_destroy, args.policy) == ("migrations", "public", "retain", "enforce")


def test_arguments_are_named() -> None:
    """By position, a password could land where it is shown."""
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
        ({"tables": {"items": {"metric": "l3"}}}, 'tables["items"]: metric must be one of'),
        ({"tables": {"items": {"rows": -1}}}, 'tables["items"]: rows must be a whole number'),
        ({"roles": Roles(Role("a"), Role("a"), Role("b"))}, "owner, writer and reader must be three roles"),
        ({"roles": Roles(Role("a"), Role(""), Role("b"))}, "roles.writer: must be a role's name"),
    ],
)
def test_a_bad_value_names_its_argument(changes: dict[str, Any], words: str) -> None:
    """Regression: on_destroy="Retain" was taken for "revert" by the resources that are to be kept."""
    with pytest.raises(pulumi.RunError) as caught:
        VectorDatabaseArgs(**changes)
    assert words in str(caught.value)
    assert "pulumi config" not in str(caught.value)


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(pulumi.RunError, match=r"schema: .*\n.*on_destroy: .*\n.*tables"):
        VectorDatabaseArgs(schema="$user", on_destroy="keep", tables={"t": {"metrics": "l2"}})


def test_the_password_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(VectorDatabaseArgs(password="s3cret"))


def test_the_arguments_cannot_be_changed() -> None:
    """They were judged when they were made."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        VectorDatabaseArgs().on_destroy = "revert"  # type: ignore[misc]
