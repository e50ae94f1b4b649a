"""Remedies that name the folder and the schema that the command was given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import wraps
from typing import Any

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import Error

from .command import FOLDER

# A command of ``migrate``, with its id and its flags.
_COMMAND = re.compile(rf"{PROGRAM} migrate ([a-z]+)(?: (?:ID|[0-9]{{4}}_[a-z0-9_]+|--[a-z-]+))*")
_WITHOUT_SCHEMA = ("status", "new", "lint")


def same_place(remedy: str, directory: str, schema: str | None = None) -> str:
    """Return a remedy whose commands look at this folder and schema, unless they would by default."""

    def at_place(command: re.Match[str]) -> str:
        words = [command[0]]
        if directory != FOLDER:
            words.append(f"--directory {shlex.quote(directory)}")
        if schema is not None and command[1] not in _WITHOUT_SCHEMA:
            words.append(f"--schema {shlex.quote(schema)}")
        return " ".join(words)

    return _COMMAND.sub(at_place, remedy)


def names_its_place(work: Callable[..., None]) -> Callable[..., None]:
    """Have the remedies of a command's errors name the folder and the schema that it was given."""

    @wraps(work)
    def run(**options: Any) -> None:
        try:
            work(**options)
        except Error as error:
            error.remedy = same_place(error.remedy, options["directory"], options.get("schema"))
            raise

    return run
