"""What runs the Pulumi program: Pulumi's engine, or the stand-alone runner where it cannot be had."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

from local import command, consent
from local.options import Options
from local.pulumi_cli import Pulumi, UnavailableError, find
from local.pulumi_state import State
from local.roles import find_owner, find_roles, owners_conninfo
from local.server import HOST
from local.workspace import PROJECT, STACK, Workspace
from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.migrate.declaration import NOTHING_DECLARED
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated


class Engine(Protocol):
    """Runs the program for a workspace."""

    def title(self) -> str:
        """What it is, for a person."""

    def run(self, verb: str) -> int:
        """``verb`` is up, preview or destroy; returns the exit code."""


class PulumiEngine:
    """Pulumi's own engine. ``agreed`` says that nobody need be asked before something is destroyed."""

    def __init__(self, workspace: Workspace, pulumi: Pulumi, *, agreed: bool) -> None:
        self.workspace = workspace
        self.pulumi = pulumi
        self.state = State(pulumi, workspace.backend)
        self.agreed = agreed

    def title(self) -> str:
        """Its version, and where it is."""
        return f"Pulumi {self.pulumi.ask('version').strip()} ({self.pulumi.executable})"

    def run(self, verb: str) -> int:
        """Run the CLI on the stack, which is made when it is missing."""
        self.state.heal()
        self._make_stack()
        self.state.forget_pending()
        if verb == "up":
            self._forget_what_is_gone(whole=True)
        elif verb == "destroy":
            self._forget_what_is_gone(whole=False)
            self._ask_before_destroying()
        # A second preview doubles the time, for it starts everything twice; there is `make preview`.
        at_once = [] if verb == "preview" else ["--yes", "--skip-preview"]
        return command.run([self.pulumi.executable, verb, *at_once], self.pulumi.environment)

    def _make_stack(self) -> None:
        """In the workspace's folder: the engine writes a salt into the stack file it finds there."""
        self.pulumi.ask("stack", "select", "--create", STACK, "--cwd", str(self.workspace.folder))

    def _forget_what_is_gone(self, *, whole: bool) -> None:
        """Where our own server has no longer what the state says, the state forgets it, and `up` makes it again.

        A refresh would not do: it dials the address in the state, and the port may have changed.
        ``whole`` asks for every migration; after half of a destroy, the other half is still to be done.
        """
        recorded = self.state.migrations()
        if recorded is None or self.workspace.server is None:
            return
        ledger, outputs = self._ledger(_owner(recorded)), recorded["outputs"]
        there = ledger is not None and ledger.id == outputs["ledger"]
        if there and whole and ledger:
            there = outputs["applied"].items() <= ledger.checksums.items()
        if not there:
            self.state.forget(keep_roles=find_roles())

    def _ledger(self, owner: str | None = None) -> Ledger | None:
        """Read the ledger, with the rights of the owner that the state names."""
        with connect(owners_conninfo(self.workspace, owner)) as connection, translated("reading the ledger"):
            return read_ledger(connection)

    def _ask_before_destroying(self) -> None:
        """Destroying obeys the state, not today's configuration."""
        config = json.loads(self.pulumi.ask("config", "--json"))
        today = config.get(f"{PROJECT}:onDestroy", {"value": NOTHING_DECLARED.on_destroy})["value"]
        recorded = self.state.migrations()
        if recorded is None:
            self._refuse_unknown_ledger()
            consent.require(today, today, None, agreed=self.agreed)
            return
        declaration = json.loads(recorded["inputs"]["declaration"])
        self._refuse_another_server(declaration["connection"])
        self._refuse_later_up(declaration["on_destroy"], _owner(recorded))
        consent.require(declaration["on_destroy"], today, declaration["connection"], agreed=self.agreed)

    def _refuse_unknown_ledger(self) -> None:
        """A state that knows of no migrations would leave behind what the database has, and say nothing."""
        if self.workspace.server and self._ledger():
            raise RefusedError("this database has a deployment that Pulumi's state does not know", "Run make up first.")

    def _refuse_later_up(self, recorded: str, owner: str | None) -> None:
        """The last `up` may have been stand-alone, which Pulumi's state does not know."""
        ledger = self._ledger(owner) if self.workspace.server else None
        if ledger and ledger.declaration.on_destroy != recorded:
            raise RefusedError(
                f"the last up said onDestroy {ledger.declaration.on_destroy}, "
                f"and Pulumi's state has {recorded} from one before",
                "Run make up first, so that both say the same.",
            )

    def _refuse_another_server(self, recorded: dict[str, Any]) -> None:
        """What was announced must be what is destroyed."""
        server = self.workspace.server
        here = server and (HOST, server.environment["PGPORT"])
        there = (recorded["host"], str(recorded["port"]))
        if here and here != there:
            raise RefusedError(
                f"Pulumi's state is about the server {':'.join(there)}, and this folder's is {':'.join(here)}",
                "Run make up first, so that both are the same.",
            )


def _owner(recorded: dict[str, Any]) -> str | None:
    """Return the owner role that the state's migrations declare."""
    owner: str | None = json.loads(recorded["inputs"]["declaration"]).get("roles", {}).get("owner")
    return owner


class StandaloneEngine:
    """The stand-alone runner, in a process of its own."""

    def __init__(self, workspace: Workspace, reason: str) -> None:
        self.workspace = workspace
        self.reason = reason

    def title(self) -> str:
        """That it is not Pulumi's, and why."""
        return f"stand-alone: {self.reason}"

    def run(self, verb: str) -> int:
        """Run the program. Raises RefusedError if the deployment has an owner role."""
        owner = find_owner(self.workspace)
        if owner:
            raise RefusedError(
                f"the tables belong to {owner}, and roles need Pulumi's engine", "Install Pulumi, and use ENGINE=pulumi"
            )
        return command.run([sys.executable, "-m", "local", "standalone", verb], self.workspace.environment())


def choose(options: Options, workspace: Workspace) -> Engine:
    """The engine that ENGINE names; ``auto`` takes Pulumi's where it can be had.

    Raises InputError where ENGINE=pulumi asks for one that cannot be had.
    """
    if options.engine == "standalone":
        return StandaloneEngine(workspace, "as ENGINE says")
    try:
        return PulumiEngine(workspace, find(workspace.environment()), agreed=options.yes)
    except UnavailableError as reason:
        if options.engine == "pulumi":
            raise InputError(f"no Pulumi engine: {reason}", "Use ENGINE=standalone, or install Pulumi") from reason
        return StandaloneEngine(workspace, str(reason))
