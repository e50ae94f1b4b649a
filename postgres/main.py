"""Running a command line: failures as two lines at most, and the exit codes of the project."""

from __future__ import annotations

import sys

import click

from postgres.errors import Error

INTERRUPTED = 130


def run(cli: click.Command) -> None:
    """Run the command and leave with its exit code; what a user can cause ends without a traceback."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as shown:
        click.echo(shown.format_message())
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Error as error:
        click.echo(f"error: {error.message}", err=True)
        if error.remedy:
            click.echo(f"  {error.remedy}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
