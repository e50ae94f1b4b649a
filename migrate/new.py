"""The files of a new migration."""

from __future__ import annotations

import re
from pathlib import Path

from migrate.files import down_file, up_file
from postgres.errors import InputError

UP = "-- What this migration makes. The SQL names tables without a schema.\n"
DOWN = "-- What undoes it. Without this file, it cannot be undone.\n"


def create(directory: Path, name: str) -> list[Path]:
    """Create ``NNNN_name.up.sql`` and ``.down.sql``, which hold a comment each, and return their paths.

    Raises InputError where the name, or the folder, cannot be used.
    """
    words = re.sub(r"[\s-]+", "_", name.strip().lower())
    if not re.fullmatch(r"[a-z0-9_]+", words):
        raise InputError(f"a name has letters from a to z, digits and _; got {name!r}", "Such as: add_label")
    directory.mkdir(parents=True, exist_ok=True)
    number = max((int(path.name[:4]) for path in directory.glob("[0-9][0-9][0-9][0-9]_*.sql")), default=0) + 1
    if number > 9999:
        raise InputError("the numbers end at 9999", "Begin another folder with a schema of its own.")
    id_ = f"{number:04}_{words}"
    files = {directory / up_file(id_): UP, directory / down_file(id_): DOWN}
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(files)
