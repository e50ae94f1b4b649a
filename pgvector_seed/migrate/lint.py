"""squawk's opinion of the migrations: which of them would lock or break a table in production."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.migrate.files import Migration, up_file
from pgvector_seed.migrate.script import parse, refuse_faults, texts


def findings(directory: Path, migrations: Sequence[Migration], ids: Collection[str]) -> list[dict[str, Any]]:
    """What squawk finds in the ups of ``ids``, or of all where there are none: file, line, rule, message, help.

    Raises InputError where there is no squawk, or no such migration.
    """
    unknown = set(ids) - {migration.id for migration in migrations}
    if unknown:
        raise InputError(f"there is no migration {', '.join(sorted(unknown))}", f"They are in {directory}.")
    chosen = [migration for migration in migrations if migration.id in ids or not ids]
    refuse_faults(texts(chosen))
    together = [migration for migration in chosen if parse(migration.up).in_transaction]
    alone = [migration for migration in chosen if migration not in together]
    found = _squawk(directory, together, "--assume-in-transaction") + _squawk(directory, alone)
    return sorted(found, key=lambda finding: (finding["file"], finding["line"]))


def _squawk(directory: Path, migrations: Sequence[Migration], *options: str) -> list[dict[str, Any]]:
    if not migrations:
        return []
    paths = [str(directory / up_file(migration.id)) for migration in migrations]
    command = [_program(), "--reporter", "json", *options, "--", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return [_finding(told) for told in json.loads(done.stdout)]
    except ValueError as error:
        raise WrongResultError(f"squawk failed: {' '.join((done.stderr or done.stdout).split())}") from error


def _finding(told: dict[str, Any]) -> dict[str, Any]:
    """Squawk counts lines from 0."""
    return {
        "file": told["file"],
        "line": told["line"] + 1,
        "rule": told["rule_name"],
        "message": told["message"],
        "help": told["help"] or "",
    }


def _program() -> str:
    """The one of this Python's environment, or the one on PATH."""
    found = shutil.which("squawk", path=str(Path(sys.executable).parent)) or shutil.which("squawk")
    if found is None:
        raise InputError("there is no squawk here, which does the work", "Run: pip install squawk-cli")
    return found
