"""The key ``tables`` of the stack's configuration: the declaration of each table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pgvector_seed.common.text import did_you_mean, fault_of_text, nearest
from pgvector_seed.infra.validation import with_command
from pgvector_seed.migrate.contract import DeclaredRecall, TableDeclaration
from pgvector_seed.vectors.metrics import OPERATORS

Tables = dict[str, dict[str, Any]]

# For each key of a declaration: its valid values, and the commands that set one. {0} is the table's path, {1} the
# metric nearest to the value.
_KEYS = {
    "metric": (f"one of {', '.join(OPERATORS)}", "pulumi config set --path '{0}.metric' {1}"),
    "rows": ("an integer", "pulumi config set --path '{0}.rows' 1000"),
    "recall": (
        "a map of k (an integer) and minimum (0 to 1) only",
        (
            "pulumi config rm --path '{0}.recall'; pulumi config set --path '{0}.recall.k' 10; "
            "pulumi config set --path '{0}.recall.minimum' --type float 0.9"
        ),
    ),
}


def read_tables(raw: str) -> tuple[Tables, list[str]]:
    """Return the declarations by table, and the faults, each with the command that fixes it."""
    try:
        tables = json.loads(raw)
    except ValueError:
        tables = None
    if not isinstance(tables, dict):
        fault = f"tables: must map tables to their declarations; got {raw!r}"
        return {}, [with_command(fault, "pulumi config rm tables")]
    faults = [fault for name, table in tables.items() for fault in faults_of_table(name, table)]
    return tables, [with_command(fault, command) for fault, command in faults]


def faults_of_table(name: Any, table: Any) -> Iterator[tuple[str, str]]:
    """Yield each fault of a table's declaration, with the command that fixes the configuration."""
    if fault := fault_of_text(name):
        yield f"tables: a table's name {fault}; got {name!r}", "pulumi config rm tables"
        return
    path = f"tables[{json.dumps(name)}]"
    if not isinstance(table, Mapping):
        yield f"{path}: must be a map; got {table!r}", f"pulumi config rm --path '{path}'"
        return
    for key, value in table.items():
        if key not in _KEYS:
            fault = f"{path}: no such key: {key}{did_you_mean(str(key), _KEYS)}"
            yield fault, f"pulumi config rm --path '{path}.{key}'"
        elif not _fits(key, value):
            valid, commands = _KEYS[key]
            fault = f"{path}: {key} must be {valid}; got {value!r}{_unknown_part(key, value)}"
            metric = nearest(value, OPERATORS) if isinstance(value, str) else None
            yield fault, commands.format(path, metric or "l2")


def _unknown_part(key: str, value: Any) -> str:
    """Return the first unknown key of a recall, with the nearest one, or ""."""
    parts = DeclaredRecall.__struct_fields__
    unknown = [part for part in value if part not in parts] if key == "recall" and isinstance(value, Mapping) else []
    return f"; no such key: {unknown[0]}{did_you_mean(str(unknown[0]), parts)}" if unknown else ""


def _fits(key: str, value: Any) -> bool:
    """Return True if a declaration may have this value. None is not valid, though the key may be absent."""
    try:
        msgspec.convert({key: value}, TableDeclaration)
    except msgspec.ValidationError:
        return False
    return value is not None
