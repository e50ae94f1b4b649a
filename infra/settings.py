"""The stack's configuration, validated once into one typed object."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi.runtime.config import get_config_env, get_config_secret_keys_env

from postgres.ledger import LEDGER_SCHEMA
from postgres.metrics import OPERATORS

SSLMODES = ("disable", "require", "verify-ca", "verify-full")
ON_DESTROY = ("retain", "revert")

Parsed = tuple[Any, str]  # a value, and what is wrong with it ("" when nothing is)


@dataclass(frozen=True)
class Settings:
    """What a stack may say. What it leaves out of the connection is libpq's to find.

    ``connection`` has libpq's names (host, port, dbname, user, sslmode) and no password.
    """

    connection: Mapping[str, str]
    password: str | None = field(repr=False)
    schema: str
    on_destroy: str
    minimum_version: str
    tables: Mapping[str, Mapping[str, Any]]


def load() -> Settings:
    """The settings of the stack that this program runs for.

    Raises pulumi.RunError that names every fault at once.
    """
    prefix = f"{pulumi.get_project()}:"
    raw = {name.removeprefix(prefix): text for name, text in get_config_env().items() if name.startswith(prefix)}
    secret = {name.removeprefix(prefix) for name in get_config_secret_keys_env()}
    return parse(raw, secret)


def parse(raw: Mapping[str, str], secret: Collection[str] = ()) -> Settings:
    """Settings from the texts of the stack's file; ``secret`` names the keys that it holds encrypted."""
    faults = [f"{key}: no such key. Run: pulumi config rm {key}" for key in sorted(raw.keys() - KEYS.keys())]
    values = {key: default for key, (_, default, _) in KEYS.items()}
    for key in raw.keys() & KEYS.keys():
        reader, _, example = KEYS[key]
        values[key], fault = reader(raw[key])
        if fault:
            faults.append(f"{key}: {fault}. Run: pulumi config set {key} {example}")
    if "password" in raw and "password" not in secret:
        faults.append("password: stored in plain text. Run: pulumi config set --secret password")
    if faults:
        raise pulumi.RunError("the stack's configuration is not valid:\n  " + "\n  ".join(sorted(faults)))
    given = {option: values[key] for key, option in LIBPQ.items() if values[key] is not None}
    return Settings(
        connection=given,
        password=values["password"],
        schema=values["schema"],
        on_destroy=values["onDestroy"],
        minimum_version=values["minimumVersion"],
        tables=values["tables"],
    )


def _text(raw: str) -> Parsed:
    return raw, "" if raw and "\0" not in raw else "must not be empty"


def _one_of(choices: tuple[str, ...]) -> Callable[[str], Parsed]:
    return lambda raw: (raw, "" if raw in choices else f"must be one of {', '.join(choices)}; got {raw!r}")


def _port(raw: str) -> Parsed:
    good = raw.isascii() and raw.isdecimal() and 1 <= int(raw) <= 65535
    return raw, "" if good else f"must be a whole number from 1 to 65535; got {raw!r}"


def _schema(raw: str) -> Parsed:
    text, fault = _text(raw)
    if not fault and (raw.startswith("pg_") or raw == LEDGER_SCHEMA):
        fault = f"{raw!r} is reserved"
    if len(raw.encode()) > 63:
        fault = "must have 63 bytes at most, PostgreSQL's limit for a name"
    return text, fault


def _version(raw: str) -> Parsed:
    good = raw.isascii() and all(part.isdecimal() for part in raw.split("."))
    return raw, "" if good else f"must be a version such as 0.8.4; got {raw!r}"


def _tables(raw: str) -> Parsed:
    try:
        tables = json.loads(raw)
    except ValueError:
        return {}, f"must be a map from table to what is declared of it; got {raw!r}"
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        return {}, f"must be a map from table to what is declared of it; got {raw!r}"
    faults = [f"{name}: {fault}" for name, table in tables.items() for fault in _table_faults(table)]
    return tables, "; ".join(faults)


def _table_faults(table: dict[str, Any]) -> list[str]:
    faults = [f"no such key: {key}" for key in sorted(table.keys() - {"metric", "rows", "recall"})]
    if table.get("metric", "l2") not in OPERATORS:
        faults.append(f"metric must be one of {', '.join(OPERATORS)}; got {table['metric']!r}")
    if not _whole(table.get("rows", 0), least=0):
        faults.append(f"rows must be a whole number; got {table['rows']!r}")
    recall = table.get("recall", {"k": 10, "minimum": 1})
    if not isinstance(recall, dict) or recall.keys() != {"k", "minimum"}:
        faults.append(f"recall must have the keys k and minimum; got {recall!r}")
    elif not _whole(recall["k"], least=1) or not _share(recall["minimum"]):
        faults.append(f"recall must have a whole k and a minimum from 0 to 1; got {recall!r}")
    return faults


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


# Each key: how it is read, what holds without it, and an example for the error message.
# pgvector 0.8.4 is the first version without the known corruptions of an HNSW index
# (pgvector issues 959, 988 and 993).
KEYS: dict[str, tuple[Callable[[str], Parsed], Any, str]] = {
    "host": (_text, None, "db.example.com"),
    "port": (_port, None, "5432"),
    "database": (_text, None, "app"),
    "user": (_text, None, "app"),
    "password": (_text, None, "--secret"),
    "sslmode": (_one_of(SSLMODES), None, "verify-full"),
    "schema": (_schema, "public", "public"),
    "onDestroy": (_one_of(ON_DESTROY), "retain", "retain"),
    "minimumVersion": (_version, "0.8.4", "0.8.4"),
    "tables": (_tables, {}, "--path 'tables.embeddings.metric' l2"),
}
LIBPQ = {"host": "host", "port": "port", "database": "dbname", "user": "user", "sslmode": "sslmode"}
