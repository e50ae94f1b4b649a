"""Read the contract from a file, a stack or the database, or make one for a single table from the catalog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from psycopg import errors

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError, UnreachableError
from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.migrate.contract import CONTRACT, Contract, DeclaredRecall, as_data, convert, parse
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.lock import LOCK_KEY, WAIT
from pgvector_seed.postgres.advisory import holders_pid
from pgvector_seed.postgres.catalog import parse_name
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.vectors.tables import vector_tables

STDIN = "-"
_COMMANDS = f"{in_checkout('make up, ')}pulumi up or {PROGRAM} migrate apply"
_DEPLOY = f"Deploy to it: {_COMMANDS}. Or set PGDATABASE to another database."
_APPLY = f"Apply them, which records the contract: {_COMMANDS}."
_REMEDY = "Name a contract: --contract FILE or --stack NAME. To check one table without a contract: --table NAME"


def from_file(name: str) -> Contract:
    """Return the contract in a file; "-" is standard input. Raises InputError if it cannot be read or is invalid."""
    try:
        if name == STDIN:
            return parse(sys.stdin.buffer.read() if sys.stdin else b"", "from the standard input")
        return parse(Path(name).read_bytes(), f"in {name}")
    except OSError as error:
        raise InputError(f"the contract {name!r} cannot be read: {error.strerror}", _REMEDY) from error


def from_stack(name: str, seconds: float) -> Contract:
    """Return the output ``contract`` of a stack. Raises InputError, or UnreachableError after ``seconds``."""
    code, stdout, stderr = _run_pulumi(name, seconds)
    if code != 0:
        words = " ".join((stderr or stdout).split()) or f"exit code {code} without a message"
        raise InputError(f"pulumi does not print the contract of the stack {name}: {words}", _REMEDY)
    return parse(stdout, f"of the stack {name}")


def _run_pulumi(name: str, seconds: float) -> tuple[int, str, str]:
    command = ["pulumi", "stack", "output", "contract", "--json", "--non-interactive", f"--stack={name}"]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"pulumi cannot be run: {error.strerror}", _REMEDY) from error
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise UnreachableError(f"pulumi did not answer within {seconds:.0f} s", _REMEDY) from error
    finally:
        with suppress(ProcessLookupError):  # pulumi and its plugins, also after a timeout or an interrupt
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, stdout, stderr


def from_database(connection: Connection) -> Contract:
    """Return the recorded contract. Raises InputError if the database has none, or this login may not read it."""
    try:
        ledger = read_ledger(connection)
    except errors.InsufficientPrivilege as error:
        raise InputError(f"this login may not read this database's contract: {one_line(error)}", _REMEDY) from error
    if not (ledger and ledger.contract) and (pid := holders_pid(connection, LOCK_KEY)):
        raise InputError(f"this database keeps no contract yet: server process {pid} is migrating it", WAIT)
    if ledger is None:
        raise InputError("this database keeps no contract: nothing is deployed in it", f"{_DEPLOY}\n{_REMEDY}")
    if not ledger.contract:
        fault = "this database keeps no contract: its last migrations were undone, or not all are applied"
        raise InputError(fault, f"{_APPLY}\n{_REMEDY}")
    return convert(ledger.contract, "in this database")


def from_catalog(connection: Connection, table: str, recall: DeclaredRecall | None = None) -> Contract:
    """Return a contract made from the catalog's entries of one table, with ``recall`` of each column with a metric.

    Raises InputError if the table has no vector column, or a recall is asked of one that no index gives a metric.
    """
    name = parse_name(connection, table)
    entries = [entry for entry in vector_tables(connection, name.schema) if entry["table"] == name.table]
    if not entries:
        raise InputError(
            f"the table {table} does not exist in the schema {name.schema}, or has no vector column",
            "Name the table with its schema, as in SQL: --table public.items, --table '\"My schema\".items'",
        )
    tables = [{key: value for key, value in entry.items() if key not in ("table", "owner")} for entry in entries]
    if recall is not None:
        _declare_recall(tables, recall, table)
    return convert({"contract": CONTRACT, "tables": tables}, f"made of {table}")


def _declare_recall(tables: Sequence[dict[str, Any]], recall: DeclaredRecall, name: str) -> None:
    measurable = [table for table in tables if "metric" in table]
    if not measurable:
        fault = f"the metric of {name} is unknown, so its recall cannot be measured: no one metric has an index"
        raise InputError(fault, "Build an index on the vectors, or name the metric in a contract: --contract FILE")
    for table in measurable:
        table["recall"] = as_data(recall)
