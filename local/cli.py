"""The commands of ``python -m local``, one for each make target."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import click

from local import binaries, command, options
from local.binaries import INSTALLED
from local.databases import create_database
from local.engine import choose
from local.pulumi_cli import installed, on_path
from local.roles import owners_contract, owners_environment
from local.server import HOST, Server
from local.workspace import LOCAL, ROOT, Workspace
from pgvector_seed.common.commands import HELP
from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.auth import OWN_SERVER, SCRAM


@click.group(context_settings={"help_option_names": HELP})
def cli() -> None:
    """Provision, seed and remove a pgvector database on this machine. The make targets call this."""


@cli.command()
def up() -> None:
    """Start the server, run the Pulumi program, insert the article's vectors and check the answers.

    With SEED=0, or if the table is not the article's any more, nothing is inserted.
    """
    workspace = _provision("up")
    print_step("Contract", "recorded in the database; to see it: make contract")
    if options.read(os.environ).seed:
        _seed(workspace, "--unless-changed")


@cli.command()
def preview() -> None:
    """Show what `up` would change in the database."""
    _provision("preview")


@cli.command()
def destroy() -> None:
    """Undo the deployment, or keep its data, as the last `up` said. Asks first, unless YES=1."""
    _provision("destroy")


@cli.command()
def seed() -> None:
    """Insert the article's vectors again and check the answers."""
    workspace = Workspace.of(options.read(os.environ))
    _attach(workspace)
    _seed(workspace)


@cli.command()
def verify() -> None:
    """Check the database against the contract that is recorded in it."""
    workspace = Workspace.of(options.read(os.environ))
    _attach(workspace)
    print_step("Verify", "python -m seed verify")
    sys.exit(command.run([sys.executable, "-m", "seed", "verify"], owners_environment(workspace)))


@cli.command()
def contract() -> None:
    """Print the contract that is recorded in the database, as JSON."""
    workspace = Workspace.of(options.read(os.environ))
    with redirect_stdout(sys.stderr):
        _attach(workspace)
    print(json.dumps(owners_contract(workspace), indent=2, sort_keys=True))


@cli.command()
def words() -> None:
    """Load English words with their vectors into a database of their own, ask for the nearest ones, and draw them."""
    from local.words import read_count, steps

    count = read_count(os.environ)
    _provision("up", example="words")
    for title, words in steps(count):
        print_step(title, f"python {' '.join(map(shlex.quote, words))}")
        code = command.run([sys.executable, *words], os.environ)
        if code:
            sys.exit(code)


@cli.command()
def stop() -> None:
    """Stop the servers of this folder. Their data stays."""
    with _folder_locked():
        stopped = [major for major in INSTALLED if Server(LOCAL / str(major), major).stop()]
    print_step("Database", f"PostgreSQL {', '.join(map(str, stopped))} stopped" if stopped else "no server was running")


@cli.command(hidden=True)
@click.argument("verb", type=click.Choice(["up", "preview", "destroy"]))
def standalone(verb: str) -> None:
    """Run the Pulumi program without Pulumi's engine, in the environment that `up` prepares."""
    from local.standalone import run  # imports Pulumi's SDK, half a second

    run(verb, agreed=options.read(os.environ).yes)


@cli.command()
def env() -> None:
    """Print the shell commands that prepare for pulumi, psql and python -m seed: eval "$(make env)"."""
    workspace = Workspace.of(options.read(os.environ))
    settings = workspace.printable()
    if not workspace.is_prepared():
        with _folder_locked():
            workspace.prepare()
    executable = installed()
    path = on_path(Path(executable).parent, os.environ["PATH"]) if executable else os.environ["PATH"]
    settings["PATH"] = on_path(Path(sys.executable).parent, path)
    print("unset PYTHONSAFEPATH")  # with it, `python -m seed` finds no seed; make keeps it from this process
    for name in sorted(workspace.strays() & os.environ.keys() - settings.keys()):
        print(f"unset {name}")
    for name, value in settings.items():
        print(f"export {name}={shlex.quote(value)}")
    if workspace.server:
        print(_psql(settings[OWN_SERVER], binaries.path(workspace.server.major, "psql")))


def _psql(address: str, program: Path) -> str:
    """Return shell code for a psql that requires SCRAM at our address, because the password must not be sent in clear.

    The wheel's psql is used there: an older libpq ignores PGREQUIREAUTH, which is not exported, because the provider's
    driver fails on it. An alias named psql would be expanded in the function's definition.
    """
    ours = f"PGREQUIREAUTH={SCRAM} {shlex.quote(str(program))}"
    function = (
        f'psql() {{ if [ "${{PGHOST-}}:${{PGPORT-}}" = {address} ]; then {ours} "$@"; else command psql "$@"; fi; }}'
    )
    return f"unalias psql 2>/dev/null || :\neval {shlex.quote(function)}"


def _provision(verb: str, example: str | None = None) -> Workspace:
    """Start the server and run the engine. Exits with the engine's code if it failed."""
    make_variables = options.read(os.environ)
    workspace = Workspace.of(make_variables, example)
    with _folder_locked():
        workspace.prepare()
        own_keys = workspace.set_in_copy()
        if own_keys:
            file = os.path.relpath(workspace.config_file, ROOT)
            print_step("Config", f"set in {file} by pulumi config: {', '.join(own_keys)}")
        _start(workspace)
        engine = choose(make_variables, workspace)
        print_step("Engine", engine.title())
        code = engine.run(verb)
    if code:
        sys.exit(code)
    return workspace


def _seed(workspace: Workspace, *arguments: str) -> None:
    words = ["-m", "seed", "sample", *arguments]
    print_step("Seed", f"python {' '.join(words)}")
    sys.exit(command.run([sys.executable, *words], owners_environment(workspace)))


def _start(workspace: Workspace) -> None:
    if workspace.server:
        started = workspace.server.start()
        _print_server(workspace.server, "started" if started else "running")
    if workspace.example:
        replace(workspace, example=None).enter()
        create_database(workspace.example)
    workspace.enter()


def _attach(workspace: Workspace) -> None:
    """Enter the workspace of a running database. Waits for another make only to start the server."""
    server = workspace.server
    _refuse_folder_of_another_user()
    if server and not server.is_ready():
        with _folder_locked():
            _start(workspace)
        return
    if server:
        _print_server(server, "running")
    workspace.enter()


def _print_server(server: Server, state: str) -> None:
    print_step("Database", f"PostgreSQL {server.major} on {HOST}:{server.environment['PGPORT']}, {state}")


def _refuse_folder_of_another_user() -> None:
    LOCAL.mkdir(mode=0o700, exist_ok=True)
    owner = LOCAL.stat().st_uid
    if owner != os.geteuid():
        raise InputError(
            f"{LOCAL} belongs to the user {owner}, and this is {os.geteuid()}: each would lock the other out",
            "Run make as that user, or in a checkout of your own.",
        )


@contextmanager
def _folder_locked() -> Iterator[None]:
    """Hold this folder's lock, for one command at a time. Raises InputError if .local belongs to another user.

    The file names the holder, for the message of a command that waits.
    """
    _refuse_folder_of_another_user()
    with (LOCAL / "lock").open("a+") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except OSError:
            file.seek(0)
            print(f"waiting for {file.read() or 'another make'} in this folder", file=sys.stderr)
            flock(file, LOCK_EX)
        file.truncate(0)
        command = click.get_current_context().info_name
        file.write(f"make {command} (process {os.getpid()}, since {time.strftime('%H:%M:%S')})")
        file.flush()
        yield


def print_step(step: str, text: str) -> None:
    """Print one line about a step."""
    print(f"{step:<10} {text}", flush=True)
