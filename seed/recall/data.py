"""The result of a tuning as data: for JSON, and for the statements in the text."""

from __future__ import annotations

from typing import Any

from pgvector_seed.data.target import recorded_contract
from pgvector_seed.data.tuning import Level, Subject, Tuning, remedy_of
from pgvector_seed.migrate.contract import Parameters
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.vectors.recall import Recall
from pgvector_seed.vectors.settings import alter_setting, with_library


def as_data(connection: Connection, tuning: Tuning) -> dict[str, Any]:
    """Return the result. ``right`` is true if a level is recommended, or the search is right as it is."""
    subject, recommended = tuning.subject, tuning.recommended
    column = subject.search.column
    return {
        "right": recommended is not None,
        **({} if recommended else {"error": missed(tuning), "remedy": remedy_of(subject)}),
        "table": subject.search.target.shown,
        "vector": column.name,
        "metric": column.metric,
        "index": list(subject.index.names),
        "method": subject.index.method,
        "setting": subject.index.setting,
        "k": subject.k,
        "target": subject.target,
        "queries": subject.choosing,
        "held_back": subject.confirming,
        "stored_queries": not subject.from_file,
        "levels": [_level(level) for level in tuning.levels],
        "recommended": recommended and recommended.value,
        "readerSettings": _reader_settings(connection, tuning),
        "sql": statements(connection, subject, tuning.settings),
        "note": tuning.note,
    }


def missed(tuning: Tuning) -> str:
    """Return the message if no level is recommended."""
    subject = tuning.subject
    best = max((level.measured.recall.mean for level in tuning.levels), default=0.0)
    what = (
        f"every measured value of {subject.index.setting}"
        if subject.index.setting
        else f"the index {subject.index.shown}"
    )
    return f"{what} misses the target of {subject.target:g}; the best recall is {best:.3f}"


def _level(level: Level) -> dict[str, Any]:
    measured = level.measured
    return {
        "value": level.value,
        **_recall(measured.recall),
        "worst": measured.worst,
        "p50_ms": round(measured.p50, 4),
        "p95_ms": round(measured.p95, 4),
        "p99_ms": round(measured.p99, 4),
        "queries_per_second": round(measured.queries_per_second, 1),
        "queries_with_too_few_rows": measured.short,
        "confirmed": level.confirmed and _recall(level.confirmed),
    }


def _recall(recall: Recall) -> dict[str, Any]:
    return {"recall": recall.mean, "low": recall.low, "high": recall.high}


def _reader_settings(connection: Connection, tuning: Tuning) -> Parameters:
    """Return the whole key: the settings of the level beside those that the stack has declared."""
    settings = {name: _number(value) for name, value in tuning.settings.items()}
    contract = recorded_contract(connection) if settings else None
    return {**settings, **((contract and contract.reader_settings) or {}), **settings}


def _number(value: str) -> int | str:
    return int(value) if value.isdecimal() else value


def statements(connection: Connection, subject: Subject, settings: dict[str, str]) -> list[str]:
    """Return the SQL that gives the settings to the contract's reader, or to every session of the database."""
    texts: list[str] = []
    for name, value in settings.items():
        statement = alter_setting(connection.info.dbname, subject.reader, name, value)
        texts.append(f"{statement.as_string()};" if texts else with_library(connection, name, statement))
    return texts
