"""The stack's configuration, validated once into the component's arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from pgvector_seed.infra.args import CHECKS, LIBPQ, VectorDatabaseArgs
from pgvector_seed.infra.policy import WARN
from pgvector_seed.infra.roles import read_roles
from pgvector_seed.infra.tables import read_tables
from pgvector_seed.infra.validation import fault_of_text, one_of


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


@dataclass(frozen=True)
class Key:
    """A key of the configuration: a check of its value, which returns the fault or None, and a good value."""

    wrong: Callable[[str], str | None]
    example: str


_FLAG = one_of("true", "false")
KEYS = {
    "host": Key(fault_of_text, "db.example.com"),
    "port": Key(CHECKS["port"], "5432"),
    "database": Key(fault_of_text, "app"),
    "user": Key(fault_of_text, "app"),
    "password": Key(fault_of_text, "--secret"),
    "service": Key(fault_of_text, "app"),
    "sslmode": Key(CHECKS["sslmode"], "verify-full"),
    "sslrootcert": Key(fault_of_text, "root.crt"),
    "sslcert": Key(fault_of_text, "client.crt"),
    "sslkey": Key(fault_of_text, "client.key"),
    "schema": Key(CHECKS["schema"], "public"),
    "onDestroy": Key(CHECKS["on_destroy"], "retain"),
    "minimumVersion": Key(CHECKS["minimum_version"], "0.8.4"),
    "createExtension": Key(_FLAG, "false"),
    "superuser": Key(_FLAG, "false"),
    "writerPassword": Key(fault_of_text, "--secret"),
    "readerPassword": Key(fault_of_text, "--secret"),
    "passwordVersion": Key(fault_of_text, "2"),
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
