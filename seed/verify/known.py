"""The failures in an earlier report, which a later run tells and does not fail by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import InputError

from .model import Report, Result, Status

_REMEDY = f"Make one: {PROGRAM} verify --format json --output FILE"
_SEVERITY = {Status.FAIL: 2, Status.SKIP: 1}


class _Check(msgspec.Struct, frozen=True):
    """A check in the report. A report of before the key ``column`` has none."""

    name: str
    table: str | None
    status: Status
    message: str = msgspec.field(name="found")
    column: str | None = None


class _Document(msgspec.Struct, frozen=True):
    """The keys of a report that tell its failures."""

    version: Literal[1]
    error: str | None
    checks: tuple[_Check, ...]


class _Identity(NamedTuple):
    """A check of a table and its vector column. The message is no part of it: a count in it may change every hour."""

    name: str
    table: str | None
    column: str | None


Known = Mapping[_Identity, _Check]


def read_known(name: str) -> Known:
    """Return the failures and the skips in a report of ``--format json``.

    Raises InputError if it cannot be read, is no such report, or is one of a run that ended early.
    """
    try:
        document = msgspec.json.decode(Path(name).read_bytes(), type=_Document)
    except OSError as error:
        raise InputError(f"the report {name!r} cannot be read: {error.strerror}", _REMEDY) from error
    except ValueError as error:  # a bad encoding, too
        raise InputError(f"{name!r} is not a report of verify in JSON: {error}", _REMEDY) from error
    if document.error is not None:
        raise InputError(f"the run of the report {name!r} ended early: {document.error}", _REMEDY)
    # Of two entries for one check, as of a contract that names a column twice, the worse one counts.
    checks = sorted(document.checks, key=lambda check: _SEVERITY.get(check.status, 0))
    return {_Identity(check.name, check.table, check.column): check for check in checks if check.status in _SEVERITY}


def with_known(report: Report, known: Known, file: str) -> Report:
    """Return the report with the earlier message of each result that failed in ``known``, the content of ``file``.

    A skip is known if it was a skip or a failure there.
    """
    return replace(report, results=[_with_known(result, known) for result in report.results], known_file=file)


def _with_known(result: Result, known: Known) -> Result:
    earlier = known.get(_Identity(result.name, result.table, result.column))
    if earlier is None:
        return result
    was_only_skipped = earlier.status is Status.SKIP and result.outcome.status is not Status.SKIP
    return result if was_only_skipped else replace(result, known=earlier.message)
