"""One verification from the contract to the report, whatever happens in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import errors
from psycopg.conninfo import make_conninfo

from pgvector_seed.common.errors import Error, UnreachableError
from pgvector_seed.common.version import VERSION
from pgvector_seed.migrate.contract import Contract, as_data
from pgvector_seed.postgres.auth import NOT_IN_CLEAR
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.conninfo import ASKING_FOR_TLS, connect_timeout, conninfo_of_unset
from pgvector_seed.postgres.errors import one_line, translated

from .checks import CHECKS
from .context import LOCK_SECONDS
from .deadline import Clock, OutOfTimeError, stopped_answering, watched
from .model import Report, Result, failed, skipped
from .runner import reading, verify
from .source import from_catalogue, from_database, from_file, from_stack


@dataclass(frozen=True)
class Wanted:
    """What is to be verified: the contract's source, of which one at most is given, and which checks.

    ``time_limit`` is in seconds.
    """

    contract: str | None
    stack: str | None
    table: str | None
    names: Sequence[str]
    time_limit: float
    strict: bool = False


def report(wanted: Wanted) -> Report:
    """The report. It is made whatever happens: what ended the run early is its ``failure``."""
    start, clock, cut = time.monotonic(), Clock(wanted.time_limit), threading.Event()
    results: list[Result] = []
    subject = ""
    failure: Error | None = None
    try:
        contract = _given(wanted, clock)
        with connect(_conninfo(contract, clock), any_version=True) as connection, watched(connection, clock, cut):
            found = connection.info
            subject = f"{found.dbname} on {found.host}:{found.port} as {found.user}"
            with translated("reading the contract"):
                contract = contract or _found(connection, wanted, clock)
            results, failure = verify(connection, contract, wanted.names, clock)
    except OutOfTimeError as error:
        failure = UnreachableError(str(error), "Give it more: --time-limit SECONDS")
    except Error as error:
        failure = error
    failure = stopped_answering(clock) if cut.is_set() else failure
    if isinstance(failure, UnreachableError):
        results = results or _unreached(wanted.names, failure)
    return Report(results, subject, failure, wanted.strict, time.monotonic() - start, VERSION)


def _given(wanted: Wanted, clock: Clock) -> Contract | None:
    if wanted.contract is not None:
        return from_file(wanted.contract)
    return None if wanted.stack is None else from_stack(wanted.stack, clock.left)


def _found(connection: Connection, wanted: Wanted, clock: Clock) -> Contract:
    try:
        with reading(connection, clock, LOCK_SECONDS):
            return from_database(connection) if wanted.table is None else from_catalogue(connection, wanted.table)
    except (errors.LockNotAvailable, errors.QueryCanceled) as error:
        raise UnreachableError(f"the contract cannot be read now: {one_line(error)}", "Run it again later.") from error


def _conninfo(contract: Contract | None, clock: Clock) -> str:
    """Where the contract says that the database is; the environment wins where it says otherwise.

    A contract may come from somebody else: it can ask for more safety than libpq would, never for less, and the
    password is told to no server in clear because of it.
    """
    address = as_data(contract.connection) if contract else {}
    if address.get("sslmode") not in ASKING_FOR_TLS:
        address.pop("sslmode", None)
    if address.get("sslmode") != "verify-full" and {"host", "port"} & address.keys():
        address["require_auth"] = NOT_IN_CLEAR
    settings = conninfo_of_unset(address)
    return make_conninfo(settings, connect_timeout=connect_timeout(settings, clock.left))


def _unreached(names: Sequence[str], error: UnreachableError) -> list[Result]:
    """No connection is a failure of ``connect``, and leaves nothing to say of the rest."""
    outcomes = {name: skipped("after connect, which failed") for name in names}
    if "connect" in outcomes:
        outcomes["connect"] = failed("a login", error.message, error.remedy)
    return [Result(name, "", outcomes[name], 0.0) for name in CHECKS if name in outcomes]
