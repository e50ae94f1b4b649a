"""The output of the index commands: JSON data, or lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.migrate.index_states import DeclaredState
from pgvector_seed.migrate.indexes import BuildResult

REMOVED = f"is no longer declared: dropped by the next {PROGRAM} index build"


def states_as_data(states: Sequence[DeclaredState]) -> dict[str, Any]:
    """Return every declared index with its state. ``right`` is True if all are built as declared."""
    return {"right": all(state.is_ready for state in states), "indexes": [_entry(state) for state in states]}


def _entry(declared: DeclaredState) -> dict[str, Any]:
    definition = declared.definition
    return {
        "name": definition.name,
        "table": definition.table,
        "column": definition.column,
        "method": definition.method,
        "metric": definition.metric,
        "parameters": dict(definition.parameters),
        "as": definition.cast,
        "bits": definition.bits,
        "ready": declared.is_ready,
        "waits_for_rows": declared.missing_rows if declared.waits else 0,
        "state": declared.reason,
        "bytes": declared.state.bytes,
    }


def states_as_text(states: Sequence[DeclaredState]) -> str:
    """Return a line for each declared index, and the next command if one is not ready."""
    if not states:
        return "The stack declares no index."
    lines = [line for state in states for line in (f"{state.definition.name}  {state.reason}", f"  {_kind(state)}")]
    if any(state.state.kind == "building" for state in states):
        lines.append("Wait until it is built.")
    elif any(not (state.is_ready or state.waits) for state in states):
        lines.append(f"Next: {PROGRAM} index build")
    elif not all(state.is_ready for state in states):
        lines.append(f"Load the rows, or declare fewer; then: {PROGRAM} index build")
    return "\n".join(lines)


def _kind(declared: DeclaredState) -> str:
    """Return the declaration of an index in words."""
    definition = declared.definition
    form = f" as {definition.cast}" if definition.cast else " by bits" if definition.bits else ""
    parameters = "".join(f", {name} = {value}" for name, value in definition.parameters.items())
    return f"{definition.method} for {definition.metric} on {definition.table} ({definition.column}{form}){parameters}"


def result_as_data(result: BuildResult) -> dict[str, Any]:
    """Return the work of a build, and every declared index with its state."""
    return {"built": result.built, "dropped": result.dropped, **states_as_data(result.states)}


def result_as_text(result: BuildResult) -> str:
    """Return the work of a build in words, and the indexes that are not ready."""
    lines = [f"{name} is built" for name in result.built] + [f"{name} is dropped" for name in result.dropped]
    unready = [state for state in result.states if not state.is_ready]
    if not lines and not unready:
        ready = [state.definition.name for state in result.states]
        return f"Nothing to build: {', '.join(ready)} ready." if ready else "The stack declares no index."
    return "\n".join([*lines, *([states_as_text(unready)] if unready else [])])
