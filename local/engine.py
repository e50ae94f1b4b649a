"""The engines for the Pulumi program: Pulumi's own, and the stand-alone runner for machines without it."""

from __future__ import annotations

import json
import sys
from typing import Any

from local import command, consent
from local.options import Options
from local.pulumi_cli import Pulumi, UnavailableError, find
from local.pulumi_state import State
from local.roles import find_owner, find_roles, owners_ledger
from local.server import HOST
from local.stack_file import PROJECT
from local.workspace import STACK, Workspace
from pgvector_seed.common.console import INTERRUPTED
from pgvector_seed.common.errors import InputError, RefusedError
from pgvector_seed.migrate.declaration import NOTHING_DECLARED


class PulumiEngine:
    """Pulumi's own engine. With ``agreed`` it destroys without asking."""

    def __init__(self, workspace: Workspace, pulumi: Pulumi, *, agreed: bool) -> None:
        self.workspace = workspace
        self.pulumi = pulumi
        self.state = State(pulumi, workspace.backend)
        self.agreed = agreed

    def title(self) -> str:
        """Return the CLI's version and path."""
        return f"Pulumi {self.pulumi.ask('version').strip()} ({self.pulumi.executable})"

    def run(self, verb: str) -> int:
        """Run the CLI on the stack, which is created if it is missing. Returns the exit code.

        ``verb`` is up, preview or destroy.
        """
        self.state.remove_leftovers()
        self._make_stack()
        self.state.forget_pending()
        if verb == "up":
            self._forget_lost_resources(every_migration=True)
        elif verb == "destroy":
            self._forget_lost_resources(every_migration=False)
            if self._nothing_to_destroy():
                print(consent.NOTHING_TO_DESTROY)
                return 0
            self._ask_before_destroying()
        # A preview first would double the time: it starts everything, too. `make preview` shows it.
        at_once = [] if verb == "preview" else ["--yes", "--skip-preview"]
        # The contract has 35 lines, which a refused `up` shows as removed. `make contract` prints it.
        words = [self.pulumi.executable, verb, "--suppress-outputs", *at_once]
        code = command.run(words, self.pulumi.environment, self.workspace.program)
        if code not in (0, INTERRUPTED) and not self.workspace.example:
            print('To run Pulumi\'s commands: eval "$(make env)". Or edit Pulumi.dev.yaml.', file=sys.stderr)
        return code

    def _make_stack(self) -> None:
        """Create the stack in the workspace's folder, because the engine writes a salt into the stack file there."""
        self.pulumi.ask("stack", "select", "--create", STACK, "--cwd", str(self.workspace.folder))

    def _forget_lost_resources(self, *, every_migration: bool) -> None:
        """Delete from the state what our own server has lost, so that `up` makes it again.

        A refresh would connect to the address in the state, and the port may have changed. Without
        ``every_migration`` a ledger may lack some of the state's migrations: a destroy was interrupted half-way.
        """
        recorded = self.state.migrations()
        if recorded is None or self.workspace.server is None:
            return
        ledger, outputs = owners_ledger(self.workspace, _owner(recorded)), recorded["outputs"]
        intact = ledger is not None and ledger.id == outputs["ledger"]
        if intact and every_migration and ledger:
            intact = outputs["applied"].items() <= ledger.checksums.items()
        if not intact:
            self.state.forget(keep_roles=find_roles())

    def _nothing_to_destroy(self) -> bool:
        """Return True if the state is empty. Raises RefusedError if our own server has a deployment all the same."""
        if not self.state.is_empty():
            return False
        self._refuse_unknown_ledger()
        return True

    def _ask_before_destroying(self) -> None:
        """Ask the user. Destroying obeys the state: raises RefusedError if its onDestroy or server is out of date."""
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
        consent.require(
            declaration["on_destroy"],
            today,
            declaration["connection"],
            agreed=self.agreed,
            irreversible=recorded["outputs"].get("irreversible") or (),
        )

    def _refuse_unknown_ledger(self) -> None:
        """Raise RefusedError if our own server has a ledger: a state without migrations would leave it behind."""
        if self.workspace.server and owners_ledger(self.workspace):
            raise RefusedError("this database has a deployment that Pulumi's state does not know", "Run make up first.")

    def _refuse_later_up(self, recorded: str, owner: str | None) -> None:
        """Raise RefusedError if the ledger has another onDestroy, from an `up` by the stand-alone runner."""
        ledger = owners_ledger(self.workspace, owner) if self.workspace.server else None
        if ledger and ledger.declaration.on_destroy != recorded:
            raise RefusedError(
                f"the last up said onDestroy {ledger.declaration.on_destroy}, "
                f"and Pulumi's state has {recorded} from one before",
                "Run make up first, so that both say the same.",
            )

    def _refuse_another_server(self, recorded: dict[str, Any]) -> None:
        """Raise RefusedError if the state names another server than our own."""
        server = self.workspace.server
        here = server and (HOST, server.environment["PGPORT"])
        in_state = (recorded["host"], str(recorded["port"]))
        if here and here != in_state:
            raise RefusedError(
                f"Pulumi's state is about the server {':'.join(in_state)}, and this folder's is {':'.join(here)}",
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
        """Return that it is stand-alone, and why."""
        return f"stand-alone: {self.reason}"

    def run(self, verb: str) -> int:
        """Run the program, and return the exit code. Raises RefusedError if the deployment has an owner role."""
        owner = find_owner(self.workspace)
        if owner:
            raise RefusedError(
                f"the tables belong to {owner}, and roles need Pulumi's engine", "Install Pulumi, and use ENGINE=pulumi"
            )
        words = [sys.executable, "-m", "local", "standalone", verb]
        return command.run(words, self.workspace.environment(), self.workspace.program)


def choose(options: Options, workspace: Workspace) -> PulumiEngine | StandaloneEngine:
    """Return the engine that ENGINE names; ``auto`` is Pulumi's if it is installed or can be.

    Raises InputError if ENGINE is pulumi and it cannot be installed.
    """
    if options.engine == "standalone":
        return StandaloneEngine(workspace, "as ENGINE says")
    try:
        return PulumiEngine(workspace, find(workspace.environment(), workspace.program), agreed=options.yes)
    except UnavailableError as reason:
        if options.engine == "pulumi":
            raise InputError(f"no Pulumi engine: {reason}", "Use ENGINE=standalone, or install Pulumi") from reason
        return StandaloneEngine(workspace, str(reason))
