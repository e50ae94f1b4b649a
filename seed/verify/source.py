"""Where the contract comes from: a file, the stack, the database itself, or a table's name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from psycopg import errors

from pgvector_seed.common.errors import InputError, UnreachableError
from pgvector_seed.migrate.contract import CONTRACT, Contract, convert, parse
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.catalog import parse_name
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.vectors.tables import vector_tables

STDIN = "-"
_OTHERS = "Give one: --contract FILE, or --stack NAME; or check one table without any: --table NAME"


def from_file(name: str) -> Contract:
    """The contract in a file, or in the standard input."""
    try:
        if name == STDIN:
            return parse(sys.stdin.buffer.read() if sys.stdin else b"", "from the standard input")
        return parse(Path(name).read_bytes(), f"in {name}")
    except OSError as error:
        raise InputError(f"the contract {name!r} cannot be read: {error.strerror}", _OTHERS) from error


def from_stack(name: str, seconds: float) -> Contract:
    """The output ``contract`` of a stack of the project in this folder, asked for ``seconds`` at most."""
    code, said, complaint = _ask_pulumi(name, seconds)
    if code != 0:
        words = " ".join((complaint or said).split()) or f"it ended with {code} and said nothing"
        raise InputError(f"pulumi does not tell the contract of the stack {name}: {words}", _OTHERS)
    return parse(said, f"of the stack {name}")


def _ask_pulumi(name: str, seconds: float) -> tuple[int, str, str]:
    command = ["pulumi", "stack", "output", "contract", "--json", "--non-interactive", f"--stack={name}"]
    try:
        asked = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"pulumi cannot be asked: {error.strerror}", _OTHERS) from error
    try:
        said, complaint = asked.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"pulumi did not answer within {seconds:.0f} s", _OTHERS) from error
    finally:
        with suppress(ProcessLookupError):  # it and its plugins, whatever ended the waiting
            os.killpg(asked.pid, signal.SIGKILL)
    return asked.returncode, said, complaint


def from_database(connection: Connection) -> Contract:
    """The contract that is kept beside the ledger."""
    try:
        ledger = read_ledger(connection)
    except errors.InsufficientPrivilege as error:
        raise InputError(f"this login may not read this database's contract: {one_line(error)}", _OTHERS) from error
    if ledger is None or not ledger.contract:
        raise InputError("this database keeps no contract", _OTHERS)
    return convert(ledger.contract, "in this database")


def from_catalogue(connection: Connection, table: str) -> Contract:
    """What the catalogue says of one table, as a contract: what can be wrong even so is checked."""
    name = parse_name(connection, table)
    entries = [entry for entry in vector_tables(connection, name.schema) if entry["table"] == name.table]
    if not entries:
        raise InputError(
            f"there is no table {table} with vectors in the schema {name.schema}",
            "Name it with its schema, as in SQL: --table public.items, --table '\"My schema\".items'",
        )
    # Its owner is whoever it is: nobody has declared one.
    tables = [{key: value for key, value in entry.items() if key not in ("table", "owner")} for entry in entries]
    return convert({"contract": CONTRACT, "tables": tables}, f"made of {table}")
