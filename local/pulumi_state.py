"""What Pulumi's state says of the stack, beyond what its commands tell."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local.pulumi_cli import Pulumi

MIGRATIONS_TYPE = "pulumi-python:dynamic/pgvector_seed:Migrations"
EXTENSION_TYPE = "postgresql:index/extension:Extension"
ROLE_TYPE = "postgresql:index/role:Role"


@dataclass(frozen=True)
class State:
    """The state of the stack that the environment names. ``backend`` is its folder where it is our own."""

    pulumi: Pulumi
    backend: Path | None

    def migrations(self) -> dict[str, Any] | None:
        """The resource of the migrations, with the inputs that destroying obeys; None where there is none.

        The stack's outputs do not tell: they are not written when an `up` is interrupted.
        """
        return next((found for found in self._resources(MIGRATIONS_TYPE) if "inputs" in found), None)

    def forget(self, keep_roles: Container[str]) -> None:
        """Delete the migrations, the extension, the roles not in ``keep_roles``, and their dependents, from the state.

        The database is left alone.
        """
        while gone := [
            found
            for found in self._resources(MIGRATIONS_TYPE, EXTENSION_TYPE, ROLE_TYPE)
            if found["type"] != ROLE_TYPE or found["inputs"]["name"] not in keep_roles
        ]:
            self.pulumi.ask("state", "delete", gone[0]["urn"], "--yes", "--force", "--target-dependents")

    def _resources(self, *kinds: str) -> list[dict[str, Any]]:
        deployment = json.loads(self.pulumi.ask("stack", "export"))["deployment"]
        return [resource for resource in deployment.get("resources") or [] if resource["type"] in kinds]

    def forget_pending(self) -> None:
        """Take out of our own state what a killed CLI was at: the next run looks at the database itself.

        A refresh would do the same, but it dials the address in the state, and the port may have changed.
        """
        stacks = self.backend.glob(".pulumi/stacks/**/*.json") if self.backend else ()
        if any(b'"pending_operations"' in stack.read_bytes() for stack in stacks):
            state = json.loads(self.pulumi.ask("stack", "export"))
            state["deployment"].pop("pending_operations", None)
            self.pulumi.ask("stack", "import", text=json.dumps(state))

    def heal(self) -> None:
        """Clear away what a killed CLI left in our own backend: files without content, and its lock."""
        if self.backend is None:
            return
        for unfinished in self.backend.glob(".pulumi/**/*.attrs"):
            if unfinished.stat().st_size == 0:
                unfinished.unlink()
        for lock in self.backend.glob(".pulumi/locks/**/*.json"):
            if not _is_held(lock):
                lock.unlink()


def _is_held(lock: Path) -> bool:
    """True while the CLI that made the lock is at work: the backend is on this machine's disk."""
    try:
        holder = psutil.Process(json.loads(lock.read_text())["pid"])
        return holder.status() != psutil.STATUS_ZOMBIE and "pulumi" in holder.name()
    except (ValueError, KeyError, psutil.NoSuchProcess):
        return False
