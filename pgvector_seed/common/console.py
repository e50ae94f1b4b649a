"""Running a command line: a failure is two lines at most, with an exit code that says what is wrong."""

from __future__ import annotations

import gc
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
    gc.freeze()  # else Python's last collection visits all that was imported: a seventh of --help's time
    sys.exit(code)


def _interrupt(_signal: int, _frame: object) -> None:
    """Raise KeyboardInterrupt, and have it known: the driver may put an error of its own in its place."""
    interrupt = sys.modules.get("pgvector_seed.postgres.interrupt")
    if interrupt:
        interrupt.mark_stopped()
    raise KeyboardInterrupt


def _run(module: str) -> int:
    from importlib import import_module

    import click

    from pgvector_seed.common.errors import Error, InterruptError
    from pgvector_seed.common.text import lines, os_error

    cli = import_module(module).cli
    gc.enable()
    try:
        cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, InterruptError) as error:
        click.echo("\n".join(lines(str(error) or str(InterruptError()))), err=True)
        return INTERRUPTED
    except OSError as error:
        click.echo(f"error: {os_error(error)}", err=True)
        return 1
    except Error as error:
        said = [f"error: {error.message}", *(f"  {line}" for line in error.remedy.splitlines())]
        click.echo("\n".join(lines("\n".join(said))), err=True)
        return error.exit_code
    return 0
