"""The stack's configuration, validated once into the component's arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from pgvector_seed.infra.address import is_port
from pgvector_seed.infra.database import VectorDatabaseArgs
from pgvector_seed.infra.policy import ENFORCE, WARN
from pgvector_seed.infra.roles import read_roles
from pgvector_seed.infra.tables import read_tables
from pgvector_seed.infra.tls import SSLMODES
from pgvector_seed.migrate.contract import Declaration, fault_of_schema
from pgvector_seed.migrate.runner import ApplyOptions
from pgvector_seed.migrate.session import Limits, fault_of_duration


def load() -> VectorDatabaseArgs:
    """What the stack that this program runs for says.

    Raises pulumi.RunError that names every fault at once, each with the command that mends it.
    """
    prefix = f"{pulumi.get_project()}:"
    raw = {name.removeprefix(prefix): text for name, text in get_config_env().items() if name.startswith(prefix)}
    secret = {name.removeprefix(prefix) for name in get_config_secret_keys_env()}
    return parse(raw, secret)


def parse(raw: Mapping[str, str], secret: Collection[str] = ()) -> VectorDatabaseArgs:
    """The arguments from the texts of the stack's file; ``secret`` names the keys that it holds encrypted."""
    tables, faults = read_tables(raw.get("tables", "{}"))
    roles, faults_of_roles = read_roles(raw)
    faults += faults_of_roles
    faults += [f"{key}: no such key. Run: pulumi config rm {key}" for key in raw.keys() - {*KEYS, "tables", "roles"}]
    for key in raw.keys() & KEYS.keys():
        wrong = KEYS[key].wrong(raw[key])
        if wrong:
            faults.append(f"{key}: {wrong}. Run: pulumi config set {key} {KEYS[key].example}")
    faults += [
        f"{key}: stored in plain text. Run: pulumi config set --secret {key}"
        for key in PASSWORDS
        if key in raw and key not in secret
    ]
    if faults:
        raise pulumi.RunError("the stack's configuration is not valid:\n  " + "\n  ".join(sorted(faults)))
    return VectorDatabaseArgs(
        connection={option: raw[key] for key, option in LIBPQ.items() if key in raw},
        password=raw.get("password"),
        schema=raw.get("schema", KEYS["schema"].default),
        on_destroy=raw.get("onDestroy", KEYS["onDestroy"].default),
        minimum_version=raw.get("minimumVersion", KEYS["minimumVersion"].default),
        tables=tables,
        options=ApplyOptions(
            Limits(raw.get("lockTimeout", ""), raw.get("statementTimeout", "")),
            allow_down=raw.get("allowDown") == "true",
        ),
        create_extension=raw.get("createExtension") != "false",
        superuser=raw.get("superuser") != "false",
        roles=roles,
        policy=raw.get("policy", KEYS["policy"].default),
    )


def _text(raw: str) -> str:
    return "" if raw and "\0" not in raw else "must be text, not empty and without a NUL"


def _one_of(*choices: str) -> Callable[[str], str]:
    return lambda raw: "" if raw in choices else f"must be one of {', '.join(choices)}; got {raw!r}"


def _port(raw: str) -> str:
    good = all(is_port(part) for part in raw.split(","))
    return "" if good else f"must be a whole number from 1 to 65535, or a list such as 5432,5433; got {raw!r}"


def _version(raw: str) -> str:
    good = raw.isascii() and all(part.isdecimal() for part in raw.split("."))
    return "" if good else f"must be a version such as 0.8.4; got {raw!r}"


@dataclass(frozen=True)
class Key:
    """What is wrong with a value ("" when nothing is), a good one, and what holds where there is none, if anything."""

    wrong: Callable[[str], str]
    example: str
    default: str = ""


KEYS = {
    "host": Key(_text, "db.example.com"),
    "port": Key(_port, "5432"),
    "database": Key(_text, "app"),
    "user": Key(_text, "app"),
    "password": Key(_text, "--secret"),
    "service": Key(_text, "app"),
    "sslmode": Key(_one_of(*SSLMODES), "verify-full"),
    "sslrootcert": Key(_text, "root.crt"),
    "sslcert": Key(_text, "client.crt"),
    "sslkey": Key(_text, "client.key"),
    "schema": Key(fault_of_schema, "public", default=Declaration.schema),
    "onDestroy": Key(_one_of("retain", "revert"), "retain", default=Declaration.on_destroy),
    "minimumVersion": Key(_version, "0.8.4", default=Declaration.minimum_version),
    "createExtension": Key(_one_of("true", "false"), "false"),
    "superuser": Key(_one_of("true", "false"), "false"),
    "writerPassword": Key(_text, "--secret"),
    "readerPassword": Key(_text, "--secret"),
    "passwordVersion": Key(_text, "2"),
    "importRoles": Key(_one_of("true", "false"), "true"),
    "policy": Key(_one_of(ENFORCE, WARN), WARN, default=ENFORCE),
    "allowDown": Key(_one_of("true", "false"), "true"),
    "lockTimeout": Key(fault_of_duration, "5s"),
    "statementTimeout": Key(fault_of_duration, "30min"),
}
PASSWORDS = ("password", "writerPassword", "readerPassword")
_SAME_NAME = ("host", "port", "user", "service", "sslmode", "sslrootcert", "sslcert", "sslkey")
LIBPQ = {"database": "dbname", **{name: name for name in _SAME_NAME}}
