"""The key ``tables`` of the stack's configuration: what is declared of each table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pgvector_seed.infra.validation import fault_of_text
from pgvector_seed.migrate.contract import TableDeclaration
from pgvector_seed.vectors.metrics import OPERATORS

Tables = dict[str, dict[str, Any]]

# For each key of a declaration: what it must be, and the commands that set a good one; {} is the table's path.
_KEYS = {
    "metric": (f"one of {', '.join(OPERATORS)}", "pulumi config set --path '{}.metric' l2"),
    "rows": ("a whole number", "pulumi config set --path '{}.rows' 1000"),
    "recall": (
        "a map with a whole k and a minimum from 0 to 1, and nothing else",
        (
            "pulumi config rm --path '{0}.recall'; pulumi config set --path '{0}.recall.k' 10; "
            "pulumi config set --path '{0}.recall.minimum' --type float 0.9"
        ),
    ),
}


def read_tables(raw: str) -> tuple[Tables, list[str]]:
    """Return the declarations by table, and what is wrong with them, each with the command that mends it."""
    try:
        tables = json.loads(raw)
    except ValueError:
        tables = None
    if not isinstance(tables, dict):
        return {}, [f"tables: must map tables to what is declared of them; got {raw!r}. Run: pulumi config rm tables"]
    faults = [fault for name, table in tables.items() for fault in faults_of_table(name, table)]
    return tables, [f"{fault}. Run: {command}" for fault, command in faults]


def faults_of_table(name: Any, table: Any) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the declaration of a table, each with the command that mends it in the configuration."""
    if not isinstance(name, str) or fault_of_text(name):
        fault = f"tables: a table's name must be text, not empty and without a NUL; got {name!r}"
        yield fault, "pulumi config rm tables"
        return
    path = f"tables[{json.dumps(name)}]"
    if not isinstance(table, Mapping):
        yield f"{path}: must be a map; got {table!r}", f"pulumi config rm --path '{path}'"
        return
    for key, value in table.items():
        if key not in _KEYS:
            yield f"{path}: no such key: {key}", f"pulumi config rm --path '{path}.{key}'"
        elif not _fits(key, value):
            wanted, commands = _KEYS[key]
            yield f"{path}: {key} must be {wanted}; got {value!r}", commands.format(path)


def _fits(key: str, value: Any) -> bool:
    """Return True if a declaration may have this value. None is no value, and not the absence of one."""
    try:
        msgspec.convert({key: value}, TableDeclaration)
    except msgspec.ValidationError:
        return False
    return value is not None
