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

    title: str

    def run(self, verb: str) -> int:
        """``verb`` is up, preview or destroy; returns the exit code."""


class PulumiEngine:
    """Pulumi's own engine."""

    def __init__(self, workspace: Workspace, pulumi: Pulumi) -> None:
        self.environment = pulumi.environment(workspace.environment())
        self.workspace = workspace
        self.pulumi = pulumi
        self.title = f"Pulumi {pulumi.ask('version', environment=self.environment).strip()} ({pulumi.executable})"

    def run(self, verb: str) -> int:
        """Run the CLI on the stack, which is made when it is missing."""
        self._make_stack()
        if verb == "destroy":
            self._ask_before_destroying()
        # There is `make preview` for that; it doubles the time, for it starts everything a second time.
        at_once = [] if verb == "preview" else ["--yes", "--skip-preview"]
        return command.run([str(self.pulumi.executable), verb, *at_once], self.environment)

    def _make_stack(self) -> None:
        """In the workspace's folder: the engine writes a salt into the stack file it finds there."""
        self._ask("stack", "select", "--create", STACK, "--cwd", str(self.workspace.folder))

    def _ask_before_destroying(self) -> None:
        """The engine obeys the onDestroy of the last `up`, which the stack's outputs tell: the server may be gone."""
        outputs = json.loads(self._ask("stack", "output", "--json"))
        today = json.loads(self._ask("config", "--json")).get(f"{PROJECT}:onDestroy", {"value": "retain"})["value"]
        connection = outputs.get("contract", {}).get("connection")  # absent where no `up` came to its end
        consent.require(outputs.get("onDestroy", today), today, connection)

    def _ask(self, *words: str) -> str:
        return self.pulumi.ask(*words, environment=self.environment)


class StandaloneEngine:
    """The stand-alone runner, in a process of its own."""

    def __init__(self, workspace: Workspace, reason: str) -> None:
        self.environment = workspace.environment()
        self.title = f"stand-alone: {reason}"

    def run(self, verb: str) -> int:
        """Run it."""
        return command.run([sys.executable, "-m", "local", "standalone", verb], self.environment)


def choose(options: Options, workspace: Workspace) -> Engine:
    """The engine that ENGINE names; ``auto`` takes Pulumi's where it can be had.

    Raises InputError where ENGINE=pulumi asks for one that cannot be had.
    """
    if options.engine == "standalone":
        return StandaloneEngine(workspace, "as ENGINE says")
    try:
        return PulumiEngine(workspace, find(workspace.environment()))
    except UnavailableError as reason:
        if options.engine == "pulumi":
            raise InputError(f"no Pulumi engine: {reason}", "Use ENGINE=standalone, or install Pulumi") from reason
        return StandaloneEngine(workspace, str(reason))
