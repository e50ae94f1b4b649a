"""Where the contract comes from: a file, the stack, the database itself, or a table's name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from psycopg import errors

from postgres.catalogue import vector_tables
from postgres.connection import Connection
from postgres.contract import CONTRACT
from postgres.errors import InputError, one_line
from postgres.ledger import read_ledger
from postgres.relation import parse_name
from seed.verify.contract import Contract, convert, parse

STDIN = "-"
_OTHERS = "Give one: --contract FILE, or --stack NAME; or check one table without any: --table NAME"


def from_file(name: str) -> Contract:
    """The contract in a file, or in the standard input."""
    if name == STDIN:
        return parse(sys.stdin.buffer.read(), "from the standard input")
    try:
        return parse(Path(name).read_bytes(), f"in {name}")
    except OSError as error:
        raise InputError(f"the contract {name} cannot be read: {error.strerror}", _OTHERS) from error


def from_stack(name: str, seconds: float) -> Contract:
    """The output ``contract`` of a stack of the project in this folder, asked for ``seconds`` at most."""
    command = ["pulumi", "stack", "output", "contract", "--json", "--non-interactive", f"--stack={name}"]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except FileNotFoundError as error:
        raise InputError("there is no pulumi on PATH to ask", _OTHERS) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"pulumi did not answer within {seconds:g} s", _OTHERS) from error
    if asked.returncode != 0:
        words = " ".join((asked.stderr or asked.stdout).split())
        raise InputError(f"pulumi does not tell the contract of the stack {name}: {words}", _OTHERS)
    return parse(asked.stdout, f"of the stack {name}")


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
