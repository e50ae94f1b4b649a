"""The Pulumi CLI: found on PATH, found under ``.local/``, or installed there by the SDK."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from local.workspace import LOCAL
from postgres.errors import Error

FOLDER = LOCAL / "pulumi"
PLUGIN = "postgresql"


class UnavailableError(Error):
    """The CLI or the provider's plugin cannot be had on this machine."""


@dataclass(frozen=True)
class Pulumi:
    """A CLI that is there, with the folder that must head PATH for it to find its own parts."""

    executable: Path

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with the CLI's folder on PATH."""
        folder = str(self.executable.parent)
        path = base.get("PATH", os.defpath)
        return {**base, "PATH": path if folder in path.split(os.pathsep) else f"{folder}{os.pathsep}{path}"}

    def ask(self, *words: str, environment: Mapping[str, str]) -> str:
        """What the CLI answers. Raises UnavailableError with its last words when it fails."""
        asked = subprocess.run(
            [self.executable, *words, "--non-interactive"],
            env=self.environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode != 0:
            said = [line for line in asked.stderr.strip().splitlines() if line.strip()] or ["it said nothing"]
            raise UnavailableError(f"pulumi {' '.join(words)}: {said[-1].removeprefix('error: ')}")
        return asked.stdout


def find(environment: Mapping[str, str]) -> Pulumi:
    """The CLI with the PostgreSQL plugin. Both are installed where they are missing.

    Raises UnavailableError, with the reason, where they cannot be.
    """
    pulumi = Pulumi(_executable())
    _ensure_plugin(pulumi, environment)
    return pulumi


def installed() -> Path | None:
    """The CLI on PATH, or the one installed before, or None."""
    on_path = shutil.which("pulumi")
    ours = FOLDER / "bin" / "pulumi"
    return Path(on_path) if on_path else ours if ours.exists() else None


def _executable() -> Path:
    found = installed()
    if found:
        return found
    from pulumi.automation import PulumiCommand  # half a second, so only when it is needed

    try:
        PulumiCommand.install(root=str(FOLDER))
    except Exception as error:  # the SDK promises nothing; a shell script and a download are behind it
        raise UnavailableError(f"the CLI cannot be installed ({' '.join(str(error).split())})") from error
    return FOLDER / "bin" / "pulumi"


def _ensure_plugin(pulumi: Pulumi, environment: Mapping[str, str]) -> None:
    wanted = version("pulumi-postgresql")
    plugins = json.loads(pulumi.ask("plugin", "ls", "--json", environment=environment))
    there = any(plugin["name"] == PLUGIN and plugin.get("version") == wanted for plugin in plugins)
    if not there and not shutil.which(f"pulumi-resource-{PLUGIN}", path=pulumi.environment(environment)["PATH"]):
        pulumi.ask("plugin", "install", "resource", PLUGIN, f"v{wanted}", environment=environment)
