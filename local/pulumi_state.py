"""What Pulumi's state says of the stack, beyond what its commands tell."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil

from local.pulumi_cli import Pulumi

MIGRATIONS_TYPE = "pulumi-python:dynamic/pgvector_seed:Migrations"
EXTENSION_TYPE = "postgresql:index/extension:Extension"


@dataclass(frozen=True)
class State:
    """The state of the stack that the environment names."""

    pulumi: Pulumi

    def migrations(self) -> dict[str, Any] | None:
        """The resource of the migrations, with the inputs that destroying obeys; None where there is none.

        The stack's outputs do not tell: they are not written when an `up` is interrupted.
        """
        return next((found for found in self._resources(MIGRATIONS_TYPE) if "inputs" in found), None)

    def forget(self) -> None:
        """Take the migrations and the extension out of the state, and leave what they stand for alone."""
        for resource in (*self._resources(MIGRATIONS_TYPE), *self._resources(EXTENSION_TYPE)):
            self.pulumi.ask("state", "delete", resource["urn"], "--yes", "--force")

    def _resources(self, kind: str) -> list[dict[str, Any]]:
        deployment = json.loads(self.pulumi.ask("stack", "export"))["deployment"]
        return [resource for resource in deployment.get("resources") or [] if resource["type"] == kind]

    def free_dead_lock(self) -> None:
        """Free the lock that a killed CLI left in a backend on this machine's disk."""
        url = urlsplit(self.pulumi.environment.get("PULUMI_BACKEND_URL", ""))
        if url.scheme != "file":
            return
        locks = list(Path(unquote(url.path)).glob(".pulumi/locks/**/*.json"))
        if locks and all(_is_dead(json.loads(lock.read_text())) for lock in locks):
            self.pulumi.ask("cancel", "--yes")


def _is_dead(lock: dict[str, Any]) -> bool:
    if lock.get("hostname") != socket.gethostname():
        return False
    try:
        holder = psutil.Process(lock["pid"])
        return holder.status() == psutil.STATUS_ZOMBIE or "pulumi" not in holder.name()
    except psutil.NoSuchProcess:
        return True
