"""How plans, the ledger and findings are shown: data for programs, lines for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.files import Migration, checksums
from pgvector_seed.migrate.ledger.model import AppliedMigration, Ledger
from pgvector_seed.migrate.plan import NO_DOWN, plan
from pgvector_seed.migrate.runner import Preview


def plan_as_data(found: Preview, irreversible: Collection[str]) -> dict[str, Any]:
    """What ``apply`` would do, in the order in which it would. ``irreversible`` has the ids without a down."""
    undo = [{"id": id_, "direction": "down", "reversible": True} for id_ in found.plan.undo]
    apply = [{"id": id_, "direction": "up", "reversible": id_ not in irreversible} for id_ in found.plan.apply]
    return {
        "ledger": found.ledger.id if found.ledger else None,
        "steps": [*undo, *apply],
        "edited_downs": found.edited_downs,
        "declaration_changes": found.declaration_changes,
    }


def plan_as_text(found: Preview, irreversible: Collection[str]) -> str:
    """A line for each step."""
    lines = found.plan.lines(irreversible)
    lines += [f"{id_} has another down, to be recorded" for id_ in found.edited_downs]
    if found.declaration_changes:
        lines.append("the contract to be recorded")
    if found.ledger and found.ledger.unfinished:
        lines.append(f"{found.ledger.unfinished['file']} was begun and is not recorded as done")
    return "\n".join(lines or ["Nothing to do: the database has every migration."])


def status_as_data(migrations: Sequence[Migration], ledger: Ledger | None) -> dict[str, Any]:
    """Every migration with its state: applied, pending, changed (the file), unknown (to the files)."""
    files = checksums(migrations)
    applied = ledger.migrations if ledger else {}
    refused = _refusal(files, ledger)
    return {
        "ledger": ledger.id if ledger else None,
        "schema": ledger.declaration.schema if ledger else None,
        "right": refused is None,
        "error": refused.message if refused else None,
        "remedy": refused.remedy if refused else None,
        "unfinished": ledger.unfinished.get("file") if ledger else None,
        "migrations": [_entry(id_, files.get(id_), applied.get(id_)) for id_ in sorted(files.keys() | applied.keys())],
    }


def _refusal(files: dict[str, str], ledger: Ledger | None) -> RefusedError | None:
    try:
        plan(files, ledger.checksums if ledger else {})
    except RefusedError as refused:
        return refused
    return None


def _entry(id_: str, checksum: str | None, applied: AppliedMigration | None) -> dict[str, Any]:
    if applied is None:
        return {"id": id_, "state": "pending"}
    state = "unknown" if checksum is None else "applied" if checksum == applied.checksum else "changed"
    return {
        "id": id_,
        "state": state,
        "reversible": applied.down is not None,
        "at": applied.at,
        "seconds": applied.seconds,
        "by": applied.by,
        "version": applied.version,
    }


def status_as_text(data: dict[str, Any]) -> str:
    """The same for people."""
    if data["ledger"]:
        lines = [f"Ledger {data['ledger']}, schema {data['schema']}"]
    else:
        lines = ["No ledger: nothing was applied to this database"]
    width = max(len(entry["id"]) for entry in data["migrations"])
    lines += [f"{entry['id']:{width}}  {_words(entry)}" for entry in data["migrations"]]
    if data["unfinished"]:
        lines.append(f"{data['unfinished']} was begun and is not recorded as done: go on with the same command")
    if not data["right"]:
        lines += [f"The files do not fit: {data['error']}", f"  {data['remedy']}"]
    return "\n".join(lines)


def _words(entry: dict[str, Any]) -> str:
    if entry["state"] == "pending":
        return "pending"
    words = f"{entry['state']:7}  {entry['at']}  {entry['seconds']:.3f} s  by {entry['by']}, version {entry['version']}"
    return words if entry["reversible"] else f"{words}; {NO_DOWN}"


def findings_as_text(found: Sequence[dict[str, Any]]) -> str:
    """A line for each finding, with what to do below it."""
    lines = []
    for finding in found:
        lines.append(f"{finding['file']}, line {finding['line']}: {finding['message']} ({finding['rule']})")
        lines += [f"  {finding['help']}"] if finding["help"] else []
    return "\n".join(lines or ["Nothing found."])
