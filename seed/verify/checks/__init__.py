"""The checks, in the order in which they are reported. Each is a module of its own."""

from __future__ import annotations

from seed.verify.check import Check
from seed.verify.checks import (
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
        plan,
        recall,
        statistics,
        bloat,
        roles,
    )
}
