"""What runs the Pulumi program: Pulumi's engine, or the stand-alone runner where it cannot be had."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol

from local import command, consent
from local.options import Options
from local.pulumi_cli import Pulumi, UnavailableError, find
from local.pulumi_state import State
from local.server import HOST
from local.workspace import PROJECT, STACK, Workspace
from postgres.connection import connect
from postgres.errors import InputError, RefusedError, UnreachableError, translated
from postgres.ledger import read_ledger


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
        self.state = State(pulumi)
        self.agreed = agreed

    def title(self) -> str:
        """Its version, and where it is."""
        return f"Pulumi {self.pulumi.ask('version').strip()} ({self.pulumi.executable})"

    def run(self, verb: str) -> int:
        """Run the CLI on the stack, which is made when it is missing."""
        self._make_stack()
        self.state.free_dead_lock()
        # A second preview doubles the time, for it starts everything twice; there is `make preview`.
        # A refresh finds out what was done without Pulumi, as the stand-alone runner does.
        options = {"up": ["--yes", "--skip-preview", "--refresh"], "preview": ["--refresh"]}
        if verb == "destroy":
            options["destroy"] = ["--yes", "--skip-preview", *self._agree_to_destroy()]
        return command.run([self.pulumi.executable, verb, *options[verb]], self.pulumi.environment)

    def _make_stack(self) -> None:
        """In the workspace's folder: the engine writes a salt into the stack file it finds there."""
        self.pulumi.ask("stack", "select", "--create", STACK, "--cwd", str(self.workspace.folder))

    def _agree_to_destroy(self) -> list[str]:
        """The options of a destroy that somebody agreed to. It obeys the state, not today's configuration."""
        from infra.settings import KEYS  # with Pulumi's SDK behind it, half a second

        config = json.loads(self.pulumi.ask("config", "--json"))
        today = config.get(f"{PROJECT}:onDestroy", {"value": KEYS["onDestroy"].default})["value"]
        recorded = self.state.declaration()
        if recorded is None:
            self._refuse_unknown_ledger()
            consent.require(today, today, None, agreed=self.agreed)
            return []
        self._refuse_another_server(recorded["connection"])
        consent.require(recorded["on_destroy"], today, recorded["connection"], agreed=self.agreed)
        return ["--refresh"] if recorded["on_destroy"] == "revert" else []  # retain needs no server

    def _refuse_unknown_ledger(self) -> None:
        """A state that knows of no migrations would leave behind what the database has, and say nothing."""
        try:
            with connect(self.workspace.conninfo) as connection, translated("reading the ledger"):
                ledger = read_ledger(connection)
        except UnreachableError:
            return  # nothing to be found
        if ledger:
            raise RefusedError("this database has a deployment that Pulumi's state does not know", "Run make up first.")

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


class StandaloneEngine:
    """The stand-alone runner, in a process of its own."""

    def __init__(self, workspace: Workspace, reason: str) -> None:
        self.workspace = workspace
        self.reason = reason

    def title(self) -> str:
        """That it is not Pulumi's, and why."""
        return f"stand-alone: {self.reason}"

    def run(self, verb: str) -> int:
        """Run it."""
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
