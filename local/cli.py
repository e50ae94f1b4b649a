"""The commands of ``python -m local``, which the make targets run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import click

from local import binaries, command, options
from local.binaries import INSTALLED
from local.engine import choose
from local.pulumi_cli import installed, on_path
from local.roles import owners_environment
from local.server import HOST, Server
from local.workspace import LOCAL, Workspace
from pgvector_seed.common.commands import HELP
from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.auth import OWN_SERVER, SCRAM


@click.group(context_settings={"help_option_names": HELP})
def cli() -> None:
    """Provision, seed and remove a pgvector database on this machine. The make targets call this."""


@cli.command()
def up() -> None:
    """Start the server, run the Pulumi program, insert the article's vectors and check the answers."""
    _seed(_provision("up"))


@cli.command()
def preview() -> None:
    """Show what `up` would change in the database."""
    _provision("preview")


@cli.command()
def destroy() -> None:
    """Undo the deployment, or keep its data, as the last `up` said. Asks first, or wants YES=1."""
    _provision("destroy")


@cli.command()
def seed() -> None:
    """Insert the article's vectors again and check the answers."""
    workspace = Workspace.of(options.read(os.environ))
    with _alone():
        _start(workspace)
    _seed(workspace)


@cli.command()
def verify() -> None:
    """Hold the database against the contract that it keeps."""
    workspace = Workspace.of(options.read(os.environ))
    with _alone():
        _start(workspace)
    say("Verify", "python -m seed verify")
    sys.exit(command.run([sys.executable, "-m", "seed", "verify"], owners_environment(workspace)))


@cli.command()
def stop() -> None:
    """Stop the servers of this folder. Their data stays."""
    with _alone():
        stopped = [major for major in INSTALLED if Server(LOCAL / str(major), major).stop()]
    say("Database", f"PostgreSQL {', '.join(map(str, stopped))} stopped" if stopped else "no server was running")


@cli.command(hidden=True)
@click.argument("verb", type=click.Choice(["up", "preview", "destroy"]))
def standalone(verb: str) -> None:
    """Run the Pulumi program without Pulumi's engine, in the environment that `up` prepares."""
    from local.standalone import run  # with Pulumi's SDK behind it, half a second

    run(verb, agreed=options.read(os.environ).yes)


@cli.command()
def env() -> None:
    """Print what a shell needs for plain pulumi, psql and python -m seed: eval "$(make env)"."""
    workspace = Workspace.of(options.read(os.environ))
    found = workspace.printable()
    with _alone():
        workspace.prepare()
    executable = installed()
    path = on_path(Path(executable).parent, os.environ["PATH"]) if executable else os.environ["PATH"]
    found["PATH"] = on_path(Path(sys.executable).parent, path)
    for name in sorted(workspace.strays() & os.environ.keys() - found.keys()):
        print(f"unset {name}")
    for name, value in found.items():
        print(f"export {name}={shlex.quote(value)}")
    if workspace.server:
        print(_psql(found[OWN_SERVER], binaries.path(workspace.server.major, "psql")))


def _psql(address: str, program: Path) -> str:
    """Define psql for a shell: for our server one that gives its password to no other.

    An older libpq would. PGREQUIREAUTH is not exported, for the provider's driver ends on it. An alias would be
    expanded where the function is named.
    """
    ours = f"PGREQUIREAUTH={SCRAM} {shlex.quote(str(program))}"
    function = (
        f'psql() {{ if [ "${{PGHOST-}}:${{PGPORT-}}" = {address} ]; then {ours} "$@"; else command psql "$@"; fi; }}'
    )
    return f"unalias psql 2>/dev/null || :\neval {shlex.quote(function)}"


def _provision(verb: str) -> Workspace:
    """Bring the server up and run the engine; leaves with the engine's exit code when it failed."""
    chosen = options.read(os.environ)
    workspace = Workspace.of(chosen)
    with _alone():
        _start(workspace)
        workspace.prepare()
        engine = choose(chosen, workspace)
        say("Engine", engine.title())
        code = engine.run(verb)
    if code:
        sys.exit(code)
    return workspace


def _seed(workspace: Workspace) -> None:
    say("Seed", "python -m seed sample")
    sys.exit(command.run([sys.executable, "-m", "seed", "sample"], owners_environment(workspace)))


def _start(workspace: Workspace) -> None:
    server = workspace.server
    if server:
        started = server.start()
        address = f"{HOST}:{server.environment['PGPORT']}"
        say("Database", f"PostgreSQL {server.major} on {address}, {'started' if started else 'running'}")
    workspace.enter()


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time in this folder."""
    LOCAL.mkdir(mode=0o700, exist_ok=True)
    owner = LOCAL.stat().st_uid
    if owner != os.geteuid():
        raise InputError(
            f"{LOCAL} belongs to the user {owner}, and this is {os.geteuid()}: each would lock the other out",
            "Run make as that user, or in a checkout of your own.",
        )
    with (LOCAL / "lock").open("w") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except OSError:
            print("waiting for another make in this folder", file=sys.stderr)
            flock(file, LOCK_EX)
        yield


def say(step: str, what: str) -> None:
    """One line for each step."""
    print(f"{step:<10} {what}", flush=True)
