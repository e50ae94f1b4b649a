"""index: each declared one is there, complete, and serves the column and the metric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg import sql

from pgvector_seed.migrate.contract import DeclaredIndex
from pgvector_seed.vectors.indexes import VectorIndex, create_index, indexes_named
from pgvector_seed.vectors.metrics import OPERATORS

from ..context import Look
from ..model import AS_READER, Check, Fault, Outcome, failed_by, not_declared, passed, skipped


class _IndexFault(NamedTuple):
    """``useless``: no reader's query can be served by such an index."""

    what: str
    remedy: str
    useless: bool


def judge(look: Look) -> Outcome:
    """Judge each declared index, with those of the partitions."""
    indexes = look.table.indexes
    if not indexes:
        return not_declared("an index")
    if look.table.vector is not None and look.vector is None:
        return skipped(f"after column: there is no column {look.table.vector}")
    expected = ", ".join(_words(index, look.table.metric) for index in indexes)
    faults = [fault for index in indexes for fault in _faults(look, index)]
    if not faults:
        return passed(f"{len(indexes)} valid and of use" if len(indexes) > 1 else "valid and of use", expected)
    useless = any(fault.useless for fault in faults)
    plain = [Fault(fault.what, fault.remedy) for fault in faults]
    return failed_by(expected, plain, blocks=AS_READER if useless else frozenset())


def _words(index: DeclaredIndex, metric: str | None) -> str:
    parameters = ", ".join(f"{name} = {value}" for name, value in (index.parameters or {}).items())
    words = [index.name, index.method, metric and f"for {metric}", parameters and f"with {parameters}"]
    return " ".join(filter(None, words))


def _faults(look: Look, index: DeclaredIndex) -> Iterator[_IndexFault]:
    found = indexes_named(look.connection, look.name.schema, index.name)
    if not found or found[0].table != look.there.oid:
        create = _create(look, index)
        if not found:
            yield _IndexFault(f"there is no index {index.name}", create, useless=True)
        else:
            rename = f"ALTER INDEX {found[0].name} RENAME TO {look.quoted(index.name + '_of_another')};"
            yield _IndexFault(f"another table has the index {index.name}", f"{rename}\n{create}", useless=True)
        return
    for one in found:
        for what, useless in _differences(look, index, one):
            remedy = _reindex(one) if not (one.valid and one.ready) and len(found) == 1 else _replace(look, index)
            yield _IndexFault(f"{one.name} {what}", remedy, useless)


def _differences(look: Look, index: DeclaredIndex, found: VectorIndex) -> Iterator[tuple[str, bool]]:
    if not found.ready:
        yield "is not ready: its build was interrupted", True
    elif not found.valid:
        yield "is not valid: its build was interrupted, or a partition lacks it", True
    if found.predicate:
        yield f"covers only rows where {found.predicate}", True
    if found.columns != look.table.vector and look.table.vector is not None:
        yield f"is on {found.columns}", True
    elif look.table.metric is not None and OPERATORS[look.table.metric] not in found.operators:
        yield f"serves {' '.join(found.operators) or 'no distance'}, not {OPERATORS[look.table.metric]}", True
    if index.method not in (None, found.method):
        yield f"is {found.method}", False
        return  # its parameters are others then
    has = found.parameters
    for name, value in (index.parameters or {}).items():
        if has.get(name) != str(value):
            yield f"has {name} = {has.get(name, 'nothing')}", False


def _reindex(found: VectorIndex) -> str:
    return f"REINDEX INDEX CONCURRENTLY {found.name};"


def _replace(look: Look, index: DeclaredIndex) -> str:
    drop = sql.SQL("DROP INDEX {};").format(sql.Identifier(look.name.schema, index.name)).as_string()
    return f"{drop}\n{_create(look, index)}"


def _create(look: Look, index: DeclaredIndex) -> str:
    table = look.table
    kind = table.type or (look.vector.type if look.vector else "vector")
    return create_index(
        index.name,
        look.sql_name,
        table.vector or "embedding",
        f"{kind}_{table.metric or 'l2'}_ops",
        method=index.method or "hnsw",
        parameters=index.parameters or {},
        concurrently=look.there.kind == "r",
    ).as_string()


CHECK = Check(
    "index",
    "it is absent, invalid, not ready, of another column, metric, method or parameters, or covers only a part",
    judge,
    after=("extension", "table"),
)
