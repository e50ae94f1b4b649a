"""The operator class of a metric in an access method, and pgvector's limits of dimensions."""

from __future__ import annotations

import shlex

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import did_you_mean
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.conninfo import escaped_role
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.definition import LONGEST_NAME
from pgvector_seed.vectors.index_target import IndexTarget
from pgvector_seed.vectors.metrics import OPERATORS

# Source: the sections "HNSW" and "IVFFlat" of pgvector's README. Of a sparsevec, the elements that are not zero count.
MOST_DIMENSIONS = {
    "hnsw": {"vector": 2000, "halfvec": 4000, "bit": 64_000},
    "ivfflat": {"vector": 2000, "halfvec": 4000, "bit": 64_000},
}
MOST_ELEMENTS = 1000  # of a sparsevec in an hnsw index

_CLASSES = """
SELECT n.nspname, c.opcname, o.oprname
FROM pg_opclass c
JOIN pg_namespace n ON n.oid = c.opcnamespace
JOIN pg_am m ON m.oid = c.opcmethod
JOIN pg_type t ON t.oid = c.opcintype
JOIN pg_namespace tn ON tn.oid = t.typnamespace
JOIN pg_amop s ON s.amopfamily = c.opcfamily AND s.amoppurpose = 'o' AND s.amoplefttype = c.opcintype
JOIN pg_operator o ON o.oid = s.amopopr
WHERE m.amname = %s AND t.typname = %s AND tn.nspname = %s
ORDER BY c.opcdefault DESC, c.opcname
"""
_METHODS = "SELECT amname FROM pg_am WHERE amtype = 'i' ORDER BY 1"
_MAY_BUILD = "SELECT pg_has_role((SELECT relowner FROM pg_class WHERE oid = %s), 'USAGE'), current_user::text"


def require_buildable(connection: Connection, target: IndexTarget) -> sql.Identifier:
    """Return the operator class of a declared index.

    Raises InputError if this role does not own the table, the name is too long, the method cannot order the type by
    the metric, or the column has too many dimensions.
    """
    require_owner(connection, target.table, target.definition.table, target.owner)
    if len(target.definition.name.encode()) > LONGEST_NAME:
        raise _fault(target, f"its name has more than {LONGEST_NAME} bytes", "Declare a shorter name.")
    operator_class = _operator_class(connection, target)
    _refuse_dimensions(target)
    return operator_class


def require_owner(connection: Connection, oid: int, table: str, owner: str) -> None:
    """Raise InputError if this session's role may not index the table: it is neither its owner nor a member of it."""
    ((may, role),) = query_catalog(connection, _MAY_BUILD, (oid,))
    if not may:
        options = shlex.quote(f"-c role={escaped_role(owner)}")
        raise InputError(
            f"the role {role} cannot index the table {table}: it is owned by {owner}",
            f"Connect as {owner}, or as a member of it that takes its role: PGOPTIONS={options}",
        )


def _operator_class(connection: Connection, target: IndexTarget) -> sql.Identifier:
    method, type_ = target.definition.method, target.type
    schema = "pg_catalog" if type_ == "bit" else target.extension
    classes = query_catalog(connection, _CLASSES, (method, type_, schema))
    for namespace, name, operator in classes:
        if operator == target.operator:
            return sql.Identifier(namespace, name)
    metrics = {operator: metric for metric, operator in OPERATORS.items()}
    if classes:
        orders = ", ".join(metrics.get(operator, operator) for *_, operator in classes)
        fault = f"{method} cannot order {type_} by {metrics[target.operator]}, only by {orders}"
        raise _fault(target, fault, "Declare another metric or method.")
    methods = [name for (name,) in query_catalog(connection, _METHODS)]
    if method in methods:
        raise _fault(target, f"{method} cannot order the type {type_}", "Declare another method.")
    remedy = f"Create the extension that has it, or declare one of: {', '.join(methods)}."
    raise _fault(target, f"the access method {method} does not exist{did_you_mean(method, methods)}", remedy)


def _refuse_dimensions(target: IndexTarget) -> None:
    definition, dimensions = target.definition, target.dimensions
    if dimensions is None:
        column = f"{definition.table}.{definition.column}"
        remedy = f"ALTER TABLE ... ALTER COLUMN {definition.column} TYPE {target.column.type}(DIMENSIONS)"
        raise _fault(target, f"the column {column} has no dimensions", remedy)
    if definition.bits and target.column.type not in ("vector", "halfvec"):
        raise _fault(target, f"bits are of vector or halfvec, not of {target.column.type}", "Leave out bits.")
    most = MOST_DIMENSIONS.get(definition.method, {}).get(target.type, dimensions)
    if dimensions > most:
        fault = f"{definition.method} indexes a {target.type} of at most {most:,} dimensions, and it has {dimensions:,}"
        raise _fault(target, fault, _for_more_dimensions(target, dimensions))


def _for_more_dimensions(target: IndexTarget, dimensions: int) -> str:
    limits = MOST_DIMENSIONS[target.definition.method]
    halfvec, bits = ((type_, limits[type_]) for type_ in ("halfvec", "bit"))
    if target.type == "vector" and dimensions <= halfvec[1]:
        return f"Declare as: halfvec, for up to {halfvec[1]:,}."
    if target.type in ("vector", "halfvec") and dimensions <= bits[1]:
        return f"Declare bits: true, for up to {bits[1]:,}."
    return "Use an embedding with fewer dimensions, or another access method."


def _fault(target: IndexTarget, fault: str, remedy: str) -> InputError:
    return InputError(f"the index {target.shown}: {fault}", remedy)
