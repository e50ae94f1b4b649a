"""The check table: the table exists, is an ordinary or a partitioned one without children, and survives a crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.postgres.catalog import Relation
from pgvector_seed.vectors.names import other_relation
from pgvector_seed.vectors.tables import Leaf

from ..context import Context
from ..model import Check, Fault, Outcome, failed, failed_with, passed

_KINDS = {"r": "a table", "p": "a partitioned table", "v": "a view", "m": "a materialized view", "f": "a foreign table"}
_KINDS_OF_TABLES = ("r", "p")
_EXPECTED = "a table or a partitioned table that survives a crash"
SEE_MIGRATIONS = f"To see the applied migrations: {PROGRAM} migrate status"


class _Other(NamedTuple):
    """A relation that is found instead of the table, and whether that is a fault for sure."""

    is_fault: bool
    message: str
    remedy: str


def run(context: Context) -> Outcome:
    """Compare the kind of the relation with a table's, then check its partitions and children."""
    relation = context.relation
    if relation is None:
        return failed(_EXPECTED, "the table does not exist", SEE_MIGRATIONS)
    if relation.kind not in _KINDS_OF_TABLES:
        return failed(_EXPECTED, _KINDS[relation.kind], "Fix the contract, or create a table in a migration.")
    faults = [*_faults(context.leaves), *_children(context, relation)]
    if faults:
        return failed_with(_EXPECTED, faults)
    actual = _KINDS[relation.kind]
    other = _other_relation(context, relation)
    if other is not None and other.is_fault:
        return failed(_EXPECTED, other.message, other.remedy, blocks=frozenset())
    partitions = f" with {len(context.leaves)} partitions" if relation.kind == "p" else ""
    chunks = f", and {relation.chunks:,} tables of an extension inherit from it" if relation.chunks else ""
    return passed(actual + partitions + chunks + (f"; {other.message}" if other else ""), _EXPECTED)


def _faults(leaves: Sequence[Leaf]) -> Iterator[Fault]:
    for leaf in leaves:
        if leaf.persistence == "u":
            yield Fault(f"{leaf.name} is unlogged: a crash empties it", f"ALTER TABLE {leaf.name} SET LOGGED;")
        if leaf.persistence == "t":
            yield Fault(f"{leaf.name} is temporary", "Create an ordinary table in a migration.")
        if leaf.kind == "f":
            yield Fault(f"{leaf.name} is a foreign table", "Move its rows to a partition in this database.")


def _other_relation(context: Context, relation: Relation) -> _Other | None:
    """Return the relation that the plain name finds before the table. A view may be one of the table: no fault."""
    connection = context.connection
    role = context.reader.name or connection.info.user
    other = other_relation(connection, role, context.reader_path, context.name, relation.oid)
    if other is None:
        return None
    name, kind = other
    message = f"the plain name of it finds {_KINDS.get(kind, 'a relation')} first for {role}: {name}"
    remedy = f"Rename {name}, or put the schema of the table before it in the search_path of {role}."
    return _Other(kind != "v", message, remedy)


def _children(context: Context, relation: Relation) -> Iterator[Fault]:
    """Yield a fault for each child by inheritance: a query of the table returns its rows, too."""
    for child in relation.children:
        remedy = f"ALTER TABLE {child} NO INHERIT {context.sql_name.as_string()};"
        yield Fault(f"{child} inherits from it, and neither the key nor the index covers the rows there", remedy)


CHECK = Check(
    "table",
    "the table is missing, a crash would empty it, another table inherits from it or is found first by its plain "
    "name, or it is not an ordinary or partitioned one",
    run,
)
