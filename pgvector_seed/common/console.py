"""Run a click command line: a failure is printed as message and remedy, and gives the exit code."""

from __future__ import annotations

import gc
import os
import sys
from types import FrameType

INTERRUPTED = 130  # as InterruptError.exit_code, which may not be imported yet
REQUIRED = ("click", "msgspec", "psycopg", "pgvector")  # the packages without which no command runs


def run(module: str) -> None:
    """Run the click command ``cli`` of a module, and exit with its code.

    The module is imported here, so that an interrupt during the import prints no traceback.
    """
    try:
        gc.disable()  # imports make no garbage
        import signal

        signal.signal(signal.SIGINT, _interrupt)
        code = _run(module)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done: an interrupt must not change the code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except ModuleNotFoundError as error:
        if error.name not in REQUIRED:
            raise
        from pgvector_seed.common.remedies import in_checkout

        remedy = "Use the environment that has the requirements." + in_checkout(' After make up: eval "$(make env)"')
        print(f"error: {sys.executable} lacks the package {error.name}\n  {remedy}", file=sys.stderr)
        code = 2
    finally:
        _drop_unwritten()
    gc.freeze()  # Python's last collection would visit every imported object: a seventh of --help's time
    sys.exit(code)


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, and mark the interrupt: the driver may raise an error of its own instead.

    During an import, end the process at once: Python drops an exception in a callback of the import system.
    """
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(INTERRUPTED)
        frame = frame.f_back
    interrupt = sys.modules.get("pgvector_seed.postgres.interrupt")
    if interrupt:
        interrupt.mark_stopped()
    raise KeyboardInterrupt


def _drop_unwritten() -> None:
    """Drop output that cannot be written. Python would try again at exit, and replace the exit code by 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(module: str) -> int:
    """Return the exit code of a module's ``cli``, with its errors printed on stderr."""
    from contextlib import suppress
    from importlib import import_module

    import click

    from pgvector_seed.common.errors import Error, InterruptError
    from pgvector_seed.common.text import lines, os_error

    unwritten = suppress(OSError)  # an error message may be lost: the exit code stays
    try:
        cli = import_module(module).cli
        gc.enable()
        cli(standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()  # a lost result is an error
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
    except click.ClickException as error:
        with unwritten:
            error.show()
        return error.exit_code
    except (click.Abort, InterruptError) as error:
        with unwritten:
            click.echo("\n".join(lines(str(error) or str(InterruptError()))), err=True)
        return INTERRUPTED
    except OSError as error:
        with unwritten:
            click.echo(f"error: {os_error(error)}", err=True)
        return 1
    except Error as error:
        remedy = (f"\n  {line}" for line in error.remedy.splitlines())
        with unwritten:
            click.echo("\n".join(lines(f"error: {error.message}{''.join(remedy)}")), err=True)
        return error.exit_code
    return 0
