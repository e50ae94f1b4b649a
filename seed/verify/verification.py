"""One verification: read the contract, connect, run the checks, make the report."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgvector_seed.common.errors import Error, UnreachableError
from pgvector_seed.common.version import VERSION
from pgvector_seed.migrate.contract import Contract, DeclaredRecall, as_data
from pgvector_seed.postgres.auth import NOT_IN_CLEAR
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.conninfo import ASKING_FOR_TLS, connect_timeout, conninfo_of_unset, libpq_default
from pgvector_seed.postgres.errors import one_line, translated

from .checks import CHECKS
from .checks.trial import require_writer
from .context import LOCK_SECONDS
from .deadline import RAISE_LIMIT, Deadline, OutOfTimeError, cut_at_deadline, no_answer_error
from .execute import check_transaction
from .known import Known, read_known, with_known
from .model import AFTER_CONNECT, Report, Result, failed, skipped
from .replica import PREFER_STANDBY, catch_up, prefers_standby
from .runner import run_checks
from .source import from_catalog, from_database, from_file, from_stack

_LOGIN = "a login"
_CAUGHT_UP = "a standby that has caught up"


@dataclass(frozen=True)
class VerifyOptions:
    """The source of the contract, the checks to run, and the time limit in seconds.

    At most one of ``contract`` (a file), ``stack`` and ``table`` is set; without them, the database has the contract.
    ``recall`` is the declared recall of ``table``. ``known`` is an earlier report, whose failures are known.
    With ``try_writes`` the writer's write is tried. With ``replica`` the server must be a standby.
    """

    contract: str | None
    stack: str | None
    table: str | None
    names: Sequence[str]
    time_limit: float
    strict: bool = False
    recall: DeclaredRecall | None = None
    known: str | None = None
    try_writes: bool = False
    replica: bool = False


def make_report(options: VerifyOptions) -> Report:
    """Run the checks and return the report. An Error is not raised: it is the report's ``failure``."""
    start, deadline, cut = time.monotonic(), Deadline(options.time_limit), threading.Event()
    results: list[Result] = []
    subject, conninfo = "", ""
    failure: Error | None = None
    known: Known = {}
    waits = options.replica or prefers_standby()
    try:
        known = read_known(options.known) if options.known is not None else known
        contract = _named_contract(options, deadline)
        conninfo = _conninfo(contract, deadline, replica=options.replica)
        with connect(conninfo, any_version=True) as connection, cut_at_deadline(connection, deadline, cut):
            info = connection.info
            subject = f"{info.dbname} on {info.host}:{info.port} as {info.user}"
            if waits:
                catch_up(connection, deadline, required=options.replica)
            with translated("reading the contract"):
                contract = contract or _read_contract(connection, options, deadline)
            if options.try_writes:
                require_writer(connection, contract)
            results, failure = run_checks(connection, contract, options.names, deadline, try_writes=options.try_writes)
    except OutOfTimeError as error:
        failure = UnreachableError(str(error), RAISE_LIMIT)
    except Error as error:
        failure = error
    failure = no_answer_error(deadline) if cut.is_set() else failure
    if isinstance(failure, UnreachableError):
        results = results or unreached(options.names, failure, _CAUGHT_UP if waits else _LOGIN)
    database, server = _address(conninfo)
    report = Report(
        results,
        subject,
        failure,
        options.strict,
        time.monotonic() - start,
        VERSION,
        database=database,
        server=server,
        ended=time.time(),
    )
    return with_known(report, known, options.known) if options.known is not None else report


def _named_contract(options: VerifyOptions, deadline: Deadline) -> Contract | None:
    if options.contract is not None:
        return from_file(options.contract)
    return None if options.stack is None else from_stack(options.stack, deadline.seconds_left)


def _read_contract(connection: Connection, options: VerifyOptions, deadline: Deadline) -> Contract:
    try:
        with check_transaction(connection, deadline, LOCK_SECONDS):
            if options.table is None:
                return from_database(connection)
            return from_catalog(connection, options.table, options.recall)
    except (errors.LockNotAvailable, errors.QueryCanceled) as error:
        raise UnreachableError(f"the contract cannot be read now: {one_line(error)}", "Run it again later.") from error


def _conninfo(contract: Contract | None, deadline: Deadline, *, replica: bool) -> str:
    """Return the contract's address as conninfo, without the settings that libpq's environment has.

    The contract may come from an untrusted source. So its sslmode counts only if it asks for TLS, and no password is
    sent in clear to its address, unless the sslmode is verify-full.
    """
    address = as_data(contract.connection) if contract else {}
    if address.get("sslmode") not in ASKING_FOR_TLS:
        address.pop("sslmode", None)
    if address.get("sslmode") != "verify-full" and {"host", "port"} & address.keys():
        address["require_auth"] = NOT_IN_CLEAR
    settings = conninfo_of_unset(address)
    if replica:  # of several hosts, whatever the environment says
        settings = make_conninfo(settings, target_session_attrs=PREFER_STANDBY)
    return make_conninfo(settings, connect_timeout=connect_timeout(settings, deadline.seconds_left))


def _address(conninfo: str) -> tuple[str, str]:
    """Return the names of the database and the server to which libpq connects, also if it does not reach them."""
    settings = conninfo_to_dict(conninfo)

    def value(keyword: str) -> str:
        return str(settings.get(keyword) or libpq_default(keyword) or "")

    host = value("host") or value("hostaddr") or "local"
    return value("dbname") or value("user"), f"{host}:{value('port')}"


def unreached(names: Sequence[str], error: UnreachableError, expected: str = _LOGIN) -> list[Result]:
    """Return a failure of ``connect``, and a skip for every other named check."""
    outcomes = {name: skipped(AFTER_CONNECT) for name in names}
    if "connect" in outcomes:
        outcomes["connect"] = failed(expected, error.message, error.remedy)
    return [Result(name, None, outcomes[name], 0.0) for name in CHECKS if name in outcomes]
