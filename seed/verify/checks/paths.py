"""The schemas that the reader and the writer search first, in which another role could create look-alikes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgvector_seed.vectors.names import Creator, creators
from pgvector_seed.vectors.reader import Reader

from ..context import Context
from ..model import Fault
from .privileges import PUBLIC


def path_faults(context: Context, roles: Sequence[str]) -> Iterator[Fault]:
    """Yield a fault for each schema that a role searches first, and PUBLIC or another of the roles may create in."""
    for role in roles:
        others = [PUBLIC.lower(), *(other for other in roles if other != role)]
        path = Reader(role).search_path(context.connection)
        for creator in creators(context.connection, role, path, context.table.oid, others):
            yield _fault(context, role, creator)


def _fault(context: Context, role: str, creator: Creator) -> Fault:
    schema = context.quote(creator.schema)
    name, grantee = (PUBLIC, PUBLIC) if creator.role == PUBLIC.lower() else (creator.role, context.quote(creator.role))
    message = f"{name} may create in the schema {schema}, where {role} looks for names before it finds the table"
    if creator.as_owner:
        return Fault(message, f"ALTER SCHEMA {schema} OWNER TO CURRENT_USER; -- as a superuser")
    return Fault(message, f"REVOKE CREATE ON SCHEMA {schema} FROM {grantee};")
