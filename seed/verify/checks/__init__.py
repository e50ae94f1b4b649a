"""The checks, one in each module, in the order in which they run: a check comes after those that it depends on."""

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
