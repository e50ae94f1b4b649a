"""The check roles: the declared owner, the rights that the reader and the writer need and no more, the settings."""

from __future__ import annotations

from collections.abc import Iterator

from pgvector_seed.vectors.settings import alter_setting, is_same_value, setting_texts, with_library

from ..context import Context
from ..model import READER_CHECKS, Check, Fault, Outcome, failed_with, not_declared, passed, skipped
from .abilities import READ_COMMANDS, WRITE_COMMANDS, read_faults, write_faults
from .asking import Asked, ask
from .belongings import find_belongings
from .paths import path_faults
from .policies import RowSecurity, row_security
from .privileges import PUBLIC, role_excess
from .refused import refusal_faults
from .rules import rule_faults, triggers
from .trial import try_writes

_READER = {"TABLE": set(READ_COMMANDS)}
_WRITER = {"TABLE": set(WRITE_COMMANDS), "WAY": set(WRITE_COMMANDS), "SEQUENCE": {"SELECT", "USAGE", "UPDATE"}}


def run(context: Context) -> Outcome:
    """Compare the owner and the reader's settings; look for missing rights of the roles, and for needless ones."""
    roles, owner = context.contract.roles, context.declared.owner
    if not (owner or roles.writer or roles.reader or context.contract.reader_settings):
        return not_declared("an owner, roles or settings")
    expected = ", ".join(filter(None, _expected(context)))
    reader, writer = context.existing_role(roles.reader), context.existing_role(roles.writer)
    reading = list(read_faults(context, reader)) if reader else []
    writing: list[Fault] = []
    if writer:
        writing += [*write_faults(context, writer), *rule_faults(context), *refusal_faults(context, writer)]
    notes = []
    for role, commands, role_faults in ((reader, READ_COMMANDS, reading), (writer, WRITE_COMMANDS, writing)):
        rows = row_security(context, role, commands) if role else RowSecurity([], [])
        role_faults += rows.faults
        notes += [f"for {role} undecided: the policy {name}" for name in rows.undecided]
    trial = context.trial
    writing += trial.faults if trial else []
    notes += [f"the write of {writer} was not tried: {trial.reason}"] if trial and trial.reason else []
    if writer and (trial is None or trial.reason):
        notes += [f"not tried: the trigger {name}" for name in triggers(context)]
    asked = ask(context, reader) if reader and not reading else Asked()
    reading += [asked.fault] if asked.fault else []
    notes += [asked.note] if asked.note else []
    faults = [*_owner(context), *reading, *writing, *_excess(context, reader, writer), *_settings(context)]
    if faults:
        return failed_with(expected, faults, blocks=READER_CHECKS if reading else frozenset())
    if writer and context.fetch_value("SELECT pg_is_in_recovery()"):
        return skipped("this server is a standby: check on the primary that the writer can write", expected)
    return passed("; ".join(["as declared", *notes]), expected)


def prepare(context: Context) -> None:
    """Try the writer's write, if that was asked for."""
    if context.try_writes and context.contract.roles.writer is not None:
        context.trial = try_writes(context, context.contract.roles.writer)


def _expected(context: Context) -> Iterator[str | None]:
    roles = context.contract.roles
    yield context.declared.owner and f"owner {context.declared.owner}"
    yield roles.reader and f"{roles.reader} reads and no more"
    yield roles.writer and f"{roles.writer} reads and writes and no more"
    for name, value in setting_texts(context.contract.reader_settings or {}).items():
        yield f"{name} = {value} for {roles.reader or 'all sessions'}"


def _owner(context: Context) -> Iterator[Fault]:
    declared = context.declared.owner
    if declared not in (None, context.table.owner):
        table, owner = context.sql_name.as_string(), context.quote(declared or "")
        yield Fault(f"the owner is {context.table.owner}", f"ALTER TABLE {table} OWNER TO {owner};")


def _excess(context: Context, reader: str | None, writer: str | None) -> Iterator[Fault]:
    declared, database = context.declared.owner, context.connection.info.dbname
    roles = [role for role in dict.fromkeys((reader, writer)) if role and role != declared]  # the owner may do all
    belongings = find_belongings(context.connection, context.table.oid, roles)
    yield from role_excess(belongings, PUBLIC, declared, database, {})
    yield from path_faults(context, roles)
    for role in roles:
        yield from role_excess(belongings, role, declared, database, _WRITER if role == writer else _READER)


def _settings(context: Context) -> Iterator[Fault]:
    role = context.contract.roles.reader
    if role is not None and context.reader.name is None:  # it does not exist
        return
    connection, actual = context.connection, context.reader.settings(context.connection)
    for name, value in setting_texts(context.contract.reader_settings or {}).items():
        if name in actual and is_same_value(connection, name, actual[name], value):
            continue
        who = role or "all sessions"
        fault = f"{name} is {actual[name]} for {who}" if name in actual else f"{name} is not set for {who}"
        statement = alter_setting(connection.info.dbname, role, name, value)
        yield Fault(f"{fault}, {value} is declared", with_library(connection, name, statement))


CHECK = Check(
    "roles",
    "the table has another owner, the reader cannot read, the writer cannot write, either has needless rights, or a "
    "declared setting of the reader is missing or has another value",
    run,
    after=("table",),
    prepare=prepare,
)
