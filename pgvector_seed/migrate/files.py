"""The migration files: ``0001_create_embeddings.up.sql`` and, to undo it, ``.down.sql``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pgvector_seed.common.errors import InputError

if TYPE_CHECKING:
    from pgvector_seed.migrate.ledger.model import AppliedMigration

_UP = "-- What this migration makes. The SQL names tables without a schema.\n"
_DOWN = "-- Write the statement that undoes it. Or delete this file: then it cannot be undone.\n"
_NAME = re.compile(r"(?P<id>(?P<number>[0-9]{4})_[a-z0-9_]+)\.(?P<way>up|down)\.sql")


@dataclass(frozen=True)
class Migration:
    """A migration as its files have it. ``down`` is None if it cannot be undone."""

    id: str
    up: str
    down: str | None

    @property
    def checksum(self) -> str:
        """The sha256 of the up, in hexadecimal. Line endings do not count: git may change them."""
        return sha256(self.up)


def up_file(id_: str) -> str:
    """Return the file name of a migration's up."""
    return f"{id_}.up.sql"


def down_file(id_: str) -> str:
    """Return the file name of a migration's down."""
    return f"{id_}.down.sql"


def checksums(migrations: Iterable[Migration]) -> dict[str, str]:
    """Map id to checksum, in the order of the files."""
    return {migration.id: migration.checksum for migration in migrations}


def down_checksums(migrations: Iterable[Migration | AppliedMigration]) -> dict[str, str]:
    """Map id to the sha256 of the down, or "" if there is none."""
    return {migration.id: sha256(migration.down) if migration.down is not None else "" for migration in migrations}


def sha256(text: str) -> str:
    """Return the sha256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def load(directory: Path) -> list[Migration]:
    """Return the migrations of a folder, in order.

    Raises InputError with every fault of every file.
    """
    faults: list[str] = []
    texts: dict[tuple[str, str], str] = {}
    for path in _sql_files(directory):
        match = _NAME.fullmatch(path.name)
        if match is None:
            faults.append(f"{path}: the name must be like 0001_create_embeddings.up.sql")
            continue
        text, fault = _read(path, directory)
        faults += [f"{path}: {fault}"] if fault else []
        texts[match["id"], match["way"]] = text
    ups = sorted(name for name, way in texts if way == "up")
    downs = {name for name, way in texts if way == "down"}
    faults += [f"{directory / down_file(id_)}: {up_file(id_)} is missing" for id_ in sorted(downs - set(ups))]
    faults += _number_faults(ups)
    if not ups and not faults:
        faults.append(f"{directory}: no migrations in this folder")
    if faults:
        raise InputError("; ".join(faults), "Fix the files and run the same command again.")
    return [Migration(name, texts[name, "up"], texts.get((name, "down"))) for name in ups]


def load_if_present(directory: Path) -> list[Migration]:
    """Return the migrations of a folder as ``load`` does, or an empty list if the folder or its files are missing."""
    return load(directory) if directory.is_dir() and _sql_files(directory) else []


def _sql_files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix.lower() == ".sql")
    except OSError as error:
        raise InputError(f"{directory}: {error.strerror}", "The folder of the migrations must be readable.") from error


def _read(path: Path, directory: Path) -> tuple[str, str | None]:
    """Return the text of a file, and its fault or None."""
    try:
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(directory.resolve()):
            return "", "a symbolic link out of the folder"
        if not path.is_file():
            return "", "not a file"
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, RuntimeError) as error:  # RuntimeError for a loop of symbolic links
        return "", getattr(error, "strerror", None) or "a symbolic link to itself"
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 (byte {error.start})"
    if "\0" in text:
        return "", "a NUL byte, at which PostgreSQL would stop reading"
    return text, None if text.strip() else "empty"


def _number_faults(names: list[str]) -> Iterator[str]:
    """Yield a fault for each duplicate and each gap: a file was lost, or would come too late to be applied."""
    for before, name in pairwise(["0000", *names]):
        if name[:4] == before[:4]:
            yield f"{before}, {name}: two migrations with the number {name[:4]}"
        elif int(name[:4]) != int(before[:4]) + 1:
            yield f"{name}: the migration {int(before[:4]) + 1:04} is missing"


def create(directory: Path, name: str) -> list[Path]:
    """Create ``NNNN_name.up.sql`` and ``.down.sql`` with a comment in each. Returns their paths.

    Raises InputError if the name is not valid, or the numbers are used up.
    """
    words = re.sub(r"[\s-]+", "_", name.strip().lower())
    if not re.fullmatch(r"_*[a-z0-9][a-z0-9_]*", words):
        raise InputError(f"a name has letters from a to z or digits, and _; got {name!r}", "Such as: add_label")
    directory.mkdir(parents=True, exist_ok=True)
    number = max((int(path.name[:4]) for path in directory.glob("[0-9][0-9][0-9][0-9]_*.sql")), default=0) + 1
    if number > 9999:
        raise InputError("the numbers end at 9999", "Begin another folder with a schema of its own.")
    id_ = f"{number:04}_{words}"
    files = {directory / up_file(id_): _UP, directory / down_file(id_): _DOWN}
    for path, text in files.items():
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(files)
