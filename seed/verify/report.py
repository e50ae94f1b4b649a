"""One verification from the contract to the report, whatever happens in between."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from postgres.connection import Connection, connect, unless_said
from postgres.errors import Error, UnreachableError, translated
from postgres.version import version
from seed.verify.checks import CHECKS
from seed.verify.contract import Contract
from seed.verify.look import Clock
from seed.verify.outcome import Report, Result, failed, skipped
from seed.verify.run import verify
from seed.verify.source import from_catalogue, from_database, from_file, from_stack


@dataclass(frozen=True)
class Question:
    """What is asked: the contract's source, of which one at most is given, and which checks.

    ``time_limit`` is in seconds.
    """

    contract: str | None
    stack: str | None
    table: str | None
    names: Sequence[str]
    time_limit: float
    strict: bool = False


def report(question: Question) -> Report:
    """The report. It is made whatever happens: what ended the run early is its ``failure``."""
    start = time.monotonic()
    clock = Clock(question.time_limit)
    results: list[Result] = []
    subject = ""
    failure: Error | None = None
    try:
        contract = _given(question)
        with connect(_conninfo(contract), any_version=True) as connection:
            subject = _subject(connection)
            with translated("reading the contract"):
                contract = contract or _found(connection, question)
            results, failure = verify(connection, contract, question.names, clock)
    except UnreachableError as error:
        failure, results = error, results or _unreached(question.names, error)
    except Error as error:
        failure = error
    return Report(results, subject, failure, question.strict, time.monotonic() - start, version())


def _given(question: Question) -> Contract | None:
    if question.contract is not None:
        return from_file(question.contract)
    return None if question.stack is None else from_stack(question.stack, question.time_limit)


def _found(connection: Connection, question: Question) -> Contract:
    return from_database(connection) if question.table is None else from_catalogue(connection, question.table)


def _conninfo(contract: Contract | None) -> str:
    """Where the contract says that the database is; the environment wins where it says otherwise."""
    given = msgspec.to_builtins(contract.connection) if contract else {}
    return unless_said({name: value for name, value in given.items() if value is not None})


def _subject(connection: Connection) -> str:
    info = connection.info
    return f"{info.dbname} on {info.host}:{info.port}"


def _unreached(names: Sequence[str], error: UnreachableError) -> list[Result]:
    """No connection is a failure of ``connect``, and leaves nothing to say of the rest."""
    outcomes = {name: skipped("after connect, which failed") for name in names}
    if "connect" in outcomes:
        outcomes["connect"] = failed("a login", error.message, error.remedy)
    return [Result(name, "", outcomes[name], 0.0) for name in CHECKS if name in outcomes]
