"""Declaring click commands whose work is imported when it is done, and naming them in remedies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pgvector_seed.common.errors import Error
from pgvector_seed.common.text import os_error

HELP = ["-h", "--help"]
CHECKOUT = "python -m seed"
# How the job's commands are called here: an installation has them inside of this package.
PROGRAM = "pgvector-seed" if find_spec("pgvector_seed.seed") else CHECKOUT


def help_width() -> int:
    """Return the width for help texts as click takes it, without shutil, which takes a tenth of --help's time."""
    try:
        columns = os.get_terminal_size().columns
    except OSError:  # not a terminal
        columns = 80
    return max(min(columns, 80) - 2, 50)


def deferred(declared: Callable[..., None]) -> Callable[..., None]:
    """Make a click command's body of the function of the same name in the module ``work`` beside it.

    That module, and the driver with it, is imported when the command is run: --help does not wait for it. With
    --json an error is printed as a JSON document, too.
    """

    @wraps(declared)
    def run_work(**options: Any) -> None:
        work = import_module(".work", declared.__module__.rpartition(".")[0])
        with _json_error(wanted=options.get("as_json", False)):
            getattr(work, declared.__name__)(**options)

    run_work.__doc__ = (declared.__doc__ or "").replace(CHECKOUT, PROGRAM)
    return run_work


@contextmanager
def _json_error(*, wanted: bool) -> Iterator[None]:
    """Print an error as JSON before it goes on its way, if wanted."""
    from click import ClickException

    try:
        yield
    except (Error, ClickException, OSError) as error:
        if wanted:
            import json

            if isinstance(error, Error):
                message, remedy = error.message, error.remedy
            else:
                message, remedy = os_error(error) if isinstance(error, OSError) else error.format_message(), ""
            with suppress(OSError):  # this error is the one to be told
                print(json.dumps({"right": False, "error": message, "remedy": remedy}, indent=2), flush=True)
        raise
