"""The output of the migrate commands: JSON data, or lines of text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.files import Migration, checksums
from pgvector_seed.migrate.ledger.model import AppliedMigration, Ledger
from pgvector_seed.migrate.lock import Begun
from pgvector_seed.migrate.plan import NO_DOWN, plan
from pgvector_seed.migrate.runner import Preview


def plan_as_data(preview: Preview, irreversible: Collection[str]) -> dict[str, Any]:
    """Return the steps of the next ``apply`` in their order. ``irreversible`` has the ids without a down."""
    undo = [{"id": id_, "direction": "down", "reversible": True} for id_ in preview.plan.undo]
    apply = [{"id": id_, "direction": "up", "reversible": id_ not in irreversible} for id_ in preview.plan.apply]
    return {
        "ledger": preview.ledger.id if preview.ledger else None,
        "steps": [*undo, *apply],
        "edited_downs": preview.edited_downs,
        "declaration_changes": preview.declaration_changes,
    }


def plan_as_text(preview: Preview, irreversible: Collection[str], begun: Begun | None) -> str:
    """Return a line for each step of the next ``apply``, and the state of a migration that was begun."""
    lines = preview.plan.lines(irreversible)
    lines += [f"record the edited down of {id_}" for id_ in preview.edited_downs]
    if preview.declaration_changes:
        lines.append("record the contract")
    lines += [begun.message, f"  {begun.remedy}"] if begun else []
    return "\n".join(lines or ["Nothing to do: the database has every migration."])


def status_as_data(migrations: Sequence[Migration], ledger: Ledger | None, begun: Begun | None) -> dict[str, Any]:
    """Return each migration with its state: applied, pending, changed (another checksum), unknown (no file).

    ``unfinished`` is the file that was ``begun``, and ``running_in`` the server process that runs it.
    """
    files = checksums(migrations)
    applied = ledger.migrations if ledger else {}
    refusal = _refusal(files, ledger)
    return {
        "ledger": ledger.id if ledger else None,
        "schema": ledger.declaration.schema if ledger else None,
        "right": refusal is None,
        "error": refusal.message if refusal else None,
        "remedy": refusal.remedy if refusal else None,
        "unfinished": begun.file if begun else None,
        "running_in": begun.pid if begun else None,
        "migrations": [_entry(id_, files.get(id_), applied.get(id_)) for id_ in sorted(files.keys() | applied.keys())],
    }


def _refusal(files: dict[str, str], ledger: Ledger | None) -> RefusedError | None:
    try:
        plan(files, ledger.checksums if ledger else {})
    except RefusedError as error:
        return error
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


def status_as_text(data: dict[str, Any], begun: Begun | None) -> str:
    """Return a line for the ledger and for each migration, from the data of ``status_as_data``."""
    if data["ledger"]:
        lines = [f"Ledger {data['ledger']}, schema {data['schema']}"]
    else:
        lines = ["No ledger: nothing was applied to this database"]
    width = max(len(entry["id"]) for entry in data["migrations"])
    lines += [f"{entry['id']:{width}}  {_state(entry)}" for entry in data["migrations"]]
    lines += [begun.message, f"  {begun.remedy}"] if begun else []
    if not data["right"]:
        lines += [f"The files do not match: {data['error']}", f"  {data['remedy']}"]
    return "\n".join(lines)


def _state(entry: dict[str, Any]) -> str:
    if entry["state"] == "pending":
        return "pending"
    words = f"{entry['state']:7}  {entry['at']}  {entry['seconds']:.3f} s  by {entry['by']}, version {entry['version']}"
    return words if entry["reversible"] else f"{words}; {NO_DOWN}"


def findings_as_text(findings: Sequence[dict[str, Any]]) -> str:
    """Return a line for each finding, and its help below."""
    lines = []
    for finding in findings:
        lines.append(f"{finding['file']}, line {finding['line']}: {finding['message']} ({finding['rule']})")
        lines += [f"  {finding['help']}"] if finding["help"] else []
    return "\n".join(lines or ["No findings."])
