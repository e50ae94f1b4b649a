"""From a file's block to rows for the server: names mapped, values checked and dumped, sorted by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from psycopg.abc import AdaptContext

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import counted
from pgvector_seed.data.block import Array, Block, RowFault
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.target import Target
from pgvector_seed.data.values import JSON_TYPES, Faults, Fixed, Varying, dump
from pgvector_seed.data.vectors import dump_vectors


@dataclass(frozen=True)
class Binding:
    """The columns of the table that a file's columns go to.

    ``columns`` maps the file's columns, without that of the vectors, which is named in ``vector``, to the table's.
    The keys are in ``columns``, or in ``ids``, or count from ``number_from``. ``offset`` is the number of rows in the
    files before. Without any of these, the database generates the keys.
    """

    target: Target
    columns: Mapping[str, str]
    context: AdaptContext
    vector: str
    ids: Array | None = None
    number_from: int | None = None
    offset: int = 0


def prepare(block: Block, binding: Binding) -> tuple[Rows, list[RowFault]]:
    """Return the good rows of a block in the order of their keys, and its faults in the order of the file."""
    target = binding.target
    fixed: dict[str, Fixed] = {}
    varying: dict[str, Varying] = {}
    faults: Faults = {}
    for name, values in _columns(block, binding).items():
        dumped, column_faults = dump(target.columns[name], values, binding.context, json_values=block.json_values)
        _add(name, dumped, fixed, varying)
        faults |= column_faults
    vectors, vector_faults = dump_vectors(block.vectors, target)
    _add(target.vector.name, vectors, fixed, varying)
    faults |= vector_faults
    rows = Rows(block.file, block.numbers, fixed, varying)
    if target.key and all(name in rows.names for name in target.key):
        rows, faults = _sort(rows, target.key, faults)
    else:
        rows = rows.take(_without(len(rows), faults)) if faults else rows
    listed = [*_with_keys(block, binding), *_listed(block, faults, binding)]
    return rows, sorted((_mendable(fault, block, binding) for fault in listed), key=lambda fault: fault.row)


def _columns(block: Block, binding: Binding) -> dict[str, Sequence[Any] | Array]:
    """Return the table's column and the values for each column of the file, and for the keys from elsewhere."""
    missing: list[None] = [None] * len(block)
    columns = {into: block.columns.get(name, missing) for name, into in binding.columns.items()}
    return {**columns, **_keys(block.numbers, binding)}


def _keys(numbers: Array, binding: Binding) -> dict[str, Array | list[int]]:
    """Return the key column of the rows with these numbers if their keys come from elsewhere, or nothing.

    Raises InputError if there are too few.
    """
    places = numbers - 1 + binding.offset
    if binding.ids is not None:
        if len(places) and places[-1] >= len(binding.ids):
            raise InputError(f"there are {counted(len(binding.ids), 'key')}, and more rows")
        return {binding.target.key[0]: binding.ids[places]}
    if binding.number_from is not None:
        first = binding.number_from
        fits = abs(first) < 1 << 62  # beyond, a sum of int64 may be too large, and is then silently another number
        return {binding.target.key[0]: places + first if fits else [place + first for place in places.tolist()]}
    return {}


def _add(name: str, dumped: Fixed | Varying, fixed: dict[str, Fixed], varying: dict[str, Varying]) -> None:
    if isinstance(dumped, tuple):
        fixed[name] = dumped
    else:
        varying[name] = dumped


def _sort(rows: Rows, key: Sequence[str], faults: Faults) -> tuple[Rows, Faults]:
    """Sort by key, so that loaders that meet wait for each other in one order. A NULL or repeated key is a fault."""
    for name in key:
        for place, value in enumerate(rows.varying.get(name, ())):
            if value is None:
                faults.setdefault(place, f"{name}, which is in the primary key, is NULL")
    if len(key) == 1 and key[0] in rows.fixed:
        values = rows.fixed[key[0]][1]
        if not faults and (values[1:] > values[:-1]).all():
            return rows, faults
        order = np.argsort(values, kind="stable").tolist()
        keys = values.tolist()
    else:
        columns = [rows.fixed[name][1].tolist() if name in rows.fixed else rows.varying[name] for name in key]
        keys = list(zip(*columns, strict=True))
        order = sorted((place for place in range(len(rows)) if place not in faults), key=keys.__getitem__)
    last: int | None = None
    kept = []
    for place in order:
        if place in faults:
            continue
        if last is not None and keys[place] == keys[last]:
            faults[place] = f"its key is also that of row {rows.numbers[last]}"
        else:
            kept.append(place)
            last = place
    return rows.take(np.array(kept, np.int64)), faults


def _without(count: int, faults: Faults) -> Array:
    return np.array([place for place in range(count) if place not in faults], np.int64)


def _with_keys(block: Block, binding: Binding) -> Iterator[RowFault]:
    """Yield the rows that could not be read, with the keys that they get from elsewhere."""
    for fault in block.faults:
        key = _keys(np.array([fault.row]), binding)
        yield replace(fault, values={**fault.values, **{name: values[0] for name, values in key.items()}})


def _mendable(fault: RowFault, block: Block, binding: Binding) -> RowFault:
    """Return the row as JSON Lines have it: there, a text in a column of JSON is a JSON string."""
    if block.json_values:
        return fault
    values = dict(fault.values)
    for name, into in binding.columns.items():
        if binding.target.columns[into].type in JSON_TYPES and isinstance(values.get(name), str):
            with suppress(ValueError, RecursionError):  # the cell may be what must be mended
                values[name] = msgspec.json.decode(values[name])
    return replace(fault, values=values)


def _listed(block: Block, faults: Faults, binding: Binding) -> Iterator[RowFault]:
    columns = {**block.columns, binding.vector: block.vectors, **_keys(block.numbers, binding)}
    for place, reason in faults.items():
        values = {name: values[place] for name, values in columns.items()}
        yield RowFault(block.file, int(block.numbers[place]), reason, values)
