"""index: each declared one is there, complete, and serves the column and the metric."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from psycopg import sql

from postgres.metrics import INDEX_DEFAULTS, OPERATORS
from seed.verify.check import Check
from seed.verify.contract import Index
from seed.verify.look import Look
from seed.verify.outcome import AS_READER, Fault, Outcome, failed_by, not_declared, passed, skipped

# An index with the indexes of its partitions. What orders by it is the operator class's, whatever its name.
_INDEXES = """
SELECT pg_catalog.format('%%I.%%I', n.nspname, x.relname), i.indrelid, m.amname, i.indisvalid, i.indisready,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid),
       pg_catalog.array_to_string(ARRAY(
         SELECT CASE WHEN key = 0 THEN 'an expression' ELSE a.attname END
         FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS keys (key, place)
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = key ORDER BY place), ', '),
       ARRAY(SELECT o.oprname
             FROM pg_catalog.pg_opclass c
             JOIN pg_catalog.pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o'
             JOIN pg_catalog.pg_operator o ON o.oid = s.amopopr
             WHERE c.oid = i.indclass[0]),
       ARRAY(SELECT pg_catalog.format('%%s=%%s', option_name, option_value)
             FROM pg_catalog.pg_options_to_table(x.reloptions))
FROM pg_catalog.pg_class root
JOIN pg_catalog.pg_namespace r ON r.oid = root.relnamespace AND r.nspname = %s
JOIN LATERAL (SELECT root.oid AS relid UNION SELECT relid FROM pg_catalog.pg_partition_tree(root.oid)) AS tree ON true
JOIN pg_catalog.pg_class x ON x.oid = tree.relid
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
JOIN pg_catalog.pg_index i ON i.indexrelid = x.oid
JOIN pg_catalog.pg_am m ON m.oid = x.relam
WHERE root.relname = %s AND root.relkind IN ('i', 'I')
ORDER BY x.oid <> root.oid, 1
"""


class _Found(NamedTuple):
    name: str
    table: int
    method: str
    valid: bool
    ready: bool
    predicate: str | None
    columns: str
    operators: list[str]
    options: list[str]

    @property
    def parameters(self) -> dict[str, str]:
        """What it is built with, the method's defaults where it does not say."""
        said = dict(option.split("=", 1) for option in self.options)
        return {key: str(value) for key, value in INDEX_DEFAULTS.get(self.method, {}).items()} | said


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


def _words(index: Index, metric: str | None) -> str:
    parameters = ", ".join(f"{name} = {value}" for name, value in (index.parameters or {}).items())
    words = [index.name, index.method, metric and f"for {metric}", parameters and f"with {parameters}"]
    return " ".join(filter(None, words))


def _faults(look: Look, index: Index) -> Iterator[_IndexFault]:
    found = [_Found(*row) for row in look.connection.execute(_INDEXES, (look.name.schema, index.name))]
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


def _differences(look: Look, index: Index, found: _Found) -> Iterator[tuple[str, bool]]:
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


def _reindex(found: _Found) -> str:
    return f"REINDEX INDEX CONCURRENTLY {found.name};"


def _replace(look: Look, index: Index) -> str:
    drop = sql.SQL("DROP INDEX {};").format(sql.Identifier(look.name.schema, index.name)).as_string()
    return f"{drop}\n{_create(look, index)}"


def _create(look: Look, index: Index) -> str:
    """What to type. Where the table is partitioned, an index can't be built concurrently in one statement."""
    table = look.table
    kind = table.type or (look.vector.type if look.vector else "vector")
    defaults: dict[str, Any] = dict(INDEX_DEFAULTS.get(index.method or "hnsw", {}))
    parameters = {**defaults, **(index.parameters or {})}
    create = sql.SQL("CREATE INDEX {concurrently}{name} ON {table} USING {method} ({column} {ops}) WITH ({with_});")
    return create.format(
        concurrently=sql.SQL("CONCURRENTLY " if look.there.kind == "r" else ""),
        name=sql.Identifier(index.name),
        table=look.sql_name,
        method=sql.Identifier(index.method or "hnsw"),
        column=sql.Identifier(table.vector or "embedding"),
        ops=sql.Identifier(f"{kind}_{table.metric or 'l2'}_ops"),
        with_=sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in parameters.items()
        ),
    ).as_string()


CHECK = Check(
    "index",
    "it is absent, invalid, not ready, of another column, metric, method or parameters, or covers only a part",
    judge,
    after=("extension", "table"),
)
