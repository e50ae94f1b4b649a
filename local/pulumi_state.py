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


@dataclass(frozen=True)
class State:
    """The state of the stack that the environment names."""

    pulumi: Pulumi

    def declaration(self) -> dict[str, Any] | None:
        """What the migrations were last declared with, which is what destroying obeys; None where there are none.

        The stack's outputs do not tell: they are not written when an `up` is interrupted.
        """
        from infra.migrations import MIGRATIONS_TYPE  # with Pulumi's SDK behind it, half a second

        deployment = json.loads(self.pulumi.ask("stack", "export"))["deployment"]
        for resource in deployment.get("resources") or []:
            if resource["type"] == MIGRATIONS_TYPE and "declaration" in resource["inputs"]:
                found: dict[str, Any] = json.loads(resource["inputs"]["declaration"])
                return found
        return None

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
