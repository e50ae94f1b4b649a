"""What runs the Pulumi program: Pulumi's engine, or the stand-alone runner where it cannot be had."""

from __future__ import annotations

import json
import sys
from typing import Protocol

from local import command, consent
from local.options import Options
from local.pulumi_cli import Pulumi, UnavailableError, find
from local.workspace import PROJECT, STACK, Workspace
from postgres.errors import InputError


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
        self.agreed = agreed

    def title(self) -> str:
        """Its version, and where it is."""
        return f"Pulumi {self.pulumi.ask('version').strip()} ({self.pulumi.executable})"

    def run(self, verb: str) -> int:
        """Run the CLI on the stack, which is made when it is missing."""
        self._make_stack()
        if verb == "destroy":
            self._ask_before_destroying()
        # There is `make preview` for that; it doubles the time, for it starts everything a second time.
        at_once = [] if verb == "preview" else ["--yes", "--skip-preview"]
        return command.run([self.pulumi.executable, verb, *at_once], self.pulumi.environment)

    def _make_stack(self) -> None:
        """In the workspace's folder: the engine writes a salt into the stack file it finds there."""
        self.pulumi.ask("stack", "select", "--create", STACK, "--cwd", str(self.workspace.folder))

    def _ask_before_destroying(self) -> None:
        """The engine obeys the onDestroy of the last `up`, which the stack's outputs tell: the server may be gone."""
        from infra.settings import KEYS  # with Pulumi's SDK behind it, half a second

        outputs = json.loads(self.pulumi.ask("stack", "output", "--json"))
        config = json.loads(self.pulumi.ask("config", "--json"))
        today = config.get(f"{PROJECT}:onDestroy", {"value": KEYS["onDestroy"].default})["value"]
        connection = outputs.get("contract", {}).get("connection")  # absent where no `up` came to its end
        consent.require(outputs.get("onDestroy", today), today, connection, agreed=self.agreed)


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
