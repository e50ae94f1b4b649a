"""The stack's configuration, validated once into the component's arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from pgvector_seed.common.remedies import setting
from pgvector_seed.common.text import did_you_mean, fault_of_text, nearest
from pgvector_seed.infra.args import CHECKS, LIBPQ, VectorDatabaseArgs
from pgvector_seed.infra.policy import WARN
from pgvector_seed.infra.roles import read_roles
from pgvector_seed.infra.settings import KEY, read_settings
from pgvector_seed.infra.tables import read_tables
from pgvector_seed.infra.validation import one_of, with_command


def load() -> VectorDatabaseArgs:
    """Return the arguments from the configuration of the current stack.

    Raises pulumi.RunError that names every fault, each with the command that fixes it.
    """
    prefix = f"{pulumi.get_project()}:"
    raw = {name.removeprefix(prefix): text for name, text in get_config_env().items() if name.startswith(prefix)}
    secret = {name.removeprefix(prefix) for name in get_config_secret_keys_env()}
    return parse(raw, secret)


def parse(raw: Mapping[str, str], secret: Collection[str] = ()) -> VectorDatabaseArgs:
    """Return the arguments from the configuration's texts by key; ``secret`` has the keys that are encrypted.

    Raises pulumi.RunError as ``load`` does.
    """
    tables, faults = read_tables(raw.get("tables", "{}"))
    roles, faults_of_roles = read_roles(raw)
    settings, faults_of_settings = read_settings(raw.get(KEY, "{}"))
    faults += faults_of_roles + faults_of_settings
    keys = {*KEYS, "tables", "roles", KEY}
    for key in sorted(raw.keys() - keys):
        unknown = f"{key}: no such key{did_you_mean(key, keys)}"
        faults.append(with_command(unknown, f"pulumi config rm {key}{_renamed(key, keys - raw.keys())}"))
    for key in raw.keys() & KEYS.keys():
        fault = KEYS[key].check(raw[key])
        if fault:
            faults.append(with_command(f"{key}: {fault}", f"pulumi config set {key} {KEYS[key].example}"))
    faults += [
        with_command(f"{key}: stored in plain text", f"pulumi config set --secret {key}")
        for key in PASSWORDS
        if key in raw and key not in secret
    ]
    if faults:
        raise pulumi.RunError("the stack's configuration is not valid:\n  " + "\n  ".join(sorted(faults)))
    texts = {ARGUMENTS[key]: raw[key] for key in raw.keys() & ARGUMENTS.keys()}
    flags = {name: raw[key] == "true" for key, name in FLAGS.items() if key in raw}
    return VectorDatabaseArgs(tables=tables, roles=roles, reader_settings=settings, **flags, **texts)  # type: ignore[arg-type]


def _renamed(key: str, others: Collection[str]) -> str:
    """Return a semicolon and the command that sets the nearest of the other keys, or "" if none is near."""
    name = nearest(key, others)
    return f"; {setting(name)}" if name else ""


@dataclass(frozen=True)
class ConfigKey:
    """A key of the configuration, with a valid example of its value."""

    check: Callable[[str], str | None]  # returns the fault of a value, or None
    example: str


_FLAG = one_of("true", "false")
KEYS = {
    "host": ConfigKey(fault_of_text, "db.example.com"),
    "port": ConfigKey(CHECKS["port"], "5432"),
    "database": ConfigKey(fault_of_text, "app"),
    "user": ConfigKey(fault_of_text, "app"),
    "password": ConfigKey(fault_of_text, "--secret"),
    "service": ConfigKey(fault_of_text, "app"),
    "sslmode": ConfigKey(CHECKS["sslmode"], "verify-full"),
    "sslrootcert": ConfigKey(fault_of_text, "root.crt"),
    "sslcert": ConfigKey(fault_of_text, "client.crt"),
    "sslkey": ConfigKey(fault_of_text, "client.key"),
    "schema": ConfigKey(CHECKS["schema"], "public"),
    "onDestroy": ConfigKey(CHECKS["on_destroy"], "retain"),
    "minimumVersion": ConfigKey(CHECKS["minimum_version"], "0.8.4"),
    "createExtension": ConfigKey(_FLAG, "false"),
    "superuser": ConfigKey(_FLAG, "false"),
    "writerPassword": ConfigKey(fault_of_text, "--secret"),
    "readerPassword": ConfigKey(fault_of_text, "--secret"),
    "passwordVersion": ConfigKey(fault_of_text, "2"),
    "importRoles": ConfigKey(_FLAG, "true"),
    "policy": ConfigKey(CHECKS["policy"], WARN),
    "allowDown": ConfigKey(_FLAG, "true"),
    "lockTimeout": ConfigKey(CHECKS["lock_timeout"], "5s"),
    "statementTimeout": ConfigKey(CHECKS["statement_timeout"], "30min"),
    "indexMemory": ConfigKey(CHECKS["index_memory"], "2GB"),
}
PASSWORDS = ("password", "writerPassword", "readerPassword")
# The component's arguments that are texts, and those that are booleans, by key.
ARGUMENTS = {
    **{name: name for name in (*LIBPQ, "password", "schema", "policy")},
    "onDestroy": "on_destroy",
    "minimumVersion": "minimum_version",
    "lockTimeout": "lock_timeout",
    "statementTimeout": "statement_timeout",
    "indexMemory": "index_memory",
}
FLAGS = {"allowDown": "allow_down", "createExtension": "create_extension", "superuser": "superuser"}
