"""The key ``tables`` of the stack's configuration: what is declared of each table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pgvector_seed.vectors.metrics import OPERATORS

Tables = dict[str, dict[str, Any]]


def read_tables(raw: str) -> tuple[Tables, list[str]]:
    """The declarations by table, and what is wrong with them, each with the command that mends it."""
    try:
        tables = json.loads(raw)
    except ValueError:
        tables = None
    if not isinstance(tables, dict):
        return {}, [f"tables: must map tables to what is declared of them; got {raw!r}. Run: pulumi config rm tables"]
    faults = [found for name, table in tables.items() for found in faults_of_table(name, table)]
    return tables, [f"{fault}. Run: {command}" for fault, command in faults]


def faults_of_table(name: str, table: Any) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the declaration of a table, each with the command that mends it in the configuration."""
    path = f"tables[{json.dumps(name)}]"
    if not isinstance(table, dict):
        yield f"{path}: must be a map; got {table!r}", f"pulumi config rm --path '{path}'"
        return
    for key in table.keys() - {"metric", "rows", "recall"}:
        yield f"{path}: no such key: {key}", f"pulumi config rm --path '{path}.{key}'"
    if table.get("metric", "l2") not in OPERATORS:
        metrics = ", ".join(OPERATORS)
        yield f"{path}: metric must be one of {metrics}", f"pulumi config set --path '{path}.metric' l2"
    if not _whole(table.get("rows", 0), least=0):
        yield f"{path}: rows must be a whole number", f"pulumi config set --path '{path}.rows' 1000"
    if not _recall(table.get("recall", {"k": 10, "minimum": 0.9})):
        command = (
            f"pulumi config rm --path '{path}.recall'; pulumi config set --path '{path}.recall.k' 10; "
            f"pulumi config set --path '{path}.recall.minimum' --type float 0.9"
        )
        yield f"{path}: recall must have a whole k and a minimum from 0 to 1, and nothing else", command


def _recall(recall: Any) -> bool:
    if not isinstance(recall, dict) or recall.keys() != {"k", "minimum"}:
        return False
    minimum = recall["minimum"]
    share = isinstance(minimum, int | float) and not isinstance(minimum, bool) and 0 <= minimum <= 1
    return share and _whole(recall["k"], least=1)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
