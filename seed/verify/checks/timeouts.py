"""The timeouts of the reader's sessions."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..context import Context

# A timeout that this login's sessions start with; the check has set another for itself.
_OWN_TIMEOUT = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = %s"
_NAMES = ("statement_timeout", "transaction_timeout")  # the latter from PostgreSQL 17 on
_DURATION = re.compile(r"\s*([0-9]+)\s*(us|ms|s|min|h|d)?\s*")
_MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


class Timeout(NamedTuple):
    """A setting that ends a query, and its value."""

    milliseconds: int
    name: str


def shortest_timeout(context: Context, *, is_reader: bool) -> Timeout | None:
    """Return the shortest timeout of the reader's sessions, or None. If ``is_reader``, the login is the reader."""
    settings = {} if is_reader else context.reader.settings(context.connection)
    values = {name: settings.get(name) or context.fetch_value(_OWN_TIMEOUT, name) or "0" for name in _NAMES}
    timeouts = [Timeout(_milliseconds(value), name) for name, value in values.items()]
    return min((timeout for timeout in timeouts if timeout.milliseconds), default=None)


def _milliseconds(value: str) -> int:
    """Return the value of a timeout setting in milliseconds; 0, which means none, if it cannot be parsed."""
    match = _DURATION.fullmatch(value)
    return round(int(match[1]) * _MILLISECONDS[match[2] or "ms"]) if match else 0
