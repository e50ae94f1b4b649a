"""The stack's state, as Pulumi exports it, and repairs after a killed CLI."""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local.pulumi_cli import Pulumi

MIGRATIONS_TYPE = "pulumi-python:dynamic/pgvector_seed:Migrations"
INDEXES_TYPE = "pulumi-python:dynamic/pgvector_seed:Indexes"
READER_SETTINGS_TYPE = "pulumi-python:dynamic/pgvector_seed:ReaderSettings"
EXTENSION_TYPE = "postgresql:index/extension:Extension"
STACK_TYPE = "pulumi:pulumi:Stack"
ROLE_TYPE = "postgresql:index/role:Role"


@dataclass(frozen=True)
class State:
    """The state of the stack that the environment names. ``backend`` is its folder, or None if it is not our own."""

    pulumi: Pulumi
    backend: Path | None

    def migrations(self) -> dict[str, Any] | None:
        """Return the migrations resource, whose inputs destroying obeys, or None.

        The stack's outputs would not do: they are not written if an `up` is interrupted.
        """
        return next((resource for resource in self._resources(MIGRATIONS_TYPE) if "inputs" in resource), None)

    def forget(self, keep_roles: Container[str]) -> None:
        """Delete the deployment's resources from the state, but for the roles in ``keep_roles``.

        The database is left alone.
        """
        while resources := [
            resource
            for resource in self._resources(MIGRATIONS_TYPE, READER_SETTINGS_TYPE, EXTENSION_TYPE, ROLE_TYPE)
            if resource["type"] != ROLE_TYPE or resource["inputs"]["name"] not in keep_roles
        ]:
            self.pulumi.ask("state", "delete", resources[0]["urn"], "--yes", "--force", "--target-dependents")

    def is_empty(self) -> bool:
        """Return True if there is nothing to destroy, not even in part."""
        return all(resource["type"] == STACK_TYPE for resource in self._all_resources())

    def _resources(self, *kinds: str) -> list[dict[str, Any]]:
        return [resource for resource in self._all_resources() if resource["type"] in kinds]

    def _all_resources(self) -> list[dict[str, Any]]:
        return json.loads(self.pulumi.ask("stack", "export"))["deployment"].get("resources") or []

    def forget_pending(self) -> None:
        """Delete the pending operations of a killed CLI from our own state; the next run reads the database itself.

        A refresh would connect to the address in the state, and the port may have changed.
        """
        stacks = self.backend.glob(".pulumi/stacks/**/*.json") if self.backend else ()
        if any(b'"pending_operations"' in stack.read_bytes() for stack in stacks):
            state = json.loads(self.pulumi.ask("stack", "export"))
            state["deployment"].pop("pending_operations", None)
            self.pulumi.ask("stack", "import", text=json.dumps(state))

    def remove_leftovers(self) -> None:
        """Remove from our own backend the empty files and the lock that a killed CLI left."""
        if self.backend is None:
            return
        for unfinished in self.backend.glob(".pulumi/**/*.attrs"):
            if unfinished.stat().st_size == 0:
                unfinished.unlink()
        for lock in self.backend.glob(".pulumi/locks/**/*.json"):
            if not _is_held(lock):
                lock.unlink()


def _is_held(lock: Path) -> bool:
    """Return True if the CLI that holds the lock runs; the backend is local, so its process is on this machine."""
    try:
        holder = psutil.Process(json.loads(lock.read_text())["pid"])
        return holder.status() != psutil.STATUS_ZOMBIE and "pulumi" in holder.name()
    except (ValueError, KeyError, psutil.NoSuchProcess):
        return False
