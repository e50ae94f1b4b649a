"""The check roles: the declared owner owns the table, reader and writer have the rights they need, and no more."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Context
from ..model import READER_CHECKS, Check, Fault, Outcome, failed_with, not_declared, passed, skipped
from .abilities import READ_COMMANDS, WRITE_COMMANDS, read_faults, write_faults
from .privileges import TableScope, public_excess, role_excess

_READER = {"TABLE": set(READ_COMMANDS)}
_WRITER = {"TABLE": set(WRITE_COMMANDS), "SEQUENCE": {"SELECT", "USAGE", "UPDATE"}}


def run(context: Context) -> Outcome:
    """Compare the owner, then look for missing rights of the roles, and for rights beyond the needed ones."""
    roles, owner = context.contract.roles, context.declared.owner
    if owner is None and roles.writer is None and roles.reader is None:
        return not_declared("an owner or roles")
    expected = ", ".join(filter(None, _expected(context)))
    reader, writer = context.existing_role(roles.reader), context.existing_role(roles.writer)
    reading = list(read_faults(context, reader)) if reader else []
    writing = list(write_faults(context, writer)) if writer else []
    faults = [*_owner(context), *reading, *writing, *_excess(context, reader, writer)]
    if faults:
        return failed_with(expected, faults, blocks=READER_CHECKS if reading else frozenset())
    if writer and context.fetch_value("SELECT pg_is_in_recovery()"):
        return skipped("this server is a standby: check on the primary that the writer can write", expected)
    return passed("as declared", expected)


def _expected(context: Context) -> Iterator[str | None]:
    roles = context.contract.roles
    yield context.declared.owner and f"owner {context.declared.owner}"
    yield roles.reader and f"{roles.reader} reads and no more"
    yield roles.writer and f"{roles.writer} reads and writes and no more"


def _owner(context: Context) -> Iterator[Fault]:
    declared = context.declared.owner
    if declared not in (None, context.table.owner):
        table, owner = context.sql_name.as_string(), context.quote(declared or "")
        yield Fault(f"the owner is {context.table.owner}", f"ALTER TABLE {table} OWNER TO {owner};")


def _excess(context: Context, reader: str | None, writer: str | None) -> Iterator[Fault]:
    extension_schema = context.extension.schema if context.extension else context.name.schema
    scope = TableScope(context.table.oid, context.declared.owner, [context.name.schema, extension_schema])
    yield from public_excess(context.connection, scope)
    for role in dict.fromkeys(filter(None, (reader, writer))):
        if role != context.declared.owner:  # the owner may do everything
            yield from role_excess(context.connection, role, scope, _WRITER if role == writer else _READER)


CHECK = Check(
    "roles",
    "the table has another owner, the reader cannot read, the writer cannot write, or either has needless rights",
    run,
    after=("table",),
)
