"""The resource of the declared indexes: its changes, from the inputs of two ups."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgvector_seed.infra import indexes
from pgvector_seed.infra.indexes import IndexesProvider


def properties(metric: str = "l2", **changes: Any) -> dict[str, Any]:
    tables = {"items": {"metric": metric, "index": [{"method": "hnsw"}]}}
    return {"conninfo": "x", "ledger": "1", "indexes": json.dumps({"schema": "public", "tables": tables}), **changes}


def test_an_index_that_waits_is_a_change() -> None:
    same = properties()
    assert IndexesProvider().diff("", same | {"waiting": {}}, same).changes is False
    assert IndexesProvider().diff("", same | {"waiting": {"i": "waits"}}, same).changes is True


def test_an_unknown_declaration_is_a_change_without_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: an Output that a preview does not know ended in a traceback."""
    lines: list[str] = []
    monkeypatch.setattr(indexes, "report", lines.append)
    assert IndexesProvider().diff("", properties(), properties(indexes=object())).changes is True
    assert lines == []
    IndexesProvider().diff("", properties(), properties("cosine"))
    assert lines == ["items: the metric l2 becomes cosine: queries by l2 will have no index of the stack"]
