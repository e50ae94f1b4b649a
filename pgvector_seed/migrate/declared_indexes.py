"""The indexes that a stack declares, resolved with the catalog: each with its name, column and metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.contract import IndexDeclaration, TableDeclaration
from pgvector_seed.postgres.catalog import fault_of_identifier
from pgvector_seed.vectors.index.compare import comparable
from pgvector_seed.vectors.index.definition import LONGEST_NAME, IndexDefinition, with_suffixes

Entry = Mapping[str, Any]  # of a vector column: see vectors.tables.vector_tables


def declared_indexes(
    schema: str, tables: Mapping[str, TableDeclaration], entries: Sequence[Entry]
) -> list[IndexDefinition]:
    """Return the declared indexes. ``tables`` maps a table's name to its declaration; ``entries`` are the catalog's.

    Raises InputError if a declared index has no column or metric, or the name of another index.
    """
    definitions = [
        _definition(schema, table, declared.metric, index, [entry for entry in entries if entry["table"] == table])
        for table, declared in tables.items()
        for index in declared.index or ()
    ]
    for place, definition in enumerate(definitions):
        names = with_suffixes([definition.name])
        for other in definitions[:place]:
            if names & with_suffixes([other.name]):
                words = f"two indexes have the name {other.name}" + _or_suffix(definition.name, other.name)
                raise _fault(definition.table, words, "Give one of them another name.")
        _refuse_taken(definition, entries)
    return definitions


def _or_suffix(name: str, other: str) -> str:
    return "" if name == other else f" or {name}, which a replacement has for a time"


def _definition(
    schema: str, table: str, metric: str | None, index: IndexDeclaration, entries: Sequence[Entry]
) -> IndexDefinition:
    columns = [entry["vector"] for entry in entries]
    if not columns:
        raise _fault(table, "it has no vector column", "Add the migration that makes it, or take the index out.")
    if index.column is None and len(columns) > 1:
        raise _fault(table, f"which column? It has {', '.join(columns)}", "Add column to the declared index.")
    column = columns[0] if index.column is None else index.column
    if column not in columns:
        raise _fault(table, f"there is no vector column {column}", f"Its vector columns: {', '.join(columns)}")
    entry = entries[columns.index(column)]
    metric = metric or entry.get("metric")
    if metric is None:
        raise _fault(table, "no metric is declared", "Add metric to the table's declaration.")
    name = index.name or f"{table}_{column}_{index.method}"
    if len(name.encode()) > LONGEST_NAME:
        raise _fault(table, f"the name {name} has more than {LONGEST_NAME} bytes", "Declare a shorter name.")
    if fault := fault_of_identifier(name):
        raise _fault(table, f"name: {fault}", "Declare another name.")
    return IndexDefinition(
        schema, table, name, column, index.method, metric, index.parameters or {}, index.cast, bool(index.bits)
    )


def _refuse_taken(definition: IndexDefinition, entries: Sequence[Entry]) -> None:
    """Raise InputError if an index of the migrations has the name, or that of a replacement, and is not equal."""
    names = with_suffixes([definition.name])
    for entry in entries:
        for other in entry.get("indexes", ()):
            is_same = other["name"] == definition.name and _is_equal(definition, entry, other)
            if other["name"] in names and not is_same:
                raise _fault(
                    definition.table,
                    f"a migration makes another index with the name {other['name']}",
                    "Give the declared index another name, or declare it as the migration makes it.",
                )


def _is_equal(definition: IndexDefinition, entry: Entry, other: Mapping[str, Any]) -> bool:
    parameters = other.get("parameters", {})
    return (
        (entry["table"], entry["vector"]) == (definition.table, definition.column)
        and (other["method"], other.get("as"), bool(other.get("bits")))
        == (definition.method, definition.cast, definition.bits)
        and entry.get("metric") in (None, definition.metric)
        and "partial" not in other
        and all(
            name in parameters and comparable(parameters[name], value) == comparable(value, value)
            for name, value in definition.parameters.items()
        )
    )


def of_contract(definition: IndexDefinition) -> dict[str, Any]:
    """Return the entry of the contract's ``indexes``."""
    optional = {"as": definition.cast, "bits": definition.bits or None, "parameters": dict(definition.parameters)}
    kept = {key: value for key, value in optional.items() if value}
    return {"name": definition.name, "method": definition.method, "column": definition.column, **kept}


def indexes_of_column(definitions: Sequence[IndexDefinition], entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield the contract's entries of the indexes of a column: the migrations', then the declared."""
    names = {definition.name for definition in definitions}
    yield from (index for index in entry.get("indexes", ()) if index["name"] not in names and "partial" not in index)
    for definition in definitions:
        if (definition.table, definition.column) == (entry["table"], entry["vector"]):
            yield of_contract(definition)


def _fault(table: str, fault: str, remedy: str) -> InputError:
    return InputError(f"the declared index of the table {table}: {fault}", remedy)
