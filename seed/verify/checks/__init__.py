"""The checks, one in each module, in the order in which they run: a check comes after those that it depends on."""

from __future__ import annotations

from importlib import import_module

from ..model import Check

_DATABASE = ("connect", "tls", "extension", "ledger")
_TABLE = ("table", "column", "rows", "vectors", "sequence", "index", "roles", "plan", "recall", "statistics", "bloat")

CHECKS: dict[str, Check] = {name: import_module(f".{name}", __package__).CHECK for name in (*_DATABASE, *_TABLE)}
