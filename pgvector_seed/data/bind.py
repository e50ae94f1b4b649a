"""Map the columns of a file to those of a table. Every fault is raised before the first row is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg.adapt import Transformer

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import Array
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.formats.npy import read_ids
from pgvector_seed.data.prepare import Binding
from pgvector_seed.data.store import Existing
from pgvector_seed.data.target import Target


@dataclass(frozen=True)
class LoadOptions:
    """The target of a load, and its options. All are values, which can be sent to another process.

    ``table`` and ``vector`` are as in ``find_target``. ``columns`` maps names of the file to the table's; "" leaves a
    column out. ``ids`` is a .npy with the keys, ``number_from`` the key of the first row.
    """

    table: str | None = None
    vector: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    ids: str | None = None
    number_from: int | None = None
    existing: Existing = "refuse"


def bind(unit: Unit, names: Sequence[str] | None, target: Target, options: LoadOptions) -> Binding:
    """Return where a file's columns go. ``names`` are theirs, or None if the file has vectors alone.

    Raises InputError if they do not fit the table.
    """
    if names is not None and not names:
        raise InputError(f"{unit.file} names no columns: none of its first lines is a JSON object with names")
    if names is not None and vector_name(target, options) not in names:
        raise InputError(
            f"{unit.file} has no column {target.vector.name}, only {', '.join(names) or 'none'}",
            f"Name the column that has the vectors: --map COLUMN={target.vector.name}",
        )
    ids = None if options.ids is None else read_ids(options.ids)
    return bind_columns(unit.file, names or [], target, options, ids, unit.offset)


def bind_columns(
    source: str, names: Sequence[str], target: Target, options: LoadOptions, ids: Array | None = None, offset: int = 0
) -> Binding:
    """Return where the columns of these names go. Raises InputError, which names the ``source``, if they do not fit."""
    columns = _columns(source, names, target, options)
    if ids is not None or options.number_from is not None:
        _refuse_two_keys(target, columns.values())
    vector = vector_name(target, options)
    binding = Binding(target, columns, Transformer(), vector, ids, options.number_from, offset)
    if not generates(binding):
        missing = [name for name in target.key if name not in columns.values()]
        if missing and ids is None and options.number_from is None:
            raise InputError(f"{source} has no column {missing[0]}, which is in the primary key", _KEYS_REMEDY)
    return binding


_KEYS_REMEDY = "Map a column to it (--map FILE_COLUMN=TABLE_COLUMN), or: --ids FILE.npy, --number-from 1"


def vector_name(target: Target, options: LoadOptions) -> str:
    """Return the name of the file's column that has the vectors."""
    mapped = [name for name, into in options.columns.items() if into == target.vector.name]
    return mapped[0] if mapped else target.vector.name


def generates(binding: Binding) -> bool:
    """Return True if the database generates the keys. Raises InputError if no keys are given and it cannot."""
    target = binding.target
    if not target.key:
        if binding.ids is None and binding.number_from is None:
            return True
        raise InputError(f"{target.shown} has no primary key", "Add one in a migration, or leave the ids out.")
    has_keys = binding.ids is not None or binding.number_from is not None
    if has_keys or any(name in binding.columns.values() for name in target.key):
        return False
    if not all(target.columns[name].has_default for name in target.key):
        raise InputError(f"there are no values for the primary key of {target.shown}", _KEYS_REMEDY)
    return True


def _columns(file: str, names: Sequence[str], target: Target, options: LoadOptions) -> dict[str, str]:
    """Return the table's column for each of the file's, without the vector's and those that are left out."""
    unknown = [name for name in options.columns if names and name not in names]
    if unknown:
        raise InputError(f"{file} has no column {unknown[0]}", f"Its columns: {', '.join(names)}")
    columns: dict[str, str] = {}
    for name in names:
        into = options.columns.get(name, name)
        if name == vector_name(target, options) or not into:
            continue
        if into not in target.columns:
            raise InputError(
                f"{target.shown} has no column {into}, which is in {file}",
                f"Say where it goes: --map {name}=COLUMN; or leave it out: --map {name}=",
            )
        if target.columns[into].generated:
            raise InputError(f"the database generates the column {into}", f"Leave it out: --map {name}=")
        if into in columns.values() or into == target.vector.name:
            raise InputError(f"two columns of {file} would go into {into}", f"Leave one out: --map {name}=")
        columns[name] = into
    return columns


def _refuse_two_keys(target: Target, mapped: Collection[str]) -> None:
    if len(target.key) != 1:
        raise InputError(
            f"{target.shown} has a primary key of {len(target.key)} columns", "Its values must be in the file."
        )
    if target.key[0] in mapped:
        raise InputError(f"the file has the column {target.key[0]}, and the keys are to come from elsewhere, too")


def offsets(units: Sequence[Unit], options: LoadOptions) -> list[Unit]:
    """Return the units with the number of rows in the files before each, if keys depend on it.

    Raises InputError if a file before the last does not tell how many rows it has.
    """
    if options.ids is None and options.number_from is None:
        return list(units)
    placed: list[Unit] = []
    offset, rows = 0, 0
    for place, unit in enumerate(units):
        if place and unit.file != units[place - 1].file:
            offset += rows
        if unit.stop is None and unit.file != units[-1].file:
            raise InputError(f"only reading {unit.file} tells how many rows it has", "Load such files one by one.")
        rows = unit.stop or 0
        placed.append(replace(unit, offset=offset))
    return placed
