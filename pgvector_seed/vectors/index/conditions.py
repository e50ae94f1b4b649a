"""The operator class of a metric in an access method, and pgvector's limits of dimensions."""

from __future__ import annotations

import shlex

from psycopg import sql

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.conninfo import escaped_role
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.index.definition import LONGEST_NAME
from pgvector_seed.vectors.index.limits import operator_class
from pgvector_seed.vectors.index.target import IndexTarget

MOST_ELEMENTS = 1000  # not zero, of a sparsevec in an hnsw index: the section "Sparse Vectors" of pgvector's README
_MAY_BUILD = "SELECT pg_has_role((SELECT relowner FROM pg_class WHERE oid = %s), 'USAGE'), current_user::text"


def require_buildable(connection: Connection, target: IndexTarget) -> sql.Identifier:
    """Return the operator class of a declared index.

    Raises InputError if this role does not own the table, the name is too long, the method cannot order the type by
    the metric, or the column has too many dimensions.
    """
    require_owner(connection, target.table, target.definition.table, target.owner)
    if len(target.definition.name.encode()) > LONGEST_NAME:
        raise _fault(target, f"its name has more than {LONGEST_NAME} bytes", "Declare a shorter name.")
    if target.definition.bits and target.column.type not in ("vector", "halfvec"):
        raise _fault(target, f"bits are of vector or halfvec, not of {target.column.type}", "Leave out bits.")
    if target.dimensions is None:
        column = f"{target.definition.table}.{target.definition.column}"
        remedy = f"ALTER TABLE ... ALTER COLUMN {target.definition.column} TYPE {target.column.type}(DIMENSIONS)"
        raise _fault(target, f"the column {column} has no dimensions", remedy)
    try:
        names = operator_class(connection, target.definition, target.column.type, target.dimensions)
    except InputError as error:
        raise _fault(target, error.message, error.remedy) from error
    return sql.Identifier(*names)


def require_owner(connection: Connection, oid: int, table: str, owner: str) -> None:
    """Raise InputError if this session's role may not index the table: it is neither its owner nor a member of it."""
    ((may, role),) = query_catalog(connection, _MAY_BUILD, (oid,))
    if not may:
        options = shlex.quote(f"-c role={escaped_role(owner)}")
        raise InputError(
            f"the role {role} cannot index the table {table}: it is owned by {owner}",
            f"Connect as {owner}, or as a member of it that takes its role: PGOPTIONS={options}",
        )


def _fault(target: IndexTarget, fault: str, remedy: str) -> InputError:
    return InputError(f"the index {target.shown}: {fault}", remedy)
