"""The stack's configuration, validated once into the component's arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from pgvector_seed.infra.address import is_port
from pgvector_seed.infra.args import CHECKS, LIBPQ, VectorDatabaseArgs, one_of
from pgvector_seed.infra.policy import WARN
from pgvector_seed.infra.roles import read_roles
from pgvector_seed.infra.tables import read_tables
from pgvector_seed.infra.tls import SSLMODES


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
    texts = {ARGUMENTS[key]: raw[key] for key in raw.keys() & ARGUMENTS.keys()}
    flags = {name: raw[key] == "true" for key, name in FLAGS.items() if key in raw}
    return VectorDatabaseArgs(tables=tables, roles=roles, **flags, **texts)  # type: ignore[arg-type]


def _text(raw: str) -> str | None:
    return None if raw and "\0" not in raw else "must be text, not empty and without a NUL"


def _port(raw: str) -> str | None:
    good = all(is_port(part) for part in raw.split(","))
    return None if good else f"must be a whole number from 1 to 65535, or a list such as 5432,5433; got {raw!r}"


@dataclass(frozen=True)
class Key:
    """A key of the configuration: a check of its value, which returns the fault or None, and a good value."""

    wrong: Callable[[str], str | None]
    example: str


_FLAG = one_of("true", "false")
KEYS = {
    "host": Key(_text, "db.example.com"),
    "port": Key(_port, "5432"),
    "database": Key(_text, "app"),
    "user": Key(_text, "app"),
    "password": Key(_text, "--secret"),
    "service": Key(_text, "app"),
    "sslmode": Key(one_of(*SSLMODES), "verify-full"),
    "sslrootcert": Key(_text, "root.crt"),
    "sslcert": Key(_text, "client.crt"),
    "sslkey": Key(_text, "client.key"),
    "schema": Key(CHECKS["schema"], "public"),
    "onDestroy": Key(CHECKS["on_destroy"], "retain"),
    "minimumVersion": Key(CHECKS["minimum_version"], "0.8.4"),
    "createExtension": Key(_FLAG, "false"),
    "superuser": Key(_FLAG, "false"),
    "writerPassword": Key(_text, "--secret"),
    "readerPassword": Key(_text, "--secret"),
    "passwordVersion": Key(_text, "2"),
    "importRoles": Key(_FLAG, "true"),
    "policy": Key(CHECKS["policy"], WARN),
    "allowDown": Key(_FLAG, "true"),
    "lockTimeout": Key(CHECKS["lock_timeout"], "5s"),
    "statementTimeout": Key(CHECKS["statement_timeout"], "30min"),
}
PASSWORDS = ("password", "writerPassword", "readerPassword")
# The arguments of the component that a key gives as it is, and those that are true or false.
ARGUMENTS = {
    **{name: name for name in (*LIBPQ, "password", "schema", "policy")},
    "onDestroy": "on_destroy",
    "minimumVersion": "minimum_version",
    "lockTimeout": "lock_timeout",
    "statementTimeout": "statement_timeout",
}
FLAGS = {"allowDown": "allow_down", "createExtension": "create_extension", "superuser": "superuser"}
