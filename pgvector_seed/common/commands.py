"""click commands that import their work when they are run, and the program's name in help and remedies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pgvector_seed.common.errors import Error
from pgvector_seed.common.text import os_error

HELP = ["-h", "--help"]
CHECKOUT = "python -m seed"
# An installation has the job's commands inside of this package, and a script for them.
PROGRAM = "pgvector-seed" if find_spec("pgvector_seed.seed") else CHECKOUT


def help_width() -> int:
    """Return the width of help texts, 50 to 78 columns, as click does.

    Importing shutil, which click uses for this, would take a tenth of the time of --help.
    """
    try:
        columns = os.get_terminal_size().columns
    except OSError:  # not a terminal
        columns = 80
    return max(min(columns, 80) - 2, 50)


def deferred(declared: Callable[..., None]) -> Callable[..., None]:
    """Return the body of a click command: it calls the function of the same name in the module ``work`` beside it.

    ``work`` imports the driver, so it is imported only when the command is run: --help is fast. With --json an error
    is also printed as a JSON document.
    """

    @wraps(declared)
    def run_work(**options: Any) -> None:
        work = import_module(".work", declared.__module__.rpartition(".")[0])
        indent = None if options.get("file") else 2  # of many queries: JSON Lines
        with _errors_as_json(indent) if options.get("as_json") else nullcontext():
            getattr(work, declared.__name__)(**options)

    run_work.__doc__ = (declared.__doc__ or "").replace(CHECKOUT, PROGRAM)
    return run_work


@contextmanager
def _errors_as_json(indent: int | None) -> Iterator[None]:
    """Print an error as JSON, and raise it again."""
    import json

    from click import ClickException

    try:
        yield
    except (Error, ClickException, OSError) as error:
        remedy = ""
        if isinstance(error, Error):
            message, remedy = error.message, error.remedy
        else:
            message = os_error(error) if isinstance(error, OSError) else error.format_message()
        with suppress(OSError):  # a failure to print must not replace the error
            print(json.dumps({"right": False, "error": message, "remedy": remedy}, indent=indent), flush=True)
        raise
