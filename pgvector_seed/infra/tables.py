"""The key ``tables`` of the stack's configuration: the declaration of each table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from pgvector_seed.common.text import did_you_mean, fault_of_text, nearest
from pgvector_seed.infra.index_config import faults_of_index, indexes_of
from pgvector_seed.infra.validation import path_of, remove_at, set_at, shown, with_command
from pgvector_seed.migrate.contract import DeclaredFreshness, DeclaredModel, DeclaredRecall, TableDeclaration
from pgvector_seed.vectors.metrics import OPERATORS

Tables = dict[str, dict[str, Any]]

# For each key of a declaration its valid values.
_KEYS = {
    "metric": f"one of {', '.join(OPERATORS)}",
    "rows": "an integer",
    "recall": "a map of k (an integer), minimum (0 to 1) and perhaps filter (a column)",
    "missing": "a number from 0 to 1",
    "normalized": "true or false",
    "fresh": "a map of embedded and updated (columns) only",
    "model": "a map of name and column (texts) only",
    "index": "a map of method and its parameters, or a list of maps",
}
# For each key whose value is a map, its type and a valid one; and the words that set a value, if it is no text.
_MAPS: dict[str, tuple[type[msgspec.Struct], dict[str, Any]]] = {
    "recall": (DeclaredRecall, {"k": 10, "minimum": 0.9}),
    "fresh": (DeclaredFreshness, {"embedded": "embedded_at", "updated": "updated_at"}),
    "model": (DeclaredModel, {"name": "MODEL", "column": "model"}),
}
_EXAMPLES = {"rows": 1000, "missing": "--type float 0.1", "normalized": "true", "minimum": "--type float 0.9"}


def read_tables(raw: str) -> tuple[Tables, list[str]]:
    """Return the declarations by table, and the faults, each with the command that fixes it."""
    try:
        tables = json.loads(raw)
    except ValueError:
        tables = None
    if not isinstance(tables, dict):
        fault = f"tables: must map tables to their declarations, as in {{items: {{metric: l2}}}}; got {shown(raw)}"
        return {}, [with_command(fault, "pulumi config rm tables")]
    faults = [fault for name, table in tables.items() for fault in faults_of_table(name, table)]
    return tables, [with_command(fault, command) for fault, command in faults]


def faults_of_table(name: Any, table: Any) -> Iterator[tuple[str, str]]:
    """Yield each fault of a table's declaration, with the command that fixes the configuration."""
    if fault := fault_of_text(name):
        yield f"tables: a table's name {fault}; got {shown(name)}", "pulumi config rm tables"
        return
    path = f"tables[{json.dumps(name)}]"
    if not isinstance(table, Mapping):
        yield f"{path}: must be a map; got {shown(table)}", remove_at(path)
        return
    for key, value in table.items():
        if key not in _KEYS:
            fault = f"{path}: no such key: {key}{did_you_mean(str(key), _KEYS)}"
            intended = nearest(str(key), _KEYS.keys() - table.keys())
            renamed = f"; {set_at(f'{path}.{intended}', '')}".rstrip() if intended else ""
            yield fault, f"{remove_at(path_of(path, key))}{renamed}"
        elif key == "index":
            yield from faults_of_index(f"{path}.index", path, value)
        elif not _fits(key, value):
            fault = f"{path}: {key} must be {_KEYS[key]}; got {shown(value)}{_unknown_part(key, value)}"
            yield fault, "; ".join(_commands(f"{path}.{key}", key, value))


def declarations(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, TableDeclaration]:
    """Return the declarations of tables whose values are valid."""
    data = {
        name: {key: indexes_of(value) if key == "index" else value for key, value in table.items()}
        for name, table in tables.items()
    }
    return msgspec.convert(data, dict[str, TableDeclaration])


def _commands(path: str, key: str, value: Any) -> Iterator[str]:
    """Yield the commands that make the value of a key valid, and leave the parts of a map that are."""
    if key in _MAPS:
        type_, good = _MAPS[key]
        parts = value if isinstance(value, Mapping) else {}
        if parts is not value:
            yield remove_at(path)
        for part, value_of_part in parts.items():
            if part not in good and not (part in type_.__struct_fields__ and _fits(key, {**good, part: value_of_part})):
                yield remove_at(path_of(path, part))
        for part, example in good.items():
            if part not in parts or not _fits(key, {**good, part: parts[part]}):
                yield set_at(f"{path}.{part}", _EXAMPLES.get(part, example))
    elif key in _EXAMPLES:
        yield set_at(path, _EXAMPLES[key])
    else:
        metric = nearest(value, OPERATORS) if isinstance(value, str) else None
        yield set_at(path, metric or "l2")


def _unknown_part(key: str, value: Any) -> str:
    """Return the first unknown key of a map, with the nearest one, or ""."""
    if key not in _MAPS or not isinstance(value, Mapping):
        return ""
    parts = _MAPS[key][0].__struct_fields__
    unknown = [part for part in value if part not in parts]
    return f"; no such key: {unknown[0]}{did_you_mean(str(unknown[0]), parts)}" if unknown else ""


def _fits(key: str, value: Any) -> bool:
    """Return True if a declaration may have this value. None is not valid, though the key or a part may be absent."""
    try:
        msgspec.convert({key: value}, TableDeclaration)
    except msgspec.ValidationError:
        return False
    return value is not None and not (isinstance(value, Mapping) and None in value.values())
