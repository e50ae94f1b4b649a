"""Running a command line: a failure is two lines at most, with an exit code that says what is wrong."""

from __future__ import annotations

import gc
import os
import sys

INTERRUPTED = 130  # as InterruptError has it, which is not imported yet when it is needed


def run(module: str) -> None:
    """Run the click command ``cli`` of a module, and leave with its exit code.

    The module is imported here, so that an interrupt at that moment ends as quietly as a later one.
    """
    gc.disable()  # while modules are imported there is no garbage
    try:
        import signal

        signal.signal(signal.SIGINT, _interrupt)
        code = _run(module)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what was to be done is done
    except KeyboardInterrupt:
        code = INTERRUPTED
    finally:
        _drop_unwritten()
    gc.freeze()  # else Python's last collection visits all that was imported: a seventh of --help's time
    sys.exit(code)


def _interrupt(_signal: int, _frame: object) -> None:
    """Raise KeyboardInterrupt, and have it known: the driver may put an error of its own in its place."""
    interrupt = sys.modules.get("pgvector_seed.postgres.interrupt")
    if interrupt:
        interrupt.mark_stopped()
    raise KeyboardInterrupt


def _drop_unwritten() -> None:
    """Drop what an output refuses. Python would try once more, and replace the exit code by 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(module: str) -> int:
    from contextlib import suppress
    from importlib import import_module

    import click

    from pgvector_seed.common.errors import Error, InterruptError
    from pgvector_seed.common.text import lines, os_error

    unwritten = suppress(OSError)  # a message that is lost changes no exit code
    try:
        cli = import_module(module).cli
        gc.enable()
        cli(standalone_mode=False)
        if sys.stdout:
            sys.stdout.flush()  # a result that is lost does
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
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
        said = [f"error: {error.message}", *(f"  {line}" for line in error.remedy.splitlines())]
        with unwritten:
            click.echo("\n".join(lines("\n".join(said))), err=True)
        return error.exit_code
    return 0
