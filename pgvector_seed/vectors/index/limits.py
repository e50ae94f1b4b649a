"""The limits of an index: the operator classes of its access method, and the most dimensions of pgvector's own."""

from __future__ import annotations

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import EXTENSION
from pgvector_seed.vectors.index.definition import IndexDefinition, indexed_type
from pgvector_seed.vectors.metrics import OPERATORS, metric_of

# By method and type of the indexed expression. Source: the sections "HNSW" and "IVFFlat" of pgvector's README. That of
# sparsevec, 1,000 elements that are not zero, depends on the rows.
_DIMENSIONS = {method: {"vector": 2_000, "halfvec": 4_000, "bit": 64_000} for method in ("hnsw", "ivfflat")}
_CLASSES = """
SELECT m.amname, o.oprname, n.nspname, c.opcname
FROM pg_opclass c
JOIN pg_namespace n ON n.oid = c.opcnamespace
JOIN pg_am m ON m.oid = c.opcmethod
JOIN pg_type t ON t.oid = c.opcintype
JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoplefttype = c.opcintype AND s.amoppurpose = 'o'
JOIN pg_operator o ON o.oid = s.amopopr
LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
LEFT JOIN pg_extension e ON e.oid = d.refobjid
WHERE t.typname = %s AND (t.oid = 'bit'::regtype OR e.extname = %s) AND o.oprname = ANY (%s)
ORDER BY 1, 2, 3, 4
"""
_METHODS = "SELECT amname FROM pg_am WHERE amtype = 'i'"


def operator_class(connection: Connection, definition: IndexDefinition, type_: str, dimensions: int) -> tuple[str, str]:
    """Return schema and name of the operator class that an index needs. ``type_`` and ``dimensions`` are the column's.

    Raises InputError, with an index that is possible, if the access method has no such operator class, or does not
    take as many dimensions.
    """
    indexed = indexed_type(type_, cast=definition.cast, bits=definition.bits)
    _refuse_dimensions(definition.method, indexed, type_, dimensions)
    metric = "hamming" if definition.bits else definition.metric
    rows = query_catalog(connection, _CLASSES, (indexed, EXTENSION, list(OPERATORS.values())))
    classes = {(method, metric_of(operator)): (schema, name) for method, operator, schema, name in rows}
    methods = [name for (name,) in query_catalog(connection, _METHODS)]
    if definition.method not in methods:
        raise InputError(
            f"the access method {definition.method} does not exist{did_you_mean(definition.method, methods)}",
            "Create the extension that has it, or use another method.",
        )
    if (definition.method, metric) not in classes:
        raise InputError(
            f"the access method {definition.method} has no operator class for {metric} on {indexed}",
            _other(definition.method, metric, indexed, set(classes)),
        )
    return classes[definition.method, metric]


def _refuse_dimensions(method: str, indexed: str, type_: str, dimensions: int) -> None:
    limits = _DIMENSIONS.get(method, {})
    if dimensions <= limits.get(indexed, dimensions):
        return
    others = [
        f"{key} ({limits[other]:,})"
        for key, other in (("as: halfvec", "halfvec"), ("bits: true", "bit"))
        if type_ in ("vector", "halfvec") and limits[indexed] < limits[other] and dimensions <= limits[other]
    ]
    raise InputError(
        f"{method} takes at most {limits[indexed]:,} dimensions of {indexed}, and the column has {dimensions:,}",
        f"Use an index with {' or '.join(others)}." if others else "Use vectors of fewer dimensions.",
    )


def _other(method: str, metric: str, indexed: str, classes: set[tuple[str, str]]) -> str:
    """Return the remedy: the methods for the metric, or the metrics for the type."""
    if methods := " or ".join(sorted(name for name, served in classes if served == metric)):
        return f"Use the method {methods}."
    metrics = sorted({served for name, served in classes if name == method} or {served for _, served in classes})
    return f"An index on {indexed} serves {', '.join(metrics)}."
