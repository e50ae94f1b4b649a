"""The settings of the reader: the accepted names, the values, and their comparison as the server sees them."""

from __future__ import annotations

from typing import Any

import pytest

from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.settings import fault_of_setting, fault_of_value, is_same_value, setting_texts
from tests.conftest import ask

PLANNER = """
SELECT name FROM pg_settings
WHERE category LIKE 'Query Tuning%' OR name IN ('work_mem', 'hash_mem_multiplier', 'max_parallel_workers_per_gather')
"""


def test_exactly_the_settings_of_the_planner_are_accepted(database: str) -> None:
    """The rule has no name that another category of the server has, and lacks none of the planner's."""
    names = {name for (name,) in ask(database, "SELECT name FROM pg_settings WHERE name NOT LIKE '%.%'")}
    accepted = {name for name in names if fault_of_setting(name) is None}
    assert accepted == {name for (name,) in ask(database, PLANNER)}


def test_no_accepted_setting_of_the_server_needs_a_superuser(database: str) -> None:
    rows = ask(database, "SELECT name, context FROM pg_settings WHERE name NOT LIKE '%.%'")
    assert {context for name, context in rows if fault_of_setting(name) is None} == {"user"}


@pytest.mark.parametrize("name", ["hnsw.ef_search", "ivfflat.probes", "vchordrq.probes", "a.b.c", "work_mem"])
def test_settings_of_extensions_and_of_the_planner_are_accepted(name: str) -> None:
    assert fault_of_setting(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("role", "session_authorization", "search_path", "session_preload_libraries", "local_preload_libraries"),
        *("log_statement", "statement_timeout", "temp_tablespaces", "row_security", "nonsense", "hnsw", ".ef_search"),
        *("", "hnsw.", "hnsw.ef search", "HNSW.ef_search", "enable_seqscan; DROP", "enable_seqscan\n", 5, None),
    ],
)
def test_other_settings_are_refused(name: Any) -> None:
    """A setting that could change the identity of a session, or its code, is none of these."""
    assert "must be a setting of an extension" in str(fault_of_setting(name))


def test_the_nearest_setting_is_suggested() -> None:
    assert str(fault_of_setting("ef_search")).endswith("; did you mean hnsw.ef_search?")


@pytest.mark.parametrize(
    "value", ["", "a\0b", None, float("nan"), float("inf"), [1], {"a": 1}, pytest.param(10**400, id="10^400"), "\ud800"]
)
def test_other_values_are_refused(value: Any) -> None:
    assert "must be a number" in str(fault_of_value(value))


def test_values_as_texts() -> None:
    settings: dict[str, bool | int | float | str] = {
        "a.a": True,
        "a.b": False,
        "a.c": 100,
        "a.d": 0.5,
        "a.e": "strict_order",
    }
    assert not any(map(fault_of_value, settings.values()))
    assert list(setting_texts(settings).values()) == ["on", "off", "100", "0.5", "strict_order"]


@pytest.mark.parametrize(
    ("name", "first", "second", "same"),
    [
        ("work_mem", "64MB", "65536kB", True),
        ("work_mem", "64MB", "65536", True),
        ("work_mem", "64MB", "65MB", False),
        ("jit", "on", "TRUE", True),
        ("jit", "on", "off", False),
        ("random_page_cost", "1.10", "1.1", True),
        ("hnsw.iterative_scan", "strict_order", "STRICT_ORDER", True),
        ("hnsw.ef_search", "40", "40.0", True),
        ("hnsw.ef_search", "40", "nonsense", False),
        ("hnsw.no_such", "40", "040", False),
    ],
)
def test_values_are_compared_as_the_server_shows_them(
    database: str, name: str, first: str, second: str, same: bool
) -> None:
    with connect(database) as connection:
        before = connection.execute("SELECT current_setting('work_mem'), current_setting('jit')").fetchone()
        assert is_same_value(connection, name, first, second) is same
        assert connection.execute("SELECT current_setting('work_mem'), current_setting('jit')").fetchone() == before
