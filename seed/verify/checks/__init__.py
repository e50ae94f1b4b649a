"""The checks, a module each, in an order in which what a check is built on comes before it."""

from __future__ import annotations

from ..model import Check
from . import (
    bloat,
    column,
    connect,
    extension,
    index,
    ledger,
    plan,
    recall,
    roles,
    rows,
    sequence,
    statistics,
    table,
    tls,
    vectors,
)

CHECKS: dict[str, Check] = {
    module.CHECK.name: module.CHECK
    for module in (
        connect,
        tls,
        extension,
        ledger,
        table,
        column,
        rows,
        vectors,
        sequence,
        index,
        roles,
        plan,
        recall,
        statistics,
        bloat,
    )
}
