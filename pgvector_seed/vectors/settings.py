"""The settings that a stack declares for its readers: the accepted names, and how the server keeps them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from pgvector_seed.common.text import did_you_mean, fault_of_text
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.snapshot import query_catalog
from pgvector_seed.vectors.extension import find_extension
from pgvector_seed.vectors.reader import load_library

# An extension's, or the planner's (the category Query Tuning) with the memory and the workers of a query. No other: one
# could need a superuser, or change the identity of a session or the code that it runs.
_OF_EXTENSION = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+")
_OF_PLANNER = re.compile(
    r"enable_[a-z0-9_]+|geqo(_[a-z_]+)?|[a-z_]+_cost|min_parallel_(table|index)_scan_size|effective_cache_size|constraint_exclusion"
    r"|cursor_tuple_fraction|default_statistics_target|(from|join)_collapse_limit|jit|plan_cache_mode"
    r"|recursive_worktable_factor|work_mem|hash_mem_multiplier|max_parallel_workers_per_gather"
)
_SUGGESTED = (
    *(f"hnsw.{name}" for name in ("ef_search", "iterative_scan", "max_scan_tuples", "scan_mem_multiplier")),
    *(f"ivfflat.{name}" for name in ("probes", "iterative_scan", "max_probes")),
    *("work_mem", "hash_mem_multiplier", "random_page_cost", "enable_seqscan", "max_parallel_workers_per_gather"),
)
_STORED = """
SELECT lower(split_part(entry, '=', 1)), substr(entry, strpos(entry, '=') + 1)
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) AS entry
WHERE d.datname = current_database()
  AND s.setrole = CASE WHEN %(role)s IS NULL THEN 0 ELSE (SELECT oid FROM pg_roles WHERE rolname = %(role)s) END
"""


@dataclass(frozen=True)
class RoleSettings:
    """Settings by name for the sessions of a role in this database, or for all sessions in it if ``role`` is None."""

    role: str | None
    values: Mapping[str, str] = field(default_factory=dict)


def fault_of_setting(name: Any) -> str | None:
    """Return the fault of a setting's name, or None."""
    if isinstance(name, str) and (_OF_EXTENSION.fullmatch(name) or _OF_PLANNER.fullmatch(name)):
        return None
    near = did_you_mean(name, _SUGGESTED) if isinstance(name, str) else ""
    return f"must be a setting of an extension, in lower case as hnsw.ef_search, or of the planner, as work_mem{near}"


def fault_of_value(value: Any) -> str | None:
    """Return the fault of a setting's value, or None."""
    good = _is_finite(value) if isinstance(value, int | float) else fault_of_text(value) is None
    return None if good else "must be a number, true, false or a text that is not empty"


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # of an integer that no setting can have
        return False


def setting_texts(settings: Mapping[str, bool | int | float | str]) -> dict[str, str]:
    """Return each value as the text that SQL gives to the server."""
    switches = {True: "on", False: "off"}
    return {name: switches[value] if isinstance(value, bool) else str(value) for name, value in settings.items()}


def stored_settings(connection: Connection, role: str | None) -> dict[str, str]:
    """Return the settings that exactly ``RoleSettings`` of this role has in this database. A missing role has none."""
    return dict(query_catalog(connection, _STORED, {"role": role}))


def alter_setting(database: str, role: str | None, name: str, value: str | None) -> sql.Composed:
    """Return the statement that sets one setting of ``RoleSettings``, or resets it if ``value`` is None."""
    target = sql.SQL("DATABASE {}").format(sql.Identifier(database))
    if role is not None:
        target = sql.SQL("ROLE {} IN {}").format(sql.Identifier(role), target)
    setting = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
    change = sql.SQL("RESET {}").format(setting)
    if value is not None:
        change = sql.SQL("SET {} TO {}").format(setting, sql.Literal(value))
    return sql.SQL("ALTER {} {}").format(target, change)


def is_same_value(connection: Connection, name: str, first: str, second: str) -> bool:
    """Return True if both are one value of a setting, as 64MB and 65536kB are."""
    return first == second or _as_shown(connection, name, first) == _as_shown(connection, name, second)


def _as_shown(connection: Connection, name: str, value: str) -> str:
    """Return a value as the server shows it, or as it is if this session cannot set it. Changes no session."""
    try:
        with connection.transaction(force_rollback=True):
            if extension := find_extension(connection):
                load_library(connection, extension.schema)
            row = connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value)).fetchone()
            return row[0] if row else value
    except psycopg.Error:
        if connection.closed:
            raise
        return value


def with_library(connection: Connection, name: str, statement: sql.Composed) -> str:
    """Return a statement of ``alter_setting`` for psql, after one that loads pgvector's library if it may be needed.

    Without the library the server does not know pgvector's settings, and lets only a superuser store them.
    """
    extension = find_extension(connection) if "." in name else None
    load = f"SELECT '[1]'::{sql.Identifier(extension.schema, 'vector').as_string()}; " if extension else ""
    return f"{load}{statement.as_string()};"
