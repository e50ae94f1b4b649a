"""The format of the ledger: an older one is upgraded before anything is written, a newer one is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from importlib.resources import files
from typing import TYPE_CHECKING

from psycopg import errors

from pgvector_seed.common.errors import RefusedError, WrongResultError
from pgvector_seed.common.remedies import IN_CHECKOUT, wheel_path
from pgvector_seed.common.version import VERSION
from pgvector_seed.migrate.execute import ALLOW_MORE_TIME
from pgvector_seed.migrate.ledger.model import FORMAT_COLUMN, Ledger, damaged_ledger
from pgvector_seed.migrate.session import Limits, limit_lock_waits
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.errors import one_line
from pgvector_seed.vectors.extension import is_older

if TYPE_CHECKING:
    from pgvector_seed.postgres.sessions import Progress

FORMAT = 3

# Any text may be in the ledger; one that matches can be typed into a shell.
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,5}")


def read_format(connection: Connection, columns: Collection[str]) -> int:
    """Return the number of the ledger's format. ``columns`` are those of LedgerFacts.

    Raises RefusedError if the format is newer than FORMAT, or impossible.
    """
    if not any(column.startswith("deployment format ") for column in columns):
        return 1
    row = connection.execute("SELECT format FROM pgvector_seed.deployment").fetchone()
    if row is None:
        raise damaged_ledger("a part of it is missing")
    number = row[0] if FORMAT_COLUMN in columns else None
    if number is None or number < 2:  # the first format that has the column
        raise damaged_ledger("its format is unknown")
    if number > FORMAT:
        versions = []
        if "migrations version text" in columns:
            versions = connection.execute("SELECT version FROM pgvector_seed.migrations").fetchall()
        raise _newer_format(number, [version for (version,) in versions])
    return int(number)


def _newer_format(number: int, versions: Iterable[str | None]) -> RefusedError:
    """Return the error for a newer format. ``versions`` are the versions of pgvector-seed recorded with migrations."""
    newer = VERSION
    for version in versions:
        if version and _VERSION.fullmatch(version) and is_older(newer, version):
            newer = version
    install = "git pull" if IN_CHECKOUT else f"pip install {wheel_path('VERSION' if newer == VERSION else newer)}"
    at_least = f"newer than {VERSION}" if newer == VERSION else f"at least {newer}"
    return RefusedError(
        f"the ledger has the format {number}, and this version of pgvector-seed, {VERSION}, knows {FORMAT} at most",
        f"Use the version that wrote it, {at_least}: {install}",
    )


def upgrade(connection: Connection, ledger: Ledger | None, limits: Limits, report: Progress) -> None:
    """Upgrade the ledger to FORMAT if it is older, in one transaction. The caller holds the migration lock.

    Raises WrongResultError if the ledger's tables cannot be locked within the lock timeout.
    """
    if ledger is None or ledger.format == FORMAT:
        return
    try:
        with connection.transaction():
            limit_lock_waits(connection, limits)
            create_tables(connection, after=ledger.format)
    except errors.LockNotAvailable as error:
        raise WrongResultError(f"upgrading the ledger: {one_line(error)}", ALLOW_MORE_TIME) from error
    report(f"the ledger was upgraded from format {ledger.format} to {FORMAT}, which older versions refuse")


def create_tables(connection: Connection, *, after: int = 0) -> None:
    """Create the ledger's tables, or upgrade them if they have the format ``after``."""
    steps = [files(__package__).joinpath(f"{number:04}.sql").read_bytes() for number in range(after + 1, FORMAT + 1)]
    connection.execute(b"".join(steps), prepare=False)
