"""Add the folder and the schema of the call to the commands in remedies."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from functools import wraps
from typing import Any

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import Error

from .command import FOLDER

_COMMAND = re.compile(rf"{PROGRAM} migrate ([a-z]+)")
_WITHOUT_SCHEMA = ("status", "new", "lint")


def add_place(remedy: str, directory: str, schema: str | None = None) -> str:
    """Return a remedy whose commands have this --directory, unless it is the default, and this --schema."""
    folder = "" if directory == FOLDER else f" --directory {shlex.quote(directory)}"
    place = folder if schema is None else f"{folder} --schema {shlex.quote(schema)}"
    return _COMMAND.sub(lambda command: command[0] + (folder if command[1] in _WITHOUT_SCHEMA else place), remedy)


def with_place_in_remedies(work: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command so that its errors' remedies have the --directory and the --schema of the call."""

    @wraps(work)
    def run(**options: Any) -> None:
        try:
            work(**options)
        except Error as error:
            error.remedy = add_place(error.remedy, options["directory"], options.get("schema"))
            raise

    return run
