"""roles: the table has its owner, its reader can read, its writer can write, and neither can do more."""

from __future__ import annotations

from collections.abc import Iterator

from ..context import Look
from ..model import AS_READER, Check, Fault, Outcome, failed_by, not_declared, passed, skipped
from .abilities import READING, WRITING, cannot_read, cannot_write
from .privileges import TableScope, excess, excess_of_public

_READER = {"TABLE": set(READING)}
_WRITER = {"TABLE": set(WRITING), "SEQUENCE": {"SELECT", "USAGE", "UPDATE"}}


def judge(look: Look) -> Outcome:
    """Judge the owner, what the roles cannot do, and what they can do beyond that."""
    roles, owner = look.contract.roles, look.table.owner
    if owner is None and roles.writer is None and roles.reader is None:
        return not_declared("an owner or roles")
    expected = ", ".join(filter(None, _expected(look)))
    reader, writer = look.existing(roles.reader), look.existing(roles.writer)
    unread = list(cannot_read(look, reader)) if reader else []
    unwritten = list(cannot_write(look, writer)) if writer else []
    faults = [*_owner(look), *unread, *unwritten, *_excess(look, reader, writer)]
    if faults:
        return failed_by(expected, faults, blocks=AS_READER if unread else frozenset())
    if writer and look.value("SELECT pg_is_in_recovery()"):
        return skipped("this server is a standby: whether the writer can write shows on the primary", expected)
    return passed("as declared", expected)


def _expected(look: Look) -> Iterator[str | None]:
    roles = look.contract.roles
    yield look.table.owner and f"owner {look.table.owner}"
    yield roles.reader and f"{roles.reader} reads and no more"
    yield roles.writer and f"{roles.writer} reads and writes and no more"


def _owner(look: Look) -> Iterator[Fault]:
    declared = look.table.owner
    if declared not in (None, look.there.owner):
        owner = look.quoted(declared or "")
        yield Fault(f"the owner is {look.there.owner}", f"ALTER TABLE {look.sql_name.as_string()} OWNER TO {owner};")


def _excess(look: Look, reader: str | None, writer: str | None) -> Iterator[Fault]:
    home = look.extension.schema if look.extension else look.name.schema
    place = TableScope(look.there.oid, look.table.owner, [look.name.schema, home])
    yield from excess_of_public(look.connection, place)
    for role in dict.fromkeys(filter(None, (reader, writer))):
        if role != look.table.owner:  # the contract itself lets it do everything
            yield from excess(look.connection, role, place, _WRITER if role == writer else _READER)


CHECK = Check(
    "roles",
    "the owner is another, the reader cannot read, the writer cannot write, or either can do more than it must",
    judge,
    after=("table",),
)
